package adapters

import (
	"encoding/binary"
	"fmt"
	"math"
)

// decoder reads one message. After the first error every read gives zero and moves no further, so callers check err
// only where they loop.
type decoder struct {
	b     []byte
	meta  string // b up to the first large field, copied once; every string is a part of it
	pos   int    // next byte
	end   int    // end of what the present field may read
	start int    // of the present field's key
	field field
	num   uint64 // content of a field of form number
	left  int    // elements that may still be announced: each takes a byte, so more than len(b) is a lie
	err   error  // the first
}

// UnmarshalBinary sets m to the message that b holds, and b to nothing else. On an error m stays as it was, and the
// error holds ErrCodecVersion or ErrCodecDamaged and the place in b. Left is 0.
//
// The caller gives b away: Body.Data, Key and Native.Blob are parts of it (unlike what encoding.BinaryUnmarshaler asks
// for, as a copy of every body would cost more than all the rest). All strings of the message share one allocation, so
// whoever keeps one much longer than the message clones it.
//
// b may come from anywhere: it takes at most some 100 bytes of memory for each byte of b, which is what an array of
// nulls costs, and 64 levels of lists in lists.
func (m *Message) UnmarshalBinary(b []byte) error {
	d := decoder{b: b, end: len(b), left: len(b)}
	d.version()
	d.copyMeta()
	var got Message
	for d.next() {
		d.read(&got)
		if d.pos != d.end {
			d.fail(ErrCodecDamaged, "%d bytes too many in the field", d.end-d.pos)
		}
	}
	if d.err != nil {
		return d.err
	}
	*m = got
	return nil
}

// fail keeps the first error.
func (d *decoder) fail(kind error, format string, args ...any) {
	if d.err != nil {
		return
	}
	at := ""
	if d.field != 0 {
		at = ", " + d.field.String()
	}
	d.err = fmt.Errorf("decode message: byte %d%s: %s: %w", d.pos, at, fmt.Sprintf(format, args...), kind)
}

func (d *decoder) version() {
	switch {
	case len(d.b) == 0:
		d.fail(ErrCodecDamaged, "no bytes at all")
	case d.b[0] > codecVersion:
		d.fail(ErrCodecVersion, "format version %d, this reader knows %d", d.b[0], codecVersion)
	case d.b[0] == 0:
		d.fail(ErrCodecDamaged, "format version 0")
	default:
		d.pos = 1
	}
}

// copyMeta looks ahead to the first large field. It sees the same fields as the reader after it, and an error where the
// reader will see it.
func (d *decoder) copyMeta() {
	ahead := *d
	for ahead.next() && ahead.field < fieldKey {
		ahead.pos = ahead.end
	}
	d.meta = string(d.b[:ahead.start])
}

// next moves to the next field's content: num, or the bytes from pos to end. It gives false at the end mark.
func (d *decoder) next() bool {
	if d.err != nil {
		return false
	}
	d.start, d.end = d.pos, len(d.b)
	last := d.field
	d.field = 0
	if d.pos == len(d.b) {
		d.fail(ErrCodecDamaged, "cut off before the end mark")
		return false
	}
	key := d.b[d.pos]
	if key == codecEnd {
		if d.pos+1 < len(d.b) {
			d.fail(ErrCodecDamaged, "%d bytes behind the end mark", len(d.b)-d.pos-1)
		}
		return false
	}
	d.field = field(key >> 1)
	d.checkKey(key, last)
	d.pos++
	d.frame(key & 1)
	return d.err == nil
}

func (d *decoder) checkKey(key byte, last field) {
	switch known := fields[d.field]; {
	case d.field == 0:
		d.fail(ErrCodecDamaged, "field number 0")
	case known.name == "":
		d.fail(ErrCodecVersion, "not known here")
	case known.form != key&1:
		d.fail(ErrCodecDamaged, "form %d, not %d", key&1, known.form)
	case d.field <= last:
		d.fail(ErrCodecDamaged, "not in ascending order, comes after %s", last)
	}
}

func (d *decoder) frame(form byte) {
	at := d.pos
	n := d.uvarint()
	left := d.end - d.pos
	switch {
	case d.err != nil:
	case n == 0 && d.field != fieldKey:
		d.pos = at
		d.fail(ErrCodecDamaged, "empty, which is not written")
	case form == formNumber:
		d.num, d.end = n, d.pos
	case n > uint64(left):
		d.pos = at
		d.fail(ErrCodecDamaged, "%d bytes announced, %d left", n, left)
	default:
		d.end = d.pos + int(n)
	}
}

// read takes one field. next has seen to it that the field is known.
func (d *decoder) read(m *Message) {
	switch {
	case d.field <= fieldReplyTo:
		d.identity(m)
	case d.field <= fieldDeliveries:
		d.purpose(m)
	case d.field <= fieldFeedback:
		d.origin(m)
	default:
		d.content(m)
	}
}

func (d *decoder) identity(m *Message) {
	switch d.field {
	case fieldTrackID:
		m.Track.ID = d.rest()
	case fieldTrackOrigin:
		m.Track.Origin = d.rest()
	case fieldTrackPath:
		m.Track.Path = d.path()
	case fieldTrackMaybeDup:
		m.Track.MaybeDup = d.flag()
	case fieldID:
		m.ID = d.id()
	case fieldCorr:
		m.Corr = d.id()
	case fieldTo:
		m.To = d.addr()
	case fieldReplyTo:
		m.ReplyTo = d.addr()
	}
}

func (d *decoder) purpose(m *Message) {
	switch d.field {
	case fieldType:
		m.Type = d.rest()
	case fieldContentType:
		m.ContentType = d.rest()
	case fieldContentEncoding:
		m.ContentEncoding = d.rest()
	case fieldCreated:
		m.Created = unzigzag(d.num)
	case fieldReceived:
		m.Received = unzigzag(d.num)
	case fieldExpires:
		m.Expires = unzigzag(d.num)
	case fieldDeliverAt:
		m.DeliverAt = unzigzag(d.num)
	case fieldPriority:
		n := d.atMost(1<<9 - 1)
		m.Priority = Priority{Set: n&1 != 0, Value: uint8(n >> 1)}
	case fieldDurable:
		m.Durable = Tri(d.enum(uint8(Yes)))
	case fieldDeliveries:
		m.Deliveries = uint32(d.atMost(math.MaxUint32))
	}
}

func (d *decoder) origin(m *Message) {
	switch d.field {
	case fieldGroupID:
		m.Group.ID = d.id()
	case fieldGroupSeq:
		m.Group.Seq = uint32(d.atMost(math.MaxUint32))
	case fieldGroupHasSeq:
		m.Group.HasSeq = d.flag()
	case fieldGroupLast:
		m.Group.Last = d.flag()
	case fieldReplyGroup:
		m.ReplyGroup = d.rest()
	case fieldAppID:
		m.AppID = d.rest()
	case fieldUserID:
		m.UserID = d.copied()
	case fieldMsgType:
		m.MsgType = uint32(d.atMost(math.MaxUint32))
	case fieldReport:
		m.Report = uint32(d.atMost(math.MaxUint32))
	case fieldFeedback:
		m.Feedback = d.int32()
	}
}

func (d *decoder) content(m *Message) {
	switch d.field {
	case fieldProps:
		m.Props = d.props()
	case fieldCE:
		m.CE = d.props()
	case fieldAnnotMA:
		m.Annot.MA = d.props()
	case fieldAnnotFooter:
		m.Annot.Footer = d.props()
	case fieldBodyForm:
		m.Body.Form = BodyForm(d.enum(uint8(BodyObject)))
	case fieldBodyCuts:
		m.Body.Cuts = d.cuts()
	case fieldBodyNull:
		m.Body.Null = d.flag()
	case fieldBodyFormat:
		m.Body.Format = d.rest()
	case fieldBodyCCSID:
		m.Body.CCSID = d.int32()
	case fieldBodyEncoding:
		m.Body.Encoding = d.int32()
	case fieldNativeProto:
		m.Native.Proto = d.rest()
	case fieldEdits:
		m.Edits = d.props()
	case fieldTrackPlace:
		m.Track.Place = d.rest()
	case fieldKey:
		m.Key = d.raw()
	case fieldNativeBlob:
		m.Native.Blob = d.raw()
	case fieldBodyData:
		m.Body.Data = d.raw()
	}
}

// The content of fields of form number.

func (d *decoder) atMost(limit uint64) uint64 {
	if d.num > limit {
		d.fail(ErrCodecDamaged, "%d is more than %d", d.num, limit)
	}
	return d.num
}

func (d *decoder) flag() bool { return d.atMost(1) == 1 }

func (d *decoder) int32() int32 {
	n := unzigzag(d.num)
	if n != int64(int32(n)) {
		d.fail(ErrCodecDamaged, "%d does not fit 32 bits", n)
	}
	return int32(n)
}

// enum refuses as newer, not as damaged: a later version may have more forms.
func (d *decoder) enum(last uint8) uint8 {
	if d.num > uint64(last) {
		d.fail(ErrCodecVersion, "value %d is not known here", d.num)
	}
	return uint8(d.num)
}

// The content of fields of form bytes. None of them reads beyond d.end.

// raw is all the rest of the field, as a part of b that nobody can append into the next field.
func (d *decoder) raw() []byte {
	at := d.pos
	d.pos = d.end
	return d.b[at:d.end:d.end]
}

// copied is raw for what the message owns; nil if there is nothing.
func (d *decoder) copied() []byte { return append([]byte(nil), d.raw()...) }

func (d *decoder) rest() string { return d.take(d.end - d.pos) }

func (d *decoder) take(n int) string {
	if n > d.end-d.pos {
		d.fail(ErrCodecDamaged, "%d bytes announced, %d left", n, d.end-d.pos)
	}
	if d.err != nil {
		return ""
	}
	d.pos += n
	return d.meta[d.pos-n : d.pos]
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > math.MaxInt32 { // no field is that long, and int may have 32 bits
		d.fail(ErrCodecDamaged, "%d bytes announced, %d left", n, d.end-d.pos)
		return ""
	}
	return d.take(int(n))
}

func (d *decoder) byte() byte {
	if d.pos == d.end {
		d.fail(ErrCodecDamaged, "cut off")
	}
	if d.err != nil {
		return 0
	}
	d.pos++
	return d.b[d.pos-1]
}

// uvarint refuses numbers that are longer than they need to be: there is one form for each.
func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	if d.pos < d.end && d.b[d.pos] < 0x80 { // nearly all are
		d.pos++
		return uint64(d.b[d.pos-1])
	}
	n, size := binary.Uvarint(d.b[d.pos:d.end])
	switch {
	case size == 0:
		d.fail(ErrCodecDamaged, "number cut off")
	case size < 0:
		d.fail(ErrCodecDamaged, "number of more than 64 bits")
	case size > 1 && d.b[d.pos+size-1] == 0:
		d.fail(ErrCodecDamaged, "number in more bytes than it needs")
	default:
		d.pos += size
		return n
	}
	return 0
}

// count reads the number of elements, of which each takes at least least bytes. All counts of a message draw on one
// sum, or 64 lists inside each other could each claim the whole length.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if n > uint64(min(d.end-d.pos, d.left)/least) {
		d.fail(ErrCodecDamaged, "%d elements announced, %d bytes left", n, d.end-d.pos)
		return 0
	}
	d.left -= int(n) * least
	return int(n)
}

// nonEmpty is the count of a field that is written only when there is something in it.
func (d *decoder) nonEmpty(least int) int {
	n := d.count(least)
	if n == 0 {
		d.fail(ErrCodecDamaged, "empty, which is not written")
	}
	return n
}

func (d *decoder) path() []string {
	path := make([]string, d.nonEmpty(1))
	for i := 0; i < len(path) && d.err == nil; i++ {
		path[i] = d.text()
	}
	return path
}

func (d *decoder) cuts() []int {
	cuts := make([]int, d.nonEmpty(1))
	for i := 0; i < len(cuts) && d.err == nil; i++ {
		n := d.uvarint()
		if n > math.MaxInt {
			d.fail(ErrCodecDamaged, "a section of %d bytes", n)
		}
		cuts[i] = int(n)
	}
	return cuts
}

func (d *decoder) id() ID {
	id := ID{Form: IDForm(d.byte())}
	switch id.Form {
	case IDNone:
		d.fail(ErrCodecDamaged, "empty, which is not written")
	case IDString:
		id.S = d.rest()
	case IDBytes:
		id.B = d.copied()
	case IDUUID:
		if d.end-d.pos != 16 {
			d.fail(ErrCodecDamaged, "a uuid of %d bytes, not 16", d.end-d.pos)
		}
		id.B = d.copied()
	case IDULong:
		id.U = d.uvarint()
	default:
		d.fail(ErrCodecVersion, "id form %d is not known here", id.Form)
	}
	return id
}

func (d *decoder) addr() Addr {
	a := Addr{Form: AddrForm(d.byte()), Name: d.text(), Scope: d.rest()}
	if a.Form > AddrTempTopic {
		d.fail(ErrCodecVersion, "address form %d is not known here", a.Form)
	}
	if a == (Addr{}) {
		d.fail(ErrCodecDamaged, "empty, which is not written")
	}
	return a
}
