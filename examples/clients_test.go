package examples

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// artemis is an independent AMQP client.
type artemis struct {
	t       *testing.T
	session *amqp.Session
}

// dialArtemis connects to amqp://user:password@host:port.
func dialArtemis(t *testing.T, address string) *artemis {
	t.Helper()
	conn, err := amqp.Dial(testContext(t), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s, err := conn.NewSession(testContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &artemis{t, s}
}

func (a *artemis) send(queue string, ms []*amqp.Message) {
	a.t.Helper()
	ctx := testContext(a.t)
	s, err := a.session.NewSender(ctx, queue, &amqp.SenderOptions{TargetCapabilities: []string{"queue"}})
	if err != nil {
		a.t.Fatal(err)
	}
	defer s.Close(ctx)
	for _, m := range ms {
		if err := s.Send(ctx, m, nil); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *artemis) receive(queue string, n int) []*amqp.Message {
	a.t.Helper()
	ctx := testContext(a.t)
	r, err := a.session.NewReceiver(ctx, queue, &amqp.ReceiverOptions{Credit: 100, SourceCapabilities: []string{"queue"}})
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Close(ctx)
	var ms []*amqp.Message
	for range n {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			a.t.Fatalf("%d of %d messages came: %v", len(ms), n, err)
		}
		if err := r.AcceptMessage(ctx, m); err != nil {
			a.t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

// host returns amqp://host:port without the credentials, as it stands in a topology.
func host(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Scheme + "://" + u.Host
}

func password(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := u.User.Password()
	return p
}

// createTopic makes a topic with one partition.
func createTopic(t *testing.T, address, topic string) {
	t.Helper()
	createPartitions(t, address, topic, 1)
}

func createPartitions(t *testing.T, address, topic string, n int32) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(testContext(t), n, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, address, topic string, rs []*kgo.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ProduceSync(testContext(t), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func consume(t *testing.T, address, topic string, n int) []*kgo.Record {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := testContext(t)
	var rs []*kgo.Record
	for len(rs) < n {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("%d of %d records came: %v", len(rs), n, err)
		}
		rs = append(rs, fs.Records()...)
	}
	return rs
}

// recordHeaders joins the values of a record's headers by name.
func recordHeaders(r *kgo.Record) map[string]string {
	hs := map[string]string{}
	for _, h := range r.Headers {
		hs[h.Key] += string(h.Value)
	}
	return hs
}

// committed returns the committed offset of a group on partition 0, or -1.
func committed(ctx context.Context, address, group, topic string) (int64, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return -1, err
	}
	defer c.Close()
	offs, err := kadm.NewClient(c).FetchOffsets(ctx, group)
	if err != nil {
		return -1, err
	}
	o, ok := offs.Lookup(topic, 0)
	if !ok {
		return -1, fmt.Errorf("group %s has no offset on %s", group, topic)
	}
	return o.At, nil
}
