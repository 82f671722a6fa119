package amqp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// An artemisRig is a harness whose broker can refuse, be full and set messages aside.
type artemisRig struct{ *harness }

var (
	_ adaptertest.Refuser  = artemisRig{}
	_ adaptertest.Asider   = artemisRig{}
	_ adaptertest.Goldener = artemisRig{}
	_ adaptertest.Refuser  = rabbitRig{}
)

func artemisHarness(t testing.TB) *harness {
	return &harness{name: broker.Artemis, url: broker.Need(t, broker.Artemis), dialect: "artemis", destroys: true}
}

// GoldenFile is what one rich message looks like each way.
func (h artemisRig) GoldenFile() string { return "testdata/artemis.golden" }

// FullPlace is an address that refuses after broker.ArtemisLimitedBytes.
func (h artemisRig) FullPlace(t testing.TB) (adaptertest.Place, func()) {
	p := h.place(t, broker.ArtemisLimitedPrefix+h.Place(t).Source.Name)
	return p, func() { h.Take(t, p, 50) }
}

// DeniedPlace exists and belongs to nobody.
func (h artemisRig) DeniedPlace(t testing.TB) adaptertest.Place {
	return h.place(t, "denied.queue")
}

// MissingPlace is below an address setting that creates nothing.
func (h artemisRig) MissingPlace(t testing.TB) adaptertest.Place {
	if err := h.manage(t, "addAddressSettings", `["missing.#", "{\"autoCreateQueues\":false,\"autoCreateAddresses\":false}"]`); err != nil {
		t.Fatal(err)
	}
	return h.place(t, "missing."+h.Place(t).Source.Name)
}

// Aside takes rejected messages from the dead-letter queue that all addresses share: those of p are known by the
// address they came from.
func (h artemisRig) Aside(t testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	t.Helper()
	ctx := deadline(t)
	r, err := h.client(t).NewReceiver(ctx, broker.ArtemisDeadLetter, &amqp.ReceiverOptions{Credit: 1})
	if err != nil {
		t.Fatal(err)
	}
	var ns []adaptertest.Native
	for len(ns) < n {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			t.Fatalf("%d of %d messages came aside: %v", len(ns), n, err)
		}
		if m.Annotations["x-opt-ORIG-ADDRESS"] == p.Source.Name {
			ns = append(ns, toNative(m))
		}
		if err := r.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	return ns
}

// manage calls an operation of Artemis over its management address.
func (h *harness) manage(t testing.TB, operation, params string) error {
	ctx := deadline(t)
	conn, err := amqp.Dial(ctx, h.url, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	answers, err := s.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true})
	if err != nil {
		return err
	}
	calls, err := s.NewSender(ctx, "activemq.management", nil)
	if err != nil {
		return err
	}
	to := answers.Address()
	m := &amqp.Message{Value: params, Properties: &amqp.MessageProperties{ReplyTo: &to},
		ApplicationProperties: map[string]any{"_AMQ_ResourceName": "broker", "_AMQ_OperationName": operation}}
	if err := calls.Send(ctx, m, nil); err != nil {
		return err
	}
	answer, err := answers.Receive(ctx, nil)
	if err == nil && answer.ApplicationProperties["_AMQ_OperationSucceeded"] != true {
		err = fmt.Errorf("%s %s: %v", operation, params, answer.Value)
	}
	return err
}

// A rabbitRig is a harness for RabbitMQ, whose queues are made over its management API.
type rabbitRig struct {
	*harness
	admin *broker.RabbitAdmin
}

func rabbitHarness(t testing.TB, name string) rabbitRig {
	r := rabbitRig{harness: &harness{name: name, url: broker.Need(t, name, "POSTHOUSE_TEST_"+strings.ToUpper(name)+"_ADMIN"), dialect: "rabbitmq"}}
	admin, err := broker.NewRabbitAdmin(env("POSTHOUSE_TEST_" + strings.ToUpper(name) + "_ADMIN"))
	if err != nil {
		t.Fatal(err)
	}
	r.admin = admin
	if r.durable = amqp.DurabilityUnsettledState; name == broker.RabbitMQ4 {
		r.prefix = "/queues/"
	}
	r.declare = func(t testing.TB, queue string) { r.make(t, queue, nil) }
	return r
}

func (r rabbitRig) make(t testing.TB, queue string, args map[string]any) {
	t.Helper()
	if err := r.admin.DeclareQueue(deadline(t), queue, "classic", args); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.admin.DeleteQueue(context.Background(), queue); err != nil {
			t.Log(err)
		}
	})
}

// FullPlace is a queue of five messages that refuses the sixth.
func (r rabbitRig) FullPlace(t testing.TB) (adaptertest.Place, func()) {
	name := "full." + strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:]) + "." + r.name
	r.make(t, name, map[string]any{"x-max-length": 5, "x-overflow": "reject-publish"})
	a := adapters.Address{Broker: r.name, Form: adapters.Queue, Name: name}
	p := adaptertest.Place{Source: a, Target: a}
	return p, func() { r.Take(t, p, 5) }
}

// DeniedPlace is a queue and an exchange that belong to nobody. A queue alone would not do: everybody who may use the
// default exchange may send to every queue.
func (r rabbitRig) DeniedPlace(t testing.TB) adaptertest.Place {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t), http.MethodPut, env("POSTHOUSE_TEST_RABBITMQ4_ADMIN")+"/api/exchanges/%2F/denied.exchange",
		strings.NewReader(`{"type":"topic","durable":true}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	_ = answer.Body.Close()
	p := r.place(t, "denied.queue")
	p.Target.Name = "/exchanges/denied.exchange/k"
	return p
}

// MissingPlace was never declared.
func (r rabbitRig) MissingPlace(t testing.TB) adaptertest.Place {
	a := adapters.Address{Broker: r.name, Form: adapters.Queue, Name: "missing.queue"}
	return adaptertest.Place{Source: a, Target: a}
}

func TestConformanceArtemis(t *testing.T) {
	h := artemisHarness(t)
	adaptertest.Run(t, artemisRig{h})
}

func TestConformanceRabbitMQ4(t *testing.T) {
	adaptertest.Run(t, rabbitHarness(t, broker.RabbitMQ4))
}

// RabbitMQ 3 makes queues by itself, so it is no Refuser.
func TestConformanceRabbitMQ3(t *testing.T) {
	r := rabbitHarness(t, broker.RabbitMQ3)
	adaptertest.Run(t, struct{ adaptertest.Harness }{r})
}

// A privateRig owns its broker and may kill it.
type privateRig struct {
	*harness
	b *broker.Broker
}

// KillAndRestart kills the broker and waits until it is there again.
func (r privateRig) KillAndRestart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	r.b.Kill()
	if err := r.b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestArtemisKeepsWhatItConfirmed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a broker of its own")
	}
	b := broker.Private(t, broker.Artemis)
	u := b.Env()["POSTHOUSE_TEST_"+strings.ToUpper(b.Name())]
	if _, err := url.Parse(u); err != nil || u == "" {
		t.Fatalf("address of the private broker: %q, %v", u, err)
	}
	rig := privateRig{&harness{name: broker.Artemis, url: u, dialect: "artemis"}, b}
	for _, c := range adaptertest.Checks() {
		if c.Name == "AcceptedIsDurable" {
			t.Run(fmt.Sprint(c.Group, "/", c.Name), func(t *testing.T) { c.Run(t, rig) })
		}
	}
}
