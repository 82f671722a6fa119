package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// listing is what a checkpoint says of an older segment.
type listing struct {
	end   int64 // of the bytes that count
	table int64 // place of its FOOTER record; 0 if it has none
}

// A piece is what recovery found of a lane in one segment.
type piece struct {
	seg *segment
	*part
	places spans // its sequences, if that is not all of them
}

// sequences returns the runs the piece has.
func (p piece) sequences() spans {
	if p.places != nil {
		return p.places
	}
	return p.part.runs()
}

// byIndex takes in a segment by its footer, without reading its records. It is false if the footer cannot be used.
func (r *recovery) byIndex(f *found, at listing) (bool, error) {
	sc := r.scanner(f)
	sc.win.step, sc.win.size = 4*block, min(sc.win.size, at.end)
	h, rows, _, good, err := sc.record(at.table)
	if err != nil || !good || h.kind != kindFooter || len(rows)%rowLen != 0 {
		return false, err
	}
	g := &segment{slot: f.slot, num: f.head.num, codec: sc.codec, end: at.end, table: at.table, once: f.slot.size != f.head.size}
	rows, larges := takeLarges(slices.Clone(rows))
	pieces, ok, err := r.rows(sc, g, rows)
	if !ok || err != nil {
		return false, err
	}
	for num, list := range pieces {
		l := r.lane(num)
		for _, p := range list {
			l.next = max(l.next, p.last+1)
		}
		r.pieces[num] = append(r.pieces[num], list...)
	}
	for _, f := range larges {
		r.large(f.lane, f.chunks, f.large)
	}
	r.segs = append(r.segs, g)
	r.report.Segments++
	r.report.Indexed++
	return true, nil
}

// foundLarge is a large record and the numbers of its lanes.
type foundLarge struct {
	lane, chunks uint32
	large        large
}

// takeLarges takes the rows of large records out of a footer.
func takeLarges(rows []byte) (parts []byte, list []foundLarge) {
	for ; len(rows) >= rowLen; rows = rows[rowLen:] {
		if lane, chunks, l, ok := decodeLarge(rows); ok {
			list = append(list, foundLarge{lane, chunks, l})
		} else {
			parts = append(parts, rows[:rowLen]...)
		}
	}
	return parts, list
}

// large takes in what a record is made of.
func (r *recovery) large(lane, chunks uint32, l large) {
	if r.larges[lane] == nil {
		r.larges[lane] = make(map[uint64]span)
	}
	r.larges[lane][l.seq] = l.chunks
	r.chunkOf[chunks] = lane
}

// isChunks notes that a lane is one of chunks, though its owner may not be known.
func (r *recovery) isChunks(num uint32) {
	if _, known := r.chunkOf[num]; !known {
		r.chunkOf[num] = 0
	}
}

// linkChunks ties lanes of chunks to their lanes. Chunks of a lane that is not there were written for a first
// record that was never finished.
func (r *recovery) linkChunks() {
	for num, owner := range r.chunkOf {
		c, l := r.lane(num), r.lanes[owner]
		if l == nil || l == c || l.name == "" && l.next == 1 && len(r.pieces[owner]) == 0 {
			c.of = &Lane{}
			c.done = spans{{1, max(c.next, 2) - 1}}
			continue
		}
		l.chunks, c.of, c.name = c, l, ownerName(owner)
	}
}

// settleChunks finds the large records of l that are live and whole. Chunks of others are done: their record is, or was
// never finished. A record that lacks a chunk is missing.
func (r *recovery) settleChunks(l *Lane) {
	c := l.chunks
	if c == nil {
		return
	}
	var present, live spans
	for _, p := range r.pieces[c.num] {
		for _, run := range p.sequences() {
			present.add(run)
		}
		c.next = max(c.next, p.last+1)
	}
	if n := len(c.done); n > 0 {
		c.next = max(c.next, c.done[n-1].last+1)
	}
	l.large = make(map[uint64]span)
	for seq, chunks := range r.larges[l.num] {
		switch all := chunks.last - chunks.first + 1; {
		case l.done.has(seq):
		case present.count(chunks) == all && c.done.count(chunks) == 0:
			l.large[seq] = chunks
			live.add(chunks)
		default:
			l.done.add(span{seq, seq})
			l.next = max(l.next, seq+1)
			r.report.Missing = append(r.report.Missing, Missing{l.name, seq, seq})
		}
	}
	if c.next > 1 {
		for _, gap := range live.missing(span{1, c.next - 1}) {
			c.done.add(gap)
		}
	}
}

// rows reads the table of a footer. The index itself is read only where sequences are skipped.
func (r *recovery) rows(sc *scanner, g *segment, rows []byte) (map[uint32][]piece, bool, error) {
	pieces := make(map[uint32][]piece)
	for ; len(rows) > 0; rows = rows[rowLen:] {
		num, p, ok := decodeRow(rows)
		if !ok {
			return nil, false, nil
		}
		if rows[rowLen-4] == rowOfChunks {
			r.isChunks(num)
		}
		next := piece{seg: g, part: p}
		if !p.dense() {
			h, places, _, good, err := sc.record(int64(p.index))
			if err != nil || !good || h.kind != kindIndex || h.lane != num {
				return nil, false, err
			}
			whole := part{span: p.span, count: p.count, places: places}
			next.places = whole.runs()
		}
		pieces[num] = append(pieces[num], next)
	}
	return pieces, true, nil
}

// record takes in a record that a scan has found. It is false if its sequence makes no sense.
func (r *recovery) record(g *segment, place int64, h head) bool {
	if h.seq == 0 {
		return false
	}
	l := r.lane(h.lane)
	l.next = max(l.next, h.seq+1)
	list := r.pieces[h.lane]
	for i := len(list) - 1; i >= 0 && list[i].seg == g; i-- {
		if list[i].last < h.seq {
			list[i].push(h.seq, uint32(place), h.size())
			return true
		}
	}
	p := newPart(l, h.seq)
	p.push(h.seq, uint32(place), h.size())
	r.pieces[h.lane] = append(list, piece{seg: g, part: p})
	return true
}

// extents makes the extents of a lane from its pieces. A record that was copied forward may be there twice: the copy in
// the newer segment counts. It returns which sequences are there.
func (l *Lane) adopt(pieces []piece) (present spans) {
	slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(a.seg.num, b.seg.num) })
	for _, p := range slices.Backward(pieces) {
		for _, run := range p.sequences() {
			for _, gap := range present.missing(run) {
				l.adoptRun(p, gap)
			}
			present.add(run)
		}
	}
	slices.SortFunc(l.extents, func(a, b extent) int { return cmp.Compare(a.first, b.first) })
	l.join()
	return present
}

// adoptRun makes an extent of a run without gaps, if anything in it is live.
func (l *Lane) adoptRun(p piece, run span) {
	all := run.last - run.first + 1
	e := extent{seg: p.seg, span: run, live: all - l.done.count(run), index: p.index}
	if p.index == 0 {
		e.part = p.part
	}
	if e.live == 0 {
		return
	}
	e.bytes = int64(float64(p.part.bytes) * float64(e.live) / float64(p.count))
	l.extents = append(l.extents, e)
	e.seg.live += e.live
	e.seg.liveBytes += e.bytes
	l.live += e.live
	l.bytes += e.bytes
}

// join makes one of extents of the same place with nothing but done records in between.
func (l *Lane) join() {
	joined := l.extents[:0]
	for _, e := range l.extents {
		if n := len(joined); n > 0 {
			last := &joined[n-1]
			if last.seg == e.seg && last.part == e.part && last.index == e.index && l.done.next(last.last+1) >= e.first {
				last.last = e.last
				last.live += e.live
				last.bytes += e.bytes
				continue
			}
		}
		joined = append(joined, e)
	}
	l.extents = slices.Clip(joined)
}

// eachListing calls f for each segment that a SEGMENTS record lists.
func eachListing(b []byte, f func(num uint64, at listing)) error {
	if len(b)%24 != 0 {
		return fmt.Errorf("list of segments has %d bytes", len(b))
	}
	for ; len(b) > 0; b = b[24:] {
		le := binary.LittleEndian
		f(le.Uint64(b), listing{int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))})
	}
	return nil
}
