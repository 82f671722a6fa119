package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A site is one embedded broker and an ordinary client of it.
type site struct {
	srv  *server.Server
	conn *nats.Conn
	js   jetstream.JetStream
}

// startSites starts both brokers on loopback, with ports from the kernel, and makes their streams.
func startSites(dir string) (paris, berlin *site, err error) {
	if paris, err = startSite(dir, "paris"); err != nil {
		return nil, nil, err
	}
	if berlin, err = startSite(dir, "berlin"); err != nil {
		paris.stop()
		return nil, nil, err
	}
	return paris, berlin, nil
}

func startSite(dir, name string) (*site, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(dir, name),
		SyncAlways: true, // the default would confirm up to two minutes of data that no disk holds yet
	})
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", name, err)
	}
	srv.Start()
	s := &site{srv: srv}
	if !srv.ReadyForConnections(20 * time.Second) {
		s.stop()
		return nil, fmt.Errorf("site %s: the embedded broker did not become ready", name)
	}
	if err := s.connect(); err != nil {
		s.stop()
		return nil, fmt.Errorf("site %s: %w", name, err)
	}
	return s, nil
}

func (s *site) connect() (err error) {
	if s.conn, err = nats.Connect(s.url()); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(4*window)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}})
	return err
}

func (s *site) url() string { return s.srv.ClientURL() }

func (s *site) stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}
