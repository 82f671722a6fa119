package routes

import (
	"reflect"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// An Evaluation is what an expression comes to over one message.
type Evaluation struct {
	Value string `json:"value"`           // as JSON
	Type  string `json:"type"`            // text, number, true or false, list, map, nothing
	Terms *Term  `json:"terms,omitempty"` // of an expression whose result is true or false
}

// Eval evaluates an expression over m, as a filter or a value of the file would be. The Findings say why it cannot be
// compiled; the error, an *EvalError, why it has no answer for m.
func Eval(source string, m *adapters.Message, route, repeater string) (Evaluation, Findings, error) {
	p, fault := compile("expression", source, repeater, reflect.Invalid)
	if fault != nil {
		return Evaluation{}, Findings{fault.alone(source)}, nil
	}
	v, err := p.run(m, route)
	if err != nil {
		return Evaluation{}, nil, err
	}
	e := Evaluation{Value: shown(v), Type: kindName(v)}
	if e.Type == "true or false" {
		if p, fault := compile("expression", source, repeater, reflect.Bool); fault == nil {
			t := (&Filter{p}).Terms(m, route)
			e.Terms = &t
		}
	}
	return e, nil, nil
}

// kindName says what a value is.
func kindName(v any) string {
	switch k := reflect.ValueOf(v).Kind(); k {
	case reflect.Invalid:
		return "nothing"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "map"
	}
	return "number"
}

// alone is a fault of an expression that stands in no file: its lines are counted in itself.
func (f *fault) alone(source string) Finding {
	runes := []rune(source)
	at := min(f.from, len(runes))
	before := string(runes[:at])
	line := strings.Count(before, "\n")
	start := len([]rune(before[:strings.LastIndex(before, "\n")+1]))
	text, _, _ := strings.Cut(string(runes[start:]), "\n")
	out := f.Finding
	out.File, out.Severity, out.Line, out.Col = "expression", Error, line+1, at-start+1
	width := len([]rune(text)) - (at - start)
	if f.to > 0 {
		width = min(width, f.to-f.from)
	}
	out.EndCol = out.Col + max(width, 1)
	out.shown, out.caret, out.width = clip(text), out.Col, max(width, 1)
	if len([]rune(text)) > 120 {
		out.caret, out.width = 1, 1
	}
	return out
}

// CompileFilter compiles an expression whose result is true or false, as the filter of a route. The Findings say why it cannot be.
func CompileFilter(source, repeater string) (*Filter, Findings) {
	p, fault := compile("filter", source, repeater, reflect.Bool)
	if fault != nil {
		return nil, Findings{fault.alone(source)}
	}
	return &Filter{p}, nil
}
