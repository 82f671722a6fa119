package repeater_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

// filteredFor sums what a registry counts as filtered for a reason.
func filteredFor(t *testing.T, reg *prometheus.Registry, reason string) (n float64) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "posthouse_route_filtered_messages_total" && l.GetName() == "reason" && l.GetValue() == reason {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// generated marks a route as one that the topology made.
func generated(r *routes.Route, entry string, hops int) *routes.Route {
	r.Repeat = &routes.Repeat{Name: entry, From: r.From.Broker, To: r.To[0].Addr.Broker, Hops: hops}
	r.Name = entry + "." + r.From.Broker + "." + r.To[0].Addr.Broker
	r.From.Form, r.MaxHops = adapters.Topic, 32
	return r
}

// TestEchoesAreLeftOut: each generated route gives on what has not been at its target, settles and counts the rest, and
// nothing of that is a dead letter.
func TestEchoesAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "hub", "s1")
		reg := prometheus.NewRegistry()
		w.opts.Metrics = reg
		generated(w.route("", [2]string{"s1", "q"}, [2]string{"hub", "in"}), "p", 2)
		var ms []*adapters.Message
		for i, path := range [][]string{nil, {"x/p.hub.s1"}, {"x/legacy", "x/other", "x/third"}, {"x/p.s1.hub", "x/p.hub.s1"}, {"x/q.hub.s1"}, {"x/p.s2.hub", "x/p.hub.s1"}} {
			m := message(i)
			m.Track.Path = path
			ms = append(ms, m)
		}
		w.brokers["s1"].Put("q", ms...)
		w.start()
		if ns := numbers(w.take("hub", "in", 3)); !slices.Equal(ns, []int{0, 2, 4}) {
			t.Errorf("arrived: %v", ns)
		}
		w.empty("s1", "q")
		if n := filteredFor(t, reg, "echo"); n != 3 {
			t.Errorf("%v echoes", n)
		}
		st := w.rep.Status().Routes[0]
		if st.Refused != 0 || st.Filtered != 3 {
			t.Errorf("%d refused, %d filtered", st.Refused, st.Filtered)
		}
		w.halt()
	})
}

// TestEchoInAQueueIsKept: what a queue holds exists once, so what would be left out of a copy becomes a dead letter.
func TestEchoInAQueueIsKept(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		generated(d.r, "orders", 1)
		d.r.Name, d.r.From.Form = "orders", adapters.Queue
		m := message(1)
		m.Track.Path = []string{"x/orders.c.a"}
		d.brokers["a"].Put("in", m, message(2))
		d.start()
		if ns := numbers(d.take("b", "out", 1)); !slices.Equal(ns, []int{2}) {
			t.Errorf("arrived: %v", ns)
		}
		d.empty("a", "in")
		d.halt()
		if bs := d.dug(); len(bs) != 1 || bs[0].n != 1 || bs[0].why.Reason != "loop" {
			t.Errorf("dead letters: %+v", bs)
		}
	})
}

// TestOwnHopOfAnotherRepeater: a route that several repeaters serve knows what one of the others has carried by it.
func TestOwnHopOfAnotherRepeater(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Repeaters = []string{"test", "berlin"}
		for i, hop := range []string{"berlin/orders", "test/orders", "madrid/orders", "berlin/other"} {
			m := message(i)
			m.Track.Path = []string{hop}
			d.brokers["a"].Put("in", m)
		}
		d.start()
		if ns := numbers(d.take("b", "out", 2)); !slices.Equal(ns, []int{2, 3}) {
			t.Errorf("arrived: %v", ns)
		}
		d.empty("a", "in")
		d.halt()
		if bs := d.dug(); len(bs) != 2 || bs[0].why.Reason != "loop" {
			t.Errorf("dead letters: %+v", bs)
		}
	})
}

// TestClonedRepeater: two daemons of one name and with a route of one name. A message that has passed one of them looks as
// if it came round: it is kept as a dead letter with that reason, and goes nowhere.
func TestClonedRepeater(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		first := newWorld(d.t, "z", "a")
		first.brokers["a"] = d.brokers["a"]
		first.adapter = mem.New(first.brokers["z"], d.brokers["a"])
		first.route("orders", [2]string{"z", "in"}, [2]string{"a", "in"})
		first.brokers["z"].Put("in", message(1))
		first.start()
		d.start()
		first.empty("z", "in")
		d.empty("a", "in")
		pass(time.Minute)
		first.halt()
		d.halt()
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			t.Errorf("%d messages at the end", n)
		}
		if bs := d.dug(); len(bs) != 1 || bs[0].why.Reason != "loop" {
			t.Errorf("dead letters: %+v", bs)
		}
	})
}

// TestRenamedRepeater: a circle that a filter was meant to break, and a daemon that gets another name in between: its new
// name is in no path, so the message goes round once more, and then is kept.
func TestRenamedRepeater(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.route("back", [2]string{"b", "out"}, [2]string{"a", "in"}).Spool = d.r.Spool
		d.brokers["a"].Put("in", message(1))
		for _, name := range []string{"test", "renamed", "again"} {
			d.opts.Name = name
			d.start()
			pass(10 * time.Minute)
			st := d.rep.Status()
			if n := st.Routes[0].Lanes[0].Forwarded + st.Routes[1].Lanes[0].Forwarded; n > 2 {
				t.Errorf("%s: forwarded %d times", name, n)
			}
			d.halt()
			if bs := d.dug(); len(bs) == 1 && bs[0].why.Reason == "loop" {
				return
			}
		}
		t.Error("no dead letter")
	})
}
