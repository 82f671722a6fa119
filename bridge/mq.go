package bridge

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// What IBM MQ knows of a message and nobody else: its ids of 24 bytes, its types of messages and reports, and the format,
// code page and number encoding of a body.

// corrTextName is the property that holds a JMS correlation id as it was written, beside the 24 bytes of CorrelId (IBM MQ,
// "Mapping JMS fields onto IBM MQ fields").
const corrTextName = "JMSCorrelationID"

// besideFixed reports whether id can stand in that property, as the exact form of a field that cannot hold it.
func besideFixed(id adapters.ID, h *adapters.Headers) bool {
	return h.FixedIDs && id.Form == adapters.IDString && id.S != "" && utf8.ValidString(id.S) && strings.IndexByte(id.S, 0) < 0
}

func (f *fitter) beside(s string) {
	f.c.Props = append(f.c.Props, adapters.Prop{Name: corrTextName, V: adapters.String(s)})
}

// corr believes the header, else the property, if either has the 24 bytes that were found. JMS cuts a long text where
// Posthouse takes its SHA-256.
func (r *restorer) corr(found adapters.ID) adapters.ID {
	if _, own := r.get(hCorrID); own || r.corrText == "" {
		return r.id(hCorrID, adapters.FieldCorr, found)
	}
	cut := make([]byte, r.h.MaxID)
	copy(cut, r.corrText)
	id := adapters.StringID(r.corrText)
	if fixedID(id, r.h.MaxID).Equal(found) || bytes.Equal(cut, found.B) {
		return id
	}
	r.note("correlation-id", Stale)
	return found
}

// givenID is the message id that is put where the queue manager would make up one: made of Track.ID, so that a repeat has
// the same, and who copies it into a correlation id can be understood.
func givenID(id adapters.ID, track string, h *adapters.Headers) adapters.ID {
	if !h.FixedIDs || !id.IsZero() || track == "" || !h.Fields.Has(adapters.FieldID) {
		return id
	}
	sum := sha256.Sum256([]byte(track))
	return adapters.ID{Form: adapters.IDBytes, B: sum[:h.MaxID]}
}

// ungivenID takes a message id away that was given.
func (r *restorer) ungivenID() {
	if v, ok := r.get(hID); ok && r.h.FixedIDs && givenID(adapters.ID{}, v, &r.h).Equal(r.c.ID) {
		r.c.ID = adapters.ID{}
	}
}

// MQMT: types of messages (IBM MQ, MQMD.MsgType). 0 stands for a datagram, as which everything goes out that says nothing.
const (
	mqRequest  = 1
	mqReply    = 2
	mqReport   = 4
	mqAppFirst = 65536
	mqAppLast  = 999_999_999
)

// nativeMsgType is the type that MQ takes: a request needs a reply queue (MQRC 2027).
func nativeMsgType(t uint32, reply bool) uint32 {
	if t == mqRequest && reply || t == mqReply || t == mqReport || t >= mqAppFirst && t <= mqAppLast {
		return t
	}
	return 0
}

func nativeFeedback(feedback int32, msgType uint32) int32 {
	if msgType != mqReport || feedback < 0 {
		return 0
	}
	return feedback
}

// nativeFormat is a format as the 8 characters of MQMD hold it, which are padded with blanks.
func nativeFormat(s string) string {
	if len(s) > 8 || !printable(s) {
		return ""
	}
	return s
}

// The values that MQ messages have when nobody chose others: UTF-8, and the integers and floats of x86. The adapter writes
// them for 0 and reads them as 0, so that a message that never saw MQ needs no header for them.
const (
	usualCCSID    = 1208
	usualEncoding = 546
)

func nativeUsual(n, usual int32) int32 {
	if n == usual {
		return 0
	}
	return n
}

// mq keeps what the target has no place for. Report options never go on: the reports would come from the wrong queue
// manager, to a queue that may not exist there.
func (f *fitter) mq() {
	from := *f.c
	c, b := f.c, &f.c.Body
	switch {
	case f.has(adapters.FieldMsgType) && f.h.TextFormat == "": // it holds whatever there is
	case f.has(adapters.FieldMsgType):
		c.MsgType = nativeMsgType(c.MsgType, c.ReplyTo != (adapters.Addr{}))
		c.Report, c.Feedback = 0, nativeFeedback(c.Feedback, c.MsgType)
		b.Format, b.CCSID, b.Encoding = nativeFormat(b.Format), nativeUsual(b.CCSID, usualCCSID), nativeUsual(b.Encoding, usualEncoding)
	default:
		c.MsgType, c.Report, c.Feedback = 0, 0, 0
		b.Format, b.CCSID, b.Encoding = "", 0, 0
	}
	for _, n := range [...]struct {
		name    string
		v, left int64
	}{{hMsgType, int64(from.MsgType), int64(c.MsgType)}, {hReport, int64(from.Report), int64(c.Report)},
		{hFeedback, int64(from.Feedback), int64(c.Feedback)}, {hMQCCSID, int64(from.Body.CCSID), int64(b.CCSID)},
		{hMQEncoding, int64(from.Body.Encoding), int64(b.Encoding)}} {
		if n.v != n.left {
			f.ownInt(n.name, n.v)
		}
	}
	if given := f.m.Body.Format; given != "" && (given != b.Format || b.Format == f.h.TextFormat && saidText(from.Props[f.native:])) {
		f.own(hMQFormat, escape(given, ""))
	}
}

// saidText reports whether the own headers say that the body's format may have been set to tell that it is text.
func saidText(own []adapters.Prop) bool {
	for i := range own {
		if unspell(own[i].Name) == hBody {
			return true
		}
	}
	return false
}

// mq restores what a protocol other than MQ could not hold. A content type that names a character set is newer than the
// CCSID.
func (r *restorer) mq() {
	c, b := r.c, &r.c.Body
	restoreMQ(r, hMsgType, &c.MsgType, func(t uint32) uint32 { return nativeMsgType(t, r.m.ReplyTo != (adapters.Addr{})) })
	restoreMQ(r, hReport, &c.Report, func(uint32) uint32 { return 0 })
	restoreMQ(r, hFeedback, &c.Feedback, func(n int32) int32 { return nativeFeedback(n, r.m.MsgType) })
	restoreMQ(r, hMQEncoding, &b.Encoding, func(n int32) int32 { return nativeUsual(n, usualEncoding) })
	if !strings.Contains(strings.ToLower(c.ContentType), "charset=") {
		restoreMQ(r, hMQCCSID, &b.CCSID, func(n int32) int32 { return nativeUsual(n, usualCCSID) })
	}
	v, ok := r.get(hMQFormat)
	if !ok {
		return
	}
	format, readable := unescape(v)
	switch {
	case !readable:
		r.note("mq-format", Malformed)
	case r.has(adapters.FieldMsgType) && r.h.TextFormat != "" && !r.textFormat && nativeFormat(format) != b.Format:
		r.note("mq-format", Stale)
	default:
		b.Format = format
	}
}

// restoreMQ takes a number over where there is no native field, or where it is what the field would hold for it.
func restoreMQ[T ~int32 | ~uint32](r *restorer, name string, p *T, native func(T) T) {
	i, ok := r.number(name, 64)
	switch {
	case !ok:
	case int64(T(i)) != i:
		r.note(field(name), Malformed)
	case r.has(adapters.FieldMsgType) && r.h.TextFormat != "" && *p != native(T(i)):
		r.note(field(name), Stale)
	default:
		*p = T(i)
	}
}
