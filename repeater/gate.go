package repeater

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// openTimeout bounds one attempt to connect and attach. It is above every client library's own limit, so that their
// better words win.
const openTimeout = 30 * time.Second

var errNoAnswer = errors.New("no answer while connecting")

// A gate is the one connect loop of a broker. While the broker is away all its ends wait for the same next try and one
// of them makes it; so a thousand lanes are one connection attempt, not a thousand.
type gate struct {
	slow time.Duration // retry of what an operator has to mend
	turn chan struct{} // held by the one end that tries while the broker is away

	mu    sync.Mutex
	back  backoff
	down  bool
	err   error     // why it is down
	until time.Time // next try while down
	upAt  time.Time // since when the broker has been working, zero while down
}

func newGate(r routes.Reconnect, slow time.Duration) *gate {
	return &gate{
		slow: slow, turn: make(chan struct{}, 1),
		back: backoff{delay: r.Delay, max: r.MaxDelay, jitter: r.Jitter},
	}
}

// open calls try until it succeeds or ctx ends, and tells e of every change. A broker that cannot be reached makes all
// ends of the gate wait; what is wrong with one end only (no right, no such queue) is retried slowly by that end alone.
func (g *gate) open(ctx context.Context, e *end, try func(context.Context) error) error {
	for {
		if err := g.trouble(); err != nil {
			e.set(LinkDown, err)
		}
		err := g.attempt(ctx, try)
		switch {
		case err == nil:
			e.up()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case adapters.KindOf(err).Definite():
			e.set(LinkBlocked, err)
			if !wait(ctx, jittered(g.slow, 0.2)) {
				return ctx.Err()
			}
		default:
			e.set(LinkDown, err)
		}
	}
}

// attempt waits for admission, tries once, and notes the result before anybody else is admitted.
func (g *gate) attempt(ctx context.Context, try func(context.Context) error) error {
	leave, err := g.admit(ctx)
	if err != nil {
		return err
	}
	defer leave()
	tctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	switch err = try(tctx); {
	case err == nil:
		g.up()
	case ctx.Err() == nil && !adapters.KindOf(err).Definite():
		g.lost(err)
	}
	return err
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
// end is admitted at a time, and not before the backoff has passed.
func (g *gate) admit(ctx context.Context) (leave func(), err error) {
	for {
		if down, _ := g.state(); !down {
			return func() {}, ctx.Err()
		}
		select {
		case g.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		leave = func() { <-g.turn }
		down, until := g.state()
		if down && wait(ctx, time.Until(until)) {
			return leave, nil
		}
		leave() // somebody succeeded meanwhile, or ctx ended
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (g *gate) state() (down bool, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down, g.until
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

// lost notes that the broker could not be reached, or that an attached end lost it. Ends that notice one loss at the
// same time are one step of backoff.
func (g *gate) lost(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.down && now.Before(g.until) {
		return
	}
	if !g.upAt.IsZero() && now.Sub(g.upAt) >= stable {
		g.back.reset()
	}
	g.down, g.err, g.upAt = true, err, time.Time{}
	g.until = now.Add(g.back.next())
}
