package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/adapters"
)

// A trunk is one connection and the ends that use it. The library never reconnects it: when it is lost, gone ends with the
// reason and all its ends are spent. An end that gets no answer where one is due makes it suspect: no new end uses it from
// then on, and unless it answers at once it is cut for all.
type trunk struct {
	pool  *pool
	key   trunkKey
	ready chan struct{} // closed when it is open, or will never be

	// Written before ready is closed.
	nc        *natsgo.Conn
	cfg       adapters.Config // of the end that opened it
	peer      adapters.Peer
	inbox     string // prefix of the subjects of answers to targets
	err       error  // why it is not open
	abandoned bool   // because the end that opened it was told to stop

	gone context.Context
	kill context.CancelCauseFunc

	claims map[string]bool       // guarded by pool.mu
	doubt  atomic.Bool           // it is suspect, and being asked
	denial atomic.Pointer[error] // the last permission violation that the ends have heard of
	heard  atomic.Int64          // time of the last round trip, UnixNano

	inquiries inquiries

	mu   sync.RWMutex
	last int
	ends map[string]*conn // by id
}

func newTrunk(p *pool, key trunkKey) *trunk {
	tr := &trunk{pool: p, key: key, ready: make(chan struct{}), claims: map[string]bool{}, ends: map[string]*conn{}}
	tr.gone, tr.kill = context.WithCancelCause(context.Background())
	return tr
}

// dial connects to one address.
func (tr *trunk) dial(ctx context.Context, c adapters.Config, s string) error {
	ep, err := parseAddress(c, s)
	if err != nil {
		return &adapters.Error{Kind: adapters.Permanent, Err: err}
	}
	opts := []natsgo.Option{}
	if ep.tls {
		tc, err := c.TLS.Config(ep.host)
		if err != nil {
			return err
		}
		opts = append(opts, natsgo.Secure(tc))
	}
	d := &dialer{ctx: ctx, dial: c.Dial}
	defer d.release()
	if err := tr.open(ctx, c, ep, append(opts, natsgo.SetCustomDialer(d))...); err != nil {
		if d.err != nil {
			err = d.err // the library hides a refused connection behind "no servers available"
		}
		return err
	}
	tr.peer.Address = s
	return nil
}

// open connects to one server and learns its name and limits.
func (tr *trunk) open(ctx context.Context, c adapters.Config, ep endpoint, extra ...natsgo.Option) (err error) {
	tr.cfg = c
	if tr.nc, err = natsgo.Connect("nats://"+hostOr(ep.hostPort), append(tr.options(ctx), extra...)...); err != nil {
		tr.kill(err)
		return handshakeError(ctx, err)
	}
	tr.peer = adapters.Peer{ID: identityOf(tr.nc), Product: "nats-server", Version: tr.nc.ConnectedServerVersion(),
		Address: ep.hostPort, MaxSize: tr.nc.MaxPayload()}
	if tr.nc.ConnectedClusterName() == "" { // the servers of a cluster have ids of their own, and its name is anybody's
		tr.peer.Unique = tr.nc.ConnectedServerId()
	}
	if tr.key.form == adapters.Subject {
		err = tr.listen(ctx)
	}
	if err != nil {
		tr.shut()
	}
	return err
}

// listen subscribes to the answers to what targets publish.
func (tr *trunk) listen(ctx context.Context) error {
	tr.inbox = natsgo.NewInbox() + "."
	sub, err := tr.nc.Subscribe(tr.inbox+"*.*.*", tr.onAnswer)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // bounded by the slots of the targets instead
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout(ctx))
	defer cancel()
	if err := tr.nc.FlushWithContext(ctx); err != nil {
		return handshakeError(ctx, err)
	}
	if err := tr.nc.LastError(); errors.Is(err, natsgo.ErrPermissionViolation) { // it is noted before the answer to a flush is
		return err
	}
	return nil
}

// options are the library's settings: no reconnect, no advertised addresses, and a ping rhythm that notices a silent
// peer within three heartbeats.
func (tr *trunk) options(ctx context.Context) []natsgo.Option {
	k, hb := tr.cfg.Credentials, tr.cfg.Heartbeat
	opts := []natsgo.Option{
		natsgo.NoReconnect(), natsgo.IgnoreDiscoveredServers(), natsgo.DontRandomize(), natsgo.SkipHostLookup(),
		natsgo.Name(tr.name()), natsgo.Timeout(dialTimeout(ctx)),
		natsgo.PingInterval(hb * 3 / 4), natsgo.MaxPingsOutstanding(2), natsgo.FlusherTimeout(hb),
		natsgo.ClosedHandler(tr.onClosed), natsgo.ErrorHandler(tr.onError),
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

// name is what the server shows: of a connection that several routes share, the repeater alone.
func (tr *trunk) name() string {
	if tr.key.share == nil {
		return tr.cfg.Client
	}
	repeater, _, _ := strings.Cut(tr.cfg.Client, ".")
	return repeater
}

// add takes an end in.
func (tr *trunk) add(c *conn) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.last++
	c.id = strconv.Itoa(tr.last)
	tr.ends[c.id] = c
}

func (tr *trunk) remove(c *conn) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	delete(tr.ends, c.id)
}

// onAnswer hands an answer to the target that it is for. One that is gone has given up on it.
func (tr *trunk) onAnswer(m *natsgo.Msg) {
	id, _, _ := strings.Cut(m.Subject[min(len(tr.inbox), len(m.Subject)):], ".")
	tr.mu.RLock()
	var answer func(*natsgo.Msg)
	if c := tr.ends[id]; c != nil {
		answer = c.answer
	}
	tr.mu.RUnlock()
	if answer != nil {
		answer(m)
	}
}

func (tr *trunk) onClosed(nc *natsgo.Conn) {
	err := nc.LastError()
	if err == nil || errors.Is(err, natsgo.ErrPermissionViolation) { // that was an answer to one of the ends
		err = errors.New("the connection is closed")
	}
	tr.kill(err)
}

// onError takes what the library reports beside the way of any message. A permission violation belongs to the ends that
// use its subject; everything that leaves the byte stream in doubt ends the connection.
func (tr *trunk) onError(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
	switch {
	case errors.Is(err, natsgo.ErrBadHeaderMsg):
		tr.cfg.Log.Warn("a message has headers that cannot be read; it goes on without them", "broker", tr.cfg.Name)
	case errors.Is(err, natsgo.ErrPermissionViolation):
		for _, c := range tr.concerned(subjectOf(err)) {
			if f := c.denied.Load(); f != nil {
				(*f)(err)
			}
		}
		tr.denial.Store(&err)
	default:
		tr.kill(err)
	}
}

// subjectOf is the subject that a permission violation is about; "" if it cannot be told.
func subjectOf(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return ""
	}
	return subject
}

// told reports whether the ends have heard of every permission violation that was read from the connection. The library
// notes one before it reads on, and reports it later.
func (tr *trunk) told() bool {
	last, heard := tr.nc.LastError(), tr.denial.Load()
	return !errors.Is(last, natsgo.ErrPermissionViolation) || heard != nil && *heard == last
}

// concerned are the ends that use a subject; all, where it is not known.
func (tr *trunk) concerned(subject string) (cs []*conn) {
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	for _, c := range tr.ends {
		if subject == "" || len(tr.ends) == 1 || c.uses(subject) {
			cs = append(cs, c)
		}
	}
	return cs
}

// roundTrip asks the server for a sign of life.
func (tr *trunk) roundTrip(ctx context.Context) error {
	if err := tr.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	tr.heard.Store(time.Now().UnixNano())
	return nil
}

func (tr *trunk) heardWithin(d time.Duration) bool {
	return time.Since(time.Unix(0, tr.heard.Load())) <= d
}

// suspect is called where an answer that was due has not come. No new end uses the connection: whoever has lost an answer
// comes back on another one. One that does not answer within a heartbeat is cut, so that nobody else waits for it.
func (tr *trunk) suspect() {
	tr.pool.retire(tr)
	if !tr.doubt.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer tr.doubt.Store(false)
		ctx, cancel := context.WithTimeout(tr.gone, tr.cfg.Heartbeat)
		defer cancel()
		if err := tr.roundTrip(ctx); err != nil {
			tr.kill(fmt.Errorf("no answer within %v: %w", tr.cfg.Heartbeat, err))
			tr.shut()
		}
	}()
}

// shut ends the connection. The library may wait for a socket that does not answer: then it is left behind.
func (tr *trunk) shut() {
	tr.kill(errors.New("closed by us"))
	if tr.nc == nil {
		return
	}
	done := make(chan struct{})
	go func() { tr.nc.Close(); close(done) }()
	wait(done, closeWait)
}
