package repeater

import (
	"context"
	"sync"
)

// A valve says whether a source may be read. Its zero value is open.
type valve struct {
	mu     sync.Mutex
	shut   bool
	turned chan struct{} // closed with the next turn; nil: nobody waits for one
	cut    func()        // ends what reads now; nil: nothing does
}

// set opens or shuts it. What reads is told to end: what it has received is still settled.
func (v *valve) set(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut == shut {
		return
	}
	if v.shut = shut; v.turned != nil {
		close(v.turned)
		v.turned = nil
	}
	if shut && v.cut != nil {
		v.cut()
	}
}

// isShut also returns what is closed with the next turn, if it is.
func (v *valve) isShut() (shut bool, turned <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut && v.turned == nil {
		v.turned = make(chan struct{})
	}
	return v.shut, v.turned
}

// enter makes cut be called when the valve is shut, now if it is, until leave.
func (v *valve) enter(cut func()) (leave func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cut = cut; v.shut {
		cut()
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.cut = nil
	}
}

// within ends when the valve is shut, or ctx ends, or leave is called.
func (v *valve) within(ctx context.Context) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := v.enter(cancel)
	return ctx, func() { out(); cancel() }
}

// mayRead blocks while the valve is shut, and reports whether the source may be read; not when ctx ends.
func (f *flow) mayRead(ctx context.Context) bool {
	for ctx.Err() == nil {
		shut, turned := f.valve.isShut()
		if !shut {
			return true
		}
		f.end.becomes(LinkPaused)
		select {
		case <-turned:
			f.end.becomes(LinkStarting)
		case <-ctx.Done():
		}
	}
	return false
}

// rests reports whether the source is not read, and everything that was received is settled or back there.
func (f *flow) rests() bool {
	shut, _ := f.valve.isShut()
	return shut && (f.end.current() == LinkPaused || f.halt() != nil)
}
