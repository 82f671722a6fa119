package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustSource(t testing.TB, c adapters.Config, a adapters.Address) adapters.Source {
	t.Helper()
	s, err := New().OpenSource(limited(t), c, a)
	if err != nil {
		t.Fatalf("open source: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustReceive(t testing.TB, s adapters.Source, n int) []adapters.Delivery {
	t.Helper()
	ctx := limited(t)
	var all []adapters.Delivery
	for len(all) < n {
		ds, err := s.Receive(ctx, n-len(all))
		if err != nil {
			t.Fatalf("receive after %d of %d: %v", len(all), n, err)
		}
		all = append(all, ds...)
	}
	return all
}

func mustSettle(t testing.TB, s adapters.Source, o adapters.Outcome, ds ...adapters.Delivery) {
	t.Helper()
	if err := s.Settle(limited(t), o, ds...); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

func bodies(ds []adapters.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = string(d.Message.Body.Data)
	}
	return out
}

func numbered(n int) []adaptertest.Native {
	ms := make([]adaptertest.Native, n)
	for i := range ms {
		ms[i] = adaptertest.Native{Body: fmt.Appendf(nil, "m%04d", i)}
	}
	return ms
}

func wantBodies(t testing.TB, ds []adapters.Delivery, from, to int) {
	t.Helper()
	if len(ds) != to-from {
		t.Fatalf("got %d deliveries %v, want %d", len(ds), bodies(ds), to-from)
	}
	for i, d := range ds {
		if got, want := string(d.Message.Body.Data), fmt.Sprintf("m%04d", from+i); got != want {
			t.Fatalf("delivery %d: got %s, want %s", i, got, want)
		}
	}
}

// brokers runs f against the broker in process and, where there is one, the real one.
func brokers(t *testing.T, f func(t *testing.T, h *harness)) {
	t.Run("kfake", func(t *testing.T) {
		_, h := startFake(t)
		f(t, h)
	})
	t.Run("kafka", func(t *testing.T) { f(t, realKafka(t)) })
}

func TestAcceptedIsRecorded(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		h.Put(t, p, numbered(10)...)
		s := mustSource(t, h.Config(t, nil), p.Source)
		ds := mustReceive(t, s, 10)
		wantBodies(t, ds, 0, 10)
		mustSettle(t, s, adapters.Accepted, ds[:4]...)
		if got := h.committed(t, p.Source, 0); got != 4 {
			t.Fatalf("position after 4 accepted: got %d, want 4", got)
		}
		mustSettle(t, s, adapters.Accepted, ds[5:]...)
		if got := h.committed(t, p.Source, 0); got != 4 {
			t.Fatalf("position with a gap: got %d, want 4", got)
		}
		_ = s.Close()
		s = mustSource(t, h.Config(t, nil), p.Source)
		wantBodies(t, mustReceive(t, s, 6), 4, 10)
	})
}

func TestReleasedComesAgainBeforeFresh(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		h.Put(t, p, numbered(6)...)
		s := mustSource(t, h.Config(t, nil), p.Source)
		ds := mustReceive(t, s, 3)
		mustSettle(t, s, adapters.Released, ds[2], ds[1])
		again := mustReceive(t, s, 2)
		wantBodies(t, again, 1, 3)
		if again[0].Attempt != 2 {
			t.Errorf("attempt of a released one: got %d, want 2", again[0].Attempt)
		}
		mustSettle(t, s, adapters.Accepted, append(again, ds[0])...)
		rest := mustReceive(t, s, 3)
		wantBodies(t, rest, 3, 6)
		mustSettle(t, s, adapters.Accepted, rest...)
		if got := h.committed(t, p.Source, 0); got != 6 {
			t.Errorf("position: got %d, want 6", got)
		}
	})
}

func TestRejectedSettlesNothing(t *testing.T) {
	_, h := startFake(t)
	p := h.Place(t)
	h.Put(t, p, numbered(1)...)
	s := mustSource(t, h.Config(t, nil), p.Source)
	ds := mustReceive(t, s, 1)
	if err := s.Settle(limited(t), adapters.Rejected, ds...); adapters.KindOf(err) != adapters.Permanent {
		t.Fatalf("rejected: got %v, want Permanent", err)
	}
	mustSettle(t, s, adapters.Accepted, ds...)
	if got := h.committed(t, p.Source, 0); got != 1 {
		t.Errorf("position: got %d, want 1", got)
	}
}

func TestPrefetchBound(t *testing.T) {
	_, h := startFake(t)
	p := h.Place(t)
	h.Put(t, p, numbered(500)...)
	c := h.Config(t, nil)
	c.Limits.Prefetch = 16
	s := mustSource(t, c, p.Source)
	ds := mustReceive(t, s, 16)
	ctx, cancel := context.WithTimeout(limited(t), 300*time.Millisecond)
	defer cancel()
	if more, err := s.Receive(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("beyond the bound: got %d deliveries, %v", len(more), err)
	}
	for n := 16; n < 500; n += len(ds) {
		mustSettle(t, s, adapters.Accepted, ds...)
		ds = mustReceive(t, s, 1)
	}
}

// TestGapHoldsBack: what is accepted behind a message that never is counts towards the prefetch, so that neither the source
// runs on nor a restart repeats without bound.
func TestGapHoldsBack(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		const prefetch = 16
		p := h.Place(t)
		h.Put(t, p, numbered(5*prefetch)...)
		c := h.Config(t, nil)
		c.Limits.Prefetch = prefetch
		s := mustSource(t, c, p.Source)
		first := mustReceive(t, s, 1)
		mustSettle(t, s, adapters.Accepted, mustReceive(t, s, prefetch-1)...)
		for attempt := 1; attempt <= 5; attempt++ {
			if first[0].Attempt != attempt || string(first[0].Message.Body.Data) != "m0000" {
				t.Fatalf("got %s, attempt %d; want the first, attempt %d", bodies(first), first[0].Attempt, attempt)
			}
			ctx, cancel := context.WithTimeout(limited(t), 200*time.Millisecond)
			more, err := s.Receive(ctx, 10)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("beyond the bound: got %v, %v", bodies(more), err)
			}
			mustSettle(t, s, adapters.Released, first...)
			if first, err = s.Receive(limited(t), 10); err != nil || len(first) != 1 {
				t.Fatalf("after the release: got %v, %v", bodies(first), err)
			}
		}
		if got := h.committed(t, p.Source, 0); got != -1 {
			t.Errorf("position with the first message open: got %d, want none", got)
		}
		mustSettle(t, s, adapters.Accepted, first...) // the gap closes
		if got := h.committed(t, p.Source, 0); got != prefetch {
			t.Errorf("position: got %d, want %d", got, prefetch)
		}
		wantBodies(t, mustReceive(t, s, prefetch), prefetch, 2*prefetch)
	})
}

func TestCloseUnblocksReceive(t *testing.T) {
	_, h := startFake(t)
	s := mustSource(t, h.Config(t, nil), h.Place(t).Source)
	got := make(chan error, 1)
	go func() {
		_, err := s.Receive(context.Background(), 1)
		got <- err
	}()
	_ = s.Close()
	select {
	case err := <-got:
		if adapters.KindOf(err) != adapters.Lost {
			t.Fatalf("receive after close: got %v, want Lost", err)
		}
	case <-limited(t).Done():
		t.Fatal("receive did not return")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// TestForeignDeliveries: tags of another source settle nothing here.
func TestForeignDeliveries(t *testing.T) {
	_, h := startFake(t)
	p := h.Place(t)
	h.Put(t, p, numbered(2)...)
	old := mustSource(t, h.Config(t, nil), p.Source)
	ds := mustReceive(t, old, 2)
	_ = old.Close()
	s := mustSource(t, h.Config(t, nil), p.Source)
	if err := s.Settle(limited(t), adapters.Accepted, ds...); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("deliveries of a lost source: got %v, want Lost", err)
	}
	if err := s.Settle(limited(t), adapters.Accepted, adapters.Delivery{Tag: 7}); adapters.KindOf(err) != adapters.Permanent {
		t.Errorf("a foreign tag: got %v, want Permanent", err)
	}
	wantBodies(t, mustReceive(t, s, 2), 0, 2)
}
