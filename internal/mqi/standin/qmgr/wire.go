package qmgr

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Verbs, as client/wire.h numbers them.
const (
	verbConnect = iota + 1
	verbDisconnect
	verbOpen
	verbClose
	verbPut
	verbPut1
	verbGet
	verbInquire
	verbCommit
	verbBack
	verbSubscribe
	verbCreateHandle
	verbDeleteHandle
	verbSetProperty
	verbDeleteProperty
	verbInquireProperty
)

// verbNames are the calls as applications know them, by number.
var verbNames = [...]string{"", "MQCONNX", "MQDISC", "MQOPEN", "MQCLOSE", "MQPUT", "MQPUT1", "MQGET", "MQINQ", "MQCMIT", "MQBACK",
	"MQSUB", "MQCRTMH", "MQDLTMH", "MQSETMP", "MQDLTMP", "MQINQMP"}

// maxFrame bounds what a broken client can make us allocate: the largest message and room for structures.
const maxFrame = 128 << 20

// readFrame reads one frame and returns its body, which is the caller's.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// A request is a frame that is being read. Behind its end everything is zero and empty.
type request struct{ b []byte }

func (r *request) long() int32 {
	if len(r.b) < 4 {
		r.b = nil
		return 0
	}
	v := int32(binary.LittleEndian.Uint32(r.b))
	r.b = r.b[4:]
	return v
}

// bytes returns the next byte string; it shares the frame's memory.
func (r *request) bytes() []byte {
	n := int(r.long())
	if n < 0 || n > len(r.b) {
		n = len(r.b)
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *request) text() string { return string(r.bytes()) }

func (r *request) handle() int64 {
	low, high := r.long(), r.long()
	return int64(high)<<32 | int64(uint32(low))
}

// A reply is a frame that is being written: the length, completion code and reason, then what the call returns.
type reply struct{ b []byte }

func newReply() *reply { return &reply{make([]byte, 12, 1024)} }

func (r *reply) long(v int32)   { r.b = binary.LittleEndian.AppendUint32(r.b, uint32(v)) }
func (r *reply) bytes(p []byte) { r.long(int32(len(p))); r.b = append(r.b, p...) }
func (r *reply) handle(v int64) { r.long(int32(v)); r.long(int32(v >> 32)) }
func (r *reply) finish(c code) []byte {
	binary.LittleEndian.PutUint32(r.b, uint32(len(r.b)-4))
	binary.LittleEndian.PutUint32(r.b[4:], uint32(c.completion))
	binary.LittleEndian.PutUint32(r.b[8:], uint32(c.reason))
	return r.b
}

// A layout goes through a structure of the MQI field by field, and either reads it into Go values or writes those over it.
// What the caller's version of the structure does not have is left as it is.
type layout struct {
	b     []byte
	write bool
}

// next returns the next n bytes, or nil if the structure has no more.
func (l *layout) next(n int) []byte {
	if len(l.b) < n {
		l.b = nil
		return nil
	}
	p := l.b[:n]
	l.b = l.b[n:]
	return p
}

func (l *layout) skip(n int) { l.next(n) }

func (l *layout) long(v *int32) {
	p := l.next(4)
	switch {
	case p == nil:
	case l.write:
		binary.LittleEndian.PutUint32(p, uint32(*v))
	default:
		*v = int32(binary.LittleEndian.Uint32(p))
	}
}

func (l *layout) longs(vs ...*int32) {
	for _, v := range vs {
		l.long(v)
	}
}

func (l *layout) handle(v *int64) {
	p := l.next(8)
	switch {
	case p == nil:
	case l.write:
		binary.LittleEndian.PutUint64(p, uint64(*v))
	default:
		*v = int64(binary.LittleEndian.Uint64(p))
	}
}

// text is a field of n characters, padded with blanks; on reading a null ends it too.
func (l *layout) text(v *string, n int) {
	p := l.next(n)
	switch {
	case p == nil:
	case l.write:
		copy(p, fmt.Sprintf("%-*s", n, *v))
	default:
		s, _, _ := strings.Cut(string(p), "\x00")
		*v = strings.TrimRight(s, " ")
	}
}

// raw is a field of as many bytes as v has.
func (l *layout) raw(v []byte) {
	p := l.next(len(v))
	switch {
	case p == nil:
	case l.write:
		copy(p, v)
	default:
		copy(v, p)
	}
}
