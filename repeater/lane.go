package repeater

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// A lane is one route × one target: the unit of order. Its items are sent in the order in which they were pushed, with
// at most InFlight unconfirmed. After a failure everything without an answer is sent again, first and in its order,
// with the same ids; so a lost link does not reorder. Only a message that the target itself refuses leaves its place.
type lane struct {
	name    string // ROUTE/TARGET
	of      *routeRun
	target  routes.Target
	adapter adapters.Adapter
	cfg     adapters.Config
	caps    adapters.Capabilities
	gate    *gate
	end     *end
	ids     *laneIDs
	now     func() time.Time
	log     *slog.Logger
	count   *laneCounts
	shared  bool // other lanes serve the same source: a message may be with one target and not yet with another

	back   backoff // between tries on a working connection
	streak int     // failures in a row

	mu     sync.Mutex
	queue  []*item // not sent
	flying int     // sent, without an answer
	closed bool
	wake   chan struct{} // new items, or room in the window
}

// push takes items in order. It never blocks: the source's prefetch bounds what can come.
func (l *lane) push(its []*item) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.queue = append(l.queue, its...)
	}
	l.mu.Unlock()
	if closed {
		answerAll(its, itemReturned)
		return
	}
	signal(l.wake)
}

// run keeps a target open and sends, until stop ends; what is in flight then may finish until work ends.
func (l *lane) run(stop, work context.Context) {
	defer l.close()
	for stop.Err() == nil {
		var t adapters.Target
		err := l.gate.open(stop, l.end, func(ctx context.Context) (err error) {
			t, err = openBounded(ctx, func() (adapters.Target, error) { return l.adapter.OpenTarget(ctx, l.cfg, l.target.Addr) })
			return err
		})
		if err != nil {
			return
		}
		l.end.attached(t)
		for l.use(stop, work, t) {
		}
		closeBounded(t)
	}
}

// use sends through t until something fails or stop ends, then waits as the failure's fate says. It reports whether t
// can be used again.
func (l *lane) use(stop, work context.Context, t adapters.Target) bool {
	s := newSending(l, t, l.streak > 0)
	err := s.run(stop, work)
	if err == nil || stop.Err() != nil {
		return false
	}
	kind := adapters.KindOf(err)
	if kind == adapters.Other {
		l.count.unclassified.Add(1)
		l.log.Error(msgUnclass, "err", err)
	}
	if s.confirmed() {
		l.streak = 0
		l.back.reset()
	}
	l.streak++
	f := fateOf(kind)
	l.end.failed(l.linkAfter(f), err)
	if kind == adapters.Lost {
		l.gate.lost()
	}
	l.rest(stop, f.pause)
	return !f.reopen && stop.Err() == nil
}

// linkAfter is the state after a failure; three in a row on a working connection are a blocked link.
func (l *lane) linkAfter(f fate) LinkState {
	if f.link == LinkUp && l.streak >= 3 {
		return LinkBlocked
	}
	return f.link
}

func (l *lane) rest(stop context.Context, p pause) {
	switch p {
	case pauseRetry:
		wait(stop, l.back.next())
	case pauseSlow:
		wait(stop, jittered(l.gate.slow, 0.2))
	}
}

// close gives back what was not sent.
func (l *lane) close() {
	l.mu.Lock()
	its := l.queue
	l.queue, l.closed = nil, true
	l.mu.Unlock()
	answerAll(its, itemReturned)
}

// cut takes the next batch from the head of the queue: at most the batch's count and size, what the window has room for,
// and a single message while probing. Items of a dead session are dropped: their broker gives them out again. While
// stopping only what some lane has begun to send is taken; the rest goes back to its source. It also reports whether
// more is left.
func (l *lane) cut(probing, stopping bool) (its []*item, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stopping {
		l.queue = slices.DeleteFunc(l.queue, func(it *item) bool { return l.giveBack(it, it.p.renounce()) })
	}
	limit := min(l.of.route.Batch.Count, l.of.route.InFlight-l.flying)
	if probing {
		limit = min(limit, 1-l.flying)
	}
	its = l.batch(limit)
	l.flying += len(its)
	return its, len(l.queue) > 0
}

// giveBack answers for it, if so decided, as for one that is not sent.
func (l *lane) giveBack(it *item, yes bool) bool {
	if yes {
		it.answer(itemReturned)
	}
	return yes
}

// batch removes the first items, at most limit. l.mu is held.
func (l *lane) batch(limit int) (its []*item) {
	var bytes int64
	n := 0
	for ; n < len(l.queue) && len(its) < limit; n++ {
		it := l.queue[n]
		if len(its) > 0 && bytes+it.p.size > l.of.route.Batch.Size {
			break
		}
		if it.p.s.isDead() || l.giveBack(it, !it.p.begin()) {
			continue
		}
		bytes += it.p.size
		its = append(its, it)
	}
	clear(l.queue[:n]) // or the array would keep the messages in memory
	l.queue = l.queue[n:]
	return its
}

// purge drops what dead sessions have left: a target that is away must not make their messages pile up.
func (l *lane) purge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(it *item) bool { return it.p.s.isDead() })
}

// landed notes that n sent items have an answer, or are back in the queue.
func (l *lane) landed(n int) {
	l.mu.Lock()
	l.flying -= n
	l.mu.Unlock()
	signal(l.wake)
}

// again puts items back at the head of the queue, in their order.
func (l *lane) again(its []*item) {
	if len(its) == 0 {
		return
	}
	l.mu.Lock()
	l.queue = append(its[:len(its):len(its)], l.queue...)
	l.mu.Unlock()
}

// waiting returns how many items are not sent, and how many are sent without an answer.
func (l *lane) waiting() (queued, flying int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue), l.flying
}

// fitted is what convert made of an item.
type fitted struct {
	m     *adapters.Message
	notes []bridge.Note
	err   error
}

// convert is step 3 of the flow for one target: the messages as the target's protocol can hold them.
func (l *lane) convert(its []*item) []fitted {
	fs := make([]fitted, len(its))
	for i, it := range its {
		fs[i].m, fs[i].notes, fs[i].err = l.fit(it)
	}
	return fs
}

// fitted answers for an item that cannot be sent, and reports whether it can.
func (l *lane) fitted(it *item, f fitted) bool {
	if len(f.notes) > 0 && !it.noted {
		it.noted = true
		l.of.count.noted(f.notes)
	}
	switch {
	case f.err == nil:
		return true
	case errors.Is(f.err, bridge.ErrExpired):
		l.of.count.expired.Add(1)
		it.answer(itemConfirmed)
	default:
		l.of.refused(it.p, unsendable(f.err), f.err)
		it.answer(itemRefused)
	}
	l.landed(1)
	return false
}

// fit makes the message that is sent: Posthouse's identity, the record key, the target's header conventions.
func (l *lane) fit(it *item) (*adapters.Message, []bridge.Note, error) {
	own := *it.p.m // Fit clones what it changes
	m := &own
	m.Track.ID, m.Track.MaybeDup = it.id, it.maybe || m.Track.MaybeDup
	if m.Track.Origin == "" {
		m.Track.Origin = it.id
	}
	m.Track.Path = append(slices.Clip(m.Track.Path), l.of.hop)
	if l.target.Key != nil {
		key, err := l.target.Key.String(it.p.m, l.of.route.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("key: %w", errExpression{err})
		}
		m.Key = []byte(key)
	}
	if l.of.route.Expired == routes.ExpiredDeliver && m.Expires != 0 && m.Expires <= l.now().UnixMilli() {
		m.Expires = 0 // the route says that a late message is still wanted
	}
	return bridge.Fit(m, l.caps.Headers, bridge.Options{}, l.now())
}

// errExpression marks a failure of an expression of the operator's.
type errExpression struct{ error }

// unsendable names why a message cannot be made into one for the target.
func unsendable(err error) string {
	var x errExpression
	switch {
	case errors.As(err, &x):
		return reasonFilter
	case errors.Is(err, adapters.ErrTooLarge):
		return reasonTooLarge
	}
	return reasonInvalid
}

// refusal names why the target does not take a message.
func refusal(err error) string {
	if errors.Is(err, adapters.ErrTooLarge) {
		return reasonTooLarge
	}
	return reasonRejected
}

func answerAll(its []*item, st itemState) {
	for _, it := range its {
		it.answer(st)
	}
}
