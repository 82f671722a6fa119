package nats

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// inboxes are the subscriptions of requesters on one connection, which nobody of Posthouse's made.
func inboxes(t *testing.T, nc *natsgo.Conn, n int) (names []string, subs []*natsgo.Subscription) {
	t.Helper()
	for range n {
		name := nc.NewInbox()
		sub, err := nc.SubscribeSync(name)
		if err != nil {
			t.Fatal(err)
		}
		names, subs = append(names, name), append(subs, sub)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return names, subs
}

// to is message n to a subject of its own.
func to(n int, subject string) *adapters.Message {
	m := bodies(n, n+1)[0]
	m.Dest = subject
	return m
}

// wantGone compares the fates of messages: gone says which of them had nowhere to go.
func wantGone(t *testing.T, g *target, ms []*adapters.Message, gone func(i int) bool) {
	t.Helper()
	n, err := g.Send(t.Context(), ms)
	for i, err := range adapters.Fates(len(ms), n, err) {
		if is := adapters.KindOf(err) == adapters.Permanent && errors.Is(err, adapters.ErrGone); is != gone(i) || err != nil && !is {
			t.Errorf("message %d to %s: %v, gone: %v", i, ms[i].Dest, err, gone(i))
		}
	}
}

// A reply goes to the inbox of its requester, in order, and to a stream where one takes the subject; where nobody listens it
// is that message alone which has nowhere to go.
func TestRepliesToInboxes(t *testing.T) {
	b := newBench(t)
	b.c.Limits.InFlight = 4
	b.stream(t, jetstream.StreamConfig{Name: "STORED", Subjects: []string{"stored.*"}})
	g := openTarget(t, b.ad, b.c, subjectEnd("q", keys{KeyCreate: true}))
	nc := b.js.Conn()
	names, subs := inboxes(t, nc, 3)
	own, err := nc.SubscribeSync("mine.replies.7") // a prefix of the requester's own
	if err != nil {
		t.Fatal(err)
	}
	if err := subs[1].Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ways := []string{names[0], names[1], names[2], "", "stored.x", "mine.replies.7", "nobody.there"}
	var ms []*adapters.Message
	for i := range 70 {
		ms = append(ms, to(i, ways[i%len(ways)]))
	}
	wantGone(t, g, ms, func(i int) bool { return i%7 == 1 || i%7 == 6 })
	for way, sub := range map[int]*natsgo.Subscription{0: subs[0], 2: subs[2], 5: own} {
		for i := range 10 {
			m, err := sub.NextMsg(natsgo.DefaultTimeout)
			if want := string(ms[7*i+way].Body.Data); err != nil || string(m.Data) != want {
				t.Fatalf("requester %d, reply %d: %v, %v, want %s", way, i, m, err, want)
			}
		}
	}
	for _, stream := range []string{"STORED", "q"} {
		s, err := b.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().State.Msgs; n != 10 {
			t.Errorf("stream %s has %d messages, want 10", stream, n)
		}
	}
	wantGone(t, g, []*adapters.Message{to(0, "a.*"), to(1, "_INBOX.a b"), to(2, "_INBOX.>"), to(3, "$JS.API.STREAM.DELETE.q"), to(4, g.inbox+"0.1"), to(5, names[0])},
		func(i int) bool { return i < 5 })
}

// A subject that the user may not publish to is said of its message alone, though the server answers the marker behind it.
func TestReplyWithoutTheRight(t *testing.T) {
	addr := runServer(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "p"},
		{Username: "narrow", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{
			Allow: []string{"q", "_INBOX.>", "$JS.API.>"}, Deny: []string{"_INBOX.closed.>"}}}},
	}})
	c := adapters.Config{Name: "b", Client: "x", Addresses: []string{addr}, Credentials: adapters.Credentials{User: "admin", Password: adapters.NewSecret("p")}}
	ad := New()
	openTarget(t, ad, c, subjectEnd("q", keys{KeyCreate: true}))
	nc, err := natsgo.Connect(addr, natsgo.UserInfo("admin", "p"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	open, err := nc.SubscribeSync("_INBOX.open.>")
	if err != nil {
		t.Fatal(err)
	}
	closed, err := nc.SubscribeSync("_INBOX.closed.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	c.Credentials.User = "narrow"
	g, other := openTarget(t, ad, c, subjectEnd("q", nil)), openTarget(t, ad, c, subjectEnd("q", nil))
	for round := range 20 {
		wantFates(t, g, []*adapters.Message{to(0, fmt.Sprint("_INBOX.open.", round)), to(1, fmt.Sprint("_INBOX.closed.", round)), to(2, ""),
			to(3, fmt.Sprint("_INBOX.closed.x", round))})
	}
	send(t, other, bodies(0, 3)...)
	for seen := map[string]bool{}; len(seen) < 20; {
		m, err := open.NextMsg(natsgo.DefaultTimeout)
		if err != nil {
			t.Fatalf("after %d replies: %v", len(seen), err)
		}
		seen[m.Subject] = true
	}
	if n, _, err := closed.Pending(); n != 0 || err != nil {
		t.Errorf("%d replies got where they must not: %v", n, err)
	}
}

// wantFates sends ms until nothing is unknown; every second of them has nowhere to go.
func wantFates(t *testing.T, g *target, ms []*adapters.Message) {
	t.Helper()
	for i, m := range ms {
		for {
			_, err := g.Send(t.Context(), []*adapters.Message{m})
			if err != nil && adapters.KindOf(err) == adapters.Transient {
				continue
			}
			if errors.Is(err, adapters.ErrGone) != (i%2 == 1) || err != nil && i%2 == 0 {
				t.Fatalf("%s: %v", m.Dest, err)
			}
			break
		}
	}
}
