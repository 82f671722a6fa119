package bridge

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// The JSON of posthouse-props: an array of [index, name, code, value], ASCII only. Numbers up to 32 bits are JSON
// numbers, wider ones and floats are strings, bytes are base64, a list is an array of [code, value], a map one of
// [code, value, code, value]. A string that is no UTF-8 has the code "s%" and is percent-encoded.

// maxDepth bounds how deep lists and maps may nest in a header from the wire.
const maxDepth = 32

func formatPlaced(ps []placed) string {
	b := []byte{'['}
	for i := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = strconv.AppendInt(b, int64(ps[i].at), 10)
		b = append(b, ',')
		b = appendString(b, ps[i].prop.Name)
		b = append(b, ',')
		b = appendTyped(b, ps[i].prop.V)
		b = append(b, ']')
	}
	return string(append(b, ']'))
}

// appendTyped appends code and value, joined by a comma.
func appendTyped(b []byte, v adapters.Value) []byte {
	code, s := v.Type().Code(), v.Str()
	if isText(v.Type()) && !utf8.ValidString(s) {
		code, s = code+"%", escape(s, "")
	}
	b = append(appendString(b, code), ',')
	switch v.Type() {
	case adapters.TNull:
		return append(b, "null"...)
	case adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TU8, adapters.TU16, adapters.TU32:
		return append(b, v.Text()...)
	case adapters.TChar:
		return strconv.AppendUint(b, v.Uint(), 10)
	case adapters.TTime:
		return append(strconv.AppendInt(append(b, '"'), v.Int(), 10), '"')
	case adapters.TBytes:
		return appendString(b, base64.StdEncoding.EncodeToString([]byte(s)))
	case adapters.TList:
		return appendList(b, v.List())
	case adapters.TMap:
		return appendMap(b, v.Map())
	case adapters.TString, adapters.TSymbol, adapters.TDecimal:
		return appendString(b, s)
	}
	return appendString(b, v.Text())
}

func isText(t adapters.Type) bool {
	return t == adapters.TString || t == adapters.TSymbol || t == adapters.TDecimal
}

func appendList(b []byte, vs []adapters.Value) []byte {
	b = append(b, '[')
	for i, v := range vs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendTyped(append(b, '['), v), ']')
	}
	return append(b, ']')
}

func appendMap(b []byte, es []adapters.Entry) []byte {
	b = append(b, '[')
	for i, e := range es {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendTyped(append(b, '['), e.K), ',')
		b = append(appendTyped(b, e.V), ']')
	}
	return append(b, ']')
}

// appendString appends s as a JSON string in ASCII.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case ' ' <= r && r <= '~':
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = appendUnit(appendUnit(b, hi), lo)
		default:
			b = appendUnit(b, r)
		}
	}
	return append(b, '"')
}

func appendUnit(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// parsePlaced reads posthouse-props and returns its entries by index. It reports false when some could not be read, or
// would bring back one of Posthouse's own names; those are left out.
func parsePlaced(s string) (ps []placed, ok bool) {
	raw, ok := parseJSON(s).([]any)
	if !ok {
		return nil, false
	}
	for _, e := range raw {
		p, valid := parseEntry(e)
		if !valid || isOwn(p.prop.Name) {
			ok = false
			continue
		}
		ps = append(ps, p)
	}
	slices.SortStableFunc(ps, func(a, b placed) int { return a.at - b.at })
	return ps, ok
}

// parseJSON reads one JSON value and nothing behind it; numbers stay text. It returns nil for anything else.
func parseJSON(s string) any {
	var v any
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	if _, err := d.Token(); err != io.EOF {
		return nil
	}
	return v
}

func parseEntry(e any) (p placed, ok bool) {
	a, ok := e.([]any)
	if !ok || len(a) != 4 {
		return p, false
	}
	at, err := strconv.ParseUint(number(a[0]), 10, 31)
	name, ok := a[1].(string)
	if err != nil || !ok {
		return p, false
	}
	v, ok := parseTyped(a[2], a[3], maxDepth)
	return placed{int(at), adapters.Prop{Name: name, V: v}}, ok
}

func number(v any) string {
	n, _ := v.(json.Number)
	return n.String()
}

func parseTyped(code, value any, depth int) (v adapters.Value, ok bool) {
	s, ok := code.(string)
	if !ok || depth == 0 {
		return v, false
	}
	s, escaped := strings.CutSuffix(s, "%")
	t, ok := adapters.TypeOf(s)
	if !ok {
		return v, false
	}
	switch x := value.(type) {
	case nil:
		return v, t == adapters.TNull
	case bool:
		return adapters.Bool(x), t == adapters.TBool
	case json.Number:
		if t == adapters.TChar {
			u, err := strconv.ParseUint(x.String(), 10, 32)
			return adapters.Uint(t, u), err == nil
		}
		v, ok = parseValue(t, x.String())
		return v, ok && t != adapters.TNull && t <= adapters.TF64
	case string:
		if escaped {
			if x, ok = unescape(x); !ok {
				return v, false
			}
		}
		v, ok = parseValue(t, x)
		return v, ok && t != adapters.TNull
	case []any:
		return parseCompound(t, x, depth-1)
	}
	return v, false
}

func parseCompound(t adapters.Type, items []any, depth int) (v adapters.Value, ok bool) {
	var list []adapters.Value
	var entries []adapters.Entry
	for _, item := range items {
		a, _ := item.([]any)
		switch {
		case t == adapters.TList && len(a) == 2:
			e, ok := parseTyped(a[0], a[1], depth)
			if !ok {
				return v, false
			}
			list = append(list, e)
		case t == adapters.TMap && len(a) == 4:
			k, ok1 := parseTyped(a[0], a[1], depth)
			e, ok2 := parseTyped(a[2], a[3], depth)
			if !ok1 || !ok2 {
				return v, false
			}
			entries = append(entries, adapters.Entry{K: k, V: e})
		default:
			return v, false
		}
	}
	if t == adapters.TList {
		return adapters.List(list...), true
	}
	return adapters.Map(entries...), t == adapters.TMap
}
