package nats

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/adapters"
)

// Names of headers that stand for a field (headers.md, section 3). NATS never changes the case of a name.
const (
	hdrMsgID       = "Nats-Msg-Id" // ADR-8: the stream drops an id that it has seen within its window
	hdrTTL         = "Nats-TTL"    // ADR-43: seconds until the server removes the message
	hdrContentType = "Content-Type"
	ownExpires     = "posthouse-expires" // what Nats-TTL says too, exact
	ceMark         = "ce-"               // CloudEvents NATS binding 1.0, section 3.1.3
	ceContentType  = "ce-datacontenttype"
	natsPrefix     = "Nats-" // commands to the server and metadata of the hop
)

// decode makes a Message of what a stream gave out. It takes data for its own. Headers of different names come in the
// order of their names, for NATS does not keep another; Nats-Msg-Id was for the stream and ends here.
func decode(h natsgo.Header, data []byte) adapters.Message {
	m := adapters.Message{Durable: adapters.Yes, Body: adapters.Body{Form: adapters.BodyBytes, Data: data}}
	if len(h) == 0 {
		return m
	}
	event := isEvent(h)
	m.Props = make([]adapters.Prop, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for i, v := range h[name] {
			decodeHeader(&m, name, v, i == 0, event, len(h[ownExpires]) > 0)
		}
	}
	return m
}

func decodeHeader(m *adapters.Message, name, v string, first, event, expires bool) {
	switch {
	case name == hdrMsgID || name == hdrTTL && expires:
	case event && name == ceContentType && first:
		m.ContentType = ceUnescape(v)
	case !event && name == hdrContentType && first:
		m.ContentType = v
	case event && strings.HasPrefix(name, ceMark) && first && isAttribute(name[len(ceMark):]):
		m.CE = append(m.CE, adapters.Prop{Name: name[len(ceMark):], V: adapters.String(ceUnescape(v))})
	default:
		m.Props = append(m.Props, adapters.Prop{Name: name, V: adapters.String(v)})
	}
}

// isEvent reports whether h has the four attributes that make a CloudEvent in binary mode.
func isEvent(h natsgo.Header) bool {
	version := h["ce-specversion"]
	if len(version) == 0 || len(h["ce-id"]) == 0 || len(h["ce-source"]) == 0 || len(h["ce-type"]) == 0 {
		return false
	}
	return version[0] == "1.0" || version[0] == "0.3"
}

// encode makes the headers of m; its body goes out as it is. The error tells of a name or value that NATS cannot carry:
// nothing is dropped or changed in silence. Properties called Nats-* are commands to the server and are not written
// (headers.md, section 3.9).
// With ttl the server removes the message when its lifetime is over (ADR-43).
func encode(m *adapters.Message, ttl bool) (natsgo.Header, error) {
	h := make(natsgo.Header, 2+len(m.Props)+len(m.CE))
	if ttl && m.Left > 0 {
		h[hdrTTL] = []string{strconv.FormatInt((m.Left+999)/1000, 10) + "s"}
	}
	if m.Track.ID != "" {
		if err := put(h, hdrMsgID, m.Track.ID); err != nil {
			return nil, err
		}
	}
	if err := encodeContentType(h, m); err != nil {
		return nil, err
	}
	for i := range m.CE {
		if err := put(h, ceMark+m.CE[i].Name, ceEscape(m.CE[i].V.Text())); err != nil {
			return nil, err
		}
	}
	for i := range m.Props {
		p := &m.Props[i]
		if strings.HasPrefix(p.Name, natsPrefix) {
			continue
		}
		v, err := text(p.V)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", p.Name, err)
		}
		if err := put(h, p.Name, v); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func encodeContentType(h natsgo.Header, m *adapters.Message) error {
	switch {
	case m.ContentType == "":
		return nil
	case len(m.CE) > 0:
		return put(h, ceContentType, ceEscape(m.ContentType))
	}
	return put(h, hdrContentType, m.ContentType)
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

func text(v adapters.Value) (string, error) {
	switch v.Type() {
	case adapters.TList, adapters.TMap:
		return "", errors.New("a list or map is no text")
	case adapters.TBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Str())), nil
	}
	return v.Text(), nil
}

func put(h natsgo.Header, name, v string) error {
	if !isToken(name) {
		return fmt.Errorf("header name %q: NATS takes letters, digits and !#$%%&'*+-.^_`|~", cut(name))
	}
	if !isPlain(v) {
		return fmt.Errorf("header %s: the value has a line break, or blanks at an end", cut(name))
	}
	h[name] = append(h[name], v)
	return nil
}

func cut(s string) string { return s[:min(len(s), 64)] }

// isToken reports whether name is a token (RFC 9110, section 5.6.2), the rule of the client library. ADR-4 would take
// all printable ASCII but the colon.
func isToken(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return name != ""
}

// isPlain reports whether v arrives as it is: the client turns line breaks into blanks and trims blanks at the ends.
func isPlain(v string) bool {
	if v == "" {
		return true
	}
	blank := func(c byte) bool { return c == ' ' || c == '\t' }
	return strings.IndexByte(v, '\r') < 0 && strings.IndexByte(v, '\n') < 0 && !blank(v[0]) && !blank(v[len(v)-1])
}

// ceEscape percent-encodes what the CloudEvents NATS binding (section 3.1.3.2) does not allow: blank, quote, percent
// and all outside U+0021 to U+007E.
func ceEscape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// ceUnescape reverses ceEscape; what is no percent-encoding stays as it is.
func ceUnescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
