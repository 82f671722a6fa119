package routes

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// A token of an expression, enough to recognise a selector in SQL's style (JMS 2.0, section 3.8.1).
type token struct {
	text string
	at   int // in runes
	kind tokenKind
}

type tokenKind uint8

const (
	tokWord tokenKind = iota + 1
	tokText           // in quotes
	tokNumber
	tokSign
)

// tokens cuts an expression up. It is forgiving: what it does not know is a sign.
func tokens(s string) []token {
	r := []rune(s)
	var out []token
	for i := 0; i < len(r); {
		start, kind := i, tokSign
		switch c := r[i]; {
		case unicode.IsSpace(c):
			i++
			continue
		case c == '"' || c == '\'' || c == '`':
			i, kind = quoted(r, i), tokText
		case unicode.IsLetter(c) || c == '_' || c == '$':
			for kind = tokWord; i < len(r) && (unicode.IsLetter(r[i]) || unicode.IsDigit(r[i]) || strings.ContainsRune("_$.", r[i])); i++ {
			}
		case unicode.IsDigit(c):
			for kind = tokNumber; i < len(r) && (unicode.IsDigit(r[i]) || unicode.IsLetter(r[i]) || r[i] == '.' || r[i] == '_'); i++ {
			}
		default:
			if i++; i < len(r) && slices.Contains(strings.Fields("<> <= >= == != && || ?. ?? .. ::"), string(r[i-1:i+1])) {
				i++
			}
		}
		out = append(out, token{string(r[start:i]), start, kind})
	}
	return out
}

// quoted returns the index behind the text in quotes that begins at i.
func quoted(r []rune, i int) int {
	q := r[i]
	for i++; i < len(r); i++ {
		if r[i] == '\\' && q != '`' {
			i++
		} else if r[i] == q {
			return i + 1
		}
	}
	return len(r)
}

// A selector converts SQL's habits.
type selector struct {
	in    []token
	out   []string
	first int // offset of the first habit, -1 = none
	width int
	open  bool // a parenthesis behind not waits to be closed
}

// fromSQL finds SQL's habits in an expression and writes it as it should be. at is the offset of the first one in
// runes, width its length; ok is false where there is none.
func fromSQL(src string) (converted string, at, width int, ok bool) {
	s := &selector{in: tokens(src), first: -1}
	for len(s.in) > 0 {
		s.step()
	}
	s.close()
	return spaced(s.out), s.first, s.width, s.first >= 0
}

// word reports whether the i-th token from here is one of SQL's words, in any case.
func (s *selector) word(i int, w string) bool {
	return i < len(s.in) && s.in[i].kind == tokWord && strings.EqualFold(s.in[i].text, w)
}

// take uses n tokens up and notes a habit.
func (s *selector) take(n int, habit bool, out ...string) {
	if habit && s.first < 0 {
		s.first, s.width = s.in[0].at, len([]rune(s.in[0].text))
	}
	s.in, s.out = s.in[n:], append(s.out, out...)
}

func (s *selector) step() {
	t := s.in[0]
	switch {
	case t.text == "=":
		s.take(1, true, "==")
	case t.text == "<>":
		s.take(1, true, "!=")
	case t.kind == tokText:
		s.take(1, false, `"`+strings.Trim(t.text, "\"'`")+`"`)
	case t.text == "AND" || t.text == "OR":
		s.close()
		s.take(1, true, strings.ToLower(t.text))
	case t.text == "NOT" && (s.word(1, "like") || s.word(1, "in") || len(s.in) > 1 && s.in[1].text == "("):
		s.take(1, true, "not")
	case t.text == "NOT" && !s.open: // SQL's NOT takes the whole comparison, ours only the next value
		s.take(1, true, "not", "(")
		s.open = true
	case s.word(0, "is") && s.word(1, "null"):
		s.null(2, true)
	case s.word(0, "is") && s.word(1, "not") && s.word(2, "null"):
		s.null(3, false)
	case s.word(0, "like") && len(s.in) > 1 && s.in[1].kind == tokText:
		s.take(2, true, like(strings.Trim(s.in[1].text, "\"'`"))...)
	case s.word(0, "between") && len(s.in) > 3 && s.word(2, "and"):
		s.between()
	case t.text == "IN":
		s.take(1, true, "in")
		s.set()
	case t.kind == tokWord:
		s.take(1, false, property(t.text))
	default:
		s.take(1, false, t.text)
	}
}

func (s *selector) close() {
	if s.open {
		s.out, s.open = append(s.out, ")"), false
	}
}

// null converts X IS NULL, where X is the last word written.
func (s *selector) null(n int, absent bool) {
	left := ""
	if len(s.out) > 0 {
		left = s.out[len(s.out)-1]
		s.out = s.out[:len(s.out)-1]
	}
	if name, ok := strings.CutPrefix(left, "msg.header."); ok {
		left = fmt.Sprintf("%q in msg.header", name)
		if absent {
			left = "not (" + left + ")"
		}
	} else if left += ` != ""`; absent {
		left = strings.TrimSuffix(left, ` != ""`) + ` == ""`
	}
	s.take(n, true, left)
}

func (s *selector) between() {
	left := ""
	if len(s.out) > 0 {
		left = s.out[len(s.out)-1]
		s.out = s.out[:len(s.out)-1]
	}
	s.take(4, true, fmt.Sprintf("(%s >= %s and %s <= %s)", left, s.in[1].text, left, s.in[3].text))
}

// set converts the parentheses behind IN.
func (s *selector) set() {
	if len(s.in) == 0 || s.in[0].text != "(" {
		return
	}
	s.in[0].text = "["
	for i := range s.in {
		if s.in[i].text == ")" {
			s.in[i].text = "]"
			return
		}
	}
}

// like converts a pattern with % and _.
func like(p string) []string {
	inner := strings.Trim(p, "%")
	switch {
	case strings.ContainsAny(inner, "%_"):
		re := strings.NewReplacer("%", ".*", "_", ".", ".", `\\.`, "*", `\\*`, "+", `\\+`, "(", `\\(`, ")", `\\)`).Replace(p)
		return []string{"matches", `"^` + re + `$"`}
	case strings.HasPrefix(p, "%") && strings.HasSuffix(p, "%"):
		return []string{"contains", `"` + inner + `"`}
	case strings.HasPrefix(p, "%"):
		return []string{"endsWith", `"` + inner + `"`}
	case strings.HasSuffix(p, "%"):
		return []string{"startsWith", `"` + inner + `"`}
	}
	return []string{"==", `"` + p + `"`}
}

// property writes a selector's identifier as an expression's.
func property(w string) string {
	known := map[string]string{"JMSPriority": "msg.priority", "JMSMessageID": "msg.id", "JMSCorrelationID": "msg.correlation_id",
		"JMSType": "msg.type", "JMSTimestamp": "msg.time", "JMSDeliveryMode": "msg.persistent", "TRUE": "true", "FALSE": "false"}
	if k := known[w]; k != "" {
		return k
	}
	operators := []string{"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "true", "false", "nil", "route", "repeater"}
	for _, keep := range append(operators, functions()...) {
		if w == keep {
			return w
		}
	}
	if strings.HasPrefix(w, "msg.") || w == "msg" || strings.HasPrefix(w, ".") {
		return w
	}
	return "msg.header." + w
}

// spaced joins words with the spaces that people would write.
func spaced(words []string) string {
	var b strings.Builder
	for i, w := range words {
		tight := i == 0 || strings.HasSuffix(b.String(), "(") || strings.HasSuffix(b.String(), "[") || strings.HasSuffix(b.String(), "!") ||
			w == ")" || w == "]" || w == "," || w == "[" && words[i-1] != "in" || strings.HasPrefix(w, ".")
		if w == "(" && i > 0 {
			for _, f := range functions() {
				tight = tight || words[i-1] == f
			}
		}
		if !tight {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}
