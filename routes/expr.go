package routes

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/posthouse/posthouse/adapters"
)

// The limits on an expression's source and run; the reasons, measured, are in DESIGN.md of this package.
const (
	maxSource   = 4 << 10 // bytes
	maxBrackets = 64      // nesting, counted before parsing: the parser recurses
	maxNodes    = 200
	maxMemory   = 10_000 // elements of lists and maps made while running
	maxKey      = 4 << 10
)

// A Filter decides which messages a route takes. It is safe for concurrent use.
type Filter struct{ p program }

// An Expr computes a text from a message. It is safe for concurrent use.
type Expr struct{ p program }

// An EvalError is why an expression has no answer for a message: a header that is no number, a body that is too large.
// The message is at fault, or the expression, but no broker: trying again does not help.
type EvalError struct {
	Expression string // as in the file
	Reason     string
}

// Error names the expression and the reason.
func (e *EvalError) Error() string { return "expression " + e.Expression + ": " + e.Reason }

// Match reports whether the route takes m. Its error is an *EvalError.
func (f *Filter) Match(m *adapters.Message, route string) (bool, error) {
	v, err := f.p.run(m, route)
	if err != nil {
		return false, err
	}
	b, _ := v.(bool)
	return b, nil
}

// String is the source of the filter.
func (f *Filter) String() string { return f.p.source }

// String returns the text computed from m, at most 4 KiB. Its error is an *EvalError.
func (e *Expr) String(m *adapters.Message, route string) (string, error) {
	v, err := e.p.run(m, route)
	if err != nil {
		return "", err
	}
	s, _ := v.(string)
	if len(s) > maxKey {
		return "", &EvalError{e.p.source, fmt.Sprintf("the result has %d bytes; at most %d are used", len(s), maxKey)}
	}
	return s, nil
}

// Source is the expression as written.
func (e *Expr) Source() string { return e.p.source }

// A program is a compiled expression with machines to run it: one per call under way, since a machine is not safe for
// concurrent use.
type program struct {
	source   string
	repeater string
	code     *vm.Program
	machines *sync.Pool // of *machine
}

type machine struct {
	vm  vm.VM
	sub subject
	env environment
}

func newMachine() any {
	m := &machine{}
	m.vm.MemoryBudget = maxMemory
	m.env.Msg = &m.sub
	return m
}

// run evaluates the program. The machine keeps nothing of the message when it goes back.
func (p *program) run(msg *adapters.Message, route string) (any, error) {
	m := p.machines.Get().(*machine)
	m.sub = subject{m: msg}
	m.env.Route, m.env.Repeater = route, p.repeater
	v, err := m.vm.Run(p.code, &m.env)
	m.sub = subject{}
	clear(m.vm.Stack[:cap(m.vm.Stack)])
	p.machines.Put(m)
	if err != nil {
		return nil, &EvalError{p.source, reason(err)}
	}
	return v, nil
}

// reason is an error of the machine without the copy of the source that it carries.
func reason(err error) string {
	var fe *file.Error
	if errors.As(err, &fe) {
		return fe.Message
	}
	return err.Error()
}

// A fault is why an expression is refused. From and To are in runes of the source; both 0 = all of it.
type fault struct {
	Finding
	from, to int
}

// compile turns an expression into a program of the given kind: reflect.Bool for filters, reflect.String for keys, anyValue for
// values of headers, reflect.Invalid for anything.
// name says in messages what the expression is for.
func compile(name, source, repeater string, kind reflect.Kind) (program, *fault) {
	if f := tooLarge(name, source); f != nil {
		return program{}, f
	}
	options := []expr.Option{expr.Env(&environment{}), expr.MaxNodes(maxNodes), expr.Patch(lazily{})}
	if options = append(options, readers()...); kind == reflect.Bool || kind == reflect.String {
		options = append(options, expr.AsKind(kind), expr.WarnOnAny()) // in this order
	}
	config := conf.CreateNew()
	for _, o := range options {
		o(config)
	}
	tree, err := parse(source, config)
	if err != nil {
		return program{}, syntaxFault(name, source, err)
	}
	g := &guard{name: name}
	if g.node(tree.Node, scope{}); g.fault != nil {
		return program{}, g.fault
	}
	code, err := safely(func() (*vm.Program, error) { return expr.Compile(source, options...) })
	if err != nil {
		return program{}, typeFault(name, source, kind, err)
	}
	if f := loopedText(name, code); f != nil {
		return program{}, f
	}
	if kind == anyValue && !isValue(code) {
		return program{}, valueFault(name, code)
	}
	return program{source: source, repeater: repeater, code: code, machines: &sync.Pool{New: newMachine}}, nil
}

// safely turns a panic of the library into an error.
func safely[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return f()
}

// tooLarge applies the limits that must hold before the parser sees the source.
func tooLarge(name, source string) *fault {
	if len(source) > maxSource {
		return &fault{Finding: Finding{Code: "F005", Label: "too long",
			Message: fmt.Sprintf("%s: the expression has %d bytes; at most %d are read", name, len(source), maxSource),
			Help:    "shorten it, or split the route"}}
	}
	depth := 0
	for _, t := range tokens(source) {
		if strings.Contains("( [ {", t.text) && t.kind == tokSign {
			depth++
		} else if strings.Contains(") ] }", t.text) && t.kind == tokSign {
			depth--
		}
		if depth > maxBrackets {
			return &fault{from: t.at, to: t.at + 1, Finding: Finding{Code: "F005", Label: "nested too deep",
				Message: fmt.Sprintf("%s: more than %d levels of brackets", name, maxBrackets), Help: "simplify the expression"}}
		}
	}
	return nil
}

// syntaxFault explains why an expression cannot be parsed.
func syntaxFault(name, source string, err error) *fault {
	if f := sqlFault(name, source); f != nil {
		return f
	}
	f := &fault{Finding: Finding{Code: "F001", Message: name + ": " + reason(err), Label: "here", Help: "see the operators and functions with: posthouse explain fields"}}
	if strings.Contains(f.Message, "exceeds maximum allowed nodes") {
		f.Code, f.Message, f.Help = "F005", fmt.Sprintf("%s: more than %d terms", name, maxNodes), "simplify the expression, or split the route"
	}
	if strings.Contains(f.Message, "unexpected token EOF") || strings.Contains(f.Message, "unexpected end of expression") {
		f.Message, f.Label = name+": the expression is not complete", "something is missing behind this"
	}
	f.from, f.to = where(err, source)
	return f
}

// sqlFault reports an expression that is wrong here but would be right in SQL.
func sqlFault(name, source string) *fault {
	converted, at, width, ok := fromSQL(source)
	if !ok {
		return nil
	}
	help := "write: " + clip(converted)
	if _, _, _, still := fromSQL(converted); still {
		help = ""
	} else if _, f := compile(name, converted, "", reflect.Bool); f != nil {
		help = ""
	}
	if help == "" { // never propose what would be refused too
		help = "write ==, !=, and, or, not (...), in [...], contains, startsWith, endsWith or matches"
	}
	return &fault{from: at, to: at + width, Finding: Finding{Code: "F003", Message: name + ": this looks like an SQL selector",
		Label: "not an operator here", Help: help}}
}

// where is the part of the source that an error of the library is about.
func where(err error, source string) (from, to int) {
	var fe *file.Error
	if !errors.As(err, &fe) {
		return 0, 0
	}
	n := len([]rune(source))
	from = min(fe.From, max(n-1, 0))
	return from, min(max(fe.To, from+1), max(n, from+1))
}

// typeFault explains why an expression has the wrong type, as a whole or within.
func typeFault(name, source string, kind reflect.Kind, err error) *fault {
	text := reason(err)
	f := &fault{Finding: Finding{Code: "F001", Message: name + ": " + text, Label: "here"}}
	f.from, f.to = where(err, source)
	want := map[reflect.Kind]string{reflect.Bool: "true or false", reflect.String: "text"}[kind]
	got, wrong := strings.CutPrefix(text, fmt.Sprintf("expected %s, but got ", kind))
	switch {
	case wrong && (got == "unknown" || got == "nil" || got == "interface {}"):
		f.Code, f.Message, f.Label = "F007", name+": the result has no type, it may be anything", "untyped"
		f.Help = "compare it, for example: == true"
		if kind == reflect.String {
			f.Help = "convert it: string(...)"
		}
	case wrong:
		f.Code, f.Message, f.Label = "F004", fmt.Sprintf("%s: the result is %s, not %s", name, typeName(got), want), "gives "+typeName(got)
		f.Help = "compare it with something"
		if kind == reflect.String {
			f.Help = "convert it: string(...)"
		}
	case strings.Contains(text, "mismatched types") && strings.Contains(text, "string") && (strings.Contains(text, "int") || strings.Contains(text, "float64")):
		f.Code, f.Message, f.Label = "F007", name+": text is compared or calculated with a number", "text and number"
		f.Help = "headers are text: write int(msg.header.NAME) or float(msg.header.NAME), or quote the number"
	}
	return f
}

// typeName is a type of the library in plain words.
func typeName(t string) string {
	switch {
	case t == "string":
		return "text"
	case t == "int" || t == "float64":
		return "a number"
	case t == "bool":
		return "true or false"
	case strings.HasPrefix(t, "map"):
		return "a map"
	case strings.HasPrefix(t, "[]"):
		return "a list"
	}
	return t
}

// constant returns the value of a filter that looks at nothing.
func (p *program) constant() (value, ok bool) {
	look := &looks{}
	node := p.code.Node()
	ast.Walk(&node, look)
	if look.found {
		return false, false
	}
	v, err := p.run(&adapters.Message{}, "")
	b, isBool := v.(bool)
	return b, err == nil && isBool
}

// looks finds out whether an expression names anything outside itself.
type looks struct{ found bool }

// Visit looks at one node.
func (l *looks) Visit(n *ast.Node) {
	if id, ok := (*n).(*ast.IdentifierNode); ok {
		l.found = l.found || id.Value == "msg" || id.Value == "route" || id.Value == "repeater"
	}
}
