package repeater_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// TestLedgerReload is the ledger with reloads among the faults: a route changes, goes and comes back, gets another name,
// its brokers get other settings, while links are cut and messages come. Nothing is lost, nothing is doubled without
// a reason, the order holds.
func TestLedgerReload(t *testing.T) {
	for name, make := range map[string]func(*testing.T, uint64) *ledger{
		"least": newLedger, "once": newLedgerOnce, "most": newLedgerAtMostOnce, "per-key": newLedgerPerKey,
	} {
		tally, done := &teeth{}, &reloads{}
		for _, seed := range seedsToRun(t, 3) {
			ok := t.Run(fmt.Sprint(name, "/seed=", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := make(t, seed)
					c := &changes{ledger: l, done: done, rng: rand.New(rand.NewPCG(seed, 5))}
					l.change = c.one
					l.run(tally)
				})
			})
			if !ok {
				t.Logf("again: go test ./repeater/ -run TestLedgerReload/%s -seed %d", name, seed)
			}
		}
		t.Logf("%s: %d messages, %+v", name, tally.messages, *done)
		if *ledgerSeed == 0 && tally.messages > 0 && (done.n == 0 || done.spooled == 0 || done.slow == 0 || done.away == 0 || done.renamed == 0) {
			t.Errorf("%s: void: %+v", name, *done)
		}
	}
}

// reloads are counted, and in what circumstances.
type reloads struct{ n, spooled, slow, away, renamed int }

// changes makes reloads.
type changes struct {
	*ledger
	rng     *rand.Rand
	done    *reloads
	unknown float64 // sends without an answer, up to the last reload
}

// one reloads a table with something changed, while messages come.
func (c *changes) one() string {
	next := c.next()
	r := next.Routes[0]
	what := ""
	switch c.rng.IntN(8) {
	case 0:
		r.InFlight = 1 + c.rng.IntN(c.ledger.route.InFlight) // what the books go by is the largest
		what = fmt.Sprint("in flight ", r.InFlight)
	case 1:
		r.Batch.Count = 1 + c.rng.IntN(c.ledger.route.Batch.Count)
		what = fmt.Sprint("batch ", r.Batch.Count)
	case 2:
		r.Prefetch = 1 + c.rng.IntN(c.ledger.route.Prefetch)
		what = fmt.Sprint("prefetch ", r.Prefetch)
	case 3:
		r.Retry.Delay += time.Millisecond
		what = "retry"
	case 4:
		if c.disk == nil || c.once || c.keys > 0 {
			r.MaxHops++
			what = "hops"
			break
		}
		r.Spool.Mode = []routes.SpoolMode{routes.SpoolAuto, routes.SpoolAlways, routes.SpoolNever}[c.rng.IntN(3)]
		what = fmt.Sprint("mode ", r.Spool.Mode)
	case 5:
		return c.goAndCome()
	case 6:
		r.RenamedFrom = r.Name
		r.Name = map[string]string{"orders": "deals", "deals": "orders"}[r.Name]
		what = "renamed to " + r.Name
		c.done.renamed++
	case 7:
		for _, b := range next.Brokers {
			if c.rng.IntN(2) == 0 {
				b.Reconnect.Delay += time.Millisecond
			}
		}
		what = "brokers"
	}
	return c.do(what, next)
}

// doubt reports whether a send has got no answer since it was last asked. Such a message may have arrived, and without a spool
// the end of its session gives it back to its source, which gives it out as another one. That takes no longer than what is left
// of the confirm timeout.
func (c *changes) doubt() bool {
	before := c.unknown
	c.unknown = 0
	for _, reg := range c.regs {
		for _, reason := range []string{"reason=unreachable", "reason=unknown"} {
			c.unknown += metric(c.t, reg, "posthouse_route_retries_total", reason)
		}
	}
	return c.unknown > before
}

// goAndCome takes the route away for a while.
func (c *changes) goAndCome() string {
	next, back := c.next(), c.next()
	next.Routes = nil
	c.done.away++
	said := c.do("route gone", next)
	pass(time.Duration(c.rng.IntN(20)) * time.Second)
	return said + ", " + c.do("back", back)
}

// do reloads next while messages come, and notes how long that took.
func (c *changes) do(what string, next *routes.Table) string {
	for _, l := range c.lanes() {
		if l.Spooled > 0 {
			c.done.spooled++
			break
		}
	}
	rep, begin := c.rep, time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := rep.Reload(c.t.Context(), next, false)
		done <- err
	}()
	for range c.rng.IntN(4) {
		c.send()
		pass(time.Duration(c.rng.IntN(1000)) * time.Millisecond)
	}
	if err := <-done; err != nil {
		c.t.Errorf("reload (%s): %v", what, err)
		return what + ": refused"
	}
	c.table = next
	took := time.Since(begin)
	if took > c.opts.Grace+30*time.Second {
		c.t.Errorf("reload (%s) took %v, grace %v", what, took, c.opts.Grace)
	}
	if c.atMost { // what is settled and cannot be sent any more is lost, as at a stop
		for name := range c.brokers {
			c.breaks[name]++
		}
	}
	slow, doubt := took > 10*time.Second, c.doubt()
	if slow {
		c.done.slow++
	}
	if slow || doubt { // something was broken, and so the end of the sessions was none in order
		for name := range c.brokers {
			c.breaks[name]++
		}
	}
	c.done.n++
	return fmt.Sprintf("reload (%s) in %v", what, took)
}
