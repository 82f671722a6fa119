package ibmmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Headers in front of a body that programs and queue managers of any platform write: read and written here in both byte orders,
// for the binding knows only that of its own machine.

// Formats of those headers, and of what MQMDE stands before.
const (
	FormatDeadLetter = "MQDEAD"
	FormatExtension  = "MQHMDE"
)

const (
	dlhID, dlhLength = "DLH ", 172
	mdeID, mdeLength = "MDE ", 72
)

// A DLH is the dead-letter header: what stands in front of every message of a dead-letter queue (IBM MQ, "MQDLH").
type DLH struct {
	Reason          int32  // MQRC or MQFB, or from 65536 on of an application
	Queue, Manager  string // where the message should have gone
	Encoding, CCSID int32  // of the body behind it
	Format          string // of the body behind it
	ApplType        int32
	ApplName        string
	Put             time.Time // to the hundredth of a second
}

var errDLH = errors.New("not an MQDLH header")

// ParseDLH reads the header at the front of b, whose integers are as encoding says, and returns the body behind it. Its error
// says that this is no such header.
func ParseDLH(b []byte, encoding int32) (DLH, []byte, error) {
	order := byteOrder(encoding)
	if len(b) < dlhLength || string(b[:4]) != dlhID || order.Uint32(b[4:]) != 1 {
		return DLH{}, nil, errDLH
	}
	num := func(at int) int32 { return int32(order.Uint32(b[at:])) }
	d := DLH{
		Reason: num(8), Queue: trimmed(b[12:60]), Manager: trimmed(b[60:108]), Encoding: num(108), CCSID: num(112),
		Format: trimmed(b[116:124]), ApplType: num(124), ApplName: trimmed(b[128:156]),
	}
	if ms := putTime(string(b[156:164]), string(b[164:172])); ms != 0 {
		d.Put = time.UnixMilli(ms).UTC()
	}
	return d, b[dlhLength:], nil
}

func trimmed(b []byte) string { return strings.TrimRight(string(b), " \x00") }

// Append writes the header as encoding says. Texts are padded with blanks, and cut at the length of their fields.
func (d DLH) Append(b []byte, encoding int32) []byte {
	order := byteOrder(encoding).(binary.AppendByteOrder)
	b = order.AppendUint32(append(b, dlhID...), 1)
	b = order.AppendUint32(b, uint32(d.Reason))
	b = fmt.Appendf(b, "%-48.48s%-48.48s", d.Queue, d.Manager)
	b = order.AppendUint32(order.AppendUint32(b, uint32(d.Encoding)), uint32(d.CCSID))
	b = fmt.Appendf(b, "%-8.8s", d.Format)
	b = order.AppendUint32(b, uint32(d.ApplType))
	date, clock := stamp(d.Put)
	return fmt.Appendf(b, "%-28.28s%8s%8s", d.ApplName, date, clock)
}

// stamp is t as PutDate and PutTime hold it.
func stamp(t time.Time) (date, clock string) {
	t = t.UTC()
	return t.Format("20060102"), fmt.Sprintf("%s%02d", t.Format("150405"), t.Nanosecond()/10_000_000)
}

// applTypeUnix is MQAT_UNIX.
const applTypeUnix = 6

// withDLH puts d in front of the body of w; what the descriptor says of the body moves into it.
func withDLH(w Wire, d DLH, ccsid int32) Wire {
	d.Encoding, d.CCSID, d.Format, d.ApplType = w.MD.Encoding, w.MD.CCSID, w.MD.Format, applTypeUnix
	w.Body = append(d.Append(make([]byte, 0, dlhLength+len(w.Body)), x86Encoding), w.Body...)
	w.MD.Format, w.MD.Encoding = FormatDeadLetter, x86Encoding
	if ccsid > 0 {
		w.MD.CCSID = ccsid
	}
	return w
}

// unwrapDLH takes a dead-letter header off, and makes properties of what it says. What is none stays as it is.
func unwrapDLH(w Wire) Wire {
	if trimmed([]byte(w.MD.Format)) != FormatDeadLetter {
		return w
	}
	d, body, err := ParseDLH(w.Body, w.MD.Encoding)
	if err != nil {
		return w
	}
	w.Body, w.MD.Format, w.MD.CCSID = body, d.Format, d.CCSID
	if d.Encoding != 0 {
		w.MD.Encoding = d.Encoding
	}
	said := []adapters.Prop{
		{Name: "dead_letter_reason", V: adapters.Int(adapters.TI32, int64(d.Reason))}, {Name: "dead_letter_reason_name", V: adapters.String(reasonName(d.Reason))},
		{Name: "dead_letter_queue", V: adapters.String(d.Queue)}, {Name: "dead_letter_queue_manager", V: adapters.String(d.Manager)},
		{Name: "dead_letter_application", V: adapters.String(d.ApplName)},
	}
	if !d.Put.IsZero() {
		said = append(said, adapters.Prop{Name: "dead_letter_time", V: adapters.String(d.Put.Format(time.RFC3339Nano))})
	}
	w.Props = append(w.Props[:len(w.Props):len(w.Props)], said...)
	return w
}

// reasonName is what a reason is called; its number where this adapter has no name for it.
func reasonName(code int32) string {
	switch {
	case code == feedbackExpired:
		return "MQFB_EXPIRATION"
	case code > feedbackFirst && int(code-feedbackFirst) <= len(deadReasons):
		return "posthouse " + deadReasons[code-feedbackFirst-1]
	}
	if r, _ := reasonOf(code); r.name != "" {
		return "MQRC_" + r.name
	}
	return fmt.Sprint(code)
}

const (
	feedbackExpired = 258   // MQFB_EXPIRATION
	feedbackFirst   = 65536 // MQFB_APPL_FIRST: from here on reasons belong to applications
)

// deadReasons are Posthouse's reasons for a dead letter; each has the number feedbackFirst + 1 + its place here, for good.
var deadReasons = [...]string{"rejected", "too-large", "invalid", "filter-error", "late-reply", "target-gone", "target-not-allowed", "loop", "expired", "unroutable"}

func reasonNumber(word string) int32 {
	if word == "expired" {
		return feedbackExpired
	}
	for i, w := range deadReasons {
		if w == word {
			return feedbackFirst + 1 + int32(i)
		}
	}
	return feedbackFirst
}

// deadLetter puts the header of dead letters in front of what bridge has marked as one: programs that read a dead-letter queue
// expect it.
func (t *target) deadLetter(w Wire, m *adapters.Message) Wire {
	why, ok := m.Prop("posthouse_dead_reason")
	if !ok {
		return w
	}
	from, _ := m.Prop("posthouse_dead_source")
	_, queue, _ := strings.Cut(from.Str(), "/")
	d := DLH{Reason: reasonNumber(why.Str()), Queue: queue, Manager: t.facts.name, ApplName: "posthouse", Put: t.cfg.Now()}
	return withDLH(w, d, t.facts.ccsid)
}

// unwrapMDE takes off the header in which a queue manager hands fields of version 2 to a program that knows version 1 only,
// and which such a program may have left in front of the body.
func unwrapMDE(w Wire) Wire {
	if trimmed([]byte(w.MD.Format)) != FormatExtension {
		return w
	}
	b, order := w.Body, byteOrder(w.MD.Encoding)
	if len(b) < mdeLength || !bytes.HasPrefix(b, []byte(mdeID)) || order.Uint32(b[4:]) != 2 || order.Uint32(b[8:]) != mdeLength {
		return w
	}
	d := &w.MD
	d.Encoding, d.CCSID, d.Format = int32(order.Uint32(b[12:])), int32(order.Uint32(b[16:])), trimmed(b[20:28])
	copy(d.GroupID[:], b[32:56])
	d.MsgSeqNumber, d.MsgFlags = int32(order.Uint32(b[56:])), int32(order.Uint32(b[64:]))
	w.Body = b[mdeLength:]
	return w
}
