package bridge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// The text of a message in testdata and in failures: one line for each field that is set, times relative to T.
const baseTime = 1700000000000 // T

var formNames = [...]string{"none", "bytes", "text", "value", "sequence", "map", "stream", "object"}

func timeText(ms int64) string {
	if ms == baseTime {
		return "T"
	}
	return fmt.Sprintf("T%+d", ms-baseTime)
}

func parseTimeText(s string) (int64, error) {
	if s == "T" {
		return baseTime, nil
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "T"), 10, 64)
	return baseTime + n, err
}

// dump lists what is set in m, sorted; Received is left out.
func dump(m *adapters.Message) []string {
	var out []string
	add := func(set bool, format string, args ...any) {
		if set {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	t := m.Track
	add(t.ID != "", "track-id %q", t.ID)
	add(t.Origin != "", "track-origin %q", t.Origin)
	add(len(t.Path) > 0, "track-path %q", t.Path)
	add(t.MaybeDup, "maybe-dup")
	add(!m.ID.IsZero(), "id %s", idDump(m.ID))
	add(!m.Corr.IsZero(), "corr %s", idDump(m.Corr))
	add(!m.Group.ID.IsZero(), "group %s", idDump(m.Group.ID))
	add(m.To != adapters.Addr{}, "to %s", FormatAddr(m.To))
	add(m.ReplyTo != adapters.Addr{}, "reply-to %s", FormatAddr(m.ReplyTo))
	for name, s := range map[string]string{"type": m.Type, "content-type": m.ContentType, "content-encoding": m.ContentEncoding,
		"reply-group": m.ReplyGroup, "app-id": m.AppID, "user-id": string(m.UserID), "native": m.Native.Proto,
		"format": m.Body.Format} {
		add(s != "", "%s %q", name, s)
	}
	add(m.Key != nil, "key %q", m.Key)
	for name, ms := range map[string]int64{"created": m.Created, "expires": m.Expires, "deliver-at": m.DeliverAt} {
		add(ms != 0, "%s %s", name, timeText(ms))
	}
	for name, n := range map[string]int64{"left": m.Left, "deliveries": int64(m.Deliveries), "msg-type": int64(m.MsgType),
		"report": int64(m.Report), "feedback": int64(m.Feedback), "ccsid": int64(m.Body.CCSID),
		"encoding": int64(m.Body.Encoding)} {
		add(n != 0, "%s %d", name, n)
	}
	add(m.Priority.Set, "priority %d", m.Priority.Value)
	add(m.Durable != adapters.Unset, "durable %s", []string{"", "no", "yes"}[m.Durable])
	add(m.Group.HasSeq, "group-seq %d", m.Group.Seq)
	add(m.Group.Last, "group-last")
	add(m.Body.Null, "null")
	add(len(m.Body.Cuts) > 1, "cuts %v", m.Body.Cuts)
	add(m.Body.Form != adapters.BodyNone || len(m.Body.Data) > 0, "body %s %q", formNames[m.Body.Form], m.Body.Data)
	for _, l := range []struct {
		word string
		ps   []adapters.Prop
	}{{"prop", m.Props}, {"ce", m.CE}, {"ma", m.Annot.MA}, {"ft", m.Annot.Footer}} {
		for i := range l.ps {
			out = append(out, propDump(l.word, &l.ps[i]))
		}
	}
	slices.Sort(out)
	return out
}

func idDump(id adapters.ID) string {
	switch id.Form {
	case adapters.IDString:
		return fmt.Sprintf("string %q", id.S)
	case adapters.IDBytes:
		return fmt.Sprintf("bytes %q", id.B)
	case adapters.IDUUID:
		return "uuid " + uuidText(id.B)
	}
	return fmt.Sprintf("ulong %d", id.U)
}

func propDump(word string, p *adapters.Prop) string {
	if word == "prop" && isOwn(p.Name) {
		return strings.TrimRight(fmt.Sprintf("own %s %s", p.Name, p.V.Str()), " ")
	}
	if p.KeyNum {
		word += "-num"
	}
	v, _ := formatTyped(p.V)
	return fmt.Sprintf("%s %q %s", word, p.Name, v)
}

// set reads one line of dump's text into m.
func set(m *adapters.Message, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	text := map[string]*string{"type": &m.Type, "content-type": &m.ContentType, "content-encoding": &m.ContentEncoding,
		"reply-group": &m.ReplyGroup, "app-id": &m.AppID, "native": &m.Native.Proto, "format": &m.Body.Format,
		"track-id": &m.Track.ID, "track-origin": &m.Track.Origin}
	times := map[string]*int64{"created": &m.Created, "expires": &m.Expires, "deliver-at": &m.DeliverAt, "received": &m.Received}
	var err error
	switch {
	case text[word] != nil:
		*text[word], err = strconv.Unquote(rest)
	case times[word] != nil:
		*times[word], err = parseTimeText(rest)
	default:
		err = setOther(m, word, rest)
	}
	return err
}

func setOther(m *adapters.Message, word, rest string) (err error) {
	var n int64
	switch word {
	case "priority", "left", "deliveries", "msg-type", "ccsid", "group-seq":
		if n, err = strconv.ParseInt(rest, 10, 64); err != nil {
			return err
		}
	}
	switch word {
	case "priority":
		m.Priority = adapters.Priority{Set: true, Value: uint8(n)}
	case "left":
		m.Left = n
	case "deliveries":
		m.Deliveries = uint32(n)
	case "msg-type":
		m.MsgType = uint32(n)
	case "ccsid":
		m.Body.CCSID = int32(n)
	case "group-seq":
		m.Group.Seq, m.Group.HasSeq = uint32(n), true
	case "group-last":
		m.Group.Last = true
	case "maybe-dup":
		m.Track.MaybeDup = true
	case "null":
		m.Body.Null = true
	case "durable":
		m.Durable = map[string]adapters.Tri{"no": adapters.No, "yes": adapters.Yes}[rest]
	case "track-path":
		m.Track.Path = strings.Split(rest, " ")
	case "cuts":
		for _, f := range strings.Fields(strings.Trim(rest, "[]")) {
			c, _ := strconv.Atoi(f)
			m.Body.Cuts = append(m.Body.Cuts, c)
		}
	case "id":
		m.ID, err = parseIDDump(rest)
	case "corr":
		m.Corr, err = parseIDDump(rest)
	case "group":
		m.Group.ID, err = parseIDDump(rest)
	case "to":
		m.To, _ = ParseAddr(rest)
	case "reply-to":
		m.ReplyTo, _ = ParseAddr(rest)
	default:
		return setBytes(m, word, rest)
	}
	return err
}

func setBytes(m *adapters.Message, word, rest string) error {
	lists := map[string]*[]adapters.Prop{"prop": &m.Props, "own": &m.Props, "ce": &m.CE, "ma": &m.Annot.MA,
		"ft": &m.Annot.Footer, "ma-num": &m.Annot.MA}
	switch word {
	case "key", "user-id":
		s, err := strconv.Unquote(rest)
		if m.Key = []byte(s); word == "user-id" {
			m.Key, m.UserID = nil, []byte(s)
		}
		return err
	case "body":
		form, data, _ := strings.Cut(rest, " ")
		s, err := strconv.Unquote(data)
		m.Body.Form, m.Body.Data = adapters.BodyForm(slices.Index(formNames[:], form)), []byte(s)
		return err
	case "own":
		name, value, _ := strings.Cut(rest, " ")
		m.Props = append(m.Props, adapters.Prop{Name: name, V: adapters.String(value)})
		return nil
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if lists[word] == nil || err != nil {
		return fmt.Errorf("no field %q", word)
	}
	name, _ := strconv.Unquote(quoted)
	v, ok := parseTypedText(strings.TrimPrefix(rest[len(quoted):], " "))
	if !ok {
		return fmt.Errorf("value of %s %s", word, rest)
	}
	*lists[word] = append(*lists[word], adapters.Prop{Name: name, KeyNum: word == "ma-num", V: v})
	return nil
}

func parseIDDump(s string) (adapters.ID, error) {
	form, v, _ := strings.Cut(s, " ")
	switch form {
	case "ulong":
		u, err := strconv.ParseUint(v, 10, 64)
		return adapters.ID{Form: adapters.IDULong, U: u}, err
	case "uuid":
		u, ok := parseUUID(v)
		if !ok {
			return adapters.ID{}, fmt.Errorf("uuid %q", v)
		}
		return adapters.ID{Form: adapters.IDUUID, B: u[:]}, nil
	}
	t, err := strconv.Unquote(v)
	if form == "bytes" {
		return adapters.ID{Form: adapters.IDBytes, B: []byte(t)}, err
	}
	return adapters.ID{Form: adapters.IDString, S: t}, err
}
