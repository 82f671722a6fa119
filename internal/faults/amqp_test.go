package faults

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// amqpEnd is an Artemis or a RabbitMQ as an independent client sees it.
type amqpEnd struct {
	url    string // amqp://user:password@host:port
	prefix string // of a queue's address for the client
	admin  *broker.RabbitAdmin
	own    *broker.Broker // nil if it is shared
	unique bool           // the route may go by its message-ids
}

// identified is the end with message-ids that the route may go by.
func (e *amqpEnd) identified() *amqpEnd {
	own := *e
	own.unique = true
	return &own
}

// sharedArtemis is the Artemis of all tests.
func sharedArtemis(t *testing.T) *amqpEnd {
	return &amqpEnd{url: broker.Need(t, broker.Artemis)}
}

// sharedRabbit is the RabbitMQ 4 of all tests.
func sharedRabbit(t *testing.T) *amqpEnd {
	t.Helper()
	e := &amqpEnd{url: broker.Need(t, broker.RabbitMQ4, broker.EnvRabbitMQ4Admin), prefix: "/queues/"}
	var err error
	if e.admin, err = broker.NewRabbitAdmin(os.Getenv(broker.EnvRabbitMQ4Admin)); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *amqpEnd) host() string {
	u, _ := url.Parse(e.url) // the client has read it
	return u.Host
}

// create declares the queue where the broker does not make it by itself.
func (e *amqpEnd) create(t *testing.T, name string) {
	t.Helper()
	if e.admin == nil {
		t.Cleanup(func() { e.empty(t, name) })
		return
	}
	if err := e.admin.DeclareQueue(t.Context(), name, "quorum", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.admin.DeleteQueue(ctx, name); err != nil {
			t.Error(err)
		}
	})
}

// empty takes what a trial that failed has left in a queue. Artemis begins to page when all its queues together are too
// large, and then it does not keep the order of those that it pages (seen with 2.55.0, where paging starts and stops).
func (e *amqpEnd) empty(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := e.drain(ctx, name, nil); err != nil {
		t.Errorf("empty %s: %v", name, err)
	}
}

func (e *amqpEnd) yaml(at string) string {
	dialect := map[bool]string{true: "artemis", false: "rabbitmq"}[e.admin == nil]
	return fmt.Sprintf(`{ type: amqp, dialect: %s, addresses: ["amqp://%s"], credentials: { user: %s, password: { env: PW } } }`, dialect, at, broker.User)
}

// As a source.

func (e *amqpEnd) from(name string) string {
	return fmt.Sprintf("queue: %s, unique_ids: %v", name, e.unique)
}

// regives: without ids of its own, what was not settled comes again as any other message does.
func (e *amqpEnd) regives() bool { return true }

func (e *amqpEnd) requeues() bool { return true }

func (e *amqpEnd) sender(t *testing.T, name string) sender {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := amqp.Dial(ctx, e.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.open(ctx, conn, name)
	if err != nil {
		t.Fatal(err)
	}
	a := &amqpSender{s, make(chan amqpSend, 1<<16)}
	go a.collect(t.Context())
	t.Cleanup(func() { close(a.sent); _ = conn.Close() })
	return a
}

func (e *amqpEnd) open(ctx context.Context, conn *amqp.Conn, name string) (*amqp.Sender, error) {
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	return s.NewSender(ctx, e.prefix+name, &amqp.SenderOptions{TargetCapabilities: e.capabilities()})
}

// capabilities asks Artemis for a queue; RabbitMQ knows by the address.
func (e *amqpEnd) capabilities() []string {
	if e.admin != nil {
		return nil
	}
	return []string{"queue"}
}

// An amqpSender sends in order on one link and takes the answers in their order.
type amqpSender struct {
	s    *amqp.Sender
	sent chan amqpSend
}

type amqpSend struct {
	r    amqp.SendReceipt
	done func(outcome)
}

func (a *amqpSender) send(ctx context.Context, m message, done func(outcome)) {
	now := time.Now() // as JMS producers do; Kafka would get the daemon's time otherwise, which a storm makes wrong
	w := &amqp.Message{Data: [][]byte{m.body}, Header: &amqp.MessageHeader{Durable: true, Priority: 4},
		Properties: &amqp.MessageProperties{MessageID: m.headers[headerID], CreationTime: &now}, ApplicationProperties: map[string]any{}}
	for name, v := range m.headers {
		w.ApplicationProperties[name] = v
	}
	r, err := a.s.SendWithReceipt(ctx, w, nil)
	if err != nil {
		done(unknown)
		return
	}
	a.sent <- amqpSend{r, done}
}

func (a *amqpSender) collect(ctx context.Context) {
	for s := range a.sent {
		state, err := s.r.Wait(ctx)
		switch state.(type) {
		case *amqp.StateAccepted:
			s.done(taken)
		case *amqp.StateRejected:
			s.done(failed)
		default:
			_ = err
			s.done(unknown)
		}
	}
}

// left counts what is in the queue, and takes it.
func (e *amqpEnd) left(t *testing.T, name string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ms, err := e.drain(ctx, name, nil)
	if err != nil {
		t.Fatalf("empty %s: %v", name, err)
	}
	return len(ms)
}

// As a target.

func (e *amqpEnd) stop(ctx context.Context)        { e.own.Stop(ctx) }
func (e *amqpEnd) start(ctx context.Context) error { return e.own.Restart(ctx) }
func (e *amqpEnd) absorbs() bool                   { return e.admin == nil } // _AMQ_DUPL_ID, which the adapter writes for Artemis
func (e *amqpEnd) to(name string) string           { return "queue: " + name }

func (e *amqpEnd) read(ctx context.Context, _ *testing.T, name string, last func(message) bool) ([]message, error) {
	return e.drain(ctx, name, last)
}

func (e *amqpEnd) all(ctx context.Context, _ *testing.T, name string) ([]message, error) {
	return e.drain(ctx, name, nil)
}

// drain takes everything that is in a queue: all that comes before a mark that is sent behind the message that is last,
// or at once if last is nil.
func (e *amqpEnd) drain(ctx context.Context, name string, last func(message) bool) (all []message, err error) {
	conn, err := amqp.Dial(ctx, e.url, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	to, err := e.open(ctx, conn, name)
	if err != nil {
		return nil, err
	}
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	r, err := s.NewReceiver(ctx, e.prefix+name, &amqp.ReceiverOptions{Credit: 500, SourceCapabilities: e.capabilities()})
	if err != nil {
		return nil, err
	}
	const mark = "end of the queue"
	for marked := false; ; {
		if !marked && (last == nil || len(all) > 0 && last(all[len(all)-1])) {
			marked = true
			m := amqp.NewMessage([]byte(mark))
			m.Header = &amqp.MessageHeader{Priority: 0}
			if err := to.Send(ctx, m, nil); err != nil {
				return all, err
			}
		}
		m, err := r.Receive(ctx, nil)
		if err == nil {
			err = r.AcceptMessage(ctx, m)
		}
		if err != nil {
			return all, err
		}
		if string(m.GetData()) == mark {
			return all, nil
		}
		all = append(all, amqpMessage(m))
	}
}

func amqpMessage(m *amqp.Message) message {
	hs := map[string]string{}
	for k, v := range m.ApplicationProperties {
		hs[k] = fmt.Sprint(v)
	}
	return message{hs, m.GetData()}
}
