package repeater

import (
	"context"
	"sync/atomic"
)

// A world is what runs: a table, and its flows in slots. Only what is in a slot changes, when a reload exchanges it; so
// whoever looks sees each route once, as it was or as it is.
type world struct {
	*wiring
	slots []*slot
}

// A slot holds the flows that a reload exchanges together, mostly one.
type slot struct{ flows atomic.Pointer[[]*flow] }

func newSlot(fs ...*flow) *slot {
	s := new(slot)
	s.flows.Store(&fs)
	return s
}

// newWorld gives each flow a slot, in file order.
func newWorld(w *wiring, fs []*flow) *world {
	out := &world{wiring: w}
	for _, f := range fs {
		out.slots = append(out.slots, newSlot(f))
	}
	return out
}

func (w *world) flows() (fs []*flow) {
	for _, s := range w.slots {
		fs = append(fs, *s.flows.Load()...)
	}
	return fs
}

// flows are those that run now.
func (r *Repeater) flows() []*flow { return r.now.Load().flows() }

// launch runs f until ctx ends or f.stop is called; f.ended is closed then.
func (f *flow) launch(ctx context.Context) {
	ctx, f.stop = context.WithCancel(ctx)
	f.run(ctx, func() {
		f.stop()
		close(f.ended)
	})
}
