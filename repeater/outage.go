package repeater

import (
	"fmt"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Exactly-once into a target that remembers ids for a time (delivery.md, section 5, "Time windows"). What was sent and
// got no answer is sent again with its id, and the target drops what it has. After routes.Route.Outage it may have
// forgotten the id: then nobody can find out, and the lane holds the message and all behind it until an operator says
// what became of it. What may have been sent in an earlier life of the repeater counts from its reception.

// errDoubt says why a lane holds.
var errDoubt = fmt.Errorf("messages that were sent got no answer, and the outage was longer than the target is sure to remember them: "+
	"look whether they have arrived, then posthouse resolve ROUTE/TARGET %s or %s", Sent, Resend)

// inDoubt reports whether it may have arrived and the target may have forgotten it. l.mu is held.
func (l *lane) inDoubt(it *item) bool {
	if l.outage == 0 || !it.record() || !l.store.unsure[it.seq] || l.verdict.on(it) {
		return false
	}
	if it.tried.IsZero() { // in an earlier life: the clock of the wall is all there is, and it must be plausible
		now, suspect := l.clock.read()
		age := now.Sub(it.at)
		return suspect || age < 0 || age > l.outage
	}
	return time.Since(it.tried) > l.outage
}

// doubts reports whether the head of the queue is in doubt: nothing is sent then. l.mu is held.
func (l *lane) doubts() bool { return len(l.queue) > 0 && l.inDoubt(l.queue[0]) }

// tries notes that its are handed over, for the first time as far as nobody knows of another. l.mu is not held.
func (l *lane) tries(its []*item, now time.Time) {
	if l.outage == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range its {
		if it.tried.IsZero() && !l.store.unsure[it.seq] {
			it.tried = now
		}
	}
}

// resolveDoubt rules about what the lane holds in doubt.
func (l *lane) resolveDoubt(a Action, reason string) (n int, why error, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.queue {
		if l.inDoubt(it) {
			l.verdict.add(a, reason, "", it.seq)
			n++
		}
	}
	if n == 0 {
		return 0, nil, fmt.Errorf("%w: no message of unknown outcome", ErrNotHeld)
	}
	signal(l.wake)
	l.note(nil)
	return n, errDoubt, nil
}

// forget makes it one that was never sent. l.mu is held.
func (b *store) forget(it *item) {
	it.tried = time.Time{}
	delete(b.unsure, it.seq)
	delete(b.firsts, it.seq)
}

// outageOf is how long an outage may last before what is unknown is held; 0 for lanes that hold nothing for that.
func outageOf(l *lane) time.Duration {
	if l.caps.Target != adapters.ClassWindow {
		return 0
	}
	return l.of.route.Outage(&l.target)
}
