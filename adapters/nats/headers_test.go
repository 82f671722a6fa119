package nats

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	natsgo "github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

func prop(name, v string) adapters.Prop { return adapters.Prop{Name: name, V: adapters.String(v)} }

func ceHeader(extra ...string) natsgo.Header {
	h := natsgo.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"t"}}
	for i := 0; i < len(extra); i += 2 {
		h[extra[i]] = append(h[extra[i]], extra[i+1])
	}
	return h
}

var sameValue = cmp.Comparer(adapters.Value.Equal)

func TestDecodeGolden(t *testing.T) {
	ce := []adapters.Prop{prop("id", "1"), prop("source", "/s"), prop("specversion", "1.0")}
	for _, tc := range []struct {
		name string
		h    natsgo.Header
		want adapters.Message
	}{
		{"none", nil, adapters.Message{}},
		{"the duplicate id ends here", natsgo.Header{"Nats-Msg-Id": {"e.1.7"}, "a": {"b"}}, adapters.Message{Props: []adapters.Prop{prop("a", "b")}}},
		{"case is kept, names are ordered", natsgo.Header{"b": {"1"}, "B": {"2"}, "a": {""}},
			adapters.Message{Props: []adapters.Prop{prop("B", "2"), prop("a", ""), prop("b", "1")}}},
		{"several values, in order", natsgo.Header{"x": {"3", "1", "2"}},
			adapters.Message{Props: []adapters.Prop{prop("x", "3"), prop("x", "1"), prop("x", "2")}}},
		{"content type", natsgo.Header{"Content-Type": {"text/plain"}, "content-type": {"other"}},
			adapters.Message{ContentType: "text/plain", Props: []adapters.Prop{prop("content-type", "other")}}},
		{"second content type", natsgo.Header{"Content-Type": {"a/b", "c/d"}},
			adapters.Message{ContentType: "a/b", Props: []adapters.Prop{prop("Content-Type", "c/d")}}},
		{"vector 58: a percent sign means nothing without types", natsgo.Header{"v": {"100%25"}},
			adapters.Message{Props: []adapters.Prop{prop("v", "100%25")}}},
		{"server's metadata is for the bridge to judge", natsgo.Header{"Nats-Rollup": {"all"}},
			adapters.Message{Props: []adapters.Prop{prop("Nats-Rollup", "all")}}},
		{"CloudEvent", ceHeader("ce-datacontenttype", "application/json", "x", "y"),
			adapters.Message{ContentType: "application/json", CE: append(slices.Clone(ce), prop("type", "t")), Props: []adapters.Prop{prop("x", "y")}}},
		{"vector 67: CloudEvent with escapes", ceHeader("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
			adapters.Message{CE: append(slices.Clone(ce), prop("subject", "Euro € 😀"), prop("type", "t"))}},
		{"no CloudEvent without its four", natsgo.Header{"ce-id": {"1"}}, adapters.Message{Props: []adapters.Prop{prop("ce-id", "1")}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decode(tc.h, []byte("x"))
			tc.want.Durable, tc.want.Body = adapters.Yes, adapters.Body{Form: adapters.BodyBytes, Data: []byte("x")}
			if d := cmp.Diff(tc.want, got, sameValue, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("decode (-want +got):\n%s", d)
			}
		})
	}
}

func TestEncodeGolden(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    adapters.Message
		want natsgo.Header
	}{
		{"nothing", adapters.Message{}, natsgo.Header{}},
		{"vector 15: the duplicate id is Track.ID, never the application's", adapters.Message{Track: adapters.Track{ID: "e.1.7"}, ID: adapters.StringID("x")},
			natsgo.Header{"Nats-Msg-Id": {"e.1.7"}}},
		{"reply-to has no native place", adapters.Message{ReplyTo: adapters.Addr{Name: "R.Q", Scope: "QM1"}}, natsgo.Header{}},
		{"vector 60: commands to the server are not written", adapters.Message{Props: []adapters.Prop{prop("Nats-Rollup", "all"), prop("a", "1")}},
			natsgo.Header{"a": {"1"}}},
		{"types become text", adapters.Message{Props: []adapters.Prop{
			{Name: "b", V: adapters.Bool(true)}, {Name: "i", V: adapters.Int(adapters.TI64, -7)}, {Name: "x", V: adapters.Bytes([]byte{0, 255})}}},
			natsgo.Header{"b": {"true"}, "i": {"-7"}, "x": {"AP8="}}},
		{"CloudEvent", adapters.Message{ContentType: "text/plain", CE: []adapters.Prop{prop("subject", "Euro € 😀")}},
			natsgo.Header{"ce-subject": {"Euro%20%E2%82%AC%20%F0%9F%98%80"}, "ce-datacontenttype": {"text/plain"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := encode(&tc.m, false)
			if d := cmp.Diff(tc.want, got); d != "" || err != nil {
				t.Errorf("encode: %v (-want +got):\n%s", err, d)
			}
		})
	}
}

// Nothing is changed in silence: what the client library would trim, drop or refuse is refused here, with the name.
func TestEncodeRefuses(t *testing.T) {
	for _, p := range []adapters.Prop{
		prop("", "v"), prop("a b", "v"), prop("größe", "v"), prop("a:b", "v"), prop("a/b", "v"), prop("a@b", "v"),
		prop("n", "line\nbreak"), prop("n", "line\rbreak"), prop("n", " ahead"), prop("n", "behind\t"),
		{Name: "n", V: adapters.List()}, {Name: "n", V: adapters.Map()},
	} {
		h, err := encode(&adapters.Message{Props: []adapters.Prop{p}}, false)
		if err == nil {
			t.Errorf("%q = %#v went through as %v", p.Name, p.V, h)
		} else if !strings.Contains(err.Error(), p.Name) {
			t.Errorf("the error does not name %q: %v", p.Name, err)
		}
	}
}

// wire sends h through the client library's own writer and reader.
func wire(t interface{ Fatal(...any) }, h natsgo.Header) natsgo.Header {
	var b strings.Builder
	b.WriteString("NATS/1.0\r\n")
	for _, k := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[k] {
			b.WriteString(k + ": " + v + "\r\n")
		}
	}
	b.WriteString("\r\n")
	got, err := natsgo.DecodeHeadersMsg([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What the capabilities claim arrives as sent: text properties with token names, several of one name in order.
func TestRoundTripProperty(t *testing.T) {
	name := rapid.StringMatching("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}").Filter(func(s string) bool {
		return !strings.HasPrefix(s, natsPrefix) && s != hdrContentType && !strings.HasPrefix(s, ceMark) && s != "Status" && s != "Description"
	})
	value := rapid.StringMatching("([!-~]([ -~]{0,20}[!-~])?)?")
	ceName := rapid.StringMatching("[a-z0-9]{1,10}").Filter(func(s string) bool { return s != "datacontenttype" })
	rapid.Check(t, func(t *rapid.T) {
		m := adapters.Message{Durable: adapters.Yes, Body: adapters.Body{Form: adapters.BodyBytes, Data: rapid.SliceOf(rapid.Byte()).Draw(t, "body")}}
		m.ContentType = rapid.StringMatching("([a-z]+/[a-z]+)?").Draw(t, "content type")
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			m.Props = append(m.Props, prop(name.Draw(t, "name"), value.Draw(t, "value")))
		}
		if rapid.Bool().Draw(t, "event") {
			ce := map[string]string{"specversion": "1.0", "id": "i", "source": "s", "type": "t"}
			maps.Copy(ce, rapid.MapOf(ceName, rapid.String()).Draw(t, "ce"))
			ce["specversion"] = "1.0"
			for _, k := range slices.Sorted(maps.Keys(ce)) {
				m.CE = append(m.CE, prop(k, strings.ToValidUTF8(ce[k], "")))
			}
		}
		slices.SortStableFunc(m.Props, func(a, b adapters.Prop) int { return strings.Compare(a.Name, b.Name) })
		m.Track.ID = rapid.StringMatching("[a-z0-9.]{0,20}").Draw(t, "id")
		h, err := encode(&m, false)
		if err != nil {
			t.Fatal(err)
		}
		m.Track.ID = "" // for the stream alone
		got := decode(wire(t, h), m.Body.Data)
		if d := cmp.Diff(m, got, sameValue, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-sent +got):\n%s", d)
		}
	})
}

// Whatever a foreign client writes is read without a panic, and what was read can be written and read again unchanged
// as far as the names and values are carriable.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("NATS/1.0\r\na: b\r\nContent-Type: x/y\r\n\r\n"), []byte("body"))
	f.Add([]byte("NATS/1.0\r\nce-id: 1\r\nce-source: s\r\nce-type: t\r\nce-specversion: 1.0\r\nce-x: %zz%41\r\n\r\n"), []byte{})
	f.Add([]byte("NATS/1.0 503\r\n\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, raw, body []byte) {
		h, err := natsgo.DecodeHeadersMsg(raw)
		if err != nil {
			h = nil
		}
		m := decode(h, body)
		once, err := encode(&m, false)
		if err != nil {
			return // a name or value that this client may not write; the bridge moves it
		}
		n := decode(once, body)
		for i := range n.Props {
			if v, ok := m.Prop(n.Props[i].Name); !ok || v.Type() != adapters.TString {
				t.Errorf("property %q came from nowhere", n.Props[i].Name)
			}
		}
		if n.ContentType != m.ContentType {
			t.Errorf("content type %q became %q", m.ContentType, n.ContentType)
		}
	})
}

func FuzzParseAck(f *testing.F) {
	f.Add("$JS.ACK.ORDERS.paris_orders.3.17.21.1700000000000000000.5")
	f.Add("$JS.ACK.hub.ABCDEF.ORDERS.paris_orders.3.17.21.1700000000000000000.5.rnd")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := parseAck(s); ok && (p.delivered < 1 || strings.Count(s, ".") < 8) {
			t.Errorf("%q: %+v", s, p)
		}
	})
}

func TestParseAck(t *testing.T) {
	for _, tc := range []struct {
		subject string
		want    position
		ok      bool
	}{
		{"$JS.ACK.S.C.3.17.21.1700000000000000000.5", position{3, 17}, true},
		{"$JS.ACK._.ABC.S.C.1.9.21.1700000000000000000.5", position{1, 9}, true},
		{"$JS.ACK.hub.ABC.S.C.2.9.21.1700000000000000000.5.x", position{2, 9}, true},
		{"$JS.ACK.S.C.3.17.21.1700000000000000000", position{}, false},
		{"$JS.ACK.S.C.x.17.21.1700000000000000000.5", position{0, 17}, false},
		{"$JS.ACK.S.C.0.17.21.1700000000000000000.5", position{0, 17}, false},
	} {
		got, ok := parseAck(tc.subject)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: %+v %v, want %+v %v", tc.subject, got, ok, tc.want, tc.ok)
		}
	}
}
