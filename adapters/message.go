package adapters

import "slices"

// A Message is the canonical form between all protocols: what one adapter decodes, another encodes. Every field is
// what the producer meant, not how a broker spells it. A Message is immutable once it has left its Source; whoever
// wants to alter it clones it. The zero value is an empty message with no body.
//
// Times are milliseconds since 1970 UTC; 0 means unknown, never or now, as the field says.
type Message struct {
	Track Track // Posthouse's own identity; adapters carry it to the target's duplicate id, nothing else

	ID, Corr    ID   // application message id and correlation id; the zero ID means none
	To, ReplyTo Addr // destination at the source (information only); where the requester expects the reply

	Type            string // JMSType, AMQP subject
	ContentType     string // MIME type, "" = unknown
	ContentEncoding string // "" = unknown

	Created   int64  // set by the producer, 0 = unknown
	Received  int64  // taken by this repeater
	Expires   int64  // absolute, 0 = never
	Dest      string // for sending only: where it goes at the target, in place of the Target's own place; "" = there. Never what a message says of itself
	Left      int64  // for encoding only: remaining ms, rounded up to the target's unit; 0 = never
	DeliverAt int64  // absolute, 0 = now

	Priority   Priority
	Durable    Tri
	Deliveries uint32 // failed deliveries before this one, at the source; belongs to the hop

	Group      Group
	ReplyGroup string
	AppID      string
	UserID     []byte // identity claimed by the source broker
	Key        []byte // ordering or partition key; nil differs from empty

	MsgType, Report uint32 // IBM MQ: MQMT (0 unknown, 1 request, 2 reply, 4 report, 8 datagram) and MQRO bits
	Feedback        int32  // IBM MQ: MQFB or MQRC of a report

	Props  []Prop // user properties, ordered, names may repeat
	Edits  []Prop // what the route changes of Props, not yet done: a null takes a property out. Edited does it
	CE     []Prop // CloudEvents attributes without prefix; non-empty = binary mode
	Annot  Annot
	Body   Body
	Native Native
}

// Track is Posthouse's own identity of a message (delivery.md, section 2).
type Track struct {
	ID       string   // ASCII, at most 64 bytes, the same on every retry; the duplicate id at the target
	Origin   string   // ID given by the first repeater
	Path     []string // REPEATER/ROUTE per hop, oldest first
	MaybeDup bool     // sent before with unknown outcome
	Place    string   // the whole name that was computed for a target whose Address is Dynamic; becomes Dest when it is sent, never a header
}

// IDForm is the wire type of an ID (AMQP 1.0 part 3, section 3.2.11-14).
type IDForm uint8

// The forms; the zero form means that there is no id.
const (
	IDNone IDForm = iota
	IDString
	IDBytes
	IDUUID
	IDULong
)

// An ID is a message, correlation or group id, in the form in which it came.
type ID struct {
	Form IDForm
	S    string // IDString
	B    []byte // IDBytes; IDUUID: 16 bytes
	U    uint64 // IDULong
}

// StringID makes an ID of form string; "" makes the zero ID.
func StringID(s string) ID {
	if s == "" {
		return ID{}
	}
	return ID{Form: IDString, S: s}
}

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id.Form == IDNone }

// Equal reports whether both have the same form and value.
func (id ID) Equal(o ID) bool {
	return id.Form == o.Form && id.S == o.S && id.U == o.U && slices.Equal(id.B, o.B)
}

// AddrForm is what an Addr names, as far as the protocol tells.
type AddrForm uint8

// The forms of Addr. The temporary ones die with their creator's connection.
const (
	AddrUnknown AddrForm = iota
	AddrQueue
	AddrTopic
	AddrTempQueue
	AddrTempTopic
)

// An Addr is a destination named by a message, not an Address configured by the operator. The zero value means none.
type Addr struct {
	Name  string
	Form  AddrForm
	Scope string // queue manager, virtual host or cluster
}

// Priority is a message priority as the protocol stated it.
type Priority struct {
	Set   bool
	Value uint8 // raw 0-255; clamped only when fitted to a target
}

// Tri is yes, no or not stated.
type Tri uint8

// The three values.
const (
	Unset Tri = iota
	No
	Yes
)

// A Group is a message group: sequence numbers wrap as in AMQP 1.0 part 3, section 3.2.4.
type Group struct {
	ID     ID
	Seq    uint32
	HasSeq bool
	Last   bool
}

// Annot is what AMQP 1.0 carries outside the bare message (part 3, sections 3.2.3 and 3.2.9). Keys are symbols; a
// ulong key is written in decimal with KeyNum set. Delivery annotations end at each hop and are not kept.
type Annot struct {
	MA, Footer []Prop
}

// A Prop is a name and a typed value.
type Prop struct {
	Name   string
	KeyNum bool // Annot only: Name is a ulong in decimal
	V      Value
}

// BodyForm is the kind of a body.
type BodyForm uint8

// The body forms. The zero form is "none": no body at all.
const (
	BodyNone     BodyForm = iota
	BodyBytes             // Data is the payload
	BodyText              // Data is UTF-8
	BodyValue             // Data is one value in AMQP 1.0 type encoding
	BodySequence          // Data is one or more lists in AMQP 1.0 type encoding, one for each section
	BodyMap               // JMS MapMessage: Data is an AMQP 1.0 map
	BodyStream            // JMS StreamMessage: Data is an AMQP 1.0 list
	BodyObject            // JMS ObjectMessage: Data is opaque, never deserialised
)

// A Body is a payload and its shape. Data is shared between clones and must never be written to.
type Body struct {
	Form            BodyForm
	Data            []byte
	Cuts            []int  // lengths of the sections in bytes, if more than one
	Null            bool   // Kafka: null, not empty
	Format          string // IBM MQ format, "" elsewhere
	CCSID, Encoding int32  // IBM MQ, 0 elsewhere
}

// Native is what one protocol knows of a message beyond the canonical form, kept for a target of the same protocol.
type Native struct {
	Proto string
	Blob  []byte
}

// Clone returns a copy whose fields and property lists may be altered; body and byte slices are shared, for they are
// never written to.
func (m *Message) Clone() *Message {
	c := *m
	c.Track.Path = slices.Clone(m.Track.Path)
	c.Props = slices.Clone(m.Props)
	c.Edits = slices.Clone(m.Edits)
	c.CE = slices.Clone(m.CE)
	c.Annot.MA = slices.Clone(m.Annot.MA)
	c.Annot.Footer = slices.Clone(m.Annot.Footer)
	return &c
}

// WithEdits returns m with these edits in place of its own: m itself if there are none at all, else a copy that shares
// everything else with m.
func (m *Message) WithEdits(edits []Prop) *Message {
	if len(edits) == 0 && len(m.Edits) == 0 {
		return m
	}
	c := *m
	c.Edits = edits
	return &c
}

// Edited returns m with its Edits done: a property gets its new value where the first of its name stands, or at the end.
// Without edits that is m itself, else a copy that shares with m what does not differ.
func (m *Message) Edited() *Message {
	if len(m.Edits) == 0 {
		return m
	}
	c := *m
	c.Edits, c.Props = nil, make([]Prop, 0, len(m.Props)+len(m.Edits))
	done := make([]bool, len(m.Edits))
	for _, p := range m.Props {
		i := slices.IndexFunc(m.Edits, func(e Prop) bool { return e.Name == p.Name })
		if i < 0 {
			c.Props = append(c.Props, p)
		} else if !done[i] && m.Edits[i].V.Type() != TNull {
			c.Props = append(c.Props, m.Edits[i])
			done[i] = true
		}
	}
	for i, e := range m.Edits {
		if !done[i] && e.V.Type() != TNull {
			c.Props = append(c.Props, e)
		}
	}
	return &c
}

// Prop returns the value of the last property called name, and whether there is one.
func (m *Message) Prop(name string) (Value, bool) {
	for i := len(m.Props) - 1; i >= 0; i-- {
		if m.Props[i].Name == name {
			return m.Props[i].V, true
		}
	}
	return Value{}, false
}

// Size is the memory that m holds, in bytes: the body exactly, the rest as an estimate. It is what limits in bytes count.
func (m *Message) Size() int64 {
	const fixed = 512
	n := fixed + len(m.Body.Data) + len(m.Key) + len(m.UserID) + len(m.Native.Blob)
	for _, ps := range [][]Prop{m.Props, m.Edits, m.CE, m.Annot.MA, m.Annot.Footer} {
		for i := range ps {
			n += 64 + len(ps[i].Name) + len(ps[i].V.s)
		}
	}
	return int64(n)
}
