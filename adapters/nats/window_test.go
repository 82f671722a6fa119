package nats

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// A stream that forgets ids sooner than the file says is refused, with how to mend it; one that was changed while a
// target was attached is found at the next open.
func TestWindowOfTheStream(t *testing.T) {
	b := newBench(t)
	stating := func(d time.Duration) adapters.Config {
		c := b.c
		c.Options = keys{KeyEmbedded: b.c.Options.Sub(KeyEmbedded)}
		if d > 0 {
			c.Options[KeyDuplicateWindow] = d
		}
		return c
	}
	s := jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Duplicates: time.Minute}
	b.stream(t, s)
	end := subjectEnd("s.a", nil)
	for _, c := range []struct {
		stated time.Duration
		words  string // of the refusal; "" = it is taken
	}{
		{0, "stream S remembers ids for 1m0s only, and duplicate_window of the broker is 2m0s"},
		{61 * time.Second, "nats stream edit S --dupe-window=1m1s, or write duplicate_window: 1m0s"},
		{time.Minute, ""},
		{time.Second, ""},
	} {
		g, err := b.ad.OpenTarget(t.Context(), stating(c.stated), end)
		switch {
		case err == nil:
			_ = g.Close()
			if c.words != "" {
				t.Errorf("%v was taken", c.stated)
			}
		case c.words == "" || adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), c.words):
			t.Errorf("%v: %v (%v)", c.stated, err, adapters.KindOf(err))
		}
	}

	g := openTarget(t, b.ad, stating(time.Minute), end)
	s.Duplicates = time.Second
	if _, err := b.js.UpdateStream(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	send(t, g, bodies(0, 1)...) // what is attached goes on
	if _, err := b.ad.OpenTarget(t.Context(), stating(time.Minute), end); adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "for 1s only") {
		t.Errorf("after the change: %v", err)
	}
}

// Who promises exactly-once must know the window; a user that may publish and nothing else does not.
func TestWindowMustBeKnownForExactlyOnce(t *testing.T) {
	addr := runServer(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "p"},
		{Username: "narrow", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"q"}}}},
		{Username: "enough", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"q", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*"}}}},
	}})
	ad := New()
	c := adapters.Config{Name: "b", Client: "x", Addresses: []string{addr}, Credentials: adapters.Credentials{User: "admin", Password: adapters.NewSecret("p")}}
	openTarget(t, ad, c, subjectEnd("q", keys{KeyCreate: true}))
	c.Once, c.Credentials.User = true, "narrow"
	if _, err := ad.OpenTarget(t.Context(), c, subjectEnd("q", nil)); adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "$JS.API.STREAM.INFO") {
		t.Errorf("a window that nobody may ask for: %v", err)
	}
	c.Credentials.User = "enough"
	send(t, openTarget(t, ad, c, subjectEnd("q", nil)), bodies(0, 1)...)
}
