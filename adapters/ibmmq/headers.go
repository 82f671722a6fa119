package ibmmq

import (
	"fmt"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Protocol is Headers.Protocol of IBM MQ.
const Protocol = "ibmmq"

// Formats of a body (MQFMT), without the blanks that pad them to 8.
const (
	FormatNone   = ""
	FormatString = "MQSTR"
	FormatRFH2   = "MQHRF2"
)

// Values of descriptor fields.
const (
	MsgTypeRequest  = 1
	MsgTypeDatagram = 8

	unlimited       = -1 // MQEI_UNLIMITED
	queuePriority   = -1 // MQPRI_PRIORITY_AS_Q_DEF
	persistent      = 1  // MQPER_PERSISTENT
	inGroup         = 8  // MQMF_MSG_IN_GROUP
	lastInGroup     = 16 // MQMF_LAST_MSG_IN_GROUP
	nameLength      = 48
	utf8CCSID       = 1208
	x86Encoding     = 546 // MQENC_NATIVE on x86: integers and decimals reversed, IEEE floats reversed
	hundredthsStamp = "20060102150405"
)

// A Descriptor is the MQMD, version 2, as far as messages of others fill it. Strings come without the blanks that pad them.
type Descriptor struct {
	Report, MsgType, Expiry, Feedback int32
	Encoding, CCSID                   int32
	Format                            string
	Priority, Persistence             int32
	MsgID, CorrelID, GroupID          [24]byte
	BackoutCount                      int32
	ReplyToQ, ReplyToQMgr             string
	UserIdentifier, PutApplName       string
	PutDate, PutTime                  string // YYYYMMDD and HHMMSSTH, GMT
	MsgSeqNumber, MsgFlags            int32
}

// A Wire is a message as MQGET gives it out and MQPUT takes it.
type Wire struct {
	MD    Descriptor
	Props []adapters.Prop // message properties in order; FOLDER.NAME for folders other than usr
	Body  []byte
}

// Options are what the connection may do.
type Options struct {
	SetContext bool // put with MQOO_SET_ALL_CONTEXT: the creation time is ours to set
}

// Headers is what MQ holds natively of a message.
func Headers(o Options) adapters.Headers {
	h := adapters.Headers{
		Protocol: Protocol,
		Fields: adapters.FieldID | adapters.FieldCorr | adapters.FieldReplyTo | adapters.FieldType | adapters.FieldExpires |
			adapters.FieldPriority | adapters.FieldDurable | adapters.FieldMsgType,
		IDs: adapters.IDSet(adapters.IDBytes), MaxID: 24, FixedIDs: true,
		Types: adapters.Types(adapters.TNull, adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64,
			adapters.TF32, adapters.TF64, adapters.TString, adapters.TBytes),
		Names: adapters.NameIdentifier, MaxName: 4095, NullValues: true,
		Bodies: adapters.Bodies(adapters.BodyBytes), TextFormat: FormatString,
		ExpiryUnit: 100, MaxExpiry: 999_999_999, Relative: true, MaxPriority: 9,
		Underscore: true, Reserved: []string{"JMS", "mq_", "mq.", "jms.", "mcd.", "mqext.", "mqps."},
	}
	if o.SetContext {
		h.Fields |= adapters.FieldCreated
		h.CreatedUnit = 10
	}
	return h
}

// Decode reads w, which was got at received, in ms. It never fails: a body that says it begins with MQRFH2 and does not
// stays as it is. It takes the slices of w over.
func Decode(w Wire, received int64) *adapters.Message {
	w = unwrap(unwrapMDE(unwrapDLH(w)))
	d := &w.MD
	m := &adapters.Message{
		Received: received, ID: fixed(d.MsgID), Corr: fixed(d.CorrelID),
		ReplyTo: queue(d.ReplyToQ, d.ReplyToQMgr), Created: putTime(d.PutDate, d.PutTime),
		Deliveries: uint32(max(d.BackoutCount, 0)), AppID: d.PutApplName, UserID: []byte(d.UserIdentifier),
		Report: uint32(d.Report), Feedback: d.Feedback,
		Body: adapters.Body{Form: adapters.BodyBytes, Data: w.Body, Format: strings.TrimRight(d.Format, " \x00"),
			CCSID: unusual(d.CCSID, utf8CCSID), Encoding: unusual(d.Encoding, x86Encoding)},
	}
	if d.MsgType != MsgTypeDatagram {
		m.MsgType = uint32(d.MsgType)
	}
	if d.Expiry > 0 {
		m.Expires = received + int64(d.Expiry)*100
	}
	if d.Priority >= 0 && d.Priority <= 255 {
		m.Priority = adapters.Priority{Set: true, Value: uint8(d.Priority)}
	}
	switch d.Persistence {
	case 0:
		m.Durable = adapters.No
	case persistent:
		m.Durable = adapters.Yes
	}
	if d.MsgFlags&(inGroup|lastInGroup) != 0 {
		m.Group = adapters.Group{ID: fixed(d.GroupID), Seq: uint32(d.MsgSeqNumber), HasSeq: true, Last: d.MsgFlags&lastInGroup != 0}
	}
	properties(m, w.Props)
	return m
}

// fixed is an id of 24 bytes, never trimmed: 24 zeros say that there is none.
func fixed(b [24]byte) adapters.ID {
	if b == ([24]byte{}) {
		return adapters.ID{}
	}
	return adapters.ID{Form: adapters.IDBytes, B: b[:]}
}

func queue(name, manager string) adapters.Addr {
	name, manager = strings.TrimRight(name, " \x00"), strings.TrimRight(manager, " \x00")
	if name == "" {
		return adapters.Addr{}
	}
	return adapters.Addr{Name: name, Form: adapters.AddrQueue, Scope: manager}
}

// unusual is n, or 0 for the value that says nothing: bridge writes no header for that, and Encode puts it back.
func unusual(n, usual int32) int32 {
	if n == usual {
		return 0
	}
	return n
}

// putTime reads PutDate and PutTime, 0 where they are no time.
func putTime(date, clock string) int64 {
	if len(clock) != 8 {
		return 0
	}
	t, err := time.Parse(hundredthsStamp, date+clock[:6])
	if err != nil || clock[6] < '0' || clock[6] > '9' || clock[7] < '0' || clock[7] > '9' {
		return 0
	}
	return t.UnixMilli() + int64(clock[6]-'0')*100 + int64(clock[7]-'0')*10
}

// properties sorts the message properties into fields and user properties. What JMS says of its own message and MQ of its
// own delivery ends here; a correlation id as text is the bridge's to believe.
func properties(m *adapters.Message, ps []adapters.Prop) {
	for _, p := range ps {
		switch text := p.V.Str(); p.Name {
		case "JMSType", "mcd.Type":
			if m.Type == "" {
				m.Type = text
			}
		case "JMSCorrelationID", "jms.Cid":
			m.Props = append(m.Props, adapters.Prop{Name: "JMSCorrelationID", V: p.V})
		case "JMSReplyTo", "jms.Rto":
			if m.ReplyTo.Name == "" {
				m.ReplyTo = jmsDestination(text)
			}
		case "JMSXGroupID", "jms.Gid":
			if m.Group.ID.IsZero() {
				m.Group.ID = adapters.StringID(text)
			}
		case "JMSXGroupSeq", "jms.Seq":
			if !m.Group.HasSeq {
				m.Group.Seq, m.Group.HasSeq = uint32(p.V.Int()), p.V.Type() == adapters.TI32 || p.V.Type() == adapters.TI64
			}
		default:
			p.Name = strings.TrimPrefix(p.Name, "usr.")
			m.Props = append(m.Props, p)
		}
	}
}

// jmsDestination reads queue://MANAGER/NAME?... and topic://NAME?..., which is how JMS writes destinations.
func jmsDestination(s string) adapters.Addr {
	s, _, _ = strings.Cut(s, "?")
	if name, ok := strings.CutPrefix(s, "topic://"); ok {
		return adapters.Addr{Name: name, Form: adapters.AddrTopic}
	}
	rest, ok := strings.CutPrefix(s, "queue://")
	manager, name, found := strings.Cut(rest, "/")
	if !ok || !found || name == "" {
		return adapters.Addr{}
	}
	return adapters.Addr{Name: name, Form: adapters.AddrQueue, Scope: manager}
}

// Encode makes of m, fitted to Headers, what MQPUT takes. Its error says that m cannot be put: MQ would cut the name of a
// reply queue, and replies would go elsewhere.
func Encode(m *adapters.Message, o Options) (Wire, error) {
	w := Wire{Body: m.Body.Data}
	d := &w.MD
	if err := replyTo(d, m.ReplyTo); err != nil {
		return Wire{}, err
	}
	d.MsgType, d.Feedback = msgType(m.MsgType, d.ReplyToQ), m.Feedback
	d.Format, d.CCSID, d.Encoding = m.Body.Format, m.Body.CCSID, m.Body.Encoding
	if d.CCSID == 0 {
		d.CCSID = utf8CCSID
	}
	if d.Encoding == 0 {
		d.Encoding = x86Encoding
	}
	d.Expiry, d.Priority = unlimited, queuePriority
	if m.Left > 0 {
		d.Expiry = int32(m.Left / 100)
	}
	if m.Priority.Set {
		d.Priority = int32(m.Priority.Value)
	}
	if m.Durable == adapters.Yes {
		d.Persistence = persistent
	}
	copy(d.MsgID[:], m.ID.B)
	copy(d.CorrelID[:], m.Corr.B)
	if o.SetContext && m.Created > 0 {
		d.PutDate, d.PutTime = stamp(time.UnixMilli(m.Created))
	}
	d.MsgSeqNumber = 1
	w.Props = encodeProps(m)
	return w, nil
}

func replyTo(d *Descriptor, a adapters.Addr) error {
	if len(a.Name) > nameLength || len(a.Scope) > nameLength {
		return fmt.Errorf("the reply address %q has a name of more than %d bytes, which IBM MQ would cut", a.Name, nameLength)
	}
	d.ReplyToQ, d.ReplyToQMgr = a.Name, a.Scope
	return nil
}

// msgType is a request where somebody waits for the reply, and nobody has said what it is.
func msgType(t uint32, replyToQ string) int32 {
	switch {
	case t != 0:
		return int32(t)
	case replyToQ != "":
		return MsgTypeRequest
	}
	return MsgTypeDatagram
}

func encodeProps(m *adapters.Message) []adapters.Prop {
	ps := make([]adapters.Prop, 0, len(m.Props)+len(m.CE)+1)
	if m.Type != "" {
		ps = append(ps, adapters.Prop{Name: "JMSType", V: adapters.String(m.Type)})
	}
	for _, p := range m.CE {
		ps = append(ps, adapters.Prop{Name: "cloudEvents_" + p.Name, V: p.V})
	}
	return append(ps, m.Props...)
}
