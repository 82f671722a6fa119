package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// bench is an embedded server with a client of the vendor's.
type bench struct {
	ad *Adapter
	c  adapters.Config
	js jetstream.JetStream
}

func newBench(t testing.TB) bench {
	b := bench{ad: New(), c: embeddedConfig(t, keys{KeySync: "never"})}
	b.c.Heartbeat = time.Second
	h := begin(t, b.ad, b.c)
	nc, err := natsgo.Connect("", natsgo.InProcessServer(h.server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if b.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bench) stream(t testing.TB, c jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	s, err := b.js.CreateStream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b bench) publish(t testing.TB, subject string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := b.js.Publish(t.Context(), subject, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// take receives n deliveries without settling them.
func take(t testing.TB, s *source, n int) (all []adapters.Delivery) {
	t.Helper()
	ctx, cancel := contextWith(t, 30*time.Second)
	defer cancel()
	for len(all) < n {
		ds, err := s.Receive(ctx, n-len(all))
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(all), n, err)
		}
		all = append(all, ds...)
	}
	return all
}

func texts(ds []adapters.Delivery) (out string) {
	for _, d := range ds {
		out += string(d.Message.Body.Data) + " "
	}
	return out
}

// What a lost connection held comes again at once, before anything newer, although the ack wait has not passed.
func TestReclaimKeepsOrder(t *testing.T) {
	b := newBench(t)
	b.c.Heartbeat = time.Minute // an ack wait of three minutes: only reclaiming can bring the messages back in time
	b.c.Limits.Prefetch = 4
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	b.publish(t, "s", 0, 10)
	s := openSource(t, b.ad, b.c, streamEnd("S", nil))
	ds := take(t, s, 4)
	if err := s.Settle(t.Context(), adapters.Accepted, ds[1]); err != nil {
		t.Fatal(err)
	}
	s.c.nc.Close() // no farewell: nothing is given back
	again := openSource(t, b.ad, b.c, streamEnd("S", nil))
	got := take(t, again, 4)
	if !strings.HasPrefix(texts(got), "0 2 3 ") || got[0].Attempt != 2 || got[0].SourceID != ds[0].SourceID {
		t.Errorf("after a lost connection: %s, attempt %d, id %s (was %s)", texts(got), got[0].Attempt, got[0].SourceID, ds[0].SourceID)
	}
}

// A server that still takes the connection of a killed daemon for alive would give the messages away there. So a source asks
// for its consumer until no pull waits, and only then takes back what was given out.
func TestReclaimWaitsForPulls(t *testing.T) {
	b := newBench(t)
	b.c.Heartbeat = time.Minute
	b.c.Limits.Prefetch = 8
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	b.publish(t, "s", 0, 4)
	killed := openSource(t, b.ad, b.c, streamEnd("S", nil))
	take(t, killed, 4) // and a pull for four more waits
	asked, err := b.js.Conn().SubscribeSync("$JS.API.CONSUMER.INFO.S.>")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer killed.c.nc.Close()
		for range 3 {
			if _, err := asked.NextMsgWithContext(t.Context()); err != nil {
				return
			}
		}
	}()
	again := openSource(t, b.ad, b.c, streamEnd("S", nil))
	b.publish(t, "s", 4, 6)
	if got := texts(take(t, again, 6)); got != "0 1 2 3 4 5 " {
		t.Errorf("after a connection that the server took for alive: %s", got)
	}
}

// When the server gives what was taken back to a connection that it takes for alive, the source is lost at the first newer
// message, and the next one has all of it in order.
func TestReclaimNoticesNewerMessages(t *testing.T) {
	b := newBench(t)
	b.c.Heartbeat = time.Minute
	b.c.Limits.Prefetch = 8
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	b.publish(t, "s", 0, 4)
	killed := openSource(t, b.ad, b.c, streamEnd("S", nil))
	take(t, killed, 4)                                     // and a pull for four more waits, longer than the next source does
	again := openSource(t, b.ad, b.c, streamEnd("S", nil)) // whose messages go to that pull
	b.publish(t, "s", 4, 6)
	ctx, cancel := contextWith(t, 30*time.Second)
	defer cancel()
	ds, err := again.Receive(ctx, 8)
	if wantKind(t, "newer messages first", err, adapters.Lost, "a new message came before 4 "); len(ds) > 0 {
		t.Errorf("it gave out %s", texts(ds))
	}
	killed.c.nc.Close()
	_ = again.Close()
	if got := texts(take(t, openSource(t, b.ad, b.c, streamEnd("S", nil)), 6)); got != "0 1 2 3 4 5 " {
		t.Errorf("the next source: %s", got)
	}
}

// Reclaimed messages of more bytes than one pull admits: the server puts one that does not fit any more behind the others.
func TestReclaimKeepsOrderBeyondAPull(t *testing.T) {
	b := newBench(t)
	b.c.Heartbeat = time.Minute
	b.c.Limits = adapters.Limits{Prefetch: 60, PrefetchBytes: 1 << 20, MaxSize: 4 << 10, Confirm: b.c.Limits.Confirm}
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	for i := range 70 {
		if _, err := b.js.Publish(t.Context(), "s", fmt.Appendf(make([]byte, 0, 2048), "%02d%2000d", i, 0)); err != nil {
			t.Fatal(err)
		}
	}
	first := openSource(t, b.ad, b.c, streamEnd("S", nil))
	take(t, first, 60)
	first.c.nc.Close()
	for life := range 3 {
		s := openSource(t, b.ad, b.c, streamEnd("S", nil))
		var order []string
		for _, d := range take(t, s, 60) {
			order = append(order, string(d.Message.Body.Data[:2]))
		}
		if !slices.IsSorted(order) {
			t.Errorf("life %d: %v", life, order)
		}
		s.c.nc.Close()
	}
}

// Filter and several routes on one work queue: each gets its own subjects; a second reader of the same is refused.
func TestCreatedStreamIsAQueue(t *testing.T) {
	b := newBench(t)
	s := openSource(t, b.ad, b.c, streamEnd("ORDERS", keys{KeyCreate: true, KeySubject: "orders.>"}))
	st, err := b.js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	if cfg.Retention != jetstream.WorkQueuePolicy || cfg.Storage != jetstream.FileStorage || cfg.Discard != jetstream.DiscardNew || cfg.Duplicates != defaultWindow {
		t.Errorf("created stream: %+v", cfg)
	}
	b.publish(t, "orders.eu", 0, 3)
	receive(t, s, 0, 3)
	c := b.c
	c.Client = "other.route"
	_, err = b.ad.OpenSource(t.Context(), c, streamEnd("ORDERS", keys{KeySubject: "orders.>"}))
	if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "another consumer") {
		t.Errorf("second reader of a queue: %v", err)
	}
	_, err = b.ad.OpenSource(t.Context(), c, streamEnd("NONE", nil))
	if adapters.KindOf(err) != adapters.NotFound {
		t.Errorf("no such stream: %v", err)
	}
}

// A trial's consumer is gone after Close, so that the route may read.
func TestTemporaryConsumer(t *testing.T) {
	b := newBench(t)
	openTarget(t, b.ad, b.c, subjectEnd("q", keys{KeyCreate: true, KeyStream: "QUEUE"}))
	c := b.c
	c.Client = "trial"
	b.publish(t, "q", 0, 2)
	s := openSource(t, b.ad, c, streamEnd("QUEUE", keys{KeyTemporary: true}))
	take(t, s, 1)
	_ = s.Close()
	receive(t, openSource(t, b.ad, b.c, streamEnd("QUEUE", nil)), 0, 2)
}

// Two sources of one consumer name share the messages.
func TestSharedConsumer(t *testing.T) {
	b := newBench(t)
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	b.c.Limits.Prefetch = 5
	end := streamEnd("S", keys{KeyConsumer: "pair"})
	one := openSource(t, b.ad, b.c, end)
	b.publish(t, "s", 0, 5)
	if got := texts(take(t, one, 5)); got != "0 1 2 3 4 " {
		t.Fatalf("first: %s", got)
	}
	b.c.Client = "another.route"
	b.c.Limits.Prefetch = 10
	two := openSource(t, b.ad, b.c, end)
	b.publish(t, "s", 5, 10)
	if got := texts(take(t, two, 5)); got != "5 6 7 8 9 " {
		t.Errorf("second: %s, want what the first does not hold", got)
	}
}

// A consumer or stream that is deleted is noticed, while waiting and when settling.
func TestDeletedConsumerIsLost(t *testing.T) {
	b := newBench(t)
	st := b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	s := openSource(t, b.ad, b.c, streamEnd("S", nil))
	b.publish(t, "s", 0, 1)
	ds := take(t, s, 1)
	if err := s.Probe(t.Context()); err != nil {
		t.Errorf("Probe of a working source: %v", err)
	}
	if err := st.DeleteConsumer(t.Context(), durableName(b.c.Client)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextWith(t, 30*time.Second)
	defer cancel()
	if _, err := s.Receive(ctx, 1); adapters.KindOf(err) != adapters.Lost || !strings.Contains(err.Error(), "Consumer Deleted") {
		t.Errorf("Receive: %v", err)
	}
	if err := s.Settle(ctx, adapters.Accepted, ds...); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("Settle: %v", err)
	}
	if err := s.Probe(ctx); adapters.KindOf(err) != adapters.Lost {
		t.Errorf("Probe: %v", err)
	}
}

// With the prefetch used up no pull waits; an ack that nobody takes is answered all the same.
func TestSettleOnDeletedStreamIsLost(t *testing.T) {
	b := newBench(t)
	b.c.Limits.Prefetch = 1
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	s := openSource(t, b.ad, b.c, streamEnd("S", nil))
	b.publish(t, "s", 0, 1)
	ds := take(t, s, 1)
	if err := b.js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(t.Context(), adapters.Accepted, ds...); adapters.KindOf(err) != adapters.Lost || !strings.Contains(err.Error(), "gone") {
		t.Errorf("Settle: %v", err)
	}
}

// Held deliveries are kept alive: they do not come a second time while the connection lives.
func TestHeldIsKeptAlive(t *testing.T) {
	b := newBench(t)
	b.c.Heartbeat = 500 * time.Millisecond // an ack wait of two seconds
	st := b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	s := openSource(t, b.ad, b.c, streamEnd("S", nil))
	b.publish(t, "s", 0, 3)
	ds := take(t, s, 3)
	ctx, cancel := contextWith(t, 5*time.Second) // two ack waits and a half, in which nothing must come
	defer cancel()
	if more, err := s.Receive(ctx, 3); len(more) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("came again while held: %s %v", texts(more), err)
	}
	if err := s.Settle(t.Context(), adapters.Accepted, ds...); err != nil {
		t.Fatal(err)
	}
	co, err := st.Consumer(t.Context(), durableName(b.c.Client))
	if err != nil || co.CachedInfo().NumRedelivered != 0 || co.CachedInfo().NumAckPending != 0 {
		t.Errorf("consumer: %+v %v", co.CachedInfo(), err)
	}
}

// Bytes bound the prefetch; one message larger than the bound still passes, one larger than MaxSize does not.
func TestPrefetchBytes(t *testing.T) {
	b := newBench(t)
	b.c.Limits = adapters.Limits{Prefetch: 100, PrefetchBytes: 50_000, MaxSize: 100_000}
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	put := func(size int) {
		if _, err := b.js.Publish(t.Context(), "s", make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		put(9_000)
	}
	put(90_000)
	put(1)
	put(200_000)
	s := openSource(t, b.ad, b.c, streamEnd("S", nil))
	var sizes []int
	ctx, cancel := contextWith(t, 30*time.Second)
	defer cancel()
	for len(sizes) < 22 {
		ds := take(t, s, 1)
		s.mu.Lock()
		if held := s.held.bytes; held > 51_000 && s.held.n > 1 {
			t.Errorf("%d bytes held in %d deliveries", held, s.held.n)
		}
		s.mu.Unlock()
		sizes = append(sizes, len(ds[0].Message.Body.Data))
		if err := s.Settle(ctx, adapters.Accepted, ds...); err != nil {
			t.Fatal(err)
		}
	}
	if sizes[20] != 90_000 || sizes[21] != 1 {
		t.Errorf("sizes %v", sizes)
	}
	_, err := s.Receive(ctx, 1)
	if adapters.KindOf(err) != adapters.Permanent || !strings.Contains(err.Error(), "larger than the limit of 100000 bytes") {
		t.Errorf("a message above MaxSize: %v", err)
	}
}

// The target learns limits and window of its stream.
func TestTargetLimits(t *testing.T) {
	b := newBench(t)
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, MaxMsgSize: 1000})
	g := openTarget(t, b.ad, b.c, subjectEnd("s.a", nil))
	if g.Peer().MaxSize != 1000 {
		t.Errorf("MaxSize %d, want 1000", g.Peer().MaxSize)
	}
	big := &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 1001)}}
	if _, err := g.Send(t.Context(), []*adapters.Message{big}); adapters.KindOf(err) != adapters.Permanent {
		t.Errorf("too big: %v", err)
	}
	if _, err := b.ad.OpenTarget(t.Context(), b.c, subjectEnd("t", nil)); adapters.KindOf(err) != adapters.NotFound {
		t.Errorf("no stream: %v", err)
	}
	if err := b.js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Send(t.Context(), bodies(0, 2)); adapters.KindOf(err) != adapters.NotFound {
		t.Errorf("the stream was deleted: %v", err)
	}
}

// Refused, accepted and repeated messages of one Post each get their own fate, and the slots come back.
func TestPostFates(t *testing.T) {
	b := newBench(t)
	b.c.Limits.InFlight = 3
	g := openTarget(t, b.ad, b.c, subjectEnd("q", keys{KeyCreate: true}))
	ms := bodies(0, 20)
	ms[4].Props = []adapters.Prop{prop("bad name", "x")}
	ms[7].Track.ID = ms[6].Track.ID
	n, err := g.Send(t.Context(), ms)
	fates := adapters.Fates(len(ms), n, err)
	for i, f := range fates {
		if want := i == 4; (adapters.KindOf(f) == adapters.Permanent) != want || (f != nil) != want {
			t.Errorf("message %d: %v", i, f)
		}
	}
	g.mu.Lock() // the last answer is out a moment before its slot is free
	free := len(g.free)
	g.mu.Unlock()
	if n != 4 || g.Duplicates() != 1 || free != 3 {
		t.Errorf("n = %d, duplicates = %d, free slots = %d; want 4, 1, 3", n, g.Duplicates(), free)
	}
}

// A subject without the right to publish is Denied for the messages refused, whatever their number, and the connection
// lives; the right to ask for streams is not needed.
func TestPublishOnly(t *testing.T) {
	addr := runServer(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "p"},
		{Username: "narrow", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"may"}}}},
	}})
	ad := New()
	c := adapters.Config{Name: "b", Client: "x", Addresses: []string{addr}, Credentials: adapters.Credentials{User: "admin", Password: adapters.NewSecret("p")}}
	openTarget(t, ad, c, subjectEnd("may", keys{KeyCreate: true}))
	openTarget(t, ad, c, subjectEnd("maynot", keys{KeyCreate: true}))
	c.Credentials.User = "narrow"
	send(t, openTarget(t, ad, c, subjectEnd("may", nil)), bodies(0, 10)...)
	g := openTarget(t, ad, c, subjectEnd("maynot", nil))
	for range 2 {
		n, err := g.Send(t.Context(), bodies(0, 10))
		for i, f := range adapters.Fates(10, n, err) {
			if adapters.KindOf(f) != adapters.Denied {
				t.Errorf("message %d: %v, want denied", i, f)
			}
		}
	}
	if _, err := ad.OpenTarget(t.Context(), c, subjectEnd("maynot", keys{KeyCreate: true})); adapters.KindOf(err) != adapters.Denied {
		t.Errorf("create without the right: %v", err)
	}
	if _, err := ad.OpenSource(t.Context(), c, streamEnd("may", nil)); adapters.KindOf(err) != adapters.Denied {
		t.Errorf("source without the right: %v", err)
	}
}

// Ping makes nothing, and says what is missing.
func TestPingLooksOnly(t *testing.T) {
	b := newBench(t)
	for _, a := range []adapters.Address{streamEnd("NEW", nil), subjectEnd("new", nil)} {
		if _, err := b.ad.Ping(t.Context(), b.c, a); adapters.KindOf(err) != adapters.NotFound {
			t.Errorf("Ping %v: %v, want not found", a, err)
		}
		a.Options = keys{KeyCreate: true}
		if _, err := b.ad.Ping(t.Context(), b.c, a); err != nil {
			t.Errorf("Ping %v, which would be made at open: %v", a, err)
		}
	}
	if n, err := b.js.AccountInfo(t.Context()); err != nil || n.Streams != 0 {
		t.Errorf("Ping made %d streams (%v)", n.Streams, err)
	}
}

// Answers of the stream, as bytes.
func TestReadAnswer(t *testing.T) {
	g := &target{c: &conn{}}
	for _, tc := range []struct {
		data string
		want adapters.Kind
		ok   bool
	}{
		{`{"stream":"S","seq":1}`, 0, true},
		{`{"stream":"S","seq":1,"duplicate":true}`, 0, true},
		{`{ "seq":1, "stream": "S", "duplicate": true}`, 0, true},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`, adapters.Full, false},
		{`{"error":{"code":503,"err_code":10077,"description":"write failed"},"stream":"S","seq":0}`, adapters.Transient, false},
		{`{"stream":"S","seq":0,"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`, adapters.Permanent, false},
		{`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`, adapters.Full, false},
		{`{"error":{"code":500,"err_code":10047,"description":"insufficient storage"}}`, adapters.Full, false},
		{`{"error":{"code":404,"err_code":1,"description":"x"}}`, adapters.NotFound, false},
		{`{"error":{"code":400,"err_code":1,"description":"x"}}`, adapters.Permanent, false},
		{`{"error":{"code":500,"err_code":1,"description":"x"}}`, adapters.Transient, false},
		{``, adapters.NotFound, false},
		{`hello`, adapters.Transient, false},
		{`{}`, adapters.Transient, false},
	} {
		err := g.read(&natsgo.Msg{Data: []byte(tc.data)}, way{})
		if (err == nil) != tc.ok || err != nil && adapters.KindOf(err) != tc.want {
			t.Errorf("%s: %v (%v), want %v", tc.data, err, adapters.KindOf(err), tc.want)
		}
	}
	if g.Duplicates() != 2 {
		t.Errorf("%d duplicates counted, want 2", g.Duplicates())
	}
}
