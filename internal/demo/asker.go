package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headCorrelation is where requests and replies carry their id: NATS has no field for it.
const headCorrelation = "posthouse-correlation-id"

// An asker makes numbered requests at one site, answers them at another, and counts the replies that come back. Neither
// client knows of the repeater between them. Safe for concurrent use.
type asker struct {
	at, there *site
	quit      context.CancelFunc
	failed    chan struct{} // closed at the first error
	ended     sync.WaitGroup

	mu      sync.Mutex
	err     error
	asked   []time.Time
	answers map[int]int // by request
	trips   []time.Duration
	wrong   int // replies that fit no request
}

// startAsker makes so many requests a second at the site at, which a responder at the site there answers. Whoever starts it
// calls finish, which ends the requests, and close, which ends all of it.
func startAsker(ctx context.Context, at, there *site, rate int) (a *asker, end func(), err error) {
	a = &asker{at: at, there: there, failed: make(chan struct{}), answers: map[int]int{}}
	stopResponder, err := there.follow(ctx, tq1, a.respond)
	if err != nil {
		return nil, nil, err
	}
	stopReplies, err := at.follow(ctx, tq2, a.reply)
	if err != nil {
		stopResponder()
		return nil, nil, err
	}
	asking, quit := context.WithCancel(ctx)
	a.quit = quit
	a.ended.Go(func() { a.ask(asking, time.Second/time.Duration(rate)) })
	return a, func() { _ = a.finish(); stopResponder(); stopReplies() }, nil
}

// finish makes no more requests.
func (a *asker) finish() error {
	a.quit()
	a.ended.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// fail keeps the first error.
func (a *asker) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
		close(a.failed)
	}
}

// ask makes a request at each tick until ctx ends.
func (a *asker) ask(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		a.asked = append(a.asked, time.Now())
		a.mu.Unlock()
		m := &nats.Msg{Subject: strings.ToLower(sq1), Header: nats.Header{}, Data: body(uint64(n), minSize)}
		m.Header.Set(headCorrelation, fmt.Sprint("q", n))
		if _, err := a.at.js.PublishMsg(context.WithoutCancel(ctx), m); err != nil {
			a.fail(fmt.Errorf("make request %d at %s: %w", n, a.at.name, err))
			return
		}
	}
}

// respond answers a request as any responder does: the reply has the correlation id of its request.
func (a *asker) respond(request jetstream.Msg) {
	m := &nats.Msg{Subject: strings.ToLower(sq2), Header: nats.Header{}, Data: request.Data()}
	m.Header.Set(headCorrelation, request.Headers().Get(headCorrelation))
	if _, err := a.there.js.PublishMsg(context.Background(), m); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		a.fail(fmt.Errorf("answer a request at %s: %w", a.there.name, err))
	}
}

// reply counts a reply. It has to carry the id and the body of a request.
func (a *asker) reply(m jetstream.Msg) {
	number, whole := number(m.Data())
	a.mu.Lock()
	defer a.mu.Unlock()
	n := int(min(number, maxNumber))
	if !whole || n >= len(a.asked) || m.Headers().Get(headCorrelation) != fmt.Sprint("q", n) {
		a.wrong++
		return
	}
	if a.answers[n]++; a.answers[n] == 1 {
		a.trips = append(a.trips, time.Since(a.asked[n]))
	}
}

// count returns what is known by now.
func (a *asker) count() (r Requests) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Asked, r.Answered, r.Wrong = len(a.asked), len(a.answers), a.wrong
	r.Unanswered = r.Asked - r.Answered
	for _, n := range a.answers {
		r.Repeated += n - 1
	}
	if trips := slices.Sorted(slices.Values(a.trips)); len(trips) > 0 {
		r.P50, r.P99 = trips[len(trips)/2].Seconds(), trips[len(trips)*99/100].Seconds()
	}
	return r
}
