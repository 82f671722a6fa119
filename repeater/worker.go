package repeater

import (
	"context"
	"sync"
	"time"
)

// A worker is a goroutine that exists only while there is something to do: ten thousand idle lanes are none.
type worker struct {
	mu      sync.Mutex
	f       func() (over bool) // does what there is to do, and reports whether nothing will ever come; nil: not started
	running bool
	again   bool // kicked while it ran, or before it was started
	ended   bool
	done    chan struct{} // made for who waits for the end; nil: nobody does
}

// newWorker makes a worker that does nothing before it is kicked, and before it has an f.
func newWorker(f func() (over bool)) *worker { return &worker{f: f} }

// start gives w what it does.
func (w *worker) start(f func() (over bool)) {
	w.mu.Lock()
	w.f = f
	kicked := w.again
	w.again = false
	w.mu.Unlock()
	if kicked {
		w.kick()
	}
}

// kick says that there may be something to do. It never blocks. A nil worker has nothing to do.
func (w *worker) kick() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
	case w.running, w.f == nil:
		w.again = true
	default:
		w.running = true
		go w.run()
	}
}

func (w *worker) run() {
	for {
		over := w.f()
		w.mu.Lock()
		if over || !w.again {
			w.running, w.ended = false, over
			if over && w.done != nil {
				close(w.done)
			}
			w.mu.Unlock()
			return
		}
		w.again = false
		w.mu.Unlock()
	}
}

// over is closed when there will never be anything to do.
func (w *worker) over() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done == nil {
		if w.done = make(chan struct{}); w.ended {
			close(w.done)
		}
	}
	return w.done
}

// every calls f each d, one call at a time, until it returns false or ctx ends, on a goroutine that exists only meanwhile. stop
// ends it, and waits for a call that runs; f must not call it.
func every(ctx context.Context, d time.Duration, f func() (more bool)) (stop func()) {
	turn := make(chan *time.Timer, 1) // whoever has it may call f; nobody gets it after stop
	turn <- time.AfterFunc(d, func() {
		t, ok := <-turn
		if !ok {
			return
		}
		if ctx.Err() == nil && f() {
			t.Reset(d)
		}
		turn <- t
	})
	return func() {
		if t, ok := <-turn; ok {
			t.Stop()
			close(turn)
		}
	}
}

// aside calls f on a goroutine of its own and waits for it. A stack that has grown for a deep call shrinks late or never: what
// will wait for long makes its deep calls aside.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}
