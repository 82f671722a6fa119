package demo

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestSenderKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{rate: 1500, begun: time.Now()}
		for range 10 {
			<-time.After(2 * time.Second)
			if got, want := s.due(), uint64(1500*time.Since(s.begun).Seconds()); got != want {
				t.Errorf("after %v %d are due, want %d", time.Since(s.begun), got, want)
			}
		}
	})
}

func TestSenderAndTallyAgree(t *testing.T) {
	s, err := startSite(t.TempDir(), "paris", 0, prices)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tl := newTally()
	stop, err := tl.watch(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	sd := startSender(ctx, s, 5000, 200)
	select {
	case <-tl.reaches(1000):
	case <-ctx.Done():
		t.Fatal("1000 messages have not arrived")
	}
	if err := sd.finish(); err != nil {
		t.Fatal(err)
	}
	sent := int(sd.confirmed.Load())
	if held, err := s.held(ctx); err != nil || int(held) != sent || sent != int(sd.offered.Load()) {
		t.Errorf("%d confirmed, %d offered, %d held: %v", sent, sd.offered.Load(), held, err)
	}
	<-tl.reaches(sent)
	if arrived, strange := tl.among(sent); arrived != sent || strange != 0 {
		t.Errorf("%d of %d arrived and %d others", arrived, sent, strange)
	}
}

func TestSiteKnowsWhatIsSettled(t *testing.T) {
	s, err := startSite(t.TempDir(), "paris", 0, prices)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want := func(what string, want bool) {
		t.Helper()
		if got, err := s.settled(ctx); err != nil || got != want {
			t.Errorf("%s: settled is %t, %v", what, got, err)
		}
	}
	c, err := s.js.CreateConsumer(ctx, prices, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	want("empty", true)
	if _, err := s.js.Publish(ctx, priceSubject, body(0, minSize)); err != nil {
		t.Fatal(err)
	}
	want("not taken", false)
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	want("taken", false)
	if err := m.DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	want("settled", true)
}

// A broker that goes away makes the sender fail: what it did not confirm is not counted as sent.
func TestSenderFailsWithItsBroker(t *testing.T) {
	s, err := startSite(t.TempDir(), "paris", 0, prices)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sd := startSender(ctx, s, 1000, 100)
	_ = s.stop()
	select {
	case <-sd.failed:
	case <-ctx.Done():
		t.Fatal("it goes on without a broker")
	}
	if err := sd.finish(); err == nil {
		t.Error("finished well")
	}
	if sd.confirmed.Load() > sd.offered.Load() {
		t.Errorf("%d confirmed of %d", sd.confirmed.Load(), sd.offered.Load())
	}
}

func TestSenderEndsWithItsContext(t *testing.T) {
	s, err := startSite(t.TempDir(), "paris", 0, prices)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sd := startSender(ctx, s, 10, 100)
	<-sd.failed
	if err := sd.finish(); err != context.Canceled {
		t.Errorf("%v", err)
	}
}
