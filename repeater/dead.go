package repeater

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/routes"
)

// Dead letters. A route has one lane for them, ROUTE/dead-letter: with a target of its own, or, for a local one, without:
// then they stay in the journal until an operator decides. In both cases the message is settled at its source, or its
// record marked done, only when the lane has it (delivery.md, C12): synced to the journal, or without a journal confirmed
// by the target.

// deadLane is the name of a route's lane for dead letters.
const deadLane = routes.DeadLetterName

// A refusal is what is remembered of a message that the target has refused.
type refusal struct {
	times       int
	first, last time.Time
}

func (r *refusal) again(now time.Time) {
	if r.times++; r.times == 1 {
		r.first = now
	}
	r.last = now
}

// poison reports whether the target has refused it as often as the route permits; what can never be sent at all is poison
// at once.
func (l *lane) poison(it *item, reason string) bool {
	return l.final(reason) || it.refused.times >= max(1, l.limits().MaxAttempts)
}

// refuse decides about a message that the target, or the conversion for it, has refused.
func (l *lane) refuse(it *item, reason string, err error) {
	it.refused.again(time.Now())
	l.of.refused(it.source(), reason, it.refused.times, err)
	dead := l.of.dead
	if dead == nil || !it.settled && (l.of.route.OnPoison == routes.PoisonHold || !l.poison(it, reason)) {
		it.answer(itemRefused)
		return
	}
	dead.bury(it, reason, err)
}

// stopsAt reports whether the lane stops at it, which the target or the conversion for it has refused: in strict order
// nothing may pass it. A message that is poison stops it until an operator or the target changes, unless it may become a
// dead letter.
func (l *lane) stopsAt(it *item, reason string, err error) bool {
	route := l.of.route
	if route.Order != routes.OrderStrict {
		return false
	}
	next := it.refused
	next.again(time.Now())
	poison := l.final(reason) || next.times >= max(1, l.limits().MaxAttempts)
	if poison && route.OnPoison == routes.PoisonDeadLetter && l.of.dead != nil {
		return false
	}
	it.refused = next
	l.of.refused(it.source(), reason, next.times, err)
	if poison {
		l.mu.Lock()
		l.stuck, l.stuckAt, l.stuckFor = err, it.id, reason
		l.note(err)
		l.mu.Unlock()
	}
	return true
}

// freed notes that the target has taken a message: the lane stops at none.
func (l *lane) freed() {
	if l.of.route.Order != routes.OrderStrict {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = nil
	l.note(nil)
}

func (l *lane) isStuck() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stuck != nil
}

// bury makes it a dead letter. It gets its answer when the dead letter is durable.
func (l *lane) bury(it *item, reason string, err error) {
	it.unasked()
	own := *it.m
	m := &own
	m.Expires = 0 // it is not sent on; it must be there when somebody looks
	l.push([]*item{{
		m: m, size: it.size, at: it.at, lane: l, id: it.id, maybe: it.maybe || it.doubt, origin: it,
		dead: &bridge.Dead{
			Reason: reason, Text: err.Error(), Route: l.of.route.Name, Lane: it.lane.name, Source: it.origins(),
			Attempts: it.refused.times, First: it.refused.first.UnixMilli(), Last: it.refused.last.UnixMilli(),
		},
	}})
}

// origins names where a message came from: address and the source's own id.
func (it *item) origins() string {
	words := []string{it.lane.of.from}
	if id := it.source(); id != "" {
		words = append(words, id)
	}
	return strings.Join(words, " ")
}

// buried answers for the message of a dead letter.
func (it *item) buried(st itemState) {
	switch o := it.origin; st {
	case itemConfirmed:
		failpoint.Hit("C12")
		it.lane.of.count.dead(it.dead.Reason)
		if o.told != nil {
			o.told(itemBuried)
			return
		}
		o.answer(itemConfirmed)
	case itemReturned:
		o.answer(itemReturned)
	default: // the dead letter itself is refused: nothing else is left than to try again
		o.answer(itemRefused)
	}
}

// encodeDead makes the id of a dead letter's record: JSON that says why it is one.
func encodeDead(d *bridge.Dead) []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic("repeater: a dead letter's reason cannot be written as JSON: " + err.Error()) // strings and numbers only
	}
	return b
}

// DecodeDead returns why a record is a dead letter, from the record's id; nil if it is none.
func DecodeDead(id []byte) *bridge.Dead {
	d := new(bridge.Dead)
	if json.Unmarshal(id, d) != nil || d.Reason == "" {
		return nil
	}
	return d
}

// errLoop says that a message has been on this route before, or made too many hops.
var errLoop = errors.New("the message has passed this route before, or too many others")

// deadLanes runs the lanes for dead letters of a flow: those that send, and those that only keep what they get. wait ends them
// when all others have ended.
func (f *flow) deadLanes(run func(l *lane, ended func()), keep func(*lane) (end func())) (wait func()) {
	var wg sync.WaitGroup
	var ends []func()
	for _, r := range f.routes {
		switch {
		case r.dead == nil:
		case r.dead.local:
			ends = append(ends, keep(r.dead))
		default:
			wg.Add(1)
			run(r.dead, wg.Done)
		}
		if t := r.replies; t != nil && t.lane != nil && r.route.Asks != nil {
			wg.Add(1)
			run(t.lane, wg.Done)
		}
	}
	return func() {
		for _, end := range ends {
			end()
		}
		wg.Wait()
	}
}
