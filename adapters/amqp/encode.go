package amqp

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// dupID is the application property by which Artemis knows a message again.
const dupID = "_AMQ_DUPL_ID"

// encode appends m to b as the broker of profile p takes it. Whatever has no native place is the business of the
// package bridge, which has put it into Props. Its error says that m cannot be expressed for that broker.
func encode(b []byte, m *adapters.Message, p *profile) ([]byte, error) {
	b, err := encodeHead(b, m, p)
	if err != nil {
		return b, err
	}
	b, err = appendBody(b, m)
	if err == nil && len(m.Annot.Footer) > 0 && p.annotations {
		b = appendMap(b, secFooter, m.Annot.Footer)
	}
	return b, err
}

// encodeHead appends what comes before the body.
func encodeHead(b []byte, m *adapters.Message, p *profile) ([]byte, error) {
	if !p.bodies.Has(m.Body.Form) {
		return b, fmt.Errorf("%s takes no body of this shape (%s): convert it on the route", p.name, bodyNames[m.Body.Form])
	}
	b = appendHeader(b, m)
	b = appendAnnotations(b, m, p)
	b = appendProperties(b, m, p)
	return appendApp(b, m, p), nil
}

func appendSection(b []byte, code byte) []byte { return append(b, codeDescribed, codeUlong8, code) }

// A list writes the fields of a composite; nulls at its end are not written.
type list struct {
	b       []byte
	at      int // of the size
	n, last int // fields written; bytes up to the last that is not null
	count   int // fields up to the last that is not null
}

func beginList(b []byte, code byte) list {
	b = append(appendSection(b, code), codeList32, 0, 0, 0, 0, 0, 0, 0, 0)
	return list{b: b, at: len(b) - 8, last: len(b)}
}

// field writes one field, or null where there is none.
func (l *list) field(set bool, write func(b []byte) []byte) {
	l.n++
	if !set {
		l.b = append(l.b, codeNull)
		return
	}
	l.b = write(l.b)
	l.last, l.count = len(l.b), l.n
}

func (l *list) value(set bool, v adapters.Value) {
	l.field(set, func(b []byte) []byte { return appendValue(b, v) })
}

func (l *list) symbol(s string) {
	l.value(s != "" && ascii(s), adapters.Symbol(s))
}

func (l *list) string(s string) { l.value(s != "", adapters.String(s)) }

// end closes the list. A list without fields leaves no trace, descriptor included.
func (l *list) end() []byte {
	if l.count == 0 {
		return l.b[:l.at-4]
	}
	b := l.b[:l.last]
	putUint32(b[l.at:], uint32(len(b)-l.at-4))
	putUint32(b[l.at+4:], uint32(l.count))
	return b
}

func putUint32(b []byte, n uint32) {
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
}

// appendHeader writes durable, priority and ttl; the two other fields belong to the hop and are never written.
func appendHeader(b []byte, m *adapters.Message) []byte {
	l := beginList(b, secHeader)
	l.value(m.Durable != adapters.Unset, adapters.Bool(m.Durable == adapters.Yes))
	l.value(m.Priority.Set, adapters.Uint(adapters.TU8, uint64(m.Priority.Value)))
	l.value(m.Left > 0 && m.Left <= math.MaxUint32, adapters.Uint(adapters.TU32, uint64(m.Left)))
	return l.end()
}

// appendProperties writes the properties; `to` is never written, the route decides the destination.
func appendProperties(b []byte, m *adapters.Message, p *profile) []byte {
	l := beginList(b, secProperties)
	l.value(!m.ID.IsZero(), p.id(m.ID))
	l.value(len(m.UserID) > 0 && p.userID, adapters.Bytes(m.UserID))
	l.value(false, adapters.Null())
	l.string(m.Type)
	l.string(m.ReplyTo.Name)
	l.value(!m.Corr.IsZero(), p.id(m.Corr))
	l.symbol(m.ContentType)
	l.symbol(m.ContentEncoding)
	l.value(m.Expires > 0, adapters.Time(m.Expires))
	l.value(m.Created != 0, adapters.Time(m.Created))
	l.value(m.Group.ID.Form == adapters.IDString, adapters.String(m.Group.ID.S))
	l.value(m.Group.HasSeq, adapters.Uint(adapters.TU32, uint64(m.Group.Seq)))
	l.string(m.ReplyGroup)
	return l.end()
}

// idValue writes an id in the kind in which it came.
func idValue(id adapters.ID) adapters.Value {
	switch id.Form {
	case adapters.IDBytes:
		return adapters.Bytes(id.B)
	case adapters.IDULong:
		return adapters.Uint(adapters.TU64, id.U)
	case adapters.IDUUID:
		if len(id.B) == 16 {
			return adapters.UUID([16]byte(id.B))
		}
		return adapters.Bytes(id.B)
	}
	return adapters.String(id.S)
}

// textID is idValue for a broker that takes only strings and bytes.
func textID(id adapters.ID) adapters.Value {
	if id.Form == adapters.IDULong {
		return adapters.String("ID:AMQP_ULONG:" + strconv.FormatUint(id.U, 10))
	}
	if id.Form == adapters.IDUUID && len(id.B) == 16 {
		return adapters.String("ID:AMQP_UUID:" + adapters.UUID([16]byte(id.B)).Text())
	}
	return idValue(id)
}

// appendAnnotations writes the message annotations: those the message came with, and the few whose place in the
// canonical form is a field.
func appendAnnotations(b []byte, m *adapters.Message, p *profile) []byte {
	if !p.annotations {
		return b
	}
	var own [4]adapters.Prop
	extra := own[:0]
	if jms := jmsByte(m.Body.Form); jms > 0 {
		extra = append(extra, adapters.Prop{Name: annJMSType, V: adapters.Int(adapters.TI8, jms)})
	}
	if m.ReplyTo.Form != adapters.AddrUnknown {
		extra = append(extra, adapters.Prop{Name: annJMSReply, V: adapters.Int(adapters.TI8, int64(m.ReplyTo.Form-adapters.AddrQueue))})
	}
	if m.DeliverAt > 0 {
		extra = append(extra, adapters.Prop{Name: annDeliverAt, V: adapters.Int(adapters.TI64, m.DeliverAt)}) // Artemis wants a number
	}
	if m.Key != nil && p.partitionKey && utf8.Valid(m.Key) {
		extra = append(extra, adapters.Prop{Name: annPartition, V: adapters.String(string(m.Key))})
	}
	if len(extra)+len(m.Annot.MA) == 0 {
		return b
	}
	return appendMap(b, secMessage, extra, m.Annot.MA)
}

// jmsByte is the JMS message type that the body form stands for, 0 where it stands for none.
func jmsByte(f adapters.BodyForm) int64 {
	switch f {
	case adapters.BodyObject:
		return jmsObject
	case adapters.BodyMap:
		return jmsMap
	case adapters.BodyStream:
		return jmsStream
	}
	return 0
}

// appendMap writes lists of properties as one map. A key that is there already is left out: maps have no duplicates,
// and the first list is the one that knows better.
func appendMap(b []byte, code byte, lists ...[]adapters.Prop) []byte {
	b = append(appendSection(b, code), codeMap32, 0, 0, 0, 0, 0, 0, 0, 0)
	at := len(b) - 8
	count := 0
	for n, ps := range lists {
		for i := range ps {
			if n > 0 && named(lists[0], ps[i].Name) {
				continue
			}
			if code == secApp {
				b = appendString(b, ps[i].Name)
			} else {
				b = appendValue(b, keyOf(ps[i]))
			}
			b = appendValue(b, ps[i].V)
			count += 2
		}
	}
	putUint32(b[at:], uint32(len(b)-at-4))
	putUint32(b[at+4:], uint32(count))
	return b
}

func named(ps []adapters.Prop, name string) bool {
	for i := range ps {
		if ps[i].Name == name {
			return true
		}
	}
	return false
}

// appendApp writes the application properties. The duplicate id is written from Track.ID alone: an application's own
// id that repeats inside the broker's window would be swallowed without a word.
func appendApp(b []byte, m *adapters.Message, p *profile) []byte {
	var own [1]adapters.Prop
	extra := own[:0]
	if p.dupID && m.Track.ID != "" {
		extra = append(extra, adapters.Prop{Name: dupID, V: adapters.String(m.Track.ID)})
	}
	props := m.Props
	if p.dupID && len(extra) == 0 && named(props, dupID) {
		props = without(props, dupID)
	}
	if len(extra)+len(props)+len(m.CE) == 0 {
		return b
	}
	return appendMap(b, secApp, extra, lastOfEach(props), cloudEvent(m.CE))
}

func without(ps []adapters.Prop, name string) []adapters.Prop {
	kept := make([]adapters.Prop, 0, len(ps))
	for _, p := range ps {
		if p.Name != name {
			kept = append(kept, p)
		}
	}
	return kept
}

// lastOfEach keeps the last of properties with one name: a map can hold only one, and Prop returns that one too.
func lastOfEach(ps []adapters.Prop) []adapters.Prop {
	for i := range ps {
		if named(ps[:i], ps[i].Name) {
			return dropEarlier(ps)
		}
	}
	return ps
}

func dropEarlier(ps []adapters.Prop) []adapters.Prop {
	kept := make([]adapters.Prop, 0, len(ps))
	for i := range ps {
		if !named(ps[i+1:], ps[i].Name) {
			kept = append(kept, ps[i])
		}
	}
	return kept
}

// cloudEvent spells CloudEvents attributes as the AMQP binding does.
func cloudEvent(ce []adapters.Prop) []adapters.Prop {
	if len(ce) == 0 {
		return nil
	}
	ps := make([]adapters.Prop, len(ce))
	for i, p := range ce {
		ps[i] = adapters.Prop{Name: "cloudEvents_" + p.Name, V: p.V}
	}
	return ps
}

var bodyNames = [...]string{"none", "bytes", "text", "value", "sequence", "JMS map", "JMS stream", "JMS object"}

// appendBody writes the body. No body is an amqp-value null: the standard wants one section at least.
func appendBody(b []byte, m *adapters.Message) ([]byte, error) {
	switch data := m.Body.Data; m.Body.Form {
	case adapters.BodyNone:
		return append(appendSection(b, secValue), codeNull), nil
	case adapters.BodyBytes:
		return appendData(b, m.Body), nil
	case adapters.BodyObject:
		return appendVariable(appendSection(b, secData), codeBin8, data), nil
	case adapters.BodyText:
		return appendVariable(appendSection(b, secValue), codeStr8, data), nil
	case adapters.BodyValue:
		return appendOne(b, secValue, data, isAny)
	case adapters.BodyMap:
		return appendOne(b, secValue, data, isMap)
	case adapters.BodyStream:
		return appendOne(b, secSequence, data, isList)
	}
	return appendSequence(b, m.Body.Data)
}

// appendData writes the sections in which the body came, where their lengths still fit.
func appendData(b []byte, body adapters.Body) []byte {
	rest, sum := body.Data, 0
	for _, n := range body.Cuts {
		if n < 0 {
			sum = -1
			break
		}
		sum += n
	}
	if len(body.Cuts) < 2 || sum != len(rest) {
		return appendVariable(appendSection(b, secData), codeBin8, rest)
	}
	for _, n := range body.Cuts {
		b = appendVariable(appendSection(b, secData), codeBin8, rest[:n])
		rest = rest[n:]
	}
	return b
}

func isAny(byte) bool    { return true }
func isMap(c byte) bool  { return c == codeMap8 || c == codeMap32 }
func isList(c byte) bool { return c == codeList0 || c == codeList8 || c == codeList32 }

// appendOne writes data, which must be exactly one value that begins as it should, under a section.
func appendOne(b []byte, code byte, data []byte, begins func(byte) bool) ([]byte, error) {
	d := &decoder{b: data}
	d.skip(0)
	if d.err != nil || d.i != len(data) || !begins(data[0]) {
		return b, fmt.Errorf("the body is not one value in AMQP 1.0 encoding")
	}
	return append(appendSection(b, code), data...), nil
}

// appendSequence writes every list of data under a section of its own.
func appendSequence(b []byte, data []byte) ([]byte, error) {
	d := &decoder{b: data}
	for at := 0; at < len(data); at = d.i {
		if d.skip(0); d.err != nil || !isList(data[at]) {
			return b, fmt.Errorf("the body is not a sequence of lists in AMQP 1.0 encoding")
		}
		b = append(appendSection(b, secSequence), data[at:d.i]...)
	}
	if len(data) == 0 {
		return append(appendSection(b, secSequence), codeList0), nil
	}
	return b, nil
}

// ascii reports whether s can be a symbol.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
