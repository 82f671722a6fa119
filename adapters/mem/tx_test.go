package mem_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

const laneName = "k3v9x0q2m4t7a.0000001f"

var withTx = mem.Options{Tx: true}

func openTx(t *testing.T, b *mem.Broker, c adapters.Config) adapters.TxTarget {
	t.Helper()
	g, err := mem.New(b).OpenTx(t.Context(), c, at, laneName)
	if err != nil {
		t.Fatalf("open with transactions: %v", err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func upTo(last uint64, holes ...uint64) adapters.Position {
	return adapters.Position{Last: last, Holes: holes}
}

func wantPosition(t *testing.T, b *mem.Broker, want adapters.Position) {
	t.Helper()
	if got, _ := b.Position(laneName); !reflect.DeepEqual(got, want) {
		t.Fatalf("the broker has position %v, want %v", got, want)
	}
	if got := openTx(t, b, config()).Position(); !reflect.DeepEqual(got, want) {
		t.Fatalf("a target opened now has position %v, want %v", got, want)
	}
}

func sendTx(t *testing.T, g adapters.TxTarget, p adapters.Position, names ...string) {
	t.Helper()
	if err := g.SendTx(t.Context(), messages(names...), p); err != nil {
		t.Fatalf("send %q: %v", names, err)
	}
}

// later runs SendTx beside the test and returns where its error will be.
func later(t *testing.T, g adapters.TxTarget, p adapters.Position, names ...string) <-chan error {
	sent := make(chan error, 1)
	go func() { sent <- g.SendTx(t.Context(), messages(names...), p) }()
	return sent
}

func TestATransactionKeepsItsPosition(t *testing.T) {
	run(t, withTx, func(t *testing.T, b *mem.Broker) {
		if p, stored := b.Position(laneName); stored || !reflect.DeepEqual(p, adapters.Position{}) {
			t.Fatalf("before the first: position %v, stored %t", p, stored)
		}
		g := openTx(t, b, config())
		holes := []uint64{2, 3}
		p := adapters.Position{Last: 4, Holes: holes}
		ms := messages("1", "4")
		if err := g.SendTx(t.Context(), ms, p); err != nil {
			t.Fatal(err)
		}
		holes[0], ms[0].Body.Data[0] = 9, 'X'
		b.Kill()
		b.Start()
		wantPosition(t, b, upTo(4, 2, 3))
		sendTx(t, openTx(t, b, config()), upTo(5))
		wantPosition(t, b, upTo(5))
		wantQueue(t, b, "1", "4")
	})
}

func TestATransactionWithoutAnswerCounts(t *testing.T) {
	run(t, withTx, func(t *testing.T, b *mem.Broker) {
		g := openTx(t, b, config())
		b.Link().HoldReplies()
		sent := later(t, g, upTo(2), "1", "2")
		<-time.After(time.Second)
		b.Link().Cut()
		wantKind(t, <-sent, adapters.Lost)
		wantKind(t, g.SendTx(t.Context(), messages("3"), upTo(3)), adapters.Lost)
		wantPosition(t, b, upTo(2))
		wantQueue(t, b, "1", "2")
	})
}

func TestATransactionThatNeverArrivedDoesNotCount(t *testing.T) {
	run(t, withTx, func(t *testing.T, b *mem.Broker) {
		b.Link().SetLatency(time.Second)
		g := openTx(t, b, config())
		sent := later(t, g, upTo(2), "1", "2")
		<-time.After(time.Second / 2)
		b.Link().Cut()
		wantKind(t, <-sent, adapters.Lost)
		wantPosition(t, b, adapters.Position{})
		wantQueue(t, b)
	})
}

func TestWhoGivesUpIsSpent(t *testing.T) {
	run(t, withTx, func(t *testing.T, b *mem.Broker) {
		g := openTx(t, b, config())
		b.Link().HoldReplies()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantKind(t, g.SendTx(ctx, messages("1"), upTo(1)), adapters.Lost)
		b.Link().Allow()
		wantKind(t, g.SendTx(t.Context(), messages("1"), upTo(1)), adapters.Lost)
		wantPosition(t, b, upTo(1))
	})
}

func TestTheNewerSenderFencesTheOlder(t *testing.T) {
	run(t, withTx, func(t *testing.T, b *mem.Broker) {
		older := openTx(t, b, config())
		sendTx(t, older, upTo(1), "1")
		newer := openTx(t, b, config())
		err := older.SendTx(t.Context(), messages("2"), upTo(2))
		wantKind(t, err, adapters.Denied)
		if !errors.Is(err, adapters.ErrFenced) {
			t.Errorf("%v is not ErrFenced", err)
		}
		sendTx(t, newer, upTo(2), "two")
		wantPosition(t, b, upTo(2))
		wantQueue(t, b, "1", "two")
	})
}

// TestATransactionOnItsWayIsFenced: what the older sender has under way must not land behind what the newer one has read.
func TestATransactionOnItsWayIsFenced(t *testing.T) {
	run(t, withTx, func(t *testing.T, b *mem.Broker) {
		slow := b.NewLink()
		c := config()
		c.Dial = slow.Dial
		older := openTx(t, b, c)
		slow.SetLatency(time.Second)
		sent := later(t, older, upTo(1), "1")
		<-time.After(time.Second / 2)
		newer := openTx(t, b, config())
		if err := <-sent; !errors.Is(err, adapters.ErrFenced) {
			t.Errorf("the older sender got %v, want ErrFenced", err)
		}
		if p := newer.Position(); p.Last != 0 {
			t.Errorf("the newer one has read %v", p)
		}
		wantQueue(t, b)
	})
}

func TestARefusedTransactionLeavesNothing(t *testing.T) {
	bad := func(m *adapters.Message) bool { return string(m.Body.Data) == "bad" }
	for name, c := range map[string]struct {
		rules mem.Rules
		last  string
		kind  adapters.Kind
	}{
		"refused":   {mem.Rules{Refuse: bad}, "bad", adapters.Permanent},
		"too large": {mem.Rules{}, string(make([]byte, 1000)), adapters.Permanent},
		"full":      {mem.Rules{Room: 2}, "3", adapters.Full},
		"denied":    {mem.Rules{Denied: true}, "3", adapters.Denied},
		"missing":   {mem.Rules{Missing: true}, "3", adapters.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, mem.Options{Tx: true, MaxSize: 1000}, func(t *testing.T, b *mem.Broker) {
				g := openTx(t, b, config())
				sendTx(t, g, upTo(1), "1")
				var judged []error
				c.rules.Judged = func(_ *adapters.Message, err error) { judged = append(judged, err) }
				b.SetRules(queue, c.rules)
				wantKind(t, g.SendTx(t.Context(), messages("2", c.last), upTo(3)), c.kind)
				if slices.Contains(judged, nil) {
					t.Errorf("a message of it counted as taken: %v", judged)
				}
				b.SetRules(queue, mem.Rules{})
				wantPosition(t, b, upTo(1))
				sendTx(t, openTx(t, b, config()), upTo(2), "2")
				wantQueue(t, b, "1", "2")
			})
		})
	}
}

func TestOpenTxRefuses(t *testing.T) {
	run(t, mem.Options{}, func(t *testing.T, b *mem.Broker) {
		for _, lane := range []string{"a", "", "A", "a/b", string(make([]byte, 65))} {
			_, err := mem.New(b).OpenTx(t.Context(), config(), at, lane)
			wantKind(t, err, adapters.Permanent)
		}
		if got := mem.New(b).Capabilities(config()).Target; got != adapters.ClassNone {
			t.Errorf("without transactions the target's class is %v", got)
		}
	})
	run(t, mem.Options{Tx: true, Window: true}, func(t *testing.T, b *mem.Broker) {
		if got := mem.New(b).Capabilities(config()).Target; got != adapters.ClassTx {
			t.Errorf("with transactions the target's class is %v", got)
		}
		_, err := openTx(t, b, config()).Send(t.Context(), messages("1"))
		wantKind(t, err, adapters.Permanent)
	})
}
