package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"

	"github.com/posthouse/posthouse/adapters"
)

// What a term of a filter says.
const (
	SaysYes  = "true"
	SaysNo   = "false"
	SaysNone = "not asked" // what stands before it has decided
	SaysFail = "error"
)

// A Term is a part of a filter: the whole, or what stands between its and and or.
type Term struct {
	Source string   `json:"source"` // as the compiler understands it
	Says   string   `json:"says"`   // true, false, not asked, error
	Error  string   `json:"error,omitempty"`
	Op     string   `json:"op,omitempty"` // and, or: what joins Terms
	Terms  []Term   `json:"terms,omitempty"`
	Seen   []Looked `json:"seen,omitempty"` // what it looked at
}

// Looked is one value that a term looked at.
type Looked struct {
	Name  string `json:"name"`  // msg.header.region
	Value string `json:"value"` // as JSON
	Error string `json:"error,omitempty"`
}

// Terms takes the filter apart at its and and or, and tells what each part says of m, in the way in which the evaluation
// comes to them: what is not asked stays unevaluated.
func (f *Filter) Terms(m *adapters.Message, route string) Term {
	tree, err := parse(f.p.source, conf.CreateNew())
	if err != nil {
		return Term{Source: f.p.source, Says: SaysFail, Error: reason(err)} // cannot happen: it has been compiled
	}
	a := asker{m: m, route: route, repeater: f.p.repeater}
	t := a.term(tree.Node, true)
	ok, err := f.Match(m, route) // the compiler leaves out what cannot change the result; the whole says what the route goes by
	if t.Says = strconv.FormatBool(ok); err != nil {
		t.Says = SaysFail
		if len(t.Terms) == 0 {
			t.Error = unwrapped(err)
		}
	}
	return t
}

// unwrapped is the reason of an EvalError without the expression.
func unwrapped(err error) string {
	var e *EvalError
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}

// An asker evaluates parts of an expression over one message.
type asker struct {
	m               *adapters.Message
	route, repeater string
}

// joint is the operator at which an expression is taken apart, "" for others.
func joint(n ast.Node) (op string, b *ast.BinaryNode) {
	b, ok := n.(*ast.BinaryNode)
	switch {
	case ok && (b.Operator == "and" || b.Operator == "&&"):
		return "and", b
	case ok && (b.Operator == "or" || b.Operator == "||"):
		return "or", b
	}
	return "", nil
}

func (a asker) term(n ast.Node, asked bool) Term {
	op, _ := joint(n)
	if op == "" {
		return a.leaf(n, asked)
	}
	out := Term{Source: n.String(), Op: op, Says: SaysNone}
	decides := map[string]string{"and": SaysNo, "or": SaysYes}[op]
	for _, part := range flatten(n, op) {
		t := a.term(part, asked)
		out.Terms = append(out.Terms, t)
		if !asked {
			continue
		}
		if out.Says = t.Says; t.Says == decides || t.Says == SaysFail {
			asked = false
		}
	}
	return out
}

// flatten is the list of what op joins: a and b and c are three.
func flatten(n ast.Node, op string) []ast.Node {
	if o, b := joint(n); o == op {
		return append(flatten(b.Left, op), flatten(b.Right, op)...)
	}
	return []ast.Node{n}
}

func (a asker) leaf(n ast.Node, asked bool) Term {
	t := Term{Source: n.String(), Says: SaysNone}
	if !asked {
		return t
	}
	v, err := a.value(t.Source, reflect.Bool)
	if t.Says = strconv.FormatBool(v == true); err != nil {
		t.Says, t.Error = SaysFail, unwrapped(err)
	}
	for _, name := range looked(n) {
		l := Looked{Name: name}
		if v, err := a.value(name, reflect.Invalid); err != nil {
			l.Error = unwrapped(err)
		} else {
			l.Value = shown(v)
		}
		t.Seen = append(t.Seen, l)
	}
	return t
}

// value evaluates a part of an expression that has been accepted.
func (a asker) value(source string, kind reflect.Kind) (any, error) {
	p, f := compile("expression", source, a.repeater, kind)
	if f != nil {
		return nil, &EvalError{source, f.Message}
	}
	return p.run(a.m, a.route)
}

// looked lists what an expression reads of the message, each once.
func looked(n ast.Node) (names []string) {
	var inner []ast.Node // parts of what is named already
	ast.Walk(&n, visitor(func(n ast.Node) { inner = append(inner, memberOf(n)...) }))
	ast.Walk(&n, visitor(func(n ast.Node) {
		if len(memberOf(n)) == 0 || slices.Contains(inner, n) || slices.Contains(names, n.String()) {
			return
		}
		names = append(names, n.String())
	}))
	return names
}

// memberOf returns what n is a member of, when n is msg.FIELD, or msg.header.NAME or msg.json.NAME and so on with
// constant names; nil otherwise.
func memberOf(n ast.Node) []ast.Node {
	switch x := n.(type) {
	case *ast.ChainNode:
		return chained(x.Node, memberOf(x.Node))
	case *ast.MemberNode:
		if _, _, ok := ofMsg(x); ok {
			return []ast.Node{x.Node}
		}
		switch x.Property.(type) {
		case *ast.StringNode, *ast.IntegerNode:
			return chained(x.Node, memberOf(x.Node))
		}
	}
	return nil
}

// chained is n with what it is a member of, if that is the message.
func chained(n ast.Node, of []ast.Node) []ast.Node {
	if len(of) == 0 {
		return nil
	}
	return []ast.Node{n}
}

// mostShown is how many characters of a value are shown.
const mostShown = 200

// shown is a value as people read it: as JSON, cut.
func shown(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		b = fmt.Append(nil, v)
	}
	if r := []rune(string(b)); len(r) > mostShown {
		return string(r[:mostShown]) + "..."
	}
	return string(b)
}
