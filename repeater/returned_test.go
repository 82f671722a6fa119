package repeater_test

import (
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

// A reply that goes back to its source is still the reply to its request when the same session gets it again: it is not one
// that comes second.
func TestBridge_ReplyThatWentBackIsNoSecondOne(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.table.Spool = nil // so there is no place for dead letters, and what is refused goes back
		for _, r := range c.table.Routes {
			r.Spool.Mode = ""
		}
		c.bridge.Timeout = time.Hour
		c.start()
		c.brokers["a"].SetRules("TQ2", mem.Rules{Refuse: func(*adapters.Message) bool { return true }})
		c.brokers["a"].Put("SQ1", request(1, "c1"))
		c.answer(c.asked(), true)
		c.until("the reply is refused", func() bool { return c.rep.Status().Routes[1].Refused > 0 })
		pass(5 * time.Minute)
		c.brokers["a"].SetRules("TQ2", mem.Rules{})
		if m := c.take("a", "TQ2", 1)[0]; m.Corr.S != "c1" {
			t.Errorf("%v", m.Corr)
		}
		c.outstanding(0)
		c.halt()
	})
}
