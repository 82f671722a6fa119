package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A side is one broker as the benchmark needs it: vendor's client in and out, and its part of the topology.
type side interface {
	// yaml returns the entry under brokers:, and the source and the target end without the broker.
	yaml() (entry, from, to string)
	// load sends n messages, one every pace, and returns when all are confirmed.
	load(ctx context.Context, n int, body func(i int) []byte, pace time.Duration) error
	// watch receives and removes n messages.
	watch(ctx context.Context, n int, each func(body []byte)) error
	close()
}

// A distant side can be reached through a proxy instead of directly.
type distant interface {
	side
	through(p *adaptertest.Proxy) error
}

// fresh makes a name that nobody has used.
func fresh(prefix string) string { return prefix + "-" + rand.Text()[:10] }

// address returns the broker's address from the environment of internal/testbed.
func address(name string) (string, error) {
	a := os.Getenv(broker.Variable(name))
	if a == "" {
		return "", fmt.Errorf("no %s: run this with make bench, or set %s", name, broker.Variable(name))
	}
	return a, nil
}

// paced calls f for 0 to n-1, one every pace, or as fast as it goes.
func paced(ctx context.Context, n int, pace time.Duration, f func(i int) error) error {
	begin := time.Now()
	for i := range n {
		if d := time.Until(begin.Add(time.Duration(i) * pace)); pace > 0 && d > 0 {
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

type amqpSide struct {
	url, via string // via: host:port of a proxy, "" = none
	queue    string
	unique   bool // its message-ids are
	conn     *amqp.Conn
	session  *amqp.Session
}

func openAMQP(ctx context.Context, name string) (*amqpSide, error) {
	a, err := address(name)
	if err != nil {
		return nil, err
	}
	s := &amqpSide{url: a, queue: fresh("bench")}
	if s.conn, err = amqp.Dial(ctx, a, nil); err != nil {
		return nil, err
	}
	s.session, err = s.conn.NewSession(ctx, nil)
	return s, err
}

func (s *amqpSide) yaml() (entry, from, to string) {
	u, _ := url.Parse(s.url) // was dialled
	host := u.Host
	if s.via != "" {
		host = s.via
	}
	end := "queue: " + s.queue
	if from = end; s.unique {
		from += ", unique_ids: true"
	}
	return fmt.Sprintf("{ type: amqp, dialect: artemis, addresses: [%q], credentials: { user: %s, password: { env: %s } } }",
		u.Scheme+"://"+host, u.User.Username(), broker.EnvPassword), from, end
}

func (s *amqpSide) identify() { s.unique = true }

// close deletes the queue as well: these brokers may be somebody else's tomorrow.
func (s *amqpSide) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = s.conn.Close() // a load that was stopped may have left it unusable
	if err := s.drop(ctx); err != nil && !strings.Contains(err.Error(), "does not exist") {
		fmt.Fprintln(os.Stderr, "bench: delete", s.queue+":", err)
	}
}

// drop deletes the queue with what is in it, over a connection of its own.
func (s *amqpSide) drop(ctx context.Context) error {
	conn, err := amqp.Dial(ctx, s.url, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	answers, err := session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true})
	if err != nil {
		return err
	}
	calls, err := session.NewSender(ctx, "activemq.management", nil)
	if err != nil {
		return err
	}
	to := answers.Address()
	m := &amqp.Message{Value: fmt.Sprintf("[%q, true, true]", s.queue), Properties: &amqp.MessageProperties{ReplyTo: &to},
		ApplicationProperties: map[string]any{"_AMQ_ResourceName": "broker", "_AMQ_OperationName": "destroyQueue"}}
	if err := calls.Send(ctx, m, nil); err != nil {
		return err
	}
	answer, err := answers.Receive(ctx, nil)
	if err == nil && answer.ApplicationProperties["_AMQ_OperationSucceeded"] != true {
		err = fmt.Errorf("the broker says: %v", answer.Value)
	}
	return err
}

func (s *amqpSide) through(p *adaptertest.Proxy) (err error) {
	u, _ := url.Parse(s.url) // was dialled
	s.via, err = p.Relay(u.Host)
	return err
}

var asQueue = []string{"queue"}

// pendingSend is a send whose answer is still out.
type pendingSend = amqp.SendReceipt

func (s *amqpSide) load(ctx context.Context, n int, body func(int) []byte, pace time.Duration) error {
	snd, err := s.session.NewSender(ctx, s.queue, &amqp.SenderOptions{TargetCapabilities: asQueue})
	if err != nil {
		return err
	}
	defer snd.Close(ctx)
	out := make(chan pendingSend, 256)
	done := make(chan error, 1)
	go func() {
		var err error
		for r := range out {
			_, werr := r.Wait(ctx)
			err = errors.Join(err, werr)
		}
		done <- err
	}()
	err = paced(ctx, n, pace, func(i int) error {
		m := amqp.NewMessage(body(i))
		m.Header = &amqp.MessageHeader{Durable: true}
		m.Properties = &amqp.MessageProperties{MessageID: fmt.Sprint(i)}
		m.ApplicationProperties = map[string]any{"n": int64(i), "region": "EU"}
		r, err := snd.SendWithReceipt(ctx, m, nil)
		if err == nil {
			out <- r
		}
		return err
	})
	close(out)
	return errors.Join(err, <-done)
}

func (s *amqpSide) watch(ctx context.Context, n int, each func([]byte)) error {
	rcv, err := s.session.NewReceiver(ctx, s.queue, &amqp.ReceiverOptions{Credit: 256, SourceCapabilities: asQueue})
	if err != nil {
		return err
	}
	defer rcv.Close(ctx)
	for range n {
		m, err := rcv.Receive(ctx, nil)
		if err != nil {
			return err
		}
		each(m.GetData())
		if err := rcv.AcceptMessage(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

type kafkaSide struct {
	addr, topic string
	client      *kgo.Client
}

func openKafka(ctx context.Context) (*kafkaSide, error) {
	a, err := address(broker.Kafka)
	if err != nil {
		return nil, err
	}
	s := &kafkaSide{addr: a, topic: fresh("bench")}
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(a), kgo.DefaultProduceTopic(s.topic)); err != nil {
		return nil, err
	}
	_, err = kadm.NewClient(s.client).CreateTopic(ctx, 1, 1, nil, s.topic)
	return s, err
}

func (s *kafkaSide) yaml() (entry, from, to string) {
	end := "topic: " + s.topic
	return fmt.Sprintf("{ type: kafka, addresses: [%q], group: %s }", s.addr, s.topic), end, end
}

func (s *kafkaSide) identify() {} // by position

func (s *kafkaSide) close() { s.client.Close() }

func (s *kafkaSide) load(ctx context.Context, n int, body func(int) []byte, pace time.Duration) error {
	failed := make(chan error, n)
	err := paced(ctx, n, pace, func(i int) error {
		s.client.Produce(ctx, &kgo.Record{Value: body(i), Headers: []kgo.RecordHeader{{Key: "region", Value: []byte("EU")}}},
			func(_ *kgo.Record, err error) {
				if err != nil {
					failed <- err
				}
			})
		return nil
	})
	err = errors.Join(err, s.client.Flush(ctx))
	select {
	case ferr := <-failed:
		return errors.Join(err, ferr)
	default:
		return err
	}
}

func (s *kafkaSide) watch(ctx context.Context, n int, each func([]byte)) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.ConsumeTopics(s.topic), kgo.FetchMaxWait(50*time.Millisecond), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer c.Close()
	for got := 0; got < n; {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		fs.EachRecord(func(r *kgo.Record) { each(r.Value); got++ })
	}
	return nil
}

type natsSide struct {
	srv  *server.Server
	via  string // host:port of a proxy, "" = none
	conn *nats.Conn
	js   jetstream.JetStream
	seen uint64 // messages that watch has had
}

func openNATS(ctx context.Context, dir string) (*natsSide, error) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, NoLog: true, NoSigs: true,
		StoreDir: filepath.Join(dir, fresh("nats"))})
	if err != nil {
		return nil, err
	}
	srv.Start()
	s := &natsSide{srv: srv}
	if !srv.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the NATS server did not start")
	}
	if s.conn, err = nats.Connect(srv.ClientURL()); err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(1<<20)); err != nil {
		return nil, err
	}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench"}})
	return s, err
}

func (s *natsSide) yaml() (entry, from, to string) {
	address := s.srv.ClientURL()
	if s.via != "" {
		address = "nats://" + s.via
	}
	return fmt.Sprintf("{ type: nats, addresses: [%q] }", address), "stream: BENCH", "subject: bench"
}

func (s *natsSide) through(p *adaptertest.Proxy) (err error) {
	s.via, err = p.Relay(s.srv.Addr().String())
	return err
}

func (s *natsSide) close() {
	s.conn.Close()
	s.srv.Shutdown()
}

func (s *natsSide) load(ctx context.Context, n int, body func(int) []byte, pace time.Duration) error {
	err := paced(ctx, n, pace, func(i int) error {
		m := nats.NewMsg("bench")
		m.Data = body(i)
		m.Header.Set("region", "EU")
		if i%1000 == 999 && pace == 0 {
			<-s.js.PublishAsyncComplete()
		}
		_, err := s.js.PublishMsgAsync(m)
		return err
	})
	<-s.js.PublishAsyncComplete()
	return err
}

func (s *natsSide) watch(ctx context.Context, n int, each func([]byte)) error {
	c, err := s.js.OrderedConsumer(ctx, "BENCH", jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.seen + 1})
	if err != nil {
		return err
	}
	it, err := c.Messages()
	if err != nil {
		return err
	}
	defer it.Stop()
	for range n {
		m, err := it.Next()
		if err != nil {
			return err
		}
		s.seen++
		each(m.Data())
	}
	return nil
}
