package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// MaxBody is the largest body of a record, in bytes.
const MaxBody = 64 << 20

// chunkMax is the largest body that is written in one piece. A larger one is cut into chunks of this size, which are
// records of a lane of their own that belongs to the lane.
const chunkMax = 256 << 10

func (s *Spool) chunkSize() int { return int(min(chunkMax, s.opts.SegmentSize/8)) }

// batchLimit is the most bytes of records in one batch.
func (s *Spool) batchLimit() int64 { return min(batchMax, s.opts.SegmentSize/4) }

// A long is an op that takes more than one batch: of large records, or of very many. Each batch takes one step of one of
// them, so that others do not wait for all of it. Its lane's later ops wait for its end. Guarded by Spool.mu.
type long struct {
	op     *op
	rec    int   // of op.recs, the first that is not on disk
	off    int   // bytes of its body that are on disk in chunks
	chunks int   // that these are
	after  []*op // of the same lane
	wait   []*op // that answer when all before them is on disk
}

// A PartError says that an append has ended half way: its first records are on disk. Err says what became of the rest.
// It is ErrUnknown to those who do not look closer.
type PartError struct {
	Written int // records, from the first
	Err     error
}

func (e *PartError) Error() string {
	return fmt.Sprintf("%v: the first %d records are on disk: %v", ErrUnknown, e.Written, e.Err)
}

// Unwrap returns ErrUnknown and Err.
func (e *PartError) Unwrap() []error { return []error{ErrUnknown, e.Err} }

// A step is what a batch takes of a long op: some records, or a chunk.
type step struct {
	long   *long
	chunk  []byte
	closes bool // it is the last chunk of its record
}

// large says which chunks a record is made of.
type large struct {
	seq    uint64 // of the record
	chunks span   // in the lane's lane of chunks
}

const largeTail = 32

// largePayload is the payload of a large record but for its chunks.
func largePayload(id []byte, lane uint32, chunks span, size int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(le.AppendUint32(dataPrefix(id), lane), 0)
	for _, v := range []uint64{chunks.first, chunks.last, uint64(size)} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func splitLarge(payload []byte) (id []byte, lane uint32, chunks span, size int, ok bool) {
	id, rest, ok := splitName(payload)
	if !ok || len(rest) != largeTail {
		return nil, 0, span{}, 0, false
	}
	le := binary.LittleEndian
	chunks = span{le.Uint64(rest[8:]), le.Uint64(rest[16:])}
	length := le.Uint64(rest[24:])
	ok = chunks.first > 0 && chunks.first <= chunks.last && length <= MaxBody
	return id, le.Uint32(rest), chunks, int(length), ok
}

// chunkLane makes the lane of chunks of l, if it has none. Called with mu held.
func (l *Lane) chunkLane() error {
	if l.chunks != nil {
		return nil
	}
	s := l.s
	name := ownerName(l.num)
	if err := s.nameFits(name, 0); err != nil {
		return err
	}
	s.stateSize += laneSize(name)
	l.chunks = &Lane{s: s, num: s.nextLane, name: name, of: l, next: 1, tail: 1}
	s.nextLane++
	return nil
}

// ownerName is what the LANE record of a lane of chunks holds in place of a name.
func ownerName(num uint32) string { return string(binary.LittleEndian.AppendUint32(nil, num)) }

// begin makes o a long op. Called with mu held.
func (s *Spool) beginLong(o *op) {
	lg := &long{op: o}
	o.lane.long = lg
	s.long = append(s.long, lg)
}

// step returns what the next batch takes of the long op whose turn it is. Called with mu held.
func (s *Spool) step() *op {
	lg := s.long[0]
	s.long = append(s.long[1:], lg)
	o, size := lg.op, s.chunkSize()
	st := &op{lane: o.lane, step: &step{long: lg}}
	st.done = func(first uint64, err error) { s.stepDone(st, first, err) }
	if body := o.recs[lg.rec].Body; len(body) > size {
		end := min(lg.off+size, len(body))
		st.step.chunk, st.step.closes = body[lg.off:end], end == len(body)
		st.size = recordSize(size)
		return st
	}
	n := lg.rec
	for ; n < len(o.recs) && len(o.recs[n].Body) <= size && (n == lg.rec || st.size+o.recs[n].size() <= int64(size)); n++ {
		st.size += o.recs[n].size()
	}
	st.recs = o.recs[lg.rec:n]
	return st
}

// stepDone goes on behind a step that is on disk, or ends the op.
func (s *Spool) stepDone(st *op, first uint64, err error) {
	lg, o := st.step.long, st.step.long.op
	s.mu.Lock()
	if err == nil {
		lg.advance(st, first)
	}
	end := err != nil || lg.rec == len(o.recs)
	if end {
		err = s.endLong(lg, err)
	}
	s.mu.Unlock()
	if end {
		o.done(o.first, err)
	}
}

func (lg *long) advance(st *op, first uint64) {
	if lg.op.first == 0 && (st.step.chunk == nil || st.step.closes) {
		lg.op.first = first
	}
	switch {
	case st.step.closes:
		lg.rec, lg.off, lg.chunks = lg.rec+1, 0, 0
	case st.step.chunk != nil:
		lg.off += len(st.step.chunk)
		lg.chunks++
	default:
		lg.rec += len(st.recs)
	}
}

// endLong lets those go on that have waited for lg. Chunks of a record that failed are done. Called with mu held.
func (s *Spool) endLong(lg *long, err error) error {
	o := lg.op
	if err != nil && lg.rec > 0 {
		err = &PartError{Written: lg.rec, Err: err}
	}
	if c := o.lane.chunks; lg.chunks > 0 {
		c.mark(span{c.next - uint64(lg.chunks), c.next - 1})
	}
	o.lane.long = nil
	o.lane.queued -= o.size
	s.long = slices.DeleteFunc(s.long, func(x *long) bool { return x == lg })
	s.longQueued -= o.size
	s.queue = slices.Concat(lg.after, s.queue)
	for _, w := range lg.wait {
		if w.waits--; w.waits == 0 {
			s.queue = append(s.queue, w)
		}
	}
	slices.SortFunc(s.queue, func(a, b *op) int { return cmp.Compare(a.num, b.num) })
	s.makeRoomFor()
	return err
}

// admit moves ops from the queue into b: all that fit, and one step of a long op. Called with mu held.
func (s *Spool) admit(b *batch) {
	limit, n := s.batchLimit(), 0
	if len(s.long) > 0 {
		limit /= 2
	}
	for ; n < len(s.queue); n++ {
		o := s.queue[n]
		if s.hold(o) {
			continue
		}
		if len(b.ops) > 0 && b.size+o.size > limit {
			break
		}
		b.ops = append(b.ops, o)
		b.size += o.size
		s.queued -= o.size
	}
	clear(s.queue[:n])
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.makeRoomFor()
	if len(s.long) > 0 {
		st := s.step()
		b.ops = append(b.ops, st)
		b.size += st.size
	}
}

// hold takes o if it cannot be in the next batch: it is a long op, or waits for one. Called with mu held.
func (s *Spool) hold(o *op) bool {
	switch {
	case o.lane == nil:
		for _, lg := range s.long {
			if lg.op.num < o.num {
				lg.wait = append(lg.wait, o)
				o.waits++
			}
		}
		return o.waits > 0
	case o.lane.long != nil:
		o.lane.long.after = append(o.lane.long.after, o)
	case o.long:
		s.beginLong(o)
	default:
		return false
	}
	return true
}

// makeRoomFor wakes those who wait for room in the queue. Called with mu held.
func (s *Spool) makeRoomFor() {
	if s.room != nil && (s.queued < s.opts.MaxQueue || s.longQueued < s.opts.MaxQueue) {
		close(s.room)
		s.room = nil
	}
}

// markChunks marks the chunks of the large records in r done. Called with mu held, after r itself was marked: on the disk
// too the record is done before its chunks are.
func (l *Lane) markChunks(r span) {
	drop := func(seq uint64) {
		if chunks, ok := l.large[seq]; ok {
			delete(l.large, seq)
			l.chunks.mark(chunks)
		}
	}
	if r.last-r.first < uint64(len(l.large)) {
		for seq := r.first; seq <= r.last; seq++ {
			drop(seq)
		}
		return
	}
	for seq := range l.large {
		if seq >= r.first && seq <= r.last {
			drop(seq)
		}
	}
}

// gone: a record was marked done while its chunks were read.
var errGone = errors.New("record is done")

// assemble reads the chunks of a large record.
func (r *Reader) assemble(seq uint64, chunks span, size int) ([]byte, error) {
	body := make([]byte, 0, size)
	sub := r.lane.chunks.Reader(chunks.first)
	for want := chunks.first; want <= chunks.last; want++ {
		part, err := sub.chunk(want)
		if err != nil {
			return nil, r.lost(seq, err)
		}
		body = append(body, part...)
	}
	if len(body) != size {
		return nil, r.lost(seq, errGone)
	}
	return body, nil
}

// lost says what it means that a chunk of seq cannot be read.
func (r *Reader) lost(seq uint64, err error) error {
	s := r.lane.s
	s.mu.Lock()
	done, name := r.lane.done.has(seq), r.lane.name
	s.mu.Unlock()
	var corrupt *CorruptError
	switch {
	case done:
		return errGone
	case errors.As(err, &corrupt):
		corrupt.Lane, corrupt.Seq = name, seq
		return corrupt
	case errors.Is(err, errGone):
		return &CorruptError{Damage{Lane: name, Seq: seq, What: "its chunks do not fit together"}}
	}
	return err
}

// chunk returns the chunk of that sequence, valid until the next call.
func (r *Reader) chunk(seq uint64) ([]byte, error) {
	in, wait, err := r.enter()
	if wait != nil {
		err = errGone
	}
	if err != nil {
		return nil, err
	}
	defer r.leave(in.seg)
	if r.pos != seq {
		return nil, errGone
	}
	h, payload, err := r.raw(in)
	if err == nil && h.kind != kindChunk {
		err = errGone
	}
	return payload, err
}
