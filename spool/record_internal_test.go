package spool

import (
	"bytes"
	"testing"
)

// memory is a file for a window.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

// FuzzRecords reads any bytes as the records of a segment: no panic, no byte read twice or left out, no more time than the
// bytes are worth, and a good record is one that this program could have written.
func FuzzRecords(f *testing.F) {
	c := newCodec(7)
	var b []byte
	b = c.append(b, start, head{kind: kindLane, lane: 1, seq: 1}, dataPrefix([]byte("orders")))
	b = c.append(b, start, head{kind: kindData, lane: 1, seq: 1, flags: 3}, dataPrefix([]byte("id")), []byte("body"))
	b = c.append(b, start, head{kind: kindDone, lane: 1}, appendSpans(nil, []span{{1, 1}, {3, 9}}))
	b = c.pad(b, start, start)
	f.Add(b, 0, byte(0))
	f.Add(b, headLen+9, byte(1))
	f.Add(b[:100], 12, byte(0xff))
	f.Add(make([]byte, 3*block), 0, byte(1))
	f.Fuzz(func(t *testing.T, raw []byte, at int, flip byte) {
		if len(raw) > 64<<10 {
			return
		}
		raw = bytes.Clone(raw)
		if at >= 0 && at < len(raw) {
			raw[at] ^= flip
		}
		file := append(make(memory, start), raw...)
		end := int64(len(file))
		next, loops := int64(start), 0
		walker := &scanner{&window{file: file, size: end}, c}
		step := func(from, to int64) {
			if loops++; from != next || to <= from || loops > len(raw) {
				t.Fatalf("%d to %d comes after %d", from, to, next)
			}
			next = to
		}
		err := walker.walk(start, end, func(place int64, h head, payload []byte) error {
			step(place, place+h.size())
			if again := c.append(make([]byte, place-start, end), start, h, payload); !bytes.Equal(again[place-start:], file[place:place+h.size()]) {
				t.Errorf("record at %d: %+v is not what is written for it", place, h)
			}
			splitName(payload)
			eachPair(payload, func(uint64, uint64) {})
			return nil
		}, func(gap hole) { step(gap.from, gap.to) })
		if err != nil || next < end {
			t.Errorf("walked to %d of %d: %v", next, end, err)
		}
		if synced, last, err := walker.promised(); err != nil || synced > end || last > end {
			t.Errorf("promised %d, last %d of %d: %v", synced, last, end, err)
		}
	})
}

// FuzzHeader reads any bytes as the header of a segment, which is either refused or comes out as it was.
func FuzzHeader(f *testing.F) {
	good := segHeader{version: version, epoch: 2, num: 3, salt: 4, made: 5, size: 1 << 20, prev: segEnd{2, 8192}, owner: 9}.blocks()
	f.Add(good)
	f.Add(good[:block])
	f.Add(append(make([]byte, block), good[block:]...))
	f.Add(make([]byte, start))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, state := decodeHeader(b[:min(len(b), start)])
		if readable := state == headerGood || state == headerHurt; readable && h.version == version {
			if s := h.sector(); !bytes.Contains(b, s) {
				t.Errorf("%+v is not in the bytes it was read from", h)
			}
		}
	})
}
