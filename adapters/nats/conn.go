package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// closeWait bounds how long Close waits for the client library.
const closeWait = 2 * time.Second

// A conn is one connection, used by one end. The library never reconnects it: when it is lost, gone ends with the
// reason and the end is spent.
type conn struct {
	nc   *natsgo.Conn
	js   jetstream.JetStream
	cfg  adapters.Config // with defaults
	at   adapters.Address
	peer adapters.Peer

	gone context.Context
	kill context.CancelCauseFunc

	denied atomic.Pointer[func(error)] // what to do with a permission violation
}

// connect tries the addresses in order, once, and returns the first connection. In-process servers are reached without
// a network.
func (ad *Adapter) connect(ctx context.Context, c adapters.Config, a adapters.Address) (*conn, error) {
	c = c.WithDefaults()
	if c.Options.Sub(KeyEmbedded) != nil {
		if h := ad.running(c.Name); h != nil {
			return open(ctx, c, a, endpoint{hostPort: "in-process"}, natsgo.InProcessServer(h.server))
		}
		listen := c.Options.Sub(KeyEmbedded).String(KeyListen, "")
		if listen == "" {
			err := fmt.Errorf("the embedded server of %s does not run in this process, and has no listen address", c.Name)
			return nil, &adapters.Error{Op: "connect", Addr: a, Kind: adapters.NotFound, Err: err}
		}
		c.Addresses = []string{listen}
	}
	var errs []*adapters.Error
	for _, s := range c.Addresses {
		cn, err := dialOne(ctx, c, a, s)
		if err == nil {
			return cn, nil
		}
		errs = append(errs, err)
	}
	return nil, firstDefinite(a, errs)
}

// firstDefinite joins the errors of all addresses; the kind is the first that an operator can act on.
func firstDefinite(a adapters.Address, errs []*adapters.Error) error {
	if len(errs) == 0 {
		return &adapters.Error{Op: "connect", Addr: a, Kind: adapters.Permanent, Err: errors.New("no address")}
	}
	kind, causes := adapters.Lost, make([]error, len(errs))
	for i := len(errs) - 1; i >= 0; i-- {
		causes[i] = errs[i].Err
		if errs[i].Kind.Definite() {
			kind = errs[i].Kind
		}
	}
	return &adapters.Error{Op: "connect", Addr: a, Kind: kind, Err: errors.Join(causes...)}
}

func dialOne(ctx context.Context, c adapters.Config, a adapters.Address, s string) (*conn, *adapters.Error) {
	at := func(err error) *adapters.Error {
		e := fail("connect", a, err)
		e.Err = fmt.Errorf("%s: %w", s, e.Err)
		if !e.Kind.Definite() {
			e.Kind = adapters.Lost
		}
		return e
	}
	ep, err := parseAddress(c, s)
	if err != nil {
		return nil, at(&adapters.Error{Kind: adapters.Permanent, Err: err})
	}
	opts := []natsgo.Option{}
	if ep.tls {
		tc, err := c.TLS.Config(ep.host)
		if err != nil {
			return nil, at(err)
		}
		opts = append(opts, natsgo.Secure(tc))
	}
	d := &dialer{ctx: ctx, dial: c.Dial}
	defer d.release()
	cn, err := open(ctx, c, a, ep, append(opts, natsgo.SetCustomDialer(d))...)
	if err != nil {
		if d.err != nil {
			err = d.err // the library hides a refused connection behind "no servers available"
		}
		return nil, at(err)
	}
	cn.peer.Address = s
	return cn, nil
}

// A dialer brings Config.Dial and a context into the library, whose Connect has none: when ctx ends during the
// handshake the socket is closed, and Connect returns.
type dialer struct {
	ctx  context.Context
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	err  error
	stop func() bool
}

// Dial is called by natsgo.Connect, once, on the caller's goroutine.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	c, err := d.dial(d.ctx, network, addr)
	if err != nil {
		d.err = err
		return nil, err
	}
	d.stop = context.AfterFunc(d.ctx, func() { _ = c.Close() })
	return c, nil
}

// release ends the watch over ctx: from now on the connection belongs to its end.
func (d *dialer) release() {
	if d.stop != nil {
		d.stop()
	}
}

// open connects to one server and asks it for its name and limits.
func open(ctx context.Context, c adapters.Config, a adapters.Address, ep endpoint, extra ...natsgo.Option) (*conn, error) {
	cn := &conn{cfg: c, at: a}
	cn.gone, cn.kill = context.WithCancelCause(context.Background())
	nc, err := natsgo.Connect("nats://"+hostOr(ep.hostPort), append(cn.options(ctx), extra...)...)
	if err != nil {
		cn.kill(err)
		return nil, handshakeError(ctx, err)
	}
	cn.nc = nc
	cn.peer = adapters.Peer{ID: identityOf(nc), Product: "nats-server", Version: nc.ConnectedServerVersion(),
		Address: ep.hostPort, MaxSize: nc.MaxPayload()}
	if cn.js, err = jetstream.New(nc); err != nil {
		cn.close()
		return nil, err
	}
	return cn, nil
}

// identityOf is the cluster's name: its servers are one broker. A server by itself has its own.
func identityOf(nc *natsgo.Conn) string {
	if cluster := nc.ConnectedClusterName(); cluster != "" {
		return cluster
	}
	return nc.ConnectedServerName()
}

func hostOr(hostPort string) string {
	if hostPort == "in-process" {
		return "127.0.0.1:" + defaultPort // not dialled
	}
	return hostPort
}

func handshakeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("given up: %w", context.Cause(ctx))
	}
	return err
}

// options are the library's settings: no reconnect, no advertised addresses, and a ping rhythm that notices a silent
// peer within three heartbeats.
func (c *conn) options(ctx context.Context) []natsgo.Option {
	k, hb := c.cfg.Credentials, c.cfg.Heartbeat
	opts := []natsgo.Option{
		natsgo.NoReconnect(), natsgo.IgnoreDiscoveredServers(), natsgo.DontRandomize(), natsgo.SkipHostLookup(),
		natsgo.Name(c.cfg.Client), natsgo.Timeout(dialTimeout(ctx)),
		natsgo.PingInterval(hb * 3 / 4), natsgo.MaxPingsOutstanding(2), natsgo.FlusherTimeout(hb),
		natsgo.ClosedHandler(c.onClosed), natsgo.ErrorHandler(c.onError),
	}
	switch {
	case k.Mechanism == "external" || k.Mechanism == "anonymous":
	case !k.Token.IsZero():
		opts = append(opts, natsgo.Token(k.Token.Reveal()))
	case k.User != "":
		opts = append(opts, natsgo.UserInfo(k.User, k.Password.Reveal()))
	}
	return opts
}

// dialTimeout is how long one handshake may take.
func dialTimeout(ctx context.Context) time.Duration {
	const most = 10 * time.Second
	if d, ok := ctx.Deadline(); ok {
		return max(min(most, time.Until(d)), time.Millisecond)
	}
	return most
}

func (c *conn) onClosed(nc *natsgo.Conn) {
	err := nc.LastError()
	if err == nil {
		err = errors.New("the connection is closed")
	}
	c.kill(err)
}

// onError takes what the library reports beside the way of any message. A permission violation belongs to whoever
// waits for an answer; everything that leaves the byte stream in doubt ends the connection.
func (c *conn) onError(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
	switch {
	case errors.Is(err, natsgo.ErrBadHeaderMsg):
		c.cfg.Log.Warn("a message has headers that cannot be read; it goes on without them", "broker", c.cfg.Name)
	case errors.Is(err, natsgo.ErrPermissionViolation):
		if f := c.denied.Load(); f != nil {
			(*f)(err)
		}
	default:
		c.kill(err)
	}
}

// onDenied sets who hears of permission violations from now on.
func (c *conn) onDenied(f func(error)) { c.denied.Store(&f) }

// during runs f, a request to the server, with a context that also ends with the connection, after Limits.Confirm, or
// with a permission violation. The error is classified.
func (c *conn) during(ctx context.Context, op string, f func(context.Context) error) error {
	// The deadline comes first: the library refuses a context without one.
	ctx, done := context.WithTimeoutCause(ctx, c.cfg.Limits.Confirm, lost(op, c.at, errors.New("no answer")))
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.gone, func() { cancel(c.lostNow(op)) })()
	c.onDenied(func(err error) { cancel(err) })
	err := f(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		err = context.Cause(ctx)
	}
	if errors.Is(err, natsgo.ErrConnectionClosed) {
		return c.lostNow(op)
	}
	return fail(op, c.at, err)
}

// lostNow is the error of an end whose connection is gone, with the reason.
func (c *conn) lostNow(op string) *adapters.Error {
	cause := context.Cause(c.gone)
	if cause == nil {
		cause = errors.New("the connection is closed")
	}
	return lost(op, c.at, cause)
}

// ping makes a round trip.
func (c *conn) ping(ctx context.Context) error {
	if c.gone.Err() != nil {
		return c.lostNow("probe")
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Heartbeat)
	defer cancel()
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return lost("probe", c.at, err)
	}
	return nil
}

// close ends the connection. The library may wait for a socket that does not answer: then it is left behind.
func (c *conn) close() {
	c.kill(errors.New("closed by us"))
	done := make(chan struct{})
	go func() { c.nc.Close(); close(done) }()
	wait(done, closeWait)
}

// wait reports whether done was closed within d.
func wait(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
