package repeater_test

import (
	"testing"
	"testing/synctest"

	"github.com/posthouse/posthouse/adapters"
)

// What the file says of the conversion for a broker reaches what is sent there, and to no other.
func TestConversionOfABroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		w.table.Brokers["b"].Fit.KeepTo = true
		w.table.Brokers["b"].Fit.PassUserID = true
		w.route("r", [2]string{"a", "in"}, [2]string{"b", "out"}, [2]string{"c", "out"})
		w.start()
		w.brokers["a"].Put("in", &adapters.Message{To: adapters.Addr{Name: "orders", Form: adapters.AddrQueue}, UserID: []byte("app1")})
		b, c := w.take("b", "out", 1)[0], w.take("c", "out", 1)[0]
		if v, _ := b.Prop("posthouse-to"); v.Str() != "queue:orders" || string(b.UserID) != "app1" {
			t.Errorf("b: to %q, user id %q", v.Str(), b.UserID)
		}
		if v, _ := c.Prop("posthouse-user-id"); v.Str() != "YXBwMQ==" || len(c.UserID) != 0 {
			t.Errorf("c: user id %q in its header and %q in its field", v.Str(), c.UserID)
		}
		if _, there := c.Prop("posthouse-to"); there {
			t.Error("c got what only b asked for")
		}
		w.halt()
	})
}
