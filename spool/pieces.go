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
	pieces, ok, err := r.rows(sc, g, slices.Clone(rows))
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
	r.segs = append(r.segs, g)
	r.report.Segments++
	r.report.Indexed++
	return true, nil
}

// rows reads the table of a footer. The index itself is read only where sequences are skipped.
func (r *recovery) rows(sc *scanner, g *segment, rows []byte) (map[uint32][]piece, bool, error) {
	pieces := make(map[uint32][]piece)
	for ; len(rows) > 0; rows = rows[rowLen:] {
		num, p, ok := decodeRow(rows)
		if !ok {
			return nil, false, nil
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

// record takes in a record that a scan has found.
func (r *recovery) record(g *segment, place int64, h head) {
	l := r.lane(h.lane)
	l.next = max(l.next, h.seq+1)
	list := r.pieces[h.lane]
	for i := len(list) - 1; i >= 0 && list[i].seg == g; i-- {
		if list[i].last < h.seq {
			list[i].push(h.seq, uint32(place), h.size())
			return
		}
	}
	p := newPart(l, h.seq)
	p.push(h.seq, uint32(place), h.size())
	r.pieces[h.lane] = append(list, piece{seg: g, part: p})
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
