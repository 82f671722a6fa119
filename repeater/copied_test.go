package repeater_test

import (
	"testing"

	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

// C19: to a target that goes by positions the daemon of a copied spool is another sender. What the original may have sent
// says so when the copy sends it, although the route delivers exactly once: nobody else could tell.
func TestC19_CopyFlagsWhatTheOriginalMayHaveSent(t *testing.T) {
	for name, o := range classes() {
		t.Run(name, func(t *testing.T) {
			once(t, o, func(d *depot) {
				d.start()
				d.up()
				d.brokers["b"].Link().HoldReplies()
				d.brokers["a"].Put("in", messages(0, 10)...)
				sent := 0 // a transaction takes what is there
				d.until("they are with the target", func() bool {
					sent, _ = d.brokers["b"].Len("out")
					return sent == 10 || o.Tx && sent > 0 && d.lane().Spooled == 10
				})
				d.opts.AcceptEpoch = true
				d.powerFailure()
				d.brokers["a"].Put("in", messages(10, 10)...)
				n := 20
				if o.Tx {
					n += sent
				}
				got := d.take("b", "out", n)
				if f := flagged(got); o.Tx && (f != 10 || flagged(got[sent:sent+10]) != 10) || !o.Tx && f != 0 {
					t.Errorf("%v, %d flagged", numbers(got), f)
				}
				d.halt()
			})
		})
	}
}

// What came with a copy says so in every life after it, not only in the one that took the copy.
func TestC19_CopyFlagsInLaterLives(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(0, 10)...)
		sent := 0
		d.until("they are with the target", func() bool {
			sent, _ = d.brokers["b"].Len("out")
			return sent > 0 && d.lane().Spooled == 10
		})
		d.brokers["b"].Link().Refuse()
		d.opts.AcceptEpoch = true
		d.powerFailure()
		d.until("the copy is taken", func() bool { return d.rep.Status().Spool != nil && d.rep.Status().Spool.State == "ok" })
		d.opts.AcceptEpoch = false
		d.powerFailure()
		d.brokers["b"].Link().Allow()
		got := d.take("b", "out", sent+10)
		if f := flagged(got); f != 10 || flagged(got[sent:]) != 10 {
			t.Errorf("%v, %d flagged", numbers(got), f)
		}
		d.halt()
	})
}

// Nor does it forget that when its route changes while they wait.
func TestC19_CopyFlagsAfterAReload(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.until("they are in the journal", func() bool { return d.lane().Spooled == 10 })
		d.opts.AcceptEpoch = true
		d.powerFailure()
		next := d.next()
		next.Routes[0].InFlight--
		d.reload(next)
		d.back("b")
		if got := d.take("b", "out", 10); flagged(got) != 10 {
			t.Errorf("%v, %d flagged", numbers(got), flagged(got))
		}
		d.halt()
	})
}

// A lane that was an orphan when the copy was taken says so too, when a reload brings its route.
func TestC19_CopyFlagsAnOrphan(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.until("they are in the journal", func() bool { return d.lane().Spooled == 10 })
		d.opts.AcceptEpoch = true
		d.r.Enabled = false
		d.powerFailure()
		next := d.next()
		next.Routes[0].Enabled = true
		d.reload(next)
		d.back("b")
		if got := d.take("b", "out", 10); flagged(got) != 10 {
			t.Errorf("%v, %d flagged", numbers(got), flagged(got))
		}
		d.halt()
	})
}

// C12: what has become a dead letter just before a daemon died may become one again. The second one says so, whatever the
// route promises for its target.
func TestC12_SecondDeadLetterIsFlagged(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.r.MaxAttempts, d.r.OnPoison, d.r.DeadLetter = 1, routes.PoisonDeadLetter, &routes.Target{Addr: addr([2]string{"b", "dead"})}
		d.refuses(func(n int) bool { return n == 3 })
		p := &patient{Adapter: d.adapter, cure: make(chan struct{})}
		p.settle = first(p.hang) // so the record waits for its settle
		d.adapter = p
		d.brokers["a"].Put("in", messages(0, 5)...)
		d.start()
		d.until("a dead letter", func() bool { n, _ := d.brokers["b"].Len("dead"); return n == 1 })
		d.powerFailure()
		got := d.take("b", "dead", 2)
		if flagged(got[:1]) != 0 || flagged(got[1:]) != 1 {
			t.Errorf("%v, %d flagged", numbers(got), flagged(got))
		}
		close(p.cure)
		d.halt()
	})
}
