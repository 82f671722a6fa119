package kafka

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/posthouse/posthouse/adapters"
)

// TestFetchSizes: what is asked for in one response, by prefetch and prefetch bytes, and that it is always allowed in.
func TestFetchSizes(t *testing.T) {
	for _, c := range []struct {
		prefetch int
		bytes    int64
		want     int64
	}{
		{0, 0, 1 << 20}, // the defaults
		{1, 0, 1 << 20},
		{1024, 0, 4 << 20},
		{8192, 0, 8 << 20},
		{65535, 1 << 40, 8 << 20},
		{8192, 2 << 20, 1 << 20},
		{256, 1 << 10, 64 << 10},
	} {
		l := adapters.Limits{Prefetch: c.prefetch, PrefetchBytes: c.bytes}.WithDefaults()
		if got := fetchTotal(l); got != c.want {
			t.Errorf("prefetch %d, %d bytes: got %d, want %d", c.prefetch, c.bytes, got, c.want)
		}
		s := newSource(adapters.Config{Limits: l}.WithDefaults(), adapters.Address{}, facts{})
		if s.net.maxFrame < fetchTotal(l)+l.MaxSize {
			t.Errorf("prefetch %d, %d bytes: a response of %d bytes is cut, %d are asked for and one message more", c.prefetch, c.bytes, s.net.maxFrame, fetchTotal(l))
		}
	}
}

// untold makes the broker keep its topics' limits to itself.
func untold(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return r.ResponseKind(), nil, true
	})
}

// TestUnknownTopicLimit: where the broker does not tell the limit, many messages at once are still never refused together.
func TestUnknownTopicLimit(t *testing.T) {
	const n = 60
	cluster, h := startFake(t)
	untold(cluster)
	p := h.Place(t)
	tg := mustTarget(t, h.Config(t, nil), p.Target)
	if got, want := tg.Peer().MaxSize, int64(64<<20); got != want {
		t.Errorf("Peer.MaxSize: got %d, want %d, the limit of the configuration", got, want)
	}
	var refused atomic.Int64
	answer(cluster, sarama.ErrMessageSizeTooLarge, func(r *kmsg.ProduceRequest) bool {
		large := len(r.Topics[0].Partitions[0].Records) > 1<<20
		if large {
			refused.Add(1)
		}
		return large
	})
	ms := texts(0, n)
	for _, m := range ms {
		m.Body.Data = append(m.Body.Data, make([]byte, 100<<10)...) // six times the broker's limit in all
	}
	if _, err := tg.Send(limited(t), ms); err != nil {
		t.Fatalf("send: %v", err)
	}
	if refused.Load() > 0 {
		t.Errorf("%d batches were beyond the broker's limit", refused.Load())
	}
	for i, m := range h.Take(t, p, n) {
		if string(m.Body[:5]) != string(ms[i].Body.Data[:5]) {
			t.Fatalf("message %d: got %s", i, m.Body[:5])
		}
	}
	big := texts(n, n+1)
	big[0].Body.Data = make([]byte, 2<<20)
	if _, err := tg.Send(limited(t), big); adapters.KindOf(err) != adapters.Permanent {
		t.Errorf("larger than the broker's limit: got %v, want Permanent", err)
	}
	if _, err := tg.Send(limited(t), texts(n, n+1)); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
}

// held makes the broker sit on produce requests until release is called; asked is closed with the first.
func held(t testing.TB, c *kfake.Cluster) (asked chan struct{}, release func()) {
	hold, asked := make(chan struct{}), make(chan struct{})
	var once, first sync.Once
	release = func() { once.Do(func() { close(hold) }) }
	t.Cleanup(release)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		first.Do(func() { close(asked) })
		c.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	return asked, release
}

// TestWindowEndsWithContext: a Post for which there is no room ends with its context; what was handed over before is
// confirmed all the same, what was not is told, and nothing of it is sent.
func TestWindowEndsWithContext(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	asked, release := held(t, cluster)
	c := h.Config(t, nil)
	c.Limits.InFlight = 4
	tg := mustTarget(t, c, p.Target)
	ctx, cancel := context.WithCancel(limited(t))
	go func() {
		<-asked
		cancel()
	}()
	r, err := tg.Post(ctx, texts(0, 10))
	if err != nil {
		t.Fatalf("post: %v", err)
	}
	if r2, err := tg.Post(ctx, texts(10, 11)); err == nil {
		t.Errorf("a full window takes more: %v", r2)
	}
	release()
	n, err := r.Wait(limited(t))
	if n != 4 {
		t.Errorf("confirmed: got %d, want the 4 of the window", n)
	}
	for i, err := range adapters.Fates(10, n, err) {
		if (err == nil) != (i < 4) {
			t.Errorf("fate of message %d: %v", i, err)
		}
	}
	if _, err := tg.Send(limited(t), texts(4, 6)); err != nil {
		t.Fatalf("the next send: %v", err)
	}
	wantNumbered(t, h.Take(t, p, 6), 6)
	if got := h.count(t, p.Target.Name); got != 6 {
		t.Errorf("at the broker: got %d, want 6", got)
	}
}

// TestWindowIsWatched: no room for longer than Limits.Confirm: the broker has not answered what is in flight, so the
// target is spent.
func TestWindowIsWatched(t *testing.T) {
	cluster, h := startFake(t)
	p := h.Place(t)
	_, release := held(t, cluster)
	c := h.Config(t, nil)
	c.Limits.InFlight, c.Limits.Confirm = 1, 300*time.Millisecond
	tg := mustTarget(t, c, p.Target)
	r, err := tg.Post(limited(t), texts(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tg.Post(limited(t), texts(1, 2)); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("post without room: got %v, want Lost", err)
	}
	if n, err := r.Wait(limited(t)); n != 0 || adapters.KindOf(err) != adapters.Lost {
		t.Errorf("what was in flight: got %d, %v, want Lost", n, err)
	}
	release()
}
