package repeater_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// threeRoutes makes of a/in: "big" to b/big, "small" to b/small, and what rest says to b/rest.
func threeRoutes(t *testing.T, f func(d *depot, big, small *routes.Route)) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		small := d.route("small", [2]string{"a", "in"}, [2]string{"b", "small"})
		small.Spool, small.MaxAttempts = d.r.Spool, 5
		d.r.To[0].Addr.Name = "big"
		d.r.Filter, small.Filter = filterOf(t, `int(msg.header.n) >= 10`), filterOf(t, `int(msg.header.n) < 20`)
		f(d, d.r, small)
	})
}

// Of routes with match: first, the first in file order takes a message; what neither wants goes to otherwise.
func TestFirstMatchAndOtherwise(t *testing.T) {
	threeRoutes(t, func(d *depot, big, small *routes.Route) {
		rest := d.route("rest", [2]string{"a", "in"}, [2]string{"b", "rest"})
		big.Match, small.Match, rest.Match = routes.MatchFirst, routes.MatchFirst, routes.MatchOtherwise
		small.Filter = filterOf(t, `int(msg.header.n) > 4`)
		d.brokers["a"].Put("in", messages(0, 30)...)
		d.start()
		for queue, want := range map[string][]int{"rest": upTo(30)[:5], "small": upTo(30)[5:10], "big": upTo(30)[10:]} {
			if got := numbers(d.take("b", queue, len(want))); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", queue, got, want)
			}
		}
		d.empty("a", "in")
		d.halt()
		for _, queue := range []string{"big", "small", "rest"} {
			if n, _ := d.brokers["b"].Len(queue); n != 0 {
				t.Errorf("%d messages too many in %s", n, queue)
			}
		}
	})
}

// What no route takes: a dead letter by default, else left at the source, or counted.
func TestUnroutedMessages(t *testing.T) {
	for _, fate := range []routes.Unrouted{"", routes.UnroutedDeadLetter, routes.UnroutedLeave, routes.UnroutedSkip} {
		t.Run(string(fate), func(t *testing.T) {
			threeRoutes(t, func(d *depot, big, small *routes.Route) {
				small.Filter, small.Unrouted = filterOf(t, `int(msg.header.n) < 5`), fate
				d.brokers["a"].Put("in", messages(0, 12)...)
				d.start()
				d.take("b", "big", 2)
				d.take("b", "small", 5)
				at := func(queue string) int { n, open := d.brokers["a"].Len(queue); return n + open }
				switch fate {
				case routes.UnroutedLeave:
					d.until("five are left", func() bool { return at("in") == 5 })
					pass(3 * time.Minute)
					if n := at("in"); n != 5 || d.rep.Status().Routes[0].Refused < 10 {
						t.Errorf("%d of 5 are left, %d refused", n, d.rep.Status().Routes[0].Refused)
					}
				default:
					d.empty("a", "in")
				}
				d.halt()
				want := 5
				if fate == routes.UnroutedLeave || fate == routes.UnroutedSkip {
					want = 0
				}
				if bs := d.dug(); len(bs) != want || want > 0 && bs[0].why.Reason != "unroutable" {
					t.Errorf("dead letters: %+v", bs)
				}
				if got := d.rep.Status().Routes[0].Filtered; got < 10 {
					t.Errorf("%d counted as filtered, want 10", got)
				}
			})
		})
	}
}

// A single route skips what its filter does not want, unless the file says otherwise.
func TestUnroutedOfASingleRoute(t *testing.T) {
	for fate, want := range map[routes.Unrouted]int{"": 0, routes.UnroutedDeadLetter: 7} {
		spooling(t, routes.SpoolAuto, func(d *depot) {
			d.r.Filter, d.r.Unrouted = filterOf(t, `int(msg.header.n) < 3`), fate
			d.brokers["a"].Put("in", messages(0, 10)...)
			d.start()
			d.take("b", "out", 3)
			d.empty("a", "in")
			d.halt()
			if bs := d.dug(); len(bs) != want {
				t.Errorf("%q: dead letters %+v", fate, bs)
			}
		})
	}
}

// on_filter_error: stop. What came before the message is delivered, it and what comes behind it stay at the source, the
// source says why, and another start goes on.
func TestFilterErrorStopsTheRoute(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Filter, d.r.OnFilterError = filterOf(t, `int(msg.header.n) >= 0`), routes.FilterErrorStop
		ms := messages(0, 20)
		ms[7].Props[0].V = adapters.String("seven")
		d.brokers["a"].Put("in", ms...)
		d.start()
		if got := numbers(d.take("b", "out", 7)); !slices.Equal(got, upTo(7)) {
			t.Errorf("before it: %v", got)
		}
		d.until("the source is blocked", func() bool { return d.rep.Status().Routes[0].State == "blocked" })
		d.until("thirteen are given back", func() bool { n, open := d.brokers["a"].Len("in"); return n == 13 && open == 0 })
		pass(10 * time.Minute)
		if src := d.rep.Status().Routes[0].Source; src.State != "blocked" || !strings.Contains(src.Error, "on_filter_error: stop") || !strings.Contains(src.Error, "seven") {
			t.Errorf("source: %+v", src)
		}
		if n, _ := d.brokers["a"].Len("in"); n != 13 {
			t.Errorf("%d of 13 messages wait at the source", n)
		}
		if d.halt() > time.Second {
			t.Error("the stop had to wait")
		}
		d.r.OnFilterError = routes.FilterErrorDeadLetter
		d.start()
		if got := numbers(d.take("b", "out", 12)); !slices.Equal(got, upTo(20)[8:]) {
			t.Errorf("behind it: %v", got)
		}
		d.empty("a", "in")
		d.halt()
		if bs := d.dug(); len(bs) != 1 || bs[0].why.Reason != "filter-error" {
			t.Errorf("dead letters: %+v", bs)
		}
	})
}

// A route that stops keeps a message from the others of its source too: nobody has it twice when it comes again.
func TestStopKeepsTheMessageFromAllRoutes(t *testing.T) {
	threeRoutes(t, func(d *depot, big, small *routes.Route) {
		big.Filter, small.Filter = nil, filterOf(t, `int(msg.header.n) >= 0`)
		small.OnFilterError = routes.FilterErrorStop
		m := message(0)
		m.Props[0].V = adapters.String("none")
		d.brokers["a"].Put("in", m)
		d.start()
		d.until("blocked", func() bool { return d.rep.Status().Routes[1].State == "blocked" })
		d.until("given back", func() bool { n, open := d.brokers["a"].Len("in"); return n == 1 && open == 0 })
		d.halt()
		if n, _ := d.brokers["b"].Len("big"); n != 0 {
			t.Errorf("%d went to the other route", n)
		}
	})
}

// A reload with another filter lets a route go on that has stopped at a message; one that changes nothing does not.
func TestReloadEndsAStop(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Filter, d.r.OnFilterError = filterOf(t, `int(msg.header.n) >= 0`), routes.FilterErrorStop
		ms := messages(0, 10)
		ms[4].Props[0].V = adapters.String("four")
		d.brokers["a"].Put("in", ms...)
		d.start()
		d.take("b", "out", 4)
		d.until("stopped", func() bool { return d.rep.Status().Routes[0].State == "blocked" })
		if out, err := d.rep.Reload(d.t.Context(), d.next(), false); err != nil || !out.Empty() {
			t.Fatalf("%+v, %v", out, err)
		}
		pass(time.Minute)
		if n, open := d.brokers["a"].Len("in"); n != 6 || open != 0 {
			t.Errorf("%d and %d messages at the source after a reload without changes", n, open)
		}
		next := d.next()
		next.Routes[0].Filter = filterOf(t, `"n" in msg.header`)
		if _, err := d.rep.Reload(d.t.Context(), next, false); err != nil {
			t.Fatal(err)
		}
		d.take("b", "out", 6)
		d.empty("a", "in")
		d.halt()
	})
}
