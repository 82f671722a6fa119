package kafka

import (
	"encoding/binary"

	"github.com/IBM/sarama"
)

// keyProduce is the key of a produce request (Kafka protocol guide, "Api Keys").
const keyProduce = 0

// A reader walks over one response; past its end it reads zeros and is bad.
type reader struct {
	b        []byte
	flexible bool // compact lengths and tagged fields (KIP-482)
	bad      bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return make([]byte, 8)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) int16() int16 { return int16(binary.BigEndian.Uint16(r.take(2))) }

func (r *reader) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<31 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// length is that of an array or, with wide false, of a string; -1 is null.
func (r *reader) length(wide bool) int {
	switch {
	case r.flexible:
		return r.uvarint() - 1
	case wide:
		return int(int32(binary.BigEndian.Uint32(r.take(4))))
	}
	return int(r.int16())
}

func (r *reader) skipString() { r.take(max(r.length(false), 0)) }

func (r *reader) skipTags() {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		r.uvarint()
		r.take(r.uvarint())
	}
}

// produceErrors are the error codes in a produce response without its length, zeros left out (Kafka protocol guide,
// Produce API, versions 3 to 10).
func produceErrors(version int16, response []byte) (codes []sarama.KError) {
	r := &reader{b: response, flexible: version >= 9}
	r.take(4) // correlation id
	r.skipTags()
	for topics := r.length(true); topics > 0 && !r.bad; topics-- {
		r.skipString()
		for parts := r.length(true); parts > 0 && !r.bad; parts-- {
			r.take(4) // partition
			if code := sarama.KError(r.int16()); code != sarama.ErrNoError {
				codes = append(codes, code)
			}
			r.skipPartition(version)
		}
		r.skipTags()
	}
	return codes
}

func (r *reader) skipPartition(version int16) {
	r.take(8 + 8) // base offset, append time
	if version >= 5 {
		r.take(8) // log start offset
	}
	if version >= 8 {
		for n := r.length(true); n > 0 && !r.bad; n-- {
			r.take(4)
			r.skipString()
			r.skipTags()
		}
		r.skipString()
	}
	r.skipTags()
}

// repeated reports whether the producer repeats a batch that was answered with code, within its retries.
func repeated(code sarama.KError) bool {
	switch code {
	case sarama.ErrInvalidMessage, sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition,
		sarama.ErrRequestTimedOut, sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrKafkaStorageError:
		return true
	}
	return false
}
