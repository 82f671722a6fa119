package amqp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

func send(t *testing.T, c adapters.Config, a adapters.Address, ms ...*adapters.Message) {
	t.Helper()
	ctx := deadline(t)
	to, err := New().OpenTarget(ctx, c, a)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if n, err := to.Send(ctx, ms); n != len(ms) || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
}

func receive(t *testing.T, s adapters.Source, n int) []adapters.Delivery {
	t.Helper()
	var ds []adapters.Delivery
	for len(ds) < n {
		more, err := s.Receive(deadline(t), n-len(ds))
		if err != nil {
			t.Fatalf("%d of %d messages came: %v", len(ds), n, err)
		}
		ds = append(ds, more...)
	}
	return ds
}

func numbered(n int) []*adapters.Message {
	ms := make([]*adapters.Message, n)
	for i := range ms {
		ms[i] = &adapters.Message{Durable: adapters.Yes, Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte(fmt.Sprint("body ", i))}}
	}
	return ms
}

// The broker is known by what it says of itself, and more than three windows of messages pass without a stall, with
// every way of giving credit (brokers.md, section 1.4, rules 2 and 4).
func TestManyWindowsPass(t *testing.T) {
	rigs := map[string]func(testing.TB) *harness{
		"artemis":   artemisHarness,
		"rabbitmq4": func(t testing.TB) *harness { return rabbitHarness(t, broker.RabbitMQ4).harness },
		"rabbitmq3": func(t testing.TB) *harness { return rabbitHarness(t, broker.RabbitMQ3).harness },
	}
	for name, rig := range rigs {
		t.Run(name, func(t *testing.T) {
			h := rig(t)
			h.dialect = ""
			p := h.Place(t)
			c := h.Config(t, nil)
			c.Limits.Prefetch = 50
			const n = 1000
			send(t, c, p.Target, numbered(n)...)
			s, err := New().OpenSource(deadline(t), c, p.Source)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := s.(*source).p.name; got[:6] != name[:6] {
				t.Errorf("profile %s, peer %+v", got, s.(adapters.Described).Peer())
			}
			for got := 0; got < n; {
				ds, err := s.Receive(deadline(t), 100)
				if err != nil {
					t.Fatal(got, err)
				}
				for _, d := range ds {
					if want := fmt.Sprint("body ", got); string(d.Message.Body.Data) != want {
						t.Fatalf("got %q, want %q", d.Message.Body.Data, want)
					}
					got++
				}
				if err := s.Settle(deadline(t), adapters.Accepted, ds...); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What the independent client cannot read goes through the broker unharmed all the same.
func TestEveryTypeAndBodyThroughArtemis(t *testing.T) {
	h := artemisHarness(t)
	p := h.Place(t)
	list := appendValue(nil, adapters.List(adapters.Int(adapters.TI32, 1), adapters.String("a")))
	bodies := []adapters.Body{
		{}, {Form: adapters.BodyText, Data: []byte("Grüße")}, {Form: adapters.BodyBytes, Data: []byte("abcde"), Cuts: []int{2, 3}},
		{Form: adapters.BodyValue, Data: list}, {Form: adapters.BodySequence, Data: append(list, list...), Cuts: []int{len(list), len(list)}},
		{Form: adapters.BodyMap, Data: appendValue(nil, adapters.Map(adapters.Entry{K: adapters.String("k"), V: adapters.Bool(true)}))},
		{Form: adapters.BodyStream, Data: list}, {Form: adapters.BodyObject, Data: []byte{0xac, 0xed}},
	}
	var ms []*adapters.Message
	for _, b := range bodies {
		ms = append(ms, &adapters.Message{
			Durable: adapters.Yes, Priority: adapters.Priority{Set: true, Value: 4}, Body: b, ContentType: "a/b",
			ReplyTo: adapters.Addr{Name: "r", Form: adapters.AddrTempTopic},
			Props: []adapters.Prop{{Name: "char", V: adapters.Uint(adapters.TChar, 'ü')}, {Name: "decimal", V: adapters.Decimal("1.50")},
				{Name: "null"}, {Name: "time", V: adapters.Time(received)}},
			Annot: adapters.Annot{MA: []adapters.Prop{{Name: "x-opt-own", V: adapters.Bytes([]byte{1})}},
				Footer: []adapters.Prop{{Name: "x-sum", V: adapters.Uint(adapters.TU64, 9)}}},
		})
	}
	send(t, h.Config(t, nil), p.Target, ms...)
	s, err := New().OpenSource(deadline(t), h.Config(t, nil), p.Source)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ds := receive(t, s, len(ms))
	for i, d := range ds {
		got := d.Message.Clone()
		got.Received, got.Created = 0, 0
		same(t, got, ms[i])
	}
	if err := s.Settle(deadline(t), adapters.Accepted, ds...); err != nil {
		t.Error(err)
	}
}

// A durable shared subscription keeps what was sent while nobody listened, and two readers share it.
func TestSubscriptionIsDurableAndShared(t *testing.T) {
	h := artemisHarness(t)
	a := adapters.Address{Broker: "artemis", Form: adapters.Topic, Name: broker.ArtemisTopicPrefix + rand.Text()[:8],
		Options: adapters.Options{"subscription": "sub" + rand.Text()[:6]}}
	c := h.Config(t, nil)
	open := func() adapters.Source {
		s, err := New().OpenSource(deadline(t), c, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	_ = open().Close()
	to := a
	to.Options = nil
	send(t, c, to, numbered(10)...)
	c.Limits.Prefetch = 5
	one, two := open(), open()
	seen := map[string]bool{}
	first, second := receive(t, one, 5), receive(t, two, 5) // all before the first gets credit for more
	for _, d := range append(first[:5:5], second...) {
		seen[string(d.Message.Body.Data)] = true
	}
	if err := errors.Join(one.Settle(deadline(t), adapters.Accepted, first...), two.Settle(deadline(t), adapters.Accepted, second...)); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 10 {
		t.Errorf("%d different messages, want 10", len(seen))
	}
}

// The connection is cut on an oversized message although Artemis states no maximum; the message stays there.
func TestOversizedMessageStaysAtArtemis(t *testing.T) {
	h := artemisHarness(t)
	p := h.Place(t)
	h.Put(t, p, adaptertest.Native{Body: make([]byte, 3<<20)})
	c := h.Config(t, nil)
	c.Limits.MaxSize = 1 << 20
	s, err := New().OpenSource(deadline(t), c, p.Source)
	if err == nil {
		_, err = s.Receive(deadline(t), 1)
		_ = s.Close()
	}
	wantKind(t, err, adapters.Lost, "max_message_size", "1048576")
	if got := h.Take(t, p, 1); len(got[0].Body) != 3<<20 {
		t.Errorf("%d bytes", len(got[0].Body))
	}
}

// The facts of brokers.md, section 1.3, that the profile of Artemis rests on. When one of them changes, so may the profile.
func TestProfileFactsOfArtemis(t *testing.T) {
	h := artemisHarness(t)
	ctx, session := deadline(t), h.client(t)
	p := h.Place(t)
	second := amqp.ReceiverSettleModeSecond
	if _, err := session.NewReceiver(ctx, p.Source.Name, &amqp.ReceiverOptions{SettlementMode: &second}); err == nil {
		t.Error("settle mode second is taken: SettleConfirmed could be claimed")
	}
	if r, err := session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true}); err != nil || r.Address() == "" {
		t.Errorf("dynamic node: %v", err)
	}
	anonymous, err := session.NewSender(ctx, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := amqp.NewMessage([]byte("by its own address"))
	m.Properties = &amqp.MessageProperties{To: &p.Target.Name}
	if err := anonymous.Send(ctx, m, nil); err != nil {
		t.Errorf("anonymous terminus: %v", err)
	}
	browse := amqp.ReceiverOptions{Credit: 1, SourceDistributionMode: amqp.SourceDistributionModeCopy}
	if b, err := session.NewReceiver(ctx, p.Source.Name, &browse); err != nil {
		t.Errorf("browse: %v", err)
	} else if m, err := b.Receive(ctx, nil); err != nil || b.AcceptMessage(ctx, m) != nil {
		t.Errorf("browse: %v", err)
	}
	h.Take(t, p, 1) // it is still there
	h.counts(t, session, p)
	h.selector(t, session, p)
}

// counts: released and modified come again, only the second is counted.
func (h *harness) counts(t *testing.T, session *amqp.Session, p adaptertest.Place) {
	t.Helper()
	ctx := deadline(t)
	h.Put(t, p, adaptertest.Native{Body: []byte("again")})
	r, err := session.NewReceiver(ctx, p.Source.Name, &amqp.ReceiverOptions{Credit: 1})
	if err != nil {
		t.Fatal(err)
	}
	counts := []uint32{}
	for _, settle := range []func(*amqp.Message) error{
		func(m *amqp.Message) error { return r.ReleaseMessage(ctx, m) },
		func(m *amqp.Message) error {
			return r.ModifyMessage(ctx, m, &amqp.ModifyMessageOptions{DeliveryFailed: true})
		},
		func(m *amqp.Message) error { return r.AcceptMessage(ctx, m) },
	} {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if counts = append(counts, 0); m.Header != nil {
			counts[len(counts)-1] = m.Header.DeliveryCount
		}
		if err := settle(m); err != nil {
			t.Fatal(err)
		}
	}
	_ = r.Close(ctx)
	if fmt.Sprint(counts) != "[0 0 1]" {
		t.Errorf("delivery counts %v, want [0 0 1]", counts)
	}
}

// selector: one that must not match does not let the sentinel through.
func (h *harness) selector(t *testing.T, session *amqp.Session, p adaptertest.Place) {
	t.Helper()
	ctx := deadline(t)
	h.Put(t, p, adaptertest.Native{Body: []byte("blue"), Headers: []adaptertest.Header{{Name: "color", Value: "blue"}}},
		adaptertest.Native{Body: []byte("red"), Headers: []adaptertest.Header{{Name: "color", Value: "red"}}})
	r, err := session.NewReceiver(ctx, p.Source.Name, &amqp.ReceiverOptions{Filters: []amqp.LinkFilter{amqp.NewSelectorFilter("color = 'red'")}})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.Receive(ctx, nil); err != nil || string(m.GetData()) != "red" {
		t.Errorf("selector: %v", err)
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	h := artemisHarness(t)
	s, err := New().OpenSource(deadline(t), h.Config(t, nil), h.Place(t).Source)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
