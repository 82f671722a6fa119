package spool

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// The layout of records, as FORMAT.md draws it.
const (
	block   = 4096 // a batch starts and ends at a multiple of it
	align   = 32   // a record starts and ends at a multiple of it
	headLen = 32
)

type kind uint8

// zeros fills slots and batches; nobody writes to it.
var zeros [1 << 20]byte

// Zero is no kind, so a block of zeros holds no record.
const (
	kindData kind = 1 + iota
	kindDone
	kindLane
	kindSegments
	kindCheckpoint
	kindPad
	kindClosed
	kindIndex
	kindFooter
	kindLarge
	kindChunk
	kindEnd // the first number that is no kind
)

// data reports whether records of this kind have a place in a lane.
func (k kind) data() bool { return k == kindData || k == kindLarge || k == kindChunk }

// head is the first 32 bytes of a record.
type head struct {
	kind   kind
	flags  uint16
	lane   uint32
	length uint32 // of the payload
	synced uint32 // place up to which the segment was on disk when this was written
	seq    uint64
	sum    uint32 // of the payload
}

// size is what the record takes in its segment.
func (h head) size() int64 { return recordSize(int(h.length)) }

func recordSize(payload int) int64 {
	return (headLen + int64(payload) + align - 1) / align * align
}

// A codec writes and checks the records of one life of one slot.
type codec struct {
	seed  uint32 // checksum of the salt
	table *crc32.Table
}

func newCodec(salt uint64) codec {
	table := crc32.MakeTable(crc32.Castagnoli)
	return codec{crc32.Checksum(binary.LittleEndian.AppendUint64(nil, salt), table), table}
}

func (c codec) headSum(place int64, head []byte) uint32 {
	at := [4]byte{byte(place), byte(place >> 8), byte(place >> 16), byte(place >> 24)}
	return crc32.Update(crc32.Update(c.seed, c.table, at[:]), c.table, head[4:headLen])
}

func (c codec) paySum(parts ...[]byte) uint32 {
	sum := c.seed
	for _, p := range parts {
		sum = crc32.Update(sum, c.table, p)
	}
	return sum
}

// append adds a record to buf, whose first byte lies at place base of the segment. The payload is the parts, joined.
func (c codec) append(buf []byte, base int64, h head, parts ...[]byte) []byte {
	start := len(buf)
	buf = append(buf, make([]byte, headLen)...)
	for _, p := range parts {
		buf = append(buf, p...)
	}
	h.length = uint32(len(buf) - start - headLen)
	b := buf[start : start+headLen]
	le := binary.LittleEndian
	le.PutUint32(b[4:], c.paySum(parts...))
	le.PutUint32(b[8:], h.length)
	b[12] = byte(h.kind)
	le.PutUint16(b[14:], h.flags)
	le.PutUint32(b[16:], h.lane)
	le.PutUint32(b[20:], h.synced)
	le.PutUint64(b[24:], h.seq)
	le.PutUint32(b, c.headSum(base+int64(start), b))
	return append(buf, make([]byte, h.size()-int64(len(buf)-start))...)
}

// pad fills buf up to the end of its batch.
func (c codec) pad(buf []byte, base int64, synced uint32) []byte {
	rest := block - len(buf)%block
	if rest == block {
		return buf
	}
	return c.append(buf, base, head{kind: kindPad, synced: synced}, zeros[:rest-headLen])
}

// head reads the head of the record at place, whose first bytes are b. It is false for anything but an intact head.
func (c codec) head(place int64, b []byte) (head, bool) {
	if len(b) < headLen || b[12] == 0 || kind(b[12]) >= kindEnd || b[13] != 0 {
		return head{}, false
	}
	le := binary.LittleEndian
	if place > math.MaxUint32 || le.Uint32(b) != c.headSum(place, b) {
		return head{}, false
	}
	return head{
		kind: kind(b[12]), flags: le.Uint16(b[14:]), lane: le.Uint32(b[16:]), length: le.Uint32(b[8:]),
		synced: le.Uint32(b[20:]), seq: le.Uint64(b[24:]), sum: le.Uint32(b[4:]),
	}, true
}

// payload returns the payload of h from body, which is all of the record behind its head. It is false unless every byte,
// the padding included, is as it was written.
func (c codec) payload(h head, body []byte) ([]byte, bool) {
	if int64(len(body)) != h.size()-headLen || !zero(body[h.length:]) {
		return nil, false
	}
	body = body[:h.length]
	return body, c.paySum(body) == h.sum
}

// dataPrefix is the part of a DATA payload before the body.
func dataPrefix(id []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(make([]byte, 0, 2+len(id)), uint16(len(id))), id...)
}

// splitName takes a length of two bytes and that many bytes from the front: an id or a name.
func splitName(payload []byte) (name, rest []byte, ok bool) {
	if len(payload) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(payload))
	if len(payload) < 2+n {
		return nil, nil, false
	}
	return payload[2 : 2+n], payload[2+n:], true
}

func appendSpans(b []byte, spans []span) []byte {
	for _, s := range spans {
		b = binary.LittleEndian.AppendUint64(b, s.first)
		b = binary.LittleEndian.AppendUint64(b, s.last)
	}
	return b
}

// eachPair calls f for each pair of numbers in b; it is false if b is not made of pairs.
func eachPair(b []byte, f func(x, y uint64)) bool {
	for ; len(b) >= 16; b = b[16:] {
		f(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
	}
	return len(b) == 0
}
