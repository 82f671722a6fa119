package amqp

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// patience bounds every wait of these tests; none of them takes nearly so long.
const patience = 30 * time.Second

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A harness joins one real broker to the tests. Its Put and Take use the client library by itself.
type harness struct {
	name    string // of the broker, as in POSTHOUSE_REQUIRE
	url     string // amqp://user:password@host:port
	dialect string
	prefix  string // of the client's addresses: "/queues/" on RabbitMQ 4
	durable amqp.Durability
	declare func(t testing.TB, queue string)

	destroys bool // the broker makes queues by itself, and the test must remove them
}

// A readable is the adapter without the types that the independent client, go-amqp, cannot decode: it closes its link on
// a char or a decimal. Tests of their own send them through the broker.
type readable struct{ *Adapter }

func (a readable) Capabilities(c adapters.Config) adapters.Capabilities {
	caps := a.Adapter.Capabilities(c)
	caps.Headers.Types &^= adapters.Types(adapters.TChar, adapters.TDecimal)
	return caps
}

var _ adaptertest.Harness = (*harness)(nil)

func (h *harness) Adapter() adapters.Adapter { return readable{New()} }

func (h *harness) Config(t testing.TB, dial adaptertest.DialFunc) adapters.Config {
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	pw, _ := u.User.Password()
	c := adapters.Config{
		Name: h.name, Addresses: []string{u.Scheme + "://" + u.Host}, Dial: dial, Client: "test." + h.name,
		Credentials: adapters.Credentials{User: u.User.Username(), Password: adapters.NewSecret(pw)},
		Heartbeat:   2 * time.Second, Options: adapters.Options{},
	}
	if h.dialect != "" {
		c.Options["dialect"] = h.dialect
	}
	return c
}

func (h *harness) Place(t testing.TB) adaptertest.Place {
	return h.place(t, "test."+strings.ToLower(rand.Text()[:10]))
}

func (h *harness) place(t testing.TB, name string) adaptertest.Place {
	if h.declare != nil {
		h.declare(t, name)
	}
	if h.destroys && strings.Contains(name, "test.") {
		t.Cleanup(func() {
			if err := h.manage(t, "destroyQueue", fmt.Sprintf(`["%s", true, true]`, name)); err != nil {
				t.Log("queue stays:", err)
			}
		})
	}
	a := adapters.Address{Broker: h.name, Form: adapters.Queue, Name: name}
	return adaptertest.Place{Source: a, Target: a}
}

// client opens a session of the vendor's client; everything ends with the test.
func (h *harness) client(t testing.TB) *amqp.Session {
	conn, err := amqp.Dial(deadline(t), h.url, nil)
	if err != nil {
		t.Fatalf("%s: client cannot connect: %v", h.name, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s, err := conn.NewSession(deadline(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *harness) Put(t testing.TB, p adaptertest.Place, ms ...adaptertest.Native) {
	t.Helper()
	wire := make([]*amqp.Message, len(ms))
	for i, m := range ms {
		wire[i] = fromNative(m)
	}
	h.putRaw(t, p, wire...)
}

func (h *harness) putRaw(t testing.TB, p adaptertest.Place, ms ...*amqp.Message) {
	t.Helper()
	ctx := deadline(t)
	conn, err := amqp.Dial(ctx, h.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.NewSender(ctx, h.prefix+p.Target.Name, &amqp.SenderOptions{TargetDurability: h.durable})
	if err != nil {
		t.Fatalf("%s: client cannot send to %s: %v", h.name, p.Target.Name, err)
	}
	receipts := make([]amqp.SendReceipt, len(ms))
	for i, m := range ms {
		if receipts[i], err = s.SendWithReceipt(ctx, m, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range receipts {
		state, err := receipts[i].Wait(ctx)
		if _, ok := state.(*amqp.StateAccepted); !ok || err != nil {
			t.Fatalf("%s: client's message %d: %T, %v", h.name, i, state, err)
		}
	}
}

func fromNative(n adaptertest.Native) *amqp.Message {
	m := amqp.NewMessage(n.Body)
	m.Header = &amqp.MessageHeader{Durable: n.Durable, Priority: 4, TTL: time.Duration(n.TTL) * time.Millisecond}
	if n.Priority != nil {
		m.Header.Priority = *n.Priority
	}
	m.Properties = &amqp.MessageProperties{}
	if n.ID != "" {
		m.Properties.MessageID = n.ID
	}
	if n.Corr != "" {
		m.Properties.CorrelationID = n.Corr
	}
	if n.ReplyTo != "" {
		m.Properties.ReplyTo = &n.ReplyTo
	}
	for _, h := range n.Headers {
		if m.ApplicationProperties == nil {
			m.ApplicationProperties = map[string]any{}
		}
		m.ApplicationProperties[h.Name] = h.Value
	}
	return m
}

func (h *harness) Take(t testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	t.Helper()
	var ns []adaptertest.Native
	for _, m := range h.takeRaw(t, p, n) {
		ns = append(ns, toNative(m))
	}
	return ns
}

func (h *harness) takeRaw(t testing.TB, p adaptertest.Place, n int) []*amqp.Message {
	t.Helper()
	ctx := deadline(t)
	conn, err := amqp.Dial(ctx, h.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.NewReceiver(ctx, h.prefix+p.Source.Name, &amqp.ReceiverOptions{Credit: -1, SourceDurability: h.durable})
	if err != nil {
		t.Fatalf("%s: client cannot receive from %s: %v", h.name, p.Source.Name, err)
	}
	if err := r.IssueCredit(uint32(n)); err != nil {
		t.Fatal(err)
	}
	var ms []*amqp.Message
	for len(ms) < n {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			t.Fatalf("%s: %d of %d messages came to %s: %v", h.name, len(ms), n, p.Source.Name, err)
		}
		if err := r.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	if h.name != broker.RabbitMQ3 { // it does not answer then
		_ = session.Close(ctx) // the accepts are read before the connection goes
	}
	return ms
}

func toNative(m *amqp.Message) adaptertest.Native {
	n := adaptertest.Native{Body: slices.Concat(m.Data...)}
	if m.Header != nil {
		n.Durable, n.TTL = m.Header.Durable, m.Header.TTL.Milliseconds()
		n.Priority = &m.Header.Priority
	}
	if p := m.Properties; p != nil {
		n.ID, n.Corr = idText(p.MessageID, "ID:AMQP_NO_PREFIX:"), idText(p.CorrelationID, "")
		n.ID = strings.TrimPrefix(n.ID, "ID:AMQP_NO_PREFIX:")
		if p.ReplyTo != nil {
			n.ReplyTo = *p.ReplyTo
		}
	}
	for k, v := range m.ApplicationProperties {
		n.Headers = append(n.Headers, adaptertest.Header{Name: k, Value: anyText(v)})
	}
	slices.SortFunc(n.Headers, func(a, b adaptertest.Header) int { return strings.Compare(a.Name, b.Name) })
	return n
}

func env(name string) string { return os.Getenv(name) }
