package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A relay is the line to one site: it carries TCP connections from a port of its own to an address, each direction of
// each at a bounded speed, and can be cut. Safe for concurrent use.
type relay struct {
	ln    net.Listener
	to    string
	speed int // bytes per second in each direction of a connection, 0 = unbounded
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]struct{}
	free  []chan struct{} // closed when there is no connection
}

// openRelay listens on a loopback port that the kernel chose. Whoever opens it closes it.
func openRelay(to string, speed int) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay to %s: %w", to, err)
	}
	r := &relay{ln: ln, to: to, speed: speed, conns: make(map[net.Conn]struct{})}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.wg.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.ln.Addr().String() }

// cut resets every connection and, until restore, every new one. What was under way is lost, as on a real line.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isCut = true
	for c := range r.conns {
		reset(c)
	}
}

func (r *relay) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isCut = false
}

func (r *relay) close() error {
	r.end()
	err := r.ln.Close()
	r.cut()
	r.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.join(c) })
	}
}

// join carries both directions of one connection until both have ended.
func (r *relay) join(near net.Conn) {
	defer r.drop(near)
	if !r.keep(near) {
		reset(near)
		return
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	far, err := d.DialContext(r.ctx, "tcp", r.to)
	if err != nil {
		reset(near)
		return
	}
	defer r.drop(far)
	if !r.keep(far) {
		reset(far)
		return
	}
	var back sync.WaitGroup
	back.Go(func() { r.pump(near, far) })
	r.pump(far, near)
	back.Wait()
}

// keep enters c among the connections that a cut resets; not while the line is cut.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isCut {
		r.conns[c] = struct{}{}
	}
	return !r.isCut
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.vacant()
	r.mu.Unlock()
	_ = c.Close() // it has ended, one way or another
}

// idle returns a channel that is closed when there is no connection: all that was sent has come through, and the far
// side has closed after it, or it is lost.
func (r *relay) idle() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := make(chan struct{})
	r.free = append(r.free, ch)
	r.vacant()
	return ch
}

// vacant closes the channels of idle if it is time. r.mu is held.
func (r *relay) vacant() {
	if len(r.conns) > 0 {
		return
	}
	for _, ch := range r.free {
		close(ch)
	}
	r.free = nil
}

// pump copies from src to dst, no faster than the line. An orderly end is passed on; anything else ends both.
func (r *relay) pump(dst, src net.Conn) {
	buf := make([]byte, 16<<10)
	var free time.Time // when the line has carried what was written
	for {
		n, err := src.Read(buf)
		if _, werr := dst.Write(buf[:n]); werr != nil {
			err = werr
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = dst.(*net.TCPConn).CloseWrite() // fails when dst has ended as well
			return
		case err != nil:
			reset(dst)
			reset(src)
			return
		}
		free = r.carry(r.ctx, free, n)
	}
}

// carry waits until a line that is busy until free has carried n bytes more, and returns when that is.
func (r *relay) carry(ctx context.Context, free time.Time, n int) time.Time {
	if r.speed == 0 {
		return free
	}
	if now := time.Now(); now.After(free) {
		free = now
	}
	free = free.Add(time.Duration(n) * time.Second / time.Duration(r.speed))
	if time.Until(free) > time.Millisecond { // shorter waits are owed until they add up
		select {
		case <-time.After(time.Until(free)):
		case <-ctx.Done():
		}
	}
	return free
}

// reset closes c with an RST, so that what is unsent is thrown away.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails when c is closed already
	}
	_ = c.Close()
}
