package repeater

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// An Action is what an operator decides about what a lane holds.
type Action string

// The actions. Retry and DeadLetter are for messages that the target refuses; Sent and Resend for messages that may have
// arrived while nobody can find out.
const (
	Retry      Action = "retry"       // try them now, not after the pause
	DeadLetter Action = "dead-letter" // set them aside and go on
	Sent       Action = "sent"        // they have arrived: forget them
	Resend     Action = "resend"      // they have not: send them
)

// Actions lists them.
func Actions() []Action { return []Action{Retry, DeadLetter, Sent, Resend} }

// Why Resolve did nothing.
var (
	ErrNoLane   = errors.New("no lane of that name runs here")
	ErrNotHeld  = errors.New("the lane holds nothing that could be resolved so")
	ErrNoPlace  = errors.New("dead letters have no place: the file has no spool, and the route no dead_letter")
	ErrNoAction = errors.New("no such action")
	ErrReason   = errors.New("a reason of 1 to 500 characters is needed")
)

// mostReason bounds what goes into a log line and the header of a dead letter.
const mostReason = 500

// Resolve does with what a lane, ROUTE/TARGET, holds what an operator has decided, and returns how many messages that
// concerns. It does not wait for what comes of it: status shows that, and dead letters are durable before the messages
// are let go. Each decision is logged with its reason. Its errors are those above.
func (r *Repeater) Resolve(ctx context.Context, lane string, a Action, reason string) (n int, err error) {
	l := r.lane(lane)
	reason = strings.Join(strings.Fields(reason), " ") // one line
	switch {
	case l == nil:
		return 0, fmt.Errorf("%q: %w", lane, ErrNoLane)
	case reason == "" || utf8.RuneCountInString(reason) > mostReason:
		return 0, ErrReason
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	n, why, err := l.resolve(a, reason)
	if err != nil {
		return 0, fmt.Errorf("lane %s: %w", lane, err)
	}
	l.log.Warn(msgResolved, "lane", lane, "action", string(a), "messages", n, "reason", reason, "err", why)
	return n, nil
}

// lane finds one by its name, those for dead letters too; nil if there is none.
func (r *Repeater) lane(name string) *lane {
	for _, f := range r.flows() {
		for _, run := range f.routes {
			for _, l := range run.lanes {
				if l.name == name {
					return l
				}
			}
			if run.dead != nil && run.dead.name == name {
				return run.dead
			}
		}
	}
	return nil
}

// resolve also returns why the messages are held.
func (l *lane) resolve(a Action, reason string) (n int, why error, err error) {
	switch a {
	case Retry, DeadLetter:
		return l.resolveRefused(a, reason)
	case Sent, Resend:
		return l.resolveDoubt(a, reason)
	}
	return 0, nil, fmt.Errorf("%w: %q", ErrNoAction, a)
}

// resolveRefused is for the message that the lane stops at, and for those that it has set aside.
func (l *lane) resolveRefused(a Action, reason string) (n int, why error, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	why, b := l.reason, l.store
	if l.alarm != nil && a == Retry {
		why = l.alarm
		return l.resume(), why, nil
	}
	switch {
	case l.stuck == nil && (b == nil || len(b.held) == 0):
		return 0, nil, fmt.Errorf("%w: no message that the target has refused", ErrNotHeld)
	case a == DeadLetter && l.of.dead == nil:
		return 0, nil, ErrNoPlace
	}
	if l.stuck != nil {
		n, why = 1, l.stuck
		l.verdict.add(a, reason, l.stuckAt, 0)
		signal(l.nudge)
	}
	if b != nil {
		n += b.releaseHeld(a, reason)
	}
	return n, why, nil
}

// releaseHeld makes all that is set aside due. lane.mu is held.
func (b *store) releaseHeld(a Action, reason string) (n int) {
	for seq := range b.held {
		b.held.set(seq, time.Now())
		b.l.verdict.add(a, reason, "", seq)
		n++
	}
	signal(b.room)
	return n
}

// A verdict is what an operator has decided, until the messages concerned come to the head of their lane. lane.mu guards
// it.
type verdict struct {
	ids    map[string]Action // for messages that the lane stops at
	seqs   map[uint64]Action // for records
	reason string
}

// add notes a decision about the message with an id, or the record with a seq. To retry needs no note.
func (v *verdict) add(a Action, reason, id string, seq uint64) {
	if a == Retry {
		return
	}
	if v.ids == nil {
		v.ids, v.seqs = map[string]Action{}, map[uint64]Action{}
	}
	if v.reason = reason; seq != 0 {
		v.seqs[seq] = a
	} else {
		v.ids[id] = a
	}
}

// on reports whether there is a decision about a record.
func (v *verdict) on(it *item) bool { return it.record() && v.seqs[it.seq] != "" }

// take returns what was decided about it, and forgets it; "" for nothing.
func (v *verdict) take(it *item) Action {
	a := v.ids[it.id]
	if v.on(it) {
		a = v.seqs[it.seq]
		delete(v.seqs, it.seq)
	}
	delete(v.ids, it.id)
	return a
}

// ruled carries out what an operator has decided about a message that is about to be sent, and reports whether it is not
// to be sent.
func (l *lane) ruled(it *item) bool {
	l.mu.Lock()
	a, reason := l.verdict.take(it), l.verdict.reason
	code, why := reasonRejected, l.reason
	if a == DeadLetter && l.stuck != nil && l.stuckAt == it.id {
		code, why = l.stuckFor, l.stuck
		l.stuck = nil
		l.note(nil)
	}
	if a == Resend {
		l.store.forget(it)
	}
	l.mu.Unlock()
	switch a {
	case DeadLetter:
		l.of.dead.bury(it, code, errResolved{reason, why})
	case Sent:
		it.answer(itemConfirmed)
	default:
		return false
	}
	l.landed(1)
	l.work(true) // it may have been the last: then an attached target is all that can be known to work
	return true
}

// errResolved is why a message is a dead letter that an operator has given up.
type errResolved struct {
	reason string
	err    error // of the target; nil if it is not known any more
}

func (e errResolved) Error() string {
	s := "given up by an operator: " + e.reason
	if e.err != nil {
		s += "; before: " + e.err.Error()
	}
	return s
}

func (e errResolved) Unwrap() error { return e.err }
