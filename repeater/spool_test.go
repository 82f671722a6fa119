package repeater_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// A depot is a world with one route, a/in to b/out, and a journal in memory.
type depot struct {
	*world
	r    *routes.Route
	disk *spooltest.Disk
}

// spooling runs f in virtual time.
func spooling(t *testing.T, mode routes.SpoolMode, f func(d *depot)) {
	scenario(t, func(w *world, r *routes.Route) {
		d := &depot{world: w, r: r, disk: spooltest.NewDisk()}
		w.table.Spool = &routes.Spool{Dir: "spool", SegmentSize: 32 << 10}
		w.opts.SpoolFS = d.disk
		r.Spool, r.MaxAttempts = routes.RouteSpool{Mode: mode, SlowAfter: 30 * time.Second}, 1<<30
		f(d)
	})
}

func (d *depot) lane() repeater.LaneStatus { return d.rep.Status().Routes[0].Lanes[0] }

// is waits for a state of the lane.
func (d *depot) is(state string) {
	d.t.Helper()
	d.until("lane is "+state, func() bool { return d.lane().State == state })
}

// spooled waits until so many messages are in the journal and settled at the source.
func (d *depot) spooled(n uint64) {
	d.t.Helper()
	d.until(fmt.Sprint(n, " messages in the spool"), func() bool { return d.lane().Spooled == n })
}

// away makes the target unreachable.
func (d *depot) away(broker string) {
	d.brokers[broker].Link().Refuse()
	d.brokers[broker].Link().Cut()
}

func (d *depot) back(broker string) { d.brokers[broker].Link().Allow() }

func flagged(ms []*adapters.Message) (n int) {
	for _, m := range ms {
		if v, _ := m.Prop("posthouse-possible-duplicate"); v.Str() == "true" {
			n++
		}
	}
	return n
}

// delivery.md, X1: what was in flight at the break goes to the spool first, in its order, marked; then what comes later.
func TestX01_BreakSpoolsTheUnconfirmedFirst(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.until("all are in flight", func() bool { return d.lane().InFlight == 10 })
		d.away("b")
		d.is("spooling")
		d.brokers["a"].Put("in", messages(10, 90)...)
		d.spooled(100)
		d.empty("a", "in")
		d.is("spooling")
		d.back("b")
		d.is("pass-through")
		got := d.take("b", "out", 110)
		if ns := firstArrivals(numbers(got)); !slices.Equal(ns, upTo(100)) {
			t.Errorf("order %v", ns)
		}
		if again := got[10:20]; !slices.Equal(numbers(again), upTo(10)) || flagged(again) != 10 || flagged(got) != 10 {
			t.Errorf("sent again: %v, %d of them flagged, %d in all", numbers(again), flagged(again), flagged(got))
		}
		d.halt()
	})
}

// X1, at the start: a target that cannot be reached at all.
func TestX01_SpoolsFromTheStart(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 300)...)
		d.start()
		d.spooled(300)
		d.empty("a", "in")
		d.back("b")
		if got := d.take("b", "out", 300); !slices.Equal(numbers(got), upTo(300)) || flagged(got) != 0 {
			t.Errorf("%v, %d flagged", numbers(got), flagged(got))
		}
		d.is("pass-through")
		d.halt()
	})
}

// X1, for a target that takes messages but is slower than its source.
func TestX01_SlowTargetSpools(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.InFlight, d.r.Batch.Count = 1, 1
		d.brokers["b"].Link().SetLatency(2 * time.Second) // a message in four seconds
		d.brokers["a"].Put("in", messages(0, 500)...)
		d.start()
		d.is("draining")
		if waited := d.rep.Status(); waited.Routes[0].Received < 500 {
			d.empty("a", "in")
		}
		if st := d.lane(); !strings.Contains(st.Error, "too slow") {
			t.Errorf("last error %q", st.Error)
		}
		d.brokers["b"].Link().SetLatency(0)
		if got := d.take("b", "out", 500); !slices.Equal(numbers(got), upTo(500)) {
			t.Errorf("order %v", numbers(got))
		}
		d.is("pass-through")
		d.halt()
	})
}

// A source that is at its limit for less than slow_after is no reason to spool.
func TestX01_ShortPressureDoesNotSpool(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.InFlight, d.r.Batch.Count = 64, 64
		d.brokers["b"].Link().SetLatency(time.Second)
		d.brokers["a"].Put("in", messages(0, 64*10)...) // ten windows, two seconds each
		d.start()
		d.take("b", "out", 640)
		if st := d.lane(); st.SpooledTotal != 0 || st.State != "pass-through" {
			t.Errorf("%s, %d spooled", st.State, st.SpooledTotal)
		}
		d.halt()
	})
}

// X2: records are sent in order, what comes meanwhile goes behind them.
func TestX02_DrainsInOrderWhileNewOnesCome(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 200)...)
		d.spooled(200)
		d.brokers["b"].Link().SetLatency(300 * time.Millisecond)
		d.back("b")
		d.is("draining")
		d.brokers["a"].Put("in", messages(200, 200)...)
		if got := d.take("b", "out", 400); !slices.Equal(numbers(got), upTo(400)) {
			t.Errorf("order %v", numbers(got))
		}
		d.is("pass-through")
		d.halt()
	})
}

// X3: the lane passes on only when the last done marks are on disk: a power failure right after it repeats nothing.
func TestX03_PassesOnlyWhenTheMarksAreSynced(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.spooled(50)
		d.back("b")
		d.is("pass-through")
		image := d.disk.Image(0, rand.New(rand.NewPCG(1, 1))) // nothing of what is not synced
		d.take("b", "out", 50)
		d.halt()
		d.opts.SpoolFS = image
		d.start()
		d.is("pass-through")
		if n := d.lane().Spooled; n != 0 {
			t.Errorf("%d records are live after the power failure", n)
		}
		d.halt()
	})
}

// X4: a steady inflow must not keep a lane draining for ever.
func TestX04_SteadyInflowEndsInPassThrough(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.spooled(100)
		d.brokers["b"].Link().SetLatency(50 * time.Millisecond)
		d.back("b")
		n := 100
		d.until("pass-through under load", func() bool {
			d.brokers["a"].Put("in", messages(n, 3)...)
			n += 3
			return d.lane().State == "pass-through"
		})
		if got := d.take("b", "out", n); !slices.Equal(numbers(got), upTo(n)) {
			t.Errorf("order %v", numbers(got))
		}
		d.halt()
	})
}

// X5: a link lost while draining leaves the unconfirmed records where they are.
func TestX05_LinkLostWhileDraining(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.is("spooling")
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.spooled(100)
		d.brokers["b"].Link().SetLatency(700 * time.Millisecond)
		d.back("b")
		d.until("a window is in flight, and a part of it arrived", func() bool {
			n, _ := d.brokers["b"].Len("out")
			return n > 1 && d.lane().InFlight > 1
		})
		d.away("b")
		d.is("spooling")
		if st := d.lane(); st.Spooled < 90 || st.SpooledTotal != 100 {
			t.Errorf("%d records live, %d ever written", st.Spooled, st.SpooledTotal)
		}
		d.back("b")
		d.is("pass-through")
		n, _ := d.brokers["b"].Len("out")
		got := d.take("b", "out", n)
		if ns := firstArrivals(numbers(got)); !slices.Equal(ns, upTo(100)) {
			t.Errorf("order %v", ns)
		}
		if n == 100 || flagged(got) < n-100 || flagged(got) > d.r.InFlight || n-100 > d.r.InFlight {
			t.Errorf("%d came twice, %d flagged, window %d: %v", n-100, flagged(got), d.r.InFlight, numbers(got))
		}
		d.halt()
	})
}

// X6: mode never appends nothing, and the source keeps its messages.
func TestX06_NeverLeavesTheBacklogAtTheSource(t *testing.T) {
	spooling(t, routes.SpoolNever, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 500)...)
		d.is("blocked")
		pass(10 * time.Minute)
		if waiting, open := d.brokers["a"].Len("in"); waiting+open != 500 || open > d.r.Prefetch {
			t.Errorf("the source holds %d and %d unsettled", waiting, open)
		}
		if st := d.lane(); st.Spooled != 0 || st.SpooledTotal != 0 {
			t.Errorf("%d records", st.SpooledTotal)
		}
		d.back("b")
		d.take("b", "out", 500)
		d.halt()
	})
}

// X6: in mode always every message is on disk before it is sent, and settled then.
func TestX06_AlwaysWritesBeforeItSends(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(0, 200)...)
		d.empty("a", "in") // settled without an answer of the target
		if st := d.lane(); st.Spooled != 200 {
			t.Errorf("%d records", st.Spooled)
		}
		d.back("b")
		if got := d.take("b", "out", 200); !slices.Equal(numbers(got), upTo(200)) {
			t.Errorf("order %v", numbers(got))
		}
		d.is("pass-through")
		if st := d.lane(); st.SpooledTotal != 200 {
			t.Errorf("%d records ever", st.SpooledTotal)
		}
		d.halt()
	})
}

// X7: a lane that shall not spool any more drains what it has first.
func TestX07_NeverDrainsWhatIsLeft(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.start()
		d.spooled(100)
		d.halt()
		d.r.Spool.Mode = routes.SpoolNever
		d.start()
		d.brokers["a"].Put("in", messages(100, 50)...)
		d.is("spooling")
		if st := d.lane(); st.Spooled != 100 || st.SpooledTotal != 0 {
			t.Errorf("%d records, %d written", st.Spooled, st.SpooledTotal)
		}
		d.back("b")
		if got := d.take("b", "out", 150); !slices.Equal(numbers(got), upTo(150)) {
			t.Errorf("order %v", numbers(got))
		}
		d.away("b")
		d.is("blocked")
		d.halt()
	})
}

// X8: a removed route leaves its spool, which is shown; a renamed one takes it along.
func TestX08_OrphanAndRename(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 20)...)
		d.start()
		d.spooled(20)
		d.halt()

		d.r.Name = "payments"
		d.start()
		d.until("open", func() bool { return d.rep.Status().Spool.State == "ok" })
		want := []repeater.Orphan{{Name: "orders/b0", Messages: 20}}
		got := d.rep.Status().Spool.Orphans
		for i := range got {
			got[i].Bytes = 0
		}
		if !slices.Equal(got, want) {
			t.Errorf("orphans %v", got)
		}
		d.back("b")
		d.up()
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			t.Errorf("%d messages of the orphan were sent", n)
		}
		d.halt()

		d.r.Name, d.r.RenamedFrom = "refunds", "orders"
		d.start()
		if got := d.take("b", "out", 20); !slices.Equal(numbers(got), upTo(20)) {
			t.Errorf("order %v", numbers(got))
		}
		if o := d.rep.Status().Spool.Orphans; len(o) != 0 {
			t.Errorf("orphans %v", o)
		}
		d.halt()
	})
}

func TestX08_RenameOntoASpoolIsRefused(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		for _, name := range []string{"orders", "payments"} {
			d.r.Name = name
			d.brokers["a"].Put("in", messages(0, 5)...)
			d.start()
			d.spooled(5)
			d.halt()
		}
		d.r.RenamedFrom = "orders"
		d.start()
		err := <-d.done
		if err == nil || !strings.Contains(err.Error(), "orders/b0") || !strings.Contains(err.Error(), "renamed_from") {
			t.Errorf("start: %v", err)
		}
	})
}
