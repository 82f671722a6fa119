package kafka

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// answer makes the broker refuse produce requests with a code as long as when says so; with apply it does what was
// asked for all the same.
func answer(c *kfake.Cluster, code sarama.KError, when func(*kmsg.ProduceRequest) bool) {
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if !when(req) {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, int16(code)
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
}

func holds(req *kmsg.ProduceRequest, text string) bool {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if bytes.Contains(p.Records, []byte(text)) {
				return true
			}
		}
	}
	return false
}

// TestOrderUnderRetry: whatever passing error the broker answers with, now and then, what arrives is in order and there
// once.
func TestOrderUnderRetry(t *testing.T) {
	const n, batch = 2000, 20
	for _, code := range []sarama.KError{sarama.ErrNotLeaderForPartition, sarama.ErrRequestTimedOut, sarama.ErrNotEnoughReplicas, sarama.ErrLeaderNotAvailable} {
		t.Run(fmt.Sprint(int16(code)), func(t *testing.T) {
			cluster, h := startFake(t, kfake.NumBrokers(2))
			p := h.Place(t)
			var calls atomic.Int64
			answer(cluster, code, func(*kmsg.ProduceRequest) bool { return calls.Add(1)%7 == 3 })
			sendAll(t, h.Config(t, nil), p, n, batch, func(int) {})
			wantNumbered(t, h.Take(t, p, n), n)
			if calls.Load() < 7 {
				t.Fatalf("only %d requests: no error was injected", calls.Load())
			}
		})
	}
}

// TestOrderWhileLeaderMoves: the same while the partition goes back and forth between brokers.
func TestOrderWhileLeaderMoves(t *testing.T) {
	const n, batch = 2000, 20
	cluster, h := startFake(t, kfake.NumBrokers(2))
	p := h.Place(t)
	sendAll(t, h.Config(t, nil), p, n, batch, func(i int) {
		if i%400 == 200 {
			if err := cluster.MoveTopicPartition(p.Target.Name, 0, int32(i/400%2)); err != nil {
				t.Errorf("move: %v", err)
			}
		}
	})
	wantNumbered(t, h.Take(t, p, n), n)
}

// TestOrderAcrossCuts: connections are cut again and again; a target that is spent is opened anew and the unknown rest is
// sent again. After removing repetitions the order is the one sent.
func TestOrderAcrossCuts(t *testing.T) {
	const n, batch = 2000, 20
	_, h := startFake(t)
	p := h.Place(t)
	proxy := adaptertest.NewProxy(t)
	sendAll(t, h.Config(t, proxy.Dial), p, n, batch, func(i int) {
		if i%300 == 100 {
			proxy.Cut()
		}
	})
	end := adapters.Message{Body: bytesBody("end")}
	if _, err := mustTarget(t, h.Config(t, nil), p.Target).Send(limited(t), []*adapters.Message{&end}); err != nil {
		t.Fatal(err)
	}
	var seen []string
	known := map[string]bool{}
	for _, m := range h.Take(t, p, h.count(t, p.Target.Name)-1) {
		if b := string(m.Body); !known[b] {
			known[b] = true
			seen = append(seen, b)
		}
	}
	if len(seen) != n || !slices.IsSorted(seen) {
		t.Fatalf("got %d different messages, sorted %v; want %d", len(seen), slices.IsSorted(seen), n)
	}
}

// sendAll posts n messages with several batches under way, and sends what is unknown again, as a lane does.
func sendAll(t *testing.T, c adapters.Config, p adaptertest.Place, n, batch int, at func(i int)) {
	t.Helper()
	ctx := limited(t)
	type sent struct {
		from int
		r    adapters.Receipt
	}
	for i := 0; i < n; {
		tg, err := New().OpenTarget(ctx, c, p.Target)
		if err != nil {
			if adapters.KindOf(err) == adapters.Lost && ctx.Err() == nil {
				continue
			}
			t.Fatalf("open after %d: %v", i, err)
		}
		var under []sent
		next, lost := i, false
		for !lost && (next < n || len(under) > 0) {
			for next < n && len(under) < 4 && !lost {
				at(next)
				r, err := tg.(adapters.Poster).Post(ctx, texts(next, min(next+batch, n)))
				if lost = err != nil; !lost {
					under = append(under, sent{next, r})
					next = min(next+batch, n)
				}
			}
			if len(under) == 0 {
				break
			}
			k, err := under[0].r.Wait(ctx)
			i = under[0].from + k
			lost = lost || err != nil
			under = under[1:]
		}
		if err := tg.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		if ctx.Err() != nil {
			t.Fatalf("not done in time: %d of %d", i, n)
		}
	}
}

func wantNumbered(t *testing.T, ms []adaptertest.Native, n int) {
	t.Helper()
	for i, m := range ms {
		if want := fmt.Sprintf("m%04d", i); string(m.Body) != want {
			t.Fatalf("message %d of %d: got %s, want %s", i, n, m.Body, want)
		}
	}
}

// TestRefusedAlone: a record batch is refused because of one message; the others in it are taken.
func TestRefusedAlone(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	answer(cluster, sarama.ErrInvalidRecord, func(r *kmsg.ProduceRequest) bool { return holds(r, "m0003") })
	tg := mustTarget(t, h.Config(t, nil), p.Target)
	n, err := tg.Send(limited(t), texts(0, 10))
	if n != 3 {
		t.Errorf("the prefix: got %d, want 3", n)
	}
	for i, err := range adapters.Fates(10, n, err) {
		if i == 3 && adapters.KindOf(err) != adapters.Permanent || i != 3 && err != nil {
			t.Errorf("fate of message %d: %v", i, err)
		}
	}
	var got []string
	for _, m := range h.Take(t, p, 9) {
		got = append(got, string(m.Body))
	}
	slices.Sort(got)
	if want := "m0000 m0001 m0002 m0004 m0005 m0006 m0007 m0008 m0009"; strings.Join(got, " ") != want {
		t.Errorf("at the broker: %v", got)
	}
	if _, err := tg.Send(limited(t), texts(10, 11)); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

// TestAnswersThatSpend: errors that are no refusal of the message spend the target, and nothing behind them is sent.
func TestAnswersThatSpend(t *testing.T) {
	for code, kind := range map[sarama.KError]adapters.Kind{
		sarama.ErrTopicAuthorizationFailed: adapters.Denied,
		sarama.ErrNotEnoughReplicas:        adapters.Transient,
		sarama.ErrUnknown:                  adapters.Lost,
		sarama.ErrOutOfOrderSequenceNumber: adapters.Lost,
	} {
		t.Run(fmt.Sprint(int16(code)), func(t *testing.T) {
			cluster, h := startFake(t)
			p := h.Place(t)
			var later atomic.Int64
			answer(cluster, code, func(r *kmsg.ProduceRequest) bool {
				if !holds(r, "m0000") {
					later.Add(1)
				}
				return holds(r, "m0000")
			})
			tg := mustTarget(t, h.Config(t, nil), p.Target)
			first, err := tg.Post(limited(t), texts(0, 1))
			if err != nil {
				t.Fatal(err)
			}
			second, err := tg.Post(limited(t), texts(1, 2))
			if err == nil {
				_, err = second.Wait(limited(t))
			}
			if _, ferr := first.Wait(limited(t)); adapters.KindOf(ferr) != kind && adapters.KindOf(ferr) != adapters.Lost {
				t.Errorf("the first: got %v, want %v", ferr, kind)
			}
			if later.Load() == 0 && err == nil {
				t.Error("the second was confirmed and never sent")
			}
			if later.Load() > 0 {
				t.Errorf("%d requests behind the failed one", later.Load())
			}
			if _, err := tg.Send(limited(t), texts(2, 3)); adapters.KindOf(err) != adapters.Lost {
				t.Errorf("a spent target: got %v, want Lost", err)
			}
		})
	}
}

// TestConfirmWatchdog: a broker that lives but does not answer a send ends in Lost.
func TestConfirmWatchdog(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	hold := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(hold) }) }
	t.Cleanup(release)
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	c := h.Config(t, nil)
	c.Limits.Confirm = 300 * time.Millisecond
	tg := mustTarget(t, c, p.Target)
	n, err := tg.Send(limited(t), texts(0, 1))
	if n != 0 || adapters.KindOf(err) != adapters.Lost || !strings.Contains(err.Error(), "300ms") {
		t.Fatalf("got %d, %v; want Lost after 300ms", n, err)
	}
	release()
}

// TestContextEndsWait: the caller's patience ends before the broker's answer: unknown, and the target lives.
func TestContextEndsWait(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	hold, asked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { close(asked) })
		cluster.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	tg := mustTarget(t, h.Config(t, nil), p.Target)
	r, err := tg.Post(limited(t), texts(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	ctx, cancel := context.WithCancel(limited(t))
	cancel()
	if n, err := r.Wait(ctx); n != 0 || adapters.KindOf(err) != adapters.Transient {
		t.Errorf("got %d, %v; want Transient", n, err)
	}
	close(hold)
	if _, err := tg.Send(limited(t), texts(1, 2)); err != nil {
		t.Errorf("the next send: %v", err)
	}
	wantNumbered(t, h.Take(t, p, 2), 2)
}

// TestFailedCommitIsNoSuccess: Settle never returns nil when the coordinator has refused the position.
func TestFailedCommitIsNoSuccess(t *testing.T) {
	for code, kind := range map[sarama.KError]adapters.Kind{
		sarama.ErrIllegalGeneration:        adapters.Lost,
		sarama.ErrGroupAuthorizationFailed: adapters.Denied,
		sarama.ErrFencedInstancedId:        adapters.Denied,
	} {
		cluster, h := startFake(t)
		p := h.Place(t)
		h.Put(t, p, numbered(2)...)
		s := mustSource(t, h.Config(t, nil), p.Source)
		ds := mustReceive(t, s, 2)
		refuseCommit(cluster, code)
		if err := s.Settle(limited(t), adapters.Accepted, ds...); adapters.KindOf(err) != adapters.Lost {
			t.Errorf("settle with %v: got %v, want Lost", code, err)
		}
		if _, err := s.Receive(limited(t), 1); adapters.KindOf(err) != kind {
			t.Errorf("receive after %v: got %v, want %v", code, err, kind)
		}
	}
}

// TestCommitFollowsTheCoordinator: when the group has moved to another broker, the commit goes there.
func TestCommitFollowsTheCoordinator(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	h.Put(t, p, numbered(2)...)
	s := mustSource(t, h.Config(t, nil), p.Source)
	ds := mustReceive(t, s, 2)
	refuseCommit(cluster, sarama.ErrNotCoordinatorForConsumer) // once: the control is not kept
	mustSettle(t, s, adapters.Accepted, ds...)
	if got := h.committed(t, p.Source, 0); got != 2 {
		t.Errorf("position: got %d, want 2", got)
	}
}

func refuseCommit(c *kfake.Cluster, code sarama.KError) {
	c.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.OffsetCommitRequest)
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, int16(code)
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
}
