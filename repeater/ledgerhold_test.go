package repeater_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// TestLedgerHold is the ledger of routes of every order and every promise whose targets refuse some messages most of the
// time: these are held with what is behind them, parked, tried again, given up by an operator, and then the power fails.
// Where the target has transactions, that leaves holes behind its position.
func TestLedgerHold(t *testing.T) {
	tally := &holdTeeth{}
	for _, seed := range seedsToRun(t, 1) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newLedgerHold(t, seed, tally).run(&tally.teeth) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedgerHold -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 {
		tally.checkHold(t)
	}
}

// holdTeeth proves that stops met something that was held.
type holdTeeth struct {
	teeth
	resolved, given, holes, keys, stops int
}

func (k *holdTeeth) checkHold(t *testing.T) {
	t.Logf("%d messages, %d refused, %d dead letters; %d retried and %d given up by an operator; when a repeater ended, %d messages were held, "+
		"%d times some were parked, %d times a position had holes", k.messages, k.refused, k.buried, k.resolved, k.given, k.stops, k.keys, k.holes)
	if k.resolved == 0 || k.given == 0 || k.stops == 0 || k.keys == 0 || k.holes == 0 || k.buried == 0 {
		t.Error("void: the faults have hit nothing")
	}
}

// A holding ledger draws from a source of its own, so that the schedule of the others stays.
type holding struct {
	rng   *rand.Rand
	tally *holdTeeth
}

func newLedgerHold(t *testing.T, seed uint64, tally *holdTeeth) *ledger {
	l := emptyLedger(t, rand.New(rand.NewPCG(seed, 5)))
	l.hold = &holding{rand.New(rand.NewPCG(seed, 6)), tally}
	l.once = l.rng.IntN(4) > 0
	tx := map[string]bool{}
	for _, b := range l.targets {
		tx[b] = l.once && l.rng.IntN(3) > 0
	}
	l.world = newWorldOf(t, func(name string) mem.Options {
		return mem.Options{Tx: tx[name], Window: l.once && name != "a" && !tx[name]}
	},
		append([]string{"a"}, l.targets...)...)
	l.build()
	mode := routes.SpoolAlways
	if !l.once && l.rng.IntN(2) == 0 {
		mode = routes.SpoolAuto
	}
	l.journal(mode)
	if l.once {
		l.route.Delivery = routes.ExactlyOnce
	}
	l.orders()
	l.route.OnPoison = []routes.OnPoison{routes.PoisonHold, routes.PoisonHold, routes.PoisonDeadLetter}[l.rng.IntN(3)]
	l.story = append(l.story, fmt.Sprintf("order %s, on poison %s, exactly once %v, transactions %v", l.route.Order, l.route.OnPoison, l.once, tx))
	l.stretch()
	return l
}

// orders draws the order that the route keeps. Strict order is that of one key; a target that answers for each message
// then gets one at a time.
func (l *ledger) orders() {
	switch l.rng.IntN(4) {
	case 0:
		l.route.Order = routes.OrderSource
	case 1:
		l.route.Order, l.route.InFlight, l.keys = routes.OrderStrict, 1, 1
	default:
		l.route.Order, l.keys = routes.OrderPerKey, 1+l.rng.IntN(8)
	}
}

// holdFault makes a target refuse, decides as an operator, or ends the repeater while something is held.
func (l *ledger) holdFault() string {
	i := l.hold.rng.IntN(len(l.targets))
	b := l.targets[i]
	switch l.hold.rng.IntN(6) {
	case 0:
		return l.resolve(fmt.Sprint("orders/", b, i), repeater.Retry)
	case 1:
		return l.resolve(fmt.Sprint("orders/", b, i), repeater.DeadLetter)
	case 2:
		l.held()
		return l.crash()
	case 3:
		l.held()
		return l.restart()
	}
	k, at := 3+l.hold.rng.IntN(30), l.hold.rng.IntN(3)
	if l.hold.rng.IntN(4) == 0 { // everything
		k, at = 1, 0
	}
	l.rules(b, mem.Rules{Refuse: func(m *adapters.Message) bool { return number(m)%k == at }})
	return fmt.Sprintf("%s: refuse every %d. message", b, k)
}

// resolve is an operator's decision. A lane that holds nothing refuses it.
func (l *ledger) resolve(lane string, a repeater.Action) string {
	n, err := l.rep.Resolve(l.t.Context(), lane, a, "the ledger says so")
	if a == repeater.DeadLetter {
		l.hold.tally.given += n
	} else {
		l.hold.tally.resolved += n
	}
	return fmt.Sprintf("%s: %s, %d messages, %v", lane, a, n, err)
}

// held waits a moment, so that what can pass has passed, and counts what is held.
func (l *ledger) held() {
	pass(time.Duration(l.hold.rng.IntN(3000)) * time.Millisecond)
	for _, lane := range l.rep.Status().Routes[0].Lanes {
		l.hold.tally.stops += int(lane.Held)
		if lane.Parked > 0 {
			l.hold.tally.keys++
		}
	}
	if l.adapter.(*patient).holes.Swap(0) > 0 {
		l.hold.tally.holes++
	}
}

// refusal tells of an answer of a target whether it is about m itself: of a transaction all messages get it.
func (l *ledger) refusal(r mem.Rules, m *adapters.Message, err error) bool {
	if l.hold != nil {
		return r.Refuse != nil && r.Refuse(m)
	}
	return err != nil
}
