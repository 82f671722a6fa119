package repeater

import (
	"fmt"
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// Order per key (delivery.md, section 8). At most one message of a key is sent and not confirmed; many keys are under way
// side by side. A message that the target refuses holds its key: it is in the journal, and what has the same key waits
// behind it there, while other keys pass. When it has gone its way, to the target or to the dead letters, the next of its
// key is due.

// What may wait before the lane itself stops.
const (
	mostKeys   = 1000
	mostParked = 100_000
	mostPassed = 4096 // behind the last mark: after a crash all records up to there are in doubt
)

// A line is what waits behind a refused record of one key.
type line struct {
	head   uint64   // the record that was refused, or is next
	parked []uint64 // rising
}

// lines are the keys that are held. lane.mu guards them.
type lines struct {
	byKey  sparse[string, *line]
	heads  sparse[uint64, string] // key by the head of its line
	parked sparse[uint64, bool]
}

func (q *lines) empty() bool { return len(q.byKey) == 0 }

func (q *lines) full() bool { return len(q.byKey) > mostKeys || len(q.parked) > mostParked }

// hold makes seq the head of its key's line.
func (q *lines) hold(key string, seq uint64) {
	if q.byKey[key] == nil {
		q.byKey.set(key, &line{head: seq})
		q.heads.set(seq, key)
	}
}

// behind reports whether seq has to wait behind another record of its key.
func (q *lines) behind(key string, seq uint64) bool {
	l := q.byKey[key]
	return l != nil && l.head != seq
}

// park puts seq into the line of its key.
func (q *lines) park(key string, seq uint64) {
	l := q.byKey[key]
	if i, there := slices.BinarySearch(l.parked, seq); !there {
		l.parked = slices.Insert(l.parked, i, seq)
		q.parked.set(seq, true)
	}
}

// next takes seq, if it is the head of a line, out of it, and returns the one behind it; 0 if there is none.
func (q *lines) next(seq uint64) uint64 {
	key, is := q.heads[seq]
	if !is {
		return 0
	}
	delete(q.heads, seq)
	l := q.byKey[key]
	if len(l.parked) == 0 {
		delete(q.byKey, key)
		return 0
	}
	l.head, l.parked = l.parked[0], l.parked[1:]
	q.heads.set(l.head, key)
	delete(q.parked, l.head)
	return l.head
}

// keyed reports whether the lane keeps the order of keys only.
func (l *lane) keyed() bool { return l.of.route.Order == routes.OrderPerKey }

// keyOf is what the order of m hangs on: the key that the route or the target computes, the one it came with, or its group.
// Messages without one share the empty key, as do those on which the expression fails; these are set aside when they are
// converted.
func (l *lane) keyOf(m *adapters.Message) string {
	if !l.keyed() {
		return ""
	}
	if e := l.keyExpr(); e != nil {
		key, _ := e.String(m, l.of.route.Name)
		return key
	}
	if m.Key != nil {
		return string(m.Key)
	}
	return fmt.Sprint(m.Group.ID)
}

func (l *lane) keyExpr() *routes.Expr {
	if l.target.Key != nil {
		return l.target.Key
	}
	return l.of.route.Key
}

// busyKeys are those of what is sent and not confirmed, or is to be sent again. s.mu is held.
func (s *sending) busyKeys() map[string]bool {
	if !s.l.keyed() {
		return nil
	}
	busy := map[string]bool{}
	for _, f := range s.flights {
		for _, it := range f.its {
			busy[it.key] = true
		}
	}
	for _, it := range s.pending {
		busy[it.key] = true
	}
	return busy
}

// passedBy reports whether it stays in the queue because of its key. busy gets its key if it does not.
func (it *item) passedBy(busy map[string]bool) bool {
	if busy == nil || busy[it.key] {
		return busy != nil
	}
	busy[it.key] = true
	return false
}

// holdKey makes it, a record, the head of its key's line. What is in the queue behind it leaves that, so that it takes no
// room from other keys, and before a later one of the key comes to the line.
func (l *lane) holdKey(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.store
	b.lines.hold(it.key, it.seq)
	l.queue = slices.DeleteFunc(l.queue, func(o *item) bool {
		waits := o.record() && o.key == it.key && b.lines.behind(o.key, o.seq)
		if waits {
			b.lines.park(o.key, o.seq)
			b.unfeed(o)
		}
		return waits
	})
}

// parkedBehind is how many records that wait behind others of their key lie behind the last mark. lane.mu is held.
func (b *store) parkedBehind() (n int) {
	for _, l := range b.lines.byKey {
		i, _ := slices.BinarySearch(l.parked, b.marked+1)
		n += len(l.parked) - i
	}
	return n
}

// holdsKey decides about a message that the target has refused and that is not to be set aside yet: its key waits for it.
// It reports whether the message has to become a record first, so that others can wait behind it.
func (l *lane) holdsKey(it *item, reason string, err error) (spill bool) {
	if !l.keyed() || l.store == nil || it.settled {
		return false
	}
	if it.record() {
		l.holdKey(it)
		return false
	}
	next := it.refused
	next.again(time.Now())
	gives := l.of.dead != nil && l.of.route.OnPoison == routes.PoisonDeadLetter
	if gives && (l.final(reason) || next.times >= max(1, l.limits().MaxAttempts)) {
		return false
	}
	it.refused = next
	l.of.refused(it.source(), reason, next.times, err)
	return true
}

// refusedBefore keeps what is known of its that the target has refused, for their records begin at first. lane.mu is held.
func (b *store) refusedBefore(its []*item, first uint64) {
	for i, it := range its {
		if it.refused.times > 0 {
			b.refused.set(first+uint64(i), it.refused)
		}
	}
}

// freeKey lets the next of a key go when record seq has gone its way. lane.mu is held.
func (b *store) freeKey(seq uint64) {
	if next := b.lines.next(seq); next != 0 {
		b.held.set(next, time.Now())
		signal(b.room)
	}
}
