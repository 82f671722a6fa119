// Package mqtt is how a message looks to MQTT 5: the properties of PUBLISH, and their mapping from and to the canonical
// message. It is pure and opens no connection; the adapter that does is not there yet.
//
// # Facts
//
// OASIS MQTT 5.0, section 3.3.2.3. The expiry interval is in seconds and counted down by the server; correlation data are
// bytes; user properties are pairs of UTF-8 strings of at most 65,535 bytes without U+0000, in order, and may repeat;
// payload format indicator 1 says that the payload is UTF-8.
//
// # What is read and not written
//
// DUP, retain, topic alias and subscription identifiers belong to the hop. Everything is published with QoS 1: with QoS 0
// nobody would know whether it arrived.
package mqtt

import (
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// Protocol is Headers.Protocol of MQTT.
const Protocol = "mqtt"

const longest = 65535 // bytes of any string or binary

// A Wire is one PUBLISH. Properties that are not present are zero.
type Wire struct {
	Topic            string
	QoS              uint8
	UTF8             bool   // payload format indicator
	Expiry           uint32 // seconds; HasExpiry tells 0 from absent
	HasExpiry        bool
	ContentType      string
	ResponseTopic    string
	Correlation      []byte
	Props            [][2]string // user properties
	Payload          []byte
	Duplicate        bool
	Retain           bool
	SubscriptionID   int
	TopicAliasNumber uint16
}

// Headers is what MQTT 5 holds natively of a message.
func Headers() adapters.Headers {
	return adapters.Headers{
		Protocol: Protocol,
		Fields:   adapters.FieldCorr | adapters.FieldReplyTo | adapters.FieldContentType | adapters.FieldExpires,
		IDs:      adapters.IDSet(adapters.IDBytes), MaxID: longest, MaxText: longest,
		Types: adapters.Types(adapters.TString), MaxName: longest, MaxValue: longest, Duplicates: true,
		Bodies:     adapters.Bodies(adapters.BodyBytes, adapters.BodyText),
		ExpiryUnit: 1000, MaxExpiry: 1<<32 - 1, Relative: true,
	}
}

// Decode reads w, which came at received, in ms. It never fails.
func Decode(w Wire, received int64) *adapters.Message {
	m := &adapters.Message{
		Received: received, To: topic(w.Topic), ReplyTo: topic(w.ResponseTopic), ContentType: w.ContentType, Durable: adapters.Yes,
		Body: adapters.Body{Form: adapters.BodyBytes, Data: w.Payload},
	}
	if w.QoS == 0 {
		m.Durable = adapters.No
	}
	if len(w.Correlation) > 0 {
		m.Corr = adapters.ID{Form: adapters.IDBytes, B: w.Correlation}
	}
	if w.UTF8 && utf8.Valid(w.Payload) {
		m.Body.Form = adapters.BodyText
	}
	if w.HasExpiry {
		m.Expires = received + int64(w.Expiry)*1000
	}
	for _, p := range w.Props {
		m.Props = append(m.Props, adapters.Prop{Name: p[0], V: adapters.String(p[1])})
	}
	return m
}

func topic(name string) adapters.Addr {
	if name == "" {
		return adapters.Addr{}
	}
	return adapters.Addr{Name: name, Form: adapters.AddrTopic}
}

// Encode makes of m, fitted to Headers, a PUBLISH without a topic: the route decides that.
func Encode(m *adapters.Message) Wire {
	w := Wire{
		QoS: 1, ContentType: m.ContentType, ResponseTopic: m.ReplyTo.Name, Correlation: m.Corr.B, Payload: m.Body.Data,
		UTF8: m.Body.Form == adapters.BodyText && utf8.Valid(m.Body.Data),
	}
	if m.Left > 0 {
		w.Expiry, w.HasExpiry = uint32(m.Left/1000), true
	}
	w.Props = make([][2]string, 0, len(m.Props)+len(m.CE))
	for _, ps := range [...][]adapters.Prop{m.CE, m.Props} {
		for i := range ps {
			w.Props = append(w.Props, [2]string{ps[i].Name, ps[i].V.Text()})
		}
	}
	return w
}
