package repeater

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWorkerMissesNoKick: whatever was added before a kick is done, by one goroutine at a time, and none is left when there is
// nothing to do.
func TestWorkerMissesNoKick(t *testing.T) {
	const kickers, each = 8, 200
	var todo, done, inside atomic.Int64
	w := newWorker(func() (over bool) {
		if inside.Add(1) != 1 {
			t.Error("two at a time")
		}
		defer inside.Add(-1)
		done.Add(todo.Swap(0))
		return done.Load() == kickers*each
	})
	var wg sync.WaitGroup
	for range kickers {
		wg.Go(func() {
			for range each {
				todo.Add(1)
				w.kick()
			}
		})
	}
	wg.Wait()
	<-w.over()
	w.kick() // after the end it is nothing
}

// TestWorkerStartsLate: a kick before start is remembered, and a nil worker takes kicks.
func TestWorkerStartsLate(t *testing.T) {
	var none *worker
	none.kick()
	w := newWorker(nil)
	w.kick()
	w.start(func() bool { return true })
	<-w.over()
}

// TestEvery: one call in each interval, none after the end, and the end waits for the one that runs.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		stop := every(t.Context(), time.Second, func() bool {
			n++
			wait(t.Context(), 100*time.Millisecond)
			n++
			return true
		})
		wait(t.Context(), 2250*time.Millisecond) // the second one runs
		stop()
		if n != 4 {
			t.Errorf("%d halves of calls in 2.25 s", n)
		}
		wait(t.Context(), time.Minute)
		stop()
		if n != 4 {
			t.Error("called after the end")
		}
	})
}

// TestEveryEnds by itself when f says so, or with its context.
func TestEveryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n, m := 0, 0
		stopped := every(t.Context(), time.Second, func() bool { n++; return n < 3 })
		canceled := every(ctx, time.Second, func() bool { m++; return true })
		wait(t.Context(), 4500*time.Millisecond)
		cancel()
		wait(t.Context(), time.Minute)
		stopped()
		canceled()
		if n != 3 || m != 4 {
			t.Errorf("%d and %d calls", n, m)
		}
	})
}
