package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// replyAt is reply n to a requester that reads one partition of a topic.
func replyAt(n int, topic string, partition int32) *adapters.Message {
	m := texts(n, n+1)[0]
	m.Dest = topic
	m.Props = append(m.Props, adapters.Prop{Name: "kafka_replyPartition", V: adapters.Bytes(binary.BigEndian.AppendUint32(nil, uint32(partition)))})
	return m
}

// TestReplyPartition: replies go to the partition that their requester reads, without the header that named it; one that is
// not there is said of its message alone.
func TestReplyPartition(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		topic, own := h.topic(t, 4, nil), h.at(h.topic(t, 1, nil))
		var ms []*adapters.Message
		want := map[string]int32{}
		for i := range 12 {
			m := replyAt(i, topic, int32(i%4))
			if i%3 == 0 {
				m.Key = []byte("one key")
			}
			want[fmt.Sprintf("m%04d", i)], ms = int32(i%4), append(ms, m)
		}
		ms = append(ms, replyAt(12, topic, 4), replyAt(13, topic, -1))
		n, err := mustTarget(t, h.Config(t, nil), own).Send(limited(t), ms)
		for i, err := range adapters.Fates(14, n, err) {
			if i < 12 && err != nil || i >= 12 && (adapters.KindOf(err) != adapters.Permanent || !errors.Is(err, adapters.ErrGone)) {
				t.Errorf("fate of reply %d: %v", i, err)
			}
		}
		got := map[string]int32{}
		for _, r := range h.records(t, topic, 12) {
			got[string(r.Value)] = r.Partition
			if len(r.Headers) > 0 {
				t.Errorf("headers %v", r.Headers)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// TestReplyTopicInATransaction: an exactly-once lane sends replies to the topics of their requesters, too.
func TestReplyTopicInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		topic, p := h.topic(t, 3, nil), h.Place(t)
		mustSendTx(t, mustTx(t, h.Config(t, nil), p), []*adapters.Message{replyAt(0, topic, 2), texts(1, 2)[0]}, upTo(2))
		if r := h.records(t, topic, 1)[0]; r.Partition != 2 || string(r.Value) != "m0000" {
			t.Errorf("%q is in partition %d", r.Value, r.Partition)
		}
		wantOnce(t, h, p, "m0001")
	})
}
