package repeater

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/routes"
)

// A flow moves the messages of one source. This file is the way of a message:
//
//  1. receive   Source.Receive, never more than the prefetch allows
//  2. match     the filters of the routes on this source decide which lanes get it; what repeats a delivery that is known
//     (unsettled.go) is answered like that one
//  3. convert   bridge.Restore here, once: what the producer meant. bridge.Fit in lane.go at every send, because the
//     remaining lifetime shrinks and a second try is marked as such
//  4. send      each lane sends in order, many in flight (lane.go), or writes to the journal while its target is away
//     (store.go), and answers for every message
//  5. settle    when all its lanes have answered: Accepted if all have it. Always last, but on an at-most-once route
//     (atmost.go), where it comes before the lanes get the message
//
// One goroutine receives, one settles, each lane has its own. What they share is a session: the time from attach to
// loss of one Source. Deliveries of a lost session cannot be settled any more; their broker gives them out again.
type flow struct {
	source  adapters.Address
	adapter adapters.Adapter
	cfg     adapters.Config
	caps    adapters.Capabilities
	trust   bridge.Options // what is believed of the source's own headers
	gate    *gate
	clock   *clock
	end     *end
	routes  []*routeRun
	table   []*routes.Route // those of routes, for routes.Decide
	ids     *identity
	grace   time.Duration
	log     *slog.Logger
	tracing *tracing
	limits  adapters.Limits
	count   *routeCounts // of its first route

	unsettled *unsettled
	owed      *debt
	halted    atomic.Pointer[adapters.Error] // a route has stopped at a message
	valve     valve                          // shut while all its routes are paused (orders.go)
	slowTold  atomic.Bool                    // a slow filter has been logged
	filters   bool                           // some route of it has one

	stop  context.CancelFunc // ends run; nil before launch
	ended chan struct{}      // closed when run has returned

	short int // sessions in a row that were lost within the time that makes a link stable
}

// careful is after how many short sessions a source is read one message at a time. A message that makes its broker or
// us cut the connection does so as soon as it is on its way, and what was received before it cannot be settled any more
// and comes again, in every session. One at a time everything before it is settled, and nothing comes twice for ever.
const careful = 3

// maxReceive bounds one Receive, so that the first message of a burst does not wait for the last.
const maxReceive = 256

var (
	errRenew        = errors.New("the source has been stable for long enough")
	errOver         = errors.New("the session is over")
	errSilentSource = &adapters.Error{Op: "receive", Kind: adapters.Lost, Err: errors.New("the source did not come back from a call")}
)

// settleTimeout is how long a settle may outlive a shutdown: a stop between send and settle must not make duplicates.
const settleTimeout = 10 * time.Second

func (f *flow) lanes() []*lane {
	var ls []*lane
	for _, r := range f.routes {
		ls = append(ls, r.lanes...)
	}
	return ls
}

// all are the lanes with those for dead letters.
func (f *flow) all() []*lane {
	ls := f.lanes()
	for _, r := range f.routes {
		if r.dead != nil {
			ls = append(ls, r.dead)
		}
		if t := r.replies; t != nil && t.lane != nil && r.route.Asks != nil {
			ls = append(ls, t.lane)
		}
	}
	return ls
}

// share tells the lanes whether they are several.
func (f *flow) share() {
	ls := f.lanes()
	for _, l := range ls {
		l.shared = len(ls) > 1
	}
}

// after decides what the end of the receiving means. A definite answer (no right any more, a message that is larger than
// allowed) is for an operator to mend; anything else is a lost source.
func (f *flow) after(ctx context.Context, s *session, err error) LinkState {
	cause := s.cause()
	if cause == nil && (ctx.Err() != nil || err == errRenew) {
		return LinkUp
	}
	if cause != nil {
		err = cause
	}
	if kind := adapters.KindOf(err); kind.Definite() {
		if cause != nil { // it does not let us settle: what we send meanwhile comes again
			f.short = careful
		}
		f.end.failed(LinkBlocked, err)
		return LinkBlocked
	} else if kind == adapters.Other && err != nil {
		f.log.Error(msgUnclass, "err", err)
	}
	s.kill(err)
	f.gate.lost(s.cause())
	f.end.failed(LinkDown, s.cause())
	return LinkDown
}

// receiveAll is step 1. It returns when the source is lost or ctx ends.
func (f *flow) receiveAll(ctx context.Context, s *session) error {
	for {
		room, err := f.room(ctx, s)
		if err != nil {
			return err
		}
		if !s.renew.IsZero() && time.Now().After(s.renew) { // one at a time, so there is room only when all is settled
			return errRenew
		}
		ds, err := s.src.Receive(ctx, min(room, maxReceive))
		if s.isDead() { // given out again by the broker; or this call had been abandoned
			return err
		}
		if len(ds) > 0 {
			failpoint.Hit("C01")
			if s.received.Load() == 0 {
				f.end.works()
			}
			f.take(ctx, s, ds)
		}
		if err := f.halt(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// take is steps 2 and 3: it decides which lanes get each delivery and hands them over in source order.
func (f *flow) take(ctx context.Context, s *session, ds []adapters.Delivery) {
	ps := make([]parcel, len(ds))
	out := make(map[*lane][]*item, 1)
	var said []routes.Decision
	f.reunite(s)
	for i, d := range ds {
		ps[i] = parcel{ctx: ctx, d: d, s: s, f: f, at: time.Now(), size: d.Message.Size()}
		s.took(&ps[i]) // all of them before the first can be settled
	}
	for i := range ps {
		p := &ps[i]
		if f.halt() == nil {
			said = f.match(p, said[:0])
		}
		if f.halt() != nil { // at p, or at one before it
			p.ready(adapters.Released)
			continue
		}
		before := f.unsettled.enter(p)
		if len(p.items) == 0 {
			p.conclude()
			continue
		}
		p.open.Store(int32(len(p.items)))
		if p.first = f.settledFirst(p); p.first {
			p.ready(adapters.Accepted)
			continue
		}
		for _, it := range f.unsettled.fresh(p, before) {
			if it.unfit != "" {
				it.lane.bury(it, it.unfit, it.why)
				continue
			}
			out[it.lane] = append(out[it.lane], it)
		}
	}
	for l, its := range out {
		l.push(its)
	}
}

// match is step 2, with the first half of step 3: said is what the routes make of p, in their order. What no route can
// take is marked as refused, with its reason.
func (f *flow) match(p *parcel, said []routes.Decision) []routes.Decision {
	m, notes := bridge.Restore(p.d.Message, f.caps.Headers, f.trust)
	m = f.clock.doubtful(m, p.d.Message)
	p.m = m
	if p.d.Attempt > 1 && m.Deliveries == 0 {
		p.m = m.Clone()
		p.m.Deliveries = uint32(p.d.Attempt - 1)
	}
	defer f.tracing.receive(p)()
	if said = f.decide(said, p.m); f.stops(p, said) {
		return said
	}
	wanted := false
	for i, r := range f.routes {
		r.count.noted(notes)
		wanted = r.match(p, said[i]) || wanted
	}
	if !wanted {
		f.unrouted(p)
	}
	return said
}

// match does what was decided about p, and reports whether p has found its way: items for r's lanes, or to the dead
// letters.
func (r *routeRun) match(p *parcel, d routes.Decision) bool {
	r.count.received(p)
	switch d.Verdict {
	case routes.Declined, routes.Preceded:
		r.count.filtered()
		return false
	case routes.Skipped:
		r.count.filterFailed()
		return false
	case routes.SetAside:
		p.refuse(r, reasonFilter, d.Err)
		return true
	}
	if r.circled(p) {
		return true
	}
	r.pass(p, p.m.WithEdits(d.Edits))
	return true
}

// settleAll is step 5: it settles what is ready, and reports whether nothing more will be, because the session is dead, or
// finished with nothing open, or work has ended. Where the broker does not take a settle, nobody knows what it recorded: the
// session is given up, and stop ends the receiving.
func (f *flow) settleAll(work context.Context, s *session, stop func()) (over bool) {
	for {
		done, over := s.takeDone()
		if done == nil {
			return over || work.Err() != nil
		}
		s.keepBack(done)
		for _, o := range []adapters.Outcome{adapters.Accepted, adapters.Released, adapters.Rejected} {
			if err := f.settle(s, o, done[o]); err != nil {
				s.kill(err)
				stop()
				return true
			}
		}
	}
}

func (f *flow) settle(s *session, o adapters.Outcome, ps []*parcel) error {
	if len(ps) == 0 {
		return nil
	}
	ds := make([]adapters.Delivery, len(ps))
	for i, p := range ps {
		ds[i] = p.d
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	failpoint.Soon("C05")
	if err := settleBounded(ctx, s.src, o, ds); err != nil {
		f.count.settleErrors.Add(1)
		f.log.Warn(msgSettle, "outcome", o.String(), "messages", len(ds), "err", err)
		return err
	}
	failpoint.Hit("C06")
	if o != adapters.Released { // or it comes again, and some lane may have it
		f.unsettled.leave(ps)
	}
	answeredReplies(o, ps)
	s.sendSettled(ps)
	s.settled(ps)
	return nil
}

// slowLooks is how many times a lane is looked at within the time that makes it slow.
const slowLooks = 4

// watchSlow makes the lanes spool that have kept the source at its limit for too long. It returns what ends the watching.
func (f *flow) watchSlow(ctx context.Context, s *session) (stop func()) {
	after := f.slowAfter()
	if after <= 0 {
		return func() {}
	}
	return every(ctx, after/slowLooks, func() bool {
		since, open := s.pressed()
		for _, l := range f.lanes() {
			if !since.IsZero() && time.Since(since) >= l.of.route.Spool.SlowAfter && l.holds() >= open/2 {
				l.slow()
			}
		}
		return true
	})
}

// slowAfter is the shortest time that makes a lane slow; 0 if none spools.
func (f *flow) slowAfter() (d time.Duration) {
	for _, l := range f.lanes() {
		if l.store != nil && (d == 0 || l.of.route.Spool.SlowAfter < d) {
			d = l.of.route.Spool.SlowAfter
		}
	}
	return d
}

// probe asks an idle source for a sign of life in every heartbeat. It returns what ends that.
func (f *flow) probe(ctx context.Context, s *session, stop func()) (end func()) {
	return probeIdle(ctx, f.cfg.Heartbeat, s.src, s.received.Load, f.end.works, func(err error) {
		s.kill(err)
		stop()
	})
}

// probeIdle probes v, if it can, in every heartbeat in which traffic did not change, and calls works after each success
// or fail once on an error. It returns what ends that.
func probeIdle(ctx context.Context, heartbeat time.Duration, v any, traffic func() int64, works func(), fail func(error)) (end func()) {
	p, ok := v.(adapters.Prober)
	if !ok {
		return func() {}
	}
	last := traffic()
	return every(ctx, heartbeat, func() bool {
		if now := traffic(); now != last {
			last = now
			return true
		}
		switch err := probeOnce(ctx, heartbeat, p); {
		case err == nil:
			works()
		case ctx.Err() == nil:
			fail(err)
			return false
		}
		return true
	})
}

func probeOnce(ctx context.Context, heartbeat time.Duration, p adapters.Prober) error {
	var err error
	ctx, cancel := context.WithTimeout(ctx, 2*heartbeat)
	defer cancel()
	if bounded(ctx, func() { err = p.Probe(ctx) }) {
		return err
	}
	return &adapters.Error{Op: "probe", Kind: adapters.Lost, Err: errNoAnswer}
}

// afterGrace returns a context that ends grace after ctx, or when cut is called.
func afterGrace(ctx context.Context, grace time.Duration) (work context.Context, cut func()) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		wait(work, grace)
		cancel()
	})
	return work, func() { cancel(); stop() }
}
