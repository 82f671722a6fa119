package spool

import (
	"cmp"
	"slices"
	"time"
)

// State says what the journal can do.
type State int

// The states of a journal, from best to worst.
const (
	OK     State = iota + 1 // everything
	Full                    // done marks and reading; appends get ErrFull
	Failed                  // reading what is on disk; everything else gets ErrFailed
)

func (s State) String() string {
	switch s {
	case OK:
		return "ok"
	case Full:
		return "full"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Stats describes the journal at one moment.
type Stats struct {
	State    State
	Cause    error  // why it is not OK
	Epoch    uint32 // random; a copy that was accepted has another
	Segments int    // that hold live records, are in use, or are kept as evidence
	Free     int    // segments in the pool, the reserve included
	Damaged  int    // segments kept as evidence
	Bytes    int64  // size of all segment files

	Appends uint64 // records appended since Open
	Syncs   uint64 // syncs of batches and segments since Open
	Copied  uint64 // records copied forward since Open, so that the segments they were in can be used again

	Busy time.Duration // how long the writer has been at the batch, or the piece of housekeeping, in hand; 0 while it waits for work
}

// Stats returns what the journal holds now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := Stats{State: s.state, Cause: s.cause, Epoch: s.epoch, Segments: len(s.segs), Free: len(s.free),
		Appends: s.appends, Syncs: s.syncs, Copied: s.copied, Busy: s.busy()}
	for _, g := range s.segs {
		t.Bytes += g.slot.size
		if g.hurt {
			t.Damaged++
		}
	}
	for _, f := range s.free {
		t.Bytes += f.size
	}
	return t
}

// busy is how long the writer has been at what it is at.
func (s *Spool) busy() time.Duration {
	since := s.turn.Load()
	if since == 0 {
		return 0
	}
	return time.Since(s.made) - time.Duration(since-1)
}

// LaneStats describes a lane at one moment.
type LaneStats struct {
	Name  string
	Next  uint64 // sequence the next record will get; sequences start at 1
	First uint64 // lowest sequence that is not done; equal to Next when there is none
	Done  uint64 // highest sequence that is done; 0 if none is
	Live  uint64 // records that are not done
	Bytes int64  // on disk of records whose done mark is not on disk; exact when a segment holds all or none of its records
}

// Stats returns what the lane holds now.
func (l *Lane) Stats() LaneStats {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.stats()
}

func (l *Lane) stats() LaneStats {
	return LaneStats{l.name, l.next, min(l.done.next(1), l.next), l.done.highest(), l.live, l.stored()}
}

// Lanes returns what each lane holds now, by name: those too that nobody asked for since Open.
func (s *Spool) Lanes() []LaneStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]LaneStats, 0, len(s.lanes))
	for _, l := range s.lanes {
		list = append(list, l.stats())
	}
	slices.SortFunc(list, func(a, b LaneStats) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// setState tells what the journal can do now. Called by the writer, or before it runs.
func (s *Spool) setState() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		s.state, s.cause = Failed, s.failed
	case s.crowded() != nil:
		s.state, s.cause = Full, s.crowded()
	case s.active == nil || s.refused || len(s.free) < s.opts.Reserve:
		s.state, s.cause = Full, s.fillErr
	default:
		s.state, s.cause = OK, nil
	}
}
