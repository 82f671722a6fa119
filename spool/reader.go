package spool

import (
	"context"
	"fmt"
	"slices"
)

// An Item is a record read back. It belongs to the caller.
type Item struct {
	Seq uint64
	Record
}

// A CorruptError says that a record that was on disk cannot be read. The reader goes on behind it. The record stays live
// until it is marked done.
type CorruptError struct{ Damage }

func (e *CorruptError) Error() string { return "damaged record: " + e.String() }

// readAhead is how much a reader takes from the disk at once, in bytes.
const readAhead = 128 << 10

// A Reader hands out the records of a lane in sequence. It holds 128 KiB of a segment in memory, or one record if that is
// larger, and nothing while there is no record for it. A Reader is used by one goroutine; a lane may have many.
type Reader struct {
	lane    *Lane
	pos     uint64
	seg     *segment // that entries belong to
	entries []entry
	win     window
}

// Reader returns a reader of the records from sequence from on that are not done. It needs no closing.
func (l *Lane) Reader(from uint64) *Reader { return &Reader{lane: l, pos: max(from, 1)} }

// Next returns the next record that is on disk and not done, and waits for one if there is none. The error is ctx's,
// ErrClosed, a *CorruptError (the reader has passed the record), or one of the disk (it has not; Next may be tried again).
func (r *Reader) Next(ctx context.Context) (Item, error) {
	for {
		item, wait, err := r.TryNext()
		if err != nil || wait == nil {
			return item, err
		}
		select {
		case <-wait:
		case <-r.lane.s.closed:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// TryNext is Next for a caller with more to wait for: when there is no record it returns a channel that is closed when
// there may be one. The channel is nil otherwise.
func (r *Reader) TryNext() (Item, <-chan struct{}, error) {
	g, end, wait, err := r.enter()
	if g == nil {
		r.seg, r.entries, r.win = nil, nil, window{} // an idle reader holds nothing
		if err != nil {
			err = fmt.Errorf("read lane %q: %w", r.lane.Name(), err)
		}
		return Item{}, wait, err
	}
	defer r.leave(g)
	item, err := r.read(g, end)
	if err != nil {
		return Item{}, nil, fmt.Errorf("read lane %q: %w", r.lane.Name(), err)
	}
	return item, nil, nil
}

// enter finds the segment of the next record and keeps it from being used again. end is how much of it is on disk.
func (r *Reader) enter() (g *segment, end int64, wait <-chan struct{}, err error) {
	l, s := r.lane, r.lane.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, 0, nil, ErrClosed
	}
	for i := l.search(r.pos); ; i = l.search(r.pos) {
		if i == len(l.extents) {
			if l.wake == nil {
				l.wake = make(chan struct{})
			}
			return nil, 0, l.wake, nil
		}
		e := l.extents[i]
		r.pos = l.done.next(max(r.pos, e.first))
		if r.pos <= e.last {
			g = e.seg
			break
		}
	}
	s.reading.Add(1)
	g.refs++
	return g, g.end, nil, nil
}

func (r *Reader) leave(g *segment) {
	s := r.lane.s
	s.mu.Lock()
	g.refs--
	kick := g.refs == 0 && g.live == 0 && g != s.active
	if kick {
		s.flush = true // what waited for this reader can go now
	}
	s.mu.Unlock()
	s.reading.Done()
	if kick {
		s.wakeWriter()
	}
}

// read reads the record at r.pos, which lies in g.
func (r *Reader) read(g *segment, end int64) (Item, error) {
	e, ok, err := r.locate(g, end)
	if err != nil {
		return Item{}, err
	}
	if !ok {
		return Item{}, r.corrupt(g, entry{seq: r.pos})
	}
	if r.win.file != g.slot.file || r.win.size > end || r.seg != g {
		r.win = window{file: g.slot.file, name: g.slot.name(), step: readAhead, buf: r.win.buf[:0]}
	}
	r.seg, r.win.size = g, end
	b, err := r.win.bytes(int64(e.at), int64(e.size))
	if err != nil {
		return Item{}, err
	}
	h, ok := g.codec.head(int64(e.at), b)
	if !ok || h.kind != kindData || h.lane != r.lane.num || h.seq != r.pos {
		return Item{}, r.corrupt(g, e)
	}
	payload, intact := g.codec.payload(h, b[headLen:])
	id, body, ok := splitName(payload)
	if !ok || !intact {
		return Item{}, r.corrupt(g, e)
	}
	r.pos++
	return Item{h.seq, Record{ID: slices.Clone(id), Body: slices.Clone(body), Flags: h.flags}}, nil
}

// corrupt reports the record at r.pos, keeps its segment as evidence, and passes it.
func (r *Reader) corrupt(g *segment, e entry) error {
	s := r.lane.s
	s.mu.Lock()
	g.hurt = true
	s.mu.Unlock()
	r.win.buf = r.win.buf[:0] // another try must see the disk
	d := Damage{File: g.slot.name(), Segment: g.num, Offset: int64(e.at), Length: int64(e.size), Lane: r.lane.Name(), Seq: r.pos,
		What: "bytes have changed since they were written"}
	r.pos++
	return &CorruptError{d}
}

// locate finds where the record at r.pos lies in g.
func (r *Reader) locate(g *segment, end int64) (entry, bool, error) {
	if e, ok := find(r.entries, r.pos); ok && r.seg == g {
		return e, true, nil
	}
	list, err := r.lane.s.indexOf(g, end, r.lane.num)
	if err != nil {
		return entry{}, false, err
	}
	r.seg, r.entries = g, list
	r.win.buf = r.win.buf[:0]
	e, ok := find(list, r.pos)
	return e, ok, nil
}

func find(list []entry, seq uint64) (entry, bool) {
	i, ok := slices.BinarySearchFunc(list, seq, func(e entry, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
	if !ok {
		return entry{}, false
	}
	return list[i], true
}

// indexOf returns where the records of a lane lie in g. If that is not in memory, the segment is scanned once for all lanes.
func (s *Spool) indexOf(g *segment, end int64, lane uint32) ([]entry, error) {
	if list, ok := s.indexed(g, lane); ok {
		return list, nil
	}
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if list, ok := s.indexed(g, lane); ok {
		return list, nil
	}
	x := newIndex()
	sc := &scanner{&window{file: g.slot.file, name: g.slot.name(), size: end}, g.codec}
	err := sc.walk(start, end, func(place int64, h head, _ []byte) error {
		if h.kind == kindData {
			x.add(h.lane, entry{h.seq, uint32(place), uint32(h.size())})
		}
		return nil
	}, func(hole) {})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.index = x
	s.cacheIndex(g)
	return x.lanes[lane], nil
}

func (s *Spool) indexed(g *segment, lane uint32) ([]entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.index == nil {
		return nil, false
	}
	if i := slices.Index(s.cached, g); i >= 0 { // used last
		s.cached = append(slices.Delete(s.cached, i, i+1), g)
	}
	return g.index.lanes[lane], true
}

// indexMax is how many entries (of 16 bytes) all indexes but those of the last two segments may hold.
const indexMax = 1 << 20

// cacheIndex keeps g's index in memory and lets go of the least used ones. Called with mu held.
func (s *Spool) cacheIndex(g *segment) {
	s.cached = append(s.cached, g)
	total := 0
	for _, c := range s.cached {
		total += c.index.total
	}
	for len(s.cached) > 1 && total > indexMax {
		total -= s.cached[0].index.total
		s.cached[0].index = nil
		s.cached = slices.Delete(s.cached, 0, 1)
	}
}
