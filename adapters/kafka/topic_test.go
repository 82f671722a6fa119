package kafka

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// TestCompression: every codec arrives, at us and at others.
func TestCompression(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			p := h.Place(t)
			c := h.Config(t, nil)
			c.Options = adapters.Options{"compression": codec}
			body := bytes.Repeat([]byte("again and "), 5000)
			m := &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: body}}
			if _, err := mustTarget(t, c, p.Target).Send(limited(t), []*adapters.Message{m, m}); err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			for _, d := range mustReceive(t, mustSource(t, c, p.Source), 2) {
				if !bytes.Equal(d.Message.Body.Data, body) {
					t.Errorf("%s: the body came differently", codec)
				}
			}
			if r := h.records(t, p.Target.Name, 1)[0]; !bytes.Equal(r.Value, body) || codec != "none" && r.Attrs.CompressionType() == 0 {
				t.Errorf("%s: the other client sees %d bytes, compression type %d", codec, len(r.Value), r.Attrs.CompressionType())
			}
		}
	})
}

// TestTopicLimit: the topic's own limit is known before anything is sent.
func TestTopicLimit(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		limit := "20000"
		a := h.at(h.topic(t, 1, map[string]*string{"max.message.bytes": &limit}))
		tg := mustTarget(t, h.Config(t, nil), a)
		if got := tg.Peer().MaxSize; got < 19_000 || got > 20_000 {
			t.Errorf("Peer.MaxSize: got %d, want just below 20000", got)
		}
		ms := texts(0, 60) // together far beyond the limit
		for _, m := range ms {
			m.Body.Data = append(m.Body.Data, make([]byte, 5000)...)
		}
		ms[30].Body.Data = make([]byte, 20_000)
		n, err := tg.Send(limited(t), ms)
		for i, err := range adapters.Fates(60, n, err) {
			if i == 30 && adapters.KindOf(err) != adapters.Permanent || i != 30 && err != nil {
				t.Errorf("fate of message %d: %v", i, err)
			}
		}
		if got := h.count(t, a.Name); got != 59 {
			t.Errorf("at the broker: got %d, want 59", got)
		}
	})
}

// TestCompactedTopic: a message without a key among others is the only one that is refused.
func TestCompactedTopic(t *testing.T) {
	h := realKafka(t)
	compact := "compact"
	a := h.at(h.topic(t, 1, map[string]*string{"cleanup.policy": &compact}))
	ms := texts(0, 5)
	for i, m := range ms {
		if i != 2 {
			m.Key = fmt.Appendf(nil, "k%d", i)
		}
	}
	n, err := mustTarget(t, h.Config(t, nil), a).Send(limited(t), ms)
	for i, err := range adapters.Fates(5, n, err) {
		if i == 2 && (adapters.KindOf(err) != adapters.Permanent || !strings.Contains(err.Error(), "key")) || i != 2 && err != nil {
			t.Errorf("fate of message %d: %v", i, err)
		}
	}
	if got := h.count(t, a.Name); got != 4 {
		t.Errorf("at the broker: got %d, want 4", got)
	}
}

// TestOnlyCommitted: aborted transactions are not seen, and the position passes them.
func TestOnlyCommitted(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		tx, err := kgo.NewClient(kgo.SeedBrokers(h.seeds...), kgo.TransactionalID(p.Source.Name))
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Close()
		for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
			if err := tx.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			r := &kgo.Record{Topic: p.Source.Name, Value: fmt.Appendf(nil, "m%04d", i)}
			if err := tx.ProduceSync(limited(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := tx.EndTransaction(limited(t), end); err != nil {
				t.Fatal(err)
			}
		}
		s := mustSource(t, h.Config(t, nil), p.Source)
		ds := mustReceive(t, s, 2)
		if got := strings.Join(bodies(ds), " "); got != "m0000 m0002" {
			t.Errorf("received: %s", got)
		}
		mustSettle(t, s, adapters.Accepted, ds...)
		if got := h.committed(t, p.Source, 0); got != 5 {
			t.Errorf("position: got %d, want 5: message 0, its marker, message 1, its marker, message 2", got)
		}
	})
}

// TestSameKeySamePartition: a key goes where other clients put it.
func TestSameKeySamePartition(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		a := h.at(h.topic(t, 5, nil))
		p := adaptertest.Place{Source: a, Target: a}
		ms := texts(0, 40)
		theirs := make([]adaptertest.Native, len(ms))
		for i, m := range ms {
			m.Key = fmt.Appendf(nil, "key-%d", i)
			theirs[i] = adaptertest.Native{Key: m.Key, Body: []byte("theirs")}
		}
		if _, err := mustTarget(t, h.Config(t, nil), a).Send(limited(t), ms); err != nil {
			t.Fatal(err)
		}
		h.Put(t, p, theirs...) // franz-go's default is the Java client's partitioner, too
		at, parts := map[string]int32{}, map[int32]bool{}
		for _, r := range h.records(t, a.Name, 80) {
			parts[r.Partition] = true
			if other, ok := at[string(r.Key)]; ok && other != r.Partition {
				t.Errorf("key %s is in partitions %d and %d", r.Key, other, r.Partition)
			}
			at[string(r.Key)] = r.Partition
		}
		if len(parts) != 5 {
			t.Errorf("only partitions %v are used", parts)
		}
	})
}

// TestWithoutKey: messages without a key of one Post keep together, and different Posts use all partitions.
func TestWithoutKey(t *testing.T) {
	_, h := startFake(t)
	a := h.at(h.topic(t, 3, nil))
	tg := mustTarget(t, h.Config(t, nil), a)
	for i := range 6 {
		if _, err := tg.Send(limited(t), texts(10*i, 10*i+10)); err != nil {
			t.Fatal(err)
		}
	}
	last, parts := map[int]int{}, map[int32]int{}
	of := map[int]int32{}
	for _, r := range h.records(t, a.Name, 60) {
		var n int
		if _, err := fmt.Sscanf(string(r.Value), "m%d", &n); err != nil {
			t.Fatal(err)
		}
		if p, ok := of[n/10]; ok && p != r.Partition {
			t.Errorf("post %d is in partitions %d and %d", n/10, p, r.Partition)
		}
		if prev, ok := last[n/10]; ok && prev >= n {
			t.Errorf("message %d comes after %d", n, prev)
		}
		of[n/10], last[n/10] = r.Partition, n
		parts[r.Partition]++
	}
	if len(parts) != 3 {
		t.Errorf("partitions used: %v", parts)
	}
}
