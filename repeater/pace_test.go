package repeater_test

import (
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// took checks how long something has lasted since begin.
func took(t *testing.T, what string, begin time.Time, least, most time.Duration) {
	t.Helper()
	if d := time.Since(begin); d < least || d > most {
		t.Errorf("%s took %v, want %v to %v", what, d, least, most)
	}
}

// Passed through, N messages take N/rate seconds; what waits meanwhile is bounded by the prefetch, and the rest is still
// at its source.
func TestMaxRatePassThrough(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.MaxRate = 10
		w.brokers["a"].Put("in", messages(0, 301)...)
		w.start()
		begin := time.Now()
		w.take("b", "out", 101)
		took(t, "101 messages at 10 a second", begin, 9500*time.Millisecond, 11*time.Second)
		l := w.rep.Status().Routes[0].Lanes[0]
		if l.Waiting+l.InFlight > r.Prefetch || l.Waiting < r.Prefetch/2 {
			t.Errorf("%d wait, %d are in flight, with a prefetch of %d", l.Waiting, l.InFlight, r.Prefetch)
		}
		if left, _ := w.brokers["a"].Len("in"); left < 301-101-2*r.Prefetch {
			t.Errorf("%d are left at the source", left)
		}
		w.take("b", "out", 200)
		took(t, "301 messages at 10 a second", begin, 29*time.Second, 31*time.Second)
		w.halt()
	})
}

// Out of the spool the same rate holds, beside a drain_rate that permits more; a lower drain_rate holds there.
func TestMaxRateDraining(t *testing.T) {
	for _, c := range []struct{ most, drain, seconds int }{{10, 0, 20}, {10, 50, 20}, {50, 10, 20}} {
		spooling(t, routes.SpoolAlways, func(d *depot) {
			d.r.MaxRate, d.r.DrainRate = c.most, c.drain
			d.away("b")
			d.brokers["a"].Put("in", messages(0, 201)...)
			d.start()
			d.spooled(201)
			d.back("b")
			d.until("the target is there", func() bool { return d.lane().Link.State == "up" })
			begin := time.Now()
			if got := d.take("b", "out", 201); !slices.Equal(numbers(got), upTo(201)) {
				t.Errorf("order %v", numbers(got))
			}
			took(t, "201 spooled messages", begin, time.Duration(c.seconds-1)*time.Second-100*time.Millisecond, time.Duration(c.seconds+1)*time.Second)
			d.halt()
		})
	}
}

// A rate does not make a lane send one message at a time, nor wait for a portion that does not come.
func TestMaxRateIsReached(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.MaxRate, r.Prefetch, r.InFlight, r.Batch.Count = 5000, 1000, 500, 100
		w.start()
		w.up()
		w.brokers["a"].Put("in", messages(0, 10_500)...)
		begin := time.Now()
		w.take("b", "out", 10_500)
		took(t, "10500 messages at 5000 a second", begin, 1900*time.Millisecond, 2100*time.Millisecond)
		pass(time.Minute)
		begin = time.Now()
		w.brokers["a"].Put("in", message(0))
		w.take("b", "out", 1)
		took(t, "a single message", begin, 0, 10*time.Millisecond)
		w.halt()
	})
}

// A stop does not wait for the rate: what was not sent goes back to its source.
func TestMaxRateDoesNotDelayAStop(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.MaxRate = 1
		w.brokers["a"].Put("in", messages(0, 100)...)
		w.start()
		w.take("b", "out", 3)
		if d := w.halt(); d > 3*time.Second {
			t.Errorf("the stop took %v", d)
		}
		waiting, open := w.brokers["a"].Len("in")
		sent, _ := w.brokers["b"].Len("out")
		if waiting != 100-3-sent || open != 0 {
			t.Errorf("%d wait at the source, %d are unsettled, %d were sent", waiting, open, sent)
		}
	})
}
