package repeater_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

// TestLedgerFailover is the ledger of a route whose targets stand in for each other: under random faults nothing is lost,
// what arrives a second time, wherever, says so, and the order of first arrivals holds over all targets together.
func TestLedgerFailover(t *testing.T) {
	tally := &failoverTeeth{}
	for _, seed := range seedsToRun(t, 2) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newFailoverLedger(t, seed).run(tally) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedgerFailover -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 {
		tally.check(t)
	}
}

type failoverTeeth struct{ messages, switches, resent, across, backHome int }

func (k *failoverTeeth) check(t *testing.T) {
	t.Logf("%d messages, %d switches, %d sent again and arrived twice, %d of them at another target, %d seeds ended at the first target", k.messages, k.switches, k.resent, k.across, k.backHome)
	if k.switches == 0 || k.resent == 0 || k.across == 0 || k.backHome == 0 {
		t.Error("void: the faults have hit nothing")
	}
}

// A failoverLedger is a ledger whose targets are one lane.
type failoverLedger struct {
	*ledger
	arrived []arrival
}

// An arrival is a message that a target has taken.
type arrival struct {
	n       int
	at, id  string
	flagged bool
}

func newFailoverLedger(t *testing.T, seed uint64) *failoverLedger {
	l := &failoverLedger{ledger: emptyLedger(t, rand.New(rand.NewPCG(seed, 6)))}
	l.targets = []string{"b", "c", "d"}[:2+l.rng.IntN(2)]
	l.world = newWorldOf(t, func(string) mem.Options { return mem.Options{} }, append([]string{"a"}, l.targets...)...)
	l.judged = l.note
	l.build()
	l.route.Sharing = routes.Sharing{Distribute: routes.Failover, FailoverAfter: time.Duration(1+l.rng.IntN(4)) * time.Second, FailbackAfter: time.Duration(5+l.rng.IntN(60)) * time.Second}
	l.spool()
	if l.rng.IntN(4) == 0 {
		l.route.Order = routes.OrderStrict
	}
	l.stretch()
	l.story = append(l.story, fmt.Sprintf("failover after %v, failback after %v, order %q", l.route.Sharing.FailoverAfter, l.route.Sharing.FailbackAfter, l.route.Order))
	return l
}

func (l *failoverLedger) note(broker string, m *adapters.Message, err error) {
	if err != nil {
		return
	}
	id, _ := m.Prop("posthouse-id")
	flag, _ := m.Prop("posthouse-possible-duplicate")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived = append(l.arrived, arrival{number(m), broker, id.Str(), flag.Str() == "true"})
}

func (l *failoverLedger) run(tally *failoverTeeth) {
	l.live(func() {
		tally.switches += l.counted("posthouse_lane_switches_total")
		tally.messages += l.total
		if got := l.rep.Status().Routes[0].Lanes[0].Link.Address; got == "b/out" {
			tally.backHome++
		}
		l.audit(tally)
	})
}

// audit goes by what the targets hold, in the order in which they took it.
func (l *failoverLedger) audit(tally *failoverTeeth) {
	there := map[int]bool{}
	for _, b := range l.targets {
		n, _ := l.brokers[b].Len("out")
		for n := range distinct(l.take(b, "out", n)) {
			there[n] = true
		}
	}
	dead := map[int]bool{}
	for lane, ns := range l.buried() {
		if lane != "orders/failover" {
			l.t.Errorf("dead letters of lane %s", lane)
		}
		for n := range ns {
			dead[n] = true
		}
	}
	for n := range l.total {
		if !there[n] && !dead[n] {
			l.t.Errorf("lost %d", n)
		}
	}
	l.honest(tally)
	l.inOrder(dead)
}

// honest: what has arrived a second time under its id says so, and there is a window of it for each break at most. Under
// another id it was given out again by a source that was lost.
func (l *failoverLedger) honest(tally *failoverTeeth) {
	first := map[string]arrival{}
	seen := map[int]bool{}
	resent, again, breaks := 0, 0, 0
	for _, a := range l.arrived {
		o, known := first[a.id]
		switch {
		case known:
			resent++
			if !a.flagged {
				l.t.Errorf("%d came twice without the flag, at %s and %s", a.n, o.at, a.at)
			}
			if o.at != a.at {
				tally.across++
			}
			continue
		case seen[a.n] && !slices.ContainsFunc(l.targets, func(b string) bool { return l.refused[b][a.n] }):
			again++
		}
		first[a.id], seen[a.n] = a, true
	}
	for _, b := range l.targets {
		breaks += l.breaks[b]
	}
	if tally.resent += resent; resent > breaks*l.route.InFlight {
		l.t.Errorf("%d sent again and arrived twice, at most %d explained by %d breaks", resent, breaks*l.route.InFlight, breaks)
	}
	if most := l.breaks["a"] * l.route.Prefetch; again > most {
		l.t.Errorf("%d given out again by the source, at most %d explained", again, most)
	}
}

// inOrder checks first arrivals over all targets together; only what a target itself has refused may have left its place.
func (l *failoverLedger) inOrder(dead map[int]bool) {
	last, seen := -1, map[int]bool{}
	for _, a := range l.arrived {
		if seen[a.n] {
			continue
		}
		seen[a.n] = true
		if dead[a.n] || slices.ContainsFunc(l.targets, func(b string) bool { return l.refused[b][a.n] }) {
			continue
		}
		if a.n < last {
			l.t.Errorf("%d first came to %s after %d", a.n, a.at, last)
			return
		}
		last = a.n
	}
}
