package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// defaultBatch is how many bytes may be on their way at once where the broker does not tell the topic's limit: below
// Kafka's default for message.max.bytes, so that several small messages together are never refused as too large.
const defaultBatch = 900_000

// A sender is what all targets share: one topic, the connections of one client, and the one reason why they were cut.
type sender struct {
	addr     adapters.Address
	limits   adapters.Limits
	silence  time.Duration // without a byte from a broker that owes an answer it is given up
	now      func() time.Time
	facts    facts
	maxSize  int64 // of one record
	net      *network
	client   sarama.Client
	spring   bool // its programs use Spring for Kafka
	absent   absences
	reserved string          // a topic that takes no messages
	life     context.Context // ends when err is set
	end      context.CancelFunc

	mu  sync.Mutex
	err error
}

func (t *sender) begin(c adapters.Config, a adapters.Address, f facts, n *network) {
	t.addr, t.limits, t.silence, t.now, t.facts, t.net = a, c.Limits, 5*c.Heartbeat/2, c.Now, f, n
	t.spring = usesSpring(c)
	t.reserved = stateTopic(c.Options)
	t.life, t.end = context.WithCancel(context.Background())
	t.maxSize = min(c.Limits.MaxSize, maxRecord)
	if f.maxBatch > 0 {
		const frame = 128 // of a batch around its records
		t.maxSize = min(t.maxSize, max(f.maxBatch-frame, 1))
	}
	t.facts.peer.MaxSize = t.maxSize
}

// write brings m into the broker's form and refuses what is too large for the topic.
func (t *sender) write(m *adapters.Message) (wire, error) {
	w := encode(m, t.now(), t.spring)
	var err error
	if w.topic, err = t.topicOf(m); err != nil {
		return w, err
	}
	if err := t.place(&w, m); err != nil {
		return w, err
	}
	if n := w.size(); n > t.maxSize {
		return w, &adapters.Error{Op: "send", Addr: t.addr, Kind: adapters.Permanent,
			Err: fmt.Errorf("%w: it has %d bytes with its headers, and at most %d are taken (max.message.bytes of the topic, max_message_size of the route)",
				adapters.ErrTooLarge, n, t.maxSize)}
	}
	return w, nil
}

// unless is d, or nothing when the target is spent and whatever the client library still tries shall end soon.
func (t *sender) unless(d time.Duration) time.Duration {
	if t.life.Err() != nil {
		return 0
	}
	return d
}

// watch notices a broker that has fallen silent while it owes an answer.
func (t *sender) watch() {
	tick := time.NewTicker(max(t.silence/5, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-t.life.Done():
			return
		case <-tick.C:
			if t.net.stalled(t.silence) {
				t.fail(fmt.Errorf("no byte from the broker for %s", t.silence))
			}
		}
	}
}

// Probe asks a broker for the topic: it is answered only over a working connection, and says whether the topic is still
// there.
func (t *sender) Probe(ctx context.Context) error {
	if err := t.failure(); err != nil {
		return asLost("probe", t.addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.silence)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- t.client.RefreshMetadata(t.own()...) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("no answer: %w", ctx.Err())
	case <-t.life.Done():
		err = t.failure()
	}
	if err != nil {
		return &adapters.Error{Op: "probe", Addr: t.addr, Kind: adapters.Lost, Err: err}
	}
	return nil
}

// fail spends the target; the first reason stays. When it returns no byte leaves any more.
func (t *sender) fail(err error) {
	t.mu.Lock()
	first := t.err == nil
	if first {
		t.err = classify("send", t.addr, err)
	}
	t.mu.Unlock()
	if first {
		t.net.cut()
		t.end()
	}
}

func (t *sender) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Peer is what the cluster told when the target was opened.
func (t *sender) Peer() adapters.Peer { return t.facts.peer }
