package amqp

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/posthouse/posthouse/adapters"
)

// Descriptors of the sections of a message (AMQP 1.0 part 3, section 3.2).
const (
	secHeader     = 0x70
	secDelivery   = 0x71
	secMessage    = 0x72
	secProperties = 0x73
	secApp        = 0x74
	secData       = 0x75
	secSequence   = 0x76
	secValue      = 0x77
	secFooter     = 0x78
)

// sectionCode is the code behind a symbolic descriptor, or 0.
func sectionCode(name string) uint64 {
	switch name {
	case "amqp:header:list":
		return secHeader
	case "amqp:delivery-annotations:map":
		return secDelivery
	case "amqp:message-annotations:map":
		return secMessage
	case "amqp:properties:list":
		return secProperties
	case "amqp:application-properties:map":
		return secApp
	case "amqp:data:binary":
		return secData
	case "amqp:amqp-sequence:list":
		return secSequence
	case "amqp:amqp-value:*":
		return secValue
	case "amqp:footer:map":
		return secFooter
	}
	return 0
}

// Message annotations that have a place of their own in the canonical form.
const (
	annJMSType    = "x-opt-jms-msg-type"
	annJMSDest    = "x-opt-jms-dest"
	annJMSReply   = "x-opt-jms-reply-to"
	annDeliverAt  = "x-opt-delivery-time"
	annPartition  = "x-opt-partition-key"
	annRabbitSeen = "x-delivery-count" // RabbitMQ quorum queues count here
)

// brokerMade names the annotations that a broker put there for this hop: they are not carried to the next (headers.md,
// section 3.6). A delivery delay was served at the hop that asked for it.
func brokerMade(name string) bool {
	switch name {
	case "x-opt-enqueued-time", "x-opt-sequence-number", "x-opt-locked-until", "x-opt-offset", "x-opt-deadletter-source",
		"x-opt-ingress-time", "x-opt-ORIG-ADDRESS", "x-opt-ORIG-MESSAGE-ID", "x-opt-ORIG-QUEUE", "x-opt-ORIG-ROUTING-TYPE",
		"x-opt-deaths", "x-exchange", "x-routing-key", "x-first-death-exchange", "x-first-death-queue",
		"x-first-death-reason", "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason",
		"x-opt-delivery-delay", annRabbitSeen:
		return true
	}
	return false
}

// skewLimit is how far absolute-expiry-time and ttl may disagree, in ms, before the producer's clock is not believed.
const skewLimit = 60_000

// hop is what a message tells about its way to us and not about itself.
type hop struct {
	acquiredBefore bool // first-acquirer is present and false
	count          uint32
	ttl            uint32
}

// decode reads a message as it came from the wire; received is the time it came, in ms. The body shares its bytes with
// raw, which must not be written to afterwards. It fails only on a structure that is not AMQP.
func decode(raw []byte, received int64) (*adapters.Message, hop, error) {
	m := &adapters.Message{Received: received}
	var h hop
	d := &decoder{b: raw, s: string(raw[:textLength(raw)])}
	var body bodyReader
	for d.i < len(raw) && d.err == nil {
		code := d.section()
		if code > secApp && code < secFooter {
			body.read(d, code)
			continue
		}
		readSection(d, code, m, &h)
	}
	if d.err != nil {
		return nil, h, fmt.Errorf("message is not AMQP 1.0: %w", d.err)
	}
	body.finish(m)
	m.Deliveries = h.count
	if h.ttl > 0 {
		m.Expires = expiry(m.Expires, received+int64(h.ttl))
	}
	return m, h, nil
}

// expiry chooses between the absolute time of the producer, 0 = none, and the one that follows from ttl.
func expiry(absolute, relative int64) int64 {
	if diff := absolute - relative; absolute == 0 || diff > skewLimit || diff < -skewLimit {
		return relative
	}
	return absolute
}

// textLength is where the body begins: everything in front is copied once, so that all strings share one allocation,
// and the body is not copied at all.
func textLength(raw []byte) int {
	d := &decoder{b: raw}
	for d.i < len(raw) && d.err == nil {
		at := d.i
		if code := d.section(); code >= secData && code < secFooter {
			return at
		}
		d.skip(0)
	}
	return len(raw)
}

// section reads the descriptor of a section: a number or, in other people's encoders, its symbolic name.
func (d *decoder) section() uint64 {
	if d.code() != codeDescribed {
		d.fail(errors.New("a section without a descriptor"))
		return 0
	}
	switch c := d.peek(); c {
	case codeUlong8, codeUlong:
		d.i++
		return d.uint(width(c))
	case codeSym8, codeSym32:
		d.i++
		if code := sectionCode(string(d.bytes(d.uint(sizeWidth(c))))); code != 0 {
			return code
		}
	}
	d.fail(errors.New("a section with an unknown descriptor"))
	return 0
}

func readSection(d *decoder, code uint64, m *adapters.Message, h *hop) {
	switch code {
	case secHeader:
		readHeader(d, m, h)
	case secProperties:
		readProperties(d, m)
	case secDelivery:
		d.skip(0) // ends at this hop
	case secMessage:
		readAnnotations(d, m, h)
	case secApp:
		m.Props = readMap(d)
	case secFooter:
		m.Annot.Footer = readMap(d)
	default:
		d.fail(fmt.Errorf("unknown section 0x%02x", code))
	}
}

// fields reads a list and calls each with the index of every field that is there and not null.
func (d *decoder) fields(each func(i int)) {
	c := d.code()
	if c != codeList0 && c != codeList8 && c != codeList32 {
		d.fail(errors.New("a section is not a list"))
		return
	}
	count, end := d.enter(c)
	for i := 0; uint64(i) < count && d.err == nil; i++ {
		if d.peek() == codeNull {
			d.code()
			continue
		}
		each(i)
	}
	d.leave(end)
}

// readHeader reads the header section (part 3, section 3.2.1). What is absent stays unset: the defaults of the
// standard are what a reader assumes, not what the producer said.
func readHeader(d *decoder, m *adapters.Message, h *hop) {
	d.fields(func(i int) {
		v := d.value(0)
		switch i {
		case 0:
			m.Durable = adapters.No
			if v.Bool() {
				m.Durable = adapters.Yes
			}
		case 1:
			m.Priority = adapters.Priority{Set: true, Value: uint8(v.Uint())}
		case 2:
			h.ttl = uint32(v.Uint())
		case 3:
			h.acquiredBefore = !v.Bool()
		case 4:
			h.count = max(h.count, uint32(v.Uint()))
		}
	})
}

// readProperties reads the properties section (part 3, section 3.2.4).
func readProperties(d *decoder, m *adapters.Message) {
	d.fields(func(i int) {
		v := d.value(0)
		switch i {
		case 0:
			m.ID = idOf(v)
		case 1:
			m.UserID = []byte(v.Str())
		case 2:
			m.To.Name = v.Text()
		case 3:
			m.Type = v.Text()
		case 4:
			m.ReplyTo.Name = v.Text()
		case 5:
			m.Corr = idOf(v)
		case 6:
			m.ContentType = v.Text()
		case 7:
			m.ContentEncoding = v.Text()
		case 8:
			m.Expires = v.Int()
		case 9:
			m.Created = v.Int()
		case 10:
			m.Group.ID = idOf(v)
		case 11:
			m.Group.Seq, m.Group.HasSeq = uint32(v.Uint()), true
		case 12:
			m.ReplyGroup = v.Text()
		}
	})
}

// idOf reads an id of any of its four kinds (part 3, sections 3.2.11 to 3.2.14).
func idOf(v adapters.Value) adapters.ID {
	switch v.Type() {
	case adapters.TNull:
		return adapters.ID{}
	case adapters.TBytes:
		return adapters.ID{Form: adapters.IDBytes, B: []byte(v.Str())}
	case adapters.TUUID:
		return adapters.ID{Form: adapters.IDUUID, B: []byte(v.Str())}
	case adapters.TU64, adapters.TU32, adapters.TU16, adapters.TU8:
		return adapters.ID{Form: adapters.IDULong, U: v.Uint()}
	}
	return adapters.ID{Form: adapters.IDString, S: v.Text()}
}

// readMap reads annotations, application properties or a footer, in the order in which they stand there.
func readMap(d *decoder) []adapters.Prop {
	c := d.code()
	if c == codeNull {
		return nil
	}
	if c != codeMap8 && c != codeMap32 {
		d.fail(errors.New("a section is not a map"))
		return nil
	}
	count, end := d.enter(c)
	if d.err != nil || count > uint64(end-d.i) {
		d.fail(errArray)
		return nil
	}
	if count == 0 {
		d.leave(end)
		return nil
	}
	ps := make([]adapters.Prop, 0, min(count/2, 64))
	for n := uint64(0); n < count/2 && d.err == nil; n++ {
		ps = append(ps, adapters.Prop{})
		p := &ps[len(ps)-1]
		p.Name, p.KeyNum = d.key()
		p.V = d.value(0)
	}
	d.leave(end)
	return ps
}

// key reads a key of a map as text, and whether it was a number.
func (d *decoder) key() (name string, number bool) {
	if c := d.peek(); (c == codeStr8 || c == codeSym8) && d.may(0) {
		d.i++
		return d.text(uint64(d.code())), false
	}
	k := d.value(0)
	return k.Text(), k.Type() == adapters.TU64
}

// readAnnotations reads the message annotations (part 3, section 3.2.3) and puts those with a place of their own there.
func readAnnotations(d *decoder, m *adapters.Message, h *hop) {
	kept := readMap(d)
	n := 0
	for _, p := range kept {
		switch {
		case p.Name == annRabbitSeen:
			h.count = max(h.count, uint32(p.V.Uint()))
		case brokerMade(p.Name):
		case p.Name == annJMSDest:
			m.To.Form = addrForm(p.V)
		case p.Name == annJMSReply:
			m.ReplyTo.Form = addrForm(p.V)
		case p.Name == annDeliverAt && p.V.Int() > 0:
			m.DeliverAt = p.V.Int()
		default:
			if p.Name == annPartition {
				m.Key = []byte(p.V.Str())
			}
			kept[n] = p
			n++
		}
	}
	if n > 0 {
		m.Annot.MA = kept[:n]
	}
}

// addrForm reads the byte of x-opt-jms-dest and x-opt-jms-reply-to: 0 queue, 1 topic, 2 and 3 the temporary ones.
func addrForm(v adapters.Value) adapters.AddrForm {
	if n := v.Int(); n >= 0 && n <= 3 {
		return adapters.AddrQueue + adapters.AddrForm(n)
	}
	return adapters.AddrUnknown
}

// A bodyReader collects the body sections of one message.
type bodyReader struct {
	code uint64
	n    int // sections
	data []byte
	cuts []int
}

func (r *bodyReader) read(d *decoder, code uint64) {
	if r.n > 0 && (code != r.code || code == secValue) {
		d.fail(errors.New("body sections of different kinds"))
		return
	}
	r.code = code
	part := r.part(d)
	if r.n++; r.n == 1 {
		r.data = part
		return
	}
	if r.n == 2 {
		r.cuts = append(r.cuts, len(r.data))
		r.data = append([]byte(nil), r.data...) // no longer one piece of raw
	}
	r.data = append(r.data, part...)
	r.cuts = append(r.cuts, len(part))
}

// part is the payload of a data section, or the encoding of the value or list of the others.
func (r *bodyReader) part(d *decoder) []byte {
	at := d.i
	if r.code == secSequence && !isList(d.peek()) {
		d.fail(errors.New("a sequence section that is not a list"))
		return nil
	}
	if r.code != secData {
		d.skip(0)
		return d.b[at:d.i:d.i]
	}
	c := d.code()
	if c != codeBin8 && c != codeBin32 {
		d.fail(errors.New("a data section that is not binary"))
		return nil
	}
	return d.bytes(d.uint(sizeWidth(c)))
}

// finish says what the body is. A JMS message type makes map, stream and object of it and is taken out of the
// annotations then, for encode writes it again; otherwise it stays there.
func (r *bodyReader) finish(m *adapters.Message) {
	m.Body.Data, m.Body.Cuts = r.data, r.cuts
	switch {
	case r.n == 0:
		return
	case r.code == secData:
		m.Body.Form = adapters.BodyBytes
	case r.code == secSequence:
		m.Body.Form = adapters.BodySequence
	default:
		r.value(m)
	}
	jms, at := jmsType(m.Annot.MA)
	if f := jmsForm(jms, m.Body.Form, r); f != adapters.BodyNone {
		m.Body.Form = f
		if m.Annot.MA = append(m.Annot.MA[:at:at], m.Annot.MA[at+1:]...); len(m.Annot.MA) == 0 {
			m.Annot.MA = nil
		}
	}
}

// value reads an amqp-value section: a string is text, null is no body at all.
func (r *bodyReader) value(m *adapters.Message) {
	m.Body.Form = adapters.BodyValue
	switch c := r.data[0]; c {
	case codeNull:
		m.Body = adapters.Body{}
	case codeStr8:
		m.Body.Form, m.Body.Data = adapters.BodyText, r.data[2:]
	case codeStr32:
		m.Body.Form, m.Body.Data = adapters.BodyText, r.data[5:]
	}
}

// jmsType finds the JMS message type, -1 where there is none.
func jmsType(ma []adapters.Prop) (jms int64, at int) {
	for i := range ma {
		if ma[i].Name == annJMSType {
			return ma[i].V.Int(), i
		}
	}
	return -1, 0
}

// The bytes of x-opt-jms-msg-type that change what a body is (headers.md, section 3.5).
const (
	jmsObject = 1
	jmsMap    = 2
	jmsStream = 4
)

func jmsForm(jms int64, f adapters.BodyForm, r *bodyReader) adapters.BodyForm {
	switch {
	case jms == jmsObject && f == adapters.BodyBytes:
		return adapters.BodyObject
	case jms == jmsMap && f == adapters.BodyValue && (r.data[0] == codeMap8 || r.data[0] == codeMap32):
		return adapters.BodyMap
	case jms == jmsStream && f == adapters.BodySequence && r.n == 1:
		return adapters.BodyStream
	}
	return adapters.BodyNone
}

// keyOf makes the key of an annotation: a symbol, or the number it was.
func keyOf(p adapters.Prop) adapters.Value {
	if p.KeyNum {
		if n, err := strconv.ParseUint(p.Name, 10, 64); err == nil {
			return adapters.Uint(adapters.TU64, n)
		}
	}
	return adapters.Symbol(p.Name)
}
