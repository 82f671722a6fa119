package stomp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

const received = 1700000000000

// TestEveryHeader sends a message that says all that STOMP can hold, over the text of a frame, and gets it back.
func TestEveryHeader(t *testing.T) {
	common := adapters.Message{
		Received: received, Corr: adapters.StringID("c:1"), ReplyTo: adapters.Addr{Name: "/queue/answers"}, Type: "order",
		ContentType: "text/plain", Created: received, Expires: received + 1500, Left: 1500,
		Priority: adapters.Priority{Set: true, Value: 7}, Durable: adapters.Yes,
		Props: []adapters.Prop{{Name: "a:b", V: adapters.String("c\r\n\\d")}, {Name: "e", V: adapters.String("")}},
		Body:  adapters.Body{Form: adapters.BodyBytes, Data: []byte("a\x00b")},
	}
	artemis := common
	artemis.Group = adapters.Group{ID: adapters.StringID("g"), Seq: 1<<32 - 1, HasSeq: true}
	rabbit := common
	rabbit.ID, rabbit.ContentEncoding, rabbit.AppID = adapters.StringID("m"), "gzip", "shop"
	for d, m := range map[Dialect]adapters.Message{Artemis: artemis, RabbitMQ: rabbit} {
		w := Encode(&m, d)
		hs, rest, ok := ParseHeaders(string(w.AppendHeaders(nil)) + "body")
		if !ok || rest != "body" {
			t.Fatalf("%s: %t, %q is behind the headers", d, ok, rest)
		}
		got := Decode(Wire{Headers: hs, Body: w.Body}, d, received)
		m.Left = 0
		if diff := cmp.Diff(&m, got, cmp.AllowUnexported(adapters.Value{})); diff != "" {
			t.Errorf("%s (-sent +got)\n%s", d, diff)
		}
	}
}

// TestTextHasNoLength: without content-length Artemis makes a TextMessage of it.
func TestTextHasNoLength(t *testing.T) {
	text := Encode(&adapters.Message{Body: adapters.Body{Form: adapters.BodyText, Data: []byte("hi")}}, Artemis)
	if _, counted := text.Get("content-length"); counted {
		t.Error("text has a content-length")
	}
	for _, b := range []adapters.Body{{Form: adapters.BodyBytes}, {Form: adapters.BodyText, Data: []byte{0xff}}} {
		w := Encode(&adapters.Message{Body: b}, Artemis)
		if _, counted := w.Get("content-length"); !counted {
			t.Errorf("%+v has no content-length", b)
		}
	}
}

// TestBrokenNumbers: a number that is none is absent; only an expiry is told.
func TestBrokenNumbers(t *testing.T) {
	w := Wire{Headers: [][2]string{{"priority", "256"}, {"timestamp", "-1"}, {"JMSXGroupSeq", "2147483648"}, {"persistent", "yes"}, {"content-length", "x"}}}
	want := &adapters.Message{Received: received, Body: adapters.Body{Form: adapters.BodyBytes}}
	if d := cmp.Diff(want, Decode(w, "", received)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for _, v := range []string{"soon", "-1", "9223372036854775807"} {
		if m := Decode(Wire{Headers: [][2]string{{"expires", v}}}, "", received); m.Left >= 0 || m.Expires != 0 {
			t.Errorf("expires:%s: left %d, expires %d", v, m.Left, m.Expires)
		}
	}
}

func TestFramesThatAreNone(t *testing.T) {
	for _, s := range []string{"", "a:b", "a:b\n", "a\n\n", "a:\\x\n\n", "a:b\\\n\n", "\\q:b\n\n"} {
		if hs, _, ok := ParseHeaders(s); ok {
			t.Errorf("%q was read as %q", s, hs)
		}
	}
}

// FuzzDecode: what can be read as headers is written and read again as the same, and nothing stops a message.
func FuzzDecode(f *testing.F) {
	f.Add("correlation-id:a\nexpires:x\n\nbody", "artemis")
	f.Add("a:\\c\\n\\r\\\\\r\n\r\n", "rabbitmq")
	f.Add("timestamp:9223372036854775807\na:1\na:2\n\n", "rabbitmq")
	f.Fuzz(func(t *testing.T, frame, dialect string) {
		hs, rest, ok := ParseHeaders(frame)
		if !ok {
			return
		}
		w := Wire{Headers: hs}
		again, _, ok := ParseHeaders(string(w.AppendHeaders(nil)))
		if d := cmp.Diff(hs, again); d != "" || !ok {
			t.Fatalf("(-first +second)\n%s", d)
		}
		m := Decode(Wire{Headers: hs, Body: []byte(rest)}, Dialect(dialect), received)
		if string(m.Body.Data) != rest {
			t.Errorf("body %q", m.Body.Data)
		}
		back := Encode(m, Dialect(dialect))
		if n := strings.Count(string(back.AppendHeaders(nil)), "\n"); n != len(back.Headers)+1 {
			t.Errorf("%d lines for %d headers", n, len(back.Headers))
		}
	})
}
