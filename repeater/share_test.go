package repeater_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// sharing runs f in virtual time with a route from a/in to b/out, c/out and d/out.
func sharing(t *testing.T, s routes.Sharing, f func(w *world, r *routes.Route)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c", "d")
		r := w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}, [2]string{"c", "out"}, [2]string{"d", "out"})
		for i := range r.To {
			r.To[i].Weight = 1
		}
		r.Sharing = s
		f(w, r)
	})
}

func (w *world) lens(queue string, brokers ...string) (ns []int) {
	for _, b := range brokers {
		n, _ := w.brokers[b].Len(queue)
		ns = append(ns, n)
	}
	return ns
}

func (w *world) away(broker string) {
	w.brokers[broker].Link().Refuse()
	w.brokers[broker].Link().Cut()
}

func TestWeightedSharesExactly(t *testing.T) {
	sharing(t, routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}, func(w *world, r *routes.Route) {
		r.To[0].Weight, r.To[2].Weight = 5, 0
		w.brokers["a"].Put("in", messages(0, 600)...)
		w.start()
		w.empty("a", "in")
		if got := w.lens("out", "b", "c", "d"); !slices.Equal(got, []int{500, 100, 0}) {
			t.Errorf("5 to 1 to 0: %v", got)
		}
		if ns := numbers(w.take("b", "out", 500)); !slices.IsSorted(ns) {
			t.Errorf("a lane keeps the order: %v", ns)
		}
		w.halt()
	})
}

// What has not been sent goes to the others when its target goes down, without a journal too; what got no answer stays,
// and comes when the target is back.
func TestUnsentMessagesMove(t *testing.T) {
	sharing(t, routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}, func(w *world, r *routes.Route) {
		reg := prometheus.NewRegistry()
		w.opts.Metrics = reg
		r.InFlight, r.Batch.Count, r.Prefetch, r.To[2].Weight = 4, 4, 60, 0
		w.start()
		w.up()
		w.brokers["c"].Link().Stall()
		w.brokers["a"].Put("in", messages(0, 60)...)
		w.until("b has its own", func() bool { return w.lens("out", "b")[0] == 30 })
		w.away("c") // four are with it, twenty-six wait
		w.until("b has those of c, too", func() bool { return w.lens("out", "b")[0] == 56 })
		if n := count(t, reg, "posthouse_lane_moved_messages_total"); n != 26 {
			t.Errorf("%d moved", n)
		}
		w.brokers["a"].Put("in", messages(60, 20)...)
		w.until("new ones go to b", func() bool { return w.lens("out", "b")[0] == 76 })
		lane := w.rep.Status().Routes[0].Lanes[1]
		if lane.Share == nil || lane.Share.InUse || lane.Share.Moved != 26 || lane.Waiting != 4 {
			t.Errorf("lane of c: %+v, %+v", lane, lane.Share)
		}
		w.brokers["c"].Link().Allow()
		w.brokers["c"].Link().Cut()
		w.empty("a", "in")
		if got := w.lens("out", "b", "c"); !slices.Equal(got, []int{76, 4}) {
			t.Errorf("%v", got)
		}
		if lane = w.rep.Status().Routes[0].Lanes[1]; !lane.Share.InUse {
			t.Errorf("c is back and gets nothing: %+v", lane.Share)
		}
		w.halt()
	})
}

// A target that refuses everybody is tried with what it has; when nothing of that is left it gets messages again as soon
// as it can be attached.
func TestDeniedTargetComesBack(t *testing.T) {
	sharing(t, routes.Sharing{Distribute: routes.Affinity, WhenDown: routes.Move, Affinity: expression(t, "msg.key")}, func(w *world, r *routes.Route) {
		w.start()
		w.up()
		for _, b := range []string{"c", "d"} {
			w.brokers[b].SetRules("out", mem.Rules{Denied: true})
			w.brokers[b].Link().Cut()
		}
		w.until("both are blocked", func() bool { return w.inUse() == "map[b0:true c1:false d2:false]" })
		w.brokers["a"].Put("in", messages(0, 50)...)
		w.until("all go to b", func() bool { return w.lens("out", "b")[0] == 50 })
		for _, b := range []string{"c", "d"} {
			w.brokers[b].SetRules("out", mem.Rules{})
		}
		w.until("all are used", func() bool { return w.inUse() == "map[b0:true c1:true d2:true]" })
		w.halt()
	})
}

func (w *world) inUse() string {
	in := map[string]bool{}
	for _, l := range w.rep.Status().Routes[0].Lanes {
		in[l.Name[len("orders/"):]] = l.Share.InUse
	}
	return fmt.Sprint(in)
}

// With all targets down each lane keeps what was chosen for it.
func TestAllDownKeepsTheChoice(t *testing.T) {
	sharing(t, routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}, func(w *world, r *routes.Route) {
		w.table.Spool = &routes.Spool{Dir: t.TempDir(), SegmentSize: 128 << 10}
		r.Spool = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: time.Minute}
		w.start()
		w.up()
		for _, b := range []string{"b", "c", "d"} {
			w.away(b)
		}
		w.until("all are down", func() bool {
			return !slices.ContainsFunc(w.rep.Status().Routes[0].Lanes, func(l repeater.LaneStatus) bool { return l.Link.State != "down" })
		})
		w.brokers["a"].Put("in", messages(0, 90)...)
		w.empty("a", "in")
		for _, l := range w.rep.Status().Routes[0].Lanes {
			if l.Spooled != 30 {
				t.Errorf("%s has %d", l.Name, l.Spooled)
			}
		}
		w.brokers["b"].Link().Allow()
		w.until("b has its own", func() bool { return w.lens("out", "b")[0] == 30 })
		w.brokers["c"].Link().Allow()
		w.brokers["d"].Link().Allow()
		w.until("all have their own", func() bool { return slices.Equal(w.lens("out", "b", "c", "d"), []int{30, 30, 30}) })
		w.halt()
	})
}

// A message on which the expression of affinity fails has the fate of one on which a filter fails.
func TestAffinityThatFails(t *testing.T) {
	for fate, want := range map[routes.OnFilterError]string{routes.FilterErrorDeadLetter: "[0 0 0] 3", routes.FilterErrorSkip: "[0 0 0] 0"} {
		sharing(t, routes.Sharing{Distribute: routes.Affinity, WhenDown: routes.Wait, Affinity: expression(t, `string(int(msg.header.n) + int(msg.header.none))`)}, func(w *world, r *routes.Route) {
			r.OnFilterError, r.DeadLetter = fate, &routes.Target{Addr: addr([2]string{"a", "dead"})}
			w.start()
			w.brokers["a"].Put("in", messages(0, 3)...)
			w.empty("a", "in")
			n, _ := w.brokers["a"].Len("dead")
			if got := fmt.Sprint(w.lens("out", "b", "c", "d"), " ", n); got != want {
				t.Errorf("%s: %s, want %s", fate, got, want)
			}
			w.halt()
		})
	}
}

func failover() routes.Sharing {
	return routes.Sharing{Distribute: routes.Failover, FailoverAfter: 30 * time.Second, FailbackAfter: 5 * time.Minute}
}

func (w *world) target() string { return w.rep.Status().Routes[0].Lanes[0].Share.Target }

// The first target that can be reached is used, 30 s after the one before has gone down, and an earlier one again when it
// has been there for five minutes; nothing is lost, doubled or out of order.
func TestFailoverAndBack(t *testing.T) {
	sharing(t, failover(), func(w *world, r *routes.Route) {
		w.start()
		w.up()
		w.brokers["a"].Put("in", messages(0, 100)...)
		w.until("b has them", func() bool { return w.lens("out", "b")[0] == 100 })
		w.away("b")
		w.away("c")
		down := time.Now()
		w.brokers["a"].Put("in", messages(100, 50)...)
		w.until("d has them", func() bool { return w.lens("out", "d")[0] == 50 })
		if took := time.Since(down); took < 30*time.Second || took > 60*time.Second {
			t.Errorf("went over after %v", took)
		}
		w.brokers["c"].Link().Allow()
		w.brokers["b"].Link().Allow()
		back := time.Now()
		pass(2 * time.Minute)
		w.away("b") // it was there for two minutes only
		w.until("c is used again", func() bool { return w.target() == "c1" })
		if took := time.Since(back); took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("went back after %v", took)
		}
		w.brokers["b"].Link().Allow()
		pass(time.Minute)
		w.brokers["a"].Put("in", messages(150, 50)...)
		w.until("c has them", func() bool { return w.lens("out", "c")[0] == 50 })
		pass(5 * time.Minute)
		w.until("b is used again", func() bool { return w.target() == "b0" })
		w.brokers["a"].Put("in", messages(200, 50)...)
		w.until("b has them", func() bool { return w.lens("out", "b")[0] == 150 })
		got := numbers(slices.Concat(w.take("b", "out", 100), w.take("d", "out", 50), w.take("c", "out", 50), w.take("b", "out", 50)))
		if !slices.Equal(got, upTo(250)) {
			t.Errorf("%v", got)
		}
		if s := w.rep.Status().Routes[0].Lanes[0].Share; s.Switches != 3 || !slices.Equal(s.Targets, []string{"b0", "c1", "d2"}) {
			t.Errorf("%+v", s)
		}
		w.halt()
	})
}

// Before the lane goes back nothing more is sent, and what is in flight is waited for: while the target in use owes an
// answer, the earlier one gets nothing.
func TestFailbackWaitsForConfirms(t *testing.T) {
	sharing(t, failover(), func(w *world, r *routes.Route) {
		r.ConfirmTimeout = 10 * time.Minute
		w.start()
		w.up()
		w.away("b")
		w.until("c is used", func() bool { return w.target() == "c1" })
		w.up()
		w.brokers["a"].Put("in", message(0))
		w.until("c has one", func() bool { return w.lens("out", "c")[0] == 1 })
		w.brokers["b"].Link().Allow()
		pass(4*time.Minute + 30*time.Second)
		w.brokers["c"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(1, 40)...)
		pass(2 * time.Minute) // the earlier one has answered for long enough
		if n := w.lens("out", "b")[0]; n != 0 || w.target() != "c1" {
			t.Errorf("%d at b before c has answered, %s in use", n, w.target())
		}
		w.brokers["c"].Link().Allow()
		w.until("all are there", func() bool { ns := w.lens("out", "b", "c"); return ns[0]+ns[1] == 41 })
		if ns := w.lens("out", "b", "c"); ns[1] != 1+r.InFlight {
			t.Errorf("b, c: %v", ns)
		}
		w.halt()
	})
}

// What got no answer from the target that went down goes to the next one, flagged, and first.
func TestFailoverFlagsTheUnknown(t *testing.T) {
	sharing(t, failover(), func(w *world, r *routes.Route) {
		w.start()
		w.up()
		w.brokers["b"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(0, 40)...)
		w.until("b has a window", func() bool { return w.lens("out", "b")[0] == r.InFlight })
		w.away("b")
		got := w.take("c", "out", 40)
		if !slices.Equal(numbers(got), upTo(40)) {
			t.Errorf("%v", numbers(got))
		}
		for i, m := range got {
			if flag, _ := m.Prop("posthouse-possible-duplicate"); (flag.Str() == "true") != (i < r.InFlight) {
				t.Errorf("message %d: flag %q", i, flag.Str())
			}
		}
		w.halt()
	})
}

// A target that was reached and refuses is for an operator to mend: nobody takes its place. One that comes and goes is
// down.
func TestFailoverOnlyFromWhatIsDown(t *testing.T) {
	sharing(t, failover(), func(w *world, r *routes.Route) {
		w.start()
		w.up()
		w.brokers["b"].SetRules("out", mem.Rules{Denied: true})
		w.brokers["a"].Put("in", messages(0, 5)...)
		pass(3 * time.Minute)
		if w.target() != "b0" {
			t.Fatalf("%s took the place of one that denies", w.target())
		}
		w.brokers["b"].SetRules("out", mem.Rules{})
		w.until("b has them", func() bool { return w.lens("out", "b")[0] == 5 })
		for range 60 { // each time it is back for a moment
			w.brokers["b"].Link().Cut()
			pass(time.Second)
		}
		w.until("c is used", func() bool { return w.target() == "c1" })
		w.halt()
	})
}

// Whoever asks for the metrics of a route with dead letters and nothing to move gets them.
func TestMetricsOfWhatNeverHappened(t *testing.T) {
	sharing(t, routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}, func(w *world, r *routes.Route) {
		w.table.Spool = &routes.Spool{Dir: t.TempDir(), SegmentSize: 128 << 10}
		r.Spool = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: time.Minute}
		reg := prometheus.NewRegistry()
		w.opts.Metrics = reg
		w.start()
		w.brokers["a"].Put("in", messages(0, 3)...)
		w.empty("a", "in")
		if n := count(t, reg, "posthouse_route_forwarded_messages_total"); n != 3 {
			t.Errorf("%d forwarded", n)
		}
		w.halt()
	})
}

// With other weights a key goes to its new target only when the old one has got all that it still had to get: until then newer
// messages of it follow the older ones, and other keys go where they belong at once.
func TestNewWeightsWaitForTheBacklog(t *testing.T) {
	sharing(t, routes.Sharing{Distribute: routes.Affinity, WhenDown: routes.Wait, Affinity: expression(t, "msg.key")}, func(w *world, r *routes.Route) {
		w.table.Spool = &routes.Spool{Dir: t.TempDir(), SegmentSize: 128 << 10}
		r.Spool = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: time.Minute}
		r.To[0].Weight, r.To[1].Weight, r.To[2].Weight = 1, 0, 0
		w.away("b")
		w.start()
		w.brokers["a"].Put("in", withKeys(messages(0, 20), "k1", "k2")...)
		w.empty("a", "in")
		w.halt()
		r.To[0].Weight, r.To[1].Weight = 0, 1
		w.start()
		w.brokers["a"].Put("in", withKeys(messages(20, 20), "k1", "k2")...)
		w.brokers["a"].Put("in", withKeys(messages(40, 20), "k3", "k4")...)
		w.until("new keys are at their new target", func() bool { return w.lens("out", "c")[0] == 20 })
		w.empty("a", "in")
		w.brokers["b"].Link().Allow()
		w.until("the backlog is delivered", func() bool { return w.lens("out", "b")[0] == 40 })
		w.up()
		pass(time.Second) // its done marks are on disk
		w.brokers["a"].Put("in", withKeys(messages(60, 20), "k1", "k2")...)
		w.until("the keys have moved", func() bool { return w.lens("out", "c")[0] == 40 })
		if got := numbers(w.take("b", "out", 40)); !slices.Equal(got, upTo(40)) {
			t.Errorf("at the old target: %v", got)
		}
		if got := numbers(w.take("c", "out", 40)); !slices.IsSorted(got) || got[0] != 40 {
			t.Errorf("at the new target: %v", got)
		}
		w.halt()
	})
}
