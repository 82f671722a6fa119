package repeater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/spool"
)

// appendSize bounds the bytes of one append. While it is written the next one gathers.
const appendSize = 1 << 20

// spaceTick is how often a full journal is tried again: another lane, or the disk itself, may have made room.
const spaceTick = time.Second

// resumeBelow is the part of a quota that must be in use at most before a full lane goes on, so that it does not stop and
// go with every message.
const resumeBelow = 0.9

// appendAll writes what has come in to the journal. It reports whether the lane is closed and nothing is left. One append runs
// at a time, so that a failed one can be tried again without losing the order. When work has ended nothing more is written.
func (b *store) appendAll(work context.Context) (over bool) {
	for work.Err() == nil {
		its, over := b.tryNext()
		if len(its) == 0 {
			return over
		}
		b.appendOnce(work, its)
	}
	return b.giveUp()
}

func (b *store) tryNext() (its []*item, over bool) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	closed := b.l.closed
	switch {
	case closed && (b.full != nil || b.failed != nil || !b.stored):
		answerAll(b.incoming, itemReturned)
		b.incoming = nil
	case b.stored && b.failed == nil && (closed || !b.pauses()):
		its = b.takeIncoming()
		b.appending = len(its)
	}
	if len(its) == 0 {
		b.eager = b.eager && len(b.incoming) > 0
		b.tryPass()
		b.l.note(nil)
	}
	return its, closed && len(b.incoming) == 0 && len(its) == 0
}

// takeIncoming removes the first items, up to the size of one append. lane.mu is held.
func (b *store) takeIncoming() (its []*item) {
	var bytes int64
	n := 0
	for ; n < len(b.incoming); n++ {
		it := b.incoming[n]
		if len(its) > 0 && (b.single || bytes+it.size > appendSize) {
			break
		}
		if it.gone() || b.l.giveBack(it, !it.begin()) {
			continue
		}
		bytes += it.size
		its = append(its, it)
	}
	clear(b.incoming[:n])
	b.incoming = b.incoming[n:]
	return its
}

// appendOnce is step 4 of the flow for a stored lane: what it has answered for is on disk.
func (b *store) appendOnce(work context.Context, its []*item) {
	its, recs := b.encode(its)
	if len(its) == 0 {
		b.landed(nil)
		return
	}
	b.expect(its)
	if mutantAckFirst {
		answerAll(its, itemConfirmed)
	}
	failpoint.HitIf(b.l.replies != nil, "C21")
	first, err := b.append(work, recs)
	var part *spool.PartError
	if errors.As(err, &part) {
		b.l.of.tracing.spooled(its[:part.Written], nil)
		b.l.replies.wrote(its[:part.Written], first)
		b.written(its[:part.Written], part.Err)
		its, err = its[part.Written:], part.Err
	}
	b.l.of.tracing.spooled(its, err)
	switch {
	case err == nil:
		b.l.mu.Lock()
		b.refusedBefore(its, first)
		b.l.mu.Unlock()
		b.l.replies.wrote(its, first)
		b.written(its, nil)
	case errors.Is(err, spool.ErrTooLarge):
		b.tooLarge(its, err)
	case errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrLaneFull):
		b.noRoom(work, its, err)
	case errors.Is(err, spool.ErrUnknown) && work.Err() == nil:
		b.l.log.Error(msgAppend, "messages", len(its), "err", err)
		b.landed(its) // nothing of it is answered; whether it is there shows at the next start
	case work.Err() != nil:
		b.torn = true
		b.landed(its)
	default:
		b.broken(its, err)
	}
}

// append is Lane.Append, and what goes on when work ends before it is counted in b.writes.
func (b *store) append(work context.Context, recs []spool.Record) (first uint64, err error) {
	type answer struct {
		first uint64
		err   error
	}
	c := make(chan answer, 1)
	b.writes.Add(1)
	if err := b.j.AppendAsync(work, recs, func(first uint64, err error) { c <- answer{first, err}; b.writes.Done() }); err != nil {
		b.writes.Done()
		return 0, err
	}
	select {
	case a := <-c:
		return a.first, a.err
	case <-work.Done():
		return 0, fmt.Errorf("append to lane %q: %w: %w", b.l.name, spool.ErrUnknown, work.Err())
	}
}

// encode makes records. What cannot be one is refused.
func (b *store) encode(its []*item) (ok []*item, recs []spool.Record) {
	for _, it := range its {
		b.l.of.tracing.spool(it)
		r, err := encodeRecord(it)
		if err != nil {
			it.endSpan(err)
			b.l.refuse(it, reasonInvalid, err)
			continue
		}
		ok, recs = append(ok, it), append(recs, r)
	}
	return ok, recs
}

// landed notes that no append runs; again goes back to the head, in its order.
func (b *store) landed(again []*item) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.appending = 0
	b.unexpect(again)
	b.incoming = append(again[:len(again):len(again)], b.incoming...)
}

// written counts its as records and answers for them: they are on disk. full says why those behind them are not.
func (b *store) written(its []*item, full error) {
	b.l.mu.Lock()
	b.appending, b.single = 0, false
	if full == nil && len(b.incoming) == 0 { // or it would be full and not full in turns
		b.full = nil
	}
	b.records += int64(len(its))
	b.eager = b.eager && b.records <= int64(b.l.window())
	b.appended += int64(len(its))
	b.l.note(nil)
	b.l.mu.Unlock()
	b.l.count.spooled.Add(int64(len(its)))
	if !mutantAckFirst {
		answerAll(its, itemConfirmed)
	}
}

// tooLarge tries the items one by one, and refuses the one that the journal cannot take.
func (b *store) tooLarge(its []*item, err error) {
	if len(its) == 1 {
		b.l.mu.Lock()
		b.unexpect(its)
		b.l.mu.Unlock()
		b.l.refuse(its[0], reasonTooLarge, err)
		its = nil
	}
	b.landed(its)
	b.l.mu.Lock()
	b.single = len(its) > 0
	b.l.mu.Unlock()
}

// noRoom waits for room, or hands the messages back where the route says so. Nothing is dropped: what waits is not settled
// at its source, which is how the source stops.
func (b *store) noRoom(work context.Context, its []*item, err error) {
	turned := its
	if b.reject {
		its = nil
	}
	b.landed(its)
	b.l.mu.Lock()
	b.unexpect(turned)
	b.full = err
	b.l.note(err)
	b.l.mu.Unlock()
	if b.reject {
		b.l.count.turnedAway.Add(int64(len(turned)))
		answerAll(turned, itemTurnedAway)
		return
	}
	b.awaitSpace(work, errors.Is(err, spool.ErrLaneFull))
}

// awaitSpace blocks until there may be room in the journal, the lane passes again, or work ends.
func (b *store) awaitSpace(work context.Context, quota bool) {
	tick := time.NewTicker(spaceTick)
	defer tick.Stop()
	for {
		try := false
		select {
		case <-b.space:
		case <-tick.C:
			try = !quota // only an append can tell whether the disk has room
		case <-work.Done():
			return
		}
		if try || b.roomy() || b.over() {
			return
		}
	}
}

// roomy reports whether a lane that was full may go on.
func (b *store) roomy() bool {
	return b.journal.Stats().State == spool.OK && (b.quota == 0 || float64(b.j.Stats().Bytes) < resumeBelow*float64(b.quota))
}

func (b *store) over() bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return b.l.closed || !b.stored || b.pauses()
}

// broken notes that the journal takes nothing more until the next start. What is in it stays there: without done marks
// each record sent now would come twice.
func (b *store) broken(its []*item, err error) {
	b.landed(its)
	b.fail(err)
}

// fail ends the feeding of the lane.
func (b *store) fail(err error) {
	b.l.mu.Lock()
	b.failed = err
	b.l.note(err)
	b.l.mu.Unlock()
}

// giveUp returns what could not be appended in time, and reports whether the lane is closed.
func (b *store) giveUp() (closed bool) {
	b.l.mu.Lock()
	its := b.incoming
	b.incoming, closed = nil, b.l.closed
	b.l.mu.Unlock()
	answerAll(its, itemReturned)
	return closed
}

// markAll brings the done marks that there are to the disk, and reports whether work has ended. Every lane's marks share one
// sync.
func (b *store) markAll(work context.Context) (over bool) {
	if work.Err() != nil {
		return true
	}
	if n, top := b.confirmed(); n > 0 {
		b.synced(work, n, top, b.journal.Sync(work))
	}
	return false
}

// unsynced tries the marks again after a pause, unless the journal takes nothing any more.
func (b *store) unsynced(work context.Context, err error) {
	switch {
	case work.Err() != nil:
		return
	case errors.Is(err, spool.ErrFailed), errors.Is(err, spool.ErrClosed):
		b.fail(err)
		return
	}
	b.complain(msgMark, err)
	wait(work, spaceTick)
	b.marks.kick()
}

func (b *store) confirmed() (n int, top uint64) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return b.unmarked, b.top
}

// synced notes that n marks are on disk, the highest for record top.
func (b *store) synced(work context.Context, n int, top uint64, err error) {
	if err != nil {
		b.unsynced(work, err)
		return
	}
	b.l.mu.Lock()
	b.unmarked -= n
	b.marked = max(b.marked, top)
	b.records -= int64(n)
	b.tryPass()
	b.l.note(nil)
	b.l.mu.Unlock()
	signal(b.l.wake) // what is not marked counts as in flight
	signal(b.space)
	b.grow.kick()
}
