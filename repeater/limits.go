package repeater

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/posthouse/posthouse/routes"
)

// Limits of a route that a reload changes while it runs. A lane reads all of them at once, when it needs one of them; what
// it has begun under others is not begun anew.

// limits are what holds now.
func (l *lane) limits() routes.Limits {
	if now := l.live.Load(); now != nil {
		return *now
	}
	return l.of.route.Limits()
}

// adopt gives the lanes of f the limits that rs say: the routes of f as another table has them.
func (f *flow) adopt(rs []*routes.Route) {
	for _, run := range f.routes {
		for _, r := range rs {
			if r.Name == run.route.Name {
				run.adopt(r.Limits())
			}
		}
	}
}

func (r *routeRun) adopt(now routes.Limits) {
	for _, l := range r.lanes {
		l.adopt(now)
	}
	if r.dead != nil {
		now.MaxRate, now.DrainRate = 0, 0 // as newDead has it
		r.dead.adopt(now)
	}
}

func (l *lane) adopt(now routes.Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.limits()
	if now == was {
		return
	}
	l.live.Store(&now)
	if now.MaxRate != was.MaxRate {
		l.pace = newPace(now.MaxRate)
	}
	if l.store != nil && now.DrainRate != was.DrainRate {
		l.store.drainAt(now.DrainRate)
	}
	signal(l.wake)
}

// drainAt bounds what is read out of the journal to so many messages a second; 0 = as many as go. lane.mu is held, or
// nobody else has b yet.
func (b *store) drainAt(perSecond int) {
	b.rate = nil
	if perSecond > 0 {
		b.rate = rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/10))
	}
}

// paced blocks until another record may be sent by drain_rate. Its error is that of ctx.
func (b *store) paced(ctx context.Context) error {
	b.l.mu.Lock()
	limit := b.rate
	b.l.mu.Unlock()
	if limit == nil {
		return nil
	}
	return limit.Wait(ctx)
}
