package kafka

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

var noon = time.UnixMilli(1_700_000_000_000)

func header(name string, value []byte) sarama.RecordHeader {
	return sarama.RecordHeader{Key: []byte(name), Value: value}
}

func decoded(w wire) *adapters.Message {
	var m adapters.Message
	decode(w, &m, false)
	return &m
}

func prop(name string, v adapters.Value) adapters.Prop { return adapters.Prop{Name: name, V: v} }

func bytesBody(s string) adapters.Body {
	return adapters.Body{Form: adapters.BodyBytes, Data: []byte(s)}
}

var sameMessage = cmp.Comparer(func(a, b adapters.Value) bool { return a.Equal(b) })

// TestDecodeGolden holds what a record means.
func TestDecodeGolden(t *testing.T) {
	ce := []sarama.RecordHeader{header("ce_specversion", []byte("1.0")), header("ce_id", []byte("i")),
		header("ce_source", []byte("/s")), header("ce_type", []byte("t"))}
	id16 := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	for name, c := range map[string]struct {
		in   wire
		want adapters.Message
	}{
		"plain": {wire{key: []byte("k"), value: []byte("v"), time: noon},
			adapters.Message{Key: []byte("k"), Created: noon.UnixMilli(), Body: bytesBody("v")}},
		"no timestamp":             {wire{value: []byte("v")}, adapters.Message{Body: bytesBody("v")}},
		"timestamp before 1970":    {wire{value: []byte("v"), time: time.UnixMilli(-1)}, adapters.Message{Body: bytesBody("v")}},
		"null value":               {wire{}, adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Null: true}}},
		"empty value":              {wire{value: []byte{}}, adapters.Message{Body: bytesBody("")}},
		"empty key differs from 0": {wire{key: []byte{}, value: []byte("v")}, adapters.Message{Key: []byte{}, Body: bytesBody("v")}},
		"types of header values": {wire{value: []byte("v"), headers: []sarama.RecordHeader{header("s", []byte("grün")), header("c", []byte("a\nb")),
			header("x", []byte{0xff}), header("n", nil), header("e", []byte{}), header("s", []byte("2"))}},
			adapters.Message{Body: bytesBody("v"), Props: []adapters.Prop{prop("s", adapters.String("grün")), prop("c", adapters.Bytes([]byte("a\nb"))),
				prop("x", adapters.Bytes([]byte{0xff})), prop("n", adapters.Null()), prop("e", adapters.String("")), prop("s", adapters.String("2"))}}},
		"content type": {wire{value: []byte("v"), headers: []sarama.RecordHeader{header("content-type", []byte("text/plain")),
			header("Content-Type", []byte("other")), header("content-encoding", []byte("gzip")), header("content-type", []byte("second"))}},
			adapters.Message{Body: bytesBody("v"), ContentType: "text/plain", ContentEncoding: "gzip",
				Props: []adapters.Prop{prop("Content-Type", adapters.String("other")), prop("content-type", adapters.String("second"))}}},
		"spring correlation id in bytes": {wire{value: []byte("v"), headers: []sarama.RecordHeader{header("kafka_correlationId", id16), header("kafka_replyTopic", []byte("r"))}},
			adapters.Message{Body: bytesBody("v"), Corr: adapters.ID{Form: adapters.IDBytes, B: id16}, ReplyTo: adapters.Addr{Name: "r", Form: adapters.AddrTopic},
				Props: []adapters.Prop{prop("kafka_correlationId", adapters.Bytes(id16)), prop("kafka_replyTopic", adapters.String("r"))}}},
		"cloud event": {wire{value: []byte("v"), headers: append(slices.Clone(ce), header("ce_x", []byte("y")))},
			adapters.Message{Body: bytesBody("v"), Props: []adapters.Prop{}, CE: []adapters.Prop{prop("specversion", adapters.String("1.0")),
				prop("id", adapters.String("i")), prop("source", adapters.String("/s")), prop("type", adapters.String("t")), prop("x", adapters.String("y"))}}},
		"three attributes are no cloud event": {wire{value: []byte("v"), headers: ce[:3]},
			adapters.Message{Body: bytesBody("v"), Props: []adapters.Prop{prop("ce_specversion", adapters.String("1.0")),
				prop("ce_id", adapters.String("i")), prop("ce_source", adapters.String("/s"))}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Durable = adapters.Yes
			if d := cmp.Diff(&c.want, decoded(c.in), sameMessage); d != "" {
				t.Errorf("decode (-want +got):\n%s", d)
			}
		})
	}
}

// TestEncodeGolden holds what differs on the way out.
func TestEncodeGolden(t *testing.T) {
	late := noon.Add(2 * time.Hour).UnixMilli()
	for name, c := range map[string]struct {
		in   adapters.Message
		want wire
	}{
		"no body is empty, not null":    {adapters.Message{}, wire{value: []byte{}, time: noon}},
		"null body":                     {adapters.Message{Body: adapters.Body{Null: true}}, wire{time: noon}},
		"created":                       {adapters.Message{Created: 5}, wire{value: []byte{}, time: time.UnixMilli(5)}},
		"created too far in the future": {adapters.Message{Created: late}, wire{value: []byte{}, time: noon, headers: []sarama.RecordHeader{header("posthouse-created", []byte("1700007200000"))}}},
		"created before 1970":           {adapters.Message{Created: -7}, wire{value: []byte{}, time: noon, headers: []sarama.RecordHeader{header("posthouse-created", []byte("-7"))}}},
		"created in Posthouse's own header": {adapters.Message{Created: late, Props: []adapters.Prop{prop("posthouse-created", adapters.String("1"))}},
			wire{value: []byte{}, time: noon, headers: []sarama.RecordHeader{header("posthouse-created", []byte("1"))}}},
		"other types as text": {adapters.Message{Props: []adapters.Prop{prop("b", adapters.Bool(true)), prop("i", adapters.Int(adapters.TI64, -3)), prop("n", adapters.Null())}},
			wire{value: []byte{}, time: noon, headers: []sarama.RecordHeader{header("b", []byte("true")), header("i", []byte("-3")), header("n", nil)}}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want.headers == nil {
				c.want.headers = []sarama.RecordHeader{}
			}
			if d := cmp.Diff(c.want, encode(&c.in, noon, false), cmp.AllowUnexported(wire{}, choice{}), cmpopts.IgnoreFields(wire{}, "text")); d != "" {
				t.Errorf("encode (-want +got):\n%s", d)
			}
		})
	}
}

// TestHeadersRoundTrip: what Capabilities.Headers claims comes back as it was.
func TestHeadersRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[ -~äöü水]{1,12}`)
	name := rapid.StringMatching(`[A-Za-z][A-Za-z0-9.]{0,9}`)
	rapid.Check(t, func(t *rapid.T) {
		m := adapters.Message{Durable: adapters.Yes, Created: rapid.Int64Range(1, noon.UnixMilli()).Draw(t, "created"),
			Body: adapters.Body{Form: adapters.BodyBytes, Data: rapid.SliceOf(rapid.Byte()).Draw(t, "body")}}
		if rapid.Bool().Draw(t, "keyed") {
			m.Key = rapid.SliceOf(rapid.Byte()).Draw(t, "key")
		}
		if rapid.Bool().Draw(t, "null") {
			m.Body = adapters.Body{Form: adapters.BodyBytes, Null: true}
		}
		m.ContentType = rapid.OneOf(rapid.Just(""), text).Draw(t, "type")
		m.ContentEncoding = rapid.OneOf(rapid.Just(""), text).Draw(t, "encoding")
		for range rapid.IntRange(0, 5).Draw(t, "props") {
			v := rapid.OneOf(rapid.Just(adapters.Null()), rapid.Map(text, adapters.String),
				rapid.Just(adapters.Bytes([]byte{0, 0xff}))).Draw(t, "value")
			m.Props = append(m.Props, prop(name.Draw(t, "name"), v))
		}
		if rapid.Bool().Draw(t, "event") {
			for _, n := range []string{"specversion", "id", "source", "type"} {
				m.CE = append(m.CE, prop(n, adapters.String("1.0")))
			}
		}
		got := decoded(encode(&m, noon, false))
		if len(got.Props) == 0 {
			got.Props = nil
		}
		if d := cmp.Diff(&m, got, sameMessage); d != "" {
			t.Fatalf("round trip (-sent +got):\n%s", d)
		}
	})
}

// FuzzDecode: foreign records never harm, and what came is sent on unchanged.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), []byte("content-type\x00text/plain\x00a\x00b"), int64(5))
	f.Add([]byte(nil), []byte{0xff}, []byte("ce_specversion\x001.0\x00ce_id\x00\x00ce_source\x00s\x00ce_type\x00t\x00ce_\x00x"), int64(-1))
	f.Fuzz(func(t *testing.T, key, val, hs []byte, ms int64) {
		w := wire{key: key, value: val, time: time.UnixMilli(ms % (1 << 45))}
		parts := bytes.Split(hs, []byte{0})
		for i := 0; i+1 < len(parts); i += 2 {
			w.headers = append(w.headers, header(string(parts[i]), parts[i+1]))
		}
		m := decoded(w)
		back := encode(m, noon, false)
		if !bytes.Equal(back.key, w.key) || !bytes.Equal(back.value, w.value) {
			t.Fatalf("key or value changed: %q %q", back.key, back.value)
		}
		if got, want := sorted(back.headers), sorted(w.headers); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("headers changed: got %q, want %q", got, want)
		}
	})
}

func sorted(hs []sarama.RecordHeader) [][]byte {
	var out [][]byte
	for _, h := range hs {
		if string(h.Key) == headerCreated {
			continue
		}
		b := binary.BigEndian.AppendUint32(nil, uint32(len(h.Key)))
		out = append(out, append(append(b, h.Key...), h.Value...))
	}
	slices.SortFunc(out, bytes.Compare)
	return out
}
