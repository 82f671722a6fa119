package repeater_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// next is a copy of the world's table that may be changed.
func (w *world) next() *routes.Table {
	t := *w.table
	t.Brokers = map[string]*routes.Broker{}
	for n, b := range w.table.Brokers {
		own := *b
		t.Brokers[n] = &own
	}
	t.Routes = nil
	for _, r := range w.table.Routes {
		own := *r
		own.To = slices.Clone(r.To)
		t.Routes = append(t.Routes, &own)
	}
	return &t
}

// reload makes the repeater run t, which must be accepted.
func (w *world) reload(t *routes.Table) repeater.Reloading {
	w.t.Helper()
	out, err := w.rep.Reload(w.t.Context(), t, false)
	if err != nil {
		w.t.Fatalf("reload: %v", err)
	}
	w.table = t
	return out
}

// sources counts how often a source of a broker was opened.
type opens struct {
	adapters.Adapter
	n counter
}

func (o *opens) OpenSource(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Source, error) {
	o.n.add()
	return o.Adapter.OpenSource(ctx, c, a)
}

// What did not change is not touched: no session is opened again, nothing pauses.
func TestReloadLeavesTheRestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		for i := range 3 {
			w.route(fmt.Sprint("r", i), [2]string{"a", fmt.Sprint("in", i)}, [2]string{"b", fmt.Sprint("out", i)})
		}
		o := &opens{Adapter: w.adapter}
		w.adapter = o
		w.start()
		w.up()
		if n := o.n.get(); n != 3 {
			t.Fatalf("%d sources opened", n)
		}
		next := w.next()
		next.Routes[1].InFlight = 3
		slices.Reverse(next.Routes)
		out := w.reload(next)
		if len(out.Changed) != 1 || out.Changed[0].Name != "r1" || !slices.Equal(out.Changed[0].Keys, []string{"in_flight"}) || !slices.Equal(out.Restarted, []string{"r1"}) {
			t.Errorf("%+v", out.Diff)
		}
		w.up()
		if n := o.n.get(); n != 4 {
			t.Errorf("%d sources opened: only one of three routes has changed", n)
		}
		var names []string
		for _, r := range w.rep.Status().Routes {
			names = append(names, r.Name)
		}
		if !slices.Equal(names, []string{"r2", "r1", "r0"}) {
			t.Errorf("in file order: %v", names)
		}
		for i := range 3 {
			w.brokers["a"].Put(fmt.Sprint("in", i), messages(0, 20)...)
			if ns := numbers(w.take("b", fmt.Sprint("out", i), 20)); !slices.Equal(ns, upTo(20)) {
				t.Errorf("%v", ns)
			}
		}
		if out, err := w.rep.Reload(w.t.Context(), w.next(), false); err != nil || !out.Empty() || o.n.get() != 4 {
			t.Errorf("the same again: %+v, %v, %d opened", out.Diff, err, o.n.get())
		}
		w.halt()
	})
}

// delivery.md, X7 and C16: a route that changes while messages are in flight loses none, doubles none and keeps their order.
func TestC16_ReloadUnderWay(t *testing.T) {
	for name, change := range map[string]func(r *routes.Route){
		"window": func(r *routes.Route) { r.InFlight = 4 },
		"target": func(r *routes.Route) { r.To[0].Addr.Name = "elsewhere" },
		"mode":   func(r *routes.Route) { r.Spool.Mode = routes.SpoolAlways },
		"never":  func(r *routes.Route) { r.Spool.Mode = routes.SpoolNever },
		"order":  func(r *routes.Route) { r.Order = routes.OrderPerKey },
	} {
		t.Run(name, func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.brokers["b"].Link().SetLatency(300 * time.Millisecond)
				d.start()
				d.up()
				d.brokers["a"].Put("in", messages(0, 200)...)
				pass(time.Second)
				next := d.next()
				change(next.Routes[0])
				d.reload(next)
				d.brokers["a"].Put("in", messages(200, 100)...)
				d.empty("a", "in")
				d.until("all is delivered", func() bool { return d.lane().Spooled == 0 && d.lane().Waiting == 0 && d.lane().InFlight == 0 })
				n, _ := d.brokers["b"].Len("out")
				m, _ := d.brokers["b"].Len("elsewhere")
				got := append(d.take("b", "out", n), d.take("b", "elsewhere", m)...)
				if ns := numbers(got); !slices.Equal(ns, upTo(300)) {
					t.Errorf("%d before, then %v", n, ns[min(n, len(ns)):])
				}
				if name == "target" && (n == 0 || m < 100) {
					t.Errorf("void: %d at the old target, %d at the new one", n, m)
				}
				d.halt()
			})
		})
	}
}

// X7: a lane with a backlog hands its place in the journal over, to the target that the file names now.
func TestX07_ReloadHandsTheBacklogOver(t *testing.T) {
	for _, what := range []string{"spooling", "in flight", "draining"} {
		t.Run(what, func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.start()
				d.up()
				if what == "in flight" {
					d.brokers["b"].Link().HoldReplies()
					d.brokers["a"].Put("in", messages(0, 10)...)
					d.until("all are in flight", func() bool { return d.lane().InFlight == 10 })
				}
				d.away("b")
				d.is("spooling")
				d.brokers["a"].Put("in", messages(10, 190)...)
				if what != "in flight" {
					d.brokers["a"].Put("in", messages(0, 10)...)
				}
				d.spooled(200)
				if what == "draining" {
					d.brokers["b"].Link().SetLatency(time.Second)
					d.back("b")
					d.is("draining")
					pass(3 * time.Second)
				}
				next := d.next()
				next.Routes[0].InFlight = 7
				begin := time.Now()
				d.reload(next)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("a reload took %v", took)
				}
				d.brokers["b"].Link().SetLatency(0)
				d.back("b")
				d.is("pass-through")
				d.empty("a", "in")
				n, _ := d.brokers["b"].Len("out")
				got := d.take("b", "out", n)
				if there := firstArrivals(numbers(got)); len(there) != 200 {
					t.Errorf("%d of 200: %v", len(there), there)
				}
				if what == "in flight" && (n != 210 || flagged(got) != 10) {
					t.Errorf("%d messages, %d flagged: what may have been sent before the reload is said to be", n, flagged(got))
				}
				if what != "in flight" && n != 200 {
					t.Errorf("%d messages, want 200", n)
				}
				if st := d.lane(); st.SpooledTotal < 200 || st.Forwarded < 200 {
					t.Errorf("the counts have begun anew: %+v", st)
				}
				d.halt()
			})
		})
	}
}

// X8: a removed route leaves an orphan, and finds it again when it comes back.
func TestX08_RemovedRouteLeavesAnOrphan(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		reg := prometheus.NewRegistry()
		d.opts.Metrics = reg
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.spooled(50)
		whole, without := d.table, d.next()
		without.Routes = nil
		dry, err := d.rep.Reload(d.t.Context(), without, true)
		if err != nil || len(dry.Orphans) != 1 || dry.Orphans[0].Messages != 50 || len(d.rep.Status().Routes) != 1 {
			t.Errorf("dry run: %+v, %v", dry.Orphans, err)
		}
		out := d.reload(without)
		if len(out.Orphans) != 1 || out.Orphans[0].Name != d.r.Name+"/b0" || len(out.Removed) != 1 {
			t.Errorf("%+v %+v", out.Orphans, out.Diff)
		}
		if st := d.rep.Status(); len(st.Routes) != 0 || len(st.Spool.Orphans) != 1 || st.Spool.Orphans[0].Messages != 50 {
			t.Errorf("%+v", st)
		}
		if s := series(t, reg, "orders"); len(s) > 0 {
			t.Errorf("series of a route that is gone: %v", s)
		}
		d.brokers["a"].Put("in", messages(50, 10)...)
		d.back("b")
		pass(time.Minute)
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			t.Errorf("%d messages sent by a route that is gone", n)
		}
		d.reload(whole)
		if ns := numbers(d.take("b", "out", 60)); !slices.Equal(ns, upTo(60)) {
			t.Errorf("%v", ns)
		}
		d.is("pass-through")
		if st := d.rep.Status(); len(st.Spool.Orphans) != 0 {
			t.Errorf("%+v", st.Spool.Orphans)
		}
		d.halt()
	})
}

// series lists the series with a value of the label route.
func series(t *testing.T, reg prometheus.Gatherer, route string) (out []string) {
	t.Helper()
	fams, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fams {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" && l.GetValue() == route {
					out = append(out, f.GetName())
				}
			}
		}
	}
	return out
}

// A renamed route takes its spool along; where both names have one the reload is refused, and nothing has changed.
func TestReloadRenames(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.spooled(50)
		next := d.next()
		next.Routes[0].Name, next.Routes[0].RenamedFrom = "deals", "orders"
		out := d.reload(next)
		if len(out.Orphans) != 0 || len(out.Removed) != 1 || out.Removed[0].Was != "deals" {
			t.Errorf("%+v %+v", out.Orphans, out.Diff)
		}
		if st := d.rep.Status().Routes; len(st) != 1 || st[0].Name != "deals" || st[0].Lanes[0].Spooled != 50 {
			t.Errorf("%+v", st)
		}
		clash := d.next()
		clash.Routes[0].RenamedFrom = ""
		again := *clash.Routes[0]
		again.Name, again.From.Name = "orders", "other"
		clash.Routes = append(clash.Routes, &again)
		d.reload(clash) // now both have a lane in the journal
		back := d.next()
		back.Routes = back.Routes[1:]
		back.Routes[0].RenamedFrom = "deals"
		if _, err := d.rep.Reload(d.t.Context(), back, false); err == nil || !strings.Contains(err.Error(), "renamed_from") {
			t.Errorf("both have a spool: %v", err)
		}
		if st := d.rep.Status().Routes; len(st) != 2 || st[0].Lanes[0].Spooled != 50 {
			t.Errorf("a refused reload has changed something: %+v", st)
		}
		d.back("b")
		if ns := numbers(d.take("b", "out", 50)); !slices.Equal(ns, upTo(50)) {
			t.Errorf("%v", ns)
		}
		d.halt()
	})
}

// What only a restart can take refuses the whole reload.
func TestReloadRefused(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.opts.Getenv = func(string) string { return "" }
		d.start()
		d.up()
		for key, change := range map[string]func(n *routes.Table){
			"spool.dir": func(n *routes.Table) { n.Spool = &routes.Spool{Dir: "else", SegmentSize: 32 << 10} },
			"spool.sync": func(n *routes.Table) {
				n.Spool = &routes.Spool{Dir: "spool", SegmentSize: 32 << 10, Sync: routes.Sync{Never: true}}
			},
			"spool.segment_size": func(n *routes.Table) { n.Spool = &routes.Spool{Dir: "spool", SegmentSize: 64 << 10} },
			"spool":              func(n *routes.Table) { n.Spool = nil },
			"admin.listen":       func(n *routes.Table) { n.Admin.Listen = "127.0.0.1:1" },
			"brokers.c.embedded": func(n *routes.Table) {
				n.Brokers["c"] = &routes.Broker{Name: "c", Kind: "mem", Config: adapters.Config{Options: adapters.Options{"embedded": adapters.Options{}}}}
			},
		} {
			next := d.next()
			next.Routes[0].InFlight = 3 // which alone would be taken
			change(next)
			_, err := d.rep.Reload(d.t.Context(), next, false)
			var p *repeater.ProcessError
			if !errors.As(err, &p) || !slices.Equal(p.Keys, []string{key}) {
				t.Errorf("%s: %v", key, err)
			}
		}
		next := d.next()
		next.Brokers["a"].Secrets = []routes.SecretRef{{Key: "credentials.password", Env: "NONE"}}
		var s *routes.SecretError
		if _, err := d.rep.Reload(d.t.Context(), next, false); !errors.As(err, &s) {
			t.Errorf("without its secret: %v", err)
		}
		if d.rep.Table() != d.table {
			t.Error("a refused table runs")
		}
		d.brokers["a"].Put("in", messages(0, 5)...)
		d.take("b", "out", 5)
		d.halt()
		if _, err := d.rep.Reload(d.t.Context(), d.table, false); !errors.Is(err, repeater.ErrOver) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A reload ends within the grace period whatever is broken; a broker that is away does not refuse it.
func TestReloadIsBounded(t *testing.T) {
	for name, breakIt := range map[string]func(d *depot){
		"target away":    func(d *depot) { d.away("b") },
		"target stalled": func(d *depot) { d.brokers["b"].Link().Stall() },
		"no answers":     func(d *depot) { d.brokers["b"].Link().HoldReplies() },
		"source stalled": func(d *depot) { d.brokers["a"].Link().Stall() },
		"source away":    func(d *depot) { d.away("a") },
	} {
		for _, mode := range []routes.SpoolMode{routes.SpoolAuto, routes.SpoolNever, routes.SpoolAlways} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				spooling(t, mode, func(d *depot) {
					d.opts.Grace = 20 * time.Second
					d.start()
					d.up()
					d.brokers["a"].Put("in", messages(0, 100)...)
					breakIt(d)
					pass(5 * time.Second)
					for i := range 3 {
						next := d.next()
						next.Routes[0].InFlight = 2 + i
						begin := time.Now()
						d.reload(next)
						if took := time.Since(begin); took > 50*time.Second {
							t.Errorf("%v", took)
						}
						pass(time.Second)
					}
					for _, b := range []string{"a", "b"} {
						d.back(b)
					}
					d.empty("a", "in")
					d.until("all is delivered", func() bool { return d.lane().Spooled == 0 && d.lane().Waiting == 0 && d.lane().InFlight == 0 })
					n, _ := d.brokers["b"].Len("out")
					if ns := firstArrivals(numbers(d.take("b", "out", n))); !slices.Equal(ns, upTo(100)) {
						t.Errorf("%v", ns)
					}
					d.halt()
				})
			})
		}
	}
}

// A broker that changes restarts the flows that use it, and no others.
func TestReloadOfABroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c", "d")
		w.route("one", [2]string{"a", "in"}, [2]string{"b", "out"})
		w.route("two", [2]string{"c", "in"}, [2]string{"d", "out"})
		o := &opens{Adapter: w.adapter}
		w.adapter = o
		secret := "old"
		w.opts.Getenv = func(string) string { return secret }
		w.table.Brokers["d"].Secrets = []routes.SecretRef{{Key: "credentials.password", Env: "X"}}
		w.start()
		w.up()
		next := w.next()
		next.Brokers["b"].Reconnect.Delay = 2 * time.Second
		if out := w.reload(next); !slices.Equal(out.Restarted, []string{"one"}) || len(out.Brokers) != 1 || !slices.Equal(out.Brokers[0].Keys, []string{"reconnect.delay"}) {
			t.Errorf("%+v", out.Diff)
		}
		w.up()
		secret = "new"
		if out := w.reload(w.next()); !slices.Equal(out.Restarted, []string{"two"}) {
			t.Errorf("another secret: %+v", out.Diff)
		}
		w.up()
		if n := o.n.get(); n != 4 {
			t.Errorf("%d sources opened", n)
		}
		for _, q := range [][2]string{{"a", "b"}, {"c", "d"}} {
			w.brokers[q[0]].Put("in", messages(0, 5)...)
			w.take(q[1], "out", 5)
		}
		w.halt()
	})
}

// On an exactly-once route a reload while the source is away does not double what was delivered and not settled.
func TestReloadKeepsWhatIsNotSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedgerOnce(t, 1)
		l.start()
		l.up()
		l.brokers["a"].Put("in", messages(0, 40)...)
		for _, b := range l.targets {
			l.brokers[b].Link().SetLatency(0)
		}
		l.brokers["a"].Link().HoldReplies() // settles are not confirmed
		pass(10 * time.Second)
		l.brokers["a"].Link().Cut()
		for i := range 3 {
			next := l.next()
			next.Routes[0].Retry.Delay += time.Duration(i+1) * time.Millisecond
			l.reload(next)
			pass(time.Second)
		}
		l.brokers["a"].Link().Allow()
		l.empty("a", "in")
		l.drained()
		for _, b := range l.targets {
			n, _ := l.brokers[b].Len("out")
			if ns := numbers(l.take(b, "out", n)); !slices.Equal(ns, upTo(40)) {
				t.Errorf("%s: %v", b, ns)
			}
		}
		l.halt()
	})
}

// A lane that drains an old backlog and may write nothing more stops like any other.
func TestStopWithABacklogThatMayNotGrow(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 20)...)
		d.spooled(20)
		next := d.next()
		next.Routes[0].Spool.Mode = routes.SpoolNever
		d.reload(next)
		d.brokers["a"].Put("in", messages(20, 20)...)
		pass(5 * time.Second)
		if took := d.halt(); took > 5*time.Second {
			d.t.Errorf("stopped after %v", took)
		}
		d.back("b")
		d.start()
		if ns := numbers(d.take("b", "out", 40)); !slices.Equal(ns, upTo(40)) {
			d.t.Errorf("%v", ns)
		}
		d.halt()
	})
}
