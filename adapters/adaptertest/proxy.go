package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// holdTime is how long HoldReplies waits after the first request before it cuts.
const holdTime = 2 * time.Second

// A Proxy is a Wire for TCP: it relays from ports on loopback to every address that is dialled through it. Faults take
// effect at once on all relays. Safe for concurrent use.
type Proxy struct {
	mu      sync.Mutex
	mode    Mode
	latency time.Duration
	relays  map[string]net.Listener // by the address behind it
	pairs   map[*pair]struct{}
	changed chan struct{} // closed and replaced at every change of mode
	fuse    *time.Timer   // of HoldReplies, running since the first request
	closed  bool
	wg      sync.WaitGroup
}

var _ Wire = (*Proxy)(nil)

// OpenProxy makes a proxy; whoever opens it closes it.
func OpenProxy() (*Proxy, error) {
	return &Proxy{relays: make(map[string]net.Listener), pairs: make(map[*pair]struct{}), changed: make(chan struct{})}, nil
}

// NewProxy makes a proxy that is closed when the test ends.
func NewProxy(t testing.TB) *Proxy {
	p, err := OpenProxy()
	if err != nil {
		t.Fatalf("fault proxy: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("fault proxy: %v", err)
		}
	})
	return p
}

// Dial connects to addr through the proxy.
func (p *Proxy) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	at, err := p.Relay(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, at)
}

// Relay returns a HOST:PORT on loopback that leads to addr through the proxy, the same one for the same addr: for
// clients that take no dial function.
func (p *Proxy) Relay(addr string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", net.ErrClosed
	}
	l := p.relays[addr]
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", fmt.Errorf("relay to %s: %w", addr, err)
		}
		p.relays[addr] = l
		p.wg.Go(func() { p.accept(l, addr) })
	}
	return l.Addr().String(), nil
}

// Set changes the mode. Everything but HoldReplies takes the fuse of HoldReplies out.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(m)
}

func (p *Proxy) set(m Mode) {
	p.mode = m
	if p.fuse != nil {
		p.fuse.Stop()
		p.fuse = nil
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// SetLatency adds d in each direction to every byte read from now on. Bytes are delayed, not slowed down: any number may
// be under way.
func (p *Proxy) SetLatency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Cut resets every connection (RST). It ends Stall and HoldReplies; Refuse and Dribble go on for new connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// cut lets nothing through that was held: writers look at the mode again only when p.mu is free, and by then their
// connections are closed.
func (p *Proxy) cut() {
	if p.mode == Stall || p.mode == HoldReplies {
		p.set(Pass)
	}
	p.reset()
}

func (p *Proxy) reset() {
	for pr := range p.pairs {
		pr.reset()
	}
}

// Stall stops forwarding and keeps connections open.
func (p *Proxy) Stall() { p.Set(Stall) }

// Refuse closes new connections at once.
func (p *Proxy) Refuse() { p.Set(Refuse) }

// Allow lets everything pass again, also what was held.
func (p *Proxy) Allow() { p.Set(Pass) }

// Dribble forwards one byte at a time.
func (p *Proxy) Dribble() { p.Set(Dribble) }

// CutAfterRequest lets requests through and holds the answers; Release cuts, or 2 s after the first request.
func (p *Proxy) CutAfterRequest() { p.Set(HoldReplies) }

// Release ends CutAfterRequest with a cut.
func (p *Proxy) Release() { p.Cut() }

// Close ends everything and waits for it.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.set(Pass)
	var errs []error
	for _, l := range p.relays {
		errs = append(errs, l.Close())
	}
	p.relays = nil
	p.reset()
	p.mu.Unlock()
	p.wg.Wait()
	return errors.Join(errs...)
}

// accept serves one relay until its listener closes.
func (p *Proxy) accept(l net.Listener, addr string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.join(c.(*net.TCPConn), addr) })
	}
}

// join connects c with addr and returns when both directions have ended.
func (p *Proxy) join(c *net.TCPConn, addr string) {
	if p.now() == Refuse {
		reset(c)
		return
	}
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		reset(c)
		return
	}
	pr := &pair{client: c, broker: conn.(*net.TCPConn), end: make(chan struct{})}
	if !p.add(pr) {
		pr.reset()
		return
	}
	var wg sync.WaitGroup
	p.pump(&wg, pr, pr.client, pr.broker, false)
	p.pump(&wg, pr, pr.broker, pr.client, true)
	wg.Wait()
	pr.close()
	p.mu.Lock()
	delete(p.pairs, pr)
	p.mu.Unlock()
}

func (p *Proxy) now() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

// add enters pr unless the proxy has closed meanwhile, or lets nobody in any more: a cut after that would miss it.
func (p *Proxy) add(pr *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == Refuse {
		return false
	}
	p.pairs[pr] = struct{}{}
	return true
}

// A pair is one relayed connection.
type pair struct {
	client, broker *net.TCPConn
	once           sync.Once
	end            chan struct{} // closed by reset and close
}

// reset ends both connections with an RST.
func (pr *pair) reset() {
	pr.once.Do(func() {
		close(pr.end)
		reset(pr.client)
		reset(pr.broker)
	})
}

func (pr *pair) close() {
	pr.once.Do(func() {
		close(pr.end)
		_ = pr.client.Close()
		_ = pr.broker.Close()
	})
}

// reset closes c so that the peer gets an RST: unsent data is thrown away.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
