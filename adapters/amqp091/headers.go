// Package amqp091 is how a message looks to AMQP 0.9.1: the basic properties and the table of headers, and their mapping from
// and to the canonical message. It is pure and opens no connection; the adapter that does is not there yet.
//
// # Facts
//
// AMQP 0.9.1 specification, sections 1.8 and 4.2.5 (class basic, field tables), with RabbitMQ's types of table values, and
// RabbitMQ's conversions between protocols (rabbitmq.com, Conversions). Short strings have at most 255 bytes, timestamps are
// seconds, expiration is the remaining ms as text, x-* headers are annotations.
//
// # What is read and not written
//
// redelivered and x-death belong to the hop. user-id must be that of the connection, or RabbitMQ closes the channel.
package amqp091

import (
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// Protocol is Headers.Protocol of AMQP 0.9.1.
const Protocol = "amqp091"

// A Wire is a message as basic.deliver brings it and basic.publish takes it. Fields that are not present are zero.
type Wire struct {
	ContentType, ContentEncoding      string
	Headers                           []adapters.Prop // table, in order
	DeliveryMode                      uint8           // 1 not persistent, 2 persistent, 0 not present
	Priority                          uint8
	HasPriority                       bool
	CorrelationID, ReplyTo            string
	Expiration                        string // ms in decimal
	MessageID                         string
	Timestamp                         int64 // seconds since 1970 UTC, 0 not present
	Type, UserID, AppID               string
	Exchange, RoutingKey, Redelivered string // of basic.deliver; Redelivered is "true" or ""
	Body                              []byte
}

// Headers is what AMQP 0.9.1 holds natively of a message.
func Headers() adapters.Headers {
	return adapters.Headers{
		Protocol: Protocol,
		Fields: adapters.FieldID | adapters.FieldCorr | adapters.FieldReplyTo | adapters.FieldType | adapters.FieldContentType |
			adapters.FieldContentEncoding | adapters.FieldCreated | adapters.FieldExpires | adapters.FieldPriority |
			adapters.FieldDurable | adapters.FieldAppID,
		IDs: adapters.IDSet(adapters.IDString), MaxID: 255, URNs: true, MaxText: 255,
		Types: adapters.Types(adapters.TNull, adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64,
			adapters.TF32, adapters.TF64, adapters.TString, adapters.TBytes, adapters.TList, adapters.TMap),
		MaxName: 255, NullValues: true, Bodies: adapters.Bodies(adapters.BodyBytes),
		ExpiryUnit: 1, Relative: true, CreatedUnit: 1000, MaxPriority: 255,
		Reserved: []string{"x-death", "x-delay", "x-first-death-", "x-last-death-"}, Annotates: "x-",
	}
}

// Decode reads w, which came at received, in ms. It never fails. An expiration that is no number makes Left negative, which
// the bridge notes.
func Decode(w Wire, received int64) *adapters.Message {
	m := &adapters.Message{
		Received: received, ID: adapters.StringID(w.MessageID), Corr: adapters.StringID(w.CorrelationID),
		Type: w.Type, ContentType: w.ContentType, ContentEncoding: w.ContentEncoding, AppID: w.AppID, UserID: []byte(w.UserID),
		Created: w.Timestamp * 1000, Priority: adapters.Priority{Set: w.HasPriority, Value: w.Priority},
		Props: w.Headers, Body: adapters.Body{Form: adapters.BodyBytes, Data: w.Body},
	}
	if w.ReplyTo != "" {
		m.ReplyTo = adapters.Addr{Name: w.ReplyTo}
	}
	if w.RoutingKey != "" {
		m.To = adapters.Addr{Name: w.RoutingKey, Scope: w.Exchange}
	}
	switch w.DeliveryMode {
	case 1:
		m.Durable = adapters.No
	case 2:
		m.Durable = adapters.Yes
	}
	if w.Redelivered == "true" {
		m.Deliveries = 1
	}
	lifetime(m, w.Expiration)
	return m
}

func lifetime(m *adapters.Message, expiration string) {
	if expiration == "" {
		return
	}
	ms, err := strconv.ParseInt(expiration, 10, 64)
	const sane = 1 << 52
	if err != nil || ms < 0 || ms > sane {
		m.Left = -1
		return
	}
	m.Expires = m.Received + ms
}

// Encode makes of m, fitted to Headers, what basic.publish takes.
func Encode(m *adapters.Message) Wire {
	w := Wire{
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, CorrelationID: m.Corr.S, MessageID: m.ID.S,
		ReplyTo: replyTo(m.ReplyTo), Timestamp: m.Created / 1000, Type: m.Type, AppID: m.AppID,
		Priority: m.Priority.Value, HasPriority: m.Priority.Set, Body: m.Body.Data,
	}
	switch m.Durable {
	case adapters.No:
		w.DeliveryMode = 1
	case adapters.Yes:
		w.DeliveryMode = 2
	}
	if m.Left > 0 {
		w.Expiration = strconv.FormatInt(m.Left, 10)
	}
	w.Headers = make([]adapters.Prop, 0, len(m.Props)+len(m.CE))
	for _, p := range m.CE {
		w.Headers = append(w.Headers, adapters.Prop{Name: "cloudEvents_" + p.Name, V: p.V})
	}
	w.Headers = append(w.Headers, m.Props...)
	return w
}

// replyTo is the name of a queue: RabbitMQ writes /queues/NAME in AMQP 1.0 for what is NAME here.
func replyTo(a adapters.Addr) string { return strings.TrimPrefix(a.Name, "/queues/") }
