package repeater

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Exactly one goroutine goes on, whatever comes first: the call that comes back, the time after the end of its context, or
// somebody who gives it up.
func TestRelayHasOneWhoGoesOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		hang    time.Duration // of the call
		stop    time.Duration // when its context ends
		abandon time.Duration // when it is given up
		mine    bool
		after   time.Duration // when it is decided
	}{
		{"comes back", time.Second, time.Hour, time.Hour, true, time.Second},
		{"comes back in time after the end", 5 * time.Second, time.Second, time.Hour, true, 5 * time.Second},
		{"hangs", time.Hour, time.Second, 2 * time.Hour, false, time.Second + closeTimeout},
		{"is given up", time.Hour, 2 * time.Hour, time.Minute, false, time.Minute},
		{"comes back at the last moment", time.Minute, time.Minute - closeTimeout + time.Second, 2 * time.Minute, true, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				ctx, stop := context.WithTimeout(t.Context(), c.stop)
				defer stop()
				var goesOn atomic.Int32
				decided := make(chan time.Duration, 2)
				r := newRelay(func() {
					goesOn.Add(1)
					decided <- time.Since(begin)
				})
				late := time.AfterFunc(c.abandon, r.abandon)
				mine := r.run(ctx, func() { <-time.After(c.hang) })
				if mine {
					goesOn.Add(1)
					decided <- time.Since(begin)
				}
				if at := <-decided; mine != c.mine || at != c.after {
					t.Errorf("goes on itself %t after %v, want %t after %v", mine, at, c.mine, c.after)
				}
				late.Stop()
				stop()
				synctest.Wait()
				r.abandon()
				synctest.Wait()
				if n := goesOn.Load(); n != 1 {
					t.Errorf("%d go on", n)
				}
			})
		})
	}
}

// A call that comes back while it is given up has one who goes on, too.
func TestRelayTakesOnce(t *testing.T) {
	for range 200 {
		var goesOn atomic.Int32
		over := make(chan struct{}, 2)
		r := newRelay(func() { goesOn.Add(1); over <- struct{}{} })
		go r.abandon()
		if r.run(t.Context(), func() {}) {
			goesOn.Add(1)
			over <- struct{}{}
		}
		<-over
		if n := goesOn.Load(); n != 1 {
			t.Fatalf("%d go on", n)
		}
	}
}
