package bridge

import (
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// A placed property is one that posthouse-props carries: its position among all properties, from 0.
type placed struct {
	at   int
	prop adapters.Prop
}

// Room for own headers that a copy of the properties gets at once: more where a protocol has no fields.
const (
	fewOwn  = 4
	manyOwn = 8
)

// props copies the properties that the target can hold, in their order; the others are kept for posthouse-props.
func (f *fitter) props() {
	in, room := f.m.Props, fewOwn
	f.event = len(f.m.CE) > 0 || f.makesEvent()
	if !f.has(adapters.FieldID) {
		room = manyOwn
	}
	f.c.Props = make([]adapters.Prop, 0, len(in)+room)
	var later laterNames
	if !f.h.Duplicates {
		later = findLater(in)
	}
	for i := range in {
		p := &in[i]
		if isOwn(p.Name) { // never a producer's: Restore takes them out, and nobody may bring in others
			f.note("own", Dropped)
			continue
		}
		if f.plain(p) && !later.has(in, i) {
			f.setTag("")
			f.c.Props = append(f.c.Props, *p)
			continue
		}
		name, ok := nativeName(p.Name, &f.h)
		ok = ok && !later.has(in, i) && !reserved(p.Name, &f.h) && !taken(p.Name, f.event, &f.h)
		w, tag, held := p.V, "", false
		if ok {
			w, tag, held = nativeValue(p.V, &f.h)
		}
		if !held {
			f.lost = append(f.lost, placed{i, *p})
			f.note("props", Carried)
			continue
		}
		if name != p.Name {
			f.note("props", Escaped)
		}
		f.setTag(tag)
		f.c.Props = append(f.c.Props, adapters.Prop{Name: name, V: w})
	}
	f.native = len(f.c.Props)
	f.events()
}

// plain reports whether a property goes out as it came for sure: printable text under a printable name. Most do, and the
// rules for all others need not be asked.
func (f *fitter) plain(p *adapters.Prop) bool {
	h := &f.h
	if p.V.Type() != adapters.TString || !h.Types.Has(adapters.TString) || h.Names != adapters.NameAny {
		return false
	}
	s := p.V.Str()
	if h.MaxName > 0 && len(p.Name) > h.MaxName || h.MaxValue > 0 && len(s) > h.MaxValue {
		return false
	}
	return p.Name != "" && printableOrBlank(p.Name) && printableOrBlank(s) && !reserved(p.Name, h) && !taken(p.Name, f.event, h)
}

func (f *fitter) setTag(tag string) {
	if tag != "" && f.tag == nil {
		f.tag = make([]string, 0, len(f.m.Props))
	}
	if f.tag == nil {
		return
	}
	for len(f.tag) < len(f.c.Props) {
		f.tag = append(f.tag, "")
	}
	f.tag = append(f.tag, tag)
}

// laterNames tells whether a property's name comes again behind it; nil for a short list, which is simply searched.
type laterNames struct {
	dup  bool
	last map[string]int
}

// longList is the number of properties from which a map is faster, and a hostile list must not cost its square.
const longList = 24

func findLater(ps []adapters.Prop) laterNames {
	if len(ps) < longList {
		return laterNames{dup: true}
	}
	l := laterNames{dup: true, last: make(map[string]int, len(ps))}
	for i := range ps {
		l.last[ps[i].Name] = i
	}
	return l
}

func (l laterNames) has(ps []adapters.Prop, i int) bool {
	if !l.dup {
		return false
	}
	if l.last != nil {
		return l.last[ps[i].Name] > i
	}
	return comesAgain(ps, i)
}

func comesAgain(ps []adapters.Prop, i int) bool {
	for j := i + 1; j < len(ps); j++ {
		if ps[j].Name == ps[i].Name {
			return true
		}
	}
	return false
}

// tags writes posthouse-types and posthouse-props.
func (f *fitter) tags() {
	if f.tag != nil {
		f.own(hTypes, f.types())
	}
	if len(f.lost) > 0 {
		f.own(hProps, formatPlaced(f.lost))
	}
}

// types lists name=code for the properties that need it. If one of several with the same name does, all are listed.
func (f *fitter) types() string {
	tagged := make(map[string]bool, len(f.tag))
	for i, t := range f.tag {
		if t != "" {
			tagged[f.c.Props[i].Name] = true
		}
	}
	var b strings.Builder
	for i := range f.native {
		p := &f.c.Props[i]
		if !tagged[p.Name] {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(escape(f.canonicalName(p.Name), ",= "))
		b.WriteByte('=')
		if i < len(f.tag) && f.tag[i] != "" {
			b.WriteString(f.tag[i])
		} else {
			b.WriteString(p.V.Type().Code())
		}
	}
	return b.String()
}

func (f *fitter) canonicalName(native string) string { return canonicalName(native, &f.h) }

// canonicalName reverses nativeName. A name that would turn into one of Posthouse's own stays escaped.
func canonicalName(native string, h *adapters.Headers) string {
	if h.Names != adapters.NameIdentifier {
		return native
	}
	if name := UnescName(native); !isOwn(name) {
		return name
	}
	return native
}

// A typeTag is one entry of posthouse-types.
type typeTag struct {
	name, code string
}

// parseTypes reads posthouse-types; it reports false when an entry cannot be read, and skips that.
func parseTypes(s string) (tags []typeTag, ok bool) {
	ok = true
	for entry := range strings.SplitSeq(s, ",") {
		name, code, found := strings.Cut(entry, "=")
		name, valid := unescape(name)
		if !found || !valid {
			ok = false
			continue
		}
		tags = append(tags, typeTag{name, code})
	}
	return tags, ok
}

// applyTypes gives tagged properties their types back. The number of tags for a name must be that of its properties,
// or somebody has changed them on the way.
func (r *restorer) applyTypes(s string) {
	tags, ok := parseTypes(s)
	if !ok {
		r.note("types", Malformed)
	}
	at := make(map[string][]int, len(tags))
	for _, t := range tags {
		at[t.name] = nil
	}
	for i := range r.c.Props {
		if _, listed := at[r.c.Props[i].Name]; listed {
			at[r.c.Props[i].Name] = append(at[r.c.Props[i].Name], i)
		}
	}
	count := make(map[string]int, len(tags))
	for _, t := range tags {
		count[t.name]++
	}
	next := make(map[string]int, len(tags))
	for _, t := range tags {
		k := next[t.name]
		next[t.name]++
		if count[t.name] != len(at[t.name]) {
			r.note("types", Stale)
			continue
		}
		p := &r.c.Props[at[t.name][k]]
		if p.V, ok = taggedValue(p.V, t.code, &r.h); !ok {
			r.note("types", Stale)
		}
	}
}

// insertPlaced puts what posthouse-props carried back into its places among the native properties.
func (r *restorer) insertPlaced(s string) {
	lost, ok := parsePlaced(s)
	if !ok {
		r.note("props", Malformed)
	}
	if len(lost) == 0 {
		return
	}
	out := make([]adapters.Prop, 0, len(r.c.Props)+len(lost))
	for _, p := range r.c.Props {
		for len(lost) > 0 && lost[0].at <= len(out) {
			out, lost = append(out, lost[0].prop), lost[1:]
		}
		out = append(out, p)
	}
	for _, l := range lost {
		out = append(out, l.prop)
	}
	r.c.Props = out
}
