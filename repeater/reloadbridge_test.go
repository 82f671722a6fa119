package repeater_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// A bridge that changes while requests are outstanding knows their requesters as before: its two routes and its table are
// exchanged together, whichever of them has changed.
func TestReloadOfABridge(t *testing.T) {
	for name, change := range map[string]func(c *crossing, n *routes.Table){
		"request route": func(_ *crossing, n *routes.Table) { n.Routes[0].InFlight = 3 },
		"reply route":   func(_ *crossing, n *routes.Table) { n.Routes[1].InFlight = 3 },
		"bridge": func(c *crossing, n *routes.Table) {
			own := *c.bridge
			own.MaxOutstanding = 50
			n.Bridges = []*routes.Bridge{&own}
			n.Routes[0].Asks, n.Routes[1].Answers = &own, &own
		},
		"gone and back": nil,
	} {
		for _, spooled := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", a spool: ", spooled), func(t *testing.T) {
				bridged(t, func(c *crossing) {
					c.bridge.Timeout = 5 * time.Minute
					if !spooled {
						c.table.Spool = nil
						for _, r := range c.table.Routes {
							r.Spool.Mode = routes.SpoolNever
						}
					}
					c.start()
					c.up()
					for n := range 20 {
						c.brokers["a"].Put("SQ1", request(n, "same"))
					}
					qs := c.take("b", "TQ1", 20)
					c.empty("a", "SQ1")
					for _, q := range qs[:5] {
						c.answer(q, false)
					}
					first := c.take("a", "TQ2", 5)
					c.empty("b", "SQ2")
					if change == nil {
						back, none := c.next(), c.next()
						back.Bridges, none.Bridges, none.Routes = c.table.Bridges, nil, nil
						c.reload(none)
						pass(time.Second)
						c.reload(back)
					} else {
						next := c.next()
						change(c, next)
						if out := c.reload(next); !slices.Equal(out.Restarted, []string{"pricing.request", "pricing.reply"}) {
							t.Errorf("restarted %v", out.Restarted)
						}
					}
					c.outstanding(15)
					for i, q := range qs[5:] {
						c.answer(q, i%2 == 0)
					}
					for i, m := range append(first, c.take("a", "TQ2", 15)...) {
						if want := map[bool]string{true: "same", false: fmt.Sprint("m", i)}[i >= 5 && i%2 == 1]; m.Corr.S != want {
							t.Errorf("reply %d: for %q, want %q", i, m.Corr.S, want)
						}
					}
					c.outstanding(0)
					c.brokers["a"].Put("SQ1", request(99, "later"))
					c.answer(c.asked(), false)
					c.take("a", "TQ2", 1)
					c.halt()
				})
			})
		}
	}
}

// A lane whose targets stand in for each other, and lanes that share, keep what they have spooled over a reload.
func TestReloadOfSeveralTargets(t *testing.T) {
	for _, how := range []routes.Distribute{routes.Failover, routes.Weighted} {
		t.Run(string(how), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newWorld(t, "a", "b", "c")
				r := l.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}, [2]string{"c", "out"})
				r.Sharing = routes.Sharing{Distribute: how, WhenDown: routes.Wait, FailoverAfter: 5 * time.Minute, FailbackAfter: time.Minute}
				for i := range r.To {
					r.To[i].Weight = 1
				}
				l.table.Spool, l.opts.SpoolFS = &routes.Spool{Dir: "spool", SegmentSize: 64 << 10}, spooltest.NewDisk()
				r.Spool = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: 30 * time.Second}
				for _, b := range []string{"b", "c"} {
					l.brokers[b].Link().Refuse()
				}
				l.start()
				l.brokers["a"].Put("in", messages(0, 60)...)
				l.empty("a", "in")
				next := l.next()
				next.Routes[0].InFlight = 5
				l.reload(next)
				for _, b := range []string{"b", "c"} {
					l.brokers[b].Link().Allow()
				}
				l.until("all is delivered", func() bool {
					return !slices.ContainsFunc(l.rep.Status().Routes[0].Lanes, func(s repeater.LaneStatus) bool { return s.Spooled > 0 })
				})
				b, _ := l.brokers["b"].Len("out")
				c, _ := l.brokers["c"].Len("out")
				got := numbers(append(l.take("b", "out", b), l.take("c", "out", c)...))
				slices.Sort(got)
				if !slices.Equal(got, upTo(60)) {
					t.Errorf("%v", got)
				}
				l.halt()
			})
		})
	}
}
