package repeater

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// Several targets as one lane (delivery.md, section 9). One of them is in use. When it has been down for failover_after
// the first of the list that can be opened takes its place, and an earlier one does again when it has answered for
// failback_after: then nothing more is sent, what is in flight is waited for, and only after that the lane goes back. So
// there is one sender at any time, and the order holds; what got no answer goes to the next target, flagged.

// tryFor is how long one attempt to open another target may take, and the least pause between two rounds of them.
const tryFor = 10 * time.Second

// A reach is one of the targets of a lane, and the way to it.
type reach struct {
	target  routes.Target
	adapter adapters.Adapter
	cfg     adapters.Config
	caps    adapters.Capabilities
	fitting bridge.Options // of its broker
	gate    *gate
}

// A succession is the targets of one lane, in the order of the file.
type succession struct {
	list        []*reach
	after, back time.Duration
	log         *slog.Logger
	count       *laneCounts
	at          atomic.Int32  // the one in use
	changed     chan struct{} // its link has another state

	mu       sync.Mutex
	since    time.Time     // it is in use
	upAt     time.Time     // its link is up; zero while it is not
	downAt   time.Time     // it is in trouble; zero while it is up for good
	pause    time.Time     // no other one is tried before
	wanted   int           // the one to go back to; -1: none
	home     chan struct{} // closed when the lane shall go back
	switches int64
}

// newFailover makes the one lane of a route whose targets stand in for each other.
func (r *wiring) newFailover(run *routeRun, gates map[string]*gate, m *metrics, ids *identity) *lane {
	l := r.newLane(run, run.route.Lanes()[0], gates, m, ids)
	s := run.route.Sharing
	q := &succession{after: s.FailoverAfter, back: s.FailbackAfter, log: l.log, count: l.count, changed: make(chan struct{}, 1), wanted: -1, since: time.Now(), home: make(chan struct{})}
	for _, t := range run.route.To {
		b := r.table.Brokers[t.Addr.Broker]
		cfg := r.configs[b.Name]
		cfg.Client, cfg.Limits = l.cfg.Client, l.cfg.Limits
		q.list = append(q.list, &reach{target: t, adapter: r.kinds[b.Kind], cfg: cfg, caps: r.kinds[b.Kind].Capabilities(cfg), fitting: b.Fit, gate: gates[b.Name]})
	}
	l.turns = q
	return l
}

// current is the target in use; nil for lanes that have but one.
func (q *succession) current() *reach {
	if q == nil {
		return nil
	}
	return q.list[q.at.Load()]
}

// gateNow is the gate of the broker in use.
func (l *lane) gateNow() *gate {
	if r := l.turns.current(); r != nil {
		return r.gate
	}
	return l.gate
}

// headers are those of the target in use.
func (l *lane) headers() adapters.Headers {
	if r := l.turns.current(); r != nil {
		return r.caps.Headers
	}
	return l.caps.Headers
}

// conversion is what the broker of the target in use wants beside that.
func (l *lane) conversion() bridge.Options {
	if r := l.turns.current(); r != nil {
		return r.fitting
	}
	return l.fitting
}

// address is that of the target in use.
func (l *lane) address() adapters.Address {
	if r := l.turns.current(); r != nil {
		return r.target.Addr
	}
	return l.target.Addr
}

// adapterNow is that of the target in use.
func (l *lane) adapterNow() adapters.Adapter {
	if r := l.turns.current(); r != nil {
		return r.adapter
	}
	return l.adapter
}

// sendKey computes the key that the target in use gets; nil if the message keeps its own.
func (l *lane) sendKey() *routes.Expr {
	if r := l.turns.current(); r != nil && r.target.Key != nil {
		return r.target.Key
	}
	return l.keyExpr()
}

// begin watches the targets before the one in use until d ends.
func (q *succession) begin(d *duty) {
	watch, over := context.WithCancel(d.stop)
	var wg sync.WaitGroup
	wg.Go(func() { q.watch(watch) })
	end := d.end
	d.end = func() {
		over()
		wg.Wait()
		end()
	}
}

// next opens one of the targets for d, and reports whether it is open.
func (q *succession) next(l *lane, d *duty) bool {
	t, home, err := q.open(d.stop, l)
	if err != nil {
		return false
	}
	d.t = t
	d.home, d.free = either(home, q.homeward())
	return true
}

// either is closed when a or b is, or by free.
func either(a, b <-chan struct{}) (one <-chan struct{}, free func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-a:
		case <-b:
		case <-ctx.Done():
		}
		cancel()
	})
	return ctx.Done(), func() { cancel(); wg.Wait() }
}

// open opens the target to go back to, the one in use, or, when that has been down for too long, the first of the others
// that can be opened. Its error is that of stop.
func (q *succession) open(stop context.Context, l *lane) (adapters.Target, <-chan struct{}, error) {
	if i := q.goesBack(); i >= 0 {
		if t, home, ok := q.try(stop, l, i); ok {
			return t, home, nil
		}
	}
	for stop.Err() == nil {
		var t adapters.Target
		r := q.current()
		ctx, cancel := q.overdue(stop)
		home, err := r.gate.open(ctx, l.end, func(ctx context.Context, addresses []string) (_ any, err error) {
			t, err = r.open(ctx, addresses)
			return t, err
		})
		cancel()
		if err == nil {
			return t, home, nil
		}
		for i := range q.list {
			if i == int(q.at.Load()) || stop.Err() != nil {
				continue
			}
			if t, home, ok := q.try(stop, l, i); ok {
				return t, home, nil
			}
		}
		q.rest()
	}
	return nil, nil, stop.Err()
}

// open attaches to the target.
func (r *reach) open(ctx context.Context, addresses []string) (adapters.Target, error) {
	cfg := r.cfg // an abandoned call may still read it
	cfg.Addresses = addresses
	return openBounded(ctx, func() (adapters.Target, error) { return r.adapter.OpenTarget(ctx, cfg, r.target.Addr) })
}

// try opens target i, once, and takes it into use.
func (q *succession) try(stop context.Context, l *lane, i int) (t adapters.Target, home <-chan struct{}, ok bool) {
	r := q.list[i]
	ctx, cancel := context.WithTimeoutCause(stop, tryFor, errNoAnswer)
	defer cancel()
	v, err := r.gate.attempt(ctx, func(ctx context.Context, addresses []string) (any, error) { return r.open(ctx, addresses) })
	if err != nil {
		q.log.Warn(msgNoSuccessor, "target", r.target.Name, "err", err)
		return nil, nil, false
	}
	q.use(i)
	home = r.gate.where.reached(l.end.attached(v))
	l.end.anew()
	return v.(adapters.Target), home, true
}

// use makes target i the one in use.
func (q *succession) use(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Warn(msgSwitched, "from", q.current().target.Name, "to", q.list[i].target.Name)
	q.at.Store(int32(i))
	q.since, q.upAt, q.downAt, q.pause = time.Now(), time.Time{}, time.Time{}, time.Time{}
	q.switches++
	q.count.switched.Inc()
}

// rest lets some time pass before the others are tried again.
func (q *succession) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pause = time.Now().Add(min(tryFor, max(q.after, time.Second)))
}

// linkIs notes the state of the link to the target in use. One that is up for a moment only is not up.
func (q *succession) linkIs(s LinkState) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	switch s {
	case LinkDown:
		if q.downAt.IsZero() || !q.upAt.IsZero() && now.Sub(q.upAt) >= min(q.after, stable) {
			q.downAt = now
		}
		q.upAt = time.Time{}
	case LinkUp:
		q.upAt = now
	default: // it was reached, and an operator has to mend something
		q.upAt, q.downAt = time.Time{}, time.Time{}
	}
	signal(q.changed)
}

// left is the time until other targets are tried; ok is false while the one in use is not down.
func (q *succession) left() (d time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.downAt.IsZero() || !q.upAt.IsZero() {
		return 0, false
	}
	at := q.downAt.Add(q.after)
	if at.Before(q.pause) {
		at = q.pause
	}
	return time.Until(at), true
}

// overdue returns a context that ends when other targets are to be tried.
func (q *succession) overdue(stop context.Context) (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancel(stop)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			d, down := q.left()
			if down && d <= 0 {
				end()
				return
			}
			q.await(ctx, d, down)
		}
	})
	return ctx, func() { end(); wg.Wait() }
}

// await blocks until the link has another state, d has passed while it is down, or ctx ends.
func (q *succession) await(ctx context.Context, d time.Duration, down bool) {
	var due <-chan time.Time
	if down {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-q.changed:
	case <-ctx.Done():
	}
}

// homeward is closed when the lane shall go back to an earlier target.
func (q *succession) homeward() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.home
}

// goesBack is the target to go back to, -1 if there is none. It is told once.
func (q *succession) goesBack() (i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i, q.wanted = q.wanted, -1; i >= 0 {
		q.home = make(chan struct{})
	}
	return i
}

// want asks the lane to go back to target i.
func (q *succession) want(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wanted < 0 {
		q.wanted = i
		close(q.home)
	}
}

// watch asks the targets before the one in use for a sign of life in every heartbeat, and lets the lane go back to the
// first that has answered for long enough without a failure.
func (q *succession) watch(ctx context.Context) {
	since := make([]time.Time, len(q.list))
	for wait(ctx, q.list[0].cfg.Heartbeat) {
		at := int(q.at.Load())
		clear(since[at:])
		for i, r := range q.list[:at] {
			switch err := r.ping(ctx); {
			case err != nil:
				since[i] = time.Time{}
			case since[i].IsZero():
				since[i] = time.Now()
			case time.Since(since[i]) >= q.back:
				q.want(i)
				clear(since)
			}
		}
	}
}

// ping is one sign of life of the target, bounded.
func (r *reach) ping(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tryFor, errNoAnswer)
	defer cancel()
	p, ok := r.adapter.(adapters.Pinger)
	if !ok {
		t, err := r.open(ctx, r.cfg.Addresses)
		if err == nil {
			closeBounded(t)
		}
		return err
	}
	if !bounded(ctx, func() { _, err = p.Ping(ctx, r.cfg, r.target.Addr) }) {
		return errNoAnswer
	}
	return err
}
