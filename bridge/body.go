package bridge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

const (
	textType  = "text/plain;charset=utf-8"       // for text that came without a content type
	typedType = "application/vnd.posthouse.amqp" // for bytes that are AMQP 1.0 type encoding
)

// The words of posthouse-body. Lengths of sections may follow, separated by blanks.
const (
	bodyNone        = "none"
	bodyData        = "data"
	bodyValue       = "value"
	bodyValueString = "value-string"
	bodyValueBinary = "value-binary"
	bodySequence    = "sequence"
	bodyMap         = "map"
	bodyStream      = "stream"
	bodyObject      = "object"
)

// A shape is what a body looks like natively at a target, with the word under which the original comes back.
type shape struct {
	body adapters.Body
	word string // "" = the native form is the original
	mime string // content type that goes with it: textType where there was none, typedType instead of any
}

// nativeBody is the body that the protocol of h holds for b, whose content type is ct. Null and the fields of IBM MQ are
// not its business, but for the format that says text.
func nativeBody(b adapters.Body, ct string, h *adapters.Headers) shape {
	s := shape{body: b}
	s.body.Null = false
	if len(b.Cuts) > 1 && !h.Cuts {
		s.body.Cuts = nil
	}
	switch has := h.Bodies.Has; {
	case readAsText(&b, ct, h):
		s.word = bodyData
		s.text(h)
	case b.Form == adapters.BodyText && !utf8.Valid(b.Data):
		s.word, s.body.Form = bodyValueString, adapters.BodyBytes
	case has(b.Form):
	case b.Form == adapters.BodyNone:
		s.word, s.body.Form = bodyNone, adapters.BodyBytes
	case b.Form == adapters.BodyText:
		s.word, s.mime = bodyValueString, textType
		s.text(h)
	case b.Form == adapters.BodyObject:
		s.word, s.body.Form = bodyObject, adapters.BodyBytes
	case b.Form == adapters.BodyValue:
		s.value(h)
	case b.Form == adapters.BodySequence:
		s.typed(bodySequence)
	case b.Form == adapters.BodyMap && has(adapters.BodyValue):
		s.word, s.body.Form = bodyMap, adapters.BodyValue
	case b.Form == adapters.BodyStream && has(adapters.BodyValue):
		s.word, s.body.Form = bodyStream, adapters.BodyValue
	case b.Form == adapters.BodyMap:
		s.typed(bodyMap)
	case b.Form == adapters.BodyStream:
		s.typed(bodyStream)
	}
	if len(s.body.Cuts) != len(b.Cuts) {
		s.word = firstOf(s.word, bodyData) + cutsText(b.Cuts)
	}
	return s
}

// text makes the body what programs at h read as text.
func (s *shape) text(h *adapters.Headers) {
	switch {
	case h.Bodies.Has(adapters.BodyText):
		s.body.Form = adapters.BodyText
	case h.TextFormat != "" && s.body.Format == "":
		s.body.Form, s.body.Format = adapters.BodyBytes, h.TextFormat
	default:
		s.body.Form = adapters.BodyBytes
	}
}

// readAsText reports whether bytes should be text to the programs at h, or JMS clients would see a BytesMessage: where the
// content type or the format of IBM MQ says that they are, and they are.
func readAsText(b *adapters.Body, ct string, h *adapters.Headers) bool {
	if h.TextFormat == "" && h.Convention != adapters.ConventionJMS || b.Form != adapters.BodyBytes || b.Null || len(b.Cuts) > 1 {
		return false
	}
	said := b.Format == "" && textual(ct) || b.Format == mqText && b.CCSID == 0 && h.TextFormat == ""
	return said && utf8.Valid(b.Data)
}

// mqText is the format of text at IBM MQ.
const mqText = "MQSTR"

// textual reports whether a content type is one of text, JSON or XML.
func textual(ct string) bool {
	mime, _, _ := strings.Cut(strings.ToLower(ct), ";")
	mime = strings.TrimSpace(mime)
	return strings.HasPrefix(mime, "text/") || mime == "application/json" || mime == "application/xml" ||
		strings.HasSuffix(mime, "+json") || strings.HasSuffix(mime, "+xml")
}

func (s *shape) typed(word string) {
	s.word, s.mime, s.body.Form = word, typedType, adapters.BodyBytes
}

// value opens an amqp-value section that holds a string, which is text, or binary; all else goes out as it is encoded.
func (s *shape) value(h *adapters.Headers) {
	data, text, ok := openValue(s.body.Data)
	switch {
	case !ok:
		s.typed(bodyValue)
	case text && h.Bodies.Has(adapters.BodyText):
		s.body.Data, s.body.Form = data, adapters.BodyText
	case text:
		s.word, s.mime, s.body.Data = bodyValueString, textType, data
		s.text(h)
	default:
		s.word, s.body.Data, s.body.Form = bodyValueBinary, data, adapters.BodyBytes
	}
}

func cutsText(cuts []int) string {
	var b strings.Builder
	for _, n := range cuts {
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// Constructors of AMQP 1.0 part 1, section 1.6: binary and string with lengths of one and of four bytes.
const (
	vbin8  = 0xa0
	str8   = 0xa1
	vbin32 = 0xb0
	str32  = 0xb1
)

// openValue returns the content of an encoded string or binary. It reports false for other types, and for an encoding
// longer than needed, so that the way back is exact.
func openValue(enc []byte) (data []byte, text, ok bool) {
	if len(enc) < 2 {
		return nil, false, false
	}
	switch enc[0] {
	case vbin8, str8:
		data = enc[2:]
	case vbin32, str32:
		if len(enc) < 5 {
			return nil, false, false
		}
		data = enc[5:]
	default:
		return nil, false, false
	}
	text = enc[0] == str8 || enc[0] == str32
	if !bytes.Equal(head(len(data), text), enc[:len(enc)-len(data)]) || text && !utf8.Valid(data) {
		return nil, false, false
	}
	return data, text, true
}

// head is what stands in front of n bytes of an encoded binary or string.
func head(n int, text bool) []byte {
	short, long := byte(vbin8), byte(vbin32)
	if text {
		short, long = str8, str32
	}
	if n <= 255 {
		return []byte{short, byte(n)}
	}
	return binary.BigEndian.AppendUint32([]byte{long}, uint32(n))
}

// body fits the body and, because they go together, the content type.
func (f *fitter) body() error {
	c := f.c
	if c.Body.Null && !f.h.NullBody {
		f.own(hNull, present)
		c.Body.Data = nil
	}
	s := nativeBody(c.Body, c.ContentType, &f.h)
	s.body.Null = c.Body.Null && f.h.NullBody
	if s.mime == typedType && f.h.Protocol == "amqp" && !f.o.ConvertBody {
		return permanent(fmt.Errorf("the target takes no body of the kind %s; body: convert sends it as bytes", s.word))
	}
	c.Body = s.body
	if s.word != "" {
		f.own(hBody, s.word)
	}
	native := nativeContentType(c.ContentType, s, &f.h)
	if arrivedContentType(native, s, &f.h) != c.ContentType {
		f.own(hContent, escape(c.ContentType, ""))
	}
	c.ContentType = native
	f.jmsKind()
	return nil
}

// nativeContentType is what the native field gets beside a body of shape s.
func nativeContentType(ct string, s shape, h *adapters.Headers) string {
	if s.mime == typedType || s.mime == textType && ct == "" {
		ct = s.mime
	}
	return nativeText(ct, adapters.FieldContentType, true, h)
}

// arrivedContentType is what Restore makes of a native content type without a header.
func arrivedContentType(native string, s shape, h *adapters.Headers) string {
	if s.mime != "" && native == s.mime && h.Fields.Has(adapters.FieldContentType) {
		return ""
	}
	return native
}

// body gives the body its original form back, if it is still the one that was sent, and the content type.
func (r *restorer) body() {
	c := r.c
	r.null()
	r.impliedKind()
	s := shape{body: c.Body}
	if word, ok := r.get(hBody); ok {
		b, readable := originalBody(word, c.Body)
		if r.textFormat = readable && saysText(word) && r.h.TextFormat != "" && b.Format == r.h.TextFormat; r.textFormat {
			b.Format = ""
		}
		want := nativeBody(r.likelyText(b), r.likelyType(), &r.h)
		switch {
		case !readable:
			r.note("body", Malformed)
		case want.word != word || want.body.Form != c.Body.Form || !bytes.Equal(want.body.Data, c.Body.Data) ||
			want.mime == typedType && r.has(adapters.FieldContentType) && c.ContentType != typedType:
			r.note("body", Stale)
			r.textFormat = false
		default:
			b.Null = c.Body.Null
			c.Body, s = b, want
		}
	}
	r.contentType(s)
}

// saysText reports whether a word of posthouse-body stands where the native form is text.
func saysText(word string) bool { return word == bodyData || word == bodyValueString }

// likelyText is b with the format and code page that it had when it was fitted, where those travelled as headers.
func (r *restorer) likelyText(b adapters.Body) adapters.Body {
	if r.has(adapters.FieldMsgType) {
		return b
	}
	if v, ok := r.get(hMQFormat); ok {
		b.Format, _ = unescape(v)
	}
	if _, ok := r.get(hMQCCSID); ok {
		b.CCSID = -1 // not the usual one
	}
	return b
}

// likelyType is the content type that the body had when it was fitted: what the header says, else what was found.
func (r *restorer) likelyType() string {
	if v, ok := r.get(hContent); ok {
		if ct, readable := unescape(v); readable {
			return ct
		}
	}
	return r.c.ContentType
}

func (r *restorer) null() {
	v, ok := r.get(hNull)
	switch b := &r.c.Body; {
	case !ok:
	case v != present:
		r.note("null", Malformed)
	case len(b.Data) > 0:
		r.note("null", Stale)
	default:
		b.Null = true
	}
}

func (r *restorer) contentType(s shape) {
	c := r.c
	v, ok := r.get(hContent)
	if !ok {
		c.ContentType = arrivedContentType(c.ContentType, s, &r.h)
		return
	}
	ct, readable := unescape(v)
	switch {
	case !readable:
		r.note("content-type", Malformed)
	case r.has(adapters.FieldContentType) && nativeContentType(ct, s, &r.h) != c.ContentType:
		r.note("content-type", Stale)
	default:
		c.ContentType = ct
	}
}

// originalBody is the body that posthouse-body describes, over the bytes that were found.
func originalBody(word string, found adapters.Body) (adapters.Body, bool) {
	b := found
	word, lengths, several := strings.Cut(word, " ")
	if several && !parseCuts(lengths, &b) {
		return found, false
	}
	switch word {
	case bodyNone:
		b.Form = adapters.BodyNone
	case bodyData:
		b.Form = adapters.BodyBytes
	case bodyValue:
		b.Form = adapters.BodyValue
	case bodyValueString: // an amqp-value section with a string is what text is
		b.Form = adapters.BodyText
	case bodyValueBinary:
		b.Form, b.Data = adapters.BodyValue, append(head(len(found.Data), false), found.Data...)
	case bodySequence:
		b.Form = adapters.BodySequence
	case bodyMap:
		b.Form = adapters.BodyMap
	case bodyStream:
		b.Form = adapters.BodyStream
	case bodyObject:
		b.Form = adapters.BodyObject
	default:
		return found, false
	}
	return b, true
}

// parseCuts reads lengths of sections; they must add up to the body.
func parseCuts(s string, b *adapters.Body) bool {
	b.Cuts = nil
	sum := 0
	for n := range strings.SplitSeq(s, " ") {
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 || i > len(b.Data)-sum {
			return false
		}
		sum += i
		b.Cuts = append(b.Cuts, i)
	}
	return sum == len(b.Data) && len(b.Cuts) > 1
}
