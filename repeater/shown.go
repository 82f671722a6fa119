package repeater

import (
	"encoding/base64"
	"regexp"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// A Shown is a message as JSON: what people and scripts need of it.
type Shown struct {
	PosthouseID string      `json:"posthouse_id,omitempty"`
	Origin      string      `json:"origin,omitempty"`
	Path        []string    `json:"path,omitempty"`
	Maybe       bool        `json:"possible_duplicate,omitempty"`
	ID          string      `json:"id,omitempty"`
	Corr        string      `json:"correlation_id,omitempty"`
	To          string      `json:"to,omitempty"`
	ReplyTo     string      `json:"reply_to,omitempty"`
	Type        string      `json:"type,omitempty"`
	ContentType string      `json:"content_type,omitempty"`
	Key         string      `json:"key,omitempty"`
	Group       string      `json:"group,omitempty"`
	Priority    *uint8      `json:"priority,omitempty"`
	Durable     bool        `json:"durable,omitempty"`
	Created     int64       `json:"created_ms,omitempty"`
	Received    int64       `json:"received_ms,omitempty"`
	Expires     int64       `json:"expires_ms,omitempty"`
	Headers     [][2]string `json:"headers,omitempty"`
	Set         [][2]string `json:"set,omitempty"`   // headers that the route gives it on the way to its target
	Unset       []string    `json:"unset,omitempty"` // those that it takes out
	Body        string      `json:"body,omitempty"`
	Base64      string      `json:"body_base64,omitempty"` // where the body is no text
}

// Show makes a message readable, headers and body.
func Show(m *adapters.Message) *Shown {
	s := &Shown{
		PosthouseID: m.Track.ID, Origin: m.Track.Origin, Path: m.Track.Path, Maybe: m.Track.MaybeDup, ID: ShowID(m.ID), Corr: ShowID(m.Corr),
		To: m.To.Name, ReplyTo: m.ReplyTo.Name, Type: m.Type, ContentType: m.ContentType, Key: string(m.Key), Group: ShowID(m.Group.ID),
		Durable: m.Durable == adapters.Yes, Created: m.Created, Received: m.Received, Expires: m.Expires,
	}
	if m.Priority.Set {
		s.Priority = &m.Priority.Value
	}
	for _, h := range m.Props {
		s.Headers = append(s.Headers, [2]string{h.Name, h.V.Text()})
	}
	for _, e := range m.Edits {
		if e.V.Type() == adapters.TNull {
			s.Unset = append(s.Unset, e.Name)
		} else {
			s.Set = append(s.Set, [2]string{e.Name, e.V.Text()})
		}
	}
	if utf8.Valid(m.Body.Data) {
		s.Body = string(m.Body.Data)
	} else {
		s.Base64 = base64.StdEncoding.EncodeToString(m.Body.Data)
	}
	return s
}

// ShowID shows text as it is, and an id of another type in the form that Posthouse writes into headers, which says what
// it is.
func ShowID(id adapters.ID) string {
	if id.Form == adapters.IDString {
		return id.S
	}
	return bridge.FormatID(id)
}

// masked stands where a value is not shown.
const masked = "***"

// Veil takes out what only those may see who may see bodies: the body itself, and the values of headers that are secrets by
// their name.
func (s *Shown) Veil() {
	secret := regexp.MustCompile(`(?i)authorization|password|secret|token|cookie`)
	for _, hs := range [][][2]string{s.Headers, s.Set} {
		for i := range hs {
			if secret.MatchString(hs[i][0]) {
				hs[i][1] = masked
			}
		}
	}
	s.Body, s.Base64 = "", ""
}
