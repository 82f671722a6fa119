package kafka

import (
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

// The states of a record between its arrival and the moment its partition's position has passed it.
type state uint8

const (
	queued state = iota // not yet handed out, or released
	out                 // handed out, not settled
	taken               // accepted; waits for those before it
)

// A record is one received message. Its pointer is the delivery's tag.
type record struct {
	message adapters.Message
	claim   *claim
	offset  int64
	size    int64
	attempt int
	state   state
	source  string // the delivery's SourceID
}

func (r *record) delivery() adapters.Delivery {
	return adapters.Delivery{Message: &r.message, Tag: r, Attempt: r.attempt, SourceID: r.source}
}

// A claim is one partition for as long as one generation of the group gives it to this source. Its records are in the
// order of their offsets; the front ones leave when they have been accepted, so the position has never a gap below it.
type claim struct {
	partition int32
	term      *term
	open      []*record // from the oldest that is not passed
	next      int64     // position to commit: the offset behind the gap-free front, -1 = nothing accepted yet
	committed int64     // what the coordinator has recorded in this term, -1 = nothing
}

// pass drops the accepted front and returns how many records and bytes became free.
func (c *claim) pass() (n int, bytes int64) {
	for n < len(c.open) && c.open[n].state == taken {
		c.next = c.open[n].offset + 1
		bytes += c.open[n].size
		c.open[n] = nil
		n++
	}
	c.open = c.open[n:]
	return n, bytes
}

// due reports whether there is a position that the coordinator does not have.
func (c *claim) due() bool { return c.next > c.committed }

// A queue holds the records to hand out: released ones first, in the order of their partition and offset, then the
// fresh ones in the order of their arrival.
type queue struct {
	back  []*record
	fresh []*record
	head  int // of fresh
}

func (q *queue) push(r *record) {
	if q.head > 64 && q.head > len(q.fresh)/2 {
		q.fresh = slices.Delete(q.fresh, 0, q.head)
		q.head = 0
	}
	q.fresh = append(q.fresh, r)
}

func (q *queue) giveBack(r *record) {
	i, _ := slices.BinarySearchFunc(q.back, r, func(a, b *record) int {
		if a.claim.partition != b.claim.partition {
			return int(a.claim.partition - b.claim.partition)
		}
		return int(a.offset - b.offset)
	})
	q.back = slices.Insert(q.back, i, r)
}

func (q *queue) len() int { return len(q.back) + len(q.fresh) - q.head }

func (q *queue) pop() *record {
	if len(q.back) > 0 {
		r := q.back[0]
		q.back = slices.Delete(q.back, 0, 1)
		return r
	}
	r := q.fresh[q.head]
	q.fresh[q.head] = nil
	q.head++
	return r
}

func (q *queue) clear() { *q = queue{} }
