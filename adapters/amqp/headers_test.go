package amqp

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

const received = 1_700_000_000_000

// The vendor's encoder makes the wire form, decode reads it.
func TestDecodeWhatTheVendorEncodes(t *testing.T) {
	str := func(s string) *string { return &s }
	seq := uint32(math.MaxUint32)
	abs, created := time.UnixMilli(received+5000), time.UnixMilli(received-123)
	uuid := amqp.UUID{0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0x00, 0x00}
	wire := &amqp.Message{
		Header:              &amqp.MessageHeader{Durable: true, Priority: 7, TTL: 1500 * time.Millisecond, DeliveryCount: 2},
		DeliveryAnnotations: amqp.Annotations{"hop": "by hop"},
		Annotations: amqp.Annotations{"x-opt-jms-reply-to": int8(2), "x-opt-jms-dest": int8(1), "x-opt-delivery-time": int64(received + 9),
			"x-opt-ingress-time": int64(5), "x-opt-partition-key": "k1", "x-opt-mine": []any{int32(1), "two"}},
		Properties: &amqp.MessageProperties{MessageID: uint64(42), UserID: []byte("me"), To: str("t"), Subject: str("order"),
			ReplyTo: str("answers"), CorrelationID: uuid, ContentType: str("text/plain"), ContentEncoding: str("gzip"),
			AbsoluteExpiryTime: &abs, CreationTime: &created, GroupID: str("g"), GroupSequence: &seq, ReplyToGroupID: str("rg")},
		ApplicationProperties: map[string]any{"n": int8(-3)},
		Data:                  [][]byte{[]byte("ab"), []byte("cde")},
		Footer:                amqp.Annotations{"sum": []byte{1, 2}},
	}
	raw, err := wire.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	m, h, err := decode(raw, received)
	if err != nil {
		t.Fatal(err)
	}
	want := &adapters.Message{
		ID: adapters.ID{Form: adapters.IDULong, U: 42}, Corr: adapters.ID{Form: adapters.IDUUID, B: uuid[:]},
		To:      adapters.Addr{Name: "t", Form: adapters.AddrTopic},
		ReplyTo: adapters.Addr{Name: "answers", Form: adapters.AddrTempQueue},
		Type:    "order", ContentType: "text/plain", ContentEncoding: "gzip", Created: received - 123, Received: received,
		Expires: received + 5000, DeliverAt: received + 9, Priority: adapters.Priority{Set: true, Value: 7},
		Durable: adapters.Yes, Deliveries: 2, ReplyGroup: "rg", UserID: []byte("me"), Key: []byte("k1"),
		Group: adapters.Group{ID: adapters.StringID("g"), Seq: seq, HasSeq: true},
		Props: []adapters.Prop{{Name: "n", V: adapters.Int(adapters.TI8, -3)}},
		Annot: adapters.Annot{
			MA: []adapters.Prop{{Name: "x-opt-mine", V: adapters.List(adapters.Int(adapters.TI32, 1), adapters.String("two"))},
				{Name: "x-opt-partition-key", V: adapters.String("k1")}},
			Footer: []adapters.Prop{{Name: "sum", V: adapters.Bytes([]byte{1, 2})}},
		},
		Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("abcde"), Cuts: []int{2, 3}},
	}
	same(t, m, want)
	if h.count != 2 || h.acquiredBefore {
		t.Errorf("hop %+v", h)
	}
}

func same(t testing.TB, got, want *adapters.Message) {
	t.Helper()
	sorted := cmpopts.SortSlices(func(a, b adapters.Prop) bool { return a.Name < b.Name })
	if d := cmp.Diff(want, got, sorted, cmp.Comparer(adapters.Value.Equal), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("message differs (-want +got):\n%s", d)
	}
}

// What encode writes, the vendor's decoder reads.
func TestVendorDecodesWhatIsEncoded(t *testing.T) {
	m := &adapters.Message{
		Track: adapters.Track{ID: "e.1.7"}, ID: adapters.StringID("i"), Corr: adapters.ID{Form: adapters.IDBytes, B: []byte{0, 255}},
		To: adapters.Addr{Name: "never written"}, Expires: received + 1500, Left: 1500, Durable: adapters.Yes,
		Priority: adapters.Priority{Set: true, Value: 4}, ContentType: "text/plain",
		Props: []adapters.Prop{{Name: "a", V: adapters.String("1")}, {Name: dupID, V: adapters.String("application's own")},
			{Name: "a", V: adapters.String("2")}},
		CE:   []adapters.Prop{{Name: "id", V: adapters.String("c")}},
		Body: adapters.Body{Form: adapters.BodyText, Data: []byte("Grüße")},
	}
	raw, err := encode(nil, m, artemis())
	if err != nil {
		t.Fatal(err)
	}
	var w amqp.Message
	if err := w.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	if w.Header == nil || !w.Header.Durable || w.Header.Priority != 4 || w.Header.TTL != 1500*time.Millisecond {
		t.Errorf("header %+v", w.Header)
	}
	p := w.Properties
	if p.MessageID != "i" || p.To != nil || !bytes.Equal(p.CorrelationID.([]byte), []byte{0, 255}) || *p.ContentType != "text/plain" ||
		p.AbsoluteExpiryTime.UnixMilli() != received+1500 {
		t.Errorf("properties %+v", p)
	}
	want := map[string]any{"a": "2", dupID: "e.1.7", "cloudEvents_id": "c"}
	if d := cmp.Diff(want, w.ApplicationProperties); d != "" {
		t.Errorf("application properties: %s", d)
	}
	if w.Value != "Grüße" {
		t.Errorf("value %v", w.Value)
	}
}

func TestDuplicateIDIsNeverTheApplications(t *testing.T) {
	m := &adapters.Message{Props: []adapters.Prop{{Name: dupID, V: adapters.String("x")}}}
	raw, err := encode(nil, m, artemis())
	if err != nil || bytes.Contains(raw, []byte(dupID)) {
		t.Errorf("% x, %v: the broker would swallow every other message with this id", raw, err)
	}
}

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		name      string
		ttl       time.Duration
		abs, want int64
	}{
		{"ttl", 1500 * time.Millisecond, 0, received + 1500},
		{"both", 1500 * time.Millisecond, received + 5000, received + 5000},
		{"the producer's clock is an hour slow", 1500 * time.Millisecond, received - 3_600_000, received + 1500},
		{"absolute", 0, received + 7, received + 7},
		{"none", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &amqp.Message{Header: &amqp.MessageHeader{TTL: c.ttl, Priority: 4}, Properties: &amqp.MessageProperties{}, Value: amqp.Null{}}
			if c.abs != 0 {
				abs := time.UnixMilli(c.abs)
				w.Properties.AbsoluteExpiryTime = &abs
			}
			raw, err := w.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if m, _, err := decode(raw, received); err != nil || m.Expires != c.want {
				t.Errorf("expires %d, want %d, %v", m.Expires-received, c.want-received, err)
			}
		})
	}
}

func TestFarExpiryHasNoTTL(t *testing.T) {
	m := &adapters.Message{Expires: received + 1<<32, Left: 1 << 32}
	raw, _ := encode(nil, m, artemis())
	var w amqp.Message
	if err := w.UnmarshalBinary(raw); err != nil || w.Header != nil || w.Properties.AbsoluteExpiryTime.UnixMilli() != m.Expires {
		t.Errorf("%+v %+v %v", w.Header, w.Properties, err)
	}
}

// Bytes on the wire, written down once: a change here is a change of the format.
func TestGoldenBytes(t *testing.T) {
	bytesBody := adapters.Body{Form: adapters.BodyBytes, Data: []byte("hi")}
	for _, c := range []struct {
		name string
		m    adapters.Message
		want string
	}{
		{"nothing but a body", adapters.Message{Body: bytesBody}, "005375a0026869"},
		{"no body", adapters.Message{}, "00537740"},
		{"priority 0, not durable", adapters.Message{Durable: adapters.No, Priority: adapters.Priority{Set: true}, Body: bytesBody},
			"005370d00000000700000002425000" + "005375a0026869"},
		{"ulong id", adapters.Message{ID: adapters.ID{Form: adapters.IDULong, U: 42}, Body: bytesBody},
			"005373d00000000600000001532a" + "005375a0026869"},
		{"two sections", adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("hi"), Cuts: []int{1, 1}}},
			"005375a00168" + "005375a00169"},
		{"JMS map", adapters.Message{Body: adapters.Body{Form: adapters.BodyMap, Data: []byte{codeMap8, 1, 0}}},
			"005372d10000001a00000002" + "a312" + hex.EncodeToString([]byte(annJMSType)) + "5102" + "005377c10100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := encode(nil, &c.m, artemis())
			if want := strings.ReplaceAll(c.want, " ", ""); err != nil || hex.EncodeToString(got) != want {
				t.Errorf("got  %x (%v)\nwant %s", got, err, want)
			}
		})
	}
}

func TestBodiesThatAreNotWhatTheySay(t *testing.T) {
	for _, b := range []adapters.Body{
		{Form: adapters.BodyValue, Data: []byte{codeStr8, 9, 'x'}},
		{Form: adapters.BodyValue},
		{Form: adapters.BodyMap, Data: []byte{codeList0}},
		{Form: adapters.BodyStream, Data: []byte{codeTrue}},
		{Form: adapters.BodySequence, Data: []byte{codeList0, codeTrue}},
	} {
		if _, err := encode(nil, &adapters.Message{Body: b}, artemis()); err == nil {
			t.Errorf("%s % x was encoded", bodyNames[b.Form], b.Data)
		}
	}
	if _, err := encode(nil, &adapters.Message{Body: adapters.Body{Form: adapters.BodyValue, Data: []byte{codeList0}}}, rabbitmq3()); err == nil {
		t.Error("RabbitMQ 3 ends the connection on a list")
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		raw, err := encode(nil, m, artemis())
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := decode(raw, received)
		if err != nil {
			t.Fatalf("% x: %v", raw, err)
		}
		if d := cmp.Diff(m, got, cmp.Comparer(adapters.Value.Equal), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("% x (-sent +got):\n%s", raw, d)
		}
	})
}

func drawMessage(t *rapid.T) *adapters.Message {
	text := rapid.StringN(0, 20, 300)
	m := &adapters.Message{
		Received: received, ID: drawID(t), Corr: drawID(t), Type: text.Draw(t, "type"), ReplyGroup: text.Draw(t, "reply group"),
		ReplyTo:     adapters.Addr{Name: text.Draw(t, "reply"), Form: adapters.AddrForm(rapid.IntRange(0, 4).Draw(t, "form"))},
		ContentType: rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "content type"),
		Created:     rapid.Int64().Draw(t, "created"), Expires: rapid.Int64Range(0, math.MaxInt64).Draw(t, "expires"),
		DeliverAt: rapid.Int64Range(0, math.MaxInt64).Draw(t, "at"), Durable: adapters.Tri(rapid.IntRange(0, 2).Draw(t, "durable")),
		UserID: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "user"),
	}
	if rapid.Bool().Draw(t, "has priority") {
		m.Priority = adapters.Priority{Set: true, Value: rapid.Byte().Draw(t, "priority")}
	}
	if rapid.Bool().Draw(t, "has group") {
		m.Group = adapters.Group{ID: adapters.ID{Form: adapters.IDString, S: text.Draw(t, "group")}, Seq: rapid.Uint32().Draw(t, "seq"), HasSeq: true}
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), 0, 5, rapid.ID[string]).Draw(t, "names") {
		m.Props = append(m.Props, adapters.Prop{Name: name, V: drawValue(t, 0)})
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`x-opt-t[a-z]{1,9}`), 0, 3, rapid.ID[string]).Draw(t, "annotations") {
		m.Annot.MA = append(m.Annot.MA, adapters.Prop{Name: name, V: drawValue(t, 2)})
		m.Annot.Footer = append(m.Annot.Footer, adapters.Prop{Name: "7", KeyNum: true, V: drawValue(t, 1)})
		m.Annot.Footer = m.Annot.Footer[:1]
	}
	m.Body = drawBody(t)
	return m
}

func drawID(t *rapid.T) adapters.ID {
	switch f := adapters.IDForm(rapid.IntRange(0, 4).Draw(t, "id")); f {
	case adapters.IDString:
		return adapters.ID{Form: f, S: rapid.String().Draw(t, "string id")}
	case adapters.IDBytes:
		return adapters.ID{Form: f, B: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes id")}
	case adapters.IDUUID:
		return adapters.ID{Form: f, B: rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")}
	case adapters.IDULong:
		return adapters.ID{Form: f, U: rapid.Uint64().Draw(t, "ulong")}
	}
	return adapters.ID{}
}

// drawValue draws a scalar, or with depth a list or map of such.
func drawValue(t *rapid.T, depth int) adapters.Value {
	last := adapters.TDecimal
	if depth > 0 {
		last = adapters.TMap
	}
	switch typ := adapters.Type(rapid.IntRange(0, int(last)).Draw(t, "kind")); typ {
	case adapters.TBool:
		return adapters.Bool(rapid.Bool().Draw(t, "b"))
	case adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64:
		shift := 64 - 8<<(typ-adapters.TI8)
		return adapters.Int(typ, rapid.Int64().Draw(t, "i")>>shift)
	case adapters.TU8, adapters.TU16, adapters.TU32, adapters.TU64:
		return adapters.Uint(typ, rapid.Uint64().Draw(t, "u")>>(64-8<<(typ-adapters.TU8)))
	case adapters.TF32:
		return adapters.Float32(rapid.Float32().Draw(t, "f"))
	case adapters.TF64:
		return adapters.Float64(rapid.Float64().Draw(t, "d"))
	case adapters.TString:
		return adapters.String(rapid.StringN(0, 300, -1).Draw(t, "s"))
	case adapters.TSymbol:
		return adapters.Symbol(rapid.StringMatching(`[ -~]{0,300}`).Draw(t, "y"))
	case adapters.TChar:
		return adapters.Uint(typ, uint64(rapid.Rune().Draw(t, "c")))
	case adapters.TBytes:
		return adapters.Bytes(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "x"))
	case adapters.TTime:
		return adapters.Time(rapid.Int64().Draw(t, "t"))
	case adapters.TUUID:
		return adapters.UUID([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "g")))
	case adapters.TDecimal:
		return adapters.Decimal(scientific(rapid.StringMatching(`[1-9][0-9]{0,33}`).Draw(t, "digits"), rapid.IntRange(-6000, 6000).Draw(t, "exp")))
	case adapters.TList:
		return adapters.List(drawValue(t, depth-1), drawValue(t, depth-1))
	case adapters.TMap:
		return adapters.Map(adapters.Entry{K: adapters.String("k"), V: drawValue(t, depth-1)})
	}
	return adapters.Null()
}

func drawBody(t *rapid.T) adapters.Body {
	data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
	list := appendValue(nil, adapters.List(drawValue(t, 1)))
	switch f := adapters.BodyForm(rapid.IntRange(0, 7).Draw(t, "body")); f {
	case adapters.BodyBytes:
		b := adapters.Body{Form: f, Data: data}
		if n := rapid.IntRange(0, len(data)).Draw(t, "cut"); rapid.Bool().Draw(t, "cuts") {
			b.Cuts = []int{n, len(data) - n}
		}
		return b
	case adapters.BodyText:
		return adapters.Body{Form: f, Data: []byte(rapid.StringN(0, 300, -1).Draw(t, "text"))}
	case adapters.BodyObject:
		return adapters.Body{Form: f, Data: data}
	case adapters.BodyValue:
		return adapters.Body{Form: f, Data: appendValue(nil, adapters.Int(adapters.TI32, 7))}
	case adapters.BodySequence:
		return adapters.Body{Form: f, Data: append(list, list...), Cuts: []int{len(list), len(list)}}
	case adapters.BodyMap:
		return adapters.Body{Form: f, Data: appendValue(nil, adapters.Map(adapters.Entry{K: adapters.String("a"), V: drawValue(t, 1)}))}
	case adapters.BodyStream:
		return adapters.Body{Form: f, Data: list}
	}
	return adapters.Body{}
}

// FuzzDecode: whatever comes is decoded or refused, and what was decoded can be encoded and is the same again.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"005375a0026869", "005377a1026869", "00537345005374c10100005375a000", "005376c00201 41005376450053784 5",
		"005372c10a02a30461626364c0020141005377d1000000040000000", "0053770000e0040241ff00", "005370c0040442500340005375b000000001ff", "0053765830"} {
		raw, _ := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, _, err := decode(raw, received)
		if err != nil {
			return
		}
		p := artemis()
		again, err := encode(nil, m, p)
		if err != nil {
			t.Fatalf("% x was decoded but cannot be encoded: %v", raw, err)
		}
		if _, _, err := decode(again, received); err != nil {
			t.Fatalf("% x became % x: %v", raw, again, err)
		}
	})
}

func TestDecimals(t *testing.T) {
	for _, c := range []struct{ wire, want string }{
		{"3200000f", "1.5"}, // decimal32: coefficient 15, exponent -1
		{"b2800001", "-1"},
		{"31c0000000000001", "1"},                   // decimal64
		{"7800000000000000", "Infinity"},            //
		{"30400000000000000000000000000096", "150"}, // decimal128
		{"7c000000000000000000000000000000", "NaN"},
		{"6cb8967f", "9999999"}, // decimal32 in the form for large coefficients
	} {
		raw, err := hex.DecodeString(c.wire)
		if got := decimalText(raw); got != c.want || err != nil {
			t.Errorf("%s is %s, want %s, %v", c.wire, got, c.want, err)
		}
	}
	for _, text := range []string{"0", "1.50", "-0.001", "123456789012345678901234567890.1234", "1E+400", "1.5E-7", "not a number", "01", "1e5", ""} {
		d := &decoder{b: appendDecimal(nil, text), s: string(appendDecimal(nil, text))}
		if v := d.value(0); v.Str() != text {
			t.Errorf("%q came back as %q", text, v.Str())
		}
	}
}
