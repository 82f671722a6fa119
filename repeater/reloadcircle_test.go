package repeater_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// circling is a world with a lane that works, and a broker that has two names.
func circling(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		w.aliased("a", "c")
		w.route("fine", [2]string{"a", "in"}, [2]string{"b", "out"})
		w.route("through", [2]string{"b", "in"}, [2]string{"c", "out"})
		f(w)
	})
}

// itself adds a route that closes a circle, which only the brokers can tell.
func itself(w *world) *routes.Table {
	next := w.next()
	again := *next.Routes[0]
	again.Name, again.From.Name, again.To = "itself", "q", slices.Clone(again.To)
	again.To[0].Name, again.To[0].Addr = "c0", again.From
	again.To[0].Addr.Broker = "c"
	next.Routes = append(next.Routes, &again)
	return next
}

// A circle that a reload closes over what the brokers have said before is found before anything is sent, and ends with the
// reload that opens it; the lanes that are no part of it go on.
func TestReloadThatClosesACircle(t *testing.T) {
	circling(t, func(w *world) {
		w.start()
		w.up()
		w.brokers["a"].Put("q", messages(0, 5)...)
		before := w.next()
		w.reload(itself(w))
		w.until("the circle is known", func() bool { return slices.Equal(w.paused(), []string{"itself/c0"}) })
		pass(10 * time.Minute)
		if n := w.rep.Status().Routes[2].Lanes[0].Forwarded; n != 0 {
			t.Errorf("%d were sent in a circle", n)
		}
		w.brokers["a"].Put("in", messages(0, 5)...)
		if ns := numbers(w.take("b", "out", 5)); !slices.Equal(ns, upTo(5)) {
			t.Errorf("beside it: %v", ns)
		}
		w.reload(before)
		if p := w.paused(); len(p) != 0 {
			t.Errorf("paused: %v", p)
		}
		if ns := numbers(w.take("a", "q", 5)); len(ns) != 5 {
			t.Errorf("%v are at the source", ns)
		}
		w.halt()
	})
}

// What an alarm has paused stays so through reloads that do not touch it; so does what an operator has decided about it.
func TestReloadKeepsAnAlarm(t *testing.T) {
	circling(t, func(w *world) {
		w.table = itself(w)
		w.brokers["a"].Put("q", messages(0, 5)...)
		w.start()
		w.until("the circle is known", func() bool { return slices.Equal(w.paused(), []string{"itself/c0"}) })
		since := w.rep.Status().Routes[2].Lanes[0].Since
		other := func(hops int) {
			next := w.next()
			next.Routes[0].MaxHops = hops
			if out := w.reload(next); !slices.Equal(out.Restarted, []string{"fine"}) {
				t.Fatalf("%+v", out.Diff)
			}
			pass(time.Minute)
		}
		other(7)
		if l := w.rep.Status().Routes[2].Lanes[0]; l.State != "paused" || !l.Since.Equal(since) || l.Forwarded != 0 {
			t.Errorf("%+v", l)
		}
		if _, err := w.rep.Resolve(t.Context(), "itself/c0", repeater.Retry, "it is meant"); err != nil {
			t.Fatal(err)
		}
		w.until("it goes on", func() bool { return len(w.paused()) == 0 })
		other(6)
		if p := w.paused(); len(p) != 0 {
			t.Errorf("paused again: %v", p)
		}
		w.halt()
	})
}

// How often a message was refused, and when it is tried again, is not touched by a reload of another route.
func TestReloadKeepsRefusals(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.route("other", [2]string{"a", "in2"}, [2]string{"b", "out2"}).Spool = d.r.Spool
		d.r.MaxAttempts, d.r.Retry = 5, routes.Retry{Delay: time.Minute, MaxDelay: time.Minute, Factor: 1}
		d.refuses(func(n int) bool { return n == 0 })
		d.start()
		d.up()
		d.brokers["a"].Put("in", messages(0, 3)...)
		begin := time.Now()
		d.take("b", "out", 2)
		for hops := range 3 {
			pass(30 * time.Second)
			next := d.next()
			next.Routes[1].MaxHops = 4 + hops
			d.reload(next)
		}
		d.until("a dead letter", func() bool { return d.dead() == 1 })
		took(t, "five refusals, a minute apart", begin, 3*time.Minute, 6*time.Minute)
		d.halt()
		if bs := d.dug(); len(bs) != 1 || bs[0].why.Attempts != 5 {
			t.Errorf("%+v", bs)
		}
	})
}
