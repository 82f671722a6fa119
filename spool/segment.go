package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/spool/vfs"
)

const (
	magic      = "PHSPOOL\n"
	version    = 1
	sector     = 512       // a disk writes this much wholly or not at all
	copyB      = block     // place of the second header
	start      = 2 * block // place of the first batch
	slotSuffix = ".seg"
)

// segHeader is the first sector of a segment.
type segHeader struct {
	version uint32
	epoch   uint32
	num     uint64
	salt    uint64
	made    int64 // Unix ns
	size    int64
	prev    segEnd
	owner   uint64
}

// segEnd says how many bytes of a segment count.
type segEnd struct {
	num uint64
	end int64
}

func (h segHeader) sector() []byte {
	b := append(make([]byte, 0, sector), magic...)
	le := binary.LittleEndian
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, h.epoch)
	for _, v := range []uint64{h.num, h.salt, uint64(h.made), uint64(h.size), h.prev.num, uint64(h.prev.end), h.owner} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, make([]byte, sector-4-len(b))...)
	return le.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// blocks is the header as it lies on the disk: two copies, each in a sector at the start of a block of its own.
func (h segHeader) blocks() []byte {
	b := make([]byte, start)
	s := h.sector()
	copy(b, s)
	copy(b[copyB:], s)
	return b
}

func decodeSector(b []byte) (segHeader, bool) {
	le := binary.LittleEndian
	if string(b[:8]) != magic || le.Uint32(b[sector-4:]) != crc32.Checksum(b[:sector-4], crc32.MakeTable(crc32.Castagnoli)) {
		return segHeader{}, false
	}
	return segHeader{
		version: le.Uint32(b[8:]), epoch: le.Uint32(b[12:]), num: le.Uint64(b[16:]), salt: le.Uint64(b[24:]),
		made: int64(le.Uint64(b[32:])), size: int64(le.Uint64(b[40:])),
		prev: segEnd{le.Uint64(b[48:]), int64(le.Uint64(b[56:]))}, owner: le.Uint64(b[64:]),
	}, true
}

// headerState is what the first blocks of a slot say about it.
type headerState int

const (
	headerNone    headerState = iota // never used
	headerGood                       // one copy is enough
	headerHurt                       // one copy is good, the other damaged
	headerDamaged                    // neither copy can be read, though both were written
)

// decodeHeader reads both copies. In a slot that is used again the crash may have left one copy of the old life and one of
// the new: the higher number counts, since the old life ended before the new one was begun.
func decodeHeader(b []byte) (segHeader, headerState) {
	short := len(b) < start // a slot is filled before a header is written, so a short one was cut
	b = append(slices.Clip(b), make([]byte, start-len(b))...)
	one, two := b[:sector], b[copyB:copyB+sector]
	h1, ok1 := decodeSector(one)
	h2, ok2 := decodeSector(two)
	switch {
	case ok1 && ok2 && h2.num > h1.num:
		return h2, headerGood
	case ok1 && (ok2 || zero(two)):
		return h1, headerGood
	case ok2 && zero(one):
		return h2, headerGood
	case ok1:
		return h1, headerHurt
	case ok2:
		return h2, headerHurt
	case zero(b) || !short && (zero(one) || zero(two)):
		return segHeader{}, headerNone
	}
	return segHeader{}, headerDamaged
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// A slot is a file that holds one segment after the other.
type slot struct {
	id   uint32
	file vfs.File
	size int64 // bytes that are allocated
}

func (s *slot) name() string { return slotName(s.id) }

func slotName(id uint32) string { return fmt.Sprintf("%08x%s", id, slotSuffix) }

func slotID(name string) (uint32, bool) {
	hex, ok := strings.CutSuffix(name, slotSuffix)
	if !ok || len(hex) != 8 {
		return 0, false
	}
	id, err := strconv.ParseUint(hex, 16, 32)
	return uint32(id), err == nil && slotName(uint32(id)) == name
}

// A segment is one life of a slot. Its fields are guarded by Spool.mu, but for those that never change.
type segment struct {
	slot      *slot
	num       uint64
	codec     codec
	end       int64  // up to here it counts
	synced    int64  // up to here it is on disk; less than end only under NoSync. Only the writer uses it
	head      int64  // end of its checkpoint
	table     int64  // place of the FOOTER record; 0 if there is none
	live      uint64 // records whose done mark is not on disk
	liveBytes int64  // of those
	refs      int    // readers inside
	once      bool   // the slot must not be used again: a write failed, or it has another size
	hurt      bool   // damaged: kept as evidence
	stuck     bool   // its records are not copied forward any more

	parts []*part // of the segment in use
	room  int64   // bytes its index will take, about
}
