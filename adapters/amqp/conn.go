package amqp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// dialTimeout bounds one address: TCP, TLS, SASL, open, begin. It is above the 3 s that RabbitMQ takes to refuse a
// password.
const dialTimeout = 10 * time.Second

// closeTimeout bounds each step of a polite goodbye.
const closeTimeout = 2 * time.Second

// A link is a connection with one session, on which one AMQP link is attached. An end never shares it: after an error
// of the session everything of it is dead, and some brokers allow one session only.
type link struct {
	conn    *amqp.Conn
	session *amqp.Session
	w       *wire
	p       *profile
	cfg     adapters.Config
	at      adapters.Address
	peer    adapters.Peer
}

// An endpoint is a parsed entry of Config.Addresses.
type endpoint struct {
	text   string
	host   string // without port
	dial   string // host:port
	secure bool
}

func parseEndpoint(text string) (endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "amqp" && u.Scheme != "amqps") || u.Hostname() == "" {
		return endpoint{}, errors.New("is not of the form amqp://host:port or amqps://host:port")
	}
	if u.User != nil {
		return endpoint{}, errors.New("holds a user: write it under credentials")
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, errors.New("has something behind the port: queues and topics are named in the routes")
	}
	e := endpoint{text: text, host: u.Hostname(), secure: u.Scheme == "amqps"}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "5672", true: "5671"}[e.secure]
	}
	e.dial = net.JoinHostPort(e.host, port)
	return e, nil
}

// connect tries the addresses in order, once. If none answers, the error is the one an operator can act on, if there is
// one, and else tells them all.
func connect(ctx context.Context, cfg adapters.Config, a adapters.Address) (*link, error) {
	var first *adapters.Error
	var all []string
	for _, text := range cfg.Addresses {
		l, err := connectOne(ctx, cfg, a, text)
		if err == nil {
			return l, nil
		}
		e := connectError(cfg, a, err)
		if all = append(all, fmt.Sprintf("%s: %v", text, e.Err)); first == nil || (first.Kind == adapters.Lost && e.Kind != adapters.Lost) {
			first = e
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first == nil {
		return nil, &adapters.Error{Op: "connect", Addr: a, Kind: adapters.Permanent, Err: errors.New("no addresses are configured")}
	}
	first.Err = &listedError{text: strings.Join(all, "; "), cause: first.Err}
	return nil, first
}

// A listedError shows what every address said and unwraps to what one of them did.
type listedError struct {
	text  string
	cause error
}

func (e *listedError) Error() string { return e.text }
func (e *listedError) Unwrap() error { return e.cause }

func connectOne(ctx context.Context, cfg adapters.Config, a adapters.Address, text string) (*link, error) {
	e, err := parseEndpoint(text)
	if err != nil {
		return nil, &adapters.Error{Op: "connect", Addr: a, Kind: adapters.Permanent, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := cfg.Dial(ctx, "tcp", e.dial)
	if err != nil {
		return nil, err
	}
	conn, err := secure(ctx, cfg, e, raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	l := &link{cfg: cfg, at: a, w: newWire(conn, raw, cfg.Limits.MaxSize, 2*cfg.Heartbeat)}
	if err := l.open(ctx, e); err != nil {
		l.w.cut(err)
		return nil, err
	}
	l.peer.Unique = peerIdentity(raw, l.peer.ID)
	return l, nil
}

func secure(ctx context.Context, cfg adapters.Config, e endpoint, raw net.Conn) (net.Conn, error) {
	if !e.secure {
		return raw, nil
	}
	tc, err := cfg.TLS.Config(e.host)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, tc)
	if err := conn.HandshakeContext(ctx); err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("the TLS handshake was not answered; is it a port with TLS? %w", err)
	} else if err != nil {
		return nil, err
	}
	return conn, nil
}

// open exchanges SASL and open frames and begins the session.
func (l *link) open(ctx context.Context, e endpoint) error {
	conn, err := amqp.NewConn(ctx, l.w, &amqp.ConnOptions{
		ContainerID:  containerID(l.cfg),
		HostName:     e.host,
		IdleTimeout:  2 * l.cfg.Heartbeat, // half of it is announced: the peer sends at least one frame a heartbeat
		WriteTimeout: 2 * l.cfg.Heartbeat,
		MaxFrameSize: maxFrame,
		SASLType:     saslOf(l.cfg.Credentials),
		Properties:   map[string]any{"product": "posthouse"},
	})
	if err != nil {
		return l.saslError(err)
	}
	l.conn = conn
	if l.session, err = conn.NewSession(ctx, nil); err != nil {
		return l.reason(err)
	}
	product, _ := conn.Properties()["product"].(string)
	version, _ := conn.Properties()["version"].(string)
	l.p = choose(l.cfg.Options.String("dialect", ""), product, version, e.host)
	l.peer = adapters.Peer{ID: l.w.container(), Product: product, Version: version, Address: e.text}
	return nil
}

// containerID names the connection at the broker. The random part keeps two connections of one route apart.
func containerID(cfg adapters.Config) string {
	name := cfg.Client
	if name == "" {
		name = "posthouse"
	}
	return name + "-" + rand.Text()[:12]
}

func mechanism(c adapters.Credentials) string {
	switch {
	case c.Mechanism != "":
		return c.Mechanism
	case c.User != "":
		return "plain"
	}
	return "anonymous"
}

func saslOf(c adapters.Credentials) amqp.SASLType {
	switch mechanism(c) {
	case "plain":
		return amqp.SASLTypePlain(c.User, c.Password.Reveal())
	case "external":
		return amqp.SASLTypeExternal("")
	}
	return amqp.SASLTypeAnonymous()
}

// reason is err, or what the wire knows better: the library tells of a closed connection only that it is closed.
func (l *link) reason(err error) error {
	if why := l.w.why(); why != nil && !errors.Is(why, net.ErrClosed) {
		return why
	}
	return err
}

// alive reports whether the link is attached and the peer was heard within the heartbeat; otherwise it waits for the
// next sign of life, which a living peer gives within that time.
func (l *link) alive(ctx context.Context) error {
	tick := time.NewTicker(max(l.cfg.Heartbeat/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-l.w.gone:
			return l.lost("probe", l.w.why())
		default:
		}
		if time.Since(time.Unix(0, l.w.heard.Load())) <= l.cfg.Heartbeat {
			return nil
		}
		select {
		case <-tick.C:
		case <-l.w.gone:
		case <-ctx.Done():
			return l.lost("probe", ctx.Err())
		}
	}
}

func (l *link) lost(op string, err error) *adapters.Error {
	if why := l.w.why(); why != nil && !errors.Is(why, net.ErrClosed) {
		err = why
	}
	if err == nil || errors.Is(err, net.ErrClosed) {
		err = errors.New("the connection is closed")
	}
	return &adapters.Error{Op: op, Addr: l.at, Kind: adapters.Lost, Err: err}
}

// close says goodbye: end of the session, so that the broker has read everything before the connection goes, then
// close. The AMQP link is not detached: a closing detach would delete a durable subscription. A peer that does not
// answer is cut off; nothing here takes longer than three times closeTimeout.
func (l *link) close() error {
	done := make(chan error, 1)
	go func() {
		err := l.w.why()
		if err == nil && !l.p.confirms { // where settling is confirmed there is nothing to wait for
			ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			err = l.session.Close(ctx)
		}
		_ = l.conn.Close()
		done <- err
	}()
	patience := time.NewTimer(2 * closeTimeout)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		l.w.cut(net.ErrClosed)
		patience.Reset(closeTimeout)
		select {
		case <-done:
		case <-patience.C: // the library hangs: its goroutines are abandoned
		}
	}
	return errCloseSilent
}

var errCloseSilent = errors.New("the broker did not answer the end of the session")

// peerIdentity identifies the peer where its container id alone does not: brokers that nobody has named have the same.
func peerIdentity(raw net.Conn, container string) string {
	if container == "" || raw.RemoteAddr() == nil {
		return ""
	}
	return container + " at " + raw.RemoteAddr().String()
}
