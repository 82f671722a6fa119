package faults

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A natsEnd as a source.

func (n *natsEnd) host() string { return n.addr }

func (n *natsEnd) from(name string) string { return "stream: " + name }

// regives: a position names each message, but one that had been sent in pass-through when its daemon died has a new id.
func (n *natsEnd) regives() bool { return true }

func (n *natsEnd) requeues() bool { return false }

func (n *natsEnd) sender(t *testing.T, name string) sender {
	t.Helper()
	conn, err := nats.Connect("nats://"+n.addr, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(1<<14), jetstream.WithPublishAsyncTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	s := &natsSender{js, name, make(chan natsSend, 1<<14)}
	go s.collect(t.Context())
	t.Cleanup(func() { close(s.sent) })
	return s
}

// A natsSender sends in order and takes the answers in their order.
type natsSender struct {
	js      jetstream.JetStream
	subject string
	sent    chan natsSend
}

type natsSend struct {
	f    jetstream.PubAckFuture
	done func(outcome)
}

func (s *natsSender) send(_ context.Context, m message, done func(outcome)) {
	w := nats.NewMsg(s.subject)
	w.Data = m.body
	for name, v := range m.headers {
		w.Header.Set(name, v)
	}
	f, err := s.js.PublishMsgAsync(w)
	if err != nil {
		done(unknown)
		return
	}
	s.sent <- natsSend{f, done}
}

func (s *natsSender) collect(ctx context.Context) {
	for sent := range s.sent {
		select {
		case <-sent.f.Ok():
			sent.done(taken)
		case <-sent.f.Err():
			sent.done(unknown)
		case <-ctx.Done(): // the test is over
			sent.done(unknown)
		}
	}
}

// left is what has not been settled.
func (n *natsEnd) left(t *testing.T, name string) int {
	t.Helper()
	open, _, err := n.consumed(t.Context(), n.client(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// consumed is how many messages of a stream have not been settled by its one consumer, and how many were given out again.
func (n *natsEnd) consumed(ctx context.Context, js jetstream.JetStream, name string) (open, again int, err error) {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	for c := range s.ListConsumers(ctx).Info() {
		open = int(c.NumPending) + c.NumAckPending
		again = int(c.Delivered.Consumer - c.Delivered.Stream)
		return open, again, nil
	}
	return 0, 0, fmt.Errorf("stream %s has no consumer", name)
}

func (n *natsEnd) consumedBy(t *testing.T, name string) func(context.Context) (open, again int, err error) {
	js := n.client(t)
	return func(ctx context.Context) (int, int, error) { return n.consumed(ctx, js, name) }
}

func (n *natsEnd) createChoosy(t *testing.T, name string, most int) {
	n.stream(t, name, int32(most))
}

// all reads a stream from its beginning to its end of now.
func (n *natsEnd) all(ctx context.Context, t *testing.T, name string) ([]message, error) {
	if n.count(ctx, t, name) == 0 {
		return nil, nil
	}
	return n.read(ctx, t, name, func(message) bool { return true })
}
