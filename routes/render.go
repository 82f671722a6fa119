package routes

import (
	"fmt"
	"io"
	"strings"
)

// maxShown is how many findings a report holds; the rest is counted.
const maxShown = 20

// Text writes the report that people read: every finding with its line and a caret, at most 20, and a last line that
// sums up. Without findings it writes nothing: the summary of a Table is the good news.
func (fs Findings) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range fs[:min(len(fs), maxShown)] {
		f.text(&b)
	}
	if n := len(fs) - maxShown; n > 0 {
		fmt.Fprintf(&b, "and %d more\n", n)
	}
	if len(fs) > 0 {
		fmt.Fprintf(&b, "%s: %s\n", fs[0].File, fs.count())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Finding) text(b *strings.Builder) {
	if f.Line == 0 {
		fmt.Fprintf(b, "%s: %s: %s [%s]\n", f.File, f.Severity, f.Message, f.Code)
	} else {
		fmt.Fprintf(b, "%s:%d:%d: %s: %s [%s]\n", f.File, f.Line, f.Col, f.Severity, f.Message, f.Code)
		number := fmt.Sprint(f.Line)
		fmt.Fprintf(b, " %s | %s\n", number, f.shown)
		caret := strings.Repeat(" ", f.caret-1) + strings.Repeat("^", f.width) + " " + f.Label
		fmt.Fprintf(b, " %*s | %s\n", len(number), "", strings.TrimRight(caret, " "))
	}
	indent := strings.Repeat(" ", len(fmt.Sprint(f.Line))+2)
	if h := strings.TrimSpace(f.Suggestion + " " + f.Help); h != "" {
		fmt.Fprintf(b, "%s= help: %s\n", indent, h)
	}
	if f.Note != "" {
		fmt.Fprintf(b, "%s= note: %s\n", indent, f.Note)
	}
}

// count is "11 errors, 1 warning".
func (fs Findings) count() string {
	errors, warnings := 0, 0
	for _, f := range fs {
		if f.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	var parts []string
	if errors > 0 {
		parts = append(parts, plural(errors, "error"))
	}
	if warnings > 0 {
		parts = append(parts, plural(warnings, "warning"))
	}
	return strings.Join(parts, ", ")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// GitHub writes all findings as workflow commands, one line each, which GitHub shows beside the lines of the file.
func (fs Findings) GitHub(w io.Writer) error {
	var b strings.Builder
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	for _, f := range fs {
		fmt.Fprintf(&b, "::%s file=%s", f.Severity, property.Replace(f.File))
		if f.Line > 0 {
			fmt.Fprintf(&b, ",line=%d,endLine=%d,col=%d,endColumn=%d", f.Line, f.Line, f.Col, f.EndCol)
		}
		text := f.Message
		for _, more := range []string{f.Suggestion, f.Help, f.Note} {
			if more != "" {
				text += "\n" + more
			}
		}
		fmt.Fprintf(&b, ",title=%s::%s\n", property.Replace(f.Code), data.Replace(text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
