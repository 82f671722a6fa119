package mem_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const queue = "orders"

var at = adapters.Address{Broker: "b", Form: adapters.Queue, Name: queue}

func config() adapters.Config { return adapters.Config{Name: "b", Heartbeat: time.Second} }

func messages(names ...string) []*adapters.Message {
	var ms []*adapters.Message
	for _, n := range names {
		ms = append(ms, &adapters.Message{Track: adapters.Track{ID: n}, Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte(n)}})
	}
	return ms
}

func bodies(ms []*adapters.Message) (out []string) {
	for _, m := range ms {
		out = append(out, string(m.Body.Data))
	}
	return out
}

func source(t *testing.T, b *mem.Broker, c adapters.Config) adapters.Source {
	t.Helper()
	s, err := mem.New(b).OpenSource(t.Context(), c, at)
	if err != nil {
		t.Fatalf("open source: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func target(t *testing.T, b *mem.Broker, c adapters.Config) *mem.Target {
	t.Helper()
	g, err := mem.New(b).OpenTarget(t.Context(), c, at)
	if err != nil {
		t.Fatalf("open target: %v", err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g.(*mem.Target)
}

func receive(t *testing.T, s adapters.Source, n int) []adapters.Delivery {
	t.Helper()
	var all []adapters.Delivery
	for len(all) < n {
		ds, err := s.Receive(t.Context(), n-len(all))
		if err != nil {
			t.Fatalf("receive after %d of %d: %v", len(all), n, err)
		}
		all = append(all, ds...)
	}
	return all
}

func wantKind(t *testing.T, err error, k adapters.Kind) {
	t.Helper()
	if err == nil || adapters.KindOf(err) != k {
		t.Fatalf("error %v has kind %v, want %v", err, adapters.KindOf(err), k)
	}
}

func wantQueue(t *testing.T, b *mem.Broker, want ...string) {
	t.Helper()
	n, _ := b.Len(queue)
	ms, err := b.Take(t.Context(), queue, n)
	if got := bodies(ms); err != nil || !slices.Equal(got, want) {
		t.Fatalf("queue holds %q (%v), want %q", got, err, want)
	}
}

func run(t *testing.T, o mem.Options, f func(t *testing.T, b *mem.Broker)) {
	synctest.Test(t, func(t *testing.T) { f(t, mem.NewBroker("b", o)) })
}

func TestReleasedGoesToTheHead(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		c := config()
		c.Limits.Prefetch = 3
		b.Put(queue, messages("1", "2", "3", "4")...)
		s := source(t, b, c)
		ds := receive(t, s, 3)
		if err := s.Settle(t.Context(), adapters.Released, ds[2], ds[0]); err != nil {
			t.Fatal(err)
		}
		again := receive(t, s, 2)
		got := []string{string(again[0].Message.Body.Data), string(again[1].Message.Body.Data)}
		if !slices.Equal(got, []string{"1", "3"}) || again[0].Attempt != 2 || again[0].SourceID != ds[0].SourceID {
			t.Fatalf("got %q, attempt %d", got, again[0].Attempt)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantQueue(t, b, "1", "2", "3", "4")
	})
}

func TestCutGivesBackWhatIsUnsettled(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		b.Put(queue, messages("1", "2", "3")...)
		s := source(t, b, config())
		ds := receive(t, s, 2)
		if err := s.Settle(t.Context(), adapters.Accepted, ds[0]); err != nil {
			t.Fatal(err)
		}
		b.Link().Cut()
		_, err := s.Receive(t.Context(), 1)
		wantKind(t, err, adapters.Lost)
		wantKind(t, s.Settle(t.Context(), adapters.Accepted, ds[1]), adapters.Lost)
		wantQueue(t, b, "2", "3")
	})
}

func TestKillDropsOnlyWhatNobodyWaitedFor(t *testing.T) {
	run(t, mem.Options{Window: true}, func(t *testing.T, b *mem.Broker) {
		g := target(t, b, config())
		if n, err := g.Send(t.Context(), messages("1", "2")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		r, err := g.Post(t.Context(), messages("3"))
		if err != nil {
			t.Fatal(err)
		}
		b.Kill()
		_, err = r.Wait(t.Context())
		wantKind(t, err, adapters.Lost)
		_, err = mem.New(b).OpenTarget(t.Context(), config(), at)
		wantKind(t, err, adapters.Lost)
		b.Start()
		if n, err := target(t, b, config()).Send(t.Context(), messages("2", "3")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		wantQueue(t, b, "1", "2", "3")
	})
}

func TestHeldRepliesLeaveTheOutcomeUnknown(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		g := target(t, b, config())
		b.Link().HoldReplies()
		time.AfterFunc(time.Minute/4, b.Link().Cut)
		n, err := g.Send(t.Context(), messages("1"))
		wantKind(t, err, adapters.Lost)
		if n != 0 {
			t.Fatalf("n = %d", n)
		}
		wantQueue(t, b, "1")
	})
}

func TestStallEndsInLost(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		s, g := source(t, b, config()), target(t, b, config())
		start := time.Now()
		b.Link().Stall()
		_, err := g.Send(t.Context(), messages("1"))
		wantKind(t, err, adapters.Lost)
		_, err = s.Receive(t.Context(), 1)
		wantKind(t, err, adapters.Lost)
		wantKind(t, s.(adapters.Prober).Probe(t.Context()), adapters.Lost)
		if took := time.Since(start); took != 3*time.Second {
			t.Fatalf("noticed after %v, want three heartbeats", took)
		}
		wantQueue(t, b)
	})
}

func TestAStallThatEndsIsForgotten(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		g := target(t, b, config())
		b.Link().Stall()
		time.AfterFunc(2*time.Second, b.Link().Allow)
		if n, err := g.Send(t.Context(), messages("1")); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		wantQueue(t, b, "1")
	})
}

func TestConfirmIsAWatchdog(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		g := target(t, b, config())
		b.Link().HoldReplies()
		start := time.Now()
		_, err := g.Send(t.Context(), messages("1"))
		wantKind(t, err, adapters.Lost)
		if took := time.Since(start); took != 30*time.Second {
			t.Fatalf("gave up after %v", took)
		}
	})
}

func TestLatencyIsPipelined(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		b.Link().SetLatency(25 * time.Millisecond)
		g := target(t, b, config())
		start := time.Now()
		var rs []adapters.Receipt
		for i := range 10 {
			r, err := g.Post(t.Context(), messages(strconv.Itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			rs = append(rs, r)
		}
		for _, r := range rs {
			if n, err := r.Wait(t.Context()); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Fatalf("ten posts took %v, want one round trip", took)
		}
		wantQueue(t, b, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	})
}

func TestLatencyOfASource(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		b.Link().SetLatency(25 * time.Millisecond)
		s := source(t, b, config())
		start := time.Now()
		b.Put(queue, messages("1", "2", "3")...)
		ds := receive(t, s, 3)
		if took := time.Since(start); took != 25*time.Millisecond {
			t.Fatalf("arrived after %v", took)
		}
		if err := s.Settle(t.Context(), adapters.Accepted, ds...); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 75*time.Millisecond {
			t.Fatalf("settled after %v", took)
		}
	})
}

func TestPostBlocksAtInFlight(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		c := config()
		c.Limits.InFlight = 2
		b.Link().SetLatency(time.Second)
		g := target(t, b, c)
		start := time.Now()
		for range 2 {
			if _, err := g.Post(t.Context(), messages("a", "b")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Fatalf("the second post took %v, want to wait for the first answer", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Post(ctx, messages("c"))
		wantKind(t, err, adapters.Transient)
	})
}

func TestFatesOfARefusal(t *testing.T) {
	run(t, mem.Options{MaxSize: 10_000}, func(t *testing.T, b *mem.Broker) {
		b.SetRules(queue, mem.Rules{Room: 3, Refuse: func(m *adapters.Message) bool { return string(m.Body.Data) == "poison" }})
		ms := messages("1", "poison", "2", "big", "3", "4")
		ms[3].Body.Data = make([]byte, 10_000)
		n, err := target(t, b, config()).Send(t.Context(), ms)
		var p *adapters.PartialError
		if n != 1 || !errors.As(err, &p) {
			t.Fatalf("n = %d, err = %v", n, err)
		}
		want := []adapters.Kind{0, adapters.Permanent, 0, adapters.Permanent, 0, adapters.Full}
		for i, e := range p.Errs {
			if (e == nil) != (want[i] == 0) || e != nil && adapters.KindOf(e) != want[i] {
				t.Errorf("message %d: %v, want %v", i, e, want[i])
			}
		}
		wantQueue(t, b, "1", "2", "3")
	})
}

func TestRules(t *testing.T) {
	run(t, mem.Options{Password: "right"}, func(t *testing.T, b *mem.Broker) {
		a, c := mem.New(b), config()
		_, err := a.OpenSource(t.Context(), c, at)
		wantKind(t, err, adapters.Denied)
		c.Credentials.Password = adapters.NewSecret("right")
		b.SetRules(queue, mem.Rules{Missing: true})
		_, err = a.OpenTarget(t.Context(), c, at)
		wantKind(t, err, adapters.NotFound)
		b.SetRules(queue, mem.Rules{Denied: true})
		_, err = a.Ping(t.Context(), c, at)
		wantKind(t, err, adapters.Denied)
		b.SetRules(queue, mem.Rules{})
		b.Link().Refuse()
		_, err = a.Ping(t.Context(), c)
		wantKind(t, err, adapters.Lost)
		b.Link().Allow()
		if p, err := a.Ping(t.Context(), c, at); err != nil || p.ID != "b" {
			t.Fatal(p, err)
		}
	})
}

func TestAddressesAreTriedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := mem.NewBroker("one", mem.Options{}), mem.NewBroker("two", mem.Options{})
		a, c := mem.New(one, two), adapters.Config{Name: "b", Addresses: []string{"none", "one", "two"}}
		for _, want := range []string{"one", "two"} {
			p, err := a.Ping(t.Context(), c)
			if err != nil || p.Address != want {
				t.Fatalf("reached %q (%v), want %q", p.Address, err, want)
			}
			one.Kill()
		}
		one.Start()
		c.Dial = two.NewLink().Dial
		if p, err := a.Ping(t.Context(), c); err != nil || p.Address != "two" {
			t.Fatalf("reached %q (%v) through the link of two", p.Address, err)
		}
	})
}

func TestALinkIsCutByItself(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		c, link := config(), b.NewLink()
		c.Dial = link.Dial
		far, near := source(t, b, c), source(t, b, config())
		link.Cut()
		_, err := far.Receive(t.Context(), 1)
		wantKind(t, err, adapters.Lost)
		b.Put(queue, messages("1")...)
		receive(t, near, 1)
	})
}

func TestRejectedIsSetAside(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		b.Put(queue, messages("1")...)
		s := source(t, b, config())
		if err := s.Settle(t.Context(), adapters.Rejected, receive(t, s, 1)...); err != nil {
			t.Fatal(err)
		}
		if got := bodies(b.Aside(queue)); !slices.Equal(got, []string{"1"}) {
			t.Fatalf("aside: %q", got)
		}
	})
}

func TestATooLargeMessageStays(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		c := config()
		c.Limits.MaxSize = 1000
		ms := messages("1", "2")
		ms[1].Body.Data = make([]byte, 1000)
		b.Put(queue, ms...)
		s := source(t, b, c)
		if ds := receive(t, s, 1); string(ds[0].Message.Body.Data) != "1" {
			t.Fatal(ds)
		}
		_, err := s.Receive(t.Context(), 1)
		wantKind(t, err, adapters.Lost)
		if n, _ := b.Len(queue); n != 2 {
			t.Fatalf("%d messages left, want both", n)
		}
	})
}

func TestLeftSaysNothingAtTheReceiver(t *testing.T) {
	b := mem.NewBroker("b", mem.Options{})
	m := messages("x")[0]
	m.Left = 5000
	b.Put(queue, m)
	if got := receive(t, source(t, b, config()), 1)[0].Message; got.Left != 0 {
		t.Errorf("Left = %d: it is for encoding only", got.Left)
	}
}

func TestJudgedHearsOfEveryArrival(t *testing.T) {
	b := mem.NewBroker("b", mem.Options{})
	var heard []string
	b.SetRules(queue, mem.Rules{
		Refuse: func(m *adapters.Message) bool { return m.Track.ID == "y" },
		Judged: func(m *adapters.Message, err error) {
			heard = append(heard, m.Track.ID+" "+adapters.KindOf(err).String())
		},
	})
	if _, err := target(t, b, config()).Send(t.Context(), messages("x", "y", "z")); err == nil {
		t.Error("y was taken")
	}
	if want := []string{"x other", "y permanent", "z other"}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
}

func TestNothingOvertakesWhenLatencyFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.NewBroker("b", mem.Options{})
		g := target(t, b, config())
		b.Link().SetLatency(time.Second)
		first, err := g.Post(t.Context(), messages("x"))
		if err != nil {
			t.Fatal(err)
		}
		b.Link().SetLatency(0)
		second, err := g.Post(t.Context(), messages("y"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []adapters.Receipt{first, second} {
			if _, err := r.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		got, err := b.Take(t.Context(), queue, 2)
		if want := []string{"x", "y"}; err != nil || !slices.Equal(bodies(got), want) {
			t.Errorf("%v, %v, want %v", bodies(got), err, want)
		}
	})
}
