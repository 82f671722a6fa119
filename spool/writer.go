package spool

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/posthouse/posthouse/internal/failpoint"
)

// write is the writer's goroutine.
func (s *Spool) write() {
	defer close(s.ended)
	for {
		s.linger()
		s.turn.Store(1 + int64(time.Since(s.made)))
		again := s.copyForward()
		b, closing := s.take()
		if b != nil {
			s.commit(b)
			s.gather(b)
			continue
		}
		if closing {
			s.finish()
			s.turn.Store(0)
			return
		}
		s.turn.Store(0)
		s.rest(again)
	}
}

// rest waits until something waits for the writer, or for some time if it is not 0.
func (s *Spool) rest(d time.Duration) {
	if d == 0 {
		<-s.kick
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.kick:
	case <-timer.C:
	}
}

// gather lets callers just answered join the next batch when batches are small: a sync costs far more than a turn.
func (s *Spool) gather(b *batch) {
	if b.size > 0 && b.size < 128<<10 {
		runtime.Gosched()
	}
}

// commit brings b to the disk and answers everybody in it.
func (s *Spool) commit(b *batch) {
	err := s.put(b)
	s.reclaim()
	s.setState()
	s.answer(b.ops, err)
	s.prepare(b) // nobody waits for it but the next batch
	s.setState()
}

// answer tells the callers of ops what became of them.
func (s *Spool) answer(ops []*op, err error) {
	s.mu.Lock()
	for _, o := range ops {
		if o.lane != nil && o.step == nil {
			o.lane.queued -= o.size
		}
	}
	s.mu.Unlock()
	for _, o := range ops {
		o.done(o.first, err)
	}
}

// put writes b. Records that find no room are answered here and leave b, so that marks and barriers still get through.
func (s *Spool) put(b *batch) error {
	if s.failed != nil {
		return s.failed
	}
	if err := s.makeRoom(b); err != nil {
		return err
	}
	if len(b.ops)+len(b.marks)+len(b.moves) == 0 {
		return nil
	}
	buf, err := s.fit(b)
	if err != nil || len(buf) == 0 {
		return err
	}
	if mutantUnlinkFirst {
		s.settle(b.marks)
		s.reclaim()
	}
	took, err := s.store(s.active, buf, !s.opts.NoSync || b.barrier(), b)
	if err != nil {
		return s.broken(b, err)
	}
	failpoint.HitIf(len(b.entries) > 0, "C04")
	s.publish(b, int64(len(buf)), took > 0)
	if s.opts.Observe != nil {
		s.opts.Observe(took, len(b.entries), len(buf))
	}
	return nil
}

// fit encodes b for the segment in use, or for a new one if there is no room.
func (s *Spool) fit(b *batch) ([]byte, error) {
	buf := s.encode(b)
	room := s.indexRoom(b)
	if s.active.end == s.active.head {
		room = 0 // rather no index than no room at all
	}
	if s.active.end+int64(len(buf))+room <= s.opts.SegmentSize {
		return buf, nil
	}
	s.rewind(b)
	if len(b.moves) > 0 && len(s.free) <= s.opts.Reserve && (b.size > 0 || !s.whole) {
		b.moves = nil // records go first, and the reserve is for whole segments only
		return s.fit(b)
	}
	if err := s.roll(b.size > 0); err != nil {
		if b.size == 0 || s.active == nil {
			return nil, s.giveUp(b, err)
		}
		s.refuse(b, err)
		return s.fit(b)
	}
	s.checkpointed(b)
	if buf = s.encode(b); s.active.end+int64(len(buf)) > s.opts.SegmentSize {
		s.rewind(b)
		if len(b.moves) > 0 {
			b.moves = nil
			return s.fit(b)
		}
		return nil, fmt.Errorf("%w: the state of the lanes leaves no room in a segment", ErrTooLarge)
	}
	return buf, nil
}

// makeRoom sees to it that there is a segment in use, and that records do not touch the reserve.
func (s *Spool) makeRoom(b *batch) error {
	if s.active == nil {
		if err := s.roll(false); err != nil {
			return s.giveUp(b, err)
		}
		s.checkpointed(b)
	}
	if b.size == 0 {
		return nil
	}
	for len(s.free) < s.opts.Reserve {
		if err := s.grow(); err != nil {
			s.refuse(b, err)
			return nil
		}
	}
	return nil
}

// checkpointed takes the marks out of b: the checkpoint of a segment just begun has them.
func (s *Spool) checkpointed(b *batch) {
	s.settle(b.marks)
	b.marks = nil
}

// refuse answers the records of b with ErrFull and leaves the rest in it.
func (s *Spool) refuse(b *batch, cause error) {
	if !errors.Is(cause, ErrFull) {
		cause = fmt.Errorf("%w: %w", ErrFull, cause)
	}
	s.refused = true
	s.setState()
	var keep, out []*op
	for _, o := range b.ops {
		if o.lane == nil {
			keep = append(keep, o)
		} else {
			out = append(out, o)
		}
	}
	b.ops, b.size = keep, 0
	s.answer(out, cause)
}

// giveUp keeps the marks of b for later: nothing of it could be written. An error that does not pass is final.
func (s *Spool) giveUp(b *batch, err error) error {
	s.requeue(b.marks)
	b.marks = nil
	switch {
	case errors.Is(err, ErrFull):
		return err
	case noSpace(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return s.fail(err)
}

func (s *Spool) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return s.failed
}

// requeue gives marks back to their lanes, for a later batch.
func (s *Spool) requeue(marks []laneMarks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range marks {
		for _, r := range m.spans {
			m.lane.pend(r)
			s.marks++
		}
	}
}

// store is the one place where bytes of the segment in use go to the disk: one write, one sync, and no second try. It
// returns how long the sync took, more than 0 if there was one. b is what buf holds, nil for what belongs to the journal.
func (s *Spool) store(g *segment, buf []byte, sync bool, b *batch) (time.Duration, error) {
	failpoint.Torn(b != nil && len(b.entries) > 0, "C02", g.slot.file, buf, g.end)
	if _, err := g.slot.file.WriteAt(buf, g.end); err != nil {
		return 0, fmt.Errorf("write %s at %d: %w", g.slot.name(), g.end, err)
	}
	failpoint.HitIf(b != nil && len(b.entries) > 0, "C03")
	failpoint.HitIf(b != nil && len(b.marks) > 0, "C10")
	if !sync {
		return 0, nil
	}
	began := time.Now()
	if mutantNoSync {
		return 1, nil
	}
	if err := s.sync(g.slot); err != nil {
		return 0, fmt.Errorf("sync %s: %w", g.slot.name(), err)
	}
	return max(time.Since(began), 1), nil
}

func (s *Spool) sync(f *slot) error {
	s.mu.Lock()
	s.syncs++
	s.mu.Unlock()
	err := f.file.Sync()
	if err != nil && mutantSyncRetry {
		return f.file.Sync()
	}
	return err
}

// publish makes b's records readable. Its marks count when they are on disk.
func (s *Spool) publish(b *batch, n int64, synced bool) {
	s.mu.Lock()
	s.active.end += n
	s.lastSeg.end = s.active.end
	for _, e := range b.entries {
		e.lane.appended(s.active, e)
		if e.lane.of == nil {
			s.appends++
		}
		if e.lane.wake != nil {
			close(e.lane.wake)
			e.lane.wake = nil
		}
	}
	for _, o := range b.ops {
		if o.renamed != nil {
			s.setName(o.renamed, o.name)
		}
	}
	s.mu.Unlock()
	s.held = append(s.held, b.marks...)
	if synced {
		s.settleHeld()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range b.moved {
		e.lane.moved(s.active, e)
	}
	s.copied += uint64(len(b.moved))
}

// settleHeld counts the marks whose batches a sync has just brought to the disk.
func (s *Spool) settleHeld() {
	s.active.synced = s.active.end
	s.settle(s.held)
	s.held = nil
}

// syncHeld brings to the disk what NoSync has only written, before the next segment promises it. After an error the
// segment counts all the same: its records have been answered, and whether they are lost only a power failure will tell.
func (s *Spool) syncHeld() error {
	g := s.active
	if g == nil || g.synced == g.end {
		return nil
	}
	if err := s.sync(g.slot); err != nil {
		return s.unsynced(fmt.Errorf("sync %s: %w", g.slot.name(), err))
	}
	s.settleHeld()
	return nil
}

// unsynced takes note that the last sync of the segment in use has failed, or the write of its index.
func (s *Spool) unsynced(cause error) error {
	s.requeue(s.held)
	s.held = nil
	s.mu.Lock()
	s.active.once, s.active.synced = true, s.active.end
	s.mu.Unlock()
	return s.fault(cause)
}

// settle counts down the live records of marks that are on disk.
func (s *Spool) settle(marks []laneMarks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range marks {
		for _, r := range m.spans {
			m.lane.settled(r)
		}
	}
}

// Faults in so short a time that the disk cannot be trusted any more.
const (
	faultsMax = 3
	faultsIn  = 10 * time.Minute
)

// broken ends the segment in use after a failed write or sync: no second write, no second sync. It keeps what was synced
// before. Its successor states where it ends and repeats the marks.
func (s *Spool) broken(b *batch, cause error) error {
	s.rewind(b)
	s.requeue(append(s.held, b.marks...))
	s.held = nil
	s.mu.Lock()
	s.active.once, s.active.synced = true, s.active.end
	s.mu.Unlock()
	s.retire()
	if err := s.fault(cause); err != nil {
		return errors.Join(ErrUnknown, err)
	}
	if err := s.roll(false); err != nil && !errors.Is(err, ErrFull) && !noSpace(err) {
		return errors.Join(ErrUnknown, s.fail(errors.Join(cause, err)))
	}
	return fmt.Errorf("%w: %w", ErrUnknown, cause)
}

// fault takes note of a failed write or sync. Too many in a short time are final.
func (s *Spool) fault(cause error) error {
	now := time.Now()
	s.faults = append(s.faults, now)
	if n := len(s.faults); n >= faultsMax && now.Sub(s.faults[n-faultsMax]) < faultsIn {
		return s.fail(fmt.Errorf("%d faults within %v, the last: %w", faultsMax, faultsIn, cause))
	}
	return nil
}

// finish writes the mark that all before it is promised, after which a changed byte is known for what it is.
func (s *Spool) finish() {
	if s.failed != nil {
		s.closeErr = s.failed
		return
	}
	if s.marksLeft() {
		s.closeErr = errors.Join(s.closeErr, fmt.Errorf("close journal: %w: done marks could not be written", ErrFull))
	}
	if err := s.sealToClose(); err != nil {
		s.closeErr = errors.Join(s.closeErr, err)
		return
	}
	g := s.active
	if g == nil || g.end+block > s.opts.SegmentSize {
		return // on a full disk: the next Open will not find it clean
	}
	buf := g.codec.append(s.buf[:0], g.end, head{kind: kindClosed, flags: s.closedFlags(), synced: uint32(g.end)})
	if _, err := s.store(g, g.codec.pad(buf, g.end, uint32(g.end)), true, nil); err != nil {
		s.closeErr = errors.Join(s.closeErr, err)
	}
}

// closedUnsure is a flag of the last record: the owner has told that it is not sure of everything (Unsure).
const closedUnsure uint16 = 1

// Unsure makes the next Open report that the journal was not left clean, though Close has written everything: the owner
// does not know what has become of some of the records that it has not marked done.
func (s *Spool) Unsure() { s.unsure.Store(true) }

func (s *Spool) closedFlags() uint16 {
	if s.unsure.Load() {
		return closedUnsure
	}
	return 0
}

// sealToClose begins a last segment, so that the next Open finds all it needs in its checkpoint. A full disk goes on with
// the one in use: its last slots are for marks.
func (s *Spool) sealToClose() error {
	if s.active == nil || s.active.end == s.active.head || len(s.free) < 2 {
		return s.syncHeld()
	}
	return s.roll(false)
}

func (s *Spool) marksLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty) > 0
}
