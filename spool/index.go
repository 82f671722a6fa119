package spool

import (
	"encoding/binary"
	"math"
)

// A part is what a segment holds of one lane, in rising sequence. It may skip sequences.
type part struct {
	lane   *Lane
	span   // first and last sequence
	count  uint64
	bytes  int64   // of the records
	at     uint32  // place of the last one
	places []byte  // packed: see push
	large  []large // records that are made of chunks
	index  uint32  // place of its INDEX record; 0 until it is written
}

func newPart(l *Lane, seq uint64) *part { return &part{lane: l, span: span{seq, seq - 1}} }

// push adds a record behind all others. A record takes the distance from the one before, in units of align and shifted by
// one bit; that bit says that sequences are skipped, and how many follows. So most records take one to three bytes.
func (p *part) push(seq uint64, at uint32, size int64) {
	step, skip := uint64(at-p.at)/align<<1, seq-p.last-1
	if skip == 0 {
		p.places = binary.AppendUvarint(p.places, step)
	} else {
		p.places = binary.AppendUvarint(binary.AppendUvarint(p.places, step|1), skip)
	}
	p.last, p.at = seq, at
	p.count++
	p.bytes += size
}

// dense reports whether no sequence is skipped.
func (p *part) dense() bool { return p.count == p.last-p.first+1 }

// runs returns the sequences of the part.
func (p *part) runs() (s spans) {
	if p.dense() {
		return spans{p.span}
	}
	for c := p.cursor(p.places); c.next(); {
		s.add(span{c.seq, c.seq})
	}
	return s
}

// cursor returns a cursor before the first record. places are the part's, or a copy of their first bytes.
func (p *part) cursor(places []byte) cursor { return cursor{places: places, seq: p.first - 1} }

// A cursor walks through packed places.
type cursor struct {
	places []byte
	read   int    // bytes of places
	seq    uint64 // of the record it is at
	at     uint32 // its place in the segment
}

// next goes to the next record; false at the end.
func (c *cursor) next() bool {
	step, n := binary.Uvarint(c.places[c.read:])
	if n <= 0 {
		return false
	}
	skip := uint64(0)
	if step&1 != 0 {
		var m int
		if skip, m = binary.Uvarint(c.places[c.read+n:]); m <= 0 {
			return false
		}
		n += m
	}
	c.read += n
	c.seq += skip + 1
	c.at += uint32(step >> 1 * align)
	return true
}

// seek goes forward to seq; false if it is not there. The cursor then is at the first record behind it, or at the end.
func (c *cursor) seek(seq uint64) bool {
	for c.seq < seq {
		if !c.next() {
			return false
		}
	}
	return c.seq == seq
}

const (
	rowLen      = 40
	rowOfChunks = 1 // a flag: the lane is one of chunks
)

// appendRow adds what the footer says of a part.
func (p *part) appendRow(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, p.lane.num)
	b = le.AppendUint32(b, uint32(p.count))
	for _, v := range []uint64{p.first, p.last, uint64(p.bytes)} {
		b = le.AppendUint64(b, v)
	}
	flags := uint32(0)
	if p.lane.of != nil {
		flags = rowOfChunks
	}
	return le.AppendUint32(le.AppendUint32(b, p.index), flags)
}

// appendRow adds what the footer says of a large record: as of a part without records.
func (r large) appendRow(b []byte, l *Lane) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(b, l.num), 0)
	for _, v := range []uint64{r.seq, r.chunks.first, r.chunks.last} {
		b = le.AppendUint64(b, v)
	}
	return le.AppendUint32(le.AppendUint32(b, l.chunks.num), 0)
}

// decodeLarge is the reverse. chunks is the number of the lane of chunks. It is false for the row of a part.
func decodeLarge(b []byte) (lane, chunks uint32, r large, ok bool) {
	le := binary.LittleEndian
	r = large{le.Uint64(b[8:]), span{le.Uint64(b[16:]), le.Uint64(b[24:])}}
	return le.Uint32(b), le.Uint32(b[32:]), r, le.Uint32(b[4:]) == 0 && r.seq > 0 && r.chunks.first > 0 && r.chunks.last >= r.chunks.first
}

// decodeRow is the reverse for a part; the number of the lane comes apart.
func decodeRow(b []byte) (lane uint32, p *part, ok bool) {
	le := binary.LittleEndian
	p = &part{
		count: uint64(le.Uint32(b[4:])), span: span{le.Uint64(b[8:]), le.Uint64(b[16:])}, bytes: int64(le.Uint64(b[24:])),
		index: le.Uint32(b[32:]),
	}
	ok = p.first > 0 && p.last >= p.first && p.last < math.MaxUint64 && p.count > 0 && p.count <= p.last-p.first+1 && p.index >= start
	return le.Uint32(b), p, ok
}

// footer encodes the index of g for its end: a record of places for each part, and a table of the parts. Parts whose
// records are all done are left out.
func (s *Spool) footer(g *segment) (buf []byte, table int64) {
	buf = s.buf[:0]
	synced := uint32(g.synced)
	var rows []byte
	for _, p := range g.parts {
		if p.lane.done.count(p.span) == p.last-p.first+1 {
			continue
		}
		p.index = uint32(g.end) + uint32(len(buf))
		buf = g.codec.append(buf, g.end, head{kind: kindIndex, lane: p.lane.num, synced: synced, seq: p.first}, p.places)
		rows = p.appendRow(rows)
		for _, r := range p.large {
			if !p.lane.done.has(r.seq) {
				rows = r.appendRow(rows, p.lane)
			}
		}
	}
	table = g.end + int64(len(buf))
	buf = g.codec.append(buf, g.end, head{kind: kindFooter, synced: synced}, rows)
	return g.codec.pad(buf, g.end, synced), table
}

// indexRoom is how many bytes the index of the segment in use needs if the records of b join it. It is an estimate: an
// index that does not fit is left out.
func (s *Spool) indexRoom(b *batch) int64 {
	n := headLen + s.active.room + 4*int64(len(b.entries)+len(b.moves)) + partRoom*int64(len(b.ops)+len(b.moves))
	return (n + block - 1) / block * block
}

// partRoom is what a part without places takes in the index.
const partRoom = rowLen + headLen + align

// seal writes the index of the segment in use behind its last batch, if it fits, and lets go of it in memory. After an
// error the segment ends where it ended, without an index.
func (s *Spool) seal() error {
	g := s.active
	if g == nil || g.once || g.live == 0 {
		return nil
	}
	s.mu.Lock()
	buf, table := s.footer(g)
	s.mu.Unlock()
	if g.end+int64(len(buf)) > g.slot.size {
		return nil
	}
	s.keepBuffer(buf)
	if _, err := s.store(g, buf, true, nil); err != nil {
		return s.unsynced(err)
	}
	s.mu.Lock()
	g.end += int64(len(buf))
	s.lastSeg.end, g.table = g.end, table
	for _, p := range g.parts {
		p.lane.onDisk(p)
	}
	s.mu.Unlock()
	s.settleHeld()
	return nil
}

// onDisk lets extents find their index on the disk. Called with mu held.
func (l *Lane) onDisk(p *part) {
	if p.index == 0 {
		return
	}
	for i := l.search(p.first); i < len(l.extents) && l.extents[i].first <= p.last; i++ {
		if e := &l.extents[i]; e.part == p {
			e.part, e.index = nil, p.index
		}
	}
}
