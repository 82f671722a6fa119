package bridge

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

const timeLayout = "2006-01-02T15:04:05.000Z07:00" // RFC 3339 with milliseconds

// typedProps reports whether properties of h carry a type on the wire. Every protocol that has types has a boolean.
func typedProps(h *adapters.Headers) bool { return h.Types.Has(adapters.TBool) }

// rawProps reports whether a property of h is bytes without a type, as in Kafka: readable text arrives as a string, all
// else as bytes.
func rawProps(h *adapters.Headers) bool { return !typedProps(h) && h.Types.Has(adapters.TBytes) }

// nativeValue is what a property of h holds for v, and the type tag without which v would not come back ("" = none is
// needed). It reports false where only posthouse-props can carry v.
func nativeValue(v adapters.Value, h *adapters.Headers) (w adapters.Value, tag string, ok bool) {
	w, tag, ok = spelledValue(v, h)
	return w, tag, ok && (h.MaxValue == 0 || len(w.Str()) <= h.MaxValue)
}

func spelledValue(v adapters.Value, h *adapters.Headers) (w adapters.Value, tag string, ok bool) {
	t := v.Type()
	switch {
	case t == adapters.TNull && h.NullValues:
		return v, "", true
	case (t == adapters.TList || t == adapters.TMap) && !h.Types.Has(t):
		return v, "", false
	case typedProps(h) && h.Types.Has(t):
		return v, "", holdsNatively(v, h)
	case typedProps(h):
		return widened(v, h)
	case rawProps(h):
		return rawValue(v)
	}
	return textValue(v, h)
}

func holdsNatively(v adapters.Value, h *adapters.Headers) bool {
	switch v.Type() {
	case adapters.TString:
		return utf8.ValidString(v.Str())
	case adapters.TSymbol:
		return printableOrBlank(v.Str())
	case adapters.TChar:
		return utf8.ValidRune(rune(v.Uint())) && v.Uint() <= utf8.MaxRune
	case adapters.TList:
		return !slices.ContainsFunc(v.List(), func(e adapters.Value) bool { return !h.Types.Has(e.Type()) || !holdsNatively(e, h) })
	case adapters.TMap:
		return holdsTable(v.Map(), h)
	}
	return true
}

// holdsTable reports whether a map can be a table of AMQP 0.9.1: short strings as keys, each once (section 4.2.5.5).
func holdsTable(es []adapters.Entry, h *adapters.Headers) bool {
	seen := make(map[string]bool, len(es))
	for _, e := range es {
		k := e.K.Str()
		if e.K.Type() != adapters.TString || k == "" || len(k) > 255 || !utf8.ValidString(k) || seen[k] ||
			!h.Types.Has(e.V.Type()) || !holdsNatively(e.V, h) {
			return false
		}
		seen[k] = true
	}
	return true
}

func printableOrBlank(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// widened is v in a typed protocol that lacks its type: the next wider integer, else text.
func widened(v adapters.Value, h *adapters.Headers) (adapters.Value, string, bool) {
	t := v.Type()
	if w, ok := wider(v); ok && h.Types.Has(w.Type()) {
		return w, t.Code(), true
	}
	s, ok := valueText(v)
	if !ok || !utf8.ValidString(s) {
		return v, "", false
	}
	return adapters.String(s), t.Code(), true
}

func wider(v adapters.Value) (adapters.Value, bool) {
	switch v.Type() {
	case adapters.TI8:
		return adapters.Int(adapters.TI16, v.Int()), true
	case adapters.TU8:
		return adapters.Int(adapters.TI16, v.Int()), true
	case adapters.TU16:
		return adapters.Int(adapters.TI32, v.Int()), true
	case adapters.TU32, adapters.TTime:
		return adapters.Int(adapters.TI64, v.Int()), true
	case adapters.TU64:
		return adapters.Int(adapters.TI64, v.Int()), v.Uint() <= math.MaxInt64
	case adapters.TF32:
		return adapters.Float64(v.Float()), true
	}
	return v, false
}

// rawValue is v as untyped bytes. The tag is also written where it may not be needed, on text that one adapter could
// take for bytes and another for text.
func rawValue(v adapters.Value) (adapters.Value, string, bool) {
	switch v.Type() {
	case adapters.TString:
		if readable(v.Str()) {
			return v, "", true
		}
		return v, adapters.TString.Code(), true
	case adapters.TBytes:
		if utf8.ValidString(v.Str()) {
			return v, adapters.TBytes.Code(), true
		}
		return v, "", true
	}
	s, ok := valueText(v)
	return adapters.String(s), v.Type().Code(), ok
}

// textValue is v in a protocol whose properties are text; a tag with "%" says that the text is percent-encoded.
func textValue(v adapters.Value, h *adapters.Headers) (adapters.Value, string, bool) {
	s, ok := valueText(v)
	if !ok {
		return v, "", false
	}
	fits := utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
	switch {
	case h.TextOnly:
		fits = printable(s)
	case h.Convention == adapters.ConventionConnect:
		fits = readable(s) // or it would be taken for bytes
	}
	code := v.Type().Code()
	switch {
	case !fits:
		return adapters.String(escape(s, "")), code + "%", true
	case v.Type() == adapters.TString:
		return v, "", true
	}
	return adapters.String(s), code, true
}

// valueText is the exact text of a scalar: base64 for bytes; false for what has none.
func valueText(v adapters.Value) (string, bool) {
	switch v.Type() {
	case adapters.TList, adapters.TMap:
		return "", false
	case adapters.TBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Str())), true
	case adapters.TChar:
		return v.Text(), v.Uint() <= utf8.MaxRune && utf8.ValidRune(rune(v.Uint()))
	case adapters.TTime:
		if y := time.UnixMilli(v.Int()).UTC().Year(); y < 0 || y > 9999 {
			return strconv.FormatInt(v.Int(), 10), true
		}
	}
	return v.Text(), true
}

// parseValue reverses valueText.
func parseValue(t adapters.Type, s string) (v adapters.Value, ok bool) {
	var err error
	switch t {
	case adapters.TNull:
		return v, s == ""
	case adapters.TBool:
		return adapters.Bool(s == "true"), s == "true" || s == "false"
	case adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64:
		var i int64
		i, err = strconv.ParseInt(s, 10, bits(t))
		return adapters.Int(t, i), err == nil
	case adapters.TU8, adapters.TU16, adapters.TU32, adapters.TU64:
		var u uint64
		u, err = strconv.ParseUint(s, 10, bits(t))
		return adapters.Uint(t, u), err == nil
	case adapters.TF32, adapters.TF64:
		return parseFloat(t, s)
	case adapters.TString:
		return adapters.String(s), true
	case adapters.TSymbol:
		return adapters.Symbol(s), true
	case adapters.TDecimal:
		return adapters.Decimal(s), true
	case adapters.TChar:
		r, n := utf8.DecodeRuneInString(s)
		return adapters.Uint(t, uint64(r)), n > 0 && n == len(s) && (r != utf8.RuneError || n > 1)
	case adapters.TBytes:
		var b []byte
		b, err = base64.StdEncoding.DecodeString(s)
		return adapters.Bytes(b), err == nil
	case adapters.TTime:
		return parseTime(s)
	case adapters.TUUID:
		u, ok := parseUUID(s)
		return adapters.UUID(u), ok
	}
	return v, false
}

// bits is the width of an integer type.
func bits(t adapters.Type) int {
	switch t {
	case adapters.TI8, adapters.TU8:
		return 8
	case adapters.TI16, adapters.TU16:
		return 16
	case adapters.TI32, adapters.TU32:
		return 32
	}
	return 64
}

func parseFloat(t adapters.Type, s string) (adapters.Value, bool) {
	if t == adapters.TF32 {
		f, err := strconv.ParseFloat(s, 32)
		return adapters.Float32(float32(f)), err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	return adapters.Float64(f), err == nil
}

func parseTime(s string) (adapters.Value, bool) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return adapters.Time(ms), true
	}
	t, err := time.Parse(timeLayout, s)
	return adapters.Time(t.UnixMilli()), err == nil
}

// taggedValue gives a native value back the type in its tag. It reports false where the tag does not agree with the
// value, which is checked by fitting the result again.
func taggedValue(found adapters.Value, tag string, h *adapters.Headers) (adapters.Value, bool) {
	code, escaped := strings.CutSuffix(tag, "%")
	t, ok := adapters.TypeOf(code)
	if !ok {
		return found, false
	}
	v, ok := convert(found, t, escaped, h)
	if !ok {
		return found, false
	}
	w, _, ok := nativeValue(v, h)
	if !ok || !w.Equal(found) && !(rawProps(h) && w.Str() == found.Str()) {
		return found, false
	}
	return v, true
}

// convert reads found as a value of type t.
func convert(found adapters.Value, t adapters.Type, escaped bool, h *adapters.Headers) (adapters.Value, bool) {
	if found.Type() == t && !escaped {
		return found, true
	}
	switch found.Type() {
	case adapters.TString, adapters.TBytes:
		s, ok := found.Str(), true
		if escaped {
			s, ok = unescape(s)
		}
		if t == adapters.TBytes && rawProps(h) {
			return adapters.Bytes([]byte(s)), ok
		}
		v, parsed := parseValue(t, s)
		return v, ok && parsed
	case adapters.TI16, adapters.TI32, adapters.TI64:
		if t != adapters.TNull && t <= adapters.TU64 || t == adapters.TTime {
			return parseValue(t, strconv.FormatInt(found.Int(), 10))
		}
	case adapters.TF64:
		return adapters.Float32(float32(found.Float())), t == adapters.TF32
	}
	return found, false
}
