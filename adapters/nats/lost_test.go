package nats

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// wantKind checks an error's Kind and that its text has the words.
func wantKind(t *testing.T, what string, err error, kind adapters.Kind, words string) {
	t.Helper()
	if err == nil || adapters.KindOf(err) != kind || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: %v, want %v with %q", what, err, kind, words)
	}
}

// mute takes what is published to subject and never answers, so that the server does not say that nobody is there.
func (b bench) mute(t *testing.T, subject string) {
	t.Helper()
	sub, err := b.js.Conn().SubscribeSync(subject)
	if err == nil {
		err = b.js.Conn().Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
}

// ordered is a bench with the stream S of n messages, and a source of it.
func ordered(t *testing.T, n int) (bench, *source) {
	t.Helper()
	b := newBench(t)
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	b.publish(t, "s", 0, n)
	return b, openSource(t, b.ad, b.c, streamEnd("S", nil))
}

func TestSettleRefuses(t *testing.T) {
	b, s := ordered(t, 2)
	ds := take(t, s, 2)
	other := openSource(t, b.ad, b.c, streamEnd("S", keys{KeyConsumer: "other"}))
	wantKind(t, "a delivery of another source", other.Settle(t.Context(), adapters.Accepted, ds...), adapters.Lost, "connection that is gone")
	wantKind(t, "a tag of nobody", s.Settle(t.Context(), adapters.Accepted, adapters.Delivery{Tag: 7}), adapters.Lost, "connection that is gone")
	wantKind(t, "rejected", s.Settle(t.Context(), adapters.Rejected, ds...), adapters.Permanent, "no place for rejected")
	wantKind(t, "no outcome", s.Settle(t.Context(), 0, ds...), adapters.Permanent, "nothing to settle with")
	if err := s.Settle(t.Context(), adapters.Accepted); err != nil {
		t.Errorf("nothing to settle: %v", err)
	}
	for range 2 { // the second time is harmless
		if err := s.Settle(t.Context(), adapters.Accepted, ds...); err != nil {
			t.Errorf("what was refused before: %v", err)
		}
	}
}

// silence turns the acks of a delivery to another subject, and returns where they went.
func silence(d adapters.Delivery, subject string) (before string) {
	t := d.Tag.(*tag)
	before, t.reply = t.reply, subject
	return before
}

// TestSettleUnanswered: no answer is no settlement; a caller that gives up may ask again.
func TestSettleUnanswered(t *testing.T) {
	b, s := ordered(t, 1)
	ds := take(t, s, 1)
	b.mute(t, "mute")
	truly := silence(ds[0], "mute")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, "given up", s.Settle(ctx, adapters.Accepted, ds...), adapters.Transient, "canceled")
	silence(ds[0], truly)
	if err := s.Settle(t.Context(), adapters.Accepted, ds...); err != nil {
		t.Errorf("asked again: %v", err)
	}

	b.publish(t, "s", 1, 2)
	ds = take(t, s, 1)
	silence(ds[0], "mute")
	s.c.cfg.Limits.Confirm = 50 * time.Millisecond
	for range 2 { // and it stays so
		wantKind(t, "unanswered", s.Settle(t.Context(), adapters.Accepted, ds...), adapters.Lost, "no answer to acks")
	}
	if _, err := s.Receive(t.Context(), 1); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("Receive after that: %v", err)
	}
}

// TestPullStatus: what the server may say about a pull, and what becomes of the source (ADR-37).
func TestPullStatus(t *testing.T) {
	for words, end := range map[string]string{
		"503":                                 "gone",
		"409 Consumer Deleted":                "Consumer Deleted",
		"409 Server Shutdown":                 "Server Shutdown",
		"409 Consumer is push based":          "push based",
		"409 Exceeded MaxWaiting":             "Exceeded MaxWaiting",
		"409 Exceeded MaxRequestBatch of 100": "Exceeded",
		"400 Bad Request":                     "Bad Request",
		"100 Idle Heartbeat":                  "",
		"409 Leadership Change":               "",
		"408 Request Timeout":                 "",
		"409 Batch Completed":                 "",
		"404 No Messages":                     "",
		"409 Message Size Exceeds MaxBytes":   "",
	} {
		t.Run(words, func(t *testing.T) {
			b, s := ordered(t, 0)
			status, text, _ := strings.Cut(words, " ")
			s.onMsg(&natsgo.Msg{Subject: s.inbox + pullName, Header: natsgo.Header{"Status": {status}, "Description": {text}}})
			if end == "" {
				b.publish(t, "s", 0, 3) // goes on, whether the pull was ended or not
				receive(t, s, 0, 3)
				return
			}
			_, err := s.Receive(t.Context(), 1)
			wantKind(t, words, err, adapters.Lost, end)
			wantKind(t, "Probe", s.Probe(t.Context()), adapters.Lost, end)
		})
	}
}

func TestUnreadableAckIsLost(t *testing.T) {
	_, s := ordered(t, 0)
	s.onMsg(&natsgo.Msg{Subject: "s", Reply: ackMark + "S.c.many"})
	_, err := s.Receive(t.Context(), 1)
	wantKind(t, "Receive", err, adapters.Lost, "cannot be read")
}

// TestSilence: a source that hears nothing asks, and gives up when a pull has waited for three heartbeats.
func TestSilence(t *testing.T) {
	_, s := ordered(t, 0)
	s.heard.Store(0)
	if err := s.Probe(t.Context()); err != nil {
		t.Errorf("the consumer is there: %v", err)
	}
	s.heard.Store(time.Now().UnixNano())
	s.checkHeard()
	if err := s.Probe(t.Context()); err != nil {
		t.Errorf("heard of it just now: %v", err)
	}
	s.heard.Store(0)
	s.checkHeard()
	_, err := s.Receive(t.Context(), 1)
	wantKind(t, "Receive", err, adapters.Lost, "no heartbeat")

	b, s := ordered(t, 0)
	if err := b.js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.err, s.credit.msgs = nil, 0 // whatever the server has said about the pull
	s.mu.Unlock()
	if err := s.Probe(t.Context()); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("Probe without a consumer: %v", err)
	}
}

// TestSendUnanswered: nobody answers a publish. A caller that gives up knows nothing of what is on its way; after
// Limits.Confirm the target is given up.
func TestSendUnanswered(t *testing.T) {
	b := newBench(t)
	g := openTarget(t, b.ad, b.c, subjectEnd("q", keys{KeyCreate: true}))
	send(t, g, bodies(0, 1)...)
	if err := b.js.DeleteStream(t.Context(), "q"); err != nil {
		t.Fatal(err)
	}
	b.mute(t, "q")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := g.Post(t.Context(), bodies(1, 4))
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.Wait(ctx)
	wantKind(t, "given up", err, adapters.Transient, "canceled")
	if n != 0 {
		t.Errorf("%d are said to be taken", n)
	}
	g.answered.Store(0)
	if err := g.Probe(t.Context()); err != nil {
		t.Errorf("the server is there: %v", err)
	}
	g.c.cfg.Limits.Confirm = 50 * time.Millisecond
	n, err = g.Send(t.Context(), bodies(4, 6))
	for _, f := range adapters.Fates(2, n, err) {
		wantKind(t, "unanswered", f, adapters.Lost, "")
	}
	wantKind(t, "Probe", g.Probe(t.Context()), adapters.Lost, "")
	n, err = g.Send(t.Context(), bodies(6, 7))
	wantKind(t, "after that", err, adapters.Lost, "")
	if n != 0 {
		t.Errorf("a target that was given up takes %d more", n)
	}
}

func TestEmptyPostIsDone(t *testing.T) {
	b := newBench(t)
	g := openTarget(t, b.ad, b.c, subjectEnd("q", keys{KeyCreate: true}))
	if n, err := g.Send(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestMakeStreamOnce: two routes that start together may both find no stream; the slower one takes what the faster made,
// but never a stream that only has the same name.
func TestMakeStreamOnce(t *testing.T) {
	b := newBench(t)
	b.stream(t, jetstream.StreamConfig{Name: "made", Subjects: []string{"orders"}})
	g := openTarget(t, b.ad, b.c, subjectEnd("orders", nil))
	s, err := g.c.makeStream(t.Context(), "made", "orders")
	if err != nil || s.Config.Name != "made" {
		t.Errorf("somebody was faster: %v", err)
	}
	if _, err := g.c.makeStream(t.Context(), "made", "payments"); !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		t.Errorf("other subjects: %v", err)
	}
	if _, err := b.ad.OpenTarget(t.Context(), b.c, subjectEnd("payments", keys{KeyCreate: true, KeyStream: "made"})); err == nil {
		t.Error("a target whose stream could not be made is open")
	}
}

func TestServerOptions(t *testing.T) {
	for listen, want := range map[string]string{
		"": "", "127.0.0.1:4222": "", "127.0.0.1:0": "", "127.0.0.1": "HOST:PORT", "127.0.0.1:x": "no port number",
		"127.0.0.1:65536": "no port number", "127.0.0.1:-1": "no port number",
	} {
		o, err := serverOptions(adapters.Config{Name: "b"}, keys{KeyDir: "d", KeyListen: listen})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", listen, err, want)
		}
		if err == nil && (o.DontListen != (listen == "") || strings.HasSuffix(listen, ":0") && o.Port != -1 || !o.SyncAlways) {
			t.Errorf("%q: listens %t on %d, syncs always %t", listen, !o.DontListen, o.Port, o.SyncAlways)
		}
	}
	for v, want := range map[any]time.Duration{"always": 0, "2s": 2 * time.Second, 3 * time.Second: 3 * time.Second, "never": 365 * 24 * time.Hour} {
		if m, err := parseSync(keys{KeySync: v}); err != nil || m.interval != want || m.always != (want == 0) {
			t.Errorf("sync %v: %+v, %v", v, m, err)
		}
	}
	for _, v := range []any{"sometimes", "-1s", time.Duration(0), -time.Second, 5, true} {
		if m, err := parseSync(keys{KeySync: v}); err == nil {
			t.Errorf("sync %v: %+v, want an error", v, m)
		}
	}
}
