package repeater_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// Routes that share a source, under cut links and restarts: every message arrives where the first match, otherwise or
// nobody says, at least once, with the headers of that route and never at another's target; what is left stays at the source.
func TestMatchLedger(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { matchLedger(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func matchLedger(t *testing.T, r *rand.Rand) {
	const volume = 150
	w := newWorld(t, "a", "b")
	d := &depot{world: w}
	add := func(name string, m routes.Match, filter string) *routes.Route {
		route := w.route(name, [2]string{"a", "in"}, [2]string{"b", name})
		route.Match, route.MaxAttempts = m, 5
		if filter != "" {
			route.Filter = filterOf(t, filter)
		}
		route.Edits = editsOf(t, `set: { by: route }`)
		return route
	}
	add("large", routes.MatchFirst, `int(msg.header.n) >= 100`)
	add("middle", routes.MatchFirst, `int(msg.header.n) >= 50`)
	leaves := r.IntN(2) == 0
	if last := add("small", routes.MatchOtherwise, ""); leaves {
		last.Match, last.Filter = routes.MatchFirst, filterOf(t, `int(msg.header.n) >= 10`)
		last.Unrouted = routes.UnroutedLeave
	}
	w.brokers["a"].Put("in", messages(0, volume)...)
	w.start()
	for range 2 + r.IntN(4) {
		pass(time.Duration(r.IntN(3000)) * time.Millisecond)
		switch r.IntN(4) {
		case 0:
			w.brokers["a"].Link().Cut()
		case 1:
			d.away("b")
			pass(time.Duration(r.IntN(20)) * time.Second)
			d.back("b")
		case 2:
			w.halt()
			w.start()
		case 3:
			w.brokers["b"].Link().Cut()
		}
	}
	left := 0
	if leaves {
		left = 10
	}
	w.until("the source has what nobody wants", func() bool { n, open := w.brokers["a"].Len("in"); return n+open == left })
	w.halt()
	checkMatched(t, w, leaves)
}

// checkMatched looks where the messages are.
func checkMatched(t *testing.T, w *world, leaves bool) {
	t.Helper()
	seen := map[int]bool{}
	for queue, in := range map[string]func(n int) bool{
		"large": func(n int) bool { return n >= 100 }, "middle": func(n int) bool { return n >= 50 && n < 100 },
		"small": func(n int) bool { return n < 50 && !(leaves && n < 10) },
	} {
		n, _ := w.brokers["b"].Len(queue)
		for _, m := range w.take("b", queue, n) {
			seen[number(m)] = true
			if !in(number(m)) || header(m, "by") != "s:"+queue {
				t.Errorf("message %d is in %s, by %s", number(m), queue, header(m, "by"))
			}
		}
	}
	want := 150
	if leaves {
		want = 140
	}
	if len(seen) != want {
		t.Errorf("%d of %d messages have arrived", len(seen), want)
	}
}
