package bridge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

const partitionKeyName = "x-opt-partition-key" // Azure: the ordering key as a message annotation

// brokerMade reports whether a message annotation was made by the source's broker about its own delivery: Azure,
// Artemis and RabbitMQ, in this order. They would be false statements at another broker.
func brokerMade(key string) bool {
	switch key {
	case "x-opt-enqueued-time", "x-opt-sequence-number", "x-opt-locked-until", "x-opt-offset", "x-opt-deadletter-source",
		"x-opt-ingress-time", "x-opt-ORIG-ADDRESS", "x-opt-deaths":
		return true
	}
	return false
}

// annotations fits message annotations and footer. A footer may hold a digest of the bare message, and Posthouse's
// headers change that, so it never goes out natively (AMQP 1.0 part 3, section 3.2.9).
func (f *fitter) annotations() {
	a := &f.c.Annot
	for i := range a.MA {
		if brokerMade(a.MA[i].Name) {
			a.MA = f.withoutBrokerMade(a.MA)
			break
		}
	}
	if f.h.Annotates != "" {
		a.MA = f.asProps(a.MA)
	}
	if !f.has(adapters.FieldAnnotations) {
		f.annotate(hMA, a.MA)
		a.MA = nil
	}
	f.annotate(hFT, a.Footer)
	a.Footer = nil
	if i := keyIndex(a.MA); i >= 0 && f.has(adapters.FieldKey|adapters.FieldAnnotations) && f.h.Protocol == "amqp" {
		if v := a.MA[i].V; f.c.Key != nil && (v.Type() != adapters.TString || v.Str() != string(f.c.Key)) {
			f.annotate(hMA, a.MA[i:i+1]) // encode writes the key there
			a.MA = slices.Delete(slices.Clone(a.MA), i, i+1)
		}
	}
}

// asProps writes annotations as properties where a protocol tells the two apart by the name, and returns the others.
func (f *fitter) asProps(ps []adapters.Prop) []adapters.Prop {
	var rest []adapters.Prop
	for _, p := range ps {
		w, tag, ok := nativeValue(p.V, &f.h)
		if _, named := nativeName(p.Name, &f.h); ok && named && tag == "" && !p.KeyNum && strings.HasPrefix(p.Name, f.h.Annotates) &&
			!reserved(p.Name, &f.h) {
			f.c.Props = append(f.c.Props, adapters.Prop{Name: p.Name, V: w})
		} else {
			rest = append(rest, p)
		}
	}
	return rest
}

func (f *fitter) withoutBrokerMade(ps []adapters.Prop) []adapters.Prop {
	out := make([]adapters.Prop, 0, len(ps))
	for i := range ps {
		if brokerMade(ps[i].Name) {
			f.note("ma", Dropped)
		} else {
			out = append(out, ps[i])
		}
	}
	return out
}

// annotate writes each of ps as a header of its own.
func (f *fitter) annotate(prefix string, ps []adapters.Prop) {
	for i := range ps {
		name := prefix + annotKey(&ps[i])
		text, ok := formatTyped(ps[i].V)
		if !ok || name == prefix || f.h.MaxName > 0 && len(name) > f.h.MaxName {
			f.note(field(name), Dropped)
			continue
		}
		f.own(name, text)
	}
}

// annotKey is the key of an annotation as the end of a header's name: "#" and a number for a ulong key; of a symbol,
// everything that a header name might not take is percent-encoded.
func annotKey(p *adapters.Prop) string {
	if p.KeyNum {
		return "#" + p.Name
	}
	return escape(p.Name, "\"(),/:;<=>?@[\\]{} #")
}

func parseAnnotKey(s string) (p adapters.Prop, ok bool) {
	if num, isNum := strings.CutPrefix(s, "#"); isNum {
		_, err := strconv.ParseUint(num, 10, 64)
		return adapters.Prop{Name: num, KeyNum: true}, err == nil
	}
	name, ok := unescape(s)
	return adapters.Prop{Name: name}, ok && name != ""
}

// formatTyped is a value as CODE:TEXT, percent-encoded with a "%" behind the code where it must be; lists and maps as
// in posthouse-props. It reports false for a char that is none.
func formatTyped(v adapters.Value) (string, bool) {
	code := v.Type().Code()
	switch v.Type() {
	case adapters.TList:
		return code + ":" + string(appendList(nil, v.List())), true
	case adapters.TMap:
		return code + ":" + string(appendMap(nil, v.Map())), true
	}
	s, ok := valueText(v)
	if !printable(s) {
		code, s = code+"%", escape(s, "")
	}
	return code + ":" + s, ok
}

func parseTypedText(s string) (v adapters.Value, ok bool) {
	code, text, found := strings.Cut(s, ":")
	code, escaped := strings.CutSuffix(code, "%")
	t, ok := adapters.TypeOf(code)
	if !found || !ok {
		return v, false
	}
	if t == adapters.TList || t == adapters.TMap {
		items, ok := parseJSON(text).([]any)
		if !ok {
			return v, false
		}
		return parseCompound(t, items, maxDepth)
	}
	if escaped {
		if text, ok = unescape(text); !ok {
			return v, false
		}
	}
	return parseValue(t, text)
}

// annotations adds the annotations that travelled as headers. Where the key is there natively too, that one wins.
func (r *restorer) annotations() {
	a := &r.c.Annot
	r.keyAnnotation()
	a.MA = r.annotated(hMA, a.MA)
	a.Footer = r.annotated(hFT, a.Footer)
}

func (r *restorer) annotated(prefix string, native []adapters.Prop) []adapters.Prop {
	type key struct {
		name string
		num  bool
	}
	var seen map[key]bool
	out := native
	for _, h := range r.own {
		k, ok := strings.CutPrefix(h.name, prefix)
		if !ok {
			continue
		}
		if seen == nil {
			seen = make(map[key]bool, len(native))
			for i := range native {
				seen[key{native[i].Name, native[i].KeyNum}] = true
			}
			out = slices.Clip(native) // appending must not write into what is shared
		}
		p, ok1 := parseAnnotKey(k)
		v, ok2 := parseTypedText(h.value)
		switch {
		case !ok1 || !ok2:
			r.note(field(h.name), Malformed)
		case seen[key{p.Name, p.KeyNum}]:
			r.note(field(h.name), Stale)
		default:
			p.V = v
			seen[key{p.Name, p.KeyNum}] = true
			out = append(out, p)
		}
	}
	return out
}

func keyIndex(ma []adapters.Prop) int {
	return slices.IndexFunc(ma, func(p adapters.Prop) bool { return p.Name == partitionKeyName && !p.KeyNum })
}

// keyAnnotation drops the annotation where encode makes it of the key.
func (r *restorer) keyAnnotation() {
	ma := r.c.Annot.MA
	i := keyIndex(ma)
	if i < 0 || !r.has(adapters.FieldKey|adapters.FieldAnnotations) || r.h.Protocol != "amqp" || ma[i].V.Type() != adapters.TString {
		return
	}
	if r.c.Key == nil {
		r.c.Key = []byte(ma[i].V.Str())
	}
	r.c.Annot.MA = slices.Delete(slices.Clone(ma), i, i+1)
}

// partitionKey is the ordering key that the annotations hold, or nil.
func partitionKey(ma []adapters.Prop) []byte {
	for i := range ma {
		if v := ma[i].V; ma[i].Name == partitionKeyName && !ma[i].KeyNum &&
			(v.Type() == adapters.TString || v.Type() == adapters.TSymbol) {
			return []byte(v.Str())
		}
	}
	return nil
}
