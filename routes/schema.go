package routes

import (
	"encoding/json"
	"slices"
)

// Schema returns the JSON Schema (draft 2020-12) of a topology, made of the table of keys. It refuses what can be seen
// without looking at several keys together; Load refuses more.
func Schema() []byte {
	file := topologyShape()
	root := schemaOf(file, "", nil)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Posthouse topology"
	root["anyOf"] = oneOfThese("routes", "bridges", "topology")
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil // cannot happen: maps, texts and numbers only
	}
	return append(b, '\n')
}

// schemaOf describes an object. kind limits it to the keys of one type of broker; fixed pins keys to a word.
func schemaOf(s *Shape, kind string, fixed map[string]string) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range s.Fields {
		if kind != "" && !f.fits(kind) {
			continue
		}
		p := schemaOfField(f, kind)
		if w := fixed[f.Name]; w != "" {
			p = map[string]any{"const": w}
		}
		p["description"] = f.Doc
		if old, ok := properties[f.Name].(map[string]any); ok { // a key that differs by type of broker, where that is not known
			p = map[string]any{"anyOf": []any{old, p}}
		}
		properties[f.Name] = p
		if f.Required {
			required = append(required, f.Name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func schemaOfField(f *Field, kind string) map[string]any {
	switch f.Type {
	case Object:
		return schemaOf(f.Of, kind, nil)
	case TextOrObject:
		return map[string]any{"anyOf": []any{map[string]any{"type": "string", "minLength": 1}, schemaOf(f.Of, kind, nil)}}
	case WordOrObject:
		return map[string]any{"anyOf": []any{map[string]any{"enum": words(f)}, schemaOf(f.Of, kind, nil)}, "default": f.initialJSON()}
	case Objects:
		return map[string]any{"type": "array", "minItems": 1, "items": schemaOf(f.Of, kind, nil)}
	case OneOrMany:
		one := schemaOf(f.Of, kind, nil)
		return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "minItems": 1, "items": one}}}
	case Named:
		return map[string]any{"type": "object", "minProperties": 1, "propertyNames": pattern(`^[a-z0-9][a-z0-9-]{0,62}$`), "additionalProperties": variants(f.Of)}
	case Expressions:
		return map[string]any{"type": "object", "minProperties": 1, "additionalProperties": map[string]any{"type": []any{"string", "number", "boolean"}}}
	case TextList, URLList:
		return map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"type": "string", "minLength": 1}}
	case SecretValue:
		one := func(key string) map[string]any {
			return map[string]any{"type": "object", "properties": map[string]any{key: map[string]any{"type": "string", "minLength": 1}},
				"required": []string{key}, "additionalProperties": false}
		}
		return map[string]any{"oneOf": []any{one("file"), one("env")}}
	}
	return schemaOfScalar(f)
}

func schemaOfScalar(f *Field) map[string]any {
	const duration = `([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+`
	out := map[string]any{"type": "string", "minLength": 1}
	switch f.Type {
	case Flag:
		out = map[string]any{"type": "boolean"}
	case Count, Ratio:
		out = map[string]any{"type": "integer", "minimum": f.Min}
		if f.Type == Ratio {
			out["type"] = "number"
		}
		if f.Max != 0 {
			out["maximum"] = f.Max
		}
	case Word:
		out = map[string]any{"enum": words(f)}
	case Name:
		out = pattern(`^[a-z0-9][a-z0-9-]{0,62}$`)
	case RouteName:
		out = pattern(`^[a-z0-9][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)*$`)
	case Duration:
		out = pattern("^" + duration + "$")
	case Size:
		out = pattern(`^[0-9]+(\.[0-9]+)?(B|[KMGT]i?B)$`)
	case WordOrDuration:
		out = map[string]any{"anyOf": []any{map[string]any{"enum": words(f)}, pattern("^" + duration + "$")}}
	}
	if f.Default != "" {
		out["default"] = f.initialJSON()
	}
	return out
}

// words are the words of a key; one that looks like a number may be written as one.
func words(f *Field) []any {
	var out []any
	for _, w := range f.Words {
		out = append(out, w)
		var n json.Number
		if json.Unmarshal([]byte(w), &n) == nil {
			out = append(out, n)
		}
	}
	return out
}

// initialJSON is the default as it stands in a file.
func (f *Field) initialJSON() any {
	switch f.Type {
	case Flag, Count, Ratio:
		return json.RawMessage(f.Default)
	}
	return f.Default
}

func pattern(p string) map[string]any { return map[string]any{"type": "string", "pattern": p} }

// variants describes an object once for each type of broker, where it has one.
func variants(s *Shape) map[string]any {
	typ := s.field("type", "")
	if typ == nil {
		return schemaOf(s, "", nil)
	}
	var all []any
	for _, k := range slices.Sorted(slices.Values(typ.Words)) {
		all = append(all, schemaOf(s, k, map[string]string{"type": k}))
	}
	return map[string]any{"oneOf": all}
}

// oneOfThese demands one of the keys.
func oneOfThese(keys ...string) []any {
	var out []any
	for _, k := range keys {
		out = append(out, map[string]any{"required": []string{k}})
	}
	return out
}
