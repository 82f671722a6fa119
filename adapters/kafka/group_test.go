package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// TestSecondProcessFences: two processes with one name: the older one is told in plain words.
func TestSecondProcessFences(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		first := mustSource(t, h.Config(t, nil), p.Source)
		second := mustSource(t, h.Config(t, nil), p.Source)
		_, err := first.Receive(limited(t), 1)
		if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "another process") {
			t.Errorf("the older process: got %v, want Denied", err)
		}
		h.Put(t, p, numbered(1)...)
		wantBodies(t, mustReceive(t, second, 1), 0, 1)
	})
}

// keyed spreads n messages over all partitions.
func keyed(n int) []adaptertest.Native {
	ms := numbered(n)
	for i := range ms {
		ms[i].Key = fmt.Appendf(nil, "key-%d", i)
	}
	return ms
}

// TestRebalanceLosesNothing: a second member comes while deliveries are in flight; they are settled in time, so the
// first one goes on with fewer partitions, and every message comes exactly once.
func TestRebalanceLosesNothing(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		const n = 200
		a := h.at(h.topic(t, 4, nil))
		h.Put(t, adaptertest.Place{Source: a, Target: a}, keyed(n)...)
		c1, c2 := h.Config(t, nil), h.Config(t, nil)
		c2.Client = "there.route"
		s1 := mustSource(t, c1, a)
		ds := mustReceive(t, s1, n/4)
		opened := make(chan adapters.Source, 1)
		go func() {
			s2, err := New().OpenSource(limited(t), c2, a)
			if err != nil {
				t.Errorf("the second member: %v", err)
			}
			opened <- s2
		}()
		awaitNothing(t, s1.(*source))
		mustSettle(t, s1, adapters.Accepted, ds...)
		s2 := <-opened
		if s2 == nil {
			t.FailNow()
		}
		t.Cleanup(func() { _ = s2.Close() })
		h.Put(t, adaptertest.Place{Source: a, Target: a}, keyed(n)...)
		got := slices.Concat(bodies(ds), drain(t, 2*n-len(ds), s1, s2))
		slices.Sort(got)
		for i, b := range got {
			if want := fmt.Sprintf("m%04d", i/2); b != want {
				t.Fatalf("message %d of %d: got %s, want %s", i, len(got), b, want)
			}
		}
	})
}

// awaitNothing returns when a rebalance has stopped s from handing out.
func awaitNothing(t *testing.T, s *source) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx := limited(t)
	for {
		s.mu.Lock()
		over := s.term.over
		s.mu.Unlock()
		if over {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no rebalance came")
		}
	}
}

// drain receives and accepts n messages from ss together.
func drain(t *testing.T, n int, ss ...adapters.Source) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	got := make(chan string)
	for _, s := range ss {
		go func() {
			for {
				ds, err := s.Receive(ctx, 10)
				if err == nil {
					err = s.Settle(ctx, adapters.Accepted, ds...)
				}
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("drain: %v", err)
					}
					return
				}
				for _, b := range bodies(ds) {
					select {
					case got <- b:
					case <-ctx.Done():
					}
				}
			}
		}()
	}
	var all []string
	for len(all) < n {
		select {
		case b := <-got:
			all = append(all, b)
		case <-ctx.Done():
			t.Fatalf("got %d of %d messages", len(all), n)
		}
	}
	return all
}

// TestRebalanceEndsWhoDoesNotSettle: deliveries that stay open beyond the grace make the source Lost, and come again.
func TestRebalanceEndsWhoDoesNotSettle(t *testing.T) {
	_, h := startFake(t)
	a := h.at(h.topic(t, 2, nil))
	h.Put(t, adaptertest.Place{Source: a, Target: a}, keyed(20)...)
	c1, c2 := h.Config(t, nil), h.Config(t, nil)
	c1.Limits.Confirm = 300 * time.Millisecond
	c2.Client = "there.route"
	s1 := mustSource(t, c1, a)
	ds := mustReceive(t, s1, 20)
	s2 := mustSource(t, c2, a)
	_, err := s1.Receive(limited(t), 1)
	if adapters.KindOf(err) != adapters.Lost || !strings.Contains(err.Error(), "20 deliveries") {
		t.Errorf("receive: got %v, want Lost", err)
	}
	if err := s1.Settle(limited(t), adapters.Accepted, ds...); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("settle: got %v, want Lost", err)
	}
	_ = s1.Close()
	s1 = mustSource(t, h.Config(t, nil), a)
	drain(t, 20, s1, s2)
}

// TestPositionLost: what the group has not yet received is gone: the source says so and resets nothing.
func TestPositionLost(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		h.Put(t, p, numbered(10)...)
		s := mustSource(t, h.Config(t, nil), p.Source)
		mustSettle(t, s, adapters.Accepted, mustReceive(t, s, 3)...)
		_ = s.Close()
		gone := kadm.Offsets{}
		gone.AddOffset(p.Source.Name, 0, 8, -1)
		if _, err := kadm.NewClient(h.admin).DeleteRecords(limited(t), gone); err != nil {
			t.Fatal(err)
		}
		_, err := New().OpenSource(limited(t), h.Config(t, nil), p.Source)
		if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "--reset-offsets") {
			t.Errorf("got %v, want Denied", err)
		}
		if got := h.committed(t, p.Source, 0); got != 3 {
			t.Errorf("position: got %d, want 3, untouched", got)
		}
	})
}

// TestTopicMadeAgain: a topic of the same name is not the same topic, even where it holds the offset.
func TestTopicMadeAgain(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		h.Put(t, p, numbered(3)...)
		s := mustSource(t, h.Config(t, nil), p.Source)
		mustSettle(t, s, adapters.Accepted, mustReceive(t, s, 3)...)
		_ = s.Close()
		h.again(t, p.Source.Name)
		h = newHarness(t, h.seeds) // without the old topic's id in mind
		h.Put(t, p, numbered(10)...)
		_, err := New().OpenSource(limited(t), h.Config(t, nil), p.Source)
		if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "belongs to the old one") {
			t.Errorf("got %v, want Denied", err)
		}
	})
}

// again deletes a topic and makes it anew. Group positions of a deleted topic vanish with it at some brokers; where that
// is so, the position is put back as it was, as a broker would keep it.
func (h *harness) again(t *testing.T, topic string) {
	t.Helper()
	adm := kadm.NewClient(h.admin)
	group := groupOf(h.Config(t, nil), h.at(topic))
	before, err := adm.FetchOffsets(limited(t), group)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adm.DeleteTopics(limited(t), topic); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx := limited(t); ; {
		r, err := adm.CreateTopic(ctx, 1, 1, nil, topic)
		if err == nil && r.Err == nil {
			newHarness(t, h.seeds).awaitTopic(ctx, t, topic)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("make the topic again: %v %v", err, r.Err)
		}
	}
	after, err := adm.FetchOffsets(limited(t), group)
	if _, there := after.Lookup(topic, 0); there && err == nil {
		return
	}
	h.forceOffsets(t, group, before)
}

// forceOffsets commits for a group whose static members are still remembered: they are removed first.
func (h *harness) forceOffsets(t *testing.T, group string, at kadm.OffsetResponses) {
	t.Helper()
	adm := kadm.NewClient(newHarness(t, h.seeds).admin) // without the old topic's id in mind
	if _, err := adm.LeaveGroup(limited(t), kadm.LeaveGroup(group).InstanceIDs(instanceOf(h.Config(t, nil), h.at(strings.TrimSuffix(group, ".g"))))); err != nil {
		t.Fatal(err)
	}
	if err := adm.CommitAllOffsets(limited(t), group, at.Offsets()); err != nil {
		t.Fatal(err)
	}
}

// TestStartAt: a group without a position begins where the file says, and stays there.
func TestStartAt(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		h.Put(t, p, numbered(5)...)
		p.Source.Options["start_at"] = "newest"
		s := mustSource(t, h.Config(t, nil), p.Source)
		_ = s.Close() // before anything was received
		h.Put(t, p, adaptertest.Native{Body: []byte("m0005")})
		s = mustSource(t, h.Config(t, nil), p.Source)
		wantBodies(t, mustReceive(t, s, 1), 5, 6)
	})
}

// TestTooLargeBlocks: a message above the limit is neither held nor stepped over.
func TestTooLargeBlocks(t *testing.T) {
	_, h := startFake(t)
	p := h.Place(t)
	h.Put(t, p, adaptertest.Native{Body: make([]byte, 200<<10)}, adaptertest.Native{Body: []byte("m0001")})
	c := h.Config(t, nil)
	c.Limits.MaxSize = 64 << 10
	s, err := New().OpenSource(limited(t), c, p.Source)
	if err == nil {
		_, err = s.Receive(limited(t), 1)
		_ = s.Close()
	}
	if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "max_message_size") {
		t.Errorf("got %v, want Denied", err)
	}
	if got := h.committed(t, p.Source, 0); got != -1 {
		t.Errorf("position: got %d, want none", got)
	}
}

// TestMissingTopic: nothing is created by asking.
func TestMissingTopic(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		a := h.at("no-such-topic")
		_, serr := New().OpenSource(limited(t), h.Config(t, nil), a)
		_, terr := New().OpenTarget(limited(t), h.Config(t, nil), a)
		_, perr := New().Ping(limited(t), h.Config(t, nil), a)
		for _, err := range []error{serr, terr, perr} {
			var ae *adapters.Error
			if !errors.As(err, &ae) || ae.Kind != adapters.NotFound || ae.Addr.Name != a.Name {
				t.Errorf("got %v, want NotFound", err)
			}
		}
		peer, err := New().Ping(limited(t), h.Config(t, nil))
		if err != nil || peer.ID == "" || peer.Address != h.seeds[0] {
			t.Errorf("ping: got %+v, %v", peer, err)
		}
	})
}

// TestEndpointsInOrder: addresses that do not answer are passed over.
func TestEndpointsInOrder(t *testing.T) {
	_, h := startFake(t)
	p := h.Place(t)
	c := h.Config(t, nil)
	c.Addresses = append([]string{"127.0.0.1:1"}, c.Addresses...)
	if got := mustTarget(t, c, p.Target).Peer().Address; got != h.seeds[0] {
		t.Errorf("address in use: got %s, want %s", got, h.seeds[0])
	}
	c.Addresses = c.Addresses[:1]
	if _, err := New().OpenSource(limited(t), c, p.Source); adapters.KindOf(err) != adapters.Lost || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody answers: got %v, want Lost", err)
	}
}
