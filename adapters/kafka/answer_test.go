package kafka

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produced is a produce response as a broker writes it, by an independent encoder.
func produced(version int16, codes ...sarama.KError) []byte {
	res := kmsg.NewPtrProduceResponse()
	res.SetVersion(version)
	for len(codes) > 0 {
		n := min(2, len(codes))
		t := kmsg.NewProduceResponseTopic()
		t.Topic = "orders"
		for i, code := range codes[:n] {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode, p.BaseOffset = int32(i), int16(code), 77
			if code != sarama.ErrNoError {
				e, text := kmsg.NewProduceResponseTopicPartitionErrorRecord(), "this one"
				e.RelativeOffset, e.ErrorMessage = 3, &text
				p.ErrorRecords = append(p.ErrorRecords, e)
				p.ErrorMessage = &text
			}
			t.Partitions = append(t.Partitions, p)
		}
		res.Topics = append(res.Topics, t)
		codes = codes[n:]
	}
	head := []byte{0, 0, 0, 9} // correlation id
	if version >= 9 {
		head = append(head, 0) // no tagged fields
	}
	return res.AppendTo(head)
}

// TestProduceErrors: every version's answer is read as an independent encoder writes it.
func TestProduceErrors(t *testing.T) {
	for version := int16(3); version <= 10; version++ {
		for _, codes := range [][]sarama.KError{{}, {0}, {sarama.ErrInvalidRecord}, {0, sarama.ErrNotLeaderForPartition, 0, sarama.ErrUnknown, sarama.ErrRequestTimedOut}} {
			want := slices.DeleteFunc(slices.Clone(codes), func(c sarama.KError) bool { return c == sarama.ErrNoError })
			if got := produceErrors(version, produced(version, codes...)); !slices.Equal(got, want) {
				t.Errorf("version %d, %d: got %d, want %d", version, codes, got, want)
			}
		}
	}
}

// FuzzProduceErrors: an answer that makes no sense ends, and is never taken for longer than it is.
func FuzzProduceErrors(f *testing.F) {
	for version := int16(3); version <= 10; version++ {
		f.Add(version, produced(version, 0, sarama.ErrInvalidRecord, 0))
	}
	f.Fuzz(func(t *testing.T, version int16, b []byte) {
		if got := produceErrors(version, b); len(got) > len(b) {
			t.Fatalf("%d errors in %d bytes", len(got), len(b))
		}
	})
}

// TestAnswersAreReadInPieces: however the bytes of a response come, its errors are seen when it is complete, before the
// reader gets the last of them.
func TestAnswersAreReadInPieces(t *testing.T) {
	response := produced(9, sarama.ErrTopicAuthorizationFailed)
	frame := append([]byte{0, 0, byte(len(response) >> 8), byte(len(response))}, response...)
	for size := 1; size <= len(frame); size++ {
		var seen []sarama.KError
		c := &conn{net: &network{maxFrame: 1 << 20, answers: func(codes []sarama.KError) { seen = append(seen, codes...) }}}
		c.asked.Store(keyProduce<<16 | 9)
		for range 2 { // two responses, one after the other
			for piece := range slices.Chunk(frame, size) {
				if err := c.measure(piece); err != nil {
					t.Fatal(err)
				}
			}
		}
		if want := []sarama.KError{sarama.ErrTopicAuthorizationFailed, sarama.ErrTopicAuthorizationFailed}; !slices.Equal(seen, want) {
			t.Fatalf("in pieces of %d: got %d, want %d", size, seen, want)
		}
	}
}

// TestStalledConnection: only who owes an answer is missed, and a group that waits for its members is not.
func TestStalledConnection(t *testing.T) {
	n := &network{maxFrame: 1 << 20, conns: map[io.Closer]struct{}{}}
	ours, theirs := net.Pipe()
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c := &conn{Conn: ours, net: n}
	n.keep(c)
	ask := func(key byte) {
		if _, err := c.Write([]byte{0, 0, 0, 8, 0, key, 0, 9, 0, 0, 0, 1}); err != nil {
			t.Fatal(err)
		}
		c.moved.Add(-int64(time.Minute)) // a minute passes
	}
	answer := func() {
		if err := c.measure([]byte{0, 0, 0, 4, 0, 0, 0, 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what string
		do   func()
		want bool
	}{
		{"nothing asked", func() {}, false},
		{"a fetch without an answer", func() { ask(1) }, true},
		{"answered", answer, false},
		{"joining a group", func() { ask(keyJoinGroup) }, false},
		{"answered again", answer, false},
	} {
		if step.do(); n.stalled(30*time.Second) != step.want {
			t.Errorf("%s: stalled is %v", step.what, !step.want)
		}
	}
}
