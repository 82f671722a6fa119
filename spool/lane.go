package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Record is what the journal keeps.
type Record struct {
	ID    []byte // the owner's name for it, at most 65,535 bytes; may be empty
	Body  []byte
	Flags uint16 // the owner's; the journal gives them no meaning
}

func (r Record) size() int64 { return recordSize(2 + len(r.ID) + len(r.Body)) }

// A Lane is a sequence of records with its own numbers, from 1 without gaps. An idle lane costs a struct: no goroutine and
// no file. Its methods may be called at the same time.
type Lane struct {
	s    *Spool
	num  uint32
	name string

	// Guarded by Spool.mu.
	next    uint64   // sequence the next record gets
	done    spans    // also what is not on disk yet
	pending spans    // done, and not yet taken by a batch
	extents []extent // where the records are, in rising sequence
	live    uint64   // records that are not done
	bytes   int64    // of records whose mark is not on disk
	queued  int64    // bytes waiting for the writer
	quota   int64    // bytes; 0 is none
	wake    chan struct{}
	chunks  *Lane           // of its large records; nil if it never had one
	of      *Lane           // the lane whose chunks these are
	large   map[uint64]span // chunks of the large records that are not done
	long    *long           // that is being written
	named   bool            // it was renamed: its name is on disk though it may never have had a record

	// Only the writer uses these.
	tail     uint64 // next, with the batch being written
	declared uint64 // number of the last segment that holds the lane's name
}

// An extent is a stretch of a lane that lies in one segment. Sequences in it that the segment does not hold are done. The
// extents of a lane do not overlap. Those without a live record go, but for the segment in use.
type extent struct {
	seg  *segment
	part *part // tells the places of the records, if that is in memory
	span
	bytes int64  // of the live ones
	live  uint64 // records whose done mark is not on disk
	index uint32 // place of the INDEX record, if part is nil
}

const maxName = 1024

// Number names the lane within its journal's epoch for good: it is never given to another.
func (l *Lane) Number() uint32 { return l.num }

// laneSize is what a lane without ranges takes in a checkpoint.
func laneSize(name string) int64 { return 2 * recordSize(2+len(name)) }

// Lane returns the lane of that name (1 to 1,024 bytes), which it begins if it is new. A new lane is on disk with its
// first record. ErrTooManyLanes when the state of all lanes would take more than a quarter of a segment.
func (s *Spool) Lane(name string) (*Lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[name]; l != nil {
		return l, nil
	}
	if s.reserved[name] {
		return nil, fmt.Errorf("open lane %q: %w: it is just getting this name", name, ErrLaneExists)
	}
	if err := s.nameFits(name, 0); err != nil {
		return nil, fmt.Errorf("open lane %.40q: %w", name, err)
	}
	s.stateSize += laneSize(name)
	l := &Lane{s: s, num: s.nextLane, name: name, next: 1, tail: 1}
	s.nextLane++
	s.lanes[name] = l
	return l, nil
}

// nameFits reports why a lane cannot get a name, when less bytes of the state are given up for it. Called with mu held.
func (s *Spool) nameFits(name string, less int64) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("a name of %d bytes: from 1 to %d are allowed", len(name), maxName)
	case s.stateSize-less+laneSize(name) > s.opts.SegmentSize/4 || s.nextLane == math.MaxUint32:
		return ErrTooManyLanes
	}
	return nil
}

// Name returns the lane's name.
func (l *Lane) Name() string {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.name
}

// SetQuota bounds the bytes of the lane on disk and waiting; 0 is no bound. Appends beyond it get ErrLaneFull.
func (l *Lane) SetQuota(bytes int64) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.quota = bytes
}

// Append appends recs in order and returns the sequence of the first when all are on disk. With ErrFull, ErrLaneFull,
// ErrTooLarge, ErrClosed or ErrFailed nothing was appended. With ErrUnknown, or when ctx ended, they may be on disk or
// not, and recs must not be changed any more. With a *PartError the first of them are on disk. It blocks while too much
// waits for the writer.
func (l *Lane) Append(ctx context.Context, recs ...Record) (first uint64, err error) {
	type answer struct {
		first uint64
		err   error
	}
	c := make(chan answer, 1)
	if err := l.AppendAsync(ctx, recs, func(first uint64, err error) { c <- answer{first, err} }); err != nil {
		return 0, err
	}
	select {
	case a := <-c:
		return a.first, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("append to lane %q: %w: %w", l.Name(), ErrUnknown, ctx.Err())
	}
}

// AppendAsync hands recs to the writer and returns. done is called once, with what Append returns, unless AppendAsync
// itself returns an error; then nothing was appended. Records get their sequences in the order of the calls. done runs in
// the writer's goroutine: it must not block nor call the journal. recs belong to the journal until then.
// AppendAsync blocks while too much waits for the writer, until ctx ends.
func (l *Lane) AppendAsync(ctx context.Context, recs []Record, done func(first uint64, err error)) error {
	o := &op{lane: l, recs: recs, done: done}
	if err := l.measure(o); err != nil {
		return fmt.Errorf("append to lane %q: %w", l.Name(), err)
	}
	if len(recs) == 0 {
		return fmt.Errorf("append to lane %q: no record", l.name)
	}
	if err := l.s.enqueue(ctx, o); err != nil {
		return fmt.Errorf("append to lane %q: %w", l.Name(), err)
	}
	return nil
}

// measure finds how large the records of o are, and whether they can be written at all.
func (l *Lane) measure(o *op) error {
	s, large := l.s, false
	for _, r := range o.recs {
		switch {
		case len(r.ID) > math.MaxUint16 || int64(len(r.ID)) > s.opts.SegmentSize/16:
			return fmt.Errorf("%w: id of %d bytes", ErrTooLarge, len(r.ID))
		case len(r.Body) > MaxBody:
			return fmt.Errorf("%w: body of %d bytes, at most %d", ErrTooLarge, len(r.Body), MaxBody)
		case len(r.Body) > s.chunkSize():
			large = true
			o.size += int64(len(r.Body)/s.chunkSize()+1) * headLen
		}
		o.size += r.size()
	}
	o.long = large || o.size > s.batchLimit()
	if !large {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.chunkLane()
}

// stored is the bytes of the lane on disk. Called with mu held.
func (l *Lane) stored() int64 {
	if l.chunks == nil {
		return l.bytes
	}
	return l.bytes + l.chunks.bytes
}

// ErrSequence: a sequence was marked done that the lane has never had.
var ErrSequence = errors.New("sequence was never appended")

// Done marks records done: they are not handed out again and their room can be used. The marks reach the disk with a
// later batch, at the latest with Sync or Close; a crash before hands the records out again. Marking twice is harmless.
func (l *Lane) Done(seqs ...uint64) error {
	s := l.s
	s.mu.Lock()
	flush := false
	for _, seq := range seqs {
		if seq == 0 || seq >= l.next {
			s.mu.Unlock()
			return fmt.Errorf("mark %d done in lane %q: %w", seq, l.name, ErrSequence)
		}
		flush = l.mark(span{seq, seq}) || flush
	}
	s.mu.Unlock()
	if flush {
		s.wakeWriter()
	}
	return nil
}

// Purge marks every record of the lane done that was appended before the call.
func (l *Lane) Purge() {
	l.s.mu.Lock()
	flush := false
	if l.next > 1 {
		for _, gap := range l.done.missing(span{1, l.next - 1}) {
			flush = l.mark(gap) || flush
		}
	}
	l.s.mu.Unlock()
	if flush {
		l.s.wakeWriter()
	}
}

// marksMax is how many done marks may wait before they get a batch of their own.
const marksMax = 1024

// mark takes note of what is done, and reports whether the writer should be woken for it.
func (l *Lane) mark(r span) bool {
	for _, gap := range l.done.missing(r) {
		l.done.add(gap)
		l.pend(gap)
		l.live -= gap.last - gap.first + 1
		l.s.marks++
		if len(l.large) > 0 {
			l.markChunks(gap)
		}
	}
	// A lane that has just run empty may free older segments, and on a full disk any mark may: nobody should have to ask.
	empty := l.live == 0 && len(l.extents) > 0 && l.extents[0].seg != l.s.active
	if (empty || l.s.state == Full || l.s.marks >= marksMax) && l.s.marks > 0 {
		l.s.flush = true
	}
	return l.s.flush
}

// pend queues r for the next batch.
func (l *Lane) pend(r span) {
	if len(l.pending) == 0 {
		l.s.dirty = append(l.s.dirty, l)
	}
	l.pending.add(r)
}

// appended takes in a new record. Called with mu held.
func (l *Lane) appended(g *segment, e entry) {
	l.written(g, e)
	l.next = e.seq + 1
	l.live++
	l.bytes += e.size
	if e.chunks.first > 0 {
		if l.large == nil {
			l.large = make(map[uint64]span)
		}
		l.large[e.seq] = e.chunks
	}
}

// written takes in a record the writer has just put on disk in the segment in use. Called with mu held.
func (l *Lane) written(g *segment, rec entry) {
	e := l.extend(g, rec.seq)
	before := len(e.part.places)
	e.part.push(rec.seq, rec.at, rec.size)
	g.room += int64(len(e.part.places) - before)
	if rec.chunks.first > 0 {
		e.part.large = append(e.part.large, large{rec.seq, rec.chunks})
		g.room += rowLen
	}
	e.last = rec.seq
	e.live++
	e.bytes += rec.size
	g.live++
	g.liveBytes += rec.size
}

// extend returns the extent that seq goes to the end of, which may be a new one. Nothing but done records lie between.
func (l *Lane) extend(g *segment, seq uint64) *extent {
	i := l.search(seq)
	if i > 0 {
		e := &l.extents[i-1]
		if e.seg == g && e.part != nil && (e.last+1 == seq || l.done.next(e.last+1) >= seq) {
			return e
		}
	}
	p := newPart(l, seq)
	g.parts = append(g.parts, p)
	g.room += partRoom
	l.extents = slices.Insert(l.extents, i, extent{seg: g, part: p, span: p.span})
	return &l.extents[i]
}

// settled counts down what is live, since the marks for r are on disk now. Called with mu held.
func (l *Lane) settled(r span) {
	i := l.search(r.first)
	j := i
	for ; j < len(l.extents) && l.extents[j].first <= r.last; j++ {
		e := &l.extents[j]
		n := min(e.last, r.last) - max(e.first, r.first) + 1
		if e.live == 0 || n > e.live {
			continue
		}
		bytes := e.bytes / int64(e.live) * int64(n)
		if n == e.live {
			bytes = e.bytes
		}
		e.countDown(n, bytes)
		l.bytes -= bytes
	}
	l.trim(i, j)
}

func (e *extent) countDown(n uint64, bytes int64) {
	e.live -= n
	e.bytes -= bytes
	e.seg.live -= n
	e.seg.liveBytes -= bytes
}

// trimAll trims the extents that r touches. Called with mu held.
func (l *Lane) trimAll(r span) {
	i := l.search(r.first)
	j := i
	for j < len(l.extents) && l.extents[j].first <= r.last {
		j++
	}
	l.trim(i, j)
}

// trim lets go of extents i to j without live records. Those of the segment in use stay, since they may grow.
func (l *Lane) trim(i, j int) {
	keep := i
	for k := i; k < j; k++ {
		if e := l.extents[k]; e.live > 0 || e.seg == l.s.active {
			l.extents[keep] = e
			keep++
		}
	}
	if keep < j {
		l.extents = slices.Delete(l.extents, keep, j)
	}
}

// search returns the index of the first extent that ends at or after seq.
func (l *Lane) search(seq uint64) int {
	i, _ := slices.BinarySearchFunc(l.extents, seq, func(e extent, seq uint64) int {
		if e.last < seq {
			return -1
		}
		return 1
	})
	return i
}
