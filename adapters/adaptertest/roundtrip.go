package adaptertest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

func roundTripChecks() []Check {
	const g = "RoundTrip"
	body := func(b []byte) func(*env) { return func(e *env) { e.bodyBothWays(b) } }
	return []Check{
		{Group: g, Name: "BodyEmpty", run: body([]byte{})},
		{Group: g, Name: "BodyNUL", run: body([]byte("a\x00b\x00"))},
		{Group: g, Name: "BodyNotUTF8", run: body([]byte{0xff, 0xfe, 0x80, 0xc0, 0x0d, 0x0a, 0x00, 0xf5})},
		{Group: g, Name: "BodyMax", run: bodyMax},
		{Group: g, Name: "BodyTooBig", run: bodyTooBig},
		{Group: g, Name: "RoundTripOrder", run: roundTripOrder},
		{Group: g, Name: "HeaderKinds", run: headerKinds},
		{Group: g, Name: "HeaderRepeated", run: headerRepeated},
		{Group: g, Name: "HeaderUnknownSurvives", run: headerUnknownSurvives},
		{Group: g, Name: "EnvelopeFields", run: envelopeFields},
		{Group: g, Name: "Golden", run: golden},
	}
}

// bodyBothWays: a body from the vendor's client to the source, and from the target to the vendor's client.
func (e *env) bodyBothWays(body []byte) {
	in, out := e.h.Place(e), e.h.Place(e)
	n := native("")
	n.Body = body
	e.h.Put(e, in, n)
	s := e.source(in)
	ds := e.receive(s, 1)
	e.sameBody("received", ds[0].Message.Body.Data, body)
	e.settle(s, adapters.Accepted, ds...)
	m := e.message("")
	m.Body.Data = body
	e.send(e.target(out), m)
	e.sameBody("sent", e.h.Take(e, out, 1)[0].Body, body)
}

func (e *env) sameBody(what string, got, want []byte) {
	e.Helper()
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		e.Errorf("body %s: %d bytes, want %d; they differ at byte %d", what, len(got), len(want), at)
	}
}

// largest is the largest message that the suite's configuration, the claims and the peer allow.
func (e *env) largest(end any) int64 {
	limit := int64(maxSize)
	if e.caps.MaxSize > 0 {
		limit = min(limit, e.caps.MaxSize)
	}
	if d, ok := end.(adapters.Described); ok && d.Peer().MaxSize > 0 {
		limit = min(limit, d.Peer().MaxSize)
	}
	return limit
}

// noise is n bytes with no pattern, so that compression does not shrink them.
func noise(n int64) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// bodyMax: a message just below the bound; the bound is about body and headers, so 4 KiB are left to those.
func bodyMax(e *env) {
	g := e.target(e.h.Place(e))
	e.close("target", g)
	e.bodyBothWays(noise(e.largest(g) - 4096))
}

// bodyTooBig: one byte more than allowed is Permanent and ErrTooLarge, and the connection lives.
func bodyTooBig(e *env) {
	p := e.h.Place(e)
	g := e.target(p)
	m := e.message("")
	m.Body.Data = noise(e.largest(g) + 1)
	n, err := g.Send(e.soon(), []*adapters.Message{m})
	e.wantKind("send of a message that is too big", err, adapters.Permanent)
	if !errors.Is(err, adapters.ErrTooLarge) {
		e.Errorf("%v does not say that it is adapters.ErrTooLarge", err)
	}
	if n != 0 {
		e.Errorf("%d messages taken", n)
	}
	e.send(g, e.message("small"))
	e.wantBodies("after a message that was too big", bodiesOfNatives(e.h.Take(e, p, 1)), "small")
}

// roundTripOrder: ten messages come in their order.
func roundTripOrder(e *env) {
	p := e.h.Place(e)
	ms := e.messages("m", 10)
	e.send(e.target(p), ms...)
	s := e.source(p)
	ds := e.receive(s, 10)
	e.settle(s, adapters.Accepted, ds...)
	e.inOrder("round trip", bodiesOf(ds), bodiesOfMessages(ms))
}

// inOrder compares as the source's claim allows.
func (e *env) inOrder(what string, got, want []string) {
	e.Helper()
	if e.caps.Order == adapters.OrderNone {
		got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	}
	e.wantBodies(what, got, want...)
}

func (e *env) wantBodies(what string, got []string, want ...string) {
	e.Helper()
	if !slices.Equal(got, want) {
		e.Errorf("%s: got %q, want %q", what, short(got), short(want))
	}
}

// short cuts long bodies for a failure's text.
func short(bodies []string) (out []string) {
	for _, b := range bodies {
		if len(b) > 40 {
			b = fmt.Sprintf("%s… (%d bytes)", b[:8], len(b))
		}
		out = append(out, b)
	}
	return out
}

// sample is one value of every type.
func sample(h adapters.Headers) []adapters.Prop {
	text := "plain text"
	if !h.TextOnly {
		text = "grün, 水, quote \" and \\"
	}
	all := []adapters.Value{
		adapters.Bool(true), adapters.Bool(false),
		adapters.Int(adapters.TI8, -128), adapters.Int(adapters.TI16, -32768), adapters.Int(adapters.TI32, math.MinInt32),
		adapters.Int(adapters.TI64, math.MinInt64),
		adapters.Uint(adapters.TU8, 255), adapters.Uint(adapters.TU16, 65535), adapters.Uint(adapters.TU32, math.MaxUint32),
		adapters.Uint(adapters.TU64, math.MaxUint64),
		adapters.Float32(1.5e-30), adapters.Float64(-2.25e200), adapters.String(text), adapters.Symbol("sym-bol"),
		adapters.Uint(adapters.TChar, 'ß'), adapters.Bytes([]byte{0, 255, 128}), adapters.Time(1_700_000_000_123),
		adapters.UUID([16]byte{1, 2, 3, 15: 255}), adapters.Decimal("12.50"),
		adapters.List(adapters.Int(adapters.TI32, 1), adapters.String("two")),
		adapters.Map(adapters.Entry{K: adapters.String("k"), V: adapters.Bool(true)}),
	}
	if h.NullValues {
		all = append(all, adapters.Null())
	}
	var ps []adapters.Prop
	for i, v := range all {
		if h.Types.Has(v.Type()) {
			ps = append(ps, adapters.Prop{Name: "p" + v.Type().Code() + string(rune('a'+i)), V: v})
		}
	}
	return ps
}

// headerKinds: every type that is claimed arrives as sent, and the vendor's client sees its text.
func headerKinds(e *env) {
	in, out, loop := e.h.Place(e), e.h.Place(e), e.h.Place(e)
	m := e.message("typed")
	m.Props = sample(e.caps.Headers)
	e.send(e.target(loop), m)
	got := e.receive(e.source(loop), 1)[0].Message
	for _, p := range m.Props {
		if v, ok := got.Prop(p.Name); !ok || !v.Equal(p.V) {
			e.Errorf("property %s: %#v (there: %v), want %#v", p.Name, v, ok, p.V)
		}
	}
	e.send(e.target(out), m)
	seen := e.h.Take(e, out, 1)[0]
	for _, p := range m.Props {
		if vs := values(seen.Headers, p.Name); readable(p.V) && !slices.Equal(vs, []string{p.V.Text()}) {
			e.Errorf("the vendor's client sees %s = %q, want %q", p.Name, vs, p.V.Text())
		}
	}
	n := native("in")
	n.Headers = []Header{{"pOne", "one"}, {"pTwo", "2"}}
	e.h.Put(e, in, n)
	got = e.receive(e.source(in), 1)[0].Message
	for _, h := range n.Headers {
		if v, ok := got.Prop(h.Name); !ok || v.Text() != h.Value {
			e.Errorf("header %s of the vendor's client: %#v (there: %v), want %q", h.Name, v, ok, h.Value)
		}
	}
}

// readable reports whether v has a text that every client shows alike.
func readable(v adapters.Value) bool {
	switch v.Type() {
	case adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64, adapters.TU8, adapters.TU16, adapters.TU32,
		adapters.TU64, adapters.TString, adapters.TSymbol:
		return true
	}
	return false
}

func values(hs []Header, name string) (vs []string) {
	for _, h := range hs {
		if h.Name == name {
			vs = append(vs, h.Value)
		}
	}
	return vs
}

// headerRepeated: repeated names stay, in order.
func headerRepeated(e *env) {
	if !e.caps.Headers.Duplicates {
		e.Skip("Headers.Duplicates is not claimed")
	}
	in, out := e.h.Place(e), e.h.Place(e)
	n := native("repeated")
	n.Headers = []Header{{"xTwice", "1"}, {"xOnce", "2"}, {"xTwice", "3"}}
	e.h.Put(e, in, n)
	m := e.receive(e.source(in), 1)[0].Message
	var got []string
	for _, p := range m.Props {
		if p.Name == "xTwice" {
			got = append(got, p.V.Text())
		}
	}
	e.wantBodies("received xTwice", got, "1", "3")
	m = m.Clone()
	m.Track.ID = e.tag
	e.send(e.target(out), m)
	e.wantBodies("sent xTwice", values(e.h.Take(e, out, 1)[0].Headers, "xTwice"), "1", "3")
}

// headerUnknownSurvives: headers that mean nothing to anybody survive a hop between two ends of the protocol.
func headerUnknownSurvives(e *env) {
	in, out := e.h.Place(e), e.h.Place(e)
	n := native("hop")
	n.Headers = []Header{{"acmeShift", "late"}, {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	e.h.Put(e, in, n)
	m := e.receive(e.source(in), 1)[0].Message.Clone()
	m.Track.ID = e.tag
	e.send(e.target(out), m)
	got := e.h.Take(e, out, 1)[0]
	for _, h := range n.Headers {
		if vs := values(got.Headers, h.Name); !slices.Equal(vs, []string{h.Value}) {
			e.Errorf("header %s after the hop: %q, want %q", h.Name, vs, h.Value)
		}
	}
	e.sameBody("after the hop", got.Body, n.Body)
}

const envelopeTTL = 600_000 // ms

// envelopeFields: what the protocol holds natively arrives, both ways.
func envelopeFields(e *env) {
	in, out := e.h.Place(e), e.h.Place(e)
	prio := min(7, e.caps.Headers.MaxPriority)
	n := Native{Body: []byte("e"), ID: "id-" + e.tag, Corr: "corr-7", ReplyTo: "replies", Key: []byte("k1"),
		Priority: &prio, Durable: true, TTL: envelopeTTL}
	e.h.Put(e, in, n)
	e.readEnvelope(e.receive(e.source(in), 1)[0].Message, n)
	m := e.message("e")
	m.ID, m.Corr, m.ReplyTo.Name, m.Key = adapters.StringID("id-"+e.tag), adapters.StringID("corr-7"), "replies", []byte("k1")
	m.Priority = adapters.Priority{Set: true, Value: prio}
	m.Expires, m.Left = time.Now().UnixMilli()+envelopeTTL, envelopeTTL
	e.send(e.target(out), m)
	e.readNative(e.h.Take(e, out, 1)[0], n)
	e.envelopeLoop()
}

// field compares one field where the protocol has it.
func field[T comparable](e *env, f adapters.Field, name string, got, want T) {
	e.Helper()
	if e.caps.Headers.Fields.Has(f) && got != want {
		e.Errorf("%s: %v, want %v", name, got, want)
	}
}

func (e *env) readEnvelope(m *adapters.Message, n Native) {
	e.Helper()
	h := e.caps.Headers
	if h.IDs.Has(adapters.IDString) {
		field(e, adapters.FieldID, "ID", m.ID.S, n.ID)
		field(e, adapters.FieldCorr, "Corr", m.Corr.S, n.Corr)
	}
	field(e, adapters.FieldReplyTo, "ReplyTo", m.ReplyTo.Name, n.ReplyTo)
	field(e, adapters.FieldKey, "Key", string(m.Key), string(n.Key))
	field(e, adapters.FieldPriority, "Priority", m.Priority, adapters.Priority{Set: true, Value: *n.Priority})
	field(e, adapters.FieldDurable, "Durable", m.Durable, adapters.Yes)
	if left := m.Expires - time.Now().UnixMilli(); h.Fields.Has(adapters.FieldExpires) && (left <= 0 || left > n.TTL+60_000) {
		e.Errorf("Expires is %d ms from now, want at most %d", left, n.TTL)
	}
}

func (e *env) readNative(got, want Native) {
	e.Helper()
	if e.caps.Headers.IDs.Has(adapters.IDString) {
		field(e, adapters.FieldID, "native ID", got.ID, want.ID)
		field(e, adapters.FieldCorr, "native Corr", got.Corr, want.Corr)
	}
	field(e, adapters.FieldReplyTo, "native ReplyTo", got.ReplyTo, want.ReplyTo)
	field(e, adapters.FieldKey, "native Key", string(got.Key), string(want.Key))
	field(e, adapters.FieldDurable, "native Durable", got.Durable, true)
	if e.caps.Headers.Fields.Has(adapters.FieldPriority) && (got.Priority == nil || *got.Priority != *want.Priority) {
		e.Errorf("native Priority: %v, want %d", got.Priority, *want.Priority)
	}
	unit := max(e.caps.Headers.ExpiryUnit, 1)
	if e.caps.Headers.Fields.Has(adapters.FieldExpires) && (got.TTL <= 0 || got.TTL > want.TTL+unit) {
		e.Errorf("native TTL: %d ms, want at most %d", got.TTL, want.TTL)
	}
}

// envelopeLoop: the fields that Native has no place for, from a target to a source.
func (e *env) envelopeLoop() {
	p := e.h.Place(e)
	m := e.message("loop")
	m.Type, m.ContentType, m.ContentEncoding = "order.created", "application/json", "identity"
	m.AppID, m.ReplyGroup = "suite", "rg"
	m.Created = 1_700_000_000_000
	m.Group = adapters.Group{ID: adapters.StringID("g"), Seq: 3, HasSeq: true}
	e.send(e.target(p), m)
	got := e.receive(e.source(p), 1)[0].Message
	field(e, adapters.FieldType, "Type", got.Type, m.Type)
	field(e, adapters.FieldContentType, "ContentType", strings.ToLower(got.ContentType), m.ContentType)
	field(e, adapters.FieldContentEncoding, "ContentEncoding", got.ContentEncoding, m.ContentEncoding)
	field(e, adapters.FieldAppID, "AppID", got.AppID, m.AppID)
	field(e, adapters.FieldReplyGroup, "ReplyGroup", got.ReplyGroup, m.ReplyGroup)
	field(e, adapters.FieldCreated, "Created", got.Created, m.Created)
	field(e, adapters.FieldGroup, "Group.Seq", got.Group.Seq, m.Group.Seq)
	field(e, adapters.FieldGroup, "Group.ID", got.Group.ID.S, m.Group.ID.S)
}
