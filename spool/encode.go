package spool

const spansPerRecord = 4096

// encode turns b into bytes for the end of the segment in use and gives its records their sequences.
func (s *Spool) encode(b *batch) []byte {
	g, base := s.active, s.active.end
	synced, buf := uint32(g.synced), s.buf[:0]
	for _, m := range b.marks {
		for sp := m.spans; len(sp) > 0; {
			n := min(len(sp), spansPerRecord)
			buf = g.codec.append(buf, base, head{kind: kindDone, lane: m.lane.num, synced: synced}, appendSpans(nil, sp[:n]))
			sp = sp[n:]
		}
	}
	for _, o := range b.ops {
		if o.renamed != nil {
			buf = declare(g, buf, base, o.renamed, o.name)
		}
		if o.lane == nil {
			continue
		}
		o.first = o.lane.tail
		if o.step != nil && o.step.chunk != nil {
			buf = s.encodeChunk(b, o, buf)
			continue
		}
		for _, r := range o.recs {
			h := head{kind: kindData, flags: r.Flags, lane: o.lane.num, synced: synced, seq: o.lane.tail}
			buf = b.add(g, buf, base, o.lane, h, span{}, dataPrefix(r.ID), r.Body)
		}
	}
	for _, m := range b.moves {
		at := len(buf)
		h := m.head
		h.synced = synced
		buf = g.codec.append(buf, base, h, m.payload)
		e := entry{lane: m.lane, seq: h.seq, at: uint32(base) + uint32(at), size: int64(len(buf) - at)}
		if h.kind == kindLarge {
			_, _, e.chunks, _, _ = splitLarge(m.payload)
		}
		b.moved = append(b.moved, e)
	}
	buf = g.codec.pad(buf, base, synced)
	s.keepBuffer(buf)
	return buf
}

// add adds a record of a lane, with the lane's next sequence.
func (b *batch) add(g *segment, buf []byte, base int64, l *Lane, h head, chunks span, parts ...[]byte) []byte {
	if l.declared != g.num {
		l.declared = g.num
		buf = declare(g, buf, base, l, l.name)
	}
	at := len(buf)
	buf = g.codec.append(buf, base, h, parts...)
	b.entries = append(b.entries, entry{l, h.seq, uint32(base) + uint32(at), int64(len(buf) - at), chunks})
	l.tail++
	return buf
}

// encodeChunk adds a chunk, and behind the last of a record the record itself, which makes it one.
func (s *Spool) encodeChunk(b *batch, o *op, buf []byte) []byte {
	g, base, l, c := s.active, s.active.end, o.lane, o.lane.chunks
	synced, lg := uint32(g.synced), o.step.long
	buf = b.add(g, buf, base, c, head{kind: kindChunk, lane: c.num, synced: synced, seq: c.tail}, span{}, o.step.chunk)
	if !o.step.closes {
		return buf
	}
	r, chunks := lg.op.recs[lg.rec], span{c.tail - 1 - uint64(lg.chunks), c.tail - 1}
	h := head{kind: kindLarge, flags: r.Flags, lane: l.num, synced: synced, seq: l.tail}
	return b.add(g, buf, base, l, h, chunks, largePayload(r.ID, c.num, chunks, len(r.Body)))
}

// declare adds a lane's name, twice: a damaged one takes no name away.
func declare(g *segment, buf []byte, base int64, l *Lane, name string) []byte {
	for range 2 {
		h := head{kind: kindLane, flags: l.laneFlags(), lane: l.num, synced: uint32(g.synced), seq: l.tail}
		buf = g.codec.append(buf, base, h, dataPrefix([]byte(name)))
	}
	return buf
}

// keepBuffer keeps the memory of a batch for the next, unless it was an uncommonly large one.
func (s *Spool) keepBuffer(buf []byte) {
	if cap(buf) <= 2*batchMax {
		s.buf = buf[:0]
	}
}

// rewind takes the sequences of b back: its records are not on disk, or must not count.
func (s *Spool) rewind(b *batch) {
	for _, o := range b.ops {
		if o.lane != nil {
			o.first = 0
			for l := o.lane; l != nil; l = l.chunks {
				l.tail, l.declared = l.next, 0
			}
		}
	}
	b.entries, b.moved = b.entries[:0], b.moved[:0]
}
