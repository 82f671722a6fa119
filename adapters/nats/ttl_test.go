package nats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// With nats_ttl a stream that does not allow lifetimes is refused at once, with how to mend it, and one made for the target
// allows them: the server itself removes what has expired.
func TestLifetimesOfAStream(t *testing.T) {
	b := newBench(t)
	c := b.c
	c.Options = keys{KeyEmbedded: b.c.Options.Sub(KeyEmbedded), keyTTL: true}
	b.stream(t, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Duplicates: 2 * time.Minute})
	if _, err := b.ad.OpenTarget(t.Context(), c, subjectEnd("s.a", nil)); adapters.KindOf(err) != adapters.Denied {
		t.Errorf("a stream without lifetimes: %v", err)
	}

	g := openTarget(t, b.ad, c, subjectEnd("made.a", keys{KeyCreate: true}))
	short := &adapters.Message{Left: 1000, Expires: time.Now().Add(time.Second).UnixMilli(), Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("short")}}
	long := &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("long")}}
	send(t, g, short, long)
	s, err := b.js.Stream(t.Context(), "made_a")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		info, err := s.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages after 30 s: the short one is still there", info.State.Msgs)
		}
	}
	if m, err := s.GetLastMsgForSubject(t.Context(), "made.a"); err != nil || string(m.Data) != "long" {
		t.Errorf("left is %q, %v", m.Data, err)
	}
}
