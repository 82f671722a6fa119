package bridge

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// Fit returns a copy of m, its edits done, in the shape that the protocol of h can hold, with Posthouse's own headers as the last of its
// properties and Left set. now is the wall time, for expiry. The copy shares what need not differ with m, so it is for
// encoding only. The notes tell of every drop, escape and clamp.
//
// The error is ErrExpired when m's time is over, else an *adapters.Error of Kind Permanent: the header block is over its
// limit, or the target cannot take this shape of body.
func Fit(m *adapters.Message, h adapters.Headers, o Options, now time.Time) (*adapters.Message, []Note, error) {
	if o.Dead == nil { // a dead letter is what came
		m = m.Edited()
	}
	c := *m
	c.Edits = nil
	f := fitter{m: m, c: &c, h: h, o: o}
	if err := f.expiry(now.UnixMilli()); err != nil {
		return nil, nil, err
	}
	f.props()
	f.track()
	f.makeEvent()
	if err := f.body(); err != nil {
		return nil, f.notes, err
	}
	f.texts()
	f.ids()
	f.addresses()
	f.delivery(now.UnixMilli())
	f.mq()
	f.annotations()
	f.springTypes()
	f.tags()
	if c.Native.Proto != h.Protocol {
		c.Native = adapters.Native{}
	}
	if err := f.budget(); err != nil {
		return nil, f.notes, err
	}
	return &c, f.notes, nil
}

// A fitter holds one call of Fit.
type fitter struct {
	m     *adapters.Message // as given, never written to
	c     *adapters.Message // its copy; slices shared with m are replaced, never written to
	h     adapters.Headers
	o     Options
	notes []Note

	event  bool     // it goes out as a CloudEvent in binary mode
	native int      // properties of c that are the producer's; own headers follow
	tag    []string // type tag of each native property; nil = all empty
	lost   []placed // properties that posthouse-props carries
}

func (f *fitter) note(field, what string) { f.notes = append(f.notes, Note{field, what}) }

// own adds one of Posthouse's own headers.
func (f *fitter) own(name, value string) {
	if f.h.Underscore {
		name = spell(name)
	}
	f.c.Props = append(f.c.Props, adapters.Prop{Name: name, V: adapters.String(value)})
}

func (f *fitter) ownInt(name string, i int64) { f.own(name, strconv.FormatInt(i, 10)) }

func (f *fitter) has(field adapters.Field) bool { return f.h.Fields.Has(field) }

// expiry sets Left, rounded up to the target's unit, and keeps the absolute time.
func (f *fitter) expiry(now int64) error {
	c := f.c
	c.Left = 0
	if c.Expires == 0 {
		return nil
	}
	if c.Expires <= now {
		return ErrExpired
	}
	unit := max(f.h.ExpiryUnit, 1)
	units := (c.Expires - now - 1) / unit
	if units++; f.h.MaxExpiry == 0 || units <= f.h.MaxExpiry {
		c.Left = units * unit
	} else if f.h.Relative {
		f.note("expires", Clamped)
	}
	return nil
}

// track writes what Posthouse itself says of the message.
func (f *fitter) track() {
	t := &f.m.Track
	if t.ID != "" {
		f.own(hID, t.ID)
	}
	origin, path := firstOf(t.Origin, t.ID), ""
	if origin != "" {
		f.own(hOrigin, origin)
	}
	if len(t.Path) > 0 {
		path = formatPath(t.Path)
		f.own(hPath, path)
	}
	if !f.o.Key.IsZero() {
		f.own(hSeal, sealOf(f.o.Key, t.ID, origin, path))
	}
	if t.MaybeDup {
		f.own(hMaybeDup, present)
	}
	if d := f.o.Dead; d != nil {
		f.dead(d)
	}
}

// maxDeadText bounds what a broker's error text may take of the headers.
const maxDeadText = 1000

// dead writes why the message is a dead letter.
func (f *fitter) dead(d *Dead) {
	text := strings.ToValidUTF8(d.Text[:min(len(d.Text), maxDeadText)], "")
	for _, h := range [][2]string{{"reason", d.Reason}, {"text", text}, {"route", d.Route}, {"lane", d.Lane}, {"source", d.Source}} {
		if h[1] != "" {
			f.own(hDead+h[0], h[1])
		}
	}
	f.ownInt(hDead+"attempts", int64(d.Attempts))
	f.ownInt(hDead+"first", d.First)
	f.ownInt(hDead+"last", d.Last)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func formatPath(path []string) string {
	if len(path) == 1 {
		return escape(path[0], ", ")
	}
	var b strings.Builder
	for i, p := range path {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(escape(p, ", "))
	}
	return b.String()
}

// ids fits message, correlation and group id and the ordering key.
func (f *fitter) ids() {
	c := f.c
	c.ID = givenID(f.id(hMessageID, adapters.FieldID, c.ID), c.Track.ID, &f.h)
	c.Corr = f.id(hCorrID, adapters.FieldCorr, c.Corr)
	f.group()
	c.Key = f.key()
}

func (f *fitter) id(name string, place adapters.Field, id adapters.ID) adapters.ID {
	if id.IsZero() {
		return id
	}
	n := adapters.ID{}
	if f.has(place) {
		n = nativeID(id, &f.h)
	}
	if back, _ := arrivedID(n, &f.h); back.Equal(id) {
		return n
	}
	if name == hCorrID && besideFixed(id, &f.h) {
		f.beside(id.S)
	} else if name == hMessageID {
		f.own(name, escape(FormatID(id), ""))
	} else {
		f.own(name, escape(FormatCorrID(id), ""))
	}
	if !n.IsZero() {
		f.note(field(name), Clamped)
	}
	return n
}

func (f *fitter) group() {
	g, from := &f.c.Group, &f.m.Group
	if f.has(adapters.FieldGroup) {
		g.ID = nativeGroup(from.ID, &f.h)
	} else {
		if g.ID = (adapters.ID{}); from.HasSeq {
			f.ownInt(hGroupSeq, int64(from.Seq))
		}
		g.Seq, g.HasSeq = 0, false
	}
	if back, _ := arrivedGroup(g.ID, &f.h); !back.Equal(from.ID) {
		f.own(hGroupID, escape(FormatID(from.ID), ""))
	}
	if from.Last && !f.has(adapters.FieldGroupLast) {
		g.Last = false
		f.own(hGroupLast, present)
	}
}

// key is the native ordering key: the message's, else its group.
func (f *fitter) key() []byte {
	key := f.m.Key
	native, annotated := nativeKey(key, f.m, &f.h), partitionKey(f.m.Annot.MA)
	switch {
	case key == nil && (native != nil || annotated != nil):
		f.own(hKey, noKey)
	case key == nil || native != nil:
	case annotated == nil || !bytes.Equal(annotated, key): // Restore reads it there
		f.own(hKey, base64.StdEncoding.EncodeToString(key))
	}
	return native
}

// nativeKey is what the native field of h gets for a key; nil where it has none.
func nativeKey(key []byte, m *adapters.Message, h *adapters.Headers) []byte {
	switch {
	case !h.Fields.Has(adapters.FieldKey), h.Protocol == "amqp" && !utf8.Valid(key): // there a key is an annotation, a string
		return nil
	case key != nil || m.Group.ID.IsZero():
		return key
	}
	return []byte(idText(m.Group.ID))
}

// addresses: the route decides where a message goes, and outside a bridge nobody can answer it by its own reply
// address, for that belongs to the source's broker. Both travel as information.
func (f *fitter) addresses() {
	if f.o.KeepTo && f.c.To != (adapters.Addr{}) {
		f.own(hTo, FormatAddr(f.c.To))
	}
	if f.o.ReplyTo != (adapters.Addr{}) {
		f.c.ReplyTo = f.o.ReplyTo
	}
	if f.c.ReplyTo != (adapters.Addr{}) && !f.answerable(f.o.ReplyTo) {
		f.own(hReplyTo, FormatAddr(f.c.ReplyTo))
		f.c.ReplyTo = adapters.Addr{}
	}
	f.c.To = adapters.Addr{}
}

// answerable reports whether a reply address stands in the native field of the target.
func (f *fitter) answerable(a adapters.Addr) bool {
	return a != (adapters.Addr{}) && f.has(adapters.FieldReplyTo) && holdsText(a.Name, &f.h)
}

// texts fits the fields that are plain strings. The content type comes with the body.
func (f *fitter) texts() {
	c := f.c
	f.text(hType, adapters.FieldType, &c.Type, false)
	f.text(hEncoding, adapters.FieldContentEncoding, &c.ContentEncoding, true)
	f.text(hReplyGroup, adapters.FieldReplyGroup, &c.ReplyGroup, false)
	f.text(hAppID, adapters.FieldAppID, &c.AppID, false)
	if len(c.UserID) > 0 && !(f.o.PassUserID && f.has(adapters.FieldUserID)) {
		f.own(hUserID, base64.StdEncoding.EncodeToString(c.UserID))
		c.UserID = nil
	}
}

func (f *fitter) text(name string, field adapters.Field, p *string, symbol bool) {
	if *p == "" {
		return
	}
	n := nativeText(*p, field, symbol, &f.h)
	if n != *p {
		f.own(name, escape(*p, ""))
	}
	*p = n
}

// nativeText is what a native string field of h gets for s: all or nothing. Symbols are ASCII.
func nativeText(s string, field adapters.Field, symbol bool, h *adapters.Headers) string {
	if h.MaxText > 0 && len(s) > h.MaxText {
		return ""
	}
	if !h.Fields.Has(field) || symbol && !printable(s) || !holdsText(s, h) || strings.IndexByte(s, 0) >= 0 {
		return ""
	}
	return s
}

// delivery fits times, priority and durability.
func (f *fitter) delivery(now int64) {
	c := f.c
	if c.Expires != 0 && (f.h.Relative || !f.has(adapters.FieldExpires)) {
		f.ownInt(hExpires, c.Expires)
	}
	if c.Created = nativeCreated(c.Created, &f.h); c.Created != f.m.Created {
		f.ownInt(hCreated, f.m.Created)
	}
	if c.DeliverAt <= now {
		c.DeliverAt = 0
	}
	if c.DeliverAt != 0 && !f.has(adapters.FieldDeliverAt) {
		f.ownInt(hDeliverAt, c.DeliverAt)
		c.DeliverAt = 0
	}
	if c.Priority = nativePriority(c.Priority, &f.h); c.Priority != f.m.Priority {
		f.ownInt(hPriority, int64(f.m.Priority.Value))
		if c.Priority.Set {
			f.note("priority", Clamped)
		}
	}
	if !f.has(adapters.FieldDurable) && c.Durable == adapters.No {
		f.own(hDurable, no)
	}
	if c.Deliveries > 0 {
		f.ownInt(hDeliveries, int64(c.Deliveries))
		c.Deliveries = 0
	}
}

func nativeCreated(ms int64, h *adapters.Headers) int64 {
	const lastDate = 253402300799999 // MQ has years of four digits
	if h.FixedIDs && ms > lastDate || h.CreatedUnit == 0 || !h.Fields.Has(adapters.FieldCreated) || ms < 0 {
		return 0
	}
	return ms - ms%h.CreatedUnit
}

func nativePriority(p adapters.Priority, h *adapters.Headers) adapters.Priority {
	if h.MaxPriority == 0 || !h.Fields.Has(adapters.FieldPriority) {
		return adapters.Priority{}
	}
	p.Value = min(p.Value, h.MaxPriority)
	return p
}
