package routes

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// lines writes a term as an indented list.
func (t Term) lines(indent string) string {
	s := indent + t.Source + ": " + t.Says + t.Error
	for _, l := range t.Seen {
		s += fmt.Sprintf("; %s = %s%s", l.Name, l.Value, l.Error)
	}
	s += "\n"
	for _, sub := range t.Terms {
		s += sub.lines(indent + " ")
	}
	return s
}

func TestTerms(t *testing.T) {
	for source, want := range map[string]string{
		`msg.priority > 3`: "msg.priority > 3: true; msg.priority = 7\n",
		`msg.priority > 3 and msg.header.region == "US" and msg.json.total > 5`: `msg.priority > 3 and msg.header.region == "US" and msg.json.total > 5: false
 msg.priority > 3: true; msg.priority = 7
 msg.header.region == "US": false; msg.header.region = "EU"
 msg.json.total > 5: not asked
`,
		`(msg.type == "a" || msg.size > 10) && not msg.persistent`: `(msg.type == "a" || msg.size > 10) && not msg.persistent: false
 msg.type == "a" || msg.size > 10: true
  msg.type == "a": false; msg.type = "order"
  msg.size > 10: true; msg.size = 97
 not msg.persistent: false; msg.persistent = true
`,
		`int(msg.header.region) > 4 or true`: `int(msg.header.region) > 4 or true: true
 int(msg.header.region) > 4: errorinvalid operation: int(EU); msg.header.region = "EU"
 true: not asked
`,
		`any(msg.json.items, .sku == msg.header.region) or "x" in msg.header`: `any(msg.json.items, .sku == msg.header.region) or "x" in msg.header: false
 any(msg.json.items, .sku == msg.header.region): false; msg.json.items = [{"sku":"a"},{"sku":"b"}]; msg.header.region = "EU"
 "x" in msg.header: false; msg.header = header "raw" holds bytes that are not text
`,
		`msg.json.none?.deep == nil`: "msg.json.none?.deep == nil: true; msg.json.none?.deep = null\n",
	} {
		f := &Filter{mustCompile(t, source, reflect.Bool)}
		term := f.Terms(testMessage(), "r")
		if got := term.lines(""); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
		ok, err := f.Match(testMessage(), "r")
		if says := fmt.Sprint(ok); err == nil && says != term.Says || err != nil && term.Says != SaysFail {
			t.Errorf("%s: the terms come to %s, the filter to %v, %v", source, term.Says, ok, err)
		}
	}
}

// TestTermsAgree: taken apart, a filter says what it says as a whole.
func TestTermsAgree(t *testing.T) {
	atoms := []string{"msg.priority > 3", `msg.type == "x"`, `msg.json.nothing.there == 1`, `int(msg.header.region) > 1`, "msg.persistent", "not (msg.size > 3 and msg.hops > 9)"}
	var sources []string
	for _, a := range atoms {
		for _, b := range atoms {
			for _, c := range atoms {
				sources = append(sources, a+" and "+b+" or "+c, "("+a+" or "+b+") and "+c, a+" or "+b+" and not ("+c+")")
			}
		}
	}
	for _, s := range sources {
		f := &Filter{mustCompile(t, s, reflect.Bool)}
		ok, err := f.Match(testMessage(), "r")
		want := fmt.Sprint(ok)
		if err != nil {
			want = SaysFail
		}
		if got := f.Terms(testMessage(), "r").Says; got != want {
			t.Errorf("%s: %s, want %s (%v)", s, got, want, err)
		}
	}
}

func TestLoadMessage(t *testing.T) {
	src := `id: m-1
correlation_id: c
reply_to: SQ2
type: order
key: k
priority: 7
persistent: true
redelivered: true
path: [a/b, c/d]
origin: o-1
content_type: application/json
time: "1970-01-01T00:00:01Z"
header: { region: EU, n: 5, x: true, f: 1.5, none: null, "with space": "7" }
json: { total: 12.5, name: x, items: [{ sku: a }, 2, null, true], "a<b": "ü\n" }
`
	m, fs := LoadMessage("m.yaml", []byte(src))
	if m == nil {
		t.Fatal(fs)
	}
	if want := `{"total":12.5,"name":"x","items":[{"sku":"a"},2,null,true],"a<b":"ü\n"}`; string(m.Body.Data) != want {
		t.Errorf("body %s, want %s", m.Body.Data, want)
	}
	filter := &Filter{mustCompile(t, `msg.id == "m-1" and msg.correlation_id == "c" and msg.reply_to == "SQ2" and msg.type == "order" and msg.key == "k" and msg.priority == 7
		and msg.persistent and msg.redelivered and not msg.expired and msg.hops == 2 and msg.origin == "o-1" and msg.content_type == "application/json" and msg.time == 1000
		and msg.header.region == "EU" and int(msg.header.n) == 5 and msg.header.x == "true" and "none" in msg.header and msg.json.total > 12 and msg.header["with space"] == "7"`, reflect.Bool)}
	if ok, err := filter.Match(m, "r"); !ok || err != nil {
		t.Errorf("%v, %v\n%s", ok, err, filter.Terms(m, "r").lines(""))
	}
	var types []string
	for _, p := range m.Props {
		types = append(types, p.V.Type().Code())
	}
	if got := strings.Join(types, " "); got != "s i64 b f64 n s" {
		t.Errorf("types of headers: %s", got)
	}
	for _, body := range []string{`text: "a\nb"`, "text: |-\n  a\n  b", "base64: YQpi", `{"text": "a\nb"}`} {
		if m, fs := LoadMessage("m", []byte(body)); m == nil || string(m.Body.Data) != "a\nb" {
			t.Errorf("%s: %v, %v", body, m, fs)
		}
	}
	if m, _ := LoadMessage("m", []byte("expired: true")); m == nil || m.Body.Form != adapters.BodyNone || !(&Filter{mustCompile(t, "msg.expired", reflect.Bool)}).mustMatch(m) {
		t.Errorf("%+v", m)
	}
}

func (f *Filter) mustMatch(m *adapters.Message) bool {
	ok, err := f.Match(m, "r")
	return ok && err == nil
}

func TestLoadBadMessage(t *testing.T) {
	for src, want := range map[string]string{
		"heder: { a: b }":        `did you mean "header"?`,
		"id: 4711":               `quote it: "4711"`,
		"header: [a]":            "header must be a map",
		"header: { a: [1] }":     "a header must be text",
		"text: a\njson: 1":       "two bodies",
		"base64: '%%'":           "cannot be decoded",
		"json: { a: .inf }":      "cannot be written as JSON",
		"json: !x 1":             "cannot be written as JSON",
		"json: { [1]: 2 }":       "",
		"text: 5":                "text must be text",
		"time: yesterday":        "time is not a moment",
		"priority: 300":          "too large",
		"persistent: yes":        "Y006",
		"- a":                    "must be a map",
		"a: [":                   "Y001",
		"":                       "Y002",
		"header: { a: 0x10 }":    "",
		"header: { a: !b c }":    "a header must be text",
		"text: a\nbase64: [1,2]": "",
	} {
		m, fs := LoadMessage("m.yaml", []byte(src))
		var b strings.Builder
		_ = fs.Text(&b)
		if want != "" && (m != nil || !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "m.yaml:")) {
			t.Errorf("%q: %v, want %q in\n%s", src, m, want, b.String())
		}
	}
}

// FuzzLoadMessage: no message file panics, and what is read has a JSON body that is JSON.
func FuzzLoadMessage(f *testing.F) {
	for _, s := range []string{"id: a\njson: { a: [1, null] }", "header: { a: 1 }\ntext: x", "base64: YQ==", "json: 1e400", "path: [a]"} {
		f.Add(s)
	}
	filter := &Filter{mustCompile(f, `msg.json.a == 1 and len(msg.header) > 1 and msg.time > 0`, reflect.Bool)}
	f.Fuzz(func(t *testing.T, src string) {
		m, fs := LoadMessage("m", []byte(src))
		if (m == nil) != fs.HasErrors() {
			t.Errorf("%q: message %v, findings %v", src, m != nil, fs)
		}
		if m != nil {
			filter.Terms(m, "r")
		}
	})
}
