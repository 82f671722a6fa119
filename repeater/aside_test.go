package repeater_test

import (
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// What a target has refused comes due at about the same time. It is read again as the window has room for it, not all at once:
// a lane holds no more than a window and a batch in memory.
func TestAsideIsReadAgainWithinTheBound(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		d.r.Retry = routes.Retry{Delay: time.Minute, MaxDelay: time.Minute}
		d.refuses(func(n int) bool { return n < 100 && n%2 == 0 })
		o := watched(d.world)
		d.start()
		d.up()
		d.brokers["a"].Put("in", messages(0, 100)...)
		got := d.take("b", "out", 50)
		d.until("all others are set aside", func() bool { return d.lane().Held == 50 && d.lane().Spooled == 50 })
		limited(d.world, o, func(r *routes.Route) { r.MaxRate = 1 }) // slower than they come due
		d.brokers["a"].Put("in", messages(100, 300)...)
		d.until("all are in the spool", func() bool { return d.lane().SpooledTotal == 400 })
		most, least := 0, 50
		for range 120 {
			pass(time.Second)
			lane := d.lane()
			most, least = max(most, lane.Waiting+lane.InFlight), min(least, lane.Held)
		}
		if bound := d.r.InFlight + d.r.Batch.Count; most > bound {
			t.Errorf("%d records in memory, at most %d expected", most, bound)
		}
		if least == 50 {
			t.Error("void: nothing was tried again")
		}
		d.refuses(func(int) bool { return false })
		limited(d.world, o, func(r *routes.Route) { r.MaxRate = 0 })
		ns := numbers(append(got, d.take("b", "out", 350)...))
		if slices.Sort(ns); !slices.Equal(ns, upTo(400)) {
			t.Errorf("arrived: %v", ns)
		}
		d.halt()
	})
}

// A refused message takes the whole window, and the one behind it all the memory that there is: it is tried again all the same.
func TestAsideIsReadAgainBesideALargeOne(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		d.r.InFlight, d.r.PrefetchSize, d.table.Spool.SegmentSize = 1, 64<<10, 256<<10
		var tries counter
		d.refuses(func(n int) bool {
			if n == 0 {
				tries.add()
			}
			return n == 0 && tries.get() < 5
		})
		ms := messages(0, 3)
		ms[1].Body.Data = make([]byte, 65<<10)
		d.away("b")
		d.brokers["a"].Put("in", ms...)
		d.start()
		d.spooled(3)
		d.back("b")
		if got := numbers(d.take("b", "out", 3)); !slices.Contains(got, 0) {
			t.Errorf("arrived: %v", got)
		}
		if n := tries.get(); n != 5 {
			t.Errorf("%d tries", n)
		}
		d.halt()
	})
}
