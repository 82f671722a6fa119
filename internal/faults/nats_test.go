package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// natsEnv makes this test binary a NATS server: HOST:PORT,DIRECTORY.
const natsEnv = "POSTHOUSE_FAULTS_NATS"

// maxPayload is what the server advises at most.
const maxPayload = 8 << 20

// serveNATS is a NATS server with JetStream, in a process of its own, until SIGTERM.
func serveNATS(where string) int {
	listen, dir, _ := strings.Cut(where, ",")
	host, port, _ := strings.Cut(listen, ":")
	o := &server.Options{Host: host, JetStream: true, StoreDir: dir, NoSigs: true, ServerName: "faults",
		MaxPayload: maxPayload}
	_, err := fmt.Sscan(port, &o.Port)
	var s *server.Server
	if err == nil {
		s, err = server.NewServer(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	s.ConfigureLogger()
	s.Start()
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return 0
}

// natsEnd is such a server and its streams: a target, and in a storm a source (natssource_test.go).
type natsEnd struct {
	addr  string
	dir   string
	child *broker.Child
}

// newNATS starts a server that ends with the test.
func newNATS(t *testing.T) *natsEnd {
	t.Helper()
	addr, err := broker.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	n := &natsEnd{addr: addr, dir: t.TempDir()}
	if err := n.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.end(syscall.SIGKILL) })
	return n
}

func (n *natsEnd) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "nats.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), natsEnv+"="+n.addr+","+n.dir)
	cmd.Stdout, cmd.Stderr = log, log
	if n.child, err = broker.StartChild(cmd); err != nil {
		return err
	}
	conn, err := nats.Connect("nats://"+n.addr, nats.RetryOnFailedConnect(true), nats.ReconnectWait(20*time.Millisecond),
		nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return until(ctx, "the NATS server serves", func() bool {
		_, err := js.AccountInfo(ctx)
		return err == nil
	})
}

func (n *natsEnd) stop(context.Context) { n.end(syscall.SIGTERM) }

func (n *natsEnd) end(s syscall.Signal) {
	n.child.SignalGroup(s)
	<-n.child.Done()
}

func (n *natsEnd) absorbs() bool { return true }

func (n *natsEnd) yaml(at string) string {
	return fmt.Sprintf(`{ type: nats, addresses: ["nats://%s"] }`, at)
}

func (n *natsEnd) to(name string) string { return "subject: " + name }

// client connects an independent client until the test ends.
func (n *natsEnd) client(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect("nats://"+n.addr, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// create makes the stream of a trial, with its window for duplicates.
func (n *natsEnd) create(t *testing.T, name string) { n.stream(t, name, 0) }

// stream makes a stream that takes messages up to a size, 0 for all; it is gone after the test.
func (n *natsEnd) stream(t *testing.T, name string, most int32) {
	t.Helper()
	js := n.client(t)
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name}, Duplicates: 10 * time.Minute, MaxMsgSize: most}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = js.DeleteStream(ctx, name) // its server may be gone
	})
}

func (n *natsEnd) read(ctx context.Context, t *testing.T, name string, last func(message) bool) ([]message, error) {
	js := n.client(t)
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	it, err := c.Messages()
	if err != nil {
		return nil, err
	}
	defer it.Stop()
	defer context.AfterFunc(ctx, it.Stop)()
	var all []message
	for end := uint64(0); end == 0 || uint64(len(all)) < end; {
		m, err := it.Next()
		if err != nil {
			return all, err
		}
		all = append(all, natsMessage(m))
		if end == 0 && last(all[len(all)-1]) {
			info, err := s.Info(ctx)
			if err != nil {
				return all, err
			}
			end = info.State.Msgs
		}
	}
	return all, nil
}

// count is how many messages the stream has.
func (n *natsEnd) count(ctx context.Context, t *testing.T, name string) int {
	t.Helper()
	conn, err := nats.Connect("nats://" + n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

func natsMessage(m jetstream.Msg) message {
	hs := map[string]string{}
	for k, vs := range m.Headers() {
		hs[k] = strings.Join(vs, ",")
	}
	return message{hs, m.Data()}
}
