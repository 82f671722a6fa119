package yamltree

import (
	"strings"
	"unicode/utf8"
)

// A Pos is a place in the file.
type Pos struct {
	Line, Col int
}

// Positions returns where each rune of a scalar's text stands in the file, and as last element where the text ends. It
// returns nil where that cannot be told: behind an anchor or a tag, for blocks with an indentation indicator and for
// line breaks escaped in double quotes.
func (d *Document) Positions(n *Node) []Pos {
	if n.Kind != Scalar || n.Anchor || n.Tag != "" {
		return nil
	}
	c := cursor{d: d, line: n.Line, col: n.Col}
	c.load()
	switch n.Style {
	case Literal, Folded:
		if header := string(c.rest()); strings.ContainsAny(strings.SplitN(header, "#", 2)[0], "123456789") {
			return nil
		}
		c.line, c.col = c.line+1, 1
		c.load()
	case SingleQuoted, DoubleQuoted:
		c.col++
	}
	return c.align(n)
}

// align walks over the text and the file together: white space of the text may be any white space in the file.
func (c *cursor) align(n *Node) []Pos {
	out := make([]Pos, 0, len(n.Text)+1)
	for _, r := range n.Text {
		if !(n.Style == DoubleQuoted && c.peek() == '\\') && (r == ' ' || r == '\t' || r == '\n') {
			out = append(out, Pos{c.line, c.col})
			if p := c.peek(); p == ' ' || p == '\t' {
				c.col++
			}
			continue
		}
		for p := c.peek(); (p == ' ' || p == '\t' || p == '\n') && p != r; p = c.peek() {
			c.next()
		}
		out = append(out, Pos{c.line, c.col})
		if !c.take(n.Style, r) {
			return nil
		}
	}
	return append(out, Pos{c.line, c.col})
}

// End returns where a node ends on the line on which it starts: the column after its last rune there.
func (d *Document) End(n *Node) int {
	line := []rune(strings.TrimRight(d.Line(n.Line), " \t"))
	if n.Kind == Scalar {
		if ps := d.Positions(n); ps != nil && ps[len(ps)-1].Line == n.Line {
			end := ps[len(ps)-1].Col
			if n.Style == SingleQuoted || n.Style == DoubleQuoted {
				end++
			}
			return max(end, n.Col+1)
		}
		if n.Tag != "" {
			return n.Col + utf8.RuneCountInString(n.Tag)
		}
		return max(len(line)+1, n.Col+1)
	}
	if !n.Flow && len(n.Pairs) > 0 && n.Pairs[0].Key.Kind == Scalar && !n.Pairs[0].Key.Flow {
		return d.End(n.Pairs[0].Key)
	}
	if !n.Flow {
		return n.Col + 1
	}
	return closing(line, n.Col)
}

// closing finds the bracket that closes the one at col, or the end of the line.
func closing(line []rune, col int) int {
	depth := 0
	for i := col - 1; i < len(line); i++ {
		switch line[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 2
			}
		}
	}
	return max(len(line)+1, col+1)
}

// A Comment ends a plain scalar; it runs from its # to the end of its line.
type Comment struct {
	Line, Col, EndCol int
	Blanks            int // between the value and the #
}

// Comment returns what ends a plain scalar; ok is false where that is no comment.
func (d *Document) Comment(n *Node) (c Comment, ok bool) {
	ps := d.Positions(n)
	if ps == nil || n.Style != Plain {
		return Comment{}, false
	}
	last := ps[len(ps)-1]
	line := []rune(strings.TrimRight(d.Line(last.Line), " \t"))
	i := last.Col - 1
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i >= len(line) || line[i] != '#' {
		return Comment{}, false
	}
	return Comment{last.Line, i + 1, len(line) + 1, i - last.Col + 1}, true
}

// A cursor stands on a rune of the file; a line's break counts as one rune.
type cursor struct {
	d         *Document
	line, col int
	runes     []rune // of line
}

func (c *cursor) load() { c.runes = []rune(c.d.Line(c.line)) }

func (c *cursor) rest() []rune { return c.runes[min(c.col-1, len(c.runes)):] }

// peek returns 0 at the end of the file.
func (c *cursor) peek() rune {
	if c.col <= len(c.runes) {
		return c.runes[c.col-1]
	}
	if c.line < len(c.d.lines) {
		return '\n'
	}
	return 0
}

func (c *cursor) next() {
	if c.col <= len(c.runes) {
		c.col++
		return
	}
	c.line, c.col = c.line+1, 1
	c.load()
}

// take moves over the spelling of r and reports whether it was there.
func (c *cursor) take(s Style, r rune) bool {
	p := c.peek()
	if s == DoubleQuoted && p == '\\' {
		return c.escape(r)
	}
	if p != r {
		return false
	}
	c.next()
	if s == SingleQuoted && r == '\'' {
		c.next()
	}
	return true
}

// escape moves over an escape sequence of double quotes that stands for r.
func (c *cursor) escape(r rune) bool {
	rest := c.rest()
	if len(rest) < 2 {
		return false
	}
	const from, to = "0abtnvfre \"/\\N_LP\t", "\x00\a\b\t\n\v\f\r\x1b \"/\\\u0085\u00a0\u2028\u2029\t"
	if i := strings.IndexRune(from, rest[1]); i >= 0 {
		c.col += 2
		return []rune(to)[utf8.RuneCountInString(from[:i])] == r
	}
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[rest[1]]
	if digits == 0 || len(rest) < 2+digits {
		return false
	}
	var v rune
	for _, h := range rest[2 : 2+digits] {
		v = v<<4 | rune(strings.IndexRune("0123456789abcdef", h|0x20))
	}
	c.col += 2 + digits
	return v == r
}
