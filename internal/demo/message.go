package demo

import (
	"encoding/binary"
	"hash/crc32"
)

// minSize holds the number and the checksum of a message.
const minSize = 64

// body makes message number n: everything in it follows from n, and a checksum covers it.
func body(n uint64, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, n)
	for i := 12; i < size; i++ {
		b[i] = byte(n>>(i%8)) ^ byte(i)
	}
	binary.BigEndian.PutUint32(b[8:], checksum(b))
	return b
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:8]), crc32.IEEETable, b[12:])
}

// number returns the number of b, and whether b is whole.
func number(b []byte) (uint64, bool) {
	if len(b) < minSize {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]) == checksum(b)
}
