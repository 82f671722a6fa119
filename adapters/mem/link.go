package mem

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A Link is the way between a broker and the ends that were opened through it. Its methods are the faults of a network;
// all of them take effect at once and are safe for concurrent use.
type Link struct {
	b *Broker

	// below: b.mu
	ends    map[*end]struct{}
	refused bool
	stalled bool
	held    bool
	round   int // of Stall
	latency time.Duration
	changed chan struct{} // closed and replaced whenever one of the above lets something pass
}

// Dial is for Config.Dial: what is opened with it goes over this link. The connection has no bytes.
func (l *Link) Dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	return &wire{Conn: near, link: l}, far.Close()
}

// wire only tells the adapter which link it got.
type wire struct {
	net.Conn
	link *Link
}

// Cut ends every connection of the link: ends get Kind Lost, unsettled deliveries go back, sends without an answer stay
// unanswered. New connections are possible, replies are no longer held.
func (l *Link) Cut() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.held, l.stalled = false, false
	l.cut(errors.New("connection reset"))
	l.wake()
}

// Stall stops everything in both directions and keeps connections open. Ends notice after three heartbeats.
func (l *Link) Stall() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.stalled = true
	l.round++
	for e := range l.ends {
		l.watch(e)
	}
}

// watch ends e when the stall that is now lasts for three heartbeats. b.mu is held.
func (l *Link) watch(e *end) {
	round := l.round
	time.AfterFunc(silence(e.cfg), func() {
		l.b.mu.Lock()
		defer l.b.mu.Unlock()
		if l.stalled && l.round == round {
			e.lose(errors.New("the broker has been silent for three heartbeats"), false)
		}
	})
}

// Refuse lets no new connection in; those that are stay.
func (l *Link) Refuse() { l.set(func() { l.refused = true }) }

// HoldReplies lets requests through and holds what the broker answers, until Allow or Cut.
func (l *Link) HoldReplies() { l.set(func() { l.held = true }) }

// Allow ends Stall, Refuse and HoldReplies.
func (l *Link) Allow() { l.set(func() { l.refused, l.stalled, l.held = false, false, false }) }

// SetLatency makes everything take d in each direction from now on.
func (l *Link) SetLatency(d time.Duration) { l.set(func() { l.latency = d }) }

func (l *Link) set(f func()) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	f()
	l.wake()
}

// wake lets everybody look again. b.mu is held.
func (l *Link) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
	for e := range l.ends {
		if t, ok := e.user.(*Target); ok {
			t.advance()
		}
	}
}

// cut ends all connections. b.mu is held.
func (l *Link) cut(why error) {
	for e := range l.ends {
		e.lose(why, false)
	}
}

// An end is one connection, used by one Source or Target. Its embedder is user.
type end struct {
	b    *Broker
	link *Link
	cfg  adapters.Config
	at   adapters.Address

	address string // of Config.Addresses

	// below: b.mu
	user any // *Source, *Target or nil
	gone chan struct{}
	why  error // set before gone is closed
}

func newEnd(b *Broker, l *Link, c adapters.Config) *end {
	return &end{b: b, link: l, cfg: c, gone: make(chan struct{})}
}

// greet makes the connection: one round trip.
func (e *end) greet(ctx context.Context) error {
	e.b.mu.Lock()
	switch {
	case e.b.down:
		e.b.mu.Unlock()
		return errors.New("the broker is down")
	case e.link.refused:
		e.b.mu.Unlock()
		return errors.New("connection refused")
	}
	e.link.ends[e] = struct{}{}
	if e.link.stalled {
		e.link.watch(e)
	}
	e.b.mu.Unlock()
	if err := e.roundTrip(ctx, "connect"); err != nil {
		e.close()
		return err
	}
	return nil
}

// ask looks whether as may be used, and makes the first of them the end's own.
func (e *end) ask(as []adapters.Address) error {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	for _, at := range as {
		if at.Dynamic {
			continue
		}
		r := e.b.place(at.Name).rules
		kind, why := adapters.NotFound, "no such queue"
		if r.Denied {
			kind, why = adapters.Denied, "user may not use this queue"
		}
		if r.Missing || r.Denied {
			e.lose(errors.New(why), false)
			return &adapters.Error{Op: "attach", Addr: at, Kind: kind, Err: errors.New(why)}
		}
	}
	if len(as) > 0 {
		e.at = as[0]
	}
	return nil
}

// attach makes user the owner and reports whether the connection is still there.
func (e *end) attach(user any) bool {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	if e.why != nil {
		return false
	}
	e.user = user
	if s, ok := user.(*Source); ok {
		s.place = e.b.place(e.at.Name)
		s.arrival = make(chan struct{}, 1)
		s.place.sources = append(s.place.sources, s)
		s.place.dispatch()
	}
	return true
}

// close ends the connection on the client's wish. A second call is harmless.
func (e *end) close() {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	e.lose(errors.New("closed"), false)
}

// lose ends the connection; with killed the broker forgets what it had not synced. b.mu is held.
func (e *end) lose(why error, killed bool) {
	if e.why != nil {
		return
	}
	e.why = why
	close(e.gone)
	delete(e.link.ends, e)
	switch u := e.user.(type) {
	case *Source:
		u.giveBack()
	case *Target:
		u.drop(killed)
	}
}

// lost is the error of every operation after the connection has ended.
func (e *end) lost(op string) error {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	return &adapters.Error{Op: op, Addr: e.at, Kind: adapters.Lost, Err: e.why}
}

// roundTrip waits for a question to reach the broker and for its answer to come back.
func (e *end) roundTrip(ctx context.Context, op string) error {
	if err := e.travel(ctx, op, false); err != nil {
		return err
	}
	return e.travel(ctx, op, true)
}

// travel waits for the latency of one direction, and while the link holds that direction up.
func (e *end) travel(ctx context.Context, op string, back bool) error {
	e.b.mu.Lock()
	wait := e.link.latency
	e.b.mu.Unlock()
	if wait > 0 {
		if err := e.pause(ctx, op, time.After(wait), nil); err != nil {
			return err
		}
	}
	for {
		e.b.mu.Lock()
		blocked, changed, gone := e.link.stalled || back && e.link.held, e.link.changed, e.why != nil
		e.b.mu.Unlock()
		if gone {
			return e.lost(op)
		}
		if !blocked {
			return nil
		}
		if err := e.pause(ctx, op, nil, changed); err != nil {
			return err
		}
	}
}

// pause waits for a time, for the link to change, for the end of the connection, or of ctx.
func (e *end) pause(ctx context.Context, op string, due <-chan time.Time, changed <-chan struct{}) error {
	select {
	case <-due:
		return nil
	case <-changed:
		return nil
	case <-e.gone:
		return e.lost(op)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Peer names the broker.
func (e *end) Peer() adapters.Peer {
	return adapters.Peer{ID: e.b.name, Unique: e.b.name, Product: "mem", Address: e.address, MaxSize: e.b.opts.MaxSize}
}

// Probe makes one round trip.
func (e *end) Probe(ctx context.Context) error { return e.roundTrip(ctx, "probe") }

// Close gives unsettled deliveries back and ends every call with Kind Lost.
func (e *end) Close() error { e.close(); return nil }
