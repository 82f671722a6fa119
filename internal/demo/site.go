package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName = "ORDERS"
	subject    = "orders"
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

// startSite starts a broker on loopback, with ports from the kernel, and makes its stream. speed is that of its line in
// bytes per second. The broker does not sync each write: it lives in this process, which nobody kills, and on a slow
// disk the demo would measure that disk twice more.
func startSite(dir, name string, speed int) (*site, error) {
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
	} else if err = s.connect(); err == nil {
		s.line, err = openRelay(srv.Addr().String(), speed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("site %s: %w", name, err), s.stop())
	}
	return s, nil
}

func (s *site) connect() (err error) {
	if s.conn, err = nats.Connect(s.srv.ClientURL()); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(4*window)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{subject}})
	return err
}

// url is where the repeater reaches the site: the near end of its line.
func (s *site) url() string { return "nats://" + s.line.addr() }

// held is the number of the last message that the stream took.
func (s *site) held(ctx context.Context) (uint64, error) {
	stream, err := s.js.Stream(ctx, streamName)
	if err != nil {
		return 0, fmt.Errorf("look at site %s: %w", s.name, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// settled reports whether every message of the stream was taken and settled by every consumer of it.
func (s *site) settled(ctx context.Context) (bool, error) {
	stream, err := s.js.Stream(ctx, streamName)
	if err != nil {
		return false, fmt.Errorf("look at site %s: %w", s.name, err)
	}
	list, done := stream.ListConsumers(ctx), true
	for info := range list.Info() {
		done = done && info.NumPending == 0 && info.NumAckPending == 0
	}
	return done, list.Err()
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
