package nats

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// childVar makes this test binary a NATS server: DIR,PORT. So the suite has a broker that can be killed.
const childVar = "POSTHOUSE_TEST_NATS_CHILD"

const (
	testUser     = "posthouse"
	testPassword = "right-password"
	adminUser    = "admin"
)

func TestMain(m *testing.M) {
	if where := os.Getenv(childVar); where != "" {
		os.Exit(serve(where))
	}
	os.Exit(m.Run())
}

// serve runs a server until standard input ends, that is, until the parent is gone, or until it is killed.
func serve(where string) int {
	dir, port, _ := strings.Cut(where, ",")
	o := &server.Options{ServerName: "suite", Host: "127.0.0.1", JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true,
		MaxPayload: 1 << 20, Users: []*server.User{
			{Username: adminUser, Password: testPassword},
			{Username: testUser, Password: testPassword, Permissions: limitedRights()},
		}}
	if o.Port, _ = strconv.Atoi(port); o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(o)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		fmt.Println("error not ready")
		return 1
	}
	fmt.Println(s.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// limitedRights deny what DeniedPlace names, and nothing else.
func limitedRights() *server.Permissions {
	return &server.Permissions{Publish: &server.SubjectPermission{
		Allow: []string{">"}, Deny: []string{"denied.>", "$JS.API.CONSUMER.CREATE.DENIED.>", "$JS.API.CONSUMER.MSG.NEXT.DENIED.>"}}}
}

// harness joins the suite to a NATS server in a process of its own.
type harness struct {
	dir     string
	adapter *Adapter
	admin   *natsgo.Conn
	js      jetstream.JetStream
	places  atomic.Int32

	mu    sync.Mutex
	child *exec.Cmd
	stdin io.Closer
	port  string
}

func newHarness(t *testing.T) *harness {
	h := &harness{dir: t.TempDir(), adapter: New(), port: "0"}
	h.launch(t)
	t.Cleanup(func() { h.stop(t) })
	var err error
	h.admin, err = natsgo.Connect("nats://127.0.0.1:"+h.port, natsgo.UserInfo(adminUser, testPassword),
		natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.admin.Close)
	if h.js, err = jetstream.New(h.admin, jetstream.WithPublishAsyncMaxPending(512)); err != nil {
		t.Fatal(err)
	}
	return h
}

// launch starts the child and waits for the line with its port.
func (h *harness) launch(t testing.TB) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+h.dir+","+h.port)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.child, h.stdin = cmd, in
	line, err := bufio.NewReader(out).ReadString('\n')
	if line = strings.TrimSpace(line); err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("the server does not start: %q %v", line, err)
	}
	h.port = line
}

// stop kills the child and waits for it.
func (h *harness) stop(t testing.TB) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.child.Process.Kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	_ = h.child.Wait()
	_ = h.stdin.Close()
}

func (h *harness) KillAndRestart(t testing.TB) {
	h.stop(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.launch(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for h.admin.FlushWithContext(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatal("the killed server does not come back")
		}
	}
}

func (h *harness) Adapter() adapters.Adapter { return h.adapter }

func (h *harness) Config(_ testing.TB, dial adaptertest.DialFunc) adapters.Config {
	return adapters.Config{Name: "b", Addresses: []string{"nats://127.0.0.1:" + h.port}, Dial: dial, Client: "suite",
		Credentials: adapters.Credentials{User: testUser, Password: adapters.NewSecret(testPassword)}}
}

func (h *harness) stream(t testing.TB, c jetstream.StreamConfig) adaptertest.Place {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := h.js.CreateStream(ctx, c); err != nil {
		t.Fatalf("create stream: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := h.js.DeleteStream(ctx, c.Name); err != nil {
			t.Errorf("delete stream: %v", err)
		}
	})
	return adaptertest.Place{
		Source: adapters.Address{Broker: "b", Form: adapters.Stream, Name: c.Name},
		Target: adapters.Address{Broker: "b", Form: adapters.Subject, Name: c.Subjects[0]},
	}
}

func (h *harness) Place(t testing.TB) adaptertest.Place {
	t.Helper()
	n := h.places.Add(1)
	return h.stream(t, jetstream.StreamConfig{Name: fmt.Sprintf("P%d", n), Subjects: []string{fmt.Sprintf("place.%d", n)}})
}

func (h *harness) FullPlace(t testing.TB) (adaptertest.Place, func()) {
	n := h.places.Add(1)
	name := fmt.Sprintf("F%d", n)
	p := h.stream(t, jetstream.StreamConfig{Name: name, Subjects: []string{fmt.Sprintf("full.%d", n)}, MaxMsgs: 5, Discard: jetstream.DiscardNew})
	return p, func() {
		s, err := h.js.Stream(context.Background(), name)
		if err == nil {
			err = s.Purge(context.Background())
		}
		if err != nil {
			t.Errorf("purge: %v", err)
		}
	}
}

func (h *harness) DeniedPlace(t testing.TB) adaptertest.Place {
	return h.stream(t, jetstream.StreamConfig{Name: "DENIED", Subjects: []string{"denied.place"}})
}

func (h *harness) MissingPlace(testing.TB) adaptertest.Place {
	return adaptertest.Place{
		Source: adapters.Address{Broker: "b", Form: adapters.Stream, Name: "MISSING"},
		Target: adapters.Address{Broker: "b", Form: adapters.Subject, Name: "missing.subject"},
	}
}

func (h *harness) Put(t testing.TB, p adaptertest.Place, ms ...adaptertest.Native) {
	t.Helper()
	var acks []jetstream.PubAckFuture
	for _, n := range ms {
		m := &natsgo.Msg{Subject: p.Target.Name, Data: n.Body, Header: natsgo.Header{}}
		for _, x := range n.Headers {
			m.Header[x.Name] = append(m.Header[x.Name], x.Value)
		}
		a, err := h.js.PublishMsgAsync(m, jetstream.WithStallWait(30*time.Second))
		if err != nil {
			t.Fatalf("put: %v", err)
		}
		acks = append(acks, a)
	}
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	for _, a := range acks {
		select {
		case <-a.Ok():
		case err := <-a.Err():
			t.Fatalf("put: %v", err)
		case <-timer.C:
			t.Fatal("put: no answer")
		}
	}
}

// Take reads by a durable consumer of its own.
func (h *harness) Take(t testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := h.js.CreateOrUpdateConsumer(ctx, p.Source.Name, jetstream.ConsumerConfig{Durable: "taker", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	var out []adaptertest.Native
	for len(out) < n {
		m, err := c.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatalf("take: %d of %d messages: %v", len(out), n, err)
		}
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatalf("take: %v", err)
		}
		native := adaptertest.Native{Body: m.Data(), Durable: true}
		for name, vs := range m.Headers() {
			for _, v := range vs {
				native.Headers = append(native.Headers, adaptertest.Header{Name: name, Value: v})
			}
		}
		out = append(out, native)
	}
	return out
}

func TestSuite(t *testing.T) { adaptertest.Run(t, newHarness(t)) }
