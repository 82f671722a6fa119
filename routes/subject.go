package routes

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// The limits on what an expression sees of a message; beyond them its evaluation is an error.
const (
	maxText     = 64 << 10 // bytes of msg.text, and of the text of msg.json
	maxValue    = 4 << 10  // bytes of one header
	maxHeaders  = 256      // headers, where an expression looks at all of them
	maxElements = 1000     // of one list or map of msg.json
	maxDepth    = 32       // nesting of msg.json
)

// A subject is a message under evaluation. What costs something is made when it is first asked for.
type subject struct {
	m        *adapters.Message
	headers  map[string]string
	text     string
	haveText bool
	json     any
	haveJSON bool
	asked    int // how many times the expression has looked at it
}

// environment is what an expression may name.
type environment struct {
	Msg      *subject `expr:"msg"`
	Route    string   `expr:"route"`
	Repeater string   `expr:"repeater"`
}

// A messageField is one field of msg: its name, the type that the compiler knows, and how it is read.
type messageField struct {
	name, typ, doc string
	signature      any
	read           func(*subject) (any, error)
}

// messageFields is the table of msg's fields, in the order of the reference.
func messageFields() []messageField {
	text := func(name, doc string, read func(*adapters.Message) string) messageField {
		return messageField{name, "text", doc, new(func(*subject) string), func(s *subject) (any, error) { return read(s.m), nil }}
	}
	number := func(name, doc string, read func(*adapters.Message) int) messageField {
		return messageField{name, "number", doc, new(func(*subject) int), func(s *subject) (any, error) { return read(s.m), nil }}
	}
	flag := func(name, doc string, read func(*adapters.Message) bool) messageField {
		return messageField{name, "true or false", doc, new(func(*subject) bool), func(s *subject) (any, error) { return read(s.m), nil }}
	}
	return []messageField{
		text("id", "Message id of the application; bytes in hexadecimal.", func(m *adapters.Message) string { return idText(m.ID) }),
		text("correlation_id", "Id of the message that this one answers.", func(m *adapters.Message) string { return idText(m.Corr) }),
		text("reply_to", "Where the requester expects the reply.", func(m *adapters.Message) string { return m.ReplyTo.Name }),
		text("type", "JMSType, or the AMQP subject.", func(m *adapters.Message) string { return m.Type }),
		text("key", "Ordering or partition key, as text.", func(m *adapters.Message) string { return string(m.Key) }),
		number("priority", "0 to 9; 4 where the message states none.", priority),
		number("size", "Bytes of the body.", func(m *adapters.Message) int { return len(m.Body.Data) }),
		flag("persistent", "The producer asked for a durable message.", func(m *adapters.Message) bool { return m.Durable == adapters.Yes }),
		flag("expired", "Its expiry had passed when this repeater received it.", func(m *adapters.Message) bool { return m.Expires != 0 && m.Expires <= m.Received }),
		flag("redelivered", "It may have been delivered before.", func(m *adapters.Message) bool { return m.Deliveries > 0 || m.Track.MaybeDup }),
		number("hops", "Routes it has passed before this one.", func(m *adapters.Message) int { return len(m.Track.Path) }),
		text("origin", "Id given by the first repeater.", func(m *adapters.Message) string { return m.Track.Origin }),
		text("content_type", "MIME type.", func(m *adapters.Message) string { return m.ContentType }),
		number("time", "When the producer made it, in ms since 1970 UTC; 0 where it does not say.", func(m *adapters.Message) int { return int(m.Created) }),
		{"header", "map", "Headers by name, as text; case matters. A missing one gives \"\": test with \"x\" in msg.header.",
			new(func(*subject) map[string]string), func(s *subject) (any, error) { return s.allHeaders() }},
		{"text", "text", "The body as text, at most 64 KiB.", new(func(*subject) string), func(s *subject) (any, error) { return s.bodyText() }},
		{"json", "untyped", "The body as JSON: msg.json.order.total. Convert what it holds: float(msg.json.total) > 4.",
			new(func(*subject) any), func(s *subject) (any, error) { return s.bodyJSON() }},
	}
}

// fieldNames are the names of msg's fields.
func fieldNames() []string {
	var out []string
	for _, f := range messageFields() {
		out = append(out, f.name)
	}
	return out
}

// ExplainFields lists what an expression may use, one field to a line.
func ExplainFields() string {
	var b strings.Builder
	for _, f := range messageFields() {
		fmt.Fprintf(&b, "%-20s %-14s %s\n", "msg."+f.name, f.typ, f.doc)
	}
	fmt.Fprintf(&b, "%-20s %-14s %s\n", "route", "text", "Name of the route.")
	fmt.Fprintf(&b, "%-20s %-14s %s\n", "repeater", "text", "Name of this daemon.")
	fmt.Fprintf(&b, "functions: %s\n", strings.Join(functions(), " "))
	return b.String()
}

func priority(m *adapters.Message) int {
	if m.Priority.Set {
		return int(m.Priority.Value)
	}
	return 4 // AMQP 1.0 part 3, section 3.2.1, and JMS
}

func idText(id adapters.ID) string {
	switch id.Form {
	case adapters.IDBytes:
		return hex.EncodeToString(id.B)
	case adapters.IDUUID:
		if len(id.B) == 16 {
			return adapters.UUID([16]byte(id.B)).Text()
		}
		return hex.EncodeToString(id.B)
	case adapters.IDULong:
		return fmt.Sprint(id.U)
	}
	return id.S
}

// header is one header without a look at the others. The last of equal names wins.
func (s *subject) header(name string) (string, error) {
	s.asked++
	v, _ := s.m.Prop(name)
	return headerText(name, v)
}

func headerText(name string, v adapters.Value) (string, error) {
	t := v.Text()
	if len(t) > maxValue {
		return "", fmt.Errorf("header %q has %d bytes; at most %d are looked at", name, len(t), maxValue)
	}
	if v.Type() == adapters.TBytes && !utf8.ValidString(t) {
		return "", fmt.Errorf("header %q holds bytes that are not text", name)
	}
	return t, nil
}

func (s *subject) has(name string) bool {
	s.asked++
	_, ok := s.m.Prop(name)
	return ok
}

func (s *subject) allHeaders() (map[string]string, error) {
	if s.headers != nil {
		return s.headers, nil
	}
	if len(s.m.Props) > maxHeaders {
		return nil, fmt.Errorf("the message has %d headers; at most %d are looked at", len(s.m.Props), maxHeaders)
	}
	hs := make(map[string]string, len(s.m.Props))
	for _, p := range s.m.Props {
		t, err := headerText(p.Name, p.V)
		if err != nil {
			return nil, err
		}
		if len(p.Name) > maxValue {
			return nil, fmt.Errorf("the name of a header has %d bytes; at most %d are looked at", len(p.Name), maxValue)
		}
		hs[p.Name] = t
	}
	s.headers = hs
	return hs, nil
}

func (s *subject) bodyText() (string, error) {
	if s.haveText {
		return s.text, nil
	}
	b := s.m.Body
	switch {
	case len(b.Data) > maxText:
		return "", fmt.Errorf("the body has %d bytes; at most %d are looked at", len(b.Data), maxText)
	case b.Form > adapters.BodyText:
		return "", errors.New("the body is structured, not text")
	case !utf8.Valid(b.Data):
		return "", errors.New("the body is not text")
	}
	s.text, s.haveText = string(b.Data), true
	return s.text, nil
}

func (s *subject) bodyJSON() (any, error) {
	if s.haveJSON {
		return s.json, nil
	}
	text, err := s.bodyText()
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	if err := boundJSON(v, 1); err != nil {
		return nil, err
	}
	s.json, s.haveJSON = v, true
	return v, nil
}

func boundJSON(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("the JSON body is nested deeper than %d", maxDepth)
	}
	n := 0
	switch x := v.(type) {
	case []any:
		n = len(x)
		for _, e := range x {
			if err := boundJSON(e, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		n = len(x)
		for _, e := range x {
			if err := boundJSON(e, depth+1); err != nil {
				return err
			}
		}
	}
	if n > maxElements {
		return fmt.Errorf("a list or map of the JSON body has %d elements; at most %d are looked at", n, maxElements)
	}
	return nil
}
