package routes

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/vm"

	"github.com/posthouse/posthouse/adapters"
)

// An Edit is a change of one header on the way to a route's targets.
type Edit struct {
	Name  string
	Value *Value // nil = the header is taken out
}

// same reports whether two edits do the same.
func (e Edit) same(o Edit) bool {
	if e.Name != o.Name || (e.Value == nil) != (o.Value == nil) {
		return false
	}
	return e.Value == nil || e.Value.Source() == o.Value.Source()
}

// A Value computes the value of a header from a message: text, a number, or true or false. It is safe for concurrent use.
type Value struct{ p program }

// anyValue is the kind of expressions that compute the value of a header.
const anyValue = reflect.Interface

// Value returns what is computed from m: a string of at most 4 KiB, an integer of 64 bits, a float or a boolean. Its error
// is an *EvalError.
func (v *Value) Value(m *adapters.Message, route string) (adapters.Value, error) {
	got, err := v.p.run(m, route)
	if err != nil {
		return adapters.Value{}, err
	}
	switch x := got.(type) {
	case string:
		if len(x) > maxKey {
			return adapters.Value{}, &EvalError{v.p.source, fmt.Sprintf("the result has %d bytes; at most %d are used", len(x), maxKey)}
		}
		return adapters.String(x), nil
	case bool:
		return adapters.Bool(x), nil
	case int:
		return adapters.Int(adapters.TI64, int64(x)), nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return adapters.Value{}, &EvalError{v.p.source, "the result is not a number"}
		}
		return adapters.Float64(x), nil
	}
	return adapters.Value{}, &EvalError{v.p.source, fmt.Sprintf("the result is %s, not text, a number, or true or false", typeName(fmt.Sprintf("%T", got)))}
}

// Source is the expression as written.
func (v *Value) Source() string { return v.p.source }

// edit works out r's edits for m: all that have an answer, and the first error.
func (r *Route) edit(m *adapters.Message) (edits []adapters.Prop, failed error) {
	edits = make([]adapters.Prop, 0, len(r.Edits))
	for _, e := range r.Edits {
		p := adapters.Prop{Name: e.Name}
		if e.Value != nil {
			v, err := e.Value.Value(m, r.Name)
			if err != nil {
				if failed == nil {
					failed = err
				}
				continue
			}
			p.V = v
		}
		edits = append(edits, p)
	}
	return edits, failed
}

// isValue reports whether the result of code can be a header's value.
func isValue(code *vm.Program) bool {
	t := code.Node().Type()
	return t != nil && slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Int, reflect.Float64}, t.Kind())
}

// valueFault explains why the result of an expression can be no header's value.
func valueFault(name string, code *vm.Program) *fault {
	t := code.Node().Type()
	if t == nil || t.Kind() == reflect.Interface {
		return &fault{Finding: Finding{Code: "F007", Message: name + ": the result has no type, it may be anything", Label: "untyped",
			Help: "convert it: string(...), int(...) or float(...)"}}
	}
	what := typeName(t.String())
	return &fault{Finding: Finding{Code: "F004", Message: fmt.Sprintf("%s: the result is %s, not text, a number, or true or false", name, what), Label: "gives " + what,
		Help: "take a part of it, or its len()"}}
}
