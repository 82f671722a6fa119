package spool

import (
	"context"
	"errors"
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

// readGap is how many bytes of other lanes are read along rather than skipped.
const readGap = 8 << 10

// A Reader hands out the records of a lane in sequence. It holds up to 128 KiB of a segment in memory, or one record if that
// is larger, and some three bytes for each record of the lane in that segment; nothing while there is no record for it.
// A Reader is used by one goroutine; a lane may have many.
type Reader struct {
	lane *Lane
	pos  uint64
	ext  extent // the one cur was made for
	cur  cursor
	win  window
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
	in, wait, err := r.enter()
	if wait != nil || err != nil {
		r.ext, r.cur, r.win = extent{}, cursor{}, window{} // an idle reader holds nothing
		if err != nil {
			err = fmt.Errorf("read lane %q: %w", r.lane.Name(), err)
		}
		return Item{}, wait, err
	}
	defer r.leave(in.seg)
	item, err := r.read(in)
	if errors.Is(err, errGone) {
		return r.TryNext()
	}
	if err != nil {
		return Item{}, nil, fmt.Errorf("read lane %q: %w", r.lane.Name(), err)
	}
	return item, nil, nil
}

// A visit is what a reader sees of the extent that holds its next record. The segment is not used again before it leaves.
type visit struct {
	extent
	end    int64  // of what is on disk in the segment
	places []byte // of the part, if it is in memory
}

// enter finds the next record and moves pos to it.
func (r *Reader) enter() (in visit, wait <-chan struct{}, err error) {
	l, s := r.lane, r.lane.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return in, nil, ErrClosed
	}
	e := l.nextLive(&r.pos)
	if e == nil {
		if l.wake == nil {
			l.wake = make(chan struct{})
		}
		return in, l.wake, nil
	}
	in.extent, in.end = *e, e.seg.end
	if e.part != nil {
		in.places = e.part.places
	}
	s.reading.Add(1)
	e.seg.refs++
	return in, nil, nil
}

// nextLive moves pos to the first record from there on that is not done, and returns its extent, nil if there is none.
// Called with mu held.
func (l *Lane) nextLive(pos *uint64) *extent {
	for i := l.search(*pos); i < len(l.extents); i = l.search(*pos) {
		e := &l.extents[i]
		if *pos = l.done.next(max(*pos, e.first)); *pos <= e.last {
			return e
		}
	}
	return nil
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

// read reads the record at r.pos and passes it.
func (r *Reader) read(in visit) (Item, error) {
	h, payload, err := r.raw(in)
	if err != nil {
		return Item{}, err
	}
	item := Item{h.seq, Record{Flags: h.flags}}
	id, body, ok := splitName(payload)
	item.ID, item.Body = slices.Clone(id), slices.Clone(body)
	if h.kind == kindLarge {
		var chunks span
		var size int
		if _, _, chunks, size, ok = splitLarge(payload); ok && r.lane.chunks != nil {
			item.Body, err = r.assemble(h.seq, chunks, size)
		}
	}
	if !ok {
		return Item{}, &CorruptError{Damage{File: in.seg.slot.name(), Segment: in.seg.num, Lane: r.lane.Name(), Seq: h.seq, What: "it makes no sense"}}
	}
	if corrupt := (*CorruptError)(nil); err != nil && !errors.Is(err, errGone) && !errors.As(err, &corrupt) {
		r.pos = h.seq // to be tried again
	}
	return item, err
}

// raw reads the record at r.pos and passes it. The payload is valid until the next call.
func (r *Reader) raw(in visit) (head, []byte, error) {
	g := in.seg
	at, ok, err := r.locate(in)
	if err != nil {
		return head{}, nil, err
	}
	if !ok {
		return head{}, nil, r.corrupt(g, 0, 0)
	}
	r.win.size, r.win.step = in.end, r.ahead(at)
	b, err := r.win.bytes(at, headLen)
	if err != nil {
		return head{}, nil, err
	}
	h, ok := g.codec.head(at, b)
	if !ok || !h.kind.data() || h.lane != r.lane.num || h.seq != r.pos {
		return head{}, nil, r.corrupt(g, at, headLen)
	}
	if b, err = r.win.bytes(at, h.size()); err != nil {
		return head{}, nil, err
	}
	if int64(len(b)) < h.size() {
		return head{}, nil, r.corrupt(g, at, h.size())
	}
	payload, intact := g.codec.payload(h, b[headLen:])
	if !intact {
		return head{}, nil, r.corrupt(g, at, h.size())
	}
	r.pos++
	return h, payload, nil
}

// corrupt reports the record at r.pos, keeps its segment as evidence, and passes it.
func (r *Reader) corrupt(g *segment, at, size int64) error {
	s := r.lane.s
	s.mu.Lock()
	g.hurt = true
	s.mu.Unlock()
	r.win.buf = r.win.buf[:0] // another try must see the disk
	d := Damage{File: g.slot.name(), Segment: g.num, Offset: at, Length: size, Lane: r.lane.Name(), Seq: r.pos,
		What: "bytes have changed since they were written"}
	r.pos++
	return &CorruptError{d}
}

// ahead is how many bytes to read at once from a record at place at: up to where the lane's next records lie far apart.
func (r *Reader) ahead(at int64) int64 {
	if at >= r.win.at && at+headLen <= r.win.at+int64(len(r.win.buf)) {
		return block // of a large record the rest
	}
	end := at + block
	for c := r.cur; end-at < readAhead && c.next() && int64(c.at) <= end+readGap; {
		end = int64(c.at) + block
	}
	return min(end-at, readAhead)
}

// locate finds where the record at r.pos lies.
func (r *Reader) locate(in visit) (place int64, ok bool, err error) {
	if r.ext.seg != in.seg {
		r.win = window{file: in.seg.slot.file, name: in.seg.slot.name(), buf: r.win.buf[:0]}
	}
	if r.ext.seg != in.seg || r.ext.part != in.part || r.ext.index != in.index || r.cur.seq > r.pos {
		if r.cur, err = r.openIndex(in); err != nil {
			return 0, false, err
		}
	}
	if r.ext = in.extent; in.part != nil {
		r.cur.places = in.places // it may have grown
	}
	ok = r.cur.seek(r.pos)
	return int64(r.cur.at), ok, nil
}

// openIndex returns a cursor before the records of an extent. If the index is damaged, the segment is scanned instead.
func (r *Reader) openIndex(in visit) (cursor, error) {
	if in.part != nil {
		return in.part.cursor(in.places), nil
	}
	sc := &scanner{&window{file: in.seg.slot.file, name: in.seg.slot.name(), size: in.end, step: 2*int64(in.live) + block}, in.seg.codec}
	h, payload, _, good, err := sc.record(int64(in.index))
	if err != nil {
		return cursor{}, err
	}
	if good && h.kind == kindIndex && h.lane == r.lane.num {
		return cursor{places: payload, seq: h.seq - 1}, nil
	}
	s := r.lane.s
	s.mu.Lock()
	in.seg.hurt = true
	s.mu.Unlock()
	return r.scanIndex(in)
}

// scanIndex finds the records of the extent without an index.
func (r *Reader) scanIndex(in visit) (cursor, error) {
	p := newPart(r.lane, in.first)
	sc := &scanner{&window{file: in.seg.slot.file, name: in.seg.slot.name(), size: in.end}, in.seg.codec}
	err := sc.walk(start, in.end, func(place int64, h head, _ []byte) error {
		if h.kind.data() && h.lane == r.lane.num && h.seq >= in.first && h.seq <= in.last && h.seq > p.last {
			p.push(h.seq, uint32(place), h.size())
		}
		return nil
	}, func(hole) {})
	return p.cursor(p.places), err
}
