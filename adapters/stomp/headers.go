// Package stomp is how a message looks to STOMP 1.2: the headers of MESSAGE and SEND frames, their mapping from and to the
// canonical message, and their text on the wire. It is pure and opens no connection; the adapter that does is not there yet.
//
// # Facts
//
// STOMP 1.2 (stomp.github.io), and what ActiveMQ Artemis and RabbitMQ make of it: Artemis maps headers to JMS fields
// (expires in absolute ms, persistent, priority, JMSXGroupID), RabbitMQ to AMQP 0.9.1 properties (expiration in remaining ms,
// timestamp in seconds, amqp-message-id, content-encoding, app-id). The first of several headers with one name counts, so one is written.
//
// # What is read and not written
//
// redelivered, message-id, subscription and ack belong to the hop.
package stomp

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// Protocol is Headers.Protocol of STOMP.
const Protocol = "stomp"

// A Dialect is whose headers stand beside those of the standard.
type Dialect string

// The dialects. The zero Dialect is the standard alone, and reads both.
const (
	Artemis  Dialect = "artemis"
	RabbitMQ Dialect = "rabbitmq"
)

// A Wire is one frame's headers, unescaped and in order, and its body.
type Wire struct {
	Headers [][2]string
	Body    []byte
}

// Get returns the first header called name, which is the one that counts.
func (w *Wire) Get(name string) (string, bool) {
	for i := range w.Headers {
		if w.Headers[i][0] == name {
			return w.Headers[i][1], true
		}
	}
	return "", false
}

// Headers is what STOMP holds natively of a message at a broker of dialect d.
func Headers(d Dialect) adapters.Headers {
	h := adapters.Headers{
		Protocol: Protocol,
		Fields: adapters.FieldCorr | adapters.FieldReplyTo | adapters.FieldType | adapters.FieldContentType | adapters.FieldCreated |
			adapters.FieldPriority | adapters.FieldDurable,
		IDs: adapters.IDSet(adapters.IDString), Types: adapters.Types(adapters.TString), CreatedUnit: 1, MaxPriority: 9,
		Bodies: adapters.Bodies(adapters.BodyBytes, adapters.BodyText), Taken: taken(),
	}
	switch d {
	case Artemis:
		h.Fields |= adapters.FieldExpires | adapters.FieldGroup
		h.ExpiryUnit = 1
		h.Reserved = []string{"_AMQ_", "AMQ_"}
	case RabbitMQ:
		h.Fields |= adapters.FieldExpires | adapters.FieldContentEncoding | adapters.FieldAppID | adapters.FieldID
		h.ExpiryUnit, h.Relative, h.MaxID, h.MaxPriority = 1, true, 255, 255
		h.Reserved = []string{"x-death", "x-delay"}
		h.CreatedUnit = 1000
	}
	return h
}

// taken are the names of frames and fields, which no property may have.
func taken() []string {
	return []string{"destination", "content-length", "content-type", "receipt", "receipt-id", "transaction", "subscription", "ack",
		"id", "message-id", "correlation-id", "reply-to", "type", "timestamp", "expires", "expiration", "priority", "persistent",
		"redelivered", "content-encoding", "app-id", "user-id", "amqp-message-id", "JMSXGroupID", "JMSXGroupSeq",
		"AMQ_SCHEDULED_DELAY"}
}

// Decode reads a MESSAGE frame, which came at received, in ms. It never fails: a number that is none counts as absent, but an
// expiry that is none makes Left negative, which the bridge notes. Without content-length a body is text, if it is UTF-8.
func Decode(w Wire, d Dialect, received int64) *adapters.Message {
	m := &adapters.Message{Received: received, Body: adapters.Body{Form: adapters.BodyBytes, Data: w.Body}}
	if _, counted := w.Get("content-length"); !counted && utf8.Valid(w.Body) {
		m.Body.Form = adapters.BodyText
	}
	for i, h := range w.Headers {
		if first(w.Headers[:i], h[0]) && !field(m, h[0], h[1]) {
			m.Props = append(m.Props, adapters.Prop{Name: h[0], V: adapters.String(h[1])})
		}
	}
	if d == RabbitMQ && m.Created < 1<<52 {
		m.Created *= 1000
	}
	return m
}

func first(before [][2]string, name string) bool {
	for i := range before {
		if before[i][0] == name {
			return false
		}
	}
	return true
}

// field puts a header where it belongs and reports whether it is no property.
func field(m *adapters.Message, name, v string) bool {
	switch name {
	case "correlation-id":
		m.Corr = adapters.StringID(v)
	case "amqp-message-id":
		m.ID = adapters.StringID(v)
	case "reply-to":
		m.ReplyTo = adapters.Addr{Name: v}
	case "destination":
		m.To = adapters.Addr{Name: v}
	case "type":
		m.Type = v
	case "content-type":
		m.ContentType = v
	case "content-encoding":
		m.ContentEncoding = v
	case "app-id":
		m.AppID = v
	case "user-id":
		m.UserID = []byte(v)
	case "persistent":
		m.Durable = map[string]adapters.Tri{"true": adapters.Yes, "false": adapters.No}[v]
	case "JMSXGroupID":
		m.Group.ID = adapters.StringID(v)
	default:
		return number(m, name, v)
	}
	return true
}

// number is field for headers that hold one, and for those that belong to the frame.
func number(m *adapters.Message, name, v string) bool {
	n, err := strconv.ParseInt(v, 10, 64)
	ok := err == nil && n >= 0
	switch name {
	case "message-id", "subscription", "ack", "content-length", "receipt", "receipt-id", "transaction", "id",
		"AMQ_SCHEDULED_DELAY":
	case "redelivered":
		if v == "true" {
			m.Deliveries = 1
		}
	case "timestamp":
		if ok {
			m.Created = n
		}
	case "priority":
		if ok && n <= 255 {
			m.Priority = adapters.Priority{Set: true, Value: uint8(n)}
		}
	case "expires", "expiration":
		expiry(m, name, n, ok)
	case "JMSXGroupSeq":
		if err == nil && n == int64(int32(n)) {
			m.Group.Seq, m.Group.HasSeq = uint32(int32(n)), true
		}
	default:
		return false
	}
	return true
}

// expiry reads the absolute ms of Artemis, where 0 is never, and the remaining ms of RabbitMQ.
func expiry(m *adapters.Message, name string, n int64, ok bool) {
	switch {
	case !ok || n > 1<<52:
		m.Left = -1
	case name == "expires":
		m.Expires = n
	default:
		m.Expires = m.Received + n
	}
}

// Encode makes of m, fitted to Headers, a SEND frame without a destination.
func Encode(m *adapters.Message, d Dialect) Wire {
	w := Wire{Body: m.Body.Data, Headers: make([][2]string, 0, 8+len(m.Props)+len(m.CE))}
	if m.Body.Form != adapters.BodyText || !utf8.Valid(m.Body.Data) {
		w.add("content-length", strconv.Itoa(len(m.Body.Data)))
	}
	for _, h := range [...][2]string{{"correlation-id", m.Corr.S}, {"amqp-message-id", m.ID.S}, {"reply-to", m.ReplyTo.Name},
		{"type", m.Type}, {"content-type", m.ContentType}, {"content-encoding", m.ContentEncoding}, {"app-id", m.AppID},
		{"JMSXGroupID", m.Group.ID.S}} {
		if h[1] != "" {
			w.add(h[0], h[1])
		}
	}
	w.numbers(m, d)
	for _, p := range m.CE {
		w.add("cloudEvents_"+p.Name, p.V.Text())
	}
	for i := range m.Props {
		w.add(m.Props[i].Name, m.Props[i].V.Text())
	}
	return w
}

func (w *Wire) add(name, v string) { w.Headers = append(w.Headers, [2]string{name, v}) }

func (w *Wire) numbers(m *adapters.Message, d Dialect) {
	created := m.Created
	if d == RabbitMQ {
		created /= 1000
	}
	if created != 0 {
		w.add("timestamp", strconv.FormatInt(created, 10))
	}
	if m.Priority.Set {
		w.add("priority", strconv.Itoa(int(m.Priority.Value)))
	}
	if m.Durable != adapters.Unset {
		w.add("persistent", strconv.FormatBool(m.Durable == adapters.Yes))
	}
	switch {
	case d == Artemis && m.Expires > 0:
		w.add("expires", strconv.FormatInt(m.Expires, 10))
	case d == RabbitMQ && m.Left > 0:
		w.add("expiration", strconv.FormatInt(m.Left, 10))
	}
	if m.Group.HasSeq {
		w.add("JMSXGroupSeq", strconv.Itoa(int(int32(m.Group.Seq))))
	}
}

// AppendHeaders appends the header lines of a frame, escaped as STOMP 1.2 says, and the empty line behind them.
func (w *Wire) AppendHeaders(b []byte) []byte {
	for _, h := range w.Headers {
		b = append(escape(append(escape(b, h[0]), ':'), h[1]), '\n')
	}
	return append(b, '\n')
}

func escape(b []byte, s string) []byte {
	for i := range len(s) {
		switch s[i] {
		case '\\':
			b = append(b, `\\`...)
		case '\r':
			b = append(b, `\r`...)
		case '\n':
			b = append(b, `\n`...)
		case ':':
			b = append(b, `\c`...)
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// ParseHeaders reads header lines up to the empty one, and returns what is behind it. It reports false for a line without
// a colon, an escape that is none (STOMP 1.2: a fatal protocol error), or when the empty line is missing.
func ParseHeaders(b string) (hs [][2]string, rest string, ok bool) {
	for {
		line, more, found := strings.Cut(b, "\n")
		if !found {
			return nil, "", false
		}
		line, b = strings.TrimSuffix(line, "\r"), more
		if line == "" {
			return hs, b, true
		}
		name, v, found := strings.Cut(line, ":")
		n, ok1 := unescape(name)
		u, ok2 := unescape(v)
		if !found || !ok1 || !ok2 {
			return nil, "", false
		}
		hs = append(hs, [2]string{n, u})
	}
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		c := strings.IndexByte(`\rnc`, s[i])
		if c < 0 {
			return "", false
		}
		b.WriteByte("\\\r\n:"[c])
	}
	return b.String(), true
}
