package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// protocolVersion is the newest version of the protocol that sarama covers in full; towards older brokers each request
// is brought down to what they announce.
var protocolVersion = sarama.V2_8_0_0

// Facts are what the cluster told at the start.
type facts struct {
	peer       adapters.Peer
	topicID    string // "" where the broker has no topic ids (before 2.8)
	partitions int
	maxBatch   int64 // max.message.bytes of the topic, 0 = not told
}

// settings are common to every client of one end.
func settings(c adapters.Config, n *network) *sarama.Config {
	s := sarama.NewConfig()
	s.Version = protocolVersion
	s.ClientID = c.Client
	if s.ClientID == "" {
		s.ClientID = defaultGroup
	}
	s.Net.Proxy.Enable, s.Net.Proxy.Dialer = true, n
	s.Net.DialTimeout, s.Net.ReadTimeout, s.Net.WriteTimeout = n.timeout, 2*c.Heartbeat, 2*c.Heartbeat
	login(s, c.Credentials)
	s.Metadata.Full = false
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.Retry.Max = 3
	s.Metadata.Retry.Backoff = 100 * time.Millisecond
	return s
}

// maxResponse bounds one response: what was asked for and one message more, and room for everything that is no message.
func maxResponse(l adapters.Limits, asked int64) int64 {
	return min(asked+min(l.MaxSize, maxRecord)+1<<20, int64(sarama.MaxResponseSize))
}

// connect tries c.Addresses in order, once, and asks the first that answers about the cluster and the topics as. It
// leaves no connection behind.
func connect(ctx context.Context, c adapters.Config, n *network, as ...adapters.Address) (facts, error) {
	if err := New().Check(c, as...); err != nil {
		return facts{}, &adapters.Error{Op: "connect", Addr: adapters.Address{Broker: c.Name}, Kind: adapters.Permanent, Err: err}
	}
	var errs []error
	kind := adapters.Lost
	for _, addr := range c.Addresses {
		f, err := within(ctx, n, func() (facts, error) { return ask(c, n, addr, as) })
		if err == nil {
			return f, nil
		}
		e := classify("connect", adapters.Address{Broker: c.Name}, withCause(err, n))
		if e.Kind != adapters.Lost {
			kind = e.Kind // an answer says more than silence
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, e.Err)) // e.Err has the plain words
		var own *adapters.Error
		if errors.As(err, &own) && own.Op == "attach" {
			return facts{}, own
		}
		if ctx.Err() != nil {
			break
		}
	}
	return facts{}, &adapters.Error{Op: "connect", Addr: adapters.Address{Broker: c.Name}, Kind: kind, Err: errors.Join(errs...)}
}

// withCause prefers what the connection itself saw to what the client library made of it.
func withCause(err error, n *network) error {
	if cause := n.noted(); cause != nil && judge(err).kind == adapters.Lost && judge(cause).kind != adapters.Lost {
		return cause
	}
	return err
}

// within runs f and gives it up when ctx ends: cutting the connections makes it return, but nobody waits for that.
func within[T any](ctx context.Context, n *network, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		n.cut()
		var none T
		return none, fmt.Errorf("not done in time: %w", ctx.Err())
	}
}

func ask(c adapters.Config, n *network, addr string, as []adapters.Address) (facts, error) {
	b := sarama.NewBroker(addr)
	if err := b.Open(settings(c, n)); err != nil {
		return facts{}, err
	}
	defer func() { _ = b.Close() }()
	switch ok, err := b.Connected(); {
	case err != nil:
		return facts{}, err
	case !ok:
		return facts{}, sarama.ErrNotConnected
	}
	as = slices.DeleteFunc(slices.Clone(as), func(a adapters.Address) bool { return a.Dynamic })
	names := make([]string, len(as))
	for i, a := range as {
		names[i] = a.Name
	}
	req := sarama.NewMetadataRequest(protocolVersion, names)
	res, err := b.GetMetadata(req)
	if err != nil {
		return facts{}, err
	}
	f := facts{peer: adapters.Peer{Product: "kafka", Address: addr}}
	if res.ClusterID != nil {
		f.peer.ID, f.peer.Unique = *res.ClusterID, *res.ClusterID
	}
	for _, a := range as {
		if err := f.topic(res, a); err != nil {
			return facts{}, err
		}
	}
	if len(as) == 1 {
		f.maxBatch = maxMessageBytes(b, as[0].Name)
	}
	return f, nil
}

// topic looks for a in the answer.
func (f *facts) topic(res *sarama.MetadataResponse, a adapters.Address) error {
	for _, t := range res.Topics {
		if t.Name != a.Name {
			continue
		}
		if t.Err != sarama.ErrNoError && t.Err != sarama.ErrLeaderNotAvailable {
			return classify("attach", a, t.Err)
		}
		f.partitions = len(t.Partitions)
		if t.Uuid != (sarama.Uuid{}) {
			f.topicID = t.Uuid.String()
		}
		return nil
	}
	return classify("attach", a, sarama.ErrUnknownTopicOrPartition)
}

// maxMessageBytes reads the topic's limit; 0 where the broker does not tell, for instance for want of the right
// DescribeConfigs.
func maxMessageBytes(b *sarama.Broker, topic string) int64 {
	const key = "max.message.bytes"
	res, err := b.DescribeConfigs(&sarama.DescribeConfigsRequest{Version: 2, Resources: []*sarama.ConfigResource{
		{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{key}}}})
	if err != nil {
		return 0
	}
	for _, r := range res.Resources {
		for _, e := range r.Configs {
			if n, err := strconv.ParseInt(e.Value, 10, 64); err == nil && e.Name == key && r.ErrorCode == 0 {
				return n
			}
		}
	}
	return 0
}
