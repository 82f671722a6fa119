package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// sharing is a harness whose ends share connections, but for those that go through a proxy of their own.
type sharing struct {
	*harness
	share *adapters.Share
}

func (h sharing) Config(t testing.TB, dial adaptertest.DialFunc) adapters.Config {
	c := h.harness.Config(t, dial)
	if c.Share = h.share; dial != nil {
		c.Share = adapters.NewShare()
	}
	return c
}

// TestSuiteShared is the suite with ends that share connections.
func TestSuiteShared(t *testing.T) { adaptertest.Run(t, sharing{newHarness(t), adapters.NewShare()}) }

// sharingBench is a bench whose ends share connections, with the streams A and B that take a and b.
func sharingBench(t *testing.T) bench {
	t.Helper()
	b := newBench(t)
	b.c.Share = adapters.NewShare()
	b.stream(t, jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}})
	b.stream(t, jetstream.StreamConfig{Name: "B", Subjects: []string{"b"}})
	return b
}

// trunksOf is how many connections the adapter would let another end use.
func (b bench) trunksOf() (n int) {
	b.ad.pool.mu.Lock()
	defer b.ad.pool.mu.Unlock()
	for _, trs := range b.ad.pool.trunks {
		n += len(trs)
	}
	return n
}

// TestShareOneConnection: sources have one, targets have one, a Close is the end's own matter, and the last one closes it.
func TestShareOneConnection(t *testing.T) {
	b := sharingBench(t)
	for _, name := range []string{"A", "B"} { // the server's own goroutines of a consumer stay
		if err := openSource(t, b.ad, b.c, streamEnd(name, nil)).Close(); err != nil {
			t.Fatal(err)
		}
	}
	current := goleak.IgnoreCurrent()
	s1, s2 := openSource(t, b.ad, b.c, streamEnd("A", nil)), openSource(t, b.ad, b.c, streamEnd("B", nil))
	g1, g2 := openTarget(t, b.ad, b.c, subjectEnd("a", nil)), openTarget(t, b.ad, b.c, subjectEnd("b", nil))
	if s1.c.tr != s2.c.tr || g1.c.tr != g2.c.tr || s1.c.tr == g1.c.tr || b.trunksOf() != 2 {
		t.Fatalf("%d connections", b.trunksOf())
	}
	send(t, g1, bodies(0, 3)...)
	send(t, g2, bodies(0, 3)...)
	held := take(t, s1, 3)
	if s1.Close() != nil || g1.Close() != nil || s1.Close() != nil {
		t.Error("Close failed")
	}
	wantKind(t, "closed", s1.Settle(t.Context(), adapters.Accepted, held...), adapters.Lost, "closed")
	send(t, g2, bodies(3, 6)...)
	receive(t, s2, 0, 6)
	again := openSource(t, b.ad, b.c, streamEnd("A", nil))
	if again.c.tr != s2.c.tr {
		t.Error("a new end does not use the connection that is there")
	}
	receive(t, again, 0, 3) // given back at Close
	for _, e := range []interface{ Close() error }{again, s2, g2} {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := b.trunksOf(); n != 0 || !s2.c.nc.IsClosed() || !g2.c.nc.IsClosed() {
		t.Errorf("%d connections are left", n)
	}
	if err := goleak.Find(current); err != nil {
		t.Error(err)
	}
}

// TestShareLost: what ends the connection ends all its ends, and what was on its way is unknown to each.
func TestShareLost(t *testing.T) {
	b := sharingBench(t)
	s := openSource(t, b.ad, b.c, streamEnd("A", nil))
	other := openSource(t, b.ad, b.c, streamEnd("B", nil))
	s.c.nc.Close()
	for _, s := range []*source{s, other} {
		_, err := s.Receive(t.Context(), 1)
		wantKind(t, "Receive", err, adapters.Lost, "")
	}
	if fresh := openSource(t, b.ad, b.c, streamEnd("A", nil)); fresh.c.tr == s.c.tr {
		t.Error("a new end is on the lost connection")
	}
}

// TestShareSilence: an end that gets no answer is lost, alone, and comes back on another connection.
func TestShareSilence(t *testing.T) {
	b := sharingBench(t)
	lost := openTarget(t, b.ad, b.c, subjectEnd("a", nil))
	other := openTarget(t, b.ad, b.c, subjectEnd("b", nil))
	b.mute(t, "mute")
	lost.c.at.Name, lost.c.cfg.Limits.Confirm = "mute", 50*time.Millisecond
	_, err := lost.Send(t.Context(), bodies(0, 1))
	wantKind(t, "no answer", err, adapters.Lost, "no answer within")
	send(t, other, bodies(0, 1)...)
	if err := lost.Close(); err != nil {
		t.Error(err)
	}
	fresh := openTarget(t, b.ad, b.c, subjectEnd("a", nil))
	if fresh.c.tr == other.c.tr {
		t.Error("an end with unknown outcomes is back on the connection that lost them")
	}
	send(t, other, bodies(1, 2)...)
	send(t, fresh, bodies(0, 1)...)
}

// TestShareStall: a connection that has stalled is cut for all as soon as one of its ends misses an answer.
func TestShareStall(t *testing.T) {
	h := newHarness(t)
	proxy := adaptertest.NewProxy(t)
	c := h.Config(t, proxy.Dial)
	c.Share, c.Heartbeat, c.Limits.Confirm = adapters.NewShare(), time.Second, 500*time.Millisecond
	open := func(p adaptertest.Place) adapters.Target {
		g, err := h.adapter.OpenTarget(t.Context(), c, p.Target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		return g
	}
	first, idle := open(h.Place(t)), open(h.Place(t)).(*target)
	proxy.Stall()
	_, err := first.Send(t.Context(), bodies(0, 1))
	wantKind(t, "stalled", err, adapters.Lost, "no answer within")
	select {
	case <-idle.spent:
	case <-time.After(30 * time.Second):
		t.Error("the idle end still believes in its connection")
	}
	proxy.Allow()
	if n, err := open(h.Place(t)).Send(t.Context(), bodies(0, 1)); n != 1 || err != nil {
		t.Errorf("on a new connection: %d, %v", n, err)
	}
}

// TestShareDenied: a refusal comes to the ends that use its subject. Two ends of one subject do not share, since a refusal
// names no message.
func TestShareDenied(t *testing.T) {
	h := newHarness(t)
	c := h.Config(t, nil)
	c.Share = adapters.NewShare()
	denied, fine := h.DeniedPlace(t), h.Place(t)
	target1, err1 := h.adapter.OpenTarget(t.Context(), c, denied.Target)
	target2, err2 := h.adapter.OpenTarget(t.Context(), c, fine.Target)
	twin, err3 := h.adapter.OpenTarget(t.Context(), c, fine.Target)
	source, err4 := h.adapter.OpenSource(t.Context(), c, fine.Source)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _, _, _ = target1.Close(), target2.Close(), twin.Close(), source.Close() }()
	if target1.(*target).c.tr != target2.(*target).c.tr || target2.(*target).c.tr == twin.(*target).c.tr {
		t.Error("who shares with whom")
	}
	for range 3 {
		_, err := target1.Send(t.Context(), bodies(0, 2))
		wantKind(t, "denied", err, adapters.Denied, "no permission to publish to")
		_, err = h.adapter.OpenSource(t.Context(), c, denied.Source)
		wantKind(t, "denied source", err, adapters.Denied, "")
		if n, err := target2.Send(t.Context(), bodies(0, 2)); n != 2 || err != nil {
			t.Errorf("the end beside it: %d, %v", n, err)
		}
	}
	if ds, err := source.Receive(t.Context(), 1); len(ds) != 1 || err != nil {
		t.Errorf("the source beside a denied one: %d, %v", len(ds), err)
	}
}

// TestShareOpenTogether: many ends that open at once make one connection; when that fails, each is told; the end of the one
// who was opening it is not the end of the others.
func TestShareOpenTogether(t *testing.T) {
	p := &pool{trunks: map[trunkKey][]*trunk{}}
	key := trunkKey{share: adapters.NewShare()}
	opening, quit := make(chan struct{}), make(chan struct{})
	first, stop := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.join(first, key, "first", func(*trunk) error {
			close(opening)
			<-quit
			return context.Cause(first)
		})
		if err == nil {
			t.Error("the first has a connection")
		}
	})
	<-opening
	var mu sync.Mutex
	opened, got := 0, map[*trunk]int{}
	for i := range 50 {
		wg.Go(func() {
			tr, err := p.join(t.Context(), key, fmt.Sprint(i), func(*trunk) error {
				mu.Lock()
				defer mu.Unlock()
				opened++
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if got[tr]++; err != nil {
				t.Error(err)
			}
		})
	}
	stop(errors.New("told to stop"))
	close(quit)
	wg.Wait()
	if opened != 1 || len(got) != 1 {
		t.Errorf("%d opened, %d in use", opened, len(got))
	}
	refused := errors.New("refused")
	if _, err := p.join(t.Context(), trunkKey{share: adapters.NewShare()}, "x", func(*trunk) error { return refused }); err != refused {
		t.Errorf("a connection that cannot be made: %v", err)
	}
}
