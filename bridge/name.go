package bridge

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// EscName spells a property name as a Java identifier that is no reserved word, as JMS and IBM MQ want them: "." is
// _DOT_, "-" is _HYPHEN_, other characters are _xHEX_. UnescName reverses it exactly for every name in valid UTF-8.
func EscName(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case i == 0 && badStart(name):
			fmt.Fprintf(&b, "_x%04X_", r)
		case r == '.':
			b.WriteString("_DOT_")
		case r == '-':
			b.WriteString("_HYPHEN_")
		case r == '_' && tokenLike(name[i+1:]):
			b.WriteString("_x005F_")
		case identChar(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "_x%04X_", r)
		}
	}
	return b.String()
}

func identChar(r rune) bool {
	return r == '_' || r == '$' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}

// tokenLike reports whether rest, behind an underscore, could be read as one of the escapes.
func tokenLike(rest string) bool {
	if strings.HasPrefix(rest, "DOT") || strings.HasPrefix(rest, "HYPHEN") {
		return true
	}
	return len(rest) >= 2 && rest[0] == 'x' && upperHexDigit(rest[1])
}

func upperHexDigit(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }

// badStart reports whether the first character has to be escaped whatever it is: a digit, or the name is reserved
// (JMS 2.0, sections 3.5.1 and 3.8.1.1; IBM MQ property name restrictions).
func badStart(name string) bool {
	if '0' <= name[0] && name[0] <= '9' {
		return true
	}
	for _, p := range [...]string{"JMS", "Body", "Root", "posthouse"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	if len(name) > len("BETWEEN") {
		return false
	}
	switch strings.ToUpper(name) {
	case "NULL", "TRUE", "FALSE", "NOT", "AND", "OR", "BETWEEN", "LIKE", "IN", "IS", "ESCAPE":
		return true
	}
	return false
}

// UnescName reverses EscName. A name that EscName would not have written stays as it is.
func UnescName(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := token(name[i:])
		if n == 0 {
			b.WriteByte(name[i])
			i++
			continue
		}
		b.WriteRune(r)
		i += n
	}
	if s := b.String(); EscName(s) == name {
		return s
	}
	return name
}

// token reads one escape at the front of s and returns its character and length, or 0, 0.
func token(s string) (rune, int) {
	switch {
	case strings.HasPrefix(s, "_DOT_"):
		return '.', len("_DOT_")
	case strings.HasPrefix(s, "_HYPHEN_"):
		return '-', len("_HYPHEN_")
	case !strings.HasPrefix(s, "_x"):
		return 0, 0
	}
	end := strings.IndexByte(s[2:min(len(s), 9)], '_')
	if end < 4 {
		return 0, 0
	}
	r, err := strconv.ParseUint(s[2:2+end], 16, 32)
	if err != nil || !utf8.ValidRune(rune(r)) {
		return 0, 0
	}
	return rune(r), end + 3
}

// nativeName is the spelling of a property's name at h, or false where it has none.
func nativeName(name string, h *adapters.Headers) (string, bool) {
	if name == "" || !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
		return name, false
	}
	switch h.Names {
	case adapters.NameIdentifier:
		name = EscName(name)
	case adapters.NamePrintable:
		if strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) >= 0 {
			return name, false
		}
	case adapters.NameToken:
		if !isToken(name) {
			return name, false
		}
	}
	return name, h.MaxName == 0 || len(name) <= h.MaxName
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}
