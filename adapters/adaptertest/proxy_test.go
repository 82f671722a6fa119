package adaptertest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An echo is a server that sends back what it gets.
type echo struct {
	addr  string
	reads atomic.Int64  // calls of Read that brought something
	got   chan struct{} // a token when something was read
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &echo{addr: l.Addr().String(), got: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	return s
}

func (s *echo) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			s.reads.Add(1)
			select {
			case s.got <- struct{}{}:
			default:
			}
		}
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func dial(t *testing.T, p *adaptertest.Proxy, addr string) *net.TCPConn {
	t.Helper()
	c, err := p.Dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func write(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func wantEcho(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("echo of %d bytes: %v, equal: %v", len(want), err, bytes.Equal(got, want))
	}
}

// wantSilence reads for a moment and must get nothing.
func wantSilence(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %d bytes, %v; want a reset", n, err)
	}
}

// wantRefused dials and must get nothing but the end, in Dial or in the first Read.
func wantRefused(t *testing.T, p *adaptertest.Proxy, addr string) {
	t.Helper()
	c, err := p.Dial(t.Context(), "tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 || isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want a closed connection", n, err)
	}
}

func TestProxyPasses(t *testing.T) {
	s, p := newEcho(t), adaptertest.NewProxy(t)
	c := dial(t, p, s.addr)
	data := bytes.Repeat([]byte("0123456789"), 400_000)
	go func() { _, _ = c.Write(data) }()
	wantEcho(t, c, data)
	a, err := p.Relay(s.addr)
	b, _ := p.Relay(s.addr)
	if err != nil || a != b || a == s.addr {
		t.Fatalf("relays %q and %q (%v)", a, b, err)
	}
}

func TestProxyHalfClose(t *testing.T) {
	s, p := newEcho(t), adaptertest.NewProxy(t)
	c := dial(t, p, s.addr)
	write(t, c, []byte("last words"))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "last words" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestProxyCut(t *testing.T) {
	s, p := newEcho(t), adaptertest.NewProxy(t)
	one, two := dial(t, p, s.addr), dial(t, p, s.addr)
	for _, c := range []net.Conn{one, two} {
		write(t, c, []byte("x"))
		wantEcho(t, c, []byte("x"))
	}
	p.Cut()
	wantReset(t, one)
	wantReset(t, two)
	c := dial(t, p, s.addr)
	write(t, c, []byte("again"))
	wantEcho(t, c, []byte("again"))
}

func TestProxyStall(t *testing.T) {
	s, p := newEcho(t), adaptertest.NewProxy(t)
	c := dial(t, p, s.addr)
	write(t, c, []byte("a"))
	wantEcho(t, c, []byte("a"))
	p.Stall()
	write(t, c, []byte("b"))
	wantSilence(t, c)
	if n := s.reads.Load(); n != 1 {
		t.Fatalf("the broker's side read %d times", n)
	}
	p.Allow()
	wantEcho(t, c, []byte("b"))
	p.Stall()
	write(t, c, []byte("c"))
	p.Cut()
	wantReset(t, c)
}

func TestProxyRefuse(t *testing.T) {
	s, p := newEcho(t), adaptertest.NewProxy(t)
	old := dial(t, p, s.addr)
	write(t, old, []byte("x"))
	wantEcho(t, old, []byte("x"))
	p.Refuse()
	wantRefused(t, p, s.addr)
	write(t, old, []byte("y"))
	wantEcho(t, old, []byte("y"))
	p.Cut()
	wantRefused(t, p, s.addr) // also after a cut
	p.Allow()
	c := dial(t, p, s.addr)
	write(t, c, []byte("z"))
	wantEcho(t, c, []byte("z"))
}

func TestProxyRefusesWhatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	wantRefused(t, adaptertest.NewProxy(t), l.Addr().String())
}

func TestProxyDribble(t *testing.T) {
	s, p := newEcho(t), adaptertest.NewProxy(t)
	p.Dribble()
	c := dial(t, p, s.addr)
	data := bytes.Repeat([]byte("abc"), 1000)
	write(t, c, data)
	wantEcho(t, c, data)
}

func TestProxyCutAfterRequest(t *testing.T) {
	for name, release := range map[string]bool{"Release": true, "Fuse": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newEcho(t), adaptertest.NewProxy(t)
			c := dial(t, p, s.addr)
			write(t, c, []byte("a"))
			wantEcho(t, c, []byte("a"))
			<-s.got
			p.CutAfterRequest()
			wantSilence(t, c) // unused, the fuse does not burn
			write(t, c, []byte("request"))
			<-s.got
			if release {
				p.Release()
			}
			wantReset(t, c)
			c = dial(t, p, s.addr)
			write(t, c, []byte("b"))
			wantEcho(t, c, []byte("b"))
		})
	}
}

func TestProxyLatencyIsPipelined(t *testing.T) {
	const d, n = 50 * time.Millisecond, 200
	s, p := newEcho(t), adaptertest.NewProxy(t)
	p.SetLatency(d)
	c := dial(t, p, s.addr)
	start := time.Now()
	write(t, c, []byte("x"))
	wantEcho(t, c, []byte("x"))
	if took := time.Since(start); took < 2*d {
		t.Fatalf("a round trip took %v, want at least %v", took, 2*d)
	}
	start = time.Now()
	chunk := bytes.Repeat([]byte("y"), 16<<10)
	go func() {
		for range n {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}()
	for range n {
		wantEcho(t, c, chunk)
	}
	if took := time.Since(start); took > n*d/2 {
		t.Fatalf("%d pipelined chunks took %v: they wait for each other", n, took)
	}
}

func TestProxyCloseEndsEverything(t *testing.T) {
	s := newEcho(t)
	p, err := adaptertest.OpenProxy()
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p, s.addr)
	p.Stall()
	write(t, c, []byte("stuck"))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wantReset(t, c)
	if _, err := p.Dial(t.Context(), "tcp", s.addr); err == nil {
		t.Fatal("a closed proxy dials")
	}
	if err := p.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}
