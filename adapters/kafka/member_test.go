package kafka

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

// TestProbeAsksTheCoordinator: what it answers to a heartbeat, and what a probe makes of it.
func TestProbeAsksTheCoordinator(t *testing.T) {
	for code, kind := range map[sarama.KError]adapters.Kind{
		sarama.ErrRebalanceInProgress:             0, // still a member
		sarama.ErrNotCoordinatorForConsumer:       0, // it has moved: another one knows
		sarama.ErrUnknownMemberId:                 adapters.Lost,
		sarama.ErrFencedInstancedId:               adapters.Denied,
		sarama.ErrGroupAuthorizationFailed:        adapters.Denied,
		sarama.ErrConsumerCoordinatorNotAvailable: 0,
	} {
		cluster, h := startFake(t)
		c := h.Config(t, nil)
		c.Heartbeat = 5 * time.Minute // neither the watch nor the client library asks meanwhile
		s := mustSource(t, c, h.Place(t).Source)
		var asked atomic.Int64
		cluster.ControlKey(int16(kmsg.Heartbeat), func(r kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if asked.Add(1) > 1 {
				return nil, nil, false
			}
			res := r.ResponseKind().(*kmsg.HeartbeatResponse)
			res.ErrorCode = int16(code)
			return res, nil, true
		})
		err := s.(adapters.Prober).Probe(limited(t))
		if kind == 0 && err != nil || kind != 0 && adapters.KindOf(err) != kind {
			t.Errorf("%v: got %v, want kind %v", code, err, kind)
		}
		if asked.Load() == 0 {
			t.Errorf("%v: nobody was asked", code)
		}
		_ = s.Close()
		if err := s.(adapters.Prober).Probe(limited(t)); adapters.KindOf(err) != adapters.Lost {
			t.Errorf("probe after close: got %v, want Lost", err)
		}
	}
}

// TestSilentCoordinatorIsLost: a coordinator that keeps its connection and answers no heartbeat.
func TestSilentCoordinatorIsLost(t *testing.T) {
	cluster, h := startFake(t)
	c := h.Config(t, nil)
	c.Heartbeat = 200 * time.Millisecond
	s := mustSource(t, c, h.Place(t).Source)
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	cluster.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		cluster.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	if _, err := s.Receive(limited(t), 1); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("receive: got %v, want Lost", err)
	}
	release()
}

// TestTargetProbe: a target whose topic has gone, whose broker is silent, that is spent.
func TestTargetProbe(t *testing.T) {
	cluster, h := startFake(t)
	tg := mustTarget(t, h.Config(t, nil), h.Place(t).Target)
	if err := tg.Probe(limited(t)); err != nil {
		t.Fatalf("probe: %v", err)
	}
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(limited(t), 200*time.Millisecond)
	defer cancel()
	if err := tg.Probe(ctx); adapters.KindOf(err) != adapters.Lost || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("a silent broker: got %v, want Lost", err)
	}
	release()
	_ = tg.Close()
	if err := tg.Probe(limited(t)); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("after close: got %v, want Lost", err)
	}
}

// TestEndOfTermKeepsWhatIsOut: when partitions go away, nothing that was not handed out stays behind the last one that was,
// none that was is forgotten, and the counters are those of what is left.
func TestEndOfTermKeepsWhatIsOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSource(adapters.Config{}.WithDefaults(), adapters.Address{}, facts{})
		s.term = &term{s: s, claims: map[int32]*claim{}}
		var want []*record
		var bytes int64
		for p := range int32(rapid.IntRange(1, 3).Draw(t, "partitions")) {
			c := &claim{partition: p, term: s.term, next: -1, committed: -1}
			s.term.claims[p] = c
			states := rapid.SliceOfN(rapid.SampledFrom([]state{queued, out, taken}), 0, 20).Draw(t, "states")
			last := 0
			for i, st := range states {
				r := &record{claim: c, offset: int64(i), size: int64(i + 1), state: st}
				c.open = append(c.open, r)
				if st == queued {
					s.queue.push(r)
				} else {
					last = i + 1
				}
			}
			for _, r := range c.open[:last] {
				want, bytes = append(want, r), bytes+r.size
			}
		}
		s.endTerm()
		var got []*record
		for p := range int32(len(s.term.claims)) {
			got = append(got, s.term.claims[p].open...)
		}
		if !slices.Equal(got, want) || s.held != len(want) || s.bytes != bytes {
			t.Fatalf("left: %d records, %d and %d bytes counted; want %d and %d bytes", len(got), s.held, s.bytes, len(want), bytes)
		}
		if ds, err := s.take(100); len(ds) != 0 || err != nil {
			t.Fatalf("handed out after the end: %d, %v", len(ds), err)
		}
		c := s.term.claims[0]
		if s.admit(context.Background(), &record{claim: c, offset: 99}) {
			t.Fatal("a record was queued after the end")
		}
	})
}
