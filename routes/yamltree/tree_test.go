package yamltree

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// find returns the scalar behind a top-level key.
func find(t *testing.T, d *Document, key string) *Node {
	t.Helper()
	for _, p := range d.Root.Pairs {
		if p.Key.Text == key {
			return p.Value
		}
	}
	t.Fatalf("no key %q", key)
	return nil
}

// TestPositions marks one word in scalars of every form and looks for it by text.
func TestPositions(t *testing.T) {
	const word = "HERE"
	forms := map[string]string{
		"plain":         "a: x HERE y\n",
		"plain lines":   "a: x y\n  z\n\n  w HERE y\n",
		"plain flow":    "a: x\nb: [1, 2]\nc: {d: e}\nk: x HERE",
		"single":        "a: 'it''s ''HERE'' y'\n",
		"single lines":  "a: 'it''s\n   so\n\n   ''HERE'' y'\n",
		"double":        "a: \"\\u00e9 \\x41 \\U0001F600 \\n \\t \\\\ \\\" HERE y\"\n",
		"double lines":  "a: \"one\n  two HERE\"\n",
		"literal":       "a: |\n  one\n    two\n\n  three HERE four\n",
		"literal strip": "a: |-\n\n  one HERE\n",
		"folded":        "a: >\n  one\n  two\n\n    three\n  four HERE\n",
		"folded strip":  "a: >- # comment\n    one &&\n    HERE\n",
		"non-ascii":     "a: äöü € 😀 HERE\n",
		"comment":       "a: x HERE # not HERE\n",
	}
	for name, src := range forms {
		for _, eol := range []string{"\n", "\r\n"} {
			text := strings.ReplaceAll(src, "\n", eol)
			d, ps := Parse([]byte(text))
			if len(ps) > 0 {
				t.Fatalf("%s: %+v", name, ps)
			}
			n := d.Root.Pairs[len(d.Root.Pairs)-1].Value
			at := d.Positions(n)
			before, _, ok := strings.Cut(n.Text, word)
			if !ok || len(at) != utf8.RuneCountInString(n.Text)+1 {
				t.Errorf("%s: %d positions for %q", name, len(at), n.Text)
				continue
			}
			wantLine, wantCol := locateText(text, word)
			if got := at[utf8.RuneCountInString(before)]; got.Line != wantLine || got.Col != wantCol {
				t.Errorf("%s%q: %d:%d, want %d:%d", name, eol, got.Line, got.Col, wantLine, wantCol)
			}
		}
	}
}

func locateText(text, word string) (line, col int) {
	before, _, _ := strings.Cut(text, word)
	last := before[strings.LastIndex(before, "\n")+1:]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(last)
}

// TestNoPositions: where the place cannot be told, nothing is claimed.
func TestNoPositions(t *testing.T) {
	for _, src := range []string{"a: &x text\n", "a: !t text\n", "a: |2\n   text\n", "a: \"one \\\n  two\"\n"} {
		d, _ := Parse([]byte(src))
		if at := d.Positions(find(t, d, "a")); at != nil {
			t.Errorf("%q: %v", src, at)
		}
	}
}

func TestEndAndComment(t *testing.T) {
	for src, want := range map[string]string{
		"a: word\n":           "8 -",
		"a: word # x\n":       "8 9-12 1",
		"a: word   # x  \n":   "8 11-14 3",
		"a: 'w # x'\n":        "11 -",
		"a: \"w\"\n":          "7 -",
		"a: [b, c] # x\n":     "10 -",
		"a: {b: {c: d}} \n":   "15 -",
		"a: [b,\n c]\n":       "7 -",
		"a:\n  bcd: 1\n":      "6 -",
		"a:\n  - b\n":         "4 -",
		"a: one\n  two\n":     "7 -",
		"a: |\n  text\n":      "5 -",
		"a: !tag\n":           "8 -",
		"a: one\n  two # x\n": "7 7-10 1",
	} {
		d, _ := Parse([]byte(src))
		n := find(t, d, "a")
		got := fmt.Sprint(d.End(n), " -")
		if c, ok := d.Comment(n); ok {
			got = fmt.Sprintf("%d %d-%d %d", d.End(n), c.Col, c.EndCol, c.Blanks)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", src, got, want)
		}
	}
}

func TestTagsAndForms(t *testing.T) {
	d, ps := Parse([]byte("a: !msg.x\nb: ! y\nc: !!str 5\nd: '!z'\ne: 5\nf: true\ng: ~\nh: \"5\"\ni: 1.5\nj: yes\nk: [!u v, !w x]\nl: |\n  5\nm: |\n  !x\n"))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	got := map[string]string{}
	for _, p := range d.Root.Pairs {
		got[p.Key.Text] = fmt.Sprint(p.Value.Tag, " ", p.Value.Form)
	}
	want := map[string]string{"a": "!msg.x 0", "b": "! 0", "c": "!!str 0", "d": " 0", "e": " 3", "f": " 2", "g": " 1", "h": " 0", "i": " 3", "j": " 0", "k": " 0", "l": " 0", "m": " 0"}
	for k, w := range want {
		if k == "a" {
			w = "!msg.x " + got[k][len("!msg.x "):] // what a tag makes of an empty value does not matter
		}
		if got[k] != w {
			t.Errorf("%s: %q, want %q", k, got[k], w)
		}
	}
	k := find(t, d, "k")
	if k.Items[0].Tag != "!u" || k.Items[1].Tag != "!w" {
		t.Errorf("tags in a list: %q, %q", k.Items[0].Tag, k.Items[1].Tag)
	}
}

// TestSyntaxLine breaks one line of a long file in many ways: the line must be found wherever it stands.
func TestSyntaxLine(t *testing.T) {
	for _, mistake := range []string{
		`    filter: "a" == b`, "\t    x: y", `    filter: 'a' b`, "    filter: *all", "    filter: @x", "    filter: `x`", "    filter: %50",
		"    filter: a: b", "    filter: [a", "    filter: {a: b", `    filter: "a`, "   to: x", "    ? ]", "    filter: ]",
	} {
		for _, at := range []int{3, 199} {
			lines := make([]string, 0, 201)
			lines = append(lines, "routes:")
			for i := 1; i < 201; i++ {
				switch i % 4 {
				case 1:
					lines = append(lines, fmt.Sprintf("  - name: r%d", i))
				case 2:
					lines = append(lines, "    from: { broker: a, queue: b }")
				case 3:
					lines = append(lines, "    text: |\n      some\n      text"[:len("    text: |")-1]+"x")
				default:
					lines = append(lines, "    to: [c, d]")
				}
			}
			lines[at] = mistake
			_, ps := Parse([]byte(strings.Join(lines, "\n") + "\n"))
			if len(ps) != 1 || ps[0].Code != "Y001" || ps[0].Line != at+1 {
				t.Errorf("%q at line %d: %+v", mistake, at+1, ps)
			}
		}
	}
}

// TestRefused feeds what is no operator's file; each must be refused at once with one problem. The test's own time limit
// is the judge of "at once".
func TestRefused(t *testing.T) {
	repeat := func(s string) string { return strings.Repeat(s, MaxBytes/len(s)) }
	for src, code := range map[string]string{
		strings.Repeat("a", 10<<20): "Y008",
		repeat("["):                 "Y008",
		repeat("{"):                 "Y008",
		repeat("- "):                "Y008",
		repeat("a: [\n"):            "Y008",
		strings.Repeat("[", 65) + strings.Repeat("]", 65): "Y008",
		repeat("-\n"):       "Y008",
		repeat("*a "):       "Y001",
		repeat("|\n"):       "Y001",
		repeat("'\n"):       "Y001",
		repeat("a: 'x\n"):   "Y001",
		repeat("%\n"):       "Y001",
		repeat("# x\n"):     "Y002",
		"":                  "Y002",
		"---\n":             "Y002",
		"a: 1\n---\nb: 2\n": "Y002",
		"a: \xff":           "Y001",
		"a: \x01":           "Y001",
		"a: &a [*a]":        "Y005",
		"a: &a [x]\nb: [" + strings.Repeat("*a,", 21) + "]": "Y005",
	} {
		d, ps := Parse([]byte(src))
		if len(ps) != 1 || ps[0].Code != code || d.Root != nil {
			t.Errorf("%.30q: %+v, want one %s", src, ps, code)
		}
	}
}

// TestAliasBudget: twenty aliases that double each time are bounded by the values they stand for.
func TestAliasBudget(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [" + strings.Repeat("x,", 1000) + "]\n")
	for i := 1; i <= 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	d, ps := Parse([]byte(b.String()))
	if d.Root != nil || len(ps) != 1 || ps[0].Code != "Y005" && ps[0].Code != "Y008" {
		t.Errorf("%+v", ps)
	}
}

func TestSplitLines(t *testing.T) {
	got := strings.Join(splitLines("a\nb\r\nc\rd\u0085e\u2028f\u2029\n"), "|")
	if got != "a|b|c|d|e|f||" {
		t.Error(got)
	}
}

// FuzzParse: no input panics, and every position lies inside of the file.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: b\n", "a: &x [*x]\n", "a: |2\n  b\n", "- 'x\n  y'\n", "a: \"\\u00e9\"", "a: !x y # z", "\ufeffa: b", "a: >-\n\n b\r\n c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d, ps := Parse(src)
		for _, p := range ps {
			if p.Line < 1 || p.Col < 1 || p.EndCol < p.Col || p.Code == "" || p.Message == "" {
				t.Errorf("%+v", p)
			}
		}
		if d.Root != nil {
			walk(t, d, d.Root)
		}
	})
}

func walk(t *testing.T, d *Document, n *Node) {
	if n.Line < 1 || n.Line > len(d.lines) || n.Col < 1 || d.End(n) <= n.Col {
		t.Errorf("%+v ends at %d", n, d.End(n))
	}
	d.Comment(n)
	for _, p := range d.Positions(n) {
		if p.Line < n.Line || p.Line > len(d.lines)+1 || p.Col < 1 {
			t.Errorf("%+v: position %+v", n, p)
		}
	}
	for _, it := range n.Items {
		walk(t, d, it)
	}
	for _, p := range n.Pairs {
		walk(t, d, p.Key)
		walk(t, d, p.Value)
	}
}
