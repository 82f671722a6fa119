package bridge

import (
	"encoding/json"
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

// springTypesName is the record header in which Spring for Kafka keeps the Java class of each header whose value is JSON
// text (spring-kafka reference, DefaultKafkaHeaderMapper).
const springTypesName = "spring_json_header_types"

// javaClass is the class that Spring makes of a value of type t, "" for those that it takes as bytes.
func javaClass(t adapters.Type) string {
	switch t {
	case adapters.TBytes, adapters.TNull:
		return ""
	case adapters.TBool:
		return "java.lang.Boolean"
	case adapters.TI8:
		return "java.lang.Byte"
	case adapters.TI16, adapters.TU8:
		return "java.lang.Short"
	case adapters.TI32, adapters.TU16:
		return "java.lang.Integer"
	case adapters.TI64, adapters.TU32:
		return "java.lang.Long"
	case adapters.TF32:
		return "java.lang.Float"
	case adapters.TF64:
		return "java.lang.Double"
	}
	return "java.lang.String"
}

// typeOfClass reverses javaClass for what a producer that uses Spring has written.
func typeOfClass(class string) (adapters.Type, bool) {
	for _, t := range []adapters.Type{adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64, adapters.TF32,
		adapters.TF64, adapters.TString} {
		if javaClass(t) == class {
			return t, true
		}
	}
	return 0, false
}

// springTypes tells programs that use Spring the types of the producer's properties. A float that is no JSON number goes
// as text.
func (f *fitter) springTypes() {
	if f.h.Convention != adapters.ConventionSpring || f.native == 0 {
		return
	}
	classes := make(map[string]string, f.native)
	for i := range f.c.Props[:f.native] {
		t := f.c.Props[i].V.Type()
		if i < len(f.tag) && f.tag[i] != "" {
			t, _ = adapters.TypeOf(f.tag[i])
		}
		class := javaClass(t)
		if s := f.c.Props[i].V.Str(); (t == adapters.TF32 || t == adapters.TF64) && !json.Valid([]byte(s)) {
			class = javaClass(adapters.TString)
		}
		if class != "" {
			classes[f.c.Props[i].Name] = class
		}
	}
	if len(classes) > 0 {
		text, _ := json.Marshal(classes) // of strings, in the order of their names
		f.c.Props = append(f.c.Props, adapters.Prop{Name: springTypesName, V: adapters.String(string(text))})
	}
}

// springTypes gives the headers of a producer that uses Spring their types. Those of a repeater are in posthouse-types,
// which is exact.
func (r *restorer) springTypes() {
	at := slices.IndexFunc(r.c.Props, func(p adapters.Prop) bool { return p.Name == springTypesName })
	if r.h.Convention != adapters.ConventionSpring || at < 0 {
		return
	}
	var classes map[string]string
	if json.Unmarshal([]byte(r.c.Props[at].V.Str()), &classes) != nil {
		r.note("types", Malformed)
		return // it stays a property: nobody could say what it meant
	}
	r.c.Props = slices.Delete(slices.Clone(r.c.Props), at, at+1)
	if _, own := r.get(hID); own {
		return
	}
	for i := range r.c.Props {
		r.springType(&r.c.Props[i], classes[r.c.Props[i].Name])
	}
}

// springType reads one header. A class that is no simple type leaves the JSON text as it is.
func (r *restorer) springType(p *adapters.Prop, class string) {
	t, ok := typeOfClass(class)
	if !ok || p.V.Type() != adapters.TString && p.V.Type() != adapters.TBytes {
		return
	}
	v, ok := parseValue(t, p.V.Str())
	if !ok {
		r.note("types", Malformed)
		return
	}
	p.V = v
}
