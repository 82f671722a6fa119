package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// closeWait bounds how long Close waits for the client library.
const closeWait = 2 * time.Second

// A conn is an end's part of a connection, which it may share with others (trunk.go). When the connection is lost, or the
// end alone is given up, gone ends with the reason and the end is spent.
type conn struct {
	tr    *trunk
	nc    *natsgo.Conn // of tr
	js    jetstream.JetStream
	cfg   adapters.Config // with defaults
	at    adapters.Address
	peer  adapters.Peer
	claim string
	id    string // of this end on its connection

	gone context.Context
	kill context.CancelCauseFunc

	once   sync.Once
	answer func(*natsgo.Msg)                 // takes what comes to the end's own part of the shared inbox; never changes after attach
	denied atomic.Pointer[func(error)]       // what to do with a permission violation
	asked  atomic.Pointer[string]            // the subject of the API that was asked last
	own    atomic.Pointer[[]string]          // the other subjects that it publishes to
	also   atomic.Pointer[func(string) bool] // whether it publishes to a subject just now; nil before onUse
}

// connect tries the addresses in order, once, and returns the first connection. In-process servers are reached without
// a network.
func (ad *Adapter) connect(ctx context.Context, c adapters.Config, a adapters.Address) (*conn, error) {
	c = c.WithDefaults()
	if c.Options.Sub(KeyEmbedded) != nil {
		if h := ad.running(c.Name); h != nil {
			return ad.join(ctx, c, a, keyOf(c, a, "in-process", h), func(tr *trunk) error {
				return tr.open(ctx, c, endpoint{hostPort: "in-process"}, natsgo.InProcessServer(h.server))
			})
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
		cn, err := ad.join(ctx, c, a, keyOf(c, a, s, nil), func(tr *trunk) error { return tr.dial(ctx, c, s) })
		if err == nil {
			return cn, nil
		}
		errs = append(errs, connectError(a, s, err))
	}
	return nil, firstDefinite(a, errs)
}

// connectError is what an address had to say.
func connectError(a adapters.Address, s string, err error) *adapters.Error {
	e := fail("connect", a, err)
	e.Err = fmt.Errorf("%s: %w", s, e.Err)
	if !e.Kind.Definite() {
		e.Kind = adapters.Lost
	}
	return e
}

// join makes an end on a connection that it shares, or that open makes.
func (ad *Adapter) join(ctx context.Context, c adapters.Config, a adapters.Address, key trunkKey, open func(*trunk) error) (*conn, error) {
	claim := claimOf(c, a)
	tr, err := ad.pool.join(ctx, key, claim, open)
	if err != nil {
		return nil, err
	}
	cn := &conn{tr: tr, nc: tr.nc, cfg: c, at: a, peer: tr.peer, claim: claim}
	cn.gone, cn.kill = context.WithCancelCause(tr.gone)
	tr.add(cn)
	if cn.js, err = jetstream.New(tr.nc, jetstream.WithClientTrace(&jetstream.ClientTrace{RequestSent: cn.asks})); err != nil {
		cn.close()
		return nil, err
	}
	return cn, nil
}

// onAnswer sets who takes what comes to inbox, the end's own part of its connection's.
func (c *conn) onAnswer(f func(*natsgo.Msg)) (inbox string) {
	c.tr.mu.Lock()
	defer c.tr.mu.Unlock()
	c.answer = f
	return c.tr.inbox + c.id + "."
}

// publishes says which subjects the end publishes to; one that ends in "." stands for all that have it in
// them.
func (c *conn) publishes(subjects ...string) { c.own.Store(&subjects) }

// onUse sets who knows of further subjects that the end publishes to.
func (c *conn) onUse(f func(subject string) bool) { c.also.Store(&f) }

// uses reports whether a refusal of subject is the end's business.
func (c *conn) uses(subject string) bool {
	if asked := c.asked.Load(); asked != nil && *asked == subject {
		return true
	}
	if also := c.also.Load(); also != nil && (*also)(subject) {
		return true
	}
	own := c.own.Load()
	return own != nil && slices.ContainsFunc(*own, func(s string) bool {
		return s == subject || strings.HasSuffix(s, ".") && strings.Contains(subject, s)
	})
}

// asks notes what is asked of the API, so that a refusal of it finds its way.
func (c *conn) asks(subject string, _ []byte) { c.asked.Store(&subject) }

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
	if adapters.KindOf(err) == adapters.Lost {
		c.tr.suspect()
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

// ping makes a round trip, unless one was made on the connection within the last heartbeat.
func (c *conn) ping(ctx context.Context) error {
	if c.gone.Err() != nil {
		return c.lostNow("probe")
	}
	if c.tr.heardWithin(c.cfg.Heartbeat) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Heartbeat)
	defer cancel()
	if err := c.tr.roundTrip(ctx); err != nil {
		c.tr.suspect()
		return lost("probe", c.at, err)
	}
	return nil
}

// close takes the end off its connection, which ends with its last end.
func (c *conn) close() {
	c.once.Do(func() {
		c.kill(errors.New("closed by us"))
		c.tr.remove(c)
		c.tr.pool.leave(c.tr, c.claim)
	})
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
