package repeater_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// tell gives an order that must be taken.
func (w *world) tell(name string, o repeater.Order) repeater.Obeyed {
	w.t.Helper()
	out, err := w.rep.Command(w.t.Context(), repeater.Command{Name: name, Order: o, By: "anna", Reason: "ticket 7"})
	if err != nil {
		w.t.Fatalf("%s %s: %v", o, name, err)
	}
	return out
}

// routeStatus is the status of a route.
func (w *world) routeStatus(name string) repeater.RouteStatus {
	rs := w.rep.Status().Routes
	i := slices.IndexFunc(rs, func(r repeater.RouteStatus) bool { return r.Name == name })
	if i < 0 {
		w.t.Fatalf("route %s does not run", name)
	}
	return rs[i]
}

// routeIs waits for a state of a route.
func (w *world) routeIs(name, state string) {
	w.t.Helper()
	w.until("route "+name+" is "+state, func() bool { return w.routeStatus(name).State == state })
}

// everySpool runs f with each way that messages may wait: "" is a file without a spool.
func everySpool(t *testing.T, f func(d *depot)) {
	for _, mode := range []routes.SpoolMode{"", routes.SpoolNever, routes.SpoolAuto, routes.SpoolAlways} {
		t.Run("spool="+string(mode), func(t *testing.T) {
			spooling(t, mode, func(d *depot) {
				if mode == "" {
					d.table.Spool, d.opts.SpoolFS, d.r.Spool.Mode = nil, nil, routes.SpoolNever
				}
				f(d)
			})
		})
	}
}

// A paused route reads nothing and sends nothing; what had been received is sent, spooled or back at its source. Resumed, it
// goes on where it was: nothing is lost, nothing comes twice, the order holds.
func TestPauseUnderLoad(t *testing.T) {
	everySpool(t, func(d *depot) {
		d.brokers["b"].Link().SetLatency(300 * time.Millisecond)
		d.start()
		d.up()
		d.brokers["a"].Put("in", messages(0, 300)...)
		pass(time.Second)
		out := d.tell("orders", repeater.Pause)
		if !out.Changed || out.Stands == nil || out.Stands.By != "anna" || len(out.Shares) > 0 {
			d.t.Errorf("%+v", out)
		}
		d.routeIs("orders", "paused")
		before, _ := d.brokers["b"].Len("out")
		if before == 0 || before == 300 {
			d.t.Errorf("void: %d messages had been sent", before)
		}
		st := d.routeStatus("orders")
		if st.Source.State != "paused" || st.Told == nil || st.Told.Reason != "ticket 7" || st.Lanes[0].State != "paused" || st.Lanes[0].InFlight != 0 {
			d.t.Errorf("%+v", st)
		}
		waiting, open := d.brokers["a"].Len("in")
		if open != 0 || waiting+before+int(st.Lanes[0].Spooled) != 300 {
			d.t.Errorf("%d at the source, %d of them given out, %d spooled, %d sent", waiting, open, st.Lanes[0].Spooled, before)
		}
		pass(time.Hour)
		if n, _ := d.brokers["b"].Len("out"); n != before {
			d.t.Errorf("%d messages were sent while it was paused", n-before)
		}
		if again := d.tell("orders", repeater.Pause); again.Changed {
			d.t.Errorf("paused twice: %+v", again)
		}
		if out := d.tell("orders", repeater.Resume); !out.Changed || out.Stands != nil {
			d.t.Errorf("%+v", out)
		}
		if got := d.take("b", "out", 300); !slices.Equal(numbers(got), upTo(300)) {
			d.t.Errorf("%v", numbers(got))
		}
		d.up()
		d.empty("a", "in")
		d.halt()
	})
}

// What is in flight when a route is paused is waited for; until then it says so.
func TestPauseWaitsForWhatIsInFlight(t *testing.T) {
	everySpool(t, func(d *depot) {
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(0, 8)...)
		d.until("all are in flight", func() bool { return d.lane().InFlight == 8 })
		d.tell("orders", repeater.Pause)
		pass(5 * time.Second)
		if st := d.routeStatus("orders"); st.State != "pausing" || st.Lanes[0].State == "paused" {
			d.t.Errorf("%s, its lane %s", st.State, st.Lanes[0].State)
		}
		d.brokers["b"].Link().Allow()
		d.routeIs("orders", "paused")
		d.empty("a", "in")
		d.tell("orders", repeater.Resume)
		d.up()
		d.take("b", "out", 8)
		pass(time.Minute)
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			d.t.Errorf("%d came twice", n)
		}
		d.halt()
	})
}

// A stop does not wait for an operator, and a daemon that is started with paused routes does not begin them.
func TestPauseOverAStart(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		dir := d.t.TempDir()
		d.table.Spool.Dir, d.opts.SpoolFS = dir, nil
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 20)...)
		d.start()
		d.spooled(20)
		d.tell("orders", repeater.Pause)
		d.routeIs("orders", "paused")
		d.back("b")
		pass(time.Minute)
		if took := d.halt(); took > time.Second {
			d.t.Errorf("the stop took %v", took)
		}
		d.brokers["a"].Put("in", messages(20, 20)...)
		d.start()
		pass(10 * time.Minute)
		n, _ := d.brokers["b"].Len("out")
		if waiting, _ := d.brokers["a"].Len("in"); n != 0 || waiting != 20 {
			d.t.Errorf("%d sent, %d at the source", n, waiting)
		}
		d.routeIs("orders", "paused")
		d.tell("orders", repeater.Resume)
		if got := d.take("b", "out", 40); !slices.Equal(numbers(got), upTo(40)) {
			d.t.Errorf("%v", numbers(got))
		}
		d.halt()
		d.start()
		d.up()
		d.halt()
		if err := os.WriteFile(filepath.Join(dir, "test", "orders.json"), []byte("{"), 0o600); err != nil {
			d.t.Fatal(err)
		}
		d.start()
		if err := <-d.done; err == nil {
			d.t.Error("a file of orders that cannot be read does not matter")
		}
		d.stop()
	})
}

// A drained route has sent what it had and received nothing more; then it is paused.
func TestDrain(t *testing.T) {
	for _, over := range []string{"", "a start", "a reload"} {
		t.Run(over, func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.table.Spool.Dir, d.opts.SpoolFS = d.t.TempDir(), nil
				d.away("b")
				d.brokers["a"].Put("in", messages(0, 100)...)
				d.start()
				d.spooled(100)
				if out := d.tell("orders", repeater.Drain); out.Stands.Order != repeater.Drain {
					d.t.Errorf("%+v", out)
				}
				d.until("the source is left", func() bool { return d.routeStatus("orders").Source.State == "paused" })
				d.brokers["a"].Put("in", messages(100, 50)...)
				pass(time.Minute)
				if st := d.routeStatus("orders"); st.State != "draining" || st.Lanes[0].Spooled != 100 {
					d.t.Errorf("%+v", st)
				}
				switch over {
				case "a start":
					d.halt()
					d.start()
				case "a reload":
					next := d.next()
					next.Routes[0].Name, next.Routes[0].RenamedFrom = "bills", "orders"
					d.reload(next)
				}
				d.back("b")
				if got := d.take("b", "out", 100); !slices.Equal(numbers(got), upTo(100)) {
					d.t.Errorf("%v", numbers(got))
				}
				name := d.table.Routes[0].Name
				d.routeIs(name, "paused")
				pass(10 * time.Minute)
				if st := d.routeStatus(name); !st.Told.Ended || st.Told.Order != repeater.Pause || st.Told.By != "anna" || st.Lanes[0].Spooled != 0 {
					d.t.Errorf("%+v", st.Told)
				}
				if waiting, open := d.brokers["a"].Len("in"); waiting != 50 || open != 0 {
					d.t.Errorf("%d at the source, %d given out", waiting, open)
				}
				d.tell(name, repeater.Resume)
				d.take("b", "out", 50)
				d.up()
				d.halt()
			})
		})
	}
}

// Routes that share a source: it is read as long as one of them runs, and what comes for a paused one waits in its spool.
func TestPauseOneOfTwoThatShareASource(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.route("copies", [2]string{"a", "in"}, [2]string{"b", "copies"}).Spool = d.r.Spool
		d.start()
		d.up()
		out := d.tell("orders", repeater.Pause)
		if !slices.Equal(out.Shares, []string{"copies"}) {
			d.t.Errorf("%+v", out)
		}
		d.brokers["a"].Put("in", messages(0, 200)...)
		if got := d.take("b", "copies", 200); !slices.Equal(numbers(got), upTo(200)) {
			d.t.Errorf("%v", numbers(got))
		}
		d.empty("a", "in")
		d.spooled(200)
		d.routeIs("orders", "paused")
		if _, err := d.rep.Command(d.t.Context(), repeater.Command{Name: "orders", Order: repeater.Drain}); !errors.Is(err, repeater.ErrShared) {
			d.t.Errorf("%v", err)
		}
		d.tell("copies", repeater.Drain)
		d.until("the source is left", func() bool { return d.routeStatus("orders").Source.State == "paused" })
		d.routeIs("copies", "paused")
		d.brokers["a"].Put("in", messages(200, 10)...)
		pass(time.Hour)
		if waiting, _ := d.brokers["a"].Len("in"); waiting != 10 {
			d.t.Errorf("%d at the source", waiting)
		}
		d.tell("orders", repeater.Resume)
		if got := d.take("b", "out", 210); !slices.Equal(numbers(got), upTo(210)) {
			d.t.Errorf("%v", numbers(got))
		}
		d.tell("copies", repeater.Resume)
		d.take("b", "copies", 10)
		d.up()
		d.halt()
	})
}

// One lane of several is paused: its messages wait, those of the other go on.
func TestPauseALane(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.To = append(d.r.To, routes.Target{Name: "second", Addr: addr([2]string{"b", "second"})})
		d.start()
		d.up()
		d.tell("orders/second", repeater.Pause)
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.take("b", "out", 100)
		d.empty("a", "in")
		st := d.routeStatus("orders")
		if st.State != "paused" || st.Told != nil || st.Lanes[0].State != "pass-through" || st.Lanes[1].State != "paused" || st.Lanes[1].Told == nil || st.Lanes[1].Spooled != 100 {
			d.t.Errorf("%+v", st)
		}
		d.tell("orders", repeater.Pause)
		d.routeIs("orders", "paused")
		d.tell("orders", repeater.Resume)
		d.until("the other lane goes on", func() bool { return d.routeStatus("orders").Lanes[0].State == "pass-through" })
		if n, _ := d.brokers["b"].Len("second"); n != 0 {
			d.t.Errorf("%d sent: the lane's own order has been forgotten", n)
		}
		d.tell("orders/second", repeater.Resume)
		if got := d.take("b", "second", 100); !slices.Equal(numbers(got), upTo(100)) {
			d.t.Errorf("%v", numbers(got))
		}
		d.up()
		d.halt()
	})
}

// Where another target may have it, a paused lane is passed by.
func TestPausedLaneIsPassedBy(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.To = append(d.r.To, routes.Target{Name: "second", Addr: addr([2]string{"b", "second"}), Weight: 1})
		d.r.To[0].Weight = 1
		d.r.Sharing = routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}
		d.start()
		d.up()
		d.tell("orders/second", repeater.Pause)
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.take("b", "out", 50)
		d.tell("orders/second", repeater.Resume)
		d.brokers["a"].Put("in", messages(50, 50)...)
		d.take("b", "second", 25)
		d.take("b", "out", 25)
		d.halt()
	})
}

// A restart ends a route as a stop does, and begins it again: nothing is lost or doubled, and only that route is concerned.
func TestRestart(t *testing.T) {
	everySpool(t, func(d *depot) {
		o := &opens{Adapter: d.adapter}
		d.adapter = o
		d.route("other", [2]string{"b", "x"}, [2]string{"a", "x"})
		d.brokers["b"].Link().SetLatency(300 * time.Millisecond)
		d.start()
		d.up()
		d.brokers["a"].Put("in", messages(0, 200)...)
		pass(time.Second)
		was := o.n.get()
		if out := d.tell("orders", repeater.Restart); !slices.Equal(out.Begun, []string{"orders"}) || out.Stands != nil {
			d.t.Errorf("%+v", out)
		}
		if got := d.take("b", "out", 200); !slices.Equal(numbers(got), upTo(200)) {
			d.t.Errorf("%v", numbers(got))
		}
		d.empty("a", "in")
		if n := o.n.get() - was; n != 1 {
			d.t.Errorf("%d sources were opened", n)
		}
		d.tell("orders", repeater.Pause)
		d.tell("orders", repeater.Restart)
		d.routeIs("orders", "paused")
		if again, err := d.rep.Reconnect(d.t.Context(), "b", false); err != nil || !slices.Equal(again, []string{"orders", "other"}) {
			d.t.Errorf("%v, %v", again, err)
		}
		d.routeIs("orders", "paused")
		d.routeIs("other", "pass-through")
		d.halt()
	})
}

// What cannot be done is told apart, and changes nothing.
func TestOrdersRefused(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.start()
		w.up()
		for _, c := range []struct {
			name string
			o    repeater.Order
			want error
		}{
			{"bills", repeater.Pause, repeater.ErrNoRoute}, {"orders/x", repeater.Pause, repeater.ErrNoLane},
			{"orders", "stop", repeater.ErrNoOrder}, {"orders/b0", repeater.Drain, repeater.ErrLaneOnly},
			{"orders/b0", repeater.Restart, repeater.ErrLaneOnly}, {"", repeater.Pause, repeater.ErrNoRoute},
		} {
			if _, err := w.rep.Command(w.t.Context(), repeater.Command{Name: c.name, Order: c.o}); !errors.Is(err, c.want) {
				t.Errorf("%s %s: %v", c.o, c.name, err)
			}
		}
		if _, err := w.rep.Reconnect(w.t.Context(), "z", false); !errors.Is(err, repeater.ErrNoBroker) {
			t.Error(err)
		}
		for _, o := range repeater.Orders() {
			if out, err := w.rep.Command(w.t.Context(), repeater.Command{Name: "orders", Order: o, DryRun: true}); err != nil || !out.DryRun {
				t.Errorf("%s: %+v, %v", o, out, err)
			}
		}
		pass(time.Minute)
		if st := w.routeStatus("orders"); st.State != "pass-through" || st.Told != nil {
			t.Errorf("%+v", st)
		}
		w.halt()
	})
}

// A route is paused whose target is away and that has no spool: what has no answer goes back after a while, and is sent
// again, flagged, when the route goes on.
func TestPauseWithoutAWayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, func(string) mem.Options { return mem.Options{} }, "a", "b")
		w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"})
		w.start()
		w.up()
		w.brokers["b"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(0, 8)...)
		w.until("all are in flight", func() bool { return w.routeStatus("orders").Lanes[0].InFlight == 8 })
		w.brokers["b"].Link().Refuse()
		w.brokers["b"].Link().Cut()
		w.tell("orders", repeater.Pause)
		w.routeIs("orders", "paused")
		if waiting, open := w.brokers["a"].Len("in"); waiting != 8 || open != 0 {
			t.Errorf("%d at the source, %d given out", waiting, open)
		}
		w.brokers["b"].Link().Allow()
		pass(time.Minute)
		w.tell("orders", repeater.Resume)
		var got []*adapters.Message
		w.until("all have come again", func() bool { n, _ := w.brokers["b"].Len("out"); return n == 16 })
		if got = w.take("b", "out", 16); flagged(got) != 8 {
			t.Errorf("%d flagged: %v", flagged(got), fmt.Sprint(numbers(got)))
		}
		w.halt()
	})
}
