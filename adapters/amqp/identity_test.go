package amqp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// unique is a with the operator's word that ids are never used twice.
func unique(a adapters.Address) adapters.Address {
	a.Options = adapters.Options{adapters.KeyUniqueIDs: true}
	return a
}

func TestIdentityOfASource(t *testing.T) {
	caps := New().Capabilities(adapters.Config{})
	if caps.Source != adapters.SourceNone || caps.Identity(queue) != adapters.SourceNone || caps.Identity(unique(queue)) != adapters.SourceID {
		t.Errorf("%v, without the option %v, with it %v", caps.Source, caps.Identity(queue), caps.Identity(unique(queue)))
	}
	position := adapters.Capabilities{Source: adapters.SourcePosition}
	if got := position.Identity(unique(queue)); got != adapters.SourcePosition {
		t.Errorf("a source with a position has %v", got)
	}
}

// Equal texts mean equal ids, and nothing an application writes makes a text without its mark or without end.
func TestSourceIDs(t *testing.T) {
	long := strings.Repeat("x", longestID+1)
	ids := []adapters.ID{
		adapters.StringID("7"), adapters.StringID("b:37"), {Form: adapters.IDBytes, B: []byte("7")}, {Form: adapters.IDULong, U: 7},
		{Form: adapters.IDUUID, B: make([]byte, 16)}, {Form: adapters.IDBytes, B: make([]byte, 16)}, {Form: adapters.IDString},
		adapters.StringID(long), adapters.StringID(long + "y"), {Form: adapters.IDBytes, B: []byte(long)}, adapters.StringID(`{"reason":"x"}`),
	}
	seen := map[string]adapters.ID{}
	for _, id := range ids {
		got := sourceID(id)
		if other, ok := seen[got]; ok {
			t.Errorf("%v and %v are both %q", id, other, got)
		}
		if seen[got] = id; len(got) > longestID+2 || !strings.Contains(got[:min(len(got), 3)], ":") {
			t.Errorf("%v is %q", id, got)
		}
		if again := sourceID(id); again != got {
			t.Errorf("%v is %q and %q", id, got, again)
		}
	}
	if got := sourceID(adapters.ID{}); got != "" {
		t.Errorf("no id is %q", got)
	}
}

// redelivered answers credit with three deliveries: one with an id, the same counted as given out before, one without.
func redelivered(p *peer) {
	first := &adapters.Message{ID: adapters.StringID("order-1")}
	p.onCredit = func(p *peer, _ uint32) {
		p.onCredit = nil
		p.transfer(encoded(p.t, first), true, false)
		again := described(0x70, null, null, null, null, u32(1))(nil) // header: delivery-count 1
		p.transfer(append(again, withoutHeader(p.t, first)...), true, false)
		p.transfer(encoded(p.t, body(1)), true, false)
	}
}

// withoutHeader is m's encoding from its properties on.
func withoutHeader(t testing.TB, m *adapters.Message) []byte {
	raw := encoded(t, m)
	for i := 0; i+3 <= len(raw); i++ {
		if raw[i] == codeDescribed && raw[i+1] == codeUlong8 && raw[i+2] == 0x73 {
			return raw[i:]
		}
	}
	t.Fatal("no properties")
	return nil
}

func TestSourceIDIsTheMessageID(t *testing.T) {
	for _, declared := range []bool{true, false} {
		p := newPeer(t)
		redelivered(p)
		at := queue
		want := `["" 1] ["" 2] ["" 1]`
		if declared {
			at, want = unique(queue), `["s:order-1" 1] ["s:order-1" 2] ["" 1]`
		}
		s, err := New().OpenSource(deadline(t), p.config(), at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if got := identities(receive(t, s, 3)); got != want {
			t.Errorf("unique_ids %v: %s, want %s", declared, got, want)
		}
	}
}

func identities(ds []adapters.Delivery) string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("[%q %d]", d.SourceID, d.Attempt))
	}
	return strings.Join(out, " ")
}

// What a real broker gives out again has the id it had, for every type of id, and says that it comes again where the
// broker tells.
func TestSourceIDOutlivesTheConnection(t *testing.T) {
	rigs := map[string]func(testing.TB) *harness{
		"artemis":   artemisHarness,
		"rabbitmq4": func(t testing.TB) *harness { return rabbitHarness(t, broker.RabbitMQ4).harness },
	}
	for name, rig := range rigs {
		t.Run(name, func(t *testing.T) {
			h := rig(t)
			p, c := h.Place(t), h.Config(t, nil)
			var ms []*amqp.Message
			for _, id := range []any{"text", []byte{1, 2}, amqp.UUID{3}, uint64(4), nil} {
				ms = append(ms, &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Data: [][]byte{{1}}, Properties: &amqp.MessageProperties{MessageID: id}})
			}
			h.putRaw(t, p, ms...)
			again := 1
			if New().Capabilities(c).Attempts != adapters.CountNone {
				again = 2
			}
			for _, attempt := range []int{1, again} {
				s, err := New().OpenSource(deadline(t), c, unique(p.Source))
				if err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf(`["s:text" %[1]d] ["b:0102" %[1]d] ["u:03000000000000000000000000000000" %[1]d] ["n:4" %[1]d] ["" %[1]d]`, attempt)
				ds := receive(t, s, 5)
				if got := identities(ds); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			h.Take(t, p, 5)
		})
	}
}

// Exactly-once is not promised to a broker that is no Artemis, whatever the dialect says.
func TestExactlyOnceNeedsArtemis(t *testing.T) {
	for _, c := range []struct {
		dialect, product string
		once, taken      bool
	}{
		{"artemis", "apache-activemq-artemis", true, true},
		{"artemis", "", true, true}, // it keeps to itself what it is: the operator's word counts
		{"artemis", "RabbitMQ", true, false},
		{"artemis", "RabbitMQ", false, true},
		{"", "RabbitMQ", true, false},
	} {
		p := newPeer(t)
		p.product = c.product
		cfg := p.config()
		cfg.Once, cfg.Options = c.once, adapters.Options{"dialect": c.dialect}
		if c.dialect == "" {
			cfg.Options = nil
		}
		g, err := New().OpenTarget(deadline(t), cfg, queue)
		if c.taken && err == nil {
			_ = g.Close()
			continue
		}
		if c.taken {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		wantKind(t, err, adapters.Denied, "duplicate detection of Artemis", "RabbitMQ")
	}
}
