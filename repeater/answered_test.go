package repeater_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

// What answers a request a second time is dropped as long as its answer is remembered, in the life after a crash too, and
// counted: its requester has a reply. Afterwards nobody can tell, and it is a dead letter.
func TestBridge_RepeatsAfterACrash(t *testing.T) {
	for name, power := range map[string]bool{"Stop": false, "Power": true} {
		t.Run(name, func(t *testing.T) {
			bridged(t, func(c *crossing) {
				c.start()
				c.up()
				const n = 20
				for i := range n {
					c.brokers["a"].Put("SQ1", request(i, ""))
				}
				qs := c.take("b", "TQ1", n)
				for _, q := range qs {
					c.answer(q, false)
				}
				c.take("a", "TQ2", n)
				c.empty("b", "SQ2")
				c.outstanding(0)
				pass(time.Second)
				for life := range 2 {
					c.again(power)
					c.outstanding(0)
					for _, q := range qs {
						c.answer(q, life == 1) // either id
					}
					c.empty("b", "SQ2")
					if s := c.status(); s.Repeated != n || s.LateReplies != 0 || s.Timeouts != 0 {
						t.Errorf("life %d: %+v", life, s)
					}
				}
				other := replyTo(qs[0], false)
				other.Body.Data = []byte("something else")
				c.brokers["b"].Put("SQ2", other)
				c.empty("b", "SQ2")
				pass(11 * c.bridge.Timeout)
				c.answer(qs[1], false)
				c.empty("b", "SQ2")
				if left, _ := c.brokers["a"].Len("TQ2"); left != 0 {
					t.Errorf("%d replies came twice", left)
				}
				c.halt()
				want := 1 // the one that came too late to be remembered
				if !power {
					want++ // after an orderly stop no request may have been asked twice: another answer is another answer
				}
				if d := c.dug("pricing.reply"); len(d) != want {
					t.Errorf("%d dead letters, want %d: %+v", len(d), want, d)
				}
			})
		})
	}
}

// A request that was sent, and that its source gives out again because the repeater died before the settle, goes out under the
// id that it had: a target that remembers ids drops it, elsewhere it is asked twice and answered once.
func TestBridge_RequestComesAgain(t *testing.T) {
	for name, window := range map[string]bool{"Window": true, "None": false} {
		t.Run(name, func(t *testing.T) {
			bridgedOf(t, func(string) mem.Options { return mem.Options{Window: window} }, func(c *crossing) {
				c.bridge.Timeout = time.Hour
				c.start()
				c.up()
				const n = 5
				var ms []*adapters.Message
				for i := range n {
					ms = append(ms, request(i, fmt.Sprint("c", i)))
				}
				c.brokers["a"].Link().SetLatency(time.Second) // the settle takes longer than the life
				c.brokers["a"].Put("SQ1", ms...)
				qs := c.take("b", "TQ1", n)
				synctest.Wait()
				c.brokers["a"].Link().SetLatency(0)
				c.again(true)
				if window {
					c.empty("a", "SQ1")
				} else {
					for i, q := range c.take("b", "TQ1", n) {
						if !q.ID.Equal(qs[i].ID) || !q.Corr.Equal(qs[i].Corr) {
							t.Errorf("request %d comes as %v, and was %v", i, q.ID, qs[i].ID)
						}
						qs = append(qs, q)
					}
				}
				c.outstanding(n)
				for _, q := range qs {
					r := replyTo(q, true)
					r.Body.Data = append(r.Body.Data, time.Now().String()...) // each answer is another one
					c.brokers["b"].Put("SQ2", r)
				}
				seen := map[string]bool{}
				for _, m := range c.take("a", "TQ2", n) {
					seen[m.Corr.S] = true
				}
				c.empty("b", "SQ2")
				left, _ := c.brokers["a"].Len("TQ2")
				if s := c.status(); len(seen) != n || left != 0 || s.Repeated != int64(len(qs)-n) || s.Outstanding != 0 {
					t.Errorf("%d answered, %d more; %+v", len(seen), left, s)
				}
				c.halt()
				if d := c.dug("pricing.reply"); len(d) != 0 {
					t.Errorf("%+v", d)
				}
			})
		})
	}
}
