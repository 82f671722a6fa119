package faults

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// kafkaEnd is a Kafka as an independent client sees it. Topics have one partition.
type kafkaEnd struct {
	addr string
	own  *broker.Broker // nil if it is shared
}

func (k *kafkaEnd) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(k.addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// create makes a topic, which is gone after the test where the broker is shared.
func (k *kafkaEnd) create(t *testing.T, name string) { k.topic(t, name, nil) }

func (k *kafkaEnd) createChoosy(t *testing.T, name string, most int) {
	size := strconv.Itoa(most)
	k.topic(t, name, map[string]*string{"max.message.bytes": &size})
}

func (k *kafkaEnd) topic(t *testing.T, name string, settings map[string]*string) {
	t.Helper()
	adm := kadm.NewClient(k.client(t))
	if _, err := adm.CreateTopic(t.Context(), 1, 1, settings, name); err != nil {
		t.Fatal(err)
	}
	if k.own == nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := adm.DeleteTopics(ctx, name); err != nil {
				t.Errorf("delete topic %s: %v", name, err)
			}
		})
	}
}

func (k *kafkaEnd) host() string { return k.addr }

func (k *kafkaEnd) yaml(at string) string {
	return fmt.Sprintf(`{ type: kafka, addresses: [%q] }`, at)
}

// As a source.

func (k *kafkaEnd) from(name string) string { return "topic: " + name + ", group: " + name }

// regives: it has positions, but the process that takes them may die before it has said how far it was.
func (k *kafkaEnd) regives() bool { return true }

func (k *kafkaEnd) requeues() bool { return false } // a log

func (k *kafkaEnd) sender(t *testing.T, name string) sender {
	return &kafkaSender{k.client(t, kgo.DefaultProduceTopic(name), kgo.ProducerLinger(0))}
}

type kafkaSender struct{ c *kgo.Client }

// send keeps the order: the client's producer is idempotent and the topic has one partition.
func (s *kafkaSender) send(ctx context.Context, m message, done func(outcome)) {
	r := &kgo.Record{Key: []byte(m.headers[headerKey]), Value: m.body}
	for name, v := range m.headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
	}
	s.c.Produce(ctx, r, func(_ *kgo.Record, err error) {
		if err != nil {
			done(unknown)
			return
		}
		done(taken)
	})
}

// left is how far the committed position of the group is behind the end of the topic.
func (k *kafkaEnd) left(t *testing.T, name string) int {
	t.Helper()
	adm := kadm.NewClient(k.client(t))
	at := int64(0)
	offsets, err := adm.FetchOffsets(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup(name, 0); ok {
		at = o.At
	}
	return int(k.end(t.Context(), t, name) - at)
}

func (k *kafkaEnd) end(ctx context.Context, t *testing.T, name string) int64 {
	t.Helper()
	ends, err := kadm.NewClient(k.client(t)).ListEndOffsets(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := ends.Lookup(name, 0)
	if !ok || e.Err != nil {
		t.Fatalf("end of topic %s: %v", name, e.Err)
	}
	return e.Offset
}

// As a target.

func (k *kafkaEnd) stop(ctx context.Context)        { k.own.Stop(ctx) }
func (k *kafkaEnd) start(ctx context.Context) error { return k.own.Restart(ctx) }
func (k *kafkaEnd) absorbs() bool                   { return false }
func (k *kafkaEnd) to(name string) string           { return "topic: " + name }

func (k *kafkaEnd) read(ctx context.Context, t *testing.T, name string, last func(message) bool) ([]message, error) {
	c := k.client(t, kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords()) // they stand at the end of transactions
	var all []message
	for end, next := int64(0), int64(0); end == 0 || next < end; {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return all, err
		}
		for _, r := range fs.Records() {
			if next = r.Offset + 1; r.Attrs.IsControl() {
				continue
			}
			all = append(all, kafkaMessage(r))
			if end == 0 && last(all[len(all)-1]) {
				end = k.end(ctx, t, name)
			}
		}
	}
	return all, nil
}

// all reads a topic from its beginning to its end of now.
func (k *kafkaEnd) all(ctx context.Context, t *testing.T, name string) ([]message, error) {
	c := k.client(t, kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	var all []message
	for end, next := k.end(ctx, t, name), int64(0); next < end; {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return all, err
		}
		for _, r := range fs.Records() {
			if next = r.Offset + 1; !r.Attrs.IsControl() {
				all = append(all, kafkaMessage(r))
			}
		}
	}
	return all, nil
}

func kafkaMessage(r *kgo.Record) message {
	hs := map[string]string{}
	for _, h := range r.Headers {
		hs[h.Key] += string(h.Value)
	}
	return message{hs, r.Value}
}
