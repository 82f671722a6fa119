package admin

import (
	"encoding"
	"encoding/json"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// The OpenAPI document is made from the list of endpoints that is served, so the two cannot differ. Schemas are those of the Go
// types as encoding/json writes them.

// openAPI is the document.
func (s *Server) openAPI(es []endpoint) map[string]any {
	d := &describer{schemas: map[string]any{}, types: map[string]reflect.Type{}}
	paths := map[string]any{}
	for _, e := range es {
		item, _ := paths[e.path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[e.path] = item
		}
		item[strings.ToLower(e.method)] = d.operation(&e)
	}
	d.schema(reflect.TypeFor[Problem]())
	return map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": "Posthouse", "version": s.opts.Version, "description": "A daemon as operators see and steer it. See docs/operating.md."},
		"paths":   paths,
		"components": map[string]any{
			"schemas":         d.schemas,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}, "certificate": map[string]any{"type": "mutualTLS"}},
		},
	}
}

// A describer collects the schemas of types.
type describer struct {
	schemas map[string]any
	types   map[string]reflect.Type // by the names of schemas
}

// named is the name of the schema of t: with its package, if another type has the name.
func (d *describer) named(t reflect.Type) string {
	name := t.Name()
	if was := d.types[name]; was != nil && was != t {
		name = path.Base(t.PkgPath()) + "-" + name
	}
	d.types[name] = t
	return name
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

// operation describes one endpoint.
func (d *describer) operation(e *endpoint) map[string]any {
	params := []any{}
	for _, m := range inPath.FindAllStringSubmatch(e.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": text1})
	}
	for _, p := range e.query {
		params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.does, "schema": text1})
	}
	if e.match {
		params = append(params, map[string]any{"name": "If-Match", "in": "header", "required": true, "schema": text1,
			"description": "The ETag of what was looked at, or *."})
	}
	ok := map[string]any{"description": "Done, or what was asked for."}
	switch {
	case e.answer != nil:
		ok["content"] = content("application/json", d.schema(reflect.TypeOf(e.answer)))
	case e.kind != "":
		ok["content"] = content(e.kind, text1)
	}
	op := map[string]any{
		"summary": e.does, "operationId": operationID(e), "parameters": params,
		"responses": map[string]any{"200": ok, "default": map[string]any{
			"description": "Why not.", "content": content("application/problem+json", map[string]any{"$ref": "#/components/schemas/Problem"})}},
	}
	if e.body != nil {
		op["requestBody"] = map[string]any{"required": true, "content": content("application/json", d.schema(reflect.TypeOf(e.body)))}
	}
	if !e.open {
		op["x-role"] = string(e.role)
		op["security"] = []any{map[string]any{"token": []string{}}, map[string]any{"certificate": []string{}}, map[string]any{}}
	}
	return op
}

var text1 = map[string]any{"type": "string"}

func content(kind string, schema any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

// operationID is the method with the words of the path.
func operationID(e *endpoint) string {
	words := regexp.MustCompile(`[A-Za-z0-9]+`).FindAllString(strings.TrimPrefix(e.path, "/api/v1"), -1)
	return strings.ToLower(e.method) + "-" + strings.Join(words, "-")
}

// schema describes a type, once; it returns where.
func (d *describer) schema(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return text1
	case t.Implements(reflect.TypeFor[json.Marshaler]()):
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{d.schema(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return text1
		}
		return map[string]any{"type": []string{"array", "null"}, "items": d.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	case reflect.String:
		return text1
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	}
	return map[string]any{"type": "integer"}
}

// object describes a struct.
func (d *describer) object(t reflect.Type) map[string]any {
	props, required := map[string]any{}, []string{}
	s := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	name := ""
	if t.Name() != "" {
		name = d.named(t)
		if d.schemas[name] != nil {
			return map[string]any{"$ref": "#/components/schemas/" + name}
		}
		d.schemas[name] = s
	}
	for _, f := range reflect.VisibleFields(t) {
		key, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || key == "-" || f.Anonymous && key == "" || promotedOver(t, f) {
			continue
		}
		if key == "" {
			key = f.Name
		}
		props[key] = d.schema(f.Type)
		if !strings.Contains(rest, "omitempty") && !throughPointer(t, f) {
			required = append(required, key)
		}
	}
	s["required"] = required
	if name == "" {
		return s
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// promotedOver reports whether another field of the same name in JSON lies higher in t than f.
func promotedOver(t reflect.Type, f reflect.StructField) bool {
	if len(f.Index) < 2 {
		return false
	}
	top, ok := t.FieldByName(f.Name)
	return ok && len(top.Index) < len(f.Index)
}

// throughPointer reports whether f is reached through an embedded pointer, which may be nil.
func throughPointer(t reflect.Type, f reflect.StructField) bool {
	for i := 1; i < len(f.Index); i++ {
		if t.FieldByIndex(f.Index[:i]).Type.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// describes is the endpoint of the document itself.
func (s *Server) describes() endpoint {
	return endpoint{method: "GET", path: "/openapi.json", does: "This document.", answer: map[string]any{}, handle: func(w http.ResponseWriter, _ *http.Request) {
		document(w, s.openAPI(s.endpoints()))
	}}
}
