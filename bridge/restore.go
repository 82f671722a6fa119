package bridge

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// Restore turns a just decoded message into the canonical one: it takes Posthouse's own headers out of the properties
// and, if o trusts the source, gives the values back that they carry. h is what the source's protocol holds. The result
// is m itself when there was nothing to do, else a copy that shares with m what did not change.
func Restore(m *adapters.Message, h adapters.Headers, o Options) (*adapters.Message, []Note) {
	if !concerned(m, &h) && !(o.ConvertText && foreignText(&m.Body)) {
		return m, nil
	}
	c := *m
	r := restorer{m: m, c: &c, h: h, o: o}
	r.lifetime()
	r.split()
	if len(r.own) > 0 && !o.Trusted && !o.TrustValues {
		r.own = nil
		r.note("own", Untrusted)
	}
	r.ids()
	r.unknown()
	r.track()
	r.props()
	r.body()
	r.texts()
	r.delivery()
	r.mq()
	r.codePage()
	r.annotations()
	r.trace()
	r.key()
	r.madeEvent()
	return &c, r.notes
}

// concerned reports whether Restore has anything to do.
func concerned(m *adapters.Message, h *adapters.Headers) bool {
	if m.Left != 0 || badTrace(m.Props) || tracedAnnotation(m.Annot.MA) || keyIndex(m.Annot.MA) >= 0 {
		return true
	}
	if stringOnly(h) && (textForm(m.ID.S, h) || textForm(m.Corr.S, h)) || typed(m.Group.ID.S) {
		return true
	}
	if h.Convention == adapters.ConventionJMS && impliedAnnotation(m) >= 0 {
		return true
	}
	if len(m.CE) == 0 && isEvent(m.Props, h.Protocol) {
		return true
	}
	spring := h.Convention == adapters.ConventionSpring
	for i := range m.Props {
		name := m.Props[i].Name
		if spring && name == springTypesName || h.Annotates != "" && strings.HasPrefix(name, h.Annotates) {
			return true
		}
		if isOwn(name) || len(h.Reserved) > 0 && reserved(name, h) || canonicalName(name, h) != name {
			return true
		}
	}
	return false
}

// A restorer holds one call of Restore.
type restorer struct {
	m     *adapters.Message // as given, never written to
	c     *adapters.Message // its copy; slices shared with m are replaced, never written to
	h     adapters.Headers
	o     Options
	own   []header
	notes []Note

	corrText   string // the property in which IBM MQ and JMS keep a correlation id as text
	textFormat bool   // the body's Format only said that it is text
}

func (r *restorer) note(field, what string) { r.notes = append(r.notes, Note{field, what}) }

func (r *restorer) has(field adapters.Field) bool { return r.h.Fields.Has(field) }

// get returns the last own header called name.
func (r *restorer) get(name string) (string, bool) {
	for i := len(r.own) - 1; i >= 0; i-- {
		if r.own[i].name == name {
			return r.own[i].value, true
		}
	}
	return "", false
}

// lifetime makes an absolute expiry of a relative one. Where both came and contradict each other, somebody's clock is
// wrong, and the lifetime is what an intermediary may have counted down (AMQP 1.0 part 3, section 3.2.1).
func (r *restorer) lifetime() {
	left := r.c.Left
	r.c.Left = 0
	if left < 0 { // decode could not read it
		r.note("expires", Malformed)
	}
	const sane = 1 << 52
	if left <= 0 || left > sane || r.c.Received == 0 {
		return
	}
	end := r.c.Received + left
	switch d := r.c.Expires - end; {
	case r.c.Expires == 0:
		r.c.Expires = end
	case d > r.o.skew() || -d > r.o.skew():
		r.c.Expires = end
		r.note("expires", Skewed)
	}
}

// split parts Posthouse's own headers from the producer's properties and drops what the hop said about itself.
func (r *restorer) split() {
	in, owned := r.m.Props, 0
	for i := range in {
		if isOwn(in[i].Name) {
			owned++
		}
	}
	if owned > 0 {
		r.own = make([]header, 0, owned)
	}
	out := make([]adapters.Prop, 0, len(in)-owned)
	for i := range in {
		p := in[i]
		switch {
		case isOwn(p.Name):
			r.own = append(r.own, ownHeader(&p))
		case repeatsID(&p, in):
		case r.h.FixedIDs && p.Name == corrTextName:
			r.corrText = p.V.Str()
		case reserved(p.Name, &r.h):
			r.note("props", Dropped)
		case r.h.Annotates != "" && strings.HasPrefix(p.Name, r.h.Annotates):
			r.c.Annot.MA = append(slices.Clip(r.c.Annot.MA), p)
		default:
			p.Name = canonicalName(p.Name, &r.h)
			out = append(out, p)
		}
	}
	r.c.Props = out
}

// unknown notes headers that this version does not know, among them those of dead letters.
func (r *restorer) unknown() {
	for _, h := range r.own {
		switch h.name {
		case hID, hOrigin, hPath, hSeal, hMaybeDup, hMessageID, hCorrID, hTo, hReplyTo, hType, hAppID, hReplyGroup, hContent,
			hEncoding, hCreated, hExpires, hDeliverAt, hPriority, hDurable, hDeliveries, hGroupID, hGroupSeq, hGroupLast,
			hUserID, hKey, hEvent, hMsgType, hReport, hFeedback, hBody, hNull, hTypes, hProps, hMQFormat, hMQCCSID, hMQEncoding:
		default:
			if !strings.HasPrefix(h.name, hMA) && !strings.HasPrefix(h.name, hFT) {
				r.note("own", Dropped)
			}
		}
	}
}

// track reads Posthouse's own identity, which only a fully trusted source may state.
func (r *restorer) track() {
	t := &r.c.Track
	if v, ok := r.get(hMaybeDup); ok {
		t.MaybeDup = v == present
	}
	if !r.o.Trusted || !r.sealed() {
		return
	}
	r.identity(hID, &t.ID)
	r.identity(hOrigin, &t.Origin)
	if v, ok := r.get(hPath); ok {
		t.Path = r.path(v)
	}
}

func (r *restorer) identity(name string, p *string) {
	v, ok := r.get(name)
	if !ok {
		return
	}
	const longest = 64
	if v == "" || len(v) > longest || !printable(v) {
		r.note(field(name), Malformed)
		return
	}
	*p = v
}

// path reads posthouse-path. An entry that cannot be read is kept as it is: the length of the path counts.
func (r *restorer) path(v string) []string {
	path := strings.Split(v, ",")
	for i, e := range path {
		s, ok := unescape(e)
		if !ok {
			r.note("path", Malformed)
			continue
		}
		path[i] = s
	}
	return path
}

// ids gives ids their form back: from the header, else from the text form in a field that holds strings only.
func (r *restorer) ids() {
	c := r.c
	r.ungivenID()
	c.ID = r.id(hMessageID, adapters.FieldID, c.ID)
	c.Corr = r.corr(c.Corr)
	c.Group.ID = r.id(hGroupID, adapters.FieldGroup, c.Group.ID)
}

// id is what the header says, if its native form is what was found, else what was found, read as a text form where ids
// are only text.
func (r *restorer) id(name string, place adapters.Field, found adapters.ID) adapters.ID {
	if v, ok := r.get(name); ok {
		s, readable := unescape(v)
		id, _ := ParseID(s)
		switch {
		case !readable:
			r.note(field(name), Malformed)
		case r.has(place) && !r.nativeID(place, id).Equal(found):
			r.note(field(name), Stale)
		default:
			return id
		}
	}
	id, ok := arrivedID(found, &r.h)
	if place == adapters.FieldGroup {
		id, ok = arrivedGroup(found, &r.h)
	}
	if !ok {
		r.note(field(name), Malformed)
	}
	return id
}

func (r *restorer) nativeID(place adapters.Field, id adapters.ID) adapters.ID {
	if place == adapters.FieldGroup {
		return nativeGroup(id, &r.h)
	}
	return nativeID(id, &r.h)
}

func (r *restorer) props() {
	if v, ok := r.get(hTypes); ok {
		r.applyTypes(v)
	}
	r.springTypes()
	r.events()
	if v, ok := r.get(hProps); ok {
		r.insertPlaced(v)
	}
}

// key restores the ordering key. It comes last, because a message without one may have gone out with its group's.
func (r *restorer) key() {
	v, ok := r.get(hKey)
	if !ok {
		if r.c.Key == nil {
			r.c.Key = partitionKey(r.c.Annot.MA)
		}
		return
	}
	var key []byte
	if v != noKey {
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			r.note("key", Malformed)
			return
		}
		key = b
	}
	want := nativeKey(key, r.c, &r.h)
	if r.has(adapters.FieldKey) && ((want == nil) != (r.c.Key == nil) || !bytes.Equal(want, r.c.Key)) {
		r.note("key", Stale)
		return
	}
	r.c.Key = key
}

// texts restores plain strings, the user id and the reply address, which is information outside a bridge.
func (r *restorer) texts() {
	c := r.c
	r.text(hType, adapters.FieldType, &c.Type, false)
	r.text(hEncoding, adapters.FieldContentEncoding, &c.ContentEncoding, true)
	r.text(hReplyGroup, adapters.FieldReplyGroup, &c.ReplyGroup, false)
	r.text(hAppID, adapters.FieldAppID, &c.AppID, false)
	if v, ok := r.get(hUserID); ok && r.o.Trusted {
		b, err := base64.StdEncoding.DecodeString(v)
		switch {
		case err != nil:
			r.note("user-id", Malformed)
		case len(c.UserID) > 0 && r.has(adapters.FieldUserID):
			r.note("user-id", Stale) // somebody on the way vouched for another
		default:
			c.UserID = b
		}
	}
	if v, ok := r.get(hReplyTo); ok {
		a, readable := ParseAddr(v)
		switch {
		case !readable:
			r.note("reply-to", Malformed)
		case c.ReplyTo != (adapters.Addr{}) && c.ReplyTo != a:
			r.note("reply-to", Stale)
		default:
			c.ReplyTo = a
		}
	}
}

func (r *restorer) text(name string, f adapters.Field, p *string, symbol bool) {
	v, ok := r.get(name)
	if !ok {
		return
	}
	s, readable := unescape(v)
	switch {
	case !readable:
		r.note(field(name), Malformed)
	case r.has(f) && nativeText(s, f, symbol, &r.h) != *p:
		r.note(field(name), Stale)
	default:
		*p = s
	}
}

// number reads an own header that is a decimal number of the given width.
func (r *restorer) number(name string, width int) (int64, bool) {
	v, ok := r.get(name)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(v, 10, width)
	if err != nil {
		r.note(field(name), Malformed)
	}
	return i, err == nil
}

// exact takes a number over where there is no native field, or where it says the same.
func exact[T ~int32 | ~uint32 | ~int64](r *restorer, name string, f adapters.Field, p *T, width int) {
	i, ok := r.number(name, width)
	switch {
	case !ok:
	case int64(T(i)) != i:
		r.note(field(name), Malformed)
	case r.has(f) && *p != T(i):
		r.note(field(name), Stale)
	default:
		*p = T(i)
	}
}

// delivery restores times, priority, durability and the place in a group.
func (r *restorer) delivery() {
	c := r.c
	if ms, ok := r.number(hExpires, 64); ok && ms > 0 && (c.Expires == 0 || ms < c.Expires) {
		c.Expires = ms
	}
	if ms, ok := r.number(hCreated, 64); ok {
		c.Created = ms
	}
	exact(r, hDeliverAt, adapters.FieldDeliverAt, &c.DeliverAt, 64)
	r.priority()
	r.durable()
	if seq, ok := r.number(hGroupSeq, 64); ok && !c.Group.HasSeq {
		if c.Group.Seq = uint32(seq); int64(c.Group.Seq) != seq {
			c.Group.Seq = 0
			r.note("group-seq", Malformed)
		} else {
			c.Group.HasSeq = true
		}
	}
	if v, ok := r.get(hGroupLast); ok {
		c.Group.Last = c.Group.Last || v == present
	}
}

func (r *restorer) priority() {
	i, ok := r.number(hPriority, 64)
	p := adapters.Priority{Set: true, Value: uint8(i)}
	switch {
	case !ok:
	case int64(p.Value) != i:
		r.note("priority", Malformed)
	case nativePriority(p, &r.h) != r.c.Priority && r.has(adapters.FieldPriority):
		r.note("priority", Stale)
	default:
		r.c.Priority = p
	}
}

func (r *restorer) durable() {
	v, ok := r.get(hDurable)
	d := adapters.Yes
	if v == no {
		d = adapters.No
	}
	switch {
	case !ok:
	case v != yes && v != no:
		r.note("durable", Malformed)
	case r.has(adapters.FieldDurable) && r.c.Durable != d:
		r.note("durable", Stale)
	default:
		r.c.Durable = d
	}
}
