package kafka

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// refuseNext makes the broker answer the next requests of one kind with a code and do nothing of what they ask for; with code
// 0 it closes the connection instead.
func refuseNext(c *kfake.Cluster, key kmsg.Key, times int, code sarama.KError) {
	c.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if times--; times < 0 {
			return nil, nil, false
		}
		if code == 0 {
			return nil, errors.New("dropped"), true
		}
		return refusalOf(r, int16(code)), nil, true
	})
}

func refusalOf(r kmsg.Request, code int16) kmsg.Response {
	switch res := r.ResponseKind().(type) {
	case *kmsg.InitProducerIDResponse:
		res.ErrorCode = code
		return res
	case *kmsg.EndTxnResponse:
		res.ErrorCode = code
		return res
	case *kmsg.AddPartitionsToTxnResponse:
		for _, t := range r.(*kmsg.AddPartitionsToTxnRequest).Topics {
			rt := kmsg.NewAddPartitionsToTxnResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p, code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res
	}
	panic("no such answer")
}

// TestAnswersToATransaction: what each answer of the brokers means; 0 is no answer at all. Whatever it was, what is sent
// afterwards by the rule of the position is there once.
func TestAnswersToATransaction(t *testing.T) {
	const fine = adapters.Other
	for _, c := range []struct {
		key   kmsg.Key
		code  sarama.KError
		times int
		want  adapters.Kind
	}{
		{kmsg.AddPartitionsToTxn, sarama.ErrConcurrentTransactions, 5, fine},
		{kmsg.AddPartitionsToTxn, sarama.ErrNotCoordinatorForConsumer, 2, fine},
		{kmsg.AddPartitionsToTxn, sarama.ErrOffsetsLoadInProgress, 2, fine},
		{kmsg.AddPartitionsToTxn, sarama.ErrTopicAuthorizationFailed, 1, adapters.Denied},
		{kmsg.AddPartitionsToTxn, sarama.ErrUnknownTopicOrPartition, 1, adapters.NotFound},
		{kmsg.AddPartitionsToTxn, sarama.ErrInvalidTxnState, 1, adapters.Lost},
		{kmsg.AddPartitionsToTxn, sarama.ErrInvalidProducerIDMapping, 1, adapters.Lost},
		{kmsg.AddPartitionsToTxn, 0, 1, adapters.Lost},
		{kmsg.Produce, sarama.ErrNotLeaderForPartition, 1, adapters.Lost},
		{kmsg.Produce, sarama.ErrOutOfOrderSequenceNumber, 1, adapters.Lost},
		{kmsg.Produce, sarama.ErrTopicAuthorizationFailed, 1, adapters.Denied},
		{kmsg.Produce, sarama.ErrMessageSizeTooLarge, 1, adapters.Permanent},
		{kmsg.EndTxn, sarama.ErrConcurrentTransactions, 1, adapters.Lost},
		{kmsg.EndTxn, sarama.ErrNotCoordinatorForConsumer, 1, adapters.Lost},
		{kmsg.EndTxn, 0, 1, adapters.Lost},
	} {
		t.Run(fmt.Sprintf("%s/%d", kmsg.NameForKey(int16(c.key)), c.code), func(t *testing.T) {
			cluster, h := startFake(t)
			p := h.Place(t)
			x := mustTx(t, h.Config(t, nil), p)
			mustSendTx(t, x, some(1, 2), upTo(2))
			if c.key == kmsg.Produce {
				left := c.times
				answer(cluster, c.code, func(*kmsg.ProduceRequest) bool { left--; return left >= 0 })
			} else {
				refuseNext(cluster, c.key, c.times, c.code)
			}
			err := x.SendTx(limited(t), some(3, 2), upTo(4))
			if c.want == fine {
				if err != nil {
					t.Fatal(err)
				}
				wantPosition(t, h, p, upTo(4))
			} else {
				wantKind(t, err, c.want)
				if c.want == adapters.Lost {
					wantKind(t, x.SendTx(limited(t), some(3, 2), upTo(4)), adapters.Lost)
					x = wantPosition(t, h, p, upTo(2))
				}
				mustSendTx(t, x, some(3, 2), upTo(4))
			}
			wantOnce(t, h, p, bodiesOf(some(1, 4))...)
		})
	}
}

// TestAbortWithoutAnswer: a refused transaction whose abort is not confirmed has an unknown outcome.
func TestAbortWithoutAnswer(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	x := mustTx(t, h.Config(t, nil), p)
	answer(cluster, sarama.ErrMessageSizeTooLarge, func(r *kmsg.ProduceRequest) bool { return holds(r, "000001") })
	refuseNext(cluster, kmsg.EndTxn, 1, 0)
	wantKind(t, x.SendTx(limited(t), some(1, 1), upTo(1)), adapters.Lost)
	mustSendTx(t, wantPosition(t, h, p, adapters.Position{}), some(2, 1), upTo(2))
	wantOnce(t, h, p, "000002")
}

func TestAnswersToTheFirstRequest(t *testing.T) {
	for code, want := range map[sarama.KError]adapters.Kind{
		sarama.ErrTransactionalIDAuthorizationFailed: adapters.Denied,
		sarama.ErrInvalidTransactionTimeout:          adapters.Denied,
		sarama.ErrUnsupportedVersion:                 adapters.Lost,
	} {
		cluster, h := startFake(t)
		p := h.Place(t)
		refuseNext(cluster, kmsg.InitProducerID, 1, code)
		_, err := New().OpenTx(limited(t), h.Config(t, nil), p.Target, laneOf(p))
		wantKind(t, err, want)
		refuseNext(cluster, kmsg.InitProducerID, 3, sarama.ErrConcurrentTransactions)
		wantPosition(t, h, p, adapters.Position{})
	}
}

// TestFencedOrTooOld: the broker answers both alike.
func TestFencedOrTooOld(t *testing.T) {
	x := &txTarget{timeout: time.Minute, id: "posthouse-x"}
	x.begin(adapters.Config{}, adapters.Address{}, facts{}, newNetwork(adapters.Config{}, 1))
	x.fail(fmt.Errorf("end of the transaction: %w", sarama.ErrProducerFenced))
	if err := x.lost(time.Now()); !errors.Is(err, adapters.ErrFenced) {
		t.Errorf("a young transaction: %v, want ErrFenced", err)
	}
	if err := x.lost(time.Now().Add(-2 * time.Minute)); errors.Is(err, adapters.ErrFenced) || adapters.KindOf(err) != adapters.Lost {
		t.Errorf("an old transaction: %v (%v), want Lost", err, adapters.KindOf(err))
	}
}

// other is an independent sender into the state topic, with a transaction of its own.
func other(t *testing.T, h *harness, key, value string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.seeds...), kgo.TransactionalID("other."+key+value), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(limited(t), &kgo.Record{Topic: defaultStateTopic, Key: []byte(key), Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return cl
}

// TestPositionsAmongOthers: what another lane has open does not hide a position behind it, and what was aborted is none.
func TestPositionsAmongOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		x := mustTx(t, h.Config(t, nil), p)
		mustSendTx(t, x, nil, upTo(1))
		aborted := other(t, h, laneOf(p), `{"version":1,"last":77}`)
		open := other(t, h, "other"+laneOf(p), "x")
		mustSendTx(t, x, nil, upTo(2))
		if err := aborted.EndTransaction(limited(t), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		wantPosition(t, h, p, upTo(2))
		if err := open.EndTransaction(limited(t), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		if err := other(t, h, laneOf(p), `{"version":1,"last":5,"holes":[3]}`).EndTransaction(limited(t), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		wantPosition(t, h, p, upTo(5, 3))
	})
}

// TestThePositionIsReadLast: what the sender before manages to commit until it is fenced counts.
func TestThePositionIsReadLast(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	older := mustTx(t, h.Config(t, nil), p)
	cluster.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { mustSendTx(t, older, some(1, 1), upTo(1)) })
		return nil, nil, false
	})
	wantPosition(t, h, p, upTo(1))
	wantOnce(t, h, p, "000001")
}

func TestAPositionThatCannotBeRead(t *testing.T) {
	for _, value := range []string{`{"version":2,"last":77}`, `77`, `{"last":1}`} {
		_, h := startFake(t)
		p := h.Place(t)
		mustTx(t, h.Config(t, nil), p)
		if err := other(t, h, laneOf(p), value).EndTransaction(limited(t), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		_, err := New().OpenTx(limited(t), h.Config(t, nil), p.Target, laneOf(p))
		wantKind(t, err, adapters.Denied)
		if !strings.Contains(err.Error(), laneOf(p)) {
			t.Errorf("%q does not name the lane", err)
		}
	}
}

// TestManyBatches: a transaction much larger than one batch, over several partitions and brokers, arrives once and in the
// order of each partition; so does the one after it.
func TestManyBatches(t *testing.T) {
	run := func(t *testing.T, h *harness) {
		for _, partitions := range []int32{1, 5} {
			a := h.at(h.topic(t, partitions, map[string]*string{"max.message.bytes": ptr("5000")}))
			p := adaptertest.Place{Source: a, Target: a}
			x := mustTx(t, h.Config(t, nil), p)
			mustSendTx(t, x, withKeys(1, 3000), upTo(3000))
			mustSendTx(t, x, withKeys(3001, 3000), upTo(6000))
			wantPosition(t, h, p, upTo(6000))
			got := h.committedIn(t, a.Name)
			if partitions > 1 {
				slices.Sort(got)
			}
			if !slices.Equal(got, bodiesOf(some(1, 6000))) {
				t.Errorf("%d partitions: %d messages arrived, want 6000 in order", partitions, len(got))
			}
		}
	}
	t.Run("kfake", func(t *testing.T) {
		_, h := startFake(t, kfake.NumBrokers(3))
		run(t, h)
	})
	t.Run("kafka", func(t *testing.T) { run(t, realKafka(t)) })
}

// TestOnceAcrossCuts: connections are cut again and again while transactions are under way.
func TestOnceAcrossCuts(t *testing.T) {
	onBoth(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		proxy := adaptertest.NewProxy(t)
		var cuts sync.WaitGroup
		lost := sendAcross(t, h, h.Config(t, proxy.Dial), p, 300, func(try int) {
			if try%7 == 3 {
				cuts.Go(proxy.Cut)
			}
		})
		cuts.Wait()
		if lost == 0 {
			t.Error("no transaction was hit")
		}
		wantPosition(t, h, p, upTo(3000))
		wantOnce(t, h, p, bodiesOf(some(1, 3000))...)
	})
}

// sendAcross sends n transactions of ten messages as a lane does, and returns how many were lost on the way.
func sendAcross(t *testing.T, h *harness, c adapters.Config, p adaptertest.Place, n int, before func(try int)) (lost int) {
	t.Helper()
	ctx := limited(t)
	var x adapters.TxTarget
	tries := 0
	for i := uint64(0); i < uint64(n); {
		if x == nil {
			next, err := New().OpenTx(ctx, c, p.Target, laneOf(p))
			if adapters.KindOf(err) == adapters.Lost && ctx.Err() == nil {
				continue
			}
			if err != nil {
				t.Fatalf("open after %d: %v", i, err)
			}
			x = next
			at := x.Position()
			if at.Last != 10*i && at.Last != 10*(i+1) {
				t.Fatalf("position %v, want %d or %d", at, 10*i, 10*(i+1))
			}
			i = at.Last / 10
			continue
		}
		tries++
		before(tries)
		err := x.SendTx(ctx, some(int(10*i)+1, 10), upTo(10*(i+1)))
		if err == nil {
			i++
			continue
		}
		wantKind(t, err, adapters.Lost)
		lost++
		_ = x.Close()
		x = nil
	}
	_ = x.Close()
	return lost
}

// transactionsAcrossKills: the broker dies with a transaction under way, several times. The position says what it took.
func transactionsAcrossKills(t *testing.T, o owned) {
	p, done := o.Place(t), uint64(0)
	for range 3 {
		x := reopened(t, o.harness, p)
		if at := x.Position(); at.Last != 10*done && at.Last != 10*(done+1) {
			t.Fatalf("position %v, want %d or %d", at, 10*done, 10*(done+1))
		}
		done = x.Position().Last / 10
		var killed sync.WaitGroup
		var err error
		for last := done + 30; err == nil; {
			if done == last {
				killed.Go(o.b.Kill)
			}
			if err = x.SendTx(limited(t), some(int(10*done)+1, 10), upTo(10*(done+1))); err == nil {
				done++
			}
		}
		wantKind(t, err, adapters.Lost)
		killed.Wait()
		_ = x.Close()
		o.KillAndRestart(t)
	}
	at := reopened(t, o.harness, p).Position()
	if at.Last != 10*done && at.Last != 10*(done+1) {
		t.Fatalf("position %v, want %d or %d", at, 10*done, 10*(done+1))
	}
	wantOnce(t, o.harness, p, bodiesOf(some(1, int(at.Last)))...)
}

// reopened opens the lane at a broker that is still starting.
func reopened(t *testing.T, h *harness, p adaptertest.Place) adapters.TxTarget {
	t.Helper()
	ctx := limited(t)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		x, err := New().OpenTx(ctx, h.Config(t, nil), p.Target, laneOf(p))
		if err == nil {
			t.Cleanup(func() { _ = x.Close() })
			return x
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the broker does not come back: %v", err)
		}
	}
}

func TestScan(t *testing.T) {
	record := func(key, value string) *sarama.Record { return &sarama.Record{Key: []byte(key), Value: []byte(value)} }
	data := func(pid int64, rs ...*sarama.Record) *sarama.RecordBatch {
		return &sarama.RecordBatch{ProducerID: pid, IsTransactional: true, Records: rs}
	}
	marker := func(pid int64, kind byte) *sarama.RecordBatch {
		return &sarama.RecordBatch{ProducerID: pid, Control: true, IsTransactional: true, Records: []*sarama.Record{{Key: []byte{0, 0, 0, kind}}}}
	}
	const abort, commit = 0, 1
	for want, batches := range map[string][]*sarama.RecordBatch{
		"":      {data(1, record("a", "lost")), data(2, record("b", "else")), marker(2, commit)},
		"one":   {data(1, record("a", "one")), data(2, record("a", "two")), marker(2, abort), marker(1, commit), data(1)},
		"two":   {data(1, record("a", "one"), record("a", "two"), record("b", "b")), marker(1, commit), data(1, record("a", "3")), marker(1, abort)},
		"hand":  {data(1, record("a", "one")), marker(1, commit), {Records: []*sarama.Record{record("a", "hand")}}},
		"later": {data(1, record("a", "one")), marker(1, abort), marker(1, commit), data(1, record("a", "later")), marker(1, commit), marker(1, abort)},
	} {
		s := scan{lane: "a", open: map[int64][]byte{}}
		for _, b := range batches {
			s.batch(b)
		}
		if string(s.last) != want {
			t.Errorf("got %q, want %q", s.last, want)
		}
	}
}

func TestSequencesBeginAgain(t *testing.T) {
	const last = 1<<31 - 1
	for _, c := range [][3]int{{0, 1, 1}, {last - 1, 1, last}, {last, 1, 0}, {last - 2, 10, 7}} {
		if got := following(int32(c[0]), c[1]); int(got) != c[2] {
			t.Errorf("%d after %d is %d, want %d", c[1], c[0], got, c[2])
		}
	}
}

func TestStoredPosition(t *testing.T) {
	for _, p := range []adapters.Position{{}, upTo(1 << 63), upTo(9, 2, 5)} {
		value, err := encodePosition(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodePosition(value); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%v came back as %v, %v", p, got, err)
		}
	}
	if p, err := decodePosition(nil); err != nil || p.Last != 0 {
		t.Errorf("a removed position: %v, %v", p, err)
	}
	if _, err := encodePosition(adapters.Position{Last: 1 << 63, Holes: make([]uint64, 1<<20)}); err == nil {
		t.Error("a position that fits into no record was taken")
	}
}
