package bridge

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A vector is one block of a file in testdata/vectors; the README there says how to read it.
type vector struct {
	line                                int
	title, from, to                     string
	options                             []string
	in, is, out, wire, back, note, fail []string
	raw, sent, unsent, reply            []string
}

func vectors(t *testing.T) []*vector {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/*-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors:", err)
	}
	var vs []*vector
	for _, file := range files {
		vs = append(vs, vectorsOf(t, file)...)
	}
	return vs
}

func vectorsOf(t *testing.T, file string) (vs []*vector) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var v *vector
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimRight(s.Text(), " ")
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimLeft(rest, " ")
		switch {
		case line == "" || line[0] == '#':
			continue
		case word == "vector":
			fields := strings.Fields(rest)
			v = &vector{line: n, title: rest, from: fields[1], to: fields[2], options: fields[3:]}
			vs = append(vs, v)
			continue
		}
		list := map[string]*[]string{"in": &v.in, "is": &v.is, "out": &v.out, "wire": &v.wire, "back": &v.back, "note": &v.note,
			"fail": &v.fail,
			"raw":  &v.raw, "sent": &v.sent, "unsent": &v.unsent, "reply": &v.reply}[word]
		if list == nil {
			t.Fatalf("%s:%d: no line begins with %q", file, n, word)
		}
		*list = append(*list, rest)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return vs
}

func TestVectors(t *testing.T) {
	vs := vectors(t)
	if len(vs) < 180 {
		t.Fatalf("only %d vectors read", len(vs))
	}
	for _, v := range vs {
		t.Run(v.title, func(t *testing.T) { v.run(t) })
	}
}

func message(t *testing.T, base *adapters.Message, lines []string) *adapters.Message {
	t.Helper()
	m := base.Clone()
	for _, l := range lines {
		if err := set(m, l); err != nil {
			t.Fatalf("line %q: %v", l, err)
		}
	}
	return m
}

func (v *vector) run(t *testing.T) {
	has := func(o string) bool { return slices.Contains(v.options, o) }
	in := Options{Trusted: !has("untrusted") && !has("values"), TrustValues: has("values"), ConvertText: has("convert-text")}
	out := Options{KeepTo: has("keep-to"), ConvertBody: has("convert-body"), PassUserID: has("pass-user"), NoShed: has("no-shed")}
	now := time.UnixMilli(baseTime)

	m, notes := Restore(message(t, v.arrived(t), v.in), headersOf(v.from), in)
	if v.is != nil || v.to == "-" {
		same(t, "canonical", dump(m), v.is)
	}
	canonical := dump(m)
	if v.to != "-" {
		fitted, more, err := Fit(m, headersOf(v.to), out, now)
		notes = append(notes, more...)
		switch {
		case v.fail != nil && v.fail[0] != "encode":
			v.failed(t, err)
		case err != nil:
			t.Fatalf("Fit: %v", err)
		default:
			if v.out != nil || v.sent == nil && v.unsent == nil && v.fail == nil {
				same(t, "fitted", dump(fitted), v.out)
			}
			if v.encoded(t, fitted) {
				notes = append(notes, v.wayBack(t, fitted, canonical)...)
			}
		}
	}
	var got []string
	for _, n := range notes {
		got = append(got, n.Field+" "+n.What)
	}
	same(t, "notes", got, v.note)
}

// arrived is the message as decode makes it of the raw lines.
func (v *vector) arrived(t *testing.T) *adapters.Message {
	t.Helper()
	if v.raw == nil {
		return &adapters.Message{Received: baseTime}
	}
	m, err := decodeRaw(v.from, v.raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// encoded looks at what goes out, and reports whether the way back is still to be looked at.
func (v *vector) encoded(t *testing.T, fitted *adapters.Message) bool {
	t.Helper()
	if v.reply != nil {
		fitted.ReplyTo, _ = ParseAddr(v.reply[0])
	}
	lines, err := encodeRaw(v.to, fitted)
	if (err != nil) != (v.fail != nil) {
		t.Errorf("encode: error %v", err)
	}
	for _, l := range v.sent {
		if !slices.Contains(lines, l) {
			t.Errorf("not sent: %s\nsent:\n\t%s", l, strings.Join(lines, "\n\t"))
		}
	}
	for _, l := range v.unsent {
		if i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, l+" ") }); i >= 0 {
			t.Errorf("sent: %s", lines[i])
		}
	}
	return err == nil && v.reply == nil
}

func (v *vector) failed(t *testing.T, err error) {
	var e *adapters.Error
	switch {
	case v.fail[0] == "expired" && errors.Is(err, ErrExpired):
	case v.fail[0] == "permanent" && errors.As(err, &e) && e.Kind == adapters.Permanent:
	default:
		t.Errorf("Fit: error %v, want %s", err, v.fail[0])
	}
}

// wayBack sends the message over the target's protocol, where somebody may change it, and restores it.
func (v *vector) wayBack(t *testing.T, fitted *adapters.Message, canonical []string) []Note {
	arrived, err := hop(fitted, v.to, baseTime+5)
	if err != nil {
		t.Fatal(err)
	}
	arrived = message(t, arrived, v.wire)
	back, notes := Restore(arrived, headersOf(v.to), Options{Trusted: true})
	want := v.back
	if want == nil {
		want = canonical
	}
	same(t, "back", v.without(dump(back), want), want)
	return notes
}

// without takes away what the target adds to every message that does not say it.
func (v *vector) without(got, want []string) []string {
	return slices.DeleteFunc(got, func(l string) bool {
		return !slices.Contains(want, l) && (l == "created T" && strings.HasPrefix(v.to, "kafka") || l == "durable no" && strings.HasPrefix(v.to, "mq"))
	})
}

// TestEveryRowIsThere: the design numbers its vectors, and each number has a vector here, or a test elsewhere.
func TestEveryRowIsThere(t *testing.T) {
	there := map[string]bool{}
	for _, v := range vectors(t) {
		n, _, _ := strings.Cut(v.title, " ")
		there[strings.TrimRight(n, "abcdefghijkl")] = true
	}
	replies, err := os.ReadFile("../repeater/bridge_test.go") // what needs the table of requests
	if err != nil {
		t.Fatal(err)
	}
	for row, test := range map[string]string{"36": "TestBridge_Habits", "37": "TestBridge_LateTwiceUnknown"} {
		there[row] = strings.Contains(string(replies), "func "+test+"(t *testing.T)")
	}
	for n := 1; n <= 83; n++ {
		if !there[strconv.Itoa(n)] {
			t.Errorf("row %d has no vector and no test", n)
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got:\n\t%s\nwant:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
