package repeater

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/posthouse/posthouse/spool"
)

// feeding feeds the lane whenever it has records, as long as post lasts. end waits until nothing is fed any more.
func (b *store) feeding(post context.Context) (end func()) {
	if b == nil {
		return func() {}
	}
	w := newWorker(func() (over bool) {
		b.feed(post)
		return post.Err() != nil
	})
	b.l.mu.Lock()
	b.feeder = w
	b.l.mu.Unlock()
	w.kick()
	return func() { // post has ended
		w.kick()
		<-w.over()
	}
}

// feed puts records into the lane's queue, in their order, as long as a target is in use, and until the lane passes and has
// none. What it has fed and what got no answer is read again by the next one. It holds no more than a window and a batch in
// memory (mayFeed).
func (b *store) feed(ctx context.Context) {
	r := b.j.Reader(1)
	b.l.mu.Lock()
	b.passed = 0
	b.l.mu.Unlock()
	for !b.drained() && b.hasRoom(ctx) {
		rec, err := b.read(ctx, r)
		if err != nil {
			return
		}
		if b.arrived(rec) {
			continue
		}
		it := b.open(rec)
		if it == nil {
			continue
		}
		if b.paced(ctx) != nil {
			return
		}
		b.offer(ctx, it)
	}
}

var errDrained = errors.New("the lane passes, and has no records")

// drained reports whether there is nothing to feed until the lane spools again: then the feeder is kicked (spill).
func (b *store) drained() bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return !b.stored && b.backlog() == 0 && len(b.held) == 0
}

// hasRoom blocks until another record may be fed, and reports false when ctx ends.
func (b *store) hasRoom(ctx context.Context) bool {
	for ctx.Err() == nil {
		_, at := b.dueHeld()
		due := isDue(at)
		if b.mayFeed(due) {
			return true
		}
		if due {
			at = time.Time{} // only room lets it go
		}
		_ = b.await(ctx, nil, at) // ctx's end ends the loop
	}
	return false
}

// isDue reports whether a record that was set aside may be tried again.
func isDue(due time.Time) bool { return !due.IsZero() && !due.After(time.Now()) }

// mayFeed reports whether memory has room for another record: one that was set aside and is due needs it like any other, for
// hundreds of them may be due at once. Where what is set aside keeps the window shut, nothing that was fed would ever leave:
// then it goes beyond the bound.
func (b *store) mayFeed(due bool) bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if due && b.shut() {
		return b.failed == nil
	}
	ahead := b.l.limits().Batch.Count
	if b.l.tx { // the next transaction gathers while one is under way
		ahead = b.l.window()
	}
	return b.failed == nil && len(b.fed) < b.l.window()+ahead && b.fedBytes < b.l.of.route.PrefetchSize
}

// read returns the next record to be sent: one that was set aside and is due again, or the next in order. It blocks until
// there is one; its error is that of ctx, or errDrained.
func (b *store) read(ctx context.Context, r *spool.Reader) (spool.Item, error) {
	for {
		seq, due := b.dueHeld()
		if isDue(due) {
			if rec, ok := b.again(ctx, seq); ok {
				return rec, nil
			}
			if ctx.Err() != nil {
				return spool.Item{}, ctx.Err()
			}
			continue
		}
		rec, ready, err := b.inOrder(ctx, r)
		switch {
		case err != nil && !b.unreadable(err):
			ready = nil // the disk does not answer: later
			due = time.Now().Add(spaceTick)
		case err != nil:
			continue
		case ready == nil && rec.Seq != 0:
			return rec, nil
		default: // it may have come by some that were set aside
			_, due = b.dueHeld()
		}
		if b.drained() {
			return rec, errDrained
		}
		if err := b.await(ctx, ready, due); err != nil {
			return rec, err
		}
	}
}

// inOrder is the reader's next record that is not set aside, or the channel that says when to look again; nil and no
// record if the lane stops at what is set aside.
func (b *store) inOrder(ctx context.Context, r *spool.Reader) (spool.Item, <-chan struct{}, error) {
	for {
		if b.stopsAtHeld() {
			return spool.Item{}, nil, nil
		}
		rec, ready, err := r.TryNext()
		if skip := b.skips(ctx, rec.Seq, ready != nil); err != nil || ready != nil || !skip {
			return rec, ready, err
		}
	}
}

// await blocks until ready is closed, due has come (nil and zero never do), or a record got its answer.
func (b *store) await(ctx context.Context, ready <-chan struct{}, due time.Time) error {
	var alarm <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ready:
	case <-alarm:
	case <-b.room:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// unreadable counts a record that the disk has lost, and goes on behind it; false for any other error.
func (b *store) unreadable(err error) bool {
	var c *spool.CorruptError
	if !errors.As(err, &c) {
		b.complain(msgRead, err)
		return false
	}
	b.l.log.Error(msgCorrupt, "file", c.File, "offset", c.Offset, "seq", c.Seq, "err", err)
	b.l.count.corrupt.Inc()
	if c.Seq != 0 {
		b.done(c.Seq)
	}
	return true
}

// again reads one record that was set aside; false if it is done meanwhile, or cannot be read now.
func (b *store) again(ctx context.Context, seq uint64) (spool.Item, bool) {
	if !b.takeHeld(ctx, seq) {
		return spool.Item{}, false
	}
	rec, ready, err := b.j.Reader(seq).TryNext()
	switch {
	case err == nil && ready == nil && rec.Seq == seq:
		return rec, true
	case err != nil && !b.unreadable(err): // the disk does not answer: later
		b.setAside(seq, time.Now().Add(spaceTick))
	default: // it is gone: what waits behind it must not wait for ever
		b.l.mu.Lock()
		b.freeKey(seq)
		b.l.mu.Unlock()
	}
	return rec, false
}

// takeHeld takes record seq out of what is set aside, unless ctx has ended: then it belongs to the next feed.
func (b *store) takeHeld(ctx context.Context, seq uint64) bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	delete(b.held, seq)
	b.reading = seq // until it is in the queue nothing else says that it is not with the target
	return true
}

func (b *store) setAside(seq uint64, until time.Time) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.held.set(seq, until)
}

// dueHeld returns the record set aside that is due first; the zero time if there is none. Where the target has a position,
// those that the reader in order has not come by yet have to wait: what lies between would look as if it had arrived.
func (b *store) dueHeld() (first uint64, due time.Time) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	for seq, at := range b.held {
		if b.l.tx && seq > b.passed {
			continue
		}
		if due.IsZero() || at.Before(due) || at.Equal(due) && seq < first {
			first, due = seq, at
		}
	}
	return first, due
}

// skips reports whether a record, just read, is not to be sent in its order: it is set aside, or was and is under way now,
// or has been done since the reader looked for it. last says that there was none.
func (b *store) skips(ctx context.Context, seq uint64, last bool) bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	ended := b.ended[seq]
	if b.peeks--; b.peeks == 0 {
		clear(b.ended)
	}
	switch {
	case ctx.Err() != nil: // another feed may have begun
	case last:
		b.passed = math.MaxUint64 // what comes later is no record that was set aside
	default:
		b.passed = max(b.passed, seq)
	}
	_, held := b.held[seq]
	return ended || held || b.lines.parked[seq] || b.fed[seq] || b.settling[seq]
}

// stopsAtHeld reports whether the next record in order must not be read; if it may, it is about to be.
func (b *store) stopsAtHeld() bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.stopped() && b.comesBy() {
		return true
	}
	b.peeks++
	return false
}

// comesBy reports whether the reader in order has come by all that is set aside. lane.mu is held.
func (b *store) comesBy() bool {
	if !b.l.tx {
		return true
	}
	for seq := range b.held {
		if seq > b.passed {
			return false
		}
	}
	return true
}

// open makes an item of rec; nil for one that is too old, and for one that cannot be understood, which is set aside: a
// later version of the program may know it.
func (b *store) open(rec spool.Item) *item {
	it, err := b.l.decodeItem(rec)
	if err != nil {
		b.l.log.Error(msgRead, "seq", rec.Seq, "err", err)
		b.setAside(rec.Seq, time.Now().Add(b.l.gate.slow))
		return nil
	}
	if now, suspect := b.l.clock.read(); b.maxAge > 0 && !suspect && now.Sub(it.at) > b.maxAge {
		b.l.of.count.expired.Inc()
		b.done(rec.Seq)
		return nil
	}
	return it
}

// mayBeSent reports whether a record of an earlier life may have been sent in it. lane.mu is held.
func (b *store) mayBeSent(seq uint64) bool {
	if seq <= b.sent || b.unsure[seq] {
		return true
	}
	doubt := b.doubtful > 0
	b.doubtful = max(0, b.doubtful-1)
	return doubt
}

// offer puts it into the lane's queue, marked if it may have been sent before: at the tail, unless it was set aside.
func (b *store) offer(ctx context.Context, it *item) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if b.lines.behind(it.key, it.seq) {
		b.lines.park(it.key, it.seq)
		return
	}
	if it.seq < b.first && b.mayBeSent(it.seq) {
		b.unsure.set(it.seq, true)
	}
	it.doubt = b.unsure[it.seq]
	it.maybe = it.maybe || b.elsewhere[it.seq] || it.doubt && (it.seq < b.copied || !(b.certain && it.certain))
	it.refused, it.tried = b.refused[it.seq], b.firsts[it.seq]
	b.fed.set(it.seq, true)
	b.fedBytes += it.size
	if it.refused.times > 0 { // older than all that wait
		b.l.queue = slices.Insert(b.l.queue, 0, it)
	} else {
		b.l.queue = append(b.l.queue, it)
	}
	signal(b.l.wake)
}
