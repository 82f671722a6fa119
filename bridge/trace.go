package bridge

import (
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// W3C Trace Context travels in two properties that have the same name everywhere.
const (
	traceParent = "traceparent"
	traceState  = "tracestate"
)

func isTrace(name string) bool { return name == traceParent || name == traceState }

// validTrace reports whether v is a traceparent (W3C Trace Context, section 3.2): version, trace id, parent id and
// flags in lower-case hex, neither id all zeros. Later versions may be longer.
func validTrace(v adapters.Value) bool {
	s := v.Str()
	if v.Type() != adapters.TString && v.Type() != adapters.TBytes || len(s) < 55 ||
		len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return false
	}
	for i := range 55 {
		dash := i == 2 || i == 35 || i == 52
		if dash != (s[i] == '-') || !dash && (hexDigit(s[i]) < 0 || 'A' <= s[i] && s[i] <= 'F') {
			return false
		}
	}
	return s[:2] != "ff" && strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

// badTrace reports whether ps hold a traceparent that is invalid, no string or there twice.
func badTrace(ps []adapters.Prop) bool {
	n := 0
	for i := range ps {
		if ps[i].Name == traceParent {
			if n++; n > 1 || !validTrace(ps[i].V) {
				return true
			}
		}
	}
	return false
}

// tracedAnnotation reports whether message annotations hold trace context, which some AMQP clients write there.
func tracedAnnotation(ma []adapters.Prop) bool {
	return slices.ContainsFunc(ma, func(p adapters.Prop) bool { return isTrace(p.Name) })
}

// trace moves trace context from annotations to properties, where it wins, and drops what nobody could continue.
func (r *restorer) trace() {
	c := r.c
	if tracedAnnotation(c.Annot.MA) {
		moved := slices.Clone(c.Annot.MA)
		c.Annot.MA = slices.DeleteFunc(slices.Clone(moved), func(p adapters.Prop) bool { return isTrace(p.Name) })
		moved = slices.DeleteFunc(moved, func(p adapters.Prop) bool { return !isTrace(p.Name) })
		c.Props = slices.DeleteFunc(slices.Clone(c.Props), func(p adapters.Prop) bool {
			return slices.ContainsFunc(moved, func(m adapters.Prop) bool { return m.Name == p.Name })
		})
		for _, p := range moved {
			c.Props = append(c.Props, adapters.Prop{Name: p.Name, V: adapters.String(p.V.Str())})
		}
	}
	if badTrace(c.Props) {
		c.Props = slices.DeleteFunc(slices.Clone(c.Props), func(p adapters.Prop) bool { return isTrace(p.Name) })
		r.note("trace", Dropped)
	}
}
