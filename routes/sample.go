package routes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// A message that an operator writes down, to ask what would become of it. Its keys are the names of the fields of msg in
// expressions; what is left out is as in a message that does not have it.

// LoadMessage reads a message from YAML or JSON. name is for findings. The message is nil if there is any error.
func LoadMessage(name string, src []byte) (*adapters.Message, Findings) {
	doc, problems := yamltree.Parse(src)
	r := &reporter{file: name, doc: doc}
	r.problems(problems)
	if doc.Root == nil {
		return nil, r.finish()
	}
	w := &walker{reporter: r}
	m := w.message(w.object(doc.Root, messageShape(), "", ""))
	if fs := r.finish(); fs.HasErrors() {
		return nil, fs
	}
	return m, r.findings
}

// messageShape is the table of the keys of a message.
func messageShape() *Shape {
	return &Shape{Name: "message", Doc: "A message, as it would be received. The keys are the names of the fields of msg.", Fields: []*Field{
		{Name: "id", Type: Text, Doc: "Message id of the application."},
		{Name: "correlation_id", Type: Text, Doc: "Id of the message that this one answers."},
		{Name: "reply_to", Type: Text, Doc: "Where the requester expects the reply."},
		{Name: "type", Type: Text, Doc: "JMSType, or the AMQP subject."},
		{Name: "key", Type: Text, Doc: "Ordering or partition key."},
		{Name: "priority", Type: Count, Min: 0, Max: 255, Doc: "0 to 9 in most protocols."},
		{Name: "persistent", Type: Flag, Doc: "The producer asked for a durable message."},
		{Name: "expired", Type: Flag, Doc: "Its expiry had passed when it was received."},
		{Name: "redelivered", Type: Flag, Doc: "It may have been delivered before."},
		{Name: "path", Type: TextList, Doc: "REPEATER/ROUTE of each route that it has passed, oldest first."},
		{Name: "origin", Type: Text, Doc: "Id given by the first repeater."},
		{Name: "content_type", Type: Text, Doc: "MIME type."},
		{Name: "time", Type: Text, Doc: "When the producer made it, such as 2026-01-31T12:00:00Z, in quotes."},
		{Name: "header", Type: Plain, Doc: "Headers by name: text, numbers, true or false."},
		{Name: "text", Type: Plain, Doc: "The body, as text."},
		{Name: "json", Type: Plain, Doc: "The body, as YAML or JSON that is written as JSON."},
		{Name: "base64", Type: Text, Doc: "The body, as bytes in base64."},
	}}
}

// message makes the message of what has been checked.
func (w *walker) message(v *value) *adapters.Message {
	c := chain{[]*value{v}, messageShape()}
	m := &adapters.Message{ID: adapters.StringID(c.text("id")), Corr: adapters.StringID(c.text("correlation_id")), ReplyTo: adapters.Addr{Name: c.text("reply_to")},
		Type: c.text("type"), ContentType: c.text("content_type"), Received: 1}
	m.Track.Origin = c.text("origin")
	if p := v.get("path"); p != nil {
		m.Track.Path, _ = p.data.([]string)
	}
	if k := v.get("key"); k != nil {
		m.Key = []byte(c.text("key"))
	}
	if p := v.get("priority"); p != nil {
		m.Priority = adapters.Priority{Set: true, Value: uint8(c.count("priority"))}
	}
	if p := v.get("persistent"); p != nil {
		m.Durable = adapters.No
		if c.flag("persistent") {
			m.Durable = adapters.Yes
		}
	}
	if c.flag("expired") {
		m.Expires = m.Received
	}
	if c.flag("redelivered") {
		m.Deliveries = 1
	}
	m.Created = w.time(v.get("time"))
	m.Props = w.headers(v.get("header"))
	m.Body = w.body(v)
	return m
}

// time reads a moment; 0 if there is none.
func (w *walker) time(v *value) int64 {
	if v == nil || v.data == nil {
		return 0
	}
	t, err := time.Parse(time.RFC3339, fmt.Sprint(v.data))
	if err != nil {
		w.at(v.node, v.path, Finding{Code: "K003", Message: "time is not a moment", Label: "which moment?", Help: `write for example "2026-01-31T12:00:00Z"`})
		return 0
	}
	return t.UnixMilli()
}

func (w *walker) headers(v *value) (ps []adapters.Prop) {
	if v == nil {
		return nil
	}
	if v.node.Kind != yamltree.Map {
		w.at(v.node, v.path, Finding{Code: "K003", Message: "header must be a map from names to values", Label: describe(v.node), Help: "write for example: { region: EU, count: 5 }"})
		return nil
	}
	for _, p := range v.node.Pairs {
		if x, ok := scalarValue(p.Value); ok && p.Key.Kind == yamltree.Scalar {
			ps = append(ps, adapters.Prop{Name: p.Key.Text, V: x})
			continue
		}
		w.at(p.Value, join(v.path, clip(p.Key.Text)), Finding{Code: "K003", Message: "a header must be text, a number, or true or false", Label: describe(p.Value), Help: "write one value"})
	}
	return ps
}

// scalarValue is what a scalar of YAML is as the value of a header.
func scalarValue(n *yamltree.Node) (v adapters.Value, ok bool) {
	if n.Kind != yamltree.Scalar || n.Tag != "" {
		return v, false
	}
	switch n.Form {
	case yamltree.Null:
		return v, true
	case yamltree.Bool:
		return adapters.Bool(n.Text == "true"), n.Text == "true" || n.Text == "false"
	case yamltree.Number:
		if i, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
			return adapters.Int(adapters.TI64, i), true
		}
		f, err := strconv.ParseFloat(n.Text, 64)
		return adapters.Float64(f), err == nil
	}
	return adapters.String(n.Text), true
}

// body reads the one of text, json and base64 that is there.
func (w *walker) body(v *value) adapters.Body {
	var given []*value
	for _, key := range []string{"text", "json", "base64"} {
		if b := v.get(key); b != nil {
			given = append(given, b)
		}
	}
	switch {
	case len(given) == 0:
		return adapters.Body{}
	case len(given) > 1:
		w.at(given[1].key, given[1].path, Finding{Code: "K003", Message: fmt.Sprintf("the message has two bodies, %s and %s", given[0].field.Name, given[1].field.Name), Label: "the second", Help: "keep one of them"})
		return adapters.Body{}
	}
	b, name := given[0], given[0].field.Name
	switch {
	case name == "json":
		var out bytes.Buffer
		if bad := writeJSON(&out, b.node); bad != nil {
			w.at(bad, b.path, Finding{Code: "K003", Message: "this cannot be written as JSON", Label: describe(bad), Help: "quote it, or write the body as text: it is taken as it is then"})
		}
		return adapters.Body{Form: adapters.BodyBytes, Data: out.Bytes()}
	case name == "base64":
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(fmt.Sprint(b.data)), ""))
		if err != nil && b.data != nil {
			w.at(b.node, b.path, Finding{Code: "K003", Message: "base64 cannot be decoded: " + err.Error(), Label: "not base64", Help: "write the output of base64 FILE, or the body as text"})
		}
		return adapters.Body{Form: adapters.BodyBytes, Data: data}
	case b.node.Kind != yamltree.Scalar || b.node.Form != yamltree.Text:
		w.at(b.node, b.path, Finding{Code: "K003", Message: "text must be text", Label: describe(b.node), Help: "quote it, put it under a | block, or write json: for what is to be JSON"})
	}
	return adapters.Body{Form: adapters.BodyText, Data: []byte(b.node.Text)}
}

// writeJSON writes a tree of YAML as JSON, and returns what has no place there.
func writeJSON(out *bytes.Buffer, n *yamltree.Node) (bad *yamltree.Node) {
	if n.Tag != "" {
		return n
	}
	switch n.Kind {
	case yamltree.Map:
		return writeObject(out, n)
	case yamltree.List:
		out.WriteByte('[')
		for i, it := range n.Items {
			if i > 0 {
				out.WriteByte(',')
			}
			if bad := writeJSON(out, it); bad != nil {
				return bad
			}
		}
		out.WriteByte(']')
		return nil
	}
	text := n.Text
	switch {
	case n.Form == yamltree.Null:
		text = "null"
	case n.Form == yamltree.Text:
		text = jsonText(text)
	case !json.Valid([]byte(text)):
		return n
	}
	out.WriteString(text)
	return nil
}

func writeObject(out *bytes.Buffer, n *yamltree.Node) (bad *yamltree.Node) {
	out.WriteByte('{')
	for i, p := range n.Pairs {
		if p.Key.Kind != yamltree.Scalar {
			return p.Key
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(jsonText(p.Key.Text) + ":")
		if bad := writeJSON(out, p.Value); bad != nil {
			return bad
		}
	}
	out.WriteByte('}')
	return nil
}

func jsonText(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string is always JSON
	return strings.TrimSuffix(b.String(), "\n")
}
