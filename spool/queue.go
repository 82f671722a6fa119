package spool

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// An op waits for the writer: records of one lane, or nothing but an answer when all before it is on disk.
type op struct {
	lane  *Lane
	recs  []Record
	size  int64
	first uint64
	done  func(first uint64, err error)
	num   uint64 // in the order of the calls
	long  bool   // it takes more than one batch
	waits int    // for so many long ops
	step  *step  // it is a step of one

	renamed *Lane // gets name, if not nil; lane is nil then
	name    string
}

// laneMarks are done marks on their way to the disk.
type laneMarks struct {
	lane  *Lane
	spans spans
}

// A batch is one write and one sync.
type batch struct {
	ops     []*op
	size    int64 // of the records
	marks   []laneMarks
	moves   []move
	entries []entry
	moved   []entry // of moves
}

// barrier reports whether somebody in the batch waits for the sync itself, or only marks are in it, which make room.
func (b *batch) barrier() bool {
	return b.size == 0 || len(b.moves) > 0 || slices.ContainsFunc(b.ops, func(o *op) bool { return o.lane == nil })
}

// An entry is a record of a batch and where it lies.
type entry struct {
	lane *Lane
	seq  uint64
	at   uint32 // place in the segment
	size int64  // bytes with header and padding

	chunks span // of a large record
}

func (s *Spool) wakeWriter() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// enqueue gives o to the writer. The queue may be exceeded by one op, so that each fits.
func (s *Spool) enqueue(ctx context.Context, o *op) error {
	for {
		s.mu.Lock()
		if err := s.refusal(o); err != nil {
			s.mu.Unlock()
			return err
		}
		if s.accept(o) {
			s.mu.Unlock()
			s.wakeWriter()
			return nil
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-s.closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// accept puts o into the queue, if there is room. Long ops have a room of their own, so that others do not wait for them.
// Called with mu held.
func (s *Spool) accept(o *op) bool {
	used := &s.queued
	if o.long {
		used = &s.longQueued
	}
	if *used >= s.opts.MaxQueue {
		return false
	}
	*used += o.size
	s.ops++
	o.num = s.ops
	s.queue = append(s.queue, o)
	if o.lane != nil {
		o.lane.queued += o.size
	} else { // together with the op: a batch between the two would take the wish and leave the op
		s.flush = true
	}
	return true
}

// refusal says why o cannot be taken. Called with mu held.
func (s *Spool) refusal(o *op) error {
	switch {
	case s.closing:
		return ErrClosed
	case s.failed != nil:
		return s.failed
	case o.lane != nil && o.lane.quota > 0 && o.lane.stored()+o.lane.queued+o.size > o.lane.quota:
		return fmt.Errorf("%w: %d of %d bytes used", ErrLaneFull, o.lane.stored()+o.lane.queued, o.lane.quota)
	}
	return nil
}

// wait returns the answer, or ctx's error with ErrUnknown when ctx ends before.
func wait(ctx context.Context, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// Sync returns nil when every append and every done mark given before is on disk, and what they freed is in the pool. It
// waits for no SyncEvery, and those who call it at the same time share one write. Where nothing waits it costs none.
func (s *Spool) Sync(ctx context.Context) error {
	c := make(chan error, 1)
	err := s.enqueue(ctx, &op{done: func(_ uint64, err error) { c <- err }})
	if err == nil {
		err = wait(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// linger waits until SyncEvery has passed since the first record was seen waiting, or nobody should wait any longer.
func (s *Spool) linger() {
	if s.opts.SyncEvery <= 0 || !s.patient() {
		return
	}
	late := time.NewTimer(s.opts.SyncEvery)
	defer late.Stop()
	for s.patient() {
		select {
		case <-s.kick:
		case <-late.C:
			return
		}
	}
}

// patient reports whether there are records, and nothing that must not wait.
func (s *Spool) patient() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0 && len(s.long) == 0 && !s.flush && !s.closing && s.queued < min(s.opts.MaxQueue, batchMax)
}

// take returns what waits, at most one batch, or nil. Marks go with records, or alone when somebody asked.
func (s *Spool) take() (b *batch, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := len(s.queue)+len(s.long) == 0
	if s.closing && idle && !s.drained {
		s.drained, s.flush = true, s.marks > 0
	}
	if s.closing {
		s.moves = nil
	}
	if idle && !s.flush && len(s.moves) == 0 {
		return nil, s.closing
	}
	b = &batch{}
	s.admit(b)
	b.marks, b.moves = s.takeMarks(), s.takeMoves()
	return b, s.closing
}

// takeMarks hands over the done marks that wait. Called with mu held.
func (s *Spool) takeMarks() []laneMarks {
	marks := make([]laneMarks, 0, len(s.dirty))
	for _, l := range s.dirty {
		marks = append(marks, laneMarks{l, l.pending})
		l.pending = nil
	}
	s.dirty, s.marks, s.flush = nil, 0, false
	return marks
}
