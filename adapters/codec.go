package adapters

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The binary form of a Message, version 1: what the journal keeps and what adapters in other processes speak. The bytes
// are drawn in docs/message-format.md.
//
//	message  = version byte 1, fields in ascending order of their number, end mark 0x00
//	field    = key byte (number<<1 | form), then
//	           form 0: a varint that is not 0
//	           form 1: a varint length and that many bytes
//	varint   = base 128, least group first, in the fewest bytes; signed numbers are zigzag
//	string   = varint length, bytes (inside a field; a field that is one string is just its bytes)
//	id       = byte IDForm, then all the rest: string, bytes, 16 bytes, or a varint
//	addr     = byte AddrForm, string name, then all the rest: scope
//	props    = varint count, then for each: byte Type (+0x80: the name is a ulong in decimal), string name, payload
//
// A field is written only when it is not zero, so a message has exactly one form, and the reader refuses every other.
//
// A reader that meets a field, a form or a type that it does not know refuses the message with ErrCodecVersion. To skip
// the unknown would lose a part of a message without a word, and the journal is read by whatever version starts next,
// an older one too. As a field that is not used is not written, an older reader still takes every message that does
// not need the newer one; the version byte changes only when the frame itself does.
//
// The three fields that may be large come last, so that all strings before them are made by one allocation. New fields
// take numbers from 42 on; a number is never used again.
const (
	codecVersion = 1
	codecEnd     = 0
	formNumber   = 0
	formBytes    = 1
	keyNumBit    = 0x80

	// codecDepth bounds lists in lists, for the reader's stack; brokers know no such limit, but no client nests so deep.
	codecDepth = 64
)

// field is the number of a field; Message.Left and Message.Dest are for sending only and have none.
type field uint8

const (
	fieldTrackID field = 1 + iota
	fieldTrackOrigin
	fieldTrackPath
	fieldTrackMaybeDup
	fieldID
	fieldCorr
	fieldTo
	fieldReplyTo
	fieldType
	fieldContentType
	fieldContentEncoding
	fieldCreated
	fieldReceived
	fieldExpires
	fieldDeliverAt
	fieldPriority
	fieldDurable
	fieldDeliveries
	fieldGroupID
	fieldGroupSeq
	fieldGroupHasSeq
	fieldGroupLast
	fieldReplyGroup
	fieldAppID
	fieldUserID
	fieldMsgType
	fieldReport
	fieldFeedback
	fieldProps
	fieldCE
	fieldAnnotMA
	fieldAnnotFooter
	fieldBodyForm
	fieldBodyCuts
	fieldBodyNull
	fieldBodyFormat
	fieldBodyCCSID
	fieldBodyEncoding
	fieldNativeProto
	fieldEdits
	fieldTrackPlace

	fieldKey        field = 120
	fieldNativeBlob field = 121
	fieldBodyData   field = 122
)

// fields says what each number stands for; one without a name is unknown.
var fields = [128]struct {
	name string
	form byte
}{
	fieldTrackID:         {"track.id", formBytes},
	fieldTrackOrigin:     {"track.origin", formBytes},
	fieldTrackPath:       {"track.path", formBytes},
	fieldTrackMaybeDup:   {"track.maybe-dup", formNumber},
	fieldID:              {"id", formBytes},
	fieldCorr:            {"corr", formBytes},
	fieldTo:              {"to", formBytes},
	fieldReplyTo:         {"reply-to", formBytes},
	fieldType:            {"type", formBytes},
	fieldContentType:     {"content-type", formBytes},
	fieldContentEncoding: {"content-encoding", formBytes},
	fieldCreated:         {"created", formNumber},
	fieldReceived:        {"received", formNumber},
	fieldExpires:         {"expires", formNumber},
	fieldDeliverAt:       {"deliver-at", formNumber},
	fieldPriority:        {"priority", formNumber},
	fieldDurable:         {"durable", formNumber},
	fieldDeliveries:      {"deliveries", formNumber},
	fieldGroupID:         {"group.id", formBytes},
	fieldGroupSeq:        {"group.seq", formNumber},
	fieldGroupHasSeq:     {"group.has-seq", formNumber},
	fieldGroupLast:       {"group.last", formNumber},
	fieldReplyGroup:      {"reply-group", formBytes},
	fieldAppID:           {"app-id", formBytes},
	fieldUserID:          {"user-id", formBytes},
	fieldMsgType:         {"msg-type", formNumber},
	fieldReport:          {"report", formNumber},
	fieldFeedback:        {"feedback", formNumber},
	fieldProps:           {"props", formBytes},
	fieldCE:              {"ce", formBytes},
	fieldAnnotMA:         {"annot.ma", formBytes},
	fieldAnnotFooter:     {"annot.footer", formBytes},
	fieldBodyForm:        {"body.form", formNumber},
	fieldBodyCuts:        {"body.cuts", formBytes},
	fieldBodyNull:        {"body.null", formNumber},
	fieldBodyFormat:      {"body.format", formBytes},
	fieldBodyCCSID:       {"body.ccsid", formNumber},
	fieldBodyEncoding:    {"body.encoding", formNumber},
	fieldNativeProto:     {"native.proto", formBytes},
	fieldEdits:           {"edits", formBytes},
	fieldTrackPlace:      {"track.place", formBytes},
	fieldKey:             {"key", formBytes},
	fieldNativeBlob:      {"native.blob", formBytes},
	fieldBodyData:        {"body.data", formBytes},
}

func (f field) String() string {
	if int(f) < len(fields) && fields[f].name != "" {
		return fields[f].name
	}
	return fmt.Sprintf("field %d", uint8(f))
}

// What UnmarshalBinary finds wrong; its errors hold one of them.
var (
	// ErrCodecVersion: nothing is broken, but the message has something that only a newer version understands.
	ErrCodecVersion = errors.New("written by a newer version, which is needed to read it")
	// ErrCodecDamaged: no version writes such bytes.
	ErrCodecDamaged = errors.New("message is damaged")
)

var (
	_ encoding.BinaryAppender    = (*Message)(nil)
	_ encoding.BinaryUnmarshaler = (*Message)(nil)
)

type encoder struct {
	b   []byte
	err error // the first
}

// AppendBinary appends the binary form of m, without m.Left, to b and returns the longer slice; it allocates nothing
// else. Empty lists and slices come back as nil, except Key.
//
// It fails, with an *Error of Kind Permanent and b as it was, only on what no adapter should make: a form, a number or
// a uuid outside its type, or values nested more than 64 deep.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	e := encoder{b: append(slices.Grow(b, m.binarySize()), codecVersion)}
	e.identity(m)
	e.purpose(m)
	e.origin(m)
	e.content(m)
	if e.err != nil {
		return b, &Error{Op: "encode message", Kind: Permanent, Err: e.err}
	}
	return append(e.b, codecEnd), nil
}

// binarySize is an estimate, so that b grows once: exact for what is large, generous for what is always small.
func (m *Message) binarySize() int {
	const fixed = 384
	n := fixed + len(m.Body.Data) + len(m.Key) + len(m.Native.Blob) + len(m.UserID) + len(m.ID.S) + len(m.Corr.S)
	for _, ps := range [][]Prop{m.Props, m.Edits, m.CE, m.Annot.MA, m.Annot.Footer} {
		for i := range ps {
			n += 16 + len(ps[i].Name) + len(ps[i].V.s)
		}
	}
	return n
}

func (e *encoder) identity(m *Message) {
	e.text(fieldTrackID, m.Track.ID)
	e.text(fieldTrackOrigin, m.Track.Origin)
	e.path(m.Track.Path)
	e.flag(fieldTrackMaybeDup, m.Track.MaybeDup)
	e.id(fieldID, m.ID)
	e.id(fieldCorr, m.Corr)
	e.addr(fieldTo, m.To)
	e.addr(fieldReplyTo, m.ReplyTo)
}

func (e *encoder) purpose(m *Message) {
	e.text(fieldType, m.Type)
	e.text(fieldContentType, m.ContentType)
	e.text(fieldContentEncoding, m.ContentEncoding)
	e.signed(fieldCreated, m.Created)
	e.signed(fieldReceived, m.Received)
	e.signed(fieldExpires, m.Expires)
	e.signed(fieldDeliverAt, m.DeliverAt)
	e.number(fieldPriority, packPriority(m.Priority))
	e.enum(fieldDurable, uint8(m.Durable), uint8(Yes))
	e.number(fieldDeliveries, uint64(m.Deliveries))
}

func (e *encoder) origin(m *Message) {
	e.id(fieldGroupID, m.Group.ID)
	e.number(fieldGroupSeq, uint64(m.Group.Seq))
	e.flag(fieldGroupHasSeq, m.Group.HasSeq)
	e.flag(fieldGroupLast, m.Group.Last)
	e.text(fieldReplyGroup, m.ReplyGroup)
	e.text(fieldAppID, m.AppID)
	e.bytes(fieldUserID, m.UserID)
	e.number(fieldMsgType, uint64(m.MsgType))
	e.number(fieldReport, uint64(m.Report))
	e.signed(fieldFeedback, int64(m.Feedback))
}

func (e *encoder) content(m *Message) {
	e.props(fieldProps, m.Props)
	e.props(fieldCE, m.CE)
	e.props(fieldAnnotMA, m.Annot.MA)
	e.props(fieldAnnotFooter, m.Annot.Footer)
	e.enum(fieldBodyForm, uint8(m.Body.Form), uint8(BodyObject))
	e.cuts(m.Body.Cuts)
	e.flag(fieldBodyNull, m.Body.Null)
	e.text(fieldBodyFormat, m.Body.Format)
	e.signed(fieldBodyCCSID, int64(m.Body.CCSID))
	e.signed(fieldBodyEncoding, int64(m.Body.Encoding))
	e.text(fieldNativeProto, m.Native.Proto)
	e.props(fieldEdits, m.Edits)
	e.text(fieldTrackPlace, m.Track.Place)
	if m.Key != nil {
		e.start(fieldKey, len(m.Key))
		e.b = append(e.b, m.Key...)
	}
	e.bytes(fieldNativeBlob, m.Native.Blob)
	e.bytes(fieldBodyData, m.Body.Data)
}

// packPriority is one number for both: a value may be there that is not Set.
func packPriority(p Priority) uint64 {
	n := uint64(p.Value) << 1
	if p.Set {
		n |= 1
	}
	return n
}

func (e *encoder) fail(f field, format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("%s: %w", f, fmt.Errorf(format, args...))
	}
}

// start begins a field of form bytes whose length is known.
func (e *encoder) start(f field, n int) {
	e.b = append(e.b, byte(f)<<1|formBytes)
	e.b = binary.AppendUvarint(e.b, uint64(n))
}

// open begins a field whose length is not known yet and returns where its content begins; close writes the length.
func (e *encoder) open(f field) int {
	e.start(f, 0)
	return len(e.b)
}

// close makes room where the length needs more than the one byte that open left for it.
func (e *encoder) close(from int) {
	var size [binary.MaxVarintLen64]byte
	n := len(e.b) - from
	more := binary.PutUvarint(size[:], uint64(n)) - 1
	if more > 0 {
		e.b = append(e.b, size[:more]...)
		copy(e.b[from+more:], e.b[from:from+n])
	}
	copy(e.b[from-1:], size[:more+1])
}

func (e *encoder) number(f field, n uint64) {
	if n != 0 {
		e.b = binary.AppendUvarint(append(e.b, byte(f)<<1|formNumber), n)
	}
}

func (e *encoder) signed(f field, n int64) { e.number(f, zigzag(n)) }

func (e *encoder) flag(f field, set bool) {
	if set {
		e.number(f, 1)
	}
}

func (e *encoder) enum(f field, n, last uint8) {
	if n > last {
		e.fail(f, "%d is none of the values up to %d", n, last)
	}
	e.number(f, uint64(n))
}

func (e *encoder) text(f field, s string) {
	if s != "" {
		e.start(f, len(s))
		e.b = append(e.b, s...)
	}
}

func (e *encoder) bytes(f field, b []byte) {
	if len(b) > 0 {
		e.start(f, len(b))
		e.b = append(e.b, b...)
	}
}

// id writes what the form names and nothing else.
func (e *encoder) id(f field, id ID) {
	if id.Form == IDNone {
		return
	}
	from := e.open(f)
	e.b = append(e.b, byte(id.Form))
	switch id.Form {
	case IDString:
		e.b = append(e.b, id.S...)
	case IDUUID, IDBytes:
		if id.Form == IDUUID && len(id.B) != 16 {
			e.fail(f, "a uuid of %d bytes, not 16", len(id.B))
		}
		e.b = append(e.b, id.B...)
	case IDULong:
		e.b = binary.AppendUvarint(e.b, id.U)
	default:
		e.fail(f, "id form %d is unknown", id.Form)
	}
	e.close(from)
}

func (e *encoder) addr(f field, a Addr) {
	if a == (Addr{}) {
		return
	}
	if a.Form > AddrTempTopic {
		e.fail(f, "address form %d is unknown", a.Form)
	}
	from := e.open(f)
	e.b = appendText(append(e.b, byte(a.Form)), a.Name)
	e.b = append(e.b, a.Scope...)
	e.close(from)
}

func (e *encoder) path(path []string) {
	if len(path) == 0 {
		return
	}
	from := e.open(fieldTrackPath)
	e.b = binary.AppendUvarint(e.b, uint64(len(path)))
	for _, hop := range path {
		e.b = appendText(e.b, hop)
	}
	e.close(from)
}

func (e *encoder) cuts(cuts []int) {
	if len(cuts) == 0 {
		return
	}
	from := e.open(fieldBodyCuts)
	e.b = binary.AppendUvarint(e.b, uint64(len(cuts)))
	for _, n := range cuts {
		if n < 0 {
			e.fail(fieldBodyCuts, "a section of %d bytes", n)
		}
		e.b = binary.AppendUvarint(e.b, uint64(n))
	}
	e.close(from)
}

func (e *encoder) props(f field, ps []Prop) {
	if len(ps) == 0 {
		return
	}
	from := e.open(f)
	e.b = binary.AppendUvarint(e.b, uint64(len(ps)))
	for i := range ps {
		var err error
		if e.b, err = appendProp(e.b, &ps[i]); err != nil {
			e.fail(f, "property %.40q: %w", ps[i].Name, err)
		}
	}
	e.close(from)
}
