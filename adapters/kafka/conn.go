package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// Keys of requests (Kafka protocol guide, "Api Keys") that belong to a login, or that the broker answers when the other
// members of a group have come.
const (
	keyJoinGroup        = 11
	keySyncGroup        = 14
	keySASLHandshake    = 17
	keySASLAuthenticate = 36
)

// A network makes and watches all connections of one end, so that they can be cut together: that is what makes every
// blocked call of the client library return, and what keeps a spent producer from sending anything more.
type network struct {
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	tls      adapters.TLS
	maxFrame int64         // bytes of one response
	timeout  time.Duration // for connecting and the TLS handshake together
	now      func() time.Time

	// answers sees the error codes of each produce response before the client library does; nil = nobody looks.
	answers func([]sarama.KError)

	cause atomic.Pointer[error]

	mu     sync.Mutex
	broken bool
	conns  map[io.Closer]struct{}
}

func newNetwork(c adapters.Config, maxFrame int64) *network {
	return &network{dial: c.Dial, tls: c.TLS, maxFrame: maxFrame, timeout: min(10*time.Second, 2*c.Heartbeat), now: c.Now,
		conns: map[io.Closer]struct{}{}}
}

// closerFunc lets a dial that is under way be cut like a connection.
type closerFunc func()

func (f *closerFunc) Close() error { (*f)(); return nil }

// Dial is what sarama calls for every connection.
func (n *network) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.timeout)
	defer cancel()
	stop := closerFunc(cancel)
	if !n.keep(&stop) {
		return nil, errCut
	}
	defer n.forget(&stop)
	raw, err := n.dial(ctx, network, addr)
	if err != nil {
		return nil, n.note(fmt.Errorf("connect to %s: %w", addr, err))
	}
	if n.tls.On {
		if raw, err = n.secure(ctx, raw, addr); err != nil {
			return nil, n.note(fmt.Errorf("connect to %s: %w", addr, err))
		}
	}
	c := &conn{Conn: raw, net: n}
	if !n.keep(c) {
		_ = raw.Close()
		return nil, errCut
	}
	return c, nil
}

// secure does the TLS handshake for the address that is dialled, so that each broker's certificate is checked for its
// own name.
func (n *network) secure(ctx context.Context, raw net.Conn, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	err = n.ownCertificate()
	var cfg *tls.Config
	if err == nil {
		cfg, err = n.tls.Config(host)
	}
	if err == nil {
		c := tls.Client(raw, cfg)
		if err = c.HandshakeContext(ctx); err == nil {
			return c, nil
		}
	}
	_ = raw.Close()
	return nil, err
}

// ownCertificate says in plain words that our own certificate has expired: the broker would only hang up.
func (n *network) ownCertificate() error {
	if n.tls.CertFile == "" {
		return nil
	}
	text, err := os.ReadFile(n.tls.CertFile)
	if err != nil {
		return &adapters.Error{Op: "read tls.cert_file", Kind: adapters.Permanent, Err: err}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil // Config reports it
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || n.now().Before(cert.NotAfter) {
		return nil
	}
	return &adapters.Error{Op: "use tls.cert_file", Kind: adapters.Denied, Err: fmt.Errorf("the certificate in %s has expired on %s",
		n.tls.CertFile, cert.NotAfter.UTC().Format(time.RFC3339))}
}

func (n *network) keep(c io.Closer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.broken {
		n.conns[c] = struct{}{}
	}
	return !n.broken
}

func (n *network) forget(c io.Closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// note keeps the first error that says more than the client library will pass on.
func (n *network) note(err error) error {
	n.cause.CompareAndSwap(nil, &err)
	return err
}

// noted is the error kept by note, or nil.
func (n *network) noted() error {
	if p := n.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// cut closes all connections for good: no byte is written after it has returned.
func (n *network) cut() {
	n.mu.Lock()
	n.broken = true
	conns := n.conns
	n.conns = map[io.Closer]struct{}{}
	n.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// down reports whether cut was called.
func (n *network) down() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.broken
}

// stalled reports whether a broker that owes an answer has sent nothing for longer than d. Answers that wait for the other
// members of a group do not count.
func (n *network) stalled(d time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c, ok := c.(*conn); ok && c.stalled(d) {
			return true
		}
	}
	return false
}

// A conn reads the lengths in front of the responses, to bound them before they are held, and the keys in front of the
// requests, to know a refused login when the broker only hangs up.
type conn struct {
	net.Conn
	net   *network
	login atomic.Bool  // a request of the login was the last one written
	asked atomic.Int32 // key and version of the last request; a producer has only one under way
	owed  atomic.Int32 // requests without an answer
	moved atomic.Int64 // nanoseconds since 1970 when bytes came, or the first of the owed requests went

	left  int64  // bytes of the response being read
	size  int64  // its length as far as read
	have  int    // bytes of the length read
	frame []byte // the response, while it is read, if it is one to a produce request
}

// Read is called by one goroutine only.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
		if err := c.measure(b[:n]); err != nil {
			return 0, c.net.note(err)
		}
	}
	if err != nil && c.login.Load() && hungUp(err) {
		return n, c.net.note(errLogin)
	}
	if err != nil && judgeTLS(err).words != "" {
		return n, c.net.note(err) // TLS 1.3: the broker's verdict on our certificate comes with the first read
	}
	return n, err
}

// hungUp tells a broker that closed from a timeout and from our own closing.
func hungUp(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &op) && op.Op == "read" && !op.Timeout() && !errors.Is(err, net.ErrClosed)
}

// measure follows the frames: four bytes of length, then the response (Kafka protocol guide, "Common Request and
// Response Structure").
func (c *conn) measure(b []byte) error {
	for len(b) > 0 {
		if c.left > 0 {
			k := min(c.left, int64(len(b)))
			c.follow(b[:k])
			c.left -= k
			b = b[k:]
			if c.left == 0 {
				c.answered()
			}
			continue
		}
		c.size = c.size<<8 | int64(b[0])
		b = b[1:]
		if c.have++; c.have == 4 {
			if c.size > c.net.maxFrame {
				return fmt.Errorf("%w (%d bytes, %d allowed)", errFrame, c.size, c.net.maxFrame)
			}
			c.left, c.size, c.have = c.size, 0, 0
		}
	}
	return nil
}

// follow keeps the response to a produce request.
func (c *conn) follow(b []byte) {
	if c.net.answers != nil && c.asked.Load()>>16 == keyProduce {
		c.frame = append(c.frame, b...)
	}
}

func (c *conn) stalled(d time.Duration) bool {
	key := c.asked.Load() >> 16
	return c.owed.Load() > 0 && key != keyJoinGroup && key != keySyncGroup && time.Now().UnixNano()-c.moved.Load() > int64(d)
}

// answered notes that a response is complete, and looks into one to a produce request.
func (c *conn) answered() {
	c.owed.Add(-1)
	if len(c.frame) == 0 {
		return
	}
	if codes := produceErrors(int16(c.asked.Load()), c.frame); len(codes) > 0 {
		c.net.answers(codes)
	}
	c.frame = c.frame[:0]
}

// Write gets one whole request: sarama writes them so.
func (c *conn) Write(b []byte) (int, error) {
	if c.net.down() {
		return 0, errCut
	}
	if len(b) >= 8 {
		key := int(b[4])<<8 | int(b[5])
		c.asked.Store(int32(key)<<16 | int32(b[6])<<8 | int32(b[7]))
		if c.owed.Add(1) == 1 {
			c.moved.Store(time.Now().UnixNano())
		}
		c.login.Store(key == keySASLHandshake || key == keySASLAuthenticate)
	}
	return c.Conn.Write(b)
}

// Close is harmless twice.
func (c *conn) Close() error {
	c.net.forget(c)
	return c.Conn.Close()
}
