package repeater

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// A lane is one route × one target: the unit of order. Its items are sent in the order in which they were pushed, with
// at most InFlight unconfirmed. After a failure everything without an answer is sent again, first and in its order,
// with the same ids; so a lost link does not reorder. Only a message that the target itself refuses leaves its place.
type lane struct {
	name    string      // ROUTE/TARGET
	turns   *succession // its targets with distribute: failover; nil: it has one (failover.go)
	away    atomic.Bool // its target is down (moving.go)
	idles   atomic.Bool // an operator has paused it
	of      *routeRun
	*reach  // its target, or the first of them
	end     *end
	ids     *laneIDs
	clock   *clock
	log     *slog.Logger
	count   *laneCounts
	replies *replies        // whose entries it keeps; nil: it is not that
	local   bool            // it has no target: what is in its journal stays there
	tx      bool            // it sends transactions (tx.go)
	losses  fold            // of lines about messages that are lost
	key     adapters.Secret // seals the path of what is sent; zero: there is none
	shared  bool            // other lanes serve the same source: a message may be with one target and not yet with another

	live    atomic.Pointer[routes.Limits] // since a reload changed them; nil: those of the route (limits.go)
	outage  time.Duration                 // after which unknown messages are held; 0: they are not (outage.go)
	pace    *pace                         // nil: as fast as the target takes them
	back    backoff                       // between tries on a working connection
	streak  int                           // failures in a row
	strayed bool                          // the last broker that it found was another one

	mu     sync.Mutex
	store  *store  // its part of the journal; nil: it has none
	queue  []*item // to be sent
	flying int     // sent, without an answer
	closed bool
	shown  string        // the state that was logged last
	since  time.Time     // since when
	reason error         // of the last trouble of its store
	stuck  error         // what a message was refused with that the lane stops at
	fenced error         // another sender has taken the lane over
	alarm  error         // it is paused for it (alarm.go)
	meant  errCircle     // that an operator has let it go on with
	told   *Standing     // an operator has paused it (orders.go); nil: nobody has
	ebbs   bool          // and its source is not read: what it has not begun to send goes back there
	rounds rounds        // what it has sent lately
	wake   chan struct{} // new items, or room in the window

	stuckAt  string        // the id of that message
	stuckFor string        // the code of the reason
	verdict  verdict       // on it, and on what is set aside
	nudge    chan struct{} // the pause is over: an operator says so
}

// window is how many messages may be sent and not yet confirmed.
func (l *lane) window() int { return l.of.route.Window(&l.target) }

// push takes items in order. It never blocks: the source's prefetch bounds what can come.
func (l *lane) push(its []*item) {
	l.mu.Lock()
	closed := l.closed
	switch {
	case closed:
	case l.store.takes():
		l.store.incoming = append(l.store.incoming, its...)
		l.store.grow.kick()
	default:
		l.queue = append(l.queue, its...)
		signal(l.wake)
	}
	if l.ebbs {
		l.ebb()
	}
	l.mu.Unlock()
	switch {
	case closed:
		answerAll(its, itemReturned)
	case l.isAway(): // it went down since it was chosen
		l.forsake()
	}
}

// keep keeps the lane's part of the journal until end, which closes the lane, or work ends.
func (l *lane) keep(work context.Context) (end func()) {
	b := l.store
	if b == nil {
		return l.close
	}
	work, over := context.WithCancel(work)
	b.grow.start(func() bool { return b.appendAll(work) })
	b.marks.start(func() bool { return b.markAll(work) })
	return func() {
		l.close()
		b.grow.kick() // it does not wait for anything any more, but for room, and for that not longer than work
		<-b.grow.over()
		over()
		b.marks.kick()
		<-b.marks.over()
	}
}

// idle reports whether there is nothing to send: then an attached target is all that can be known to work.
func (l *lane) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.store
	return len(l.queue) == 0 && (b == nil || len(b.incoming) == 0 && b.appending == 0 && b.waiting() == 0)
}

// linkAfter is the state after a failure; three in a row on a working connection are a blocked link.
func (l *lane) linkAfter(f fate) LinkState {
	if f.link == LinkUp && l.streak >= 3 {
		return LinkBlocked
	}
	return f.link
}

// slowPause is that of the gate; a message that the lane stops at is tried slowly from the start.
func (l *lane) slowPause() time.Duration {
	if l.isStuck() {
		return jittered(l.gateNow().slow, 0.2)
	}
	return l.gateNow().patience(l.streak - 1)
}

func (l *lane) rest(stop context.Context, p pause) {
	switch p {
	case pauseRetry:
		l.back.follow(l.limits().Retry)
		wait(stop, l.back.next())
	case pauseSlow:
		select {
		case <-time.After(l.slowPause()):
		case <-l.nudge:
		case <-stop.Done():
		}
	}
}

// close gives back what was not sent. With a spool, what some lane has begun to send goes to the journal instead, where
// it keeps its id; it is older than what is given back, so the order holds.
func (l *lane) close() {
	l.mu.Lock()
	its := l.recall()
	if b := l.store; b != nil && b.mode != routes.SpoolNever {
		b.incoming = slices.DeleteFunc(append(b.incoming, its...), func(it *item) bool { return l.giveBack(it, it.renounce()) })
		b.stored = b.stored || len(b.incoming) > 0
		its = nil
	} else if b != nil { // nothing more is written: what waits for the end of an old backlog goes back
		its, b.incoming = append(its, b.incoming...), nil
	}
	l.closed = true
	l.away.Store(true)
	l.mu.Unlock()
	answerAll(its, itemReturned)
}

// cut takes the next batch from the head of the queue: at most the batch's count and size, what the window has room for,
// and a single message while probing. What the journal does not yet know to be done counts as in flight, for a crash would
// repeat it. No more are taken than max_rate permits. Items of a dead session are dropped: their broker gives them out again. While
// stopping only what some lane has begun to send is taken; the rest goes back to its source. It also reports whether
// more is left.
func (l *lane) cut(probing, stopping bool, busy map[string]bool) (its []*item, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stopping {
		l.queue = slices.DeleteFunc(l.queue, func(it *item) bool { return l.giveBack(it, it.renounce()) })
	}
	limit := max(0, l.room(stopping))
	if probing {
		limit = min(limit, 1-l.flying)
	}
	its = l.batch(l.pace.room(min(limit, len(l.queue)), stopping), busy)
	l.pace.took(len(its))
	l.flying += len(its)
	return its, len(l.queue) > 0 && !(stopping && l.stands()) // a stop does not wait for an operator
}

// room is how many items the next batch may have. Of transactions there is one at a time. l.mu is held.
func (l *lane) room(stopping bool) int {
	b := l.store
	switch {
	case l.stands() && !(l.ebbs && b == nil && l.alarm == nil):
		return 0
	case b == nil:
		return min(l.limits().Batch.Count, l.window()-l.flying)
	case b.yielding && !stopping, l.tx && l.flying > 0:
		return 0
	case l.tx: // what the journal does not know, the target's position tells
		return l.window()
	}
	return min(l.limits().Batch.Count, l.window()-l.flying-b.uncertain())
}

// batchSize is how many bytes go together.
func (l *lane) batchSize() int64 {
	if l.tx {
		return txSize
	}
	return l.limits().Batch.Size
}

// giveBack answers for it, if so decided, as for one that is not sent. l.mu is held.
func (l *lane) giveBack(it *item, yes bool) bool {
	switch {
	case yes && it.record():
		l.store.unfeed(it)
	case yes:
		it.answer(itemReturned)
	}
	return yes
}

// batch removes the first items, at most limit. l.mu is held.
func (l *lane) batch(limit int, busy map[string]bool) (its []*item) {
	var bytes int64
	var stay []*item
	n := 0
	for ; n < len(l.queue) && len(its) < limit; n++ {
		it := l.queue[n]
		if len(its) > 0 && bytes+it.size > l.batchSize() {
			break
		}
		if l.inDoubt(it) {
			l.note(errDoubt)
			break
		}
		if it.gone() || l.giveBack(it, !it.begin()) {
			continue
		}
		if it.passedBy(busy) {
			stay = append(stay, it)
			continue
		}
		bytes += it.size
		its = append(its, it)
	}
	n -= copy(l.queue[n-len(stay):n], stay)
	clear(l.queue[:n]) // or the array would keep the messages in memory
	l.queue = l.queue[n:]
	return its
}

// purge drops what dead sessions have left: a target that is away must not make their messages pile up.
func (l *lane) purge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, (*item).gone)
	if b := l.store; b != nil {
		b.incoming = slices.DeleteFunc(b.incoming, (*item).gone)
	}
	signal(l.wake) // it may have nothing left to try
}

// landed notes that n sent items have an answer, or are back in the queue.
func (l *lane) landed(n int) {
	l.mu.Lock()
	l.flying -= n
	if b := l.store; b != nil && l.flying == 0 {
		if b.yielding {
			b.spill()
		}
		b.tryPass()
		l.note(nil)
	}
	l.mu.Unlock()
	signal(l.wake)
}

// again puts items back at the head of the queue, in their order. Records stay in the journal and are read again.
func (l *lane) again(its []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	back := l.parcels(its)
	l.queue = append(back, l.recall()...)
}

// fitted is what convert made of an item.
type fitted struct {
	m     *adapters.Message
	notes []bridge.Note
	err   error
	span  trace.Span // of the send; nil: there is no tracing
}

// convert is step 3 of the flow for one target: the messages as the target's protocol can hold them.
func (l *lane) convert(its []*item) []fitted {
	fs := make([]fitted, len(its))
	for i, it := range its {
		fs[i] = l.fit(it)
	}
	return fs
}

// fitted answers for an item that cannot be sent, and reports whether it can.
func (l *lane) fitted(it *item, f fitted) bool {
	if len(f.notes) > 0 && !it.noted {
		it.noted = true
		l.of.count.noted(f.notes)
	}
	if f.err != nil {
		endSpan(f.span, f.err)
	}
	switch {
	case f.err == nil:
		it.span = f.span
		return true
	case errors.Is(f.err, bridge.ErrExpired):
		l.expired(it, f.err)
	default:
		l.refuse(it, unsendable(f.err), f.err)
	}
	l.landed(1)
	return false
}

// expired does with a message whose time is over what the route says.
func (l *lane) expired(it *item, err error) {
	l.of.count.expired.Add(1)
	if dead := l.of.dead; dead != nil && l.of.route.Expired == routes.ExpiredDeadLetter {
		it.refused.again(time.Now())
		dead.bury(it, reasonExpired, err)
		return
	}
	it.answer(itemConfirmed)
}

// aside is how long a refused message waits before it is tried again: longer each time.
func (l *lane) aside(it *item) time.Duration {
	b := retrying(l.limits().Retry)
	b.failures = it.refused.times - 1
	if l.of.dead == nil || l.poison(it, reasonRejected) {
		return b.longest() // an operator has to mend it
	}
	return b.next()
}

// fit makes the message that is sent: Posthouse's identity, the record key, the target's header conventions.
func (l *lane) fit(it *item) (f fitted) {
	own := *it.m // Fit clones what it changes
	m := &own
	if f.err = l.direct(m); f.err != nil {
		return f
	}
	m.Track.ID, m.Track.MaybeDup = it.id, it.maybe || m.Track.MaybeDup
	if m.Track.Origin == "" {
		m.Track.Origin = it.id
	}
	m.Track.Path = append(slices.Clip(m.Track.Path), l.of.hop)
	if e := l.sendKey(); e != nil {
		key, err := e.String(it.m, l.of.route.Name)
		if err != nil {
			f.err = fmt.Errorf("key: %w", errExpression{err})
			return f
		}
		m.Key = []byte(key)
	}
	now, suspect := l.clock.read()
	if (l.of.route.Expired == routes.ExpiredDeliver || suspect) && m.Expires != 0 && m.Expires <= now.UnixMilli() {
		m.Expires = 0 // the route says that a late message is still wanted, or nobody knows whether it is late
	}
	o := l.conversion()
	o.Dead, o.ReplyTo, o.Key = it.dead, l.replyTo(it), l.key
	f.span = l.of.tracing.send(l, it, m)
	f.m, f.notes, f.err = bridge.Fit(l.asked(m, it), l.headers(), o, now)
	return f
}

// errExpression marks a failure of an expression of the operator's.
type errExpression struct{ error }

// unsendable names why a message cannot be made into one for the target.
func unsendable(err error) string {
	var x errExpression
	var failed *routes.EvalError
	var name *routes.NameError
	switch {
	case errors.As(err, &x), errors.As(err, &failed):
		return reasonFilter
	case errors.As(err, &name):
		return reasonTarget
	case errors.Is(err, adapters.ErrTooLarge):
		return reasonTooLarge
	}
	return reasonInvalid
}

// refusalOf names why the target does not take a message.
func refusalOf(err error) string {
	switch {
	case errors.Is(err, adapters.ErrTooLarge):
		return reasonTooLarge
	case errors.Is(err, adapters.ErrGone):
		return reasonGone
	}
	return reasonRejected
}

func answerAll(its []*item, st itemState) {
	for _, it := range its {
		it.answer(st)
	}
}
