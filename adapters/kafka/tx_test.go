package kafka

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// laneOf makes a name for a lane that no other test uses.
func laneOf(p adaptertest.Place) string { return strings.ReplaceAll(p.Target.Name, "-", ".") }

func mustTx(t testing.TB, c adapters.Config, p adaptertest.Place) adapters.TxTarget {
	t.Helper()
	x, err := New().OpenTx(limited(t), c, p.Target, laneOf(p))
	if err != nil {
		t.Fatalf("open with transactions: %v", err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// some is n numbered messages from i on.
func some(i, n int) []*adapters.Message {
	ms := make([]*adapters.Message, n)
	for k := range ms {
		ms[k] = &adapters.Message{Body: bytesBody(fmt.Sprintf("%06d", i+k))}
	}
	return ms
}

func upTo(last uint64, holes ...uint64) adapters.Position {
	return adapters.Position{Last: last, Holes: holes}
}

func mustSendTx(t testing.TB, x adapters.TxTarget, ms []*adapters.Message, p adapters.Position) {
	t.Helper()
	if err := x.SendTx(limited(t), ms, p); err != nil {
		t.Fatalf("send up to %d: %v", p.Last, err)
	}
}

func wantKind(t testing.TB, err error, k adapters.Kind) {
	t.Helper()
	if err == nil || adapters.KindOf(err) != k {
		t.Fatalf("got %v (%v), want kind %v", err, adapters.KindOf(err), k)
	}
}

// wantPosition opens the lane, which fences whoever has it.
func wantPosition(t testing.TB, h *harness, p adaptertest.Place, want adapters.Position) adapters.TxTarget {
	t.Helper()
	x := mustTx(t, h.Config(t, nil), p)
	if got := x.Position(); !reflect.DeepEqual(got, want) {
		t.Fatalf("position %v, want %v", got, want)
	}
	return x
}

// wantOnce compares with what a reader of committed records sees.
func wantOnce(t testing.TB, h *harness, p adaptertest.Place, want ...string) {
	t.Helper()
	if got := h.committedIn(t, p.Target.Name); !slices.Equal(got, want) {
		t.Fatalf("a reader of committed records sees %q, want %q", got, want)
	}
}

func TestATransactionKeepsItsPosition(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		x := wantPosition(t, h, p, adapters.Position{})
		mustSendTx(t, x, some(1, 2), upTo(3, 2))
		mustSendTx(t, x, nil, upTo(4, 2))
		mustSendTx(t, x, some(5, 1), upTo(5))
		wantPosition(t, h, p, upTo(5))
		wantOnce(t, h, p, "000001", "000002", "000005")
	})
}

// onBoth runs f against the broker in this process and the real one.
func onBoth(t *testing.T, f func(t *testing.T, h *harness)) {
	t.Run("kfake", func(t *testing.T) {
		_, h := startFake(t)
		f(t, h)
	})
	t.Run("kafka", func(t *testing.T) { f(t, realKafka(t)) })
}

func TestTheNewerSenderFencesTheOlder(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		older := mustTx(t, h.Config(t, nil), p)
		mustSendTx(t, older, some(1, 1), upTo(1))
		newer := wantPosition(t, h, p, upTo(1))
		for range 2 {
			err := older.SendTx(limited(t), some(9, 1), upTo(2))
			wantKind(t, err, adapters.Denied)
			if !errors.Is(err, adapters.ErrFenced) {
				t.Fatalf("%v is not ErrFenced", err)
			}
		}
		mustSendTx(t, newer, some(2, 1), upTo(2))
		wantOnce(t, h, p, "000001", "000002")
	})
}

// TestARefusalAborts: one message that the topic does not take, and nothing of its transaction is there; the target goes
// on. The broker in this process refuses nothing by itself.
func TestARefusalAborts(t *testing.T) {
	t.Run("kfake", func(t *testing.T) {
		c, h := startFake(t)
		answer(c, sarama.ErrInvalidRecord, func(r *kmsg.ProduceRequest) bool { return holds(r, "bad") })
		refusalAborts(t, h, map[string]*string{"max.message.bytes": ptr("2000")}) // so that batches before the refused one are taken
	})
	t.Run("kafka", func(t *testing.T) { // a compacted topic takes no message without a key
		refusalAborts(t, realKafka(t), map[string]*string{"cleanup.policy": ptr("compact")})
	})
}

func refusalAborts(t *testing.T, h *harness, settings map[string]*string) {
	a := h.at(h.topic(t, 2, settings))
	p := adaptertest.Place{Source: a, Target: a}
	x := mustTx(t, h.Config(t, nil), p)
	mustSendTx(t, x, withKeys(1, 20), upTo(20))
	for range 3 {
		err := x.SendTx(limited(t), append(withKeys(100, 100), some(200, 1)[0], &adapters.Message{Body: bytesBody("bad")}), upTo(202))
		wantKind(t, err, adapters.Permanent)
	}
	mustSendTx(t, x, withKeys(21, 20), upTo(40))
	wantPosition(t, h, p, upTo(40))
	if got := slices.Sorted(slices.Values(h.committedIn(t, a.Name))); !slices.Equal(got, bodiesOf(some(1, 40))) {
		t.Errorf("a reader of committed records sees %q, want 40 messages", got)
	}
}

func withKeys(i, n int) []*adapters.Message {
	ms := some(i, n)
	for _, m := range ms {
		m.Key = m.Body.Data
	}
	return ms
}

func bodiesOf(ms []*adapters.Message) (all []string) {
	for _, m := range ms {
		all = append(all, string(m.Body.Data))
	}
	return all
}

// committedIn reads the committed records of all partitions. What is there when it is called must be decided: opening the
// lane sees to that.
func (h *harness) committedIn(t testing.TB, topic string) (bodies []string) {
	t.Helper()
	ctx := limited(t)
	ends, err := kadm.NewClient(h.admin).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { from[o.Partition] = kgo.NewOffset().AtStart() })
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.seeds...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	open := 0
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			open++
		}
	})
	for open > 0 {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d partitions were not read to their end", open)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				bodies = append(bodies, string(r.Value))
			}
			if end, _ := ends.Lookup(topic, r.Partition); r.Offset == end.Offset-1 {
				open--
			}
		})
	}
	return bodies
}

func TestTooLargeIsRefusedBefore(t *testing.T) {
	_, h := startFake(t)
	p := h.Place(t)
	c := h.Config(t, nil)
	c.Limits.MaxSize = 1000
	x := mustTx(t, c, p)
	err := x.SendTx(limited(t), append(some(1, 1), &adapters.Message{Body: bytesBody(strings.Repeat("x", 1001))}), upTo(2))
	wantKind(t, err, adapters.Permanent)
	var said *adapters.RefusedError
	if !errors.Is(err, adapters.ErrTooLarge) || !errors.As(err, &said) || len(said.Errs) != 2 || said.Errs[0] != nil || said.Errs[1] == nil {
		t.Errorf("%v does not say that the second is too large", err)
	}
	mustSendTx(t, x, some(1, 1), upTo(1))
	wantOnce(t, h, p, "000001")
}

func TestStateTopicIsMade(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		a := h.at(h.topic(t, 1, map[string]*string{"min.insync.replicas": ptr("1")}))
		p := adaptertest.Place{Source: a, Target: a}
		c := h.Config(t, nil)
		c.Options = adapters.Options{keyStateTopic: a.Name + ".state"}
		t.Cleanup(func() { h.remove(a.Name + ".state") })
		mustSendTx(t, mustTx(t, c, p), some(1, 1), upTo(1))
		if got := mustTx(t, c, p).Position(); got.Last != 1 {
			t.Errorf("position %v, want 1", got)
		}
		configs, err := kadm.NewClient(h.admin).DescribeTopicConfigs(limited(t), a.Name+".state")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, c := range configs[0].Configs {
			got[c.Key] = c.MaybeValue()
		}
		if got["cleanup.policy"] != "compact" || got["min.insync.replicas"] != "1" || got["segment.bytes"] != "4194304" {
			t.Errorf("made with %v", got)
		}
	})
}

func TestAStateTopicThatLosesPositionsIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		for _, policy := range []string{"delete", "compact,delete"} {
			p := h.Place(t)
			c := h.Config(t, nil)
			state := h.topic(t, 1, map[string]*string{"cleanup.policy": ptr(policy)})
			c.Options = adapters.Options{keyStateTopic: state}
			_, err := New().OpenTx(limited(t), c, p.Target, laneOf(p))
			wantKind(t, err, adapters.Denied)
			for _, part := range []string{state, policy, "--add-config cleanup.policy=compact"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
		}
	})
}

func ptr(s string) *string { return &s }

func (h *harness) remove(topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = kadm.NewClient(h.admin).DeleteTopics(ctx, topic)
}
