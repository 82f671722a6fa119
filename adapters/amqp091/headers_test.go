package amqp091

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

const received = 1700000000000

// TestEveryField publishes a message that says all that AMQP 0.9.1 can hold, and gets it back.
func TestEveryField(t *testing.T) {
	m := &adapters.Message{
		Received: received, ID: adapters.StringID("m"), Corr: adapters.StringID("urn:uuid:550e8400-e29b-41d4-a716-446655440000"),
		ReplyTo: adapters.Addr{Name: "answers"}, Type: "order", ContentType: "text/plain", ContentEncoding: "gzip", AppID: "shop",
		Created: received, Expires: received + 1500, Left: 1500, Priority: adapters.Priority{Set: true, Value: 200}, Durable: adapters.No,
		Props: []adapters.Prop{{Name: "n", V: adapters.Null()}, {Name: "l", V: adapters.List(adapters.Bool(true), adapters.String("x"))},
			{Name: "x-team", V: adapters.String("a")}},
		Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("hi")},
	}
	got := Decode(Encode(m), received)
	want := m.Clone()
	want.Left, want.UserID = 0, []byte{}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(adapters.Value{})); d != "" {
		t.Errorf("(-sent +got)\n%s", d)
	}
}

func TestWhatIsOnlyRead(t *testing.T) {
	m := Decode(Wire{UserID: "app1", Exchange: "e", RoutingKey: "k", Redelivered: "true", DeliveryMode: 2, Expiration: "0"}, received)
	if string(m.UserID) != "app1" || m.To != (adapters.Addr{Name: "k", Scope: "e"}) || m.Deliveries != 1 || m.Expires != received {
		t.Errorf("%+v", m)
	}
	if w := Encode(m); w.UserID != "" || w.RoutingKey != "" || w.Redelivered != "" || w.DeliveryMode != 2 {
		t.Errorf("%+v: RabbitMQ closes the channel over a foreign user-id", w)
	}
}

// TestReplyQueueOfRabbitMQ: the name that AMQP 1.0 clients of RabbitMQ 4 use is the queue's name here.
func TestReplyQueueOfRabbitMQ(t *testing.T) {
	if w := Encode(&adapters.Message{ReplyTo: adapters.Addr{Name: "/queues/q"}}); w.ReplyTo != "q" {
		t.Errorf("reply-to %q", w.ReplyTo)
	}
}

// FuzzDecode: no text in any field stops a message, and an expiration that is no number never makes it expire.
func FuzzDecode(f *testing.F) {
	f.Add("1500", "urn:uuid:", int64(1), uint8(2), "x-a")
	f.Add("-1", "ID:AMQP_ULONG:x", int64(-1), uint8(255), "")
	f.Add("9223372036854775807", "\x00", int64(1)<<62, uint8(3), "\xff")
	f.Fuzz(func(t *testing.T, expiration, id string, stamp int64, mode uint8, name string) {
		m := Decode(Wire{Expiration: expiration, MessageID: id, CorrelationID: id, Timestamp: stamp, DeliveryMode: mode,
			Headers: []adapters.Prop{{Name: name, V: adapters.String(id)}}}, received)
		if m.Expires != 0 && (m.Expires < received || m.Left != 0) {
			t.Errorf("expiration %q: expires %d, left %d", expiration, m.Expires, m.Left)
		}
		Encode(m)
	})
}
