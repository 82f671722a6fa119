package bridge

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A vector is one block of testdata/vectors.txt; the head of that file says how to read it.
type vector struct {
	line                                int
	title, from, to                     string
	options                             []string
	in, is, out, wire, back, note, fail []string
}

func vectors(t *testing.T) []*vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var vs []*vector
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
			"fail": &v.fail}[word]
		if list == nil {
			t.Fatalf("testdata/vectors.txt:%d: no line begins with %q", n, word)
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
	if len(vs) < 60 {
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
	in := Options{Trusted: !has("untrusted") && !has("values"), TrustValues: has("values")}
	out := Options{KeepTo: has("keep-to"), ConvertBody: has("convert-body"), PassUserID: has("pass-user"), NoShed: has("no-shed")}
	now := time.UnixMilli(baseTime)

	m, notes := Restore(message(t, &adapters.Message{Received: baseTime}, v.in), headersOf(v.from), in)
	if v.is != nil || v.to == "-" {
		same(t, "canonical", dump(m), v.is)
	}
	canonical := dump(m)
	if v.to != "-" {
		fitted, more, err := Fit(m, headersOf(v.to), out, now)
		notes = append(notes, more...)
		if v.fail != nil {
			v.failed(t, err)
		} else if err != nil {
			t.Fatalf("Fit: %v", err)
		} else {
			same(t, "fitted", dump(fitted), v.out)
			notes = append(notes, v.wayBack(t, fitted, canonical)...)
		}
	}
	var got []string
	for _, n := range notes {
		got = append(got, n.Field+" "+n.What)
	}
	same(t, "notes", got, v.note)
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
	arrived, err := hop(fitted, headersOf(v.to), baseTime+5)
	if err != nil {
		t.Fatal(err)
	}
	arrived = message(t, arrived, v.wire)
	back, notes := Restore(arrived, headersOf(v.to), Options{Trusted: true})
	want := v.back
	if want == nil {
		want = canonical
	}
	same(t, "back", dump(back), want)
	return notes
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got:\n\t%s\nwant:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
