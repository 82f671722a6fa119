package repeater_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

// TestLedgerShared is the ledger of routes that give each message to one of several targets: under random faults every
// message reaches one of them, none reaches two but for a reason, and what goes by a value stays with its target.
func TestLedgerShared(t *testing.T) {
	tally := &sharedTeeth{}
	for _, seed := range seedsToRun(t, 2) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newSharedLedger(t, seed).run(tally) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedgerShared -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 {
		tally.check(t)
	}
}

// sharedTeeth prove that the faults have hit something.
type sharedTeeth struct {
	teeth
	moved, kept, across, exact int
}

func (k *sharedTeeth) check(t *testing.T) {
	t.Logf("%d messages, %d moved, %d resent, %d recognised, %d at two targets, %d seeds with exact shares, %d values that stayed",
		k.messages, k.moved, k.resent, k.recognised, k.across, k.exact, k.kept)
	if k.moved == 0 || k.resent == 0 || k.recognised == 0 || k.exact == 0 || k.kept == 0 {
		t.Error("void: the faults have hit nothing")
	}
}

// A sharedLedger is a ledger whose targets share the messages.
type sharedLedger struct {
	*ledger
	reweighs bool // the shares change at each start
	arrived  []arrival
}

func newSharedLedger(t *testing.T, seed uint64) *sharedLedger {
	l := &sharedLedger{ledger: emptyLedger(t, rand.New(rand.NewPCG(seed, 5)))}
	l.targets = []string{"b", "c", "d"}[:2+l.rng.IntN(2)]
	l.once = l.rng.IntN(4) == 0
	l.world = newWorldOf(t, func(name string) mem.Options { return mem.Options{Window: l.once && name != "a"} }, append([]string{"a"}, l.targets...)...)
	l.judged = l.note
	l.build()
	l.keys = 1 + l.rng.IntN(12)
	l.distribute()
	switch {
	case l.once:
		l.journal(routes.SpoolAlways)
		l.route.Delivery = routes.ExactlyOnce
	case l.route.Order == routes.OrderPerKey:
		l.journal([]routes.SpoolMode{routes.SpoolAuto, routes.SpoolAlways}[l.rng.IntN(2)])
	default:
		l.spool()
	}
	l.stretch()
	return l
}

// distribute makes a choice of weights, groups and ways.
func (l *sharedLedger) distribute() {
	r := l.route
	r.Sharing.Distribute = []routes.Distribute{routes.Weighted, routes.Affinity}[l.rng.IntN(2)]
	r.Sharing.WhenDown = []routes.WhenDown{routes.Wait, routes.Move}[l.rng.IntN(2)]
	r.Sharing.Affinity = expression(l.t, "msg.key")
	if r.Sharing.Distribute == routes.Weighted && l.rng.IntN(3) == 0 {
		r.Order, r.OnPoison = routes.OrderPerKey, routes.PoisonDeadLetter
	}
	for i := range r.To {
		r.To[i].Weight = 1 + l.rng.IntN(4)
		if r.Sharing.WhenDown == routes.Move && l.rng.IntN(3) == 0 {
			r.To[i].Priority = l.rng.IntN(2)
		}
	}
	computed := l.rng.IntN(3) == 0
	for i := range r.To {
		if to := &r.To[i]; computed {
			to.Addr.Name, to.Addr.Dynamic = "o", true
			to.Dynamic = &routes.Dynamic{Prefix: "o", Expr: expression(l.t, `"ut"`)}
		}
	}
	if l.reweighs = r.ByValue() && r.Sharing.WhenDown == routes.Wait && l.rng.IntN(2) == 0; l.reweighs {
		l.begin = func() {
			for i := range r.To {
				r.To[i].Weight = 1 + l.rng.IntN(9)
			}
		}
	}
	l.story = append(l.story, fmt.Sprintf("%s, %s, order %q, %d keys, weights %v", r.Sharing.Distribute, r.Sharing.WhenDown, r.Order, l.keys, r.To))
}

// expression compiles an expression by way of a file.
func expression(t *testing.T, source string) *routes.Expr {
	t.Helper()
	file := "version: 1\nbrokers: { x: { type: amqp, addresses: [amqp://127.0.0.1:1] } }\n" +
		"routes: [{ name: r, from: { broker: x, queue: a }, to: { broker: x, queue: b }, key: '" + source + "' }]\n"
	table, fs := routes.Load("test.yaml", []byte(file), routes.Options{Kinds: routes.Kinds{"amqp": mem.New()}})
	if table == nil {
		t.Fatal(fs)
	}
	return table.Routes[0].Key
}

func (l *sharedLedger) run(tally *sharedTeeth) {
	l.live(func() { l.audit(tally) })
}

func (l *sharedLedger) audit(tally *sharedTeeth) {
	tally.messages += l.total
	tally.recognised += l.recognised()
	tally.moved += l.counted("posthouse_lane_moved_messages_total")
	at := map[int][]string{} // targets by message
	got := map[string][]*adapters.Message{}
	for _, b := range l.targets {
		n, _ := l.brokers[b].Len("out")
		got[b] = l.take(b, "out", n)
		for n := range distinct(got[b]) {
			at[n] = append(at[n], b)
		}
	}
	dead := map[int]bool{}
	for _, ns := range l.buried() {
		maps.Copy(dead, ns)
	}
	l.nothingLost(at, dead)
	l.nothingTwice(at, dead, tally)
	for _, b := range l.targets {
		if l.once {
			l.unrepeated(b, got[b], dead)
		} else {
			l.explained(b, got[b], &tally.teeth)
		}
	}
	switch {
	case l.reweighs:
		l.overAll(dead)
	case l.route.Sharing.WhenDown == routes.Wait:
		l.stays(got, dead, tally)
	}
	l.proportion(got, tally)
}

func distinct(ms []*adapters.Message) map[int]bool {
	set := map[int]bool{}
	for _, n := range numbers(ms) {
		set[n] = true
	}
	return set
}

func (l *sharedLedger) nothingLost(at map[int][]string, dead map[int]bool) {
	for n := range l.total {
		if len(at[n]) == 0 && !dead[n] {
			l.t.Errorf("lost %d", n)
		}
	}
}

// nothingTwice: a message is with two targets only if it was given out again to a repeater that had died, or a target
// that may have had it refused it later.
func (l *sharedLedger) nothingTwice(at map[int][]string, dead map[int]bool, tally *sharedTeeth) {
	across := 0
	for n, bs := range at {
		if len(bs) > 1 && !(l.refusedBy(n) && (len(l.regs) > 1 || !l.once)) {
			across++
		}
	}
	most := (len(l.regs) - 1) * l.route.Prefetch
	if l.once {
		most = 0
	}
	if tally.across += across; across > most {
		l.t.Errorf("%d messages are with several targets, at most %d are explained by %d restarts: %v", across, most, len(l.regs)-1, at)
	}
}

// refusedBy reports whether some target has refused n: without a place for dead letters its source gives it out again.
func (l *sharedLedger) refusedBy(n int) bool {
	return slices.ContainsFunc(l.targets, func(b string) bool { return l.refused[b][n] })
}

// stays: where messages wait for their target, a lane keeps the order, and each value has one target.
func (l *sharedLedger) stays(got map[string][]*adapters.Message, dead map[int]bool, tally *sharedTeeth) {
	home := map[int]string{}
	for _, b := range l.targets {
		switch {
		case l.route.Order == routes.OrderPerKey:
			l.orderedByKey(b, got[b], dead)
		case l.route.ByValue() || len(l.regs) == 1: // after a restart what was not sent may go elsewhere
			l.ordered(b, slices.DeleteFunc(slices.Clone(got[b]), func(m *adapters.Message) bool { return l.refusedBy(number(m)) }))
		}
		if !l.route.ByValue() {
			continue
		}
		for n := range distinct(got[b]) {
			key := n % l.keys
			if at, ok := home[key]; ok && at != b {
				l.t.Errorf("key %d is at %s and at %s", key, at, b)
			}
			home[key] = b
		}
	}
	tally.kept += len(home)
}

// proportion: what is given out again in the same life goes where it was, so where nothing moved the shares are exact.
func (l *sharedLedger) proportion(got map[string][]*adapters.Message, tally *sharedTeeth) {
	r := l.route
	if r.ByValue() || r.Sharing.WhenDown == routes.Move || len(l.regs) > 1 {
		return
	}
	sum := 0
	for _, to := range r.To {
		sum += to.Weight
	}
	refused := 0
	for _, b := range l.targets {
		refused += len(l.refused[b])
	}
	for i, b := range l.targets {
		n := len(distinct(got[b]))
		if off := n*sum - l.total*r.To[i].Weight; max(off, -off) > (len(l.targets)+refused)*sum {
			l.t.Errorf("%s has %d of %d messages, weight %d of %d", b, n, l.total, r.To[i].Weight, sum)
		}
	}
	tally.exact++
}

func (l *sharedLedger) note(broker string, m *adapters.Message, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived = append(l.arrived, arrival{n: number(m), at: broker})
}

// overAll: with other weights at each start a key has several homes, one after the other: its first arrivals are in order over
// all targets together.
func (l *sharedLedger) overAll(dead map[int]bool) {
	last, seen := map[int]int{}, map[int]bool{}
	for _, a := range l.arrived {
		if seen[a.n] {
			continue
		}
		seen[a.n] = true
		if dead[a.n] || l.refusedBy(a.n) {
			continue
		}
		if before := last[a.n%l.keys]; a.n < before {
			l.t.Errorf("%d of key %d first came to %s after %d", a.n, a.n%l.keys, a.at, before)
			return
		}
		last[a.n%l.keys] = a.n
	}
}
