package spool

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// A move is a live record of a segment that has few left, read to be written again at the end of the journal.
type move struct {
	lane    *Lane
	head    head
	payload []byte
}

const (
	liveShare = 0.3       // of a slot: below it a segment is sparse
	copyStep  = 256 << 10 // bytes that are read at once to be copied
	copyWhole = 8 << 20   // live bytes of a segment that may be copied at once, on a full disk
	copyRetry = 20 * time.Millisecond
)

// copyForward reads records to be copied, for the next batch. It returns when it wants to be called again if no batch
// comes before; 0 is never.
func (s *Spool) copyForward() time.Duration {
	if s.opts.Sparse < 0 || s.failed != nil || s.active == nil {
		return 0
	}
	g := s.sparse()
	if g == nil {
		return 0
	}
	if wait := time.Until(s.copyAt); wait > 0 {
		return wait
	}
	step := s.copySize(g)
	if step == 0 {
		return copyRetry
	}
	size := s.readMoves(g, step)
	if s.opts.CopyRate > 0 {
		s.copyAt = time.Now().Add(time.Duration(size) * time.Second / time.Duration(s.opts.CopyRate))
	}
	if len(s.moves) == 0 {
		return copyRetry
	}
	return 0
}

// sparse returns the segment to be copied from: one that was begun before all others, then the oldest, when there are more
// sparse ones than may stay. A segment that empties by itself is often gone before its turn comes.
func (s *Spool) sparse() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.copying; g != nil && s.isSparse(g) && !s.closing {
		return g
	}
	s.copying, s.copyFrom = nil, nil
	if len(s.segs) <= s.opts.Sparse || s.closing {
		return nil
	}
	n := 0
	for _, g := range s.segs {
		if !s.isSparse(g) {
			continue
		}
		if n++; s.copying == nil {
			s.copying = g
		}
	}
	if n <= s.opts.Sparse {
		s.copying = nil
		return nil
	}
	s.copyFrom = s.lanesIn(s.copying)
	return s.copying
}

func (s *Spool) isSparse(g *segment) bool {
	return g != s.active && g.live > 0 && !g.hurt && !g.stuck && float64(g.liveBytes) < liveShare*float64(g.slot.size)
}

// lanesIn returns the lanes with live records in g, in a certain order. Called with mu held.
func (s *Spool) lanesIn(g *segment) (list []*Lane) {
	for l := range maps.Values(s.lanes) {
		for ; l != nil; l = l.chunks {
			if _, ok := l.nextIn(g, 1); ok {
				list = append(list, l)
			}
		}
	}
	slices.SortFunc(list, func(a, b *Lane) int { return int(int64(a.num) - int64(b.num)) })
	return list
}

// nextIn returns the first record of g from seq on that is not done. Called with mu held.
func (l *Lane) nextIn(g *segment, seq uint64) (uint64, bool) {
	for _, e := range l.extents[l.search(seq):] {
		if e.seg != g {
			continue
		}
		if next := l.done.next(max(seq, e.first)); next <= e.last {
			return next, true
		}
	}
	return 0, false
}

// copySize returns how many bytes of g may be read to be copied now. Where no slot is left beyond the reserve it is all of g
// or nothing: what a whole copy takes it gives back, but half of one could leave done marks without a slot.
func (s *Spool) copySize(g *segment) int64 {
	step := min(copyStep, s.opts.SegmentSize/8)
	roomy := s.active.end+2*step+s.active.room+block <= s.opts.SegmentSize
	s.whole = false
	switch state, live := s.now(), s.liveIn(g); {
	case len(s.free) > s.opts.Reserve, len(s.free) == s.opts.Reserve && roomy:
		return step
	case state == OK:
		s.fill(2 * step)
	case state == Full && len(s.free) > 0 && live <= copyWhole:
		s.whole = true
		return s.opts.SegmentSize
	}
	return 0
}

func (s *Spool) liveIn(g *segment) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.liveBytes
}

func (s *Spool) now() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// readMoves reads about so many bytes of live records of g into moves, and returns how many.
func (s *Spool) readMoves(g *segment, step int64) (size int64) {
	s.moves = nil
	for i := 0; i < len(s.copyFrom) && size < step; i++ {
		n, err := s.readMovesOf(s.copyFrom[i], g, step-size)
		size += n
		if err != nil {
			s.dropHalf()
			s.stick(g)
			break
		}
	}
	for len(s.copyFrom) > 0 && !s.hasIn(s.copyFrom[0], g) {
		s.copyFrom = s.copyFrom[1:]
	}
	if len(s.copyFrom) == 0 {
		s.stick(g)
	}
	return size
}

// dropHalf forgets what was read of a segment that should have been read as a whole.
func (s *Spool) dropHalf() {
	if s.whole {
		s.moves = nil
	}
}

// stick ends the copying from a segment: nothing in it is live but for marks on their way, or its disk gives errors.
func (s *Spool) stick(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.stuck = true
	s.copying, s.copyFrom = nil, nil
	s.flush = s.flush || s.marks > 0
}

func (s *Spool) hasIn(l *Lane, g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := l.nextIn(g, 1)
	return ok
}

func (s *Spool) readMovesOf(l *Lane, g *segment, step int64) (size int64, err error) {
	r := l.Reader(1)
	for size < step {
		m, err := r.readIn(g)
		if err != nil || m.lane == nil {
			return size, err
		}
		s.moves = append(s.moves, m)
		size += m.head.size()
	}
	return size, nil
}

// readIn reads the next record that lies in g. A move of no lane says that there is none.
func (r *Reader) readIn(g *segment) (move, error) {
	s := r.lane.s
	s.mu.Lock()
	seq, ok := r.lane.nextIn(g, r.pos)
	s.mu.Unlock()
	if !ok {
		return move{}, nil
	}
	r.pos = seq
	in, wait, err := r.enter()
	if wait != nil || errors.Is(err, ErrClosed) {
		return move{}, nil
	}
	defer r.leave(in.seg)
	if in.seg != g {
		return move{}, nil // just marked done; another call will see
	}
	h, payload, err := r.raw(in)
	if err != nil {
		return move{}, err
	}
	return move{r.lane, h, slices.Clone(payload)}, nil
}

// takeMoves hands over what was read and is not done meanwhile. Every record of those segments that is not among them and
// lies before one of them has its mark on disk, or in the same batch. Called with mu held, together with takeMarks.
func (s *Spool) takeMoves() []move {
	moves := slices.DeleteFunc(s.moves, func(m move) bool { return m.lane.done.has(m.head.seq) })
	s.moves = nil
	return moves
}

// moved lets e's record count where it was written again, if its mark is not on disk. Called with mu held.
func (l *Lane) moved(g *segment, e entry) {
	i := l.search(e.seq)
	if i == len(l.extents) || l.extents[i].first > e.seq || l.done.has(e.seq) && !l.pending.has(e.seq) {
		return
	}
	old := &l.extents[i]
	bytes := min(e.size, old.bytes)
	if old.live == 1 {
		bytes = old.bytes
	}
	old.countDown(1, bytes)
	l.bytes += e.size - bytes
	if old.first = e.seq + 1; old.live == 0 {
		l.extents = slices.Delete(l.extents, i, i+1)
	}
	l.written(g, e)
}
