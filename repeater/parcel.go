package repeater

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// A parcel is one delivery on its way: it knows which lanes have to answer for it before it can be settled.
type parcel struct {
	ctx  context.Context // ends when receiving stops: a pause is not waited out at shutdown
	d    adapters.Delivery
	m    *adapters.Message // canonical
	s    *session
	f    *flow
	at   time.Time // received
	size int64

	mu    sync.Mutex // guards final, and state, twin and dropped of its items
	items []*item
	final bool         // how it is to be settled is decided
	first bool         // it is settled before it is sent
	open  atomic.Int32 // items without an answer
	begun atomic.Int32 // whether a lane has begun to send it, or has given it back

	arrived  func() // when all its lanes have it; nil: nothing is to be done then
	done     func() // when it is settled as accepted; nil: nothing is to be done then
	backed   func() // when it goes back to its source, before that knows; nil: nothing is to be done then
	unwanted bool   // refused by a route before any of its lanes saw it
}

// An item is a message in one lane: of a parcel that waits to be settled, or of a record of the journal.
type item struct {
	m       *adapters.Message
	size    int64
	at      time.Time // received
	lane    *lane
	id      string      // posthouse-id: the same on every retry
	maybe   bool        // sent before, outcome unknown
	key     string      // that its order hangs on, in a lane with order per-key
	doubt   bool        // its record may have been sent, or become a dead letter, in an earlier life
	certain bool        // its record was written when no second send needed a flag
	noted   bool        // the notes of its conversion are counted
	handed  atomic.Bool // to a target, with whatever outcome
	span    trace.Span  // that is open for it; nil: none is
	state   itemState

	settled  bool   // its source has been told: nobody gives it out again, and nothing is sent twice
	unmarked bool   // it was a record, whose done mark may not be on disk: it must not be sent before
	rec      uint64 // of its record in the journal that waits for the settle, 0 if none does
	twin     *item  // of a later delivery of the same message: gets the same answer
	dropped  bool   // gone, and no lane has it any more

	refused refusal   // by the target
	tried   time.Time // first handed over, as far as it is known; see outage.go

	p   *parcel // nil: it comes from the journal, or is a dead letter
	seq uint64  // of its record in the journal; 0: it has none

	unfit string // why it goes to the dead letters before any lane saw it, "" otherwise
	why   error  // with unfit

	told   func(itemState) // of a message that an operator has sent again: gets the answer; nil: it is not that
	origin *item           // of a dead letter: what waits for it to be durable; nil once it is
	dead   *bridge.Dead    // of a dead letter: why it is one
}

// record reports whether it is read from the journal, and can be read again.
func (it *item) record() bool { return it.seq != 0 }

// gone reports whether nobody waits for it any more: its broker gives it out again. Then it must be dropped.
func (it *item) gone() bool {
	if it.origin != nil {
		return it.origin.gone()
	}
	if it.p == nil || it.settled || it.entry() || !it.p.s.isDead() {
		return false
	}
	it.p.mu.Lock()
	defer it.p.mu.Unlock()
	if it.dropped = it.twin == nil; it.dropped {
		it.unasked()
	}
	return it.dropped
}

// begin reports whether it may be sent, or written to the journal.
func (it *item) begin() bool { return it.p == nil || it.settled || it.p.begin() }

// renounce reports whether it will never be sent in this run. A record stays in the journal.
func (it *item) renounce() bool { return !it.settled && (it.p == nil || it.p.renounce()) }

// source names it for the log: the source's own id, or the one that it has here.
func (it *item) source() string {
	if it.p != nil {
		return it.p.d.SourceID
	}
	return it.id
}

// What becomes of a parcel while the repeater stops is the same in all its lanes.
const (
	begunNot   int32 = iota
	begunYes         // a lane has begun to send it: the others try to finish
	begunNever       // a lane has given it back unsent: no other begins
)

// begin reports whether p may be sent.
func (p *parcel) begin() bool {
	return p.begun.CompareAndSwap(begunNot, begunYes) || p.begun.Load() == begunYes
}

// renounce reports whether p will never be sent.
func (p *parcel) renounce() bool {
	return p.begun.CompareAndSwap(begunNot, begunNever) || p.begun.Load() == begunNever
}

type itemState uint8

const (
	itemOpen       itemState = iota
	itemConfirmed            // the target has it, or the journal
	itemRefused              // the target will never take it
	itemReturned             // not sent: the repeater is stopping
	itemTurnedAway           // no room in the spool, and the route says reject
	itemBuried               // it has become a dead letter; only for those who ask (item.told)
)

// answer notes what became of it and, when it was the last of its parcel, decides about the settle.
func (it *item) answer(st itemState) {
	switch {
	case it.told != nil:
		it.told(st)
		return
	case it.origin != nil:
		it.buried(st)
		return
	case it.settled:
		it.answeredSettled(st)
		return
	case it.p == nil:
		it.lane.store.answered(it, st)
		return
	}
	twin := it.note(st)
	if it.p.open.Add(-1) == 0 {
		it.p.conclude()
	}
	twin.answerLike(it, st)
}

// note keeps the answer, and returns the twin that gets it too: not one that the session still tries again.
func (it *item) note(st itemState) (twin *item) {
	it.p.mu.Lock()
	defer it.p.mu.Unlock()
	it.state = st
	if st == itemConfirmed || st == itemReturned || it.p.s.isDead() {
		twin, it.twin = it.twin, nil
	}
	return twin
}

// answerLike answers for it, if there is one, as was answered for o.
func (it *item) answerLike(o *item, st itemState) {
	if it != nil {
		if it.rec = o.rec; it.lane.sameRoute(o.lane) { // else its route was started again, and it is its heir's already
			it.lane = o.lane
		}
		it.answer(st)
	}
}

// ready says how p is to be settled. What still waits for its answer as a twin goes back to the source.
func (p *parcel) ready(o adapters.Outcome) {
	p.mu.Lock()
	p.final = true
	var left []*item
	for _, it := range p.items {
		if it.twin != nil {
			left = append(left, it.twin)
			it.twin = nil
		}
	}
	p.mu.Unlock()
	if o != adapters.Accepted && p.backed != nil {
		p.backed()
	}
	p.s.ready(p, o)
	answerAll(left, itemReturned)
}

// refuse makes p a dead letter of route r before any lane of it saw it; without dead letters it is marked as unwanted.
func (p *parcel) refuse(r *routeRun, reason string, err error) {
	r.refused(p.d.SourceID, reason, 1, err)
	if r.dead == nil {
		p.unwanted = true
		return
	}
	it := &item{p: p, m: p.m, size: p.size, at: p.at, lane: r.dead, id: r.dead.ids.next(), unfit: reason, why: err}
	it.refused.again(p.at)
	p.items = append(p.items, it)
}

// conclude decides the settle of p: Accepted only if every lane has confirmed it.
func (p *parcel) conclude() {
	var confirmed, refused, returned, away bool
	for _, it := range p.items {
		away = away || it.state == itemTurnedAway
		confirmed = confirmed || it.state == itemConfirmed
		refused = refused || it.state == itemRefused
		returned = returned || it.state == itemReturned
	}
	switch {
	case returned:
		p.withdraw()
		p.ready(adapters.Released)
	case away && !confirmed && !refused:
		p.ready(adapters.Rejected)
	case away || refused || p.unwanted: // what some lane has must not be handed back: only the others try again
		if p.s.park() {
			go p.park(confirmed)
		}
	default:
		if p.arrived != nil {
			p.arrived()
		}
		p.ready(adapters.Accepted)
	}
}

// park keeps a refused parcel for a pause, so that it cannot spin between source and target. Then it goes back to its
// source; but where refusals are counted, or another lane has confirmed it, only the lanes that refused it get it again:
// the others would have it twice. Where there is no such lane, it is held until the repeater stops.
func (p *parcel) park(confirmed bool) {
	defer p.s.parked.Done()
	again := p.refusedItems()
	keep, rest := confirmed, p.f.pause()
	for i, it := range again {
		if it.lane.of.dead != nil {
			keep = true
		}
		if d := it.lane.aside(it); it.state == itemRefused && (i == 0 || d < rest) {
			rest = d
		}
	}
	full := p.pause(rest)
	for full && keep && len(again) == 0 {
		full = p.pause(rest)
	}
	if !full || !keep {
		p.ready(adapters.Released)
		return
	}
	for _, it := range again {
		it.state = itemOpen
	}
	p.open.Store(int32(len(again)))
	for _, it := range again {
		it.lane.push([]*item{it})
	}
}

// refusedItems are those that have to be tried again.
func (p *parcel) refusedItems() (its []*item) {
	for _, it := range p.items {
		if it.state == itemRefused || it.state == itemTurnedAway {
			its = append(its, it)
		}
	}
	return its
}

// pause waits for d and reports whether it did: it ends early when the repeater stops or the session dies.
func (p *parcel) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
	case <-p.s.gone:
	}
	return false
}
