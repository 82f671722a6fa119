package routes

import (
	"slices"
	"strings"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// Severity of a Finding.
type Severity string

// The severities. An error refuses the file; a warning does not.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// A Finding is one thing that is wrong with a file: where, what, and how to mend it.
type Finding struct {
	Code     string   `json:"code"` // "F002"; Explain tells more about it
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`    // from 1; 0 = the finding is about the file as a whole
	Col      int      `json:"col"`     // from 1, in runes
	EndCol   int      `json:"end_col"` // the column behind the last rune
	Path     string   `json:"path,omitempty"`
	Message  string   `json:"message"`

	Label      string `json:"-"` // stands behind the carets
	Suggestion string `json:"suggestion,omitempty"`
	Help       string `json:"help,omitempty"` // what to write
	Note       string `json:"-"`

	shown string // the line as it may be shown: secrets masked
	caret int    // Col in shown
	width int    // carets
}

// Findings are in file order.
type Findings []Finding

// HasErrors reports whether one of fs refuses the file.
func (fs Findings) HasErrors() bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == Error })
}

// A reporter collects findings about one file and knows which parts of it must not be shown.
type reporter struct {
	file     string
	doc      *yamltree.Document
	findings Findings
	masks    []mask
	names    map[string]bool // of keys: whether they tell that the value is a secret
}

// A mask hides columns [from, to) of a line, or of several lines.
type mask struct {
	line, from, to int
}

const masked = "******"

// place gives a finding the position of a node.
func (r *reporter) place(f Finding, n *yamltree.Node) Finding {
	f.Line, f.Col, f.EndCol = n.Line, n.Col, r.doc.End(n)
	return f
}

// at adds an error about a node.
func (r *reporter) at(n *yamltree.Node, path string, f Finding) {
	f.Path = path
	r.add(r.place(f, n))
}

func (r *reporter) add(f Finding) {
	if f.Severity == "" {
		f.Severity = Error
	}
	f.File = r.file
	f.EndCol = max(f.EndCol, f.Col+1)
	r.findings = append(r.findings, f)
}

func (r *reporter) problems(ps []yamltree.Problem) {
	for _, p := range ps {
		r.add(Finding{Code: p.Code, Line: p.Line, Col: p.Col, EndCol: p.EndCol, Message: p.Message, Label: p.Label,
			Help: p.Help, Note: p.Note})
	}
}

// hide masks a scalar, on all lines on which it stands.
func (r *reporter) hide(n *yamltree.Node) {
	ps := r.doc.Positions(n)
	if len(ps) == 0 {
		for l := n.Line; l <= n.Line+strings.Count(n.Text, "\n")+1; l++ {
			from := 1
			if l == n.Line {
				from = n.Col
			}
			r.masks = append(r.masks, mask{l, from, 1 << 30})
		}
		return
	}
	first, last := ps[0].Line, ps[len(ps)-1].Line
	for l := min(first, n.Line); l <= last; l++ {
		m := mask{l, 1, 1 << 30}
		if l == n.Line {
			m.from = n.Col
		}
		if l == last {
			m.to = ps[len(ps)-1].Col
			if n.Style == yamltree.SingleQuoted || n.Style == yamltree.DoubleQuoted {
				m.to++
			}
		}
		r.masks = append(r.masks, m)
	}
}

// finish sorts the findings into file order, each once, and gives each the line to show.
func (r *reporter) finish() Findings {
	slices.SortStableFunc(r.findings, inFileOrder)
	r.findings = slices.Compact(r.findings) // what is wrong in defaults is found with every broker and route
	for i := range r.findings[:min(len(r.findings), maxShown)] {
		r.quote(&r.findings[i])
	}
	return r.findings
}

func inFileOrder(a, b Finding) int {
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Col - b.Col
}

// quote fills in the line of f, masked, cut to a window around the position, without control characters.
func (r *reporter) quote(f *Finding) {
	if f.Line == 0 {
		return
	}
	line := []rune(r.doc.Line(f.Line))
	col, end := f.Col-1, min(f.EndCol-1, len(line))
	line, col, end = r.cover(f.Line, line, col, end)
	const window = 160
	if len(line) > window {
		from := max(0, min(col-window/2, len(line)-window))
		line = line[from:min(from+window, len(line))]
		col, end = col-from, min(end-from, len(line))
	}
	for i, c := range line {
		if !showable(c) {
			line[i] = ' '
		}
	}
	if f.Code == "X001" {
		end = col + len(masked)
	}
	f.shown, f.caret, f.width = strings.TrimRight(string(line), " "), col+1, max(end-col, 1)
}

// showable reports whether a character cannot move the cursor, change the direction of writing, or stay unseen.
func showable(c rune) bool {
	return !(c < ' ' || c >= 0x7f && c < 0xa0 || c >= 0x200b && c <= 0x202e || c >= 0x2060 && c <= 0x206f || c == 0xfeff || c == '\ufffd')
}

// cover replaces the hidden parts of a line and moves the columns along.
func (r *reporter) cover(n int, line []rune, col, end int) ([]rune, int, int) {
	var ms []mask
	for _, m := range r.masks {
		if m.line == n && m.from <= len(line) {
			ms = append(ms, m)
		}
	}
	for _, m := range r.looksSecret(string(line)) {
		if !slices.ContainsFunc(ms, func(o mask) bool { return m.from < o.to && o.from < m.to }) {
			ms = append(ms, m)
		}
	}
	ms = merged(ms)
	slices.Reverse(ms) // from the right, so that columns stay valid
	for _, m := range ms {
		from, to := m.from-1, min(m.to-1, len(line))
		shift := len(masked) - (to - from)
		line = slices.Concat(line[:from], []rune(masked), line[to:])
		col, end = moved(col, from, to, shift, from), moved(end, from, to, shift, from+len(masked))
	}
	return line, col, end
}

// merged sorts masks of one line and joins those that touch.
func merged(ms []mask) []mask {
	slices.SortFunc(ms, func(a, b mask) int { return a.from - b.from })
	var out []mask
	for _, m := range ms {
		if n := len(out); n > 0 && m.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, m.to)
			continue
		}
		out = append(out, m)
	}
	return out
}

// moved is where a column is after [from, to) has grown by shift; a column inside goes to inside.
func moved(col, from, to, shift, inside int) int {
	switch {
	case col >= to && col > from:
		return col + shift
	case col > from:
		return inside
	}
	return col
}
