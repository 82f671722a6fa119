package repeater

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// openTimeout bounds one attempt to connect and attach at one address. It is above every client library's own limit, so
// that their better words win.
const openTimeout = 30 * time.Second

// opensAtOnce is how many ends of one broker may be on their way to it at the same time. After an outage thousands want
// to; a broker that has just come up must not be met by all of them together.
const opensAtOnce = 32

var errNoAnswer = errors.New("no answer while connecting")

// A gate is the one connect loop of a broker. While the broker is away all its ends wait for the same next try and one
// of them makes it; so a thousand lanes are one connection attempt, not a thousand.
type gate struct {
	slow  time.Duration // retry of what an operator has to mend
	turn  chan struct{} // held by the one end that tries while the broker is away
	slots chan struct{} // held by each end that tries while it is there
	where *addresses
	name  string      // of the broker
	known *identities // nil: nobody asks

	connects connects

	mu    sync.Mutex
	back  backoff
	down  bool
	err   error     // why it is down
	until time.Time // next try while down
	upAt  time.Time // since when the broker has been working, zero while down
}

func newGate(b *routes.Broker, slow time.Duration, log *slog.Logger) *gate {
	r := b.Reconnect
	return &gate{
		slow: slow, turn: make(chan struct{}, 1), slots: make(chan struct{}, opensAtOnce), where: newAddresses(b, log),
		back: backoff{delay: r.Delay, max: r.MaxDelay, jitter: r.Jitter},
	}
}

// An opening tries the addresses it is given, and returns the Source or Target.
type opening func(ctx context.Context, addresses []string) (any, error)

// open calls try until it succeeds or ctx ends, and tells e of every change. A broker that cannot be reached makes all
// ends of the gate wait; what is wrong with one end only (no right, no such queue) is retried slowly by that end alone.
// home is closed when the end shall be closed and opened again, because its broker's first address is back; it may be nil.
func (g *gate) open(ctx context.Context, e *end, try opening) (home <-chan struct{}, err error) {
	aside(func() { home, err = g.keepTrying(ctx, e, try) })
	return home, err
}

func (g *gate) keepTrying(ctx context.Context, e *end, try opening) (home <-chan struct{}, err error) {
	for denied := 0; ; {
		if err := g.trouble(); err != nil {
			e.set(LinkDown, err)
		}
		v, err := g.attempt(ctx, try)
		switch {
		case err == nil:
			peer := e.attached(v)
			g.known.learn(g.name, peer)
			home := g.where.reached(peer)
			e.up()
			return home, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case adapters.KindOf(err).Definite():
			e.set(LinkBlocked, err)
			if !wait(ctx, g.patience(denied)) {
				return nil, ctx.Err()
			}
			denied++
		default:
			e.set(LinkDown, err)
		}
	}
}

// patience is the pause after a definite answer of the broker to so many others. It doubles up to the slow one: a broker that
// is going down, or is not all there yet, may say things that an operator need not mend.
func (g *gate) patience(before int) time.Duration {
	return jittered(min(g.slow, time.Second<<min(before, 16)), 0.2)
}

// attempt waits for admission, tries once, and notes the result before anybody else is admitted.
func (g *gate) attempt(ctx context.Context, try opening) (any, error) {
	leave, err := g.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	as := g.where.order()
	tctx, cancel := context.WithTimeoutCause(ctx, openTimeout*time.Duration(max(len(as), 1)), errNoAnswer)
	defer cancel()
	v, err := try(tctx, as)
	if ctx.Err() == nil {
		g.connects.note(err)
	}
	switch {
	case err == nil:
		g.up()
	case ctx.Err() == nil && !adapters.KindOf(err).Definite():
		g.missed(err)
	}
	return v, err
}

// trouble says why the broker is down, if it is.
func (g *gate) trouble() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.down {
		return nil
	}
	return g.err
}

// admit blocks until the broker may be tried; leave must be called after the try. While the broker is down only one
// end is admitted at a time, and not before the backoff has passed; while it is there, opensAtOnce of them.
func (g *gate) admit(ctx context.Context) (leave func(), err error) {
	for ctx.Err() == nil {
		before, _ := g.state()
		queue := g.slots
		if before {
			queue = g.turn
		}
		select {
		case queue <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		leave = func() { <-queue }
		down, until := g.state()
		if down == before && (!down || wait(ctx, time.Until(until))) {
			return leave, nil
		}
		leave() // it has come or gone meanwhile, or ctx ended
	}
	return nil, ctx.Err()
}

func (g *gate) state() (down bool, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down, g.until
}

// isUp reports whether some end has attached since the broker was last away.
func (g *gate) isUp() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.upAt.IsZero()
}

// up notes that an end has attached.
func (g *gate) up() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.upAt.IsZero() {
		g.upAt = time.Now()
	}
	g.down = false
}

// lost notes that an attached end lost the broker.
func (g *gate) lost(err error) { g.away(err, false) }

// missed notes that the broker could not be reached.
func (g *gate) missed(err error) { g.away(err, true) }

// away notes that the broker is down. Ends that notice one loss at the same time are one step of backoff.
func (g *gate) away(err error, tried bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.down && now.Before(g.until) {
		return
	}
	if !g.upAt.IsZero() && now.Sub(g.upAt) >= stable {
		g.back.reset()
	}
	g.down, g.err, g.upAt, g.until = true, err, time.Time{}, now
	if !tried || !g.where.missed() {
		g.until = now.Add(g.back.next())
	}
}
