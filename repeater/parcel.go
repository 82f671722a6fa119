package repeater

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
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

	items []*item
	open  atomic.Int32 // items without an answer
	begun atomic.Int32 // whether a lane has begun to send it, or has given it back

	unwanted bool // refused by a route before any of its lanes saw it
}

// An item is a parcel in one lane.
type item struct {
	p     *parcel
	lane  *lane
	id    string // posthouse-id: the same on every retry
	maybe bool   // sent before, outcome unknown
	noted bool   // the notes of its conversion are counted
	state itemState
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
	itemOpen      itemState = iota
	itemConfirmed           // the target has it
	itemRefused             // the target will never take it
	itemReturned            // not sent: the repeater is stopping
)

// answer notes what became of it and, when it was the last of its parcel, decides about the settle.
func (it *item) answer(st itemState) {
	it.state = st // read by conclude only, behind the counter
	if it.p.open.Add(-1) == 0 {
		it.p.conclude()
	}
}

// refuse marks p as refused on route r before any lane saw it.
func (p *parcel) refuse(r *routeRun, reason string, err error) {
	p.unwanted = true
	r.refused(p, reason, err)
}

// conclude decides the settle of p: Accepted only if every lane has confirmed it.
func (p *parcel) conclude() {
	var confirmed, refused, returned bool
	for _, it := range p.items {
		confirmed = confirmed || it.state == itemConfirmed
		refused = refused || it.state == itemRefused
		returned = returned || it.state == itemReturned
	}
	switch {
	case returned:
		p.s.ready(p, adapters.Released)
	case refused || p.unwanted:
		if p.s.park() {
			go p.park(confirmed)
		}
	default:
		p.s.ready(p, adapters.Accepted)
	}
}

// park keeps a refused parcel for a pause, so that it cannot spin between source and target. Then it goes back to its
// source; but if another lane has confirmed it, only the lanes that refused it get it again, or the others would have
// it twice. Where there is no such lane, it is held until the repeater stops.
func (p *parcel) park(confirmed bool) {
	defer p.s.parked.Done()
	full := p.pause()
	for full && confirmed && p.unwanted {
		full = p.pause()
	}
	if !full || !confirmed {
		p.s.ready(p, adapters.Released)
		return
	}
	var again []*item
	for _, it := range p.items {
		if it.state == itemRefused {
			it.state = itemOpen
			again = append(again, it)
		}
	}
	p.open.Store(int32(len(again)))
	for _, it := range again {
		it.lane.push([]*item{it})
	}
}

// pause waits out the longest retry delay of the routes concerned and reports whether it did: it ends early when the
// repeater stops or the session dies.
func (p *parcel) pause() bool {
	t := time.NewTimer(jittered(p.f.pause(), 0.2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
	case <-p.s.gone:
	}
	return false
}
