package yamltree

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// splitLines cuts at every line break that YAML 1.1 knows, so that line numbers agree with the library's.
func splitLines(s string) []string {
	var lines []string
	start := 0
	for i := 0; i < len(s); {
		r, w := utf8.DecodeRuneInString(s[i:])
		i += w
		if r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029 {
			lines = append(lines, s[start:i-w])
			if r == '\r' && i < len(s) && s[i] == '\n' {
				i++
			}
			start = i
		}
	}
	return append(lines, s[start:])
}

// Line returns a line's text without its break; "" beyond the end.
func (d *Document) Line(n int) string {
	if n < 1 || n > len(d.lines) {
		return ""
	}
	return d.lines[n-1]
}

// notText finds the first byte that is not UTF-8.
func notText(src []byte) *Problem {
	if utf8.Valid(src) {
		return nil
	}
	line, col := 1, 1
	for len(src) > 0 {
		r, w := utf8.DecodeRune(src)
		if r == utf8.RuneError && w <= 1 {
			break
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
		src = src[w:]
	}
	return &Problem{Code: "Y001", Line: line, Col: col, EndCol: col + 1, Label: "not UTF-8",
		Message: fmt.Sprintf("the file is not UTF-8 text: byte 0x%02x cannot stand here", src[0]),
		Help:    "save the file as UTF-8"}
}

// syntax turns an error of the library into a problem at the right line. The library's own line is wrong in half of the
// cases: the longest prefix of whole lines that parses ends just before the mistake.
func (d *Document) syntax(src []byte, err error) Problem {
	f := finder{src: src, offs: offsets(d.lines, src), budget: 4 * MaxBytes}
	label := "in this line"
	line, exact := f.find()
	if !exact {
		label = "in this line, or below it"
	}
	line = min(max(line, 0), len(d.lines)-1)
	text := d.lines[line]
	trimmed := strings.TrimSpace(text)
	col := 1 + utf8.RuneCountInString(text[:len(text)-len(strings.TrimLeft(text, " \t"))])
	return Problem{Code: "Y001", Line: line + 1, Col: col, EndCol: col + max(utf8.RuneCountInString(trimmed), 1),
		Message: "not YAML: " + plainWords(err), Label: label, Help: helpFor(text)}
}

// plainWords strips the library's name and line from its message.
func plainWords(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(s, "unknown anchor") {
		return "an alias (*) names an anchor that does not exist" // the name may be part of a secret
	}
	return withoutLine(s)
}

// withoutLine takes "line N: " off: the finding has its own position.
func withoutLine(s string) string {
	if rest, ok := strings.CutPrefix(s, "line "); ok {
		if _, m, ok := strings.Cut(rest, ": "); ok {
			return m
		}
	}
	return s
}

// helpFor guesses from how the line's value starts what the operator wanted.
func helpFor(line string) string {
	if strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
		return "indent with spaces: YAML does not permit tabs"
	}
	k, v, ok := strings.Cut(line, ": ")
	v = strings.TrimLeft(v, " ")
	starts := "\"'*@`%&!"
	if k = strings.TrimLeft(k, " -"); k == "filter" || k == "key" {
		starts += "[{|>"
	}
	if ok && v != "" && strings.ContainsRune(starts, rune(v[0])) {
		return "quote the whole expression, or put it under a | block"
	}
	if strings.ContainsAny(line, "{[") {
		return "look at its indentation, close every { and [, and quote the texts between them that hold one of , : ? # { } [ ]"
	}
	if ok && strings.Contains(v, ": ") {
		return "quote the value: it contains a colon and a space"
	}
	return "look at this line's indentation, quotes and brackets, and at those of the line above"
}

// offsets[i] is where line i ends, its break included.
func offsets(lines []string, src []byte) []int {
	offs := make([]int, 0, len(lines))
	at := 0
	for _, l := range lines {
		at += len(l)
		_, w := utf8.DecodeRune(src[min(at, len(src)):])
		if at < len(src) && src[at] == '\r' && at+1 < len(src) && src[at+1] == '\n' {
			w = 2
		}
		at = min(at+w, len(src))
		offs = append(offs, at)
	}
	return offs
}

// A finder looks for the longest prefix of lines that parses.
type finder struct {
	src    []byte
	offs   []int
	base   int  // parsing starts at this line: an entry of the same level as those that follow
	whole  bool // parsing always starts at the first line
	budget int  // bytes that may still be parsed
}

// parses reports whether the lines from the base to n, exclusively, are a document.
func (f *finder) parses(n int) bool {
	if n == 0 {
		return true
	}
	from := f.start()
	f.budget -= f.offs[n-1] - from
	_, err := decode(f.src[from:f.offs[n-1]], 2)
	return err == nil
}

// start is where the line of the base begins in the source.
func (f *finder) start() int {
	if f.base == 0 {
		return 0
	}
	return f.offs[f.base-1]
}

// find returns the index of the line of the mistake. Entries of one level do not depend on one another, aliases apart:
// so what has parsed is not parsed again, and the cost is about twice the file. The answer is checked against the whole
// file; where it does not hold, the search starts again and always parses from the first line.
func (f *finder) find() (int, bool) {
	f.whole = strings.Contains(string(f.src), " *")
	n, ok := f.search()
	if f.base, f.budget = 0, 3*MaxBytes; ok && (f.whole || f.parses(n) && !f.parses(n+1)) {
		return n, true
	}
	f.whole = true
	return f.search()
}

// search halves over the lines that start an entry, level by level, then steps line by line.
func (f *finder) search() (int, bool) {
	good, bad := 0, len(f.offs)
	for bad-good > 12 && f.budget > 0 {
		starts := f.entries(good, bad)
		lo, hi := 0, len(starts) // starts[:lo] parse
		for lo < hi && f.budget > 0 {
			mid := (lo + hi) / 2
			if !f.parses(starts[mid]) {
				hi, bad = mid, starts[mid]
				continue
			}
			lo, good = mid+1, starts[mid]
			if mid > 0 && !f.whole { // the first may be the continuation of the line above, the others are entries
				f.base = good
			}
		}
		if lo == 0 {
			break
		}
	}
	for n := bad - 1; n > good && f.budget > 0; n-- {
		if f.parses(n) {
			return n, true
		}
	}
	return good, f.budget > 0
}

// entries are the lines after good and before bad with the least indentation.
func (f *finder) entries(good, bad int) []int {
	var out []int
	least := 1 << 30
	for i := good + 1; i < bad; i++ {
		l := string(f.src[f.offs[i-1]:f.offs[i]])
		t := strings.TrimLeft(l, " ")
		if in := len(l) - len(t); strings.TrimSpace(t) == "" || t[0] == '#' || in > least {
			continue
		} else if in < least {
			least, out = in, out[:0]
		}
		out = append(out, i)
	}
	return out
}
