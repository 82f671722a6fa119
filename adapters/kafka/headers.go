package kafka

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// protocol names what Native and native fields are exchanged with.
const protocol = "kafka"

// Names of record headers with a meaning: content type as in the CloudEvents binding for Kafka (section 3.1), the reply
// headers of Spring, and Posthouse's own for a creation time that a broker would refuse.
const (
	headerContentType     = "content-type"
	headerContentEncoding = "content-encoding"
	headerSpringCorr      = "kafka_correlationId"
	headerSpringReply     = "kafka_replyTopic"
	headerSpringPartition = "kafka_replyPartition" // int32, big endian
	headerSpringTypes     = "spring_json_header_types"
	headerCreated         = "posthouse-created"
	prefixCE              = "ce_"
)

// futureLimit is how far in the future a record's timestamp may be, in ms: Kafka's own default for
// message.timestamp.after.max.ms is one hour.
const futureLimit = 55 * 60 * 1000

func headers(convention string) adapters.Headers {
	h := adapters.Headers{
		Protocol: protocol,
		Fields:   adapters.FieldKey | adapters.FieldCreated | adapters.FieldContentType | adapters.FieldContentEncoding,
		Types:    adapters.Types(adapters.TNull, adapters.TString, adapters.TBytes),
		Names:    adapters.NameAny, Duplicates: true, NullValues: true, NullBody: true,
		Bodies: adapters.Bodies(adapters.BodyBytes), CreatedUnit: 1,
		Reserved: []string{"kafka_", "__"}, // but for the three reply headers of Spring, which travel as they are
		Taken:    []string{headerContentType, headerContentEncoding},
	}
	switch h.Convention = convention; convention {
	case plainConvention:
		h.Convention = ""
	case adapters.ConventionSpring:
		h.Fields |= adapters.FieldCorr | adapters.FieldReplyTo
		h.IDs, h.RawIDs = adapters.IDSet(adapters.IDString, adapters.IDBytes), true
		h.Taken = append(h.Taken, headerSpringCorr, headerSpringReply, headerSpringTypes)
	case adapters.ConventionConnect:
		h.Types = adapters.Types(adapters.TNull, adapters.TString)
	}
	return h
}

// A wire is a record as it is on the wire, apart from its place.
type wire struct {
	key, value []byte // nil is null
	headers    []sarama.RecordHeader
	time       time.Time // zero = the record has none
	topic      string    // set by a target
	chosen     choice    // its partition, if its requester has chosen one
	text       []byte    // of names and values that encode writes: one piece of memory for all
}

// decode fills m from w. It never fails: Kafka's records have no structure that could be broken beyond what the client
// library has checked. m takes the slices of w over. Where programs use Spring its reply headers are fields and nothing
// else.
func decode(w wire, m *adapters.Message, spring bool) {
	m.Key = w.key
	m.Durable = adapters.Yes
	m.Body = adapters.Body{Form: adapters.BodyBytes, Data: w.value, Null: w.value == nil}
	if ms := w.time.UnixMilli(); !w.time.IsZero() && ms > 0 {
		m.Created = ms
	}
	if len(w.headers) == 0 {
		return
	}
	cloud := binaryMode(w.headers)
	m.Props = make([]adapters.Prop, 0, len(w.headers))
	for i := range w.headers {
		decodeHeader(m, string(w.headers[i].Key), w.headers[i].Value, cloud, spring)
	}
}

func decodeHeader(m *adapters.Message, name string, value []byte, cloud, spring bool) {
	v := headerValue(value)
	text := v.Type() == adapters.TString && v.Str() != ""
	switch {
	case name == headerContentType && text && m.ContentType == "":
		m.ContentType = v.Str()
		return
	case name == headerContentEncoding && text && m.ContentEncoding == "":
		m.ContentEncoding = v.Str()
		return
	case cloud && strings.HasPrefix(name, prefixCE) && isAttribute(name[len(prefixCE):]):
		m.CE = append(m.CE, adapters.Prop{Name: name[len(prefixCE):], V: v})
		return
	case name == headerSpringCorr && len(value) > 0 && m.Corr.IsZero():
		if m.Corr = correlation(value, v); spring {
			return
		}
	case name == headerSpringReply && text && m.ReplyTo.Name == "":
		if m.ReplyTo = (adapters.Addr{Name: v.Str(), Form: adapters.AddrTopic}); spring {
			return
		}
	}
	m.Props = append(m.Props, adapters.Prop{Name: name, V: v})
}

// isAttribute is the naming rule of CloudEvents (1.0, section 3).
func isAttribute(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// headerValue types a header as headers.md, section 3.8, says: text if it is UTF-8 without controls, else bytes.
func headerValue(b []byte) adapters.Value {
	if b == nil {
		return adapters.Null()
	}
	if plainText(b) {
		return adapters.String(string(b))
	}
	return adapters.Bytes(b)
}

func plainText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return false
		}
	}
	return true
}

func correlation(b []byte, v adapters.Value) adapters.ID {
	if v.Type() == adapters.TString {
		return adapters.StringID(v.Str())
	}
	return adapters.ID{Form: adapters.IDBytes, B: b}
}

// binaryMode recognises a CloudEvent in binary mode: the four required attributes are there (CloudEvents 1.0, Kafka
// binding, section 3.2).
func binaryMode(hs []sarama.RecordHeader) bool {
	found := 0
	for i, name := range [...]string{"specversion", "id", "source", "type"} {
		for _, h := range hs {
			if string(h.Key) != prefixCE+name {
				continue
			}
			if v := string(h.Value); i > 0 || v == "0.3" || v == "1.0" {
				found |= 1 << i
			}
		}
	}
	return found == 15
}

// encode makes the wire form of m at the time now. It writes every property; what Kafka has no native place for is in
// the properties already. A creation time that a broker would refuse as too far away goes into Posthouse's own header,
// and the record is stamped with now.
func encode(m *adapters.Message, now time.Time, spring bool) wire {
	w := wire{key: m.Key, value: value(m.Body), time: now}
	n := len(m.Props) + len(m.CE) + 3
	w.headers, w.text = make([]sarama.RecordHeader, 0, n), make([]byte, 0, textSize(m))
	switch {
	case ownStamp(m, now):
		w.time = time.UnixMilli(m.Created)
	case m.Created != 0:
		if _, there := m.Prop(headerCreated); !there {
			w.add(headerCreated, adapters.Int(adapters.TI64, m.Created).Text())
		}
	}
	if m.ContentType != "" {
		w.add(headerContentType, m.ContentType)
	}
	if m.ContentEncoding != "" {
		w.add(headerContentEncoding, m.ContentEncoding)
	}
	if spring {
		w.addReply(m)
	}
	for i := range m.CE {
		w.addValue(prefixCE+m.CE[i].Name, m.CE[i].V)
	}
	for i := range m.Props {
		w.addValue(m.Props[i].Name, m.Props[i].V)
	}
	return w
}

// addReply writes the headers by which Spring's request-reply finds its way.
func (w *wire) addReply(m *adapters.Message) {
	switch m.Corr.Form {
	case adapters.IDString:
		w.add(headerSpringCorr, m.Corr.S)
	case adapters.IDBytes:
		w.add(headerSpringCorr, string(m.Corr.B))
	}
	if m.ReplyTo.Name != "" {
		w.add(headerSpringReply, m.ReplyTo.Name)
	}
}

// textSize is what names and values of m's headers take, numbers as an estimate.
func textSize(m *adapters.Message) int {
	n := len(headerContentType) + len(m.ContentType) + len(headerContentEncoding) + len(m.ContentEncoding)
	for _, ps := range [...][]adapters.Prop{m.CE, m.Props} {
		for i := range ps {
			n += len(prefixCE) + len(ps[i].Name) + max(len(ps[i].V.Str()), 8)
		}
	}
	return n
}

// add writes a header: name and value as the next two pieces of the text.
func (w *wire) add(name, value string) {
	at := len(w.text)
	w.text = append(append(w.text, name...), value...)
	mid, end := at+len(name), len(w.text)
	w.headers = append(w.headers, sarama.RecordHeader{})
	h := &w.headers[len(w.headers)-1]
	h.Key, h.Value = w.text[at:mid:mid], w.text[mid:end:end]
}

// addValue writes a property; one without a value is null.
func (w *wire) addValue(name string, v adapters.Value) {
	switch v.Type() {
	case adapters.TNull:
		w.add(name, "")
		w.headers[len(w.headers)-1].Value = nil
	case adapters.TString, adapters.TBytes:
		w.add(name, v.Str())
	default:
		w.add(name, v.Text())
	}
}

// value is the record's value: null only where the body says so, for null deletes a key in a compacted topic.
func value(b adapters.Body) []byte {
	switch {
	case b.Null:
		return nil
	case b.Data == nil:
		return []byte{}
	}
	return b.Data
}

// size is what a record takes at most, in bytes, as the client library counts it: the largest possible lengths of its
// numbers.
func (w *wire) size() int64 {
	const record, header = 36, 10
	n := record + len(w.key) + len(w.value)
	for i := range w.headers {
		n += header + len(w.headers[i].Key) + len(w.headers[i].Value)
	}
	return int64(n)
}
