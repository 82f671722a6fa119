package repeater_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

// dynamic runs f in virtual time with a route from a/in to queues of b that the messages name.
func dynamic(t *testing.T, expr string, allow []string, f func(w *world, r *routes.Route)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		r := w.route("orders", [2]string{"a", "in"}, [2]string{"b", "q-"})
		r.To[0].Addr.Dynamic = true
		r.To[0].Dynamic = &routes.Dynamic{Prefix: "q-", Expr: expression(t, expr), Allow: allow}
		r.DeadLetter, r.MaxAttempts, r.OnPoison = &routes.Target{Addr: addr([2]string{"a", "dead"})}, 3, routes.PoisonDeadLetter
		f(w, r)
	})
}

// withKeys gives messages keys that repeat.
func withKeys(ms []*adapters.Message, keys ...string) []*adapters.Message {
	for i, m := range ms {
		m.Key = []byte(keys[i%len(keys)])
	}
	return ms
}

func (w *world) reasons() map[string]int {
	n, _ := w.brokers["a"].Len("dead")
	out := map[string]int{}
	for _, m := range w.take("a", "dead", n) {
		v, _ := m.Prop("posthouse-dead-reason")
		out[v.Str()]++
	}
	return out
}

func TestDynamicGoesWhereItSays(t *testing.T) {
	dynamic(t, "msg.key", nil, func(w *world, _ *routes.Route) {
		w.brokers["a"].Put("in", withKeys(messages(0, 90), "one", "two", "three")...)
		w.start()
		for i, q := range []string{"q-one", "q-two", "q-three"} {
			ns := numbers(w.take("b", q, 30))
			if !slices.IsSorted(ns) || ns[0] != i {
				t.Errorf("%s: %v", q, ns)
			}
		}
		w.empty("a", "in")
		if st := w.rep.Status().Routes[0].Lanes[0]; st.Link.Address != "b/q-*" {
			t.Errorf("address %q", st.Link.Address)
		}
		w.halt()
	})
}

// What a message says of its place goes through a list, or through a count; what is not allowed is set aside, and so is what
// has no name at all.
func TestDynamicNamesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 199)
	for _, c := range []struct {
		name  string
		allow []string
		keys  []string
		want  map[string]int
	}{
		{"allow", []string{"q-a", "q-b"}, []string{"a", "c", "b", "a.", ""}, map[string]int{"target-not-allowed": 3}},
		{"characters", nil, []string{"a", "a/b", "ü", "*", ">", "a b", long, long[1:], "A_.-9"}, map[string]int{"target-not-allowed": 6}},
	} {
		dynamic(t, "msg.key", c.allow, func(w *world, _ *routes.Route) {
			w.start()
			w.brokers["a"].Put("in", withKeys(messages(0, len(c.keys)), c.keys...)...)
			w.empty("a", "in")
			if got := w.reasons(); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
			w.halt()
		})
	}
	dynamic(t, "msg.key", nil, func(w *world, _ *routes.Route) {
		w.start()
		for round := range 2 {
			for i := range 101 {
				m := message(i)
				m.Key = fmt.Append(nil, i)
				w.brokers["a"].Put("in", m)
			}
			w.empty("a", "in")
			if got := w.reasons()["target-not-allowed"]; got != 1 {
				t.Errorf("round %d: %d of 101 names are too many, want 1", round, got)
			}
		}
		w.halt()
	})
}

// What becomes of a message whose name cannot be computed says on_filter_error.
func TestDynamicExpressionFails(t *testing.T) {
	for fate, want := range map[routes.OnFilterError]string{
		routes.FilterErrorDeadLetter: "map[filter-error:2] 0", routes.FilterErrorSkip: "map[] 0", routes.FilterErrorMatch: "map[] 2"} {
		dynamic(t, "string(int(msg.header.none))", nil, func(w *world, r *routes.Route) {
			r.OnFilterError = fate
			w.start()
			w.brokers["a"].Put("in", messages(0, 2)...)
			w.empty("a", "in")
			n, _ := w.brokers["b"].Len("q-")
			if got := fmt.Sprint(w.reasons(), n); got != want {
				t.Errorf("%s: %s, want %s", fate, got, want)
			}
			w.halt()
		})
	}
}

// A place that is not there is the trouble of the messages that name it: they are tried as often as max_attempts says, and
// the others of the lane go on. One that is made meanwhile gets its messages.
func TestDynamicPlaceThatIsMissing(t *testing.T) {
	dynamic(t, "msg.key", nil, func(w *world, r *routes.Route) {
		r.Retry = routes.Retry{Delay: 10 * time.Second, MaxDelay: 10 * time.Second}
		w.brokers["b"].SetRules("q-gone", mem.Rules{Missing: true})
		w.brokers["b"].SetRules("q-late", mem.Rules{Missing: true})
		w.start()
		w.brokers["a"].Put("in", withKeys(messages(0, 30), "here", "gone", "late")...)
		w.until("those that can go have gone", func() bool { return w.lens("q-here", "b")[0] == 10 })
		if st := w.rep.Status().Routes[0].Lanes[0]; st.Link.State != "up" {
			t.Errorf("the lane is %s for a place of one message", st.Link.State)
		}
		w.brokers["b"].SetRules("q-late", mem.Rules{})
		w.empty("a", "in")
		if got := w.lens("q-late", "b")[0]; got != 10 {
			t.Errorf("%d at the place that was made", got)
		}
		if got := w.reasons(); fmt.Sprint(got) != "map[target-gone:10]" {
			t.Errorf("dead letters: %v", got)
		}
		w.halt()
	})
}

// The name is fixed before the record is written: another file, with other rules, does not change what is spooled, and a
// record without a name gets one.
func TestDynamicNameIsInTheRecord(t *testing.T) {
	dynamic(t, "msg.key", nil, func(w *world, r *routes.Route) {
		w.table.Spool = &routes.Spool{Dir: t.TempDir(), SegmentSize: 128 << 10}
		r.Spool = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: time.Minute}
		w.away("b")
		w.start()
		w.brokers["a"].Put("in", withKeys(messages(0, 20), "one", "two")...)
		w.empty("a", "in")
		w.halt()
		r.To[0].Dynamic = &routes.Dynamic{Prefix: "q-", Expr: expression(t, `"other"`)}
		w.start()
		w.brokers["a"].Put("in", messages(20, 5)...)
		w.empty("a", "in")
		w.brokers["b"].Link().Allow()
		for q, n := range map[string]int{"q-one": 10, "q-two": 10, "q-other": 5} {
			if ns := numbers(w.take("b", q, n)); !slices.IsSorted(ns) {
				t.Errorf("%s: %v", q, ns)
			}
		}
		w.halt()

		r.To[0].Dynamic, r.To[0].Addr = nil, adapters.Address{Broker: "b", Form: adapters.Queue, Name: "fixed"}
		w.away("b")
		w.start()
		w.brokers["a"].Put("in", withKeys(messages(25, 6), "one", "two")...)
		w.empty("a", "in")
		w.halt()
		r.To[0].Dynamic, r.To[0].Addr = &routes.Dynamic{Prefix: "q-", Expr: expression(t, "msg.key")}, adapters.Address{Broker: "b", Form: adapters.Queue, Name: "q-", Dynamic: true}
		w.start()
		w.brokers["b"].Link().Allow()
		w.take("b", "q-one", 3)
		w.take("b", "q-two", 3)
		w.halt()
	})
}
