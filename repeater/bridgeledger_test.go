package repeater_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

var bridgeSeed = flag.Uint64("bridgeseed", 0, "run TestLedgerBridge with this seed only")

// An exam is one run of requesters and responders with faults between them, all drawn from a seed.
type exam struct {
	*crossing
	rnd    *rand.Rand
	asked  map[string]int // requests by requester and number, as times sent
	got    map[string]int
	seen   map[string][]string // ids under which the responders have seen a request
	kills  int
	powers int
}

// TestLedgerBridge: whatever is cut or dies, every reply that is given in time comes to its requester, with the id that it
// expects, and none to another.
func TestLedgerBridge(t *testing.T) {
	first, n := uint64(1), uint64(30)
	if *bridgeSeed != 0 {
		first, n = *bridgeSeed, 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			window := rnd.IntN(2) == 0
			bridgedOf(t, func(string) mem.Options { return mem.Options{Window: window} }, func(c *crossing) {
				e := &exam{crossing: c, rnd: rnd, asked: map[string]int{}, got: map[string]int{}, seen: map[string][]string{}}
				e.sit(window)
			})
			if t.Failed() {
				t.Logf("again: go test ./repeater -run TestLedgerBridge -bridgeseed %d", seed)
			}
		})
	}
}

const requesters = 3

func (e *exam) sit(window bool) {
	e.bridge.Temporary, e.bridge.Timeout, e.bridge.MaxOutstanding = true, time.Hour, 20+e.rnd.IntN(200)
	for _, b := range e.table.Brokers {
		b.Reconnect.MaxDelay = 2 * time.Second
	}
	e.start()
	for n := range 40 {
		e.ask(n)
		e.disturb()
		e.respond(e.rnd.IntN(6))
	}
	e.heal()
	for i := 0; i < 1200 && len(e.got) < len(e.asked); i++ {
		pass(100 * time.Millisecond)
		e.respond(100)
		e.collect()
	}
	if len(e.got) < len(e.asked) {
		e.missing()
		return
	}
	if e.powers == 0 { // or requests that were received and not settled have come twice, the first without a trace but its entry
		e.outstanding(0)
	}
	for k, n := range e.got {
		if window && e.kills == 0 && n > 1 {
			e.t.Errorf("%s came %d times, and nothing died", k, n)
		}
	}
	e.halt()
}

// ask sends request n of a requester; all requesters use the same ids.
func (e *exam) ask(n int) {
	r := e.rnd.IntN(requesters)
	m := message(n)
	m.ReplyTo, m.Body.Data = adapters.Addr{Name: fmt.Sprint("tmp-", r)}, fmt.Appendf(nil, "%d/%d", r, n)
	if e.rnd.IntN(2) == 0 {
		m.Corr = adapters.StringID(fmt.Sprint("c", n))
	}
	e.asked[string(m.Body.Data)]++
	e.brokers["a"].Put("SQ1", m)
}

// respond answers up to n requests, in either habit, now and then twice.
func (e *exam) respond(n int) {
	ctx, cancel := context.WithCancel(e.t.Context())
	cancel() // takes what is there
	qs, _ := e.brokers["b"].Take(ctx, "TQ1", n)
	for _, q := range qs {
		e.seen[string(q.Body.Data)] = append(e.seen[string(q.Body.Data)], q.ID.S)
		byCorr := e.rnd.IntN(2) == 0
		e.answer(q, byCorr)
		if e.rnd.IntN(10) == 0 {
			e.answer(q, byCorr)
		}
	}
	if e.rnd.IntN(10) == 0 {
		e.brokers["b"].Put("SQ2", replyTo(message(0), true)) // of nobody
	}
}

// collect takes the replies of all requesters and looks whether they are theirs.
func (e *exam) collect() {
	ctx, cancel := context.WithCancel(e.t.Context())
	cancel()
	for r := range requesters {
		ms, _ := e.brokers["a"].Take(ctx, fmt.Sprint("tmp-", r), 1<<20)
		for _, m := range ms {
			key := strings.TrimPrefix(string(m.Body.Data), "answer to ")
			var to, n int
			if _, err := fmt.Sscanf(key, "%d/%d", &to, &n); err != nil || to != r || m.Corr.S != fmt.Sprint("c", n) && m.Corr.S != fmt.Sprint("m", n) {
				e.t.Errorf("requester %d got %q for %v", r, m.Body.Data, m.Corr)
			}
			e.got[key]++
		}
	}
	if waiting, _ := e.brokers["a"].Len("TQ2"); waiting > 0 {
		e.t.Errorf("%d replies went where nobody asked for them", waiting)
	}
}

// disturb does one of the things that go wrong.
func (e *exam) disturb() {
	b := e.brokers[[]string{"a", "b"}[e.rnd.IntN(2)]]
	switch e.rnd.IntN(14) {
	case 0:
		b.Link().Cut()
	case 1:
		b.Link().Refuse()
		b.Link().Cut()
	case 2:
		b.Link().Allow()
	case 3:
		b.Link().SetLatency(time.Duration(e.rnd.IntN(300)) * time.Millisecond)
	case 4:
		b.Link().HoldReplies()
		pass(time.Second)
		b.Link().Cut()
	case 5:
		e.kills++
		power := e.rnd.IntN(2) == 0
		if power {
			e.powers++
		}
		e.again(power)
	}
	pass(time.Duration(e.rnd.IntN(2000)) * time.Millisecond)
}

func (e *exam) heal() {
	for _, b := range e.brokers {
		b.Link().Allow()
		b.Link().SetLatency(0)
	}
	e.up()
}

// missing tells what is known of requests without a reply.
func (e *exam) missing() {
	for k := range e.asked {
		if e.got[k] == 0 {
			e.t.Errorf("no reply to %s; asked as %v", k, e.seen[k])
		}
	}
	e.t.Logf("status: %+v", e.status())
	e.halt()
	for _, route := range []string{"pricing.request", "pricing.reply"} {
		for _, d := range e.dug(route) {
			if !strings.Contains(d.Text, "nobody asked") || d.Reason != "late-reply" {
				e.t.Logf("dead letter of %s: %+v", route, d)
			}
		}
	}
}
