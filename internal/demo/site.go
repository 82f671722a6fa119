package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Streams; the subject of each is its name in small letters.
const (
	prices = "PRICES" // at every site
	sq1    = "SQ1"    // paris: requests
	tq1    = "TQ1"    // berlin: requests
	sq2    = "SQ2"    // berlin: replies
	tq2    = "TQ2"    // paris: replies
)

// A site is one embedded broker, the line that the repeater reaches it over, and an ordinary client that does not use
// that line.
type site struct {
	name string
	srv  *server.Server
	line *relay
	conn *nats.Conn
	js   jetstream.JetStream
}

// startSite starts a broker on loopback, with ports from the kernel, and makes its streams. speed is that of its line in
// bytes per second. The broker does not sync each write: it lives in this process, which nobody kills, and on a slow
// disk the demo would measure that disk twice more.
func startSite(dir, name string, speed int, streams ...string) (*site, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(dir, name),
	})
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", name, err)
	}
	srv.Start()
	s := &site{name: name, srv: srv}
	if !srv.ReadyForConnections(20 * time.Second) {
		err = errors.New("the embedded broker did not become ready")
	} else if err = s.connect(streams); err == nil {
		s.line, err = openRelay(srv.Addr().String(), speed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("site %s: %w", name, err), s.stop())
	}
	return s, nil
}

func (s *site) connect(streams []string) (err error) {
	if s.conn, err = nats.Connect(s.srv.ClientURL()); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(4*window)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range streams {
		if _, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{strings.ToLower(name)}}); err != nil {
			return err
		}
	}
	return nil
}

// url is where the repeater reaches the site: the near end of its line.
func (s *site) url() string { return "nats://" + s.line.addr() }

// held is the number of the last message that the stream of prices took.
func (s *site) held(ctx context.Context) (uint64, error) {
	stream, err := s.js.Stream(ctx, prices)
	if err != nil {
		return 0, fmt.Errorf("look at site %s: %w", s.name, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// settled reports whether every message of every stream was taken and settled by every consumer of it.
func (s *site) settled(ctx context.Context) (done bool, err error) {
	names := s.js.StreamNames(ctx)
	for name := range names.Name() {
		if done, err = s.settledIn(ctx, name); err != nil || !done {
			return false, err
		}
	}
	return done, names.Err()
}

func (s *site) settledIn(ctx context.Context, name string) (bool, error) {
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return false, fmt.Errorf("look at site %s: %w", s.name, err)
	}
	list, done := stream.ListConsumers(ctx), true
	for info := range list.Info() {
		done = done && info.NumPending == 0 && info.NumAckPending == 0
	}
	return done, list.Err()
}

// follow calls do with each message of a stream, once each, until the returned function is called.
func (s *site) follow(ctx context.Context, stream string, do func(jetstream.Msg)) (stop func(), err error) {
	consumer, err := s.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("read %s at %s: %w", stream, s.name, err)
	}
	last := uint64(0) // the consumer repeats itself when it starts anew
	cc, err := consumer.Consume(func(m jetstream.Msg) {
		if meta, err := m.Metadata(); err == nil && meta.Sequence.Stream > last {
			last = meta.Sequence.Stream
			do(m)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read %s at %s: %w", stream, s.name, err)
	}
	return func() { cc.Stop(); <-cc.Closed() }, nil
}

func (s *site) stop() (err error) {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.line != nil {
		err = s.line.close()
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	return err
}
