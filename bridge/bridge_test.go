package bridge

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

func TestFixedID(t *testing.T) {
	long := "customer-4711/order-000000000000012345/leg-2"
	for _, c := range []struct {
		id   adapters.ID
		want string
	}{
		{adapters.ID{}, strings.Repeat("00", 24)},
		{adapters.StringID("order-7"), "6f726465722d37" + strings.Repeat("00", 17)},
		{adapters.StringID(long), "909b0d3f49d08ee71a73de76f6a49ccf13fe016ce5b64bab"},
		{adapters.StringID("ID:414d5120514d31202020202020202020a1b2c3d401020304"), "414d5120514d31202020202020202020a1b2c3d401020304"},
		{adapters.ID{Form: adapters.IDULong, U: 42}, "000000000000002a" + strings.Repeat("00", 16)},
		{adapters.ID{Form: adapters.IDBytes, B: []byte{1}}, "01" + strings.Repeat("00", 23)},
	} {
		if got := hex.EncodeToString(FixedID(c.id, 24)); got != c.want {
			t.Errorf("FixedID(%+v) = %s, want %s", c.id, got, c.want)
		}
	}
}

func TestIDTextIsReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := anID().Draw(t, "id")
		for _, text := range []string{FormatID(id), FormatCorrID(id)} {
			if back, ok := ParseID(text); id.Form != adapters.IDNone && (!ok || !back.Equal(id)) {
				t.Errorf("ParseID(%q) = %+v, %v, want %+v", text, back, ok, id)
			}
		}
	})
}

func TestAddrTextIsReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anAddr().Draw(t, "addr")
		text := FormatAddr(a)
		if back, ok := ParseAddr(text); a != (adapters.Addr{}) && (!ok || back != a) {
			t.Errorf("ParseAddr(%q) = %+v, %v, want %+v", text, back, ok, a)
		}
		if !printable(text) {
			t.Errorf("%q is not printable ASCII", text)
		}
	})
}

func TestEscNameIsReversible(t *testing.T) {
	pieces := rapid.SampledFrom([]string{"_", "DOT", "HYPHEN", "x", "0041", "x005F", ".", "-", "a", "1", "é", "😀", "JMS", "null", "posthouse"})
	piled := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOf(pieces).Draw(t, "pieces"), "") })
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(piled, rapid.String()).Draw(t, "name")
		esc := EscName(name)
		if back := UnescName(esc); back != name {
			t.Errorf("UnescName(EscName(%q)) = %q, by way of %q", name, back, esc)
		}
		for _, r := range esc {
			if !identChar(r) {
				t.Errorf("EscName(%q) = %q is no identifier", name, esc)
			}
		}
		if name != "" && badStart(esc) {
			t.Errorf("EscName(%q) = %q is reserved", name, esc)
		}
	})
}

// anID draws ids of all forms, with texts that look like the text form of something else.
func anID() *rapid.Generator[adapters.ID] {
	odd := rapid.SampledFrom([]string{"", "x", "ID:x", "ID:AMQP_ULONG:abc", "ID:AMQP_ULONG:42", "ID:AMQP_NO_PREFIX:", "ID:AMQP_BINARY:00ff",
		"ID:AMQP_UUID:550E8400-E29B-41D4-A716-446655440000", "a%b", "größe", "nul\x00", " blank ", strings.Repeat("a", 300)})
	return rapid.Custom(func(t *rapid.T) adapters.ID {
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 1:
			return adapters.ID{Form: adapters.IDString, S: rapid.OneOf(odd, rapid.String()).Draw(t, "string")}
		case 2:
			return adapters.ID{Form: adapters.IDBytes, B: rapid.OneOf(rapid.Just([]byte("text")), rapid.SliceOf(rapid.Byte())).Draw(t, "bytes")}
		case 3:
			return adapters.ID{Form: adapters.IDUUID, B: rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")}
		case 4:
			return adapters.ID{Form: adapters.IDULong, U: rapid.Uint64().Draw(t, "ulong")}
		}
		return adapters.ID{}
	})
}

func anAddr() *rapid.Generator[adapters.Addr] {
	name := rapid.OneOf(rapid.SampledFrom([]string{"", "q", "a b", "x@y", "100%", "_INBOX.a.b"}), rapid.String())
	return rapid.Custom(func(t *rapid.T) adapters.Addr {
		return adapters.Addr{Name: name.Draw(t, "name"), Form: adapters.AddrForm(rapid.IntRange(0, 4).Draw(t, "form")),
			Scope: name.Draw(t, "scope")}
	})
}

func aString() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"", "plain", "größe", "a\r\nb", " x ", "100%", "text/plain;charset=utf-8", "a\x00b"}), rapid.String())
}

func aValue(depth int) *rapid.Generator[adapters.Value] {
	return rapid.Custom(func(t *rapid.T) adapters.Value {
		ty := adapters.Type(rapid.IntRange(0, int(adapters.TMap)).Draw(t, "type"))
		switch ty {
		case adapters.TNull:
			return adapters.Null()
		case adapters.TBool:
			return adapters.Bool(rapid.Bool().Draw(t, "v"))
		case adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64:
			return adapters.Int(ty, rapid.Int64().Draw(t, "v")<<(64-bits(ty))>>(64-bits(ty)))
		case adapters.TU8, adapters.TU16, adapters.TU32, adapters.TU64:
			return adapters.Uint(ty, rapid.Uint64().Draw(t, "v")>>(64-bits(ty)))
		case adapters.TF32:
			return adapters.Float32(rapid.Float32().Draw(t, "v"))
		case adapters.TF64:
			return adapters.Float64(rapid.Float64().Draw(t, "v"))
		case adapters.TSymbol:
			return adapters.Symbol(aString().Draw(t, "v"))
		case adapters.TChar:
			return adapters.Uint(ty, uint64(rapid.Uint32().Draw(t, "v")))
		case adapters.TBytes:
			return adapters.Bytes(rapid.OneOf(rapid.Just([]byte("abc")), rapid.SliceOf(rapid.Byte())).Draw(t, "v"))
		case adapters.TTime:
			return adapters.Time(rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 1<<42)).Draw(t, "v"))
		case adapters.TUUID:
			return adapters.UUID([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v")))
		case adapters.TDecimal:
			return adapters.Decimal(rapid.StringMatching(`-?[1-9][0-9]{0,33}`).Draw(t, "v"))
		}
		if depth == 0 || ty == adapters.TString {
			broken := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
			return adapters.String(rapid.OneOf(aString(), broken).Draw(t, "v"))
		}
		list := rapid.SliceOfN(aValue(depth-1), 0, 3).Draw(t, "list")
		if ty == adapters.TList {
			return adapters.List(list...)
		}
		var es []adapters.Entry
		for _, v := range list {
			es = append(es, adapters.Entry{K: adapters.String(rapid.String().Draw(t, "k")), V: v})
		}
		return adapters.Map(es...)
	})
}

func someProps() *rapid.Generator[[]adapters.Prop] {
	names := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "a.b", "a_DOT_b", "_x0041_", "größe", "x:y", "Nats-Rollup", "ce_id",
		"ce-specversion", "content-type", "Content-Type", "cloudEvents_specversion", "_AMQ_X", "kafka_foo", "JMSX", "null",
		"x-opt-a", "x-death", "nul\x00", strings.Repeat("n", 300)}), rapid.String().Filter(func(s string) bool { return !isOwn(s) && !isTrace(s) }))
	prop := rapid.Custom(func(t *rapid.T) adapters.Prop {
		return adapters.Prop{Name: names.Draw(t, "name"), V: aValue(2).Draw(t, "value")}
	})
	return rapid.SliceOfN(prop, 0, 30)
}

func someAnnotations() *rapid.Generator[[]adapters.Prop] {
	names := rapid.OneOf(rapid.SampledFrom([]string{"x-opt-a", "#1", "1", "a:b", "a%b", "x-opt-offset", "JMSX"}), rapid.StringN(1, 10, -1))
	prop := rapid.Custom(func(t *rapid.T) adapters.Prop {
		v := aValue(1).Filter(func(v adapters.Value) bool { _, ok := formatTyped(v); return ok })
		p := adapters.Prop{Name: names.Draw(t, "key"), V: v.Draw(t, "value")}
		if p.Name == "1" {
			p.KeyNum = rapid.Bool().Draw(t, "num")
		}
		return p
	})
	return rapid.SliceOfNDistinct(prop, 0, 4, func(p adapters.Prop) string { return p.Name })
}

func aBody() *rapid.Generator[adapters.Body] {
	return rapid.Custom(func(t *rapid.T) adapters.Body {
		b := adapters.Body{Form: adapters.BodyForm(rapid.IntRange(0, 7).Draw(t, "form")), Format: aString().Draw(t, "format"),
			CCSID: rapid.Int32().Draw(t, "ccsid"), Encoding: rapid.Int32().Draw(t, "encoding")}
		switch b.Form {
		case adapters.BodyNone:
		case adapters.BodyText:
			b.Data = []byte(rapid.String().Draw(t, "text"))
		case adapters.BodyValue:
			b.Data = rapid.SampledFrom([][]byte{{0xa0, 1, 7}, {0xb0, 0, 0, 0, 1, 7}, {0x54, 5}, {0x45}, {0x41}}).Draw(t, "value")
		case adapters.BodyBytes:
			b.Data = rapid.SliceOf(rapid.Byte()).Draw(t, "data")
			if n := len(b.Data); n > 2 && rapid.Bool().Draw(t, "cut") {
				b.Cuts = []int{1, 0, n - 1}
			}
			b.Null = len(b.Data) == 0 && rapid.Bool().Draw(t, "null")
		case adapters.BodyObject:
			b.Data = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "object")
		case adapters.BodyMap:
			b.Data = rapid.SampledFrom([][]byte{{0xc1, 1, 0}, {0xc1, 6, 2, 0xa1, 1, 'k', 0x54, 1}}).Draw(t, "map")
		default:
			b.Data = rapid.SampledFrom([][]byte{{0x45}, {0xc0, 1, 0}, {0xc0, 3, 1, 0x54, 7}}).Draw(t, "list")
		}
		return b
	})
}

func aMessage() *rapid.Generator[*adapters.Message] {
	return rapid.Custom(func(t *rapid.T) *adapters.Message {
		m := &adapters.Message{
			Track: adapters.Track{ID: "e.1.7", Origin: rapid.SampledFrom([]string{"", "o.1.1"}).Draw(t, "origin"),
				Path: rapid.SliceOfN(aString(), 0, 3).Draw(t, "path"), MaybeDup: rapid.Bool().Draw(t, "dup")},
			ID: anID().Draw(t, "id"), Corr: anID().Draw(t, "corr"), To: anAddr().Draw(t, "to"), ReplyTo: anAddr().Draw(t, "reply"),
			Type: aString().Draw(t, "type"), ContentType: aString().Draw(t, "ct"), ContentEncoding: aString().Draw(t, "ce"),
			Created:    rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "created"),
			DeliverAt:  rapid.SampledFrom([]int64{0, baseTime - 1, baseTime + 1}).Draw(t, "deliver"),
			Durable:    adapters.Tri(rapid.IntRange(0, 2).Draw(t, "durable")),
			Deliveries: rapid.Uint32().Draw(t, "deliveries"), ReplyGroup: aString().Draw(t, "rg"), AppID: aString().Draw(t, "app"),
			MsgType: rapid.Uint32().Draw(t, "mt"), Report: rapid.Uint32().Draw(t, "report"), Feedback: rapid.Int32().Draw(t, "fb"),
			Props: someProps().Draw(t, "props"), Body: aBody().Draw(t, "body"),
			Annot: adapters.Annot{MA: someAnnotations().Draw(t, "ma"), Footer: someAnnotations().Draw(t, "ft")},
		}
		if rapid.Bool().Draw(t, "expires") {
			m.Expires = baseTime + rapid.OneOf(rapid.Int64Range(1, 5000), rapid.Int64Range(1, 1<<40)).Draw(t, "lifetime")
		}
		if rapid.Bool().Draw(t, "priority") {
			m.Priority = adapters.Priority{Set: true, Value: rapid.Uint8().Draw(t, "p")}
		}
		m.Group = adapters.Group{ID: anID().Draw(t, "group"), HasSeq: rapid.Bool().Draw(t, "hasseq"), Last: rapid.Bool().Draw(t, "last")}
		if m.Group.HasSeq {
			m.Group.Seq = rapid.Uint32().Draw(t, "seq")
		}
		if rapid.Bool().Draw(t, "haskey") {
			m.Key = append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "key")...)
		}
		if u := rapid.SliceOf(rapid.Byte()).Draw(t, "user"); len(u) > 0 {
			m.UserID = u
		}
		if rapid.Bool().Draw(t, "event") {
			for _, attr := range []string{"id", "source", "type", "subject"} {
				m.CE = append(m.CE, adapters.Prop{Name: attr, V: adapters.String(rapid.StringMatching(`[ -~é€😀]{0,9}`).Draw(t, attr))})
			}
			m.CE = append(m.CE, adapters.Prop{Name: specVersion, V: adapters.String("1.0")})
		}
		return m
	})
}

// promised is what must come back of m over h: all of it but the listed losses.
func promised(m *adapters.Message, h adapters.Headers) *adapters.Message {
	w := m.Clone()
	w.Track.Origin = firstOf(w.Track.Origin, w.Track.ID)
	w.To, w.Deliveries = adapters.Addr{}, 0
	if w.DeliverAt <= baseTime {
		w.DeliverAt = 0
	}
	if w.Durable == adapters.Unset && !h.Fields.Has(adapters.FieldDurable) {
		w.Durable = adapters.Yes
	}
	if w.Durable == adapters.Unset && h.FixedIDs {
		w.Durable = adapters.No // MQMD.Persistence has no other word for it
	}
	if w.Created == 0 && h.Protocol == "kafka" {
		w.Created = baseTime // every record has a time
	}
	if strings.Contains(strings.ToLower(w.ContentType), "charset=") && !h.Fields.Has(adapters.FieldMsgType) {
		w.Body.CCSID = 0
	}
	w.Annot.MA = slices.DeleteFunc(w.Annot.MA, func(p adapters.Prop) bool { return brokerMade(p.Name) })
	return w
}

func TestRoundTripKeepsAll(t *testing.T) {
	for _, name := range protocols() {
		h := headersOf(name)
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := aMessage().Draw(t, "message")
				before := dump(m)
				fitted, _, err := Fit(m, h, Options{ConvertBody: true}, time.UnixMilli(baseTime))
				if err != nil {
					t.Fatal(err)
				}
				arrived, err := hop(fitted, name, baseTime+7)
				if err != nil {
					t.Fatal(err)
				}
				wire := dump(arrived)
				back, notes := Restore(arrived, h, Options{Trusted: true})
				if got, want := dump(back), dump(promised(m, h)); !slices.Equal(got, want) {
					t.Errorf("got:\n\t%s\nwant:\n\t%s\nby way of:\n\t%s\nnotes %v",
						strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), strings.Join(wire, "\n\t"), notes)
				}
				if h.Protocol != "nats" {
					sameOrder(t, m.Props, back.Props)
				}
				if len(notes) > 0 {
					t.Errorf("notes on an unchanged message: %v", notes)
				}
				if after := dump(m); !slices.Equal(before, after) {
					t.Errorf("Fit has changed its argument from\n\t%s\nto\n\t%s", strings.Join(before, "\n\t"), strings.Join(after, "\n\t"))
				}
			})
		})
	}
}

func sameOrder(t *rapid.T, want, got []adapters.Prop) {
	if !slices.EqualFunc(want, got, func(a, b adapters.Prop) bool { return a.Name == b.Name && a.V.Type() == b.V.Type() }) {
		t.Errorf("properties in another order: %v, want %v", got, want)
	}
}

// TestTwoHops sends a message over every pair of protocols and back: what the first could not hold, the second carries.
func TestTwoHops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := aMessage().Draw(t, "message")
		a := rapid.SampledFrom(protocols()).Draw(t, "a")
		b := rapid.SampledFrom(protocols()).Draw(t, "b")
		want, got := m, m
		for _, name := range []string{a, b, a} {
			h := headersOf(name)
			fitted, _, err := Fit(got, h, Options{ConvertBody: true}, time.UnixMilli(baseTime))
			if err != nil {
				t.Fatal(err)
			}
			arrived, err := hop(fitted, name, baseTime)
			if err != nil {
				t.Fatal(err)
			}
			got, _ = Restore(arrived, h, Options{Trusted: true})
			want = promised(want, h)
		}
		if g, w := dump(got), dump(want); !slices.Equal(g, w) {
			t.Errorf("%s, %s, %s: got:\n\t%s\nwant:\n\t%s", a, b, a, strings.Join(g, "\n\t"), strings.Join(w, "\n\t"))
		}
	})
}

func TestSkewIsAnOption(t *testing.T) {
	m := &adapters.Message{Received: baseTime, Left: 1000, Expires: baseTime + 91_000}
	for _, c := range []struct {
		skew time.Duration
		want int64
	}{{0, baseTime + 1000}, {89 * time.Second, baseTime + 1000}, {90 * time.Second, baseTime + 91_000}} {
		if got, _ := Restore(m, headersOf("amqp"), Options{Skew: c.skew}); got.Expires != c.want || got.Left != 0 {
			t.Errorf("skew %v: expires %s, left %d, want %s, 0", c.skew, timeText(got.Expires), got.Left, timeText(c.want))
		}
	}
}

func TestBudget(t *testing.T) {
	big := adapters.String(strings.Repeat("v", 20<<10))
	m := &adapters.Message{Track: adapters.Track{ID: "e.1.7"}, Corr: adapters.StringID("c")}
	m.Annot = adapters.Annot{MA: []adapters.Prop{{Name: "m", V: big}}, Footer: []adapters.Prop{{Name: "f", V: big}}}
	now := time.UnixMilli(baseTime)

	got, notes, err := Fit(m, headersOf("kafka"), Options{}, now)
	if err != nil || !slices.Equal(notes, []Note{{"ft", Shed}}) {
		t.Errorf("notes %v, error %v; want the footer to go first", notes, err)
	} else if _, kept := got.Prop("posthouse-ma-m"); !kept {
		t.Error("the annotation is gone although there is room for it")
	}
	var e *adapters.Error
	if _, _, err = Fit(m, headersOf("kafka"), Options{NoShed: true}, now); !errors.As(err, &e) || e.Kind != adapters.Permanent {
		t.Errorf("with NoShed: %v, want an error of Kind Permanent", err)
	}
	h := headersOf("kafka")
	h.MaxBytes = 100
	if _, _, err = Fit(m, h, Options{}, now); err != nil {
		t.Errorf("what must stay fits into 100 bytes: %v", err)
	}
	h.MaxBytes = 40
	if _, _, err = Fit(m, h, Options{}, now); !errors.As(err, &e) || e.Kind != adapters.Permanent {
		t.Errorf("with room for 40 bytes: %v, want an error of Kind Permanent", err)
	}
}

func TestFitDropsForgedOwnHeaders(t *testing.T) {
	m := &adapters.Message{Props: []adapters.Prop{{Name: "posthouse-path", V: adapters.String("x")}, {Name: "posthouse_id", V: adapters.String("y")}}}
	got, notes, err := Fit(m, headersOf("amqp"), Options{}, time.UnixMilli(baseTime))
	if err != nil || len(got.Props) != 0 || len(notes) != 2 {
		t.Errorf("properties %v, notes %v, error %v; want no property and two notes", got.Props, notes, err)
	}
}

func TestRestoreReturnsPlainMessagesAsTheyAre(t *testing.T) {
	for _, name := range protocols() {
		m := &adapters.Message{Received: baseTime, Props: []adapters.Prop{{Name: "a", V: adapters.String("1")}}, Body: adapters.Body{Form: adapters.BodyBytes}}
		if got, notes := Restore(m, headersOf(name), Options{}); got != m || notes != nil {
			t.Errorf("%s: a copy, notes %v", name, notes)
		}
	}
}

func FuzzRestore(f *testing.F) {
	for _, s := range [][4]string{
		{"posthouse-key", "!!!", "posthouse-user-id", "===="},
		{"posthouse-expires", "99999999999999999999", "posthouse-created", "-9223372036854775808"},
		{"posthouse-types", "a=i32,a=i32,a=,=,%=s%", "a", "1"},
		{"posthouse-props", `[[0,"posthouse-x","s","y"],[2147483647,"a","m",[["s","k","l",[]]]]]`, "posthouse-props", "[[[[["},
		{"posthouse-body", "data 9223372036854775807 9223372036854775807", "posthouse-null", "true"},
		{"posthouse-ma-%zz", "s:1", "posthouse_ma__x0041_", "l:[[1,2]]"},
		{"posthouse-path", "%,%2,,,", "posthouse_correlation_id", "ID:AMQP_UUID:%"},
		{"_x0070_osthouse-id", "x", "posthouse-reply-to", "queue:%@%"},
		{"traceparent", "00-", "ce_specversion", "1.0"},
		{"posthouse-", "", "posthouse_", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], []byte("body"), true)
	}
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string, body []byte, full bool) {
		for _, name := range protocols() {
			h := headersOf(name)
			m := &adapters.Message{Received: baseTime, Body: adapters.Body{Form: adapters.BodyBytes, Data: body}}
			m.Corr, m.Group.ID = adapters.StringID(v1), adapters.StringID(v2)
			m.Props = []adapters.Prop{{Name: n1, V: adapters.String(v1)}, {Name: "a", V: adapters.String(v2)},
				{Name: n2, V: adapters.Bytes([]byte(v2))}, {Name: n1, V: adapters.Int(adapters.TI64, int64(len(v1)))}}
			got, _ := Restore(m, h, Options{Trusted: full, TrustValues: true})
			for _, p := range got.Props {
				if isOwn(p.Name) {
					t.Errorf("%s: %q is left in the properties", name, p.Name)
				}
			}
			if !bytes.Equal(m.Body.Data, body) {
				t.Errorf("%s: the body has changed", name)
			}
			fitted, _, err := Fit(got, h, Options{ConvertBody: true}, time.UnixMilli(baseTime))
			if err != nil {
				continue // expired, or too much of it
			}
			if _, err := hop(fitted, name, baseTime); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// order is an ordinary message as it crosses a site: nothing odd about it.
func order() *adapters.Message {
	return &adapters.Message{
		Track: adapters.Track{ID: "k3v9x0q2m4t7a.0000001f.0000000300000a41", Origin: "k3v9x0q2m4t7a.0000001f.0000000300000a41",
			Path: []string{"east/orders"}},
		ID: adapters.StringID("ID:1"), Corr: adapters.StringID("c-1"), ContentType: "application/json", Created: baseTime,
		Durable: adapters.Yes, Priority: adapters.Priority{Set: true, Value: 4},
		Props: []adapters.Prop{{Name: "tenant", V: adapters.String("t1")}, {Name: "kind", V: adapters.String("order")}},
		Body:  adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 1024)},
	}
}

func TestOrdinaryMessageCostsLittle(t *testing.T) {
	m, h, now := order(), headersOf("amqp"), time.UnixMilli(baseTime)
	allocs := testing.AllocsPerRun(100, func() {
		if _, notes, err := Fit(m, h, Options{}, now); err != nil || notes != nil {
			t.Fatal(notes, err)
		}
	})
	if allocs > 2 {
		t.Errorf("Fit from AMQP to AMQP made %v allocations, want 2: the copy and its properties", allocs)
	}
}

func BenchmarkFit(b *testing.B) {
	for _, name := range []string{"amqp", "kafka", "nats"} {
		b.Run(name, func(b *testing.B) {
			m, h, now := order(), headersOf(name), time.UnixMilli(baseTime)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Fit(m, h, Options{}, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	for _, name := range []string{"amqp", "kafka", "nats"} {
		h := headersOf(name)
		fitted, _, err := Fit(order(), h, Options{}, time.UnixMilli(baseTime))
		if err != nil {
			b.Fatal(err)
		}
		arrived, err := hop(fitted, name, baseTime)
		if err != nil {
			b.Fatal(err)
		}
		plain := order()
		b.Run(name+"/own", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Restore(arrived, h, Options{Trusted: true})
			}
		})
		b.Run(name+"/plain", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Restore(plain, h, Options{Trusted: true})
			}
		})
	}
}

func TestNamesThatNoTargetTakes(t *testing.T) {
	h := adapters.Headers{Names: adapters.NamePrintable, MaxName: 8, Types: adapters.Types(adapters.TString)}
	for name, want := range map[string]bool{"a/b": true, "a:b": false, "a b": false, "größe": false, "": false, "a\x00": false,
		"\xff": false, "12345678": true, "123456789": false} {
		if _, ok := nativeName(name, &h); ok != want {
			t.Errorf("nativeName(%q) = %v, want %v", name, ok, want)
		}
	}
}

// TestTypesNextBest looks at a protocol with types that lacks some: the next wider one that holds the value, else text.
func TestTypesNextBest(t *testing.T) {
	h := adapters.Headers{Types: adapters.Types(adapters.TBool, adapters.TI16, adapters.TI32, adapters.TI64, adapters.TF64, adapters.TString)}
	for _, c := range []struct{ in, want adapters.Value }{
		{adapters.Int(adapters.TI8, -7), adapters.Int(adapters.TI16, -7)},
		{adapters.Uint(adapters.TU8, 255), adapters.Int(adapters.TI16, 255)},
		{adapters.Uint(adapters.TU16, 65535), adapters.Int(adapters.TI32, 65535)},
		{adapters.Uint(adapters.TU32, 1<<32-1), adapters.Int(adapters.TI64, 1<<32-1)},
		{adapters.Uint(adapters.TU64, 1<<63-1), adapters.Int(adapters.TI64, 1<<63-1)},
		{adapters.Uint(adapters.TU64, 1<<63), adapters.String("9223372036854775808")},
		{adapters.Float32(0.1), adapters.Float64(float64(float32(0.1)))},
		{adapters.Bytes([]byte{0, 255}), adapters.String("AP8=")},
		{adapters.Decimal("1.50"), adapters.String("1.50")},
		{adapters.Null(), adapters.String("")},
	} {
		got, tag, ok := nativeValue(c.in, &h)
		if !ok || !got.Equal(c.want) {
			t.Errorf("%#v became %#v, %v, want %#v", c.in, got, ok, c.want)
		}
		if back, ok := taggedValue(got, tag, &h); !ok || !back.Equal(c.in) {
			t.Errorf("%#v came back from %#v with tag %q as %#v, %v", c.in, got, tag, back, ok)
		}
	}
	for _, c := range []struct {
		found adapters.Value
		tag   string
	}{
		{adapters.Int(adapters.TI16, 300), "u8"}, {adapters.Int(adapters.TI16, -1), "u8"}, {adapters.Int(adapters.TI32, 1), "u8"},
		{adapters.Float64(0.1), "f32"}, {adapters.Bool(true), "i8"}, {adapters.String("AP8"), "x"}, {adapters.String("x"), "?"},
		{adapters.String("1.0"), "i32"}, {adapters.String("%"), "x%"}, {adapters.Int(adapters.TI64, 1), "n"},
	} {
		if v, ok := taggedValue(c.found, c.tag, &h); ok || !v.Equal(c.found) {
			t.Errorf("tag %q was believed on %#v, which became %#v", c.tag, c.found, v)
		}
	}
}

func TestHostileJSON(t *testing.T) {
	deep := strings.Repeat(`[["l",`, 40) + "[]" + strings.Repeat("]]", 40)
	for _, s := range []string{"", "{}", "[[]]", "[] []", `[[0,"a","s"]]`, `[[-1,"a","s","x"]]`, `[[0.5,"a","s","x"]]`, `[[0,1,"s","x"]]`,
		`[[0,"a","zz","x"]]`, `[[0,"a",3,"x"]]`, `[[0,"a","i8",128]]`, `[[0,"a","u8","-1"]]`, `[[0,"a","s",1]]`, `[[0,"a","n","x"]]`,
		`[[0,"a","b",null]]`, `[[0,"a","i8",true]]`, `[[0,"a","s%","%"]]`, `[[0,"a","m",[[]]]]`, `[[0,"a","m",[["s","k","s"]]]]`,
		`[[0,"a","m",[["s","k","zz","v"]]]]`, `[[0,"a","i8",[]]]`, `[[0,"posthouse_id","s","x"]]`, `[[0,"a","l",` + deep + `]]`,
		strings.Repeat("[", 100000)} {
		if ps, ok := parsePlaced(s); ok || len(ps) > 0 {
			t.Errorf("%.60q was read as %v", s, ps)
		}
	}
}

// TestHugeHeadersCostNoSquare feeds lists that would take minutes if any step looked at all pairs.
func TestHugeHeadersCostNoSquare(t *testing.T) {
	const n = 200_000
	m := &adapters.Message{Props: make([]adapters.Prop, 0, n)}
	m.Props = append(m.Props, adapters.Prop{Name: hTypes, V: adapters.String(strings.Repeat("a=i32,", n))},
		adapters.Prop{Name: hProps, V: adapters.String("[" + strings.Repeat(`[0,"a","s","x"],`, n) + `[0,"a","s","x"]]`)})
	for i := range n {
		name := hMA + string(rune('a'+i%26)) + strings.Repeat("k", i%50)
		m.Props = append(m.Props, adapters.Prop{Name: name, V: adapters.String("s:1")}, adapters.Prop{Name: "a", V: adapters.String("1")})
	}
	got, _ := Restore(m, headersOf("kafka"), Options{Trusted: true})
	if len(got.Props) != 2*n+1 {
		t.Errorf("%d properties, want %d", len(got.Props), 2*n+1)
	}
	var e *adapters.Error
	if _, _, err := Fit(got, headersOf("amqp"), Options{NoShed: true}, time.UnixMilli(baseTime)); !errors.As(err, &e) {
		t.Errorf("Fit: %v, want an error: nobody takes so many headers", err)
	}
}

// TestFitDoesEdits: a target gets what the route has set; a dead letter is what came.
func TestFitDoesEdits(t *testing.T) {
	m := &adapters.Message{Props: []adapters.Prop{{Name: "old", V: adapters.String("x")}}, Edits: []adapters.Prop{{Name: "dc", V: adapters.String("paris")}, {Name: "old", V: adapters.Null()}}}
	for _, dead := range []*Dead{nil, {Reason: "rejected"}} {
		got, _, err := Fit(m, adapters.Headers{Protocol: "x", Types: ^adapters.TypeSet(0)}, Options{Dead: dead}, time.UnixMilli(1))
		if err != nil {
			t.Fatal(err)
		}
		_, set := got.Prop("dc")
		_, old := got.Prop("old")
		if set != (dead == nil) || old == (dead == nil) || got.Edits != nil {
			t.Errorf("dead letter %v: %#v, edits %#v", dead != nil, got.Props, got.Edits)
		}
	}
	if len(m.Edits) != 2 || len(m.Props) != 1 {
		t.Error("the message itself was changed")
	}
}
