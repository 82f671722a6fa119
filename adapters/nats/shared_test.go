package nats

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// TestSharedSource: daemons that share a source have one consumer; what one of them holds when it is gone comes again at the
// other, and nothing comes twice while both are well.
func TestSharedSource(t *testing.T) {
	b := newBench(t)
	b.stream(t, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}})
	b.publish(t, "orders", 0, 100)
	at, c := streamEnd("ORDERS", nil), b.c
	c.Limits.Prefetch = 30
	c.Group = "orders"
	one, two := c, c
	one.Client, two.Client = "paris.orders", "berlin.orders"
	first, second := openSource(t, b.ad, one, at), openSource(t, b.ad, two, at)
	held := take(t, first, 1)
	_ = first.Close()
	var got []string
	for len(got) < 100 {
		ds := take(t, second, 1)
		if err := second.Settle(t.Context(), adapters.Accepted, ds...); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(texts(ds)))
	}
	if again := strings.TrimSpace(texts(held)); !slices.Contains(got, again) {
		t.Errorf("%s did not come again", again)
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(got)))); n != 100 {
		t.Errorf("%d different messages of %d", n, len(got))
	}
}

// TestOwnSources: daemons that do not share a source each get every message.
func TestOwnSources(t *testing.T) {
	b := newBench(t)
	b.stream(t, jetstream.StreamConfig{Name: "NEWS", Subjects: []string{"news"}})
	b.publish(t, "news", 0, 3)
	for _, client := range []string{"paris.news", "berlin.news"} {
		c := b.c
		c.Client = client
		if got := texts(take(t, openSource(t, b.ad, c, streamEnd("NEWS", nil)), 3)); got != "0 1 2 " {
			t.Errorf("%s: %s", client, got)
		}
	}
}

// TestKeep: a stream made with keep gives every reader a copy; one made without it is a queue, which a source that may
// settle what others still have to read refuses.
func TestKeep(t *testing.T) {
	b := newBench(t)
	kept := streamEnd("KEPT", keys{KeyCreate: true, KeySubject: "kept", KeyKeep: time.Hour})
	for _, client := range []string{"a.r1", "a.r2"} {
		c := b.c
		c.Client, c.Copies = client, true
		s := openSource(t, b.ad, c, kept)
		if client == "a.r1" {
			b.publish(t, "kept", 0, 2)
		}
		ds := take(t, s, 2)
		if err := s.Settle(t.Context(), adapters.Accepted, ds...); err != nil || texts(ds) != "0 1 " {
			t.Errorf("%s: %q, %v", client, texts(ds), err)
		}
	}
	c := b.c
	c.Copies = true
	_, err := b.ad.OpenSource(t.Context(), c, streamEnd("QUEUE", keys{KeyCreate: true, KeySubject: "queue"}))
	if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "WorkQueue") {
		t.Errorf("a work queue: %v", err)
	}
	if _, err := b.ad.OpenTarget(t.Context(), c, subjectEnd("made", keys{KeyCreate: true, KeyStream: "MADE", KeyKeep: time.Hour})); err != nil {
		t.Error(err)
	}
	if st, err := b.js.Stream(t.Context(), "MADE"); err != nil || st.CachedInfo().Config.Retention != jetstream.LimitsPolicy || st.CachedInfo().Config.MaxAge != time.Hour {
		t.Errorf("%v, %v", st, err)
	}
}
