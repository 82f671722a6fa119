package routes

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// functions is the list of those that an expression may call. What is not here can grow without bound outside the
// memory budget (replace, split, repeat, reduce, map), or differs from run to run (now).
func functions() []string {
	return strings.Fields("len lower upper trim trimPrefix trimSuffix hasPrefix hasSuffix indexOf int float string abs ceil floor round min max keys get any all none one count")
}

// loops are the functions that evaluate a part of the expression for every element.
func loops() []string { return []string{"any", "all", "none", "one", "count"} }

func parse(source string, config *conf.Config) (*parser.Tree, error) {
	return safely(func() (*parser.Tree, error) { return parser.ParseWithConfig(source, config) })
}

// scope is where in an expression a node stands.
type scope struct {
	loop  bool // inside the predicate of a loop
	call  bool // inside of a function's arguments there
	right bool // directly at the right of "in"
}

// maxPattern is the most steps that a character of text may take in all patterns of an expression together: the
// instructions of their compiled forms. "(.*){1000}" has 3,000, and takes seconds for 64 KiB.
const maxPattern = 256

// A guard walks over a parsed expression and refuses what must not run. The list is of what is permitted: a kind of
// node that is not known here is refused.
type guard struct {
	name     string
	fault    *fault
	patterns int // instructions of all patterns so far
}

func (g *guard) refuse(n ast.Node, width int, f Finding) {
	if g.fault == nil {
		f.Message = g.name + ": " + f.Message
		from := n.Location().From
		g.fault = &fault{Finding: f, from: from, to: max(n.Location().To, from+width)}
	}
}

func (g *guard) nodes(ns []ast.Node, s scope) {
	for _, n := range ns {
		g.node(n, s)
	}
}

func (g *guard) node(n ast.Node, s scope) {
	in := scope{loop: s.loop, call: s.call}
	switch n := n.(type) {
	case nil, *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.PointerNode:
	case *ast.IdentifierNode:
		g.identifier(n)
	case *ast.UnaryNode:
		g.node(n.Node, in)
	case *ast.BinaryNode:
		g.binary(n, s)
	case *ast.ChainNode:
		g.node(n.Node, in)
	case *ast.MemberNode:
		g.member(n, in)
	case *ast.SliceNode:
		g.nodes([]ast.Node{n.Node, n.From, n.To}, in)
	case *ast.BuiltinNode:
		g.builtin(n, in)
	case *ast.PredicateNode:
		g.node(n.Node, scope{loop: true})
	case *ast.CallNode:
		g.call(n)
	case *ast.ConditionalNode:
		g.nodes([]ast.Node{n.Cond, n.Exp1, n.Exp2}, in)
	case *ast.ArrayNode:
		g.nodes(n.Nodes, in)
	case *ast.MapNode:
		g.nodes(n.Pairs, in)
	case *ast.PairNode:
		g.nodes([]ast.Node{n.Key, n.Value}, in)
	case *ast.VariableDeclaratorNode:
		g.refuse(n, len(n.Name), Finding{Code: "F006", Message: "let is not available", Label: "not available", Help: "write the value where it is used"})
	case *ast.SequenceNode:
		g.refuse(n, 1, Finding{Code: "F006", Message: "; is not available", Label: "not available", Help: "combine the parts with and"})
	default:
		g.refuse(n, 1, Finding{Code: "F006", Message: "this form is not available", Label: "not available", Help: "see posthouse explain fields"})
	}
}

func (g *guard) identifier(n *ast.IdentifierNode) {
	switch {
	case n.Value == "route" || n.Value == "repeater":
	case n.Value == "msg":
		g.refuse(n, 3, Finding{Code: "F002", Message: "msg alone is not a value", Label: "a field is missing", Help: "name a field: msg.header.region",
			Note: "list the fields with: posthouse explain fields"})
	default:
		f := Finding{Code: "F002", Message: fmt.Sprintf("there is no %q here", clip(n.Value)), Label: "unknown name",
			Suggestion: didYouMean(n.Value, []string{"msg", "route", "repeater"}), Note: "list the fields with: posthouse explain fields"}
		if slices.Contains(fieldNames(), n.Value) {
			f.Suggestion = fmt.Sprintf("did you mean %q?", "msg."+n.Value)
		} else if f.Suggestion == "" {
			f.Help = fmt.Sprintf("a header is msg.header.%s, a text is in quotes", clip(n.Value))
		}
		g.refuse(n, len([]rune(n.Value)), f)
	}
}

// ofMsg returns the field's name when n is msg.FIELD.
func ofMsg(n ast.Node) (name string, m *ast.MemberNode, ok bool) {
	if c, isChain := n.(*ast.ChainNode); isChain {
		n = c.Node
	}
	m, ok = n.(*ast.MemberNode)
	if !ok {
		return "", nil, false
	}
	if id, isName := m.Node.(*ast.IdentifierNode); !isName || id.Value != "msg" {
		return "", nil, false
	}
	p, isText := m.Property.(*ast.StringNode)
	if !isText {
		return "", m, true
	}
	return p.Value, m, true
}

func (g *guard) member(n *ast.MemberNode, s scope) {
	name, _, ok := ofMsg(n)
	if !ok {
		if inner, _, isField := ofMsg(n.Node); isField && (inner == "header" || inner == "json" && !s.call) {
			g.node(n.Property, s) // a part of these is permitted in a loop, all of them is not
			return
		}
		g.nodes([]ast.Node{n.Node, n.Property}, s)
		return
	}
	if !slices.Contains(fieldNames(), name) {
		f := Finding{Code: "F002", Message: fmt.Sprintf("a message has no field %q", clip(name)), Label: "unknown field",
			Suggestion: didYouMean(name, fieldNames()), Note: "list the fields with: posthouse explain fields"}
		if f.Suggestion == "" {
			f.Help = fmt.Sprintf("a header is msg.header.%s", clip(name))
		}
		g.refuse(n.Property, len([]rune(name)), f)
	}
	if s.loop && (name == "text" || name == "json" || name == "header" && s.call) {
		g.refuse(n.Property, len(name), Finding{Code: "F005", Message: fmt.Sprintf("msg.%s inside of a loop", name), Label: "evaluated for every element",
			Help: "look at it outside of any(), all(), none(), one() and count()"})
	}
}

func (g *guard) binary(n *ast.BinaryNode, s scope) {
	in := scope{loop: s.loop, call: s.call}
	if s.loop && jsonPart(n.Right) && (n.Operator == "in" || jsonPart(n.Left)) {
		g.refuse(n, len(n.Operator), Finding{Code: "F005", Message: "lists of the body are searched or compared inside of a loop", Label: "for every element",
			Help: "compare the element with constants, headers or single values"})
	}
	switch n.Operator {
	case "..":
		g.between(n, s)
	case "in":
		g.node(n.Left, in)
		g.node(n.Right, scope{loop: s.loop, call: s.call, right: true})
		return
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			g.refuse(n, len("matches"), Finding{Code: "F005", Message: "the pattern of matches must be a text in quotes", Label: "not a constant pattern",
				Help: "write the pattern in quotes: it is compiled once"})
		}
		g.pattern(n)
		if s.loop && !ofElement(n.Left) {
			g.refuse(n, len("matches"), Finding{Code: "F005", Message: "matches inside of a loop may look at the element only", Label: "not the element",
				Help: "write # matches \"...\", or put it outside of the loop"})
		}
	}
	g.nodes([]ast.Node{n.Left, n.Right}, in)
}

// between permits a..b only as the right side of in, between two whole numbers not too far apart.
func (g *guard) between(n *ast.BinaryNode, s scope) {
	from, okFrom := literal(n.Left)
	to, okTo := literal(n.Right)
	if !s.right || !okFrom || !okTo || to > from && uint(to)-uint(from) > maxMemory { // unsigned: the distance may pass MaxInt
		g.refuse(n, 2, Finding{Code: "F005", Message: "a range may only stand after in, between two numbers at most 10000 apart", Label: "not a range here",
			Help: "write: X >= 1 and X <= 9"})
	}
}

// literal is the value of a whole number written out.
func literal(n ast.Node) (int, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.UnaryNode:
		if i, ok := n.Node.(*ast.IntegerNode); ok && n.Operator == "-" {
			return -i.Value, true
		}
	}
	return 0, false
}

// ofElement reports whether n is a loop's element or a part of it.
func ofElement(n ast.Node) bool {
	for {
		switch x := n.(type) {
		case *ast.PointerNode:
			return true
		case *ast.MemberNode:
			n = x.Node
		case *ast.ChainNode:
			n = x.Node
		default:
			return false
		}
	}
}

// jsonPart reports whether n is a part of msg.json.
func jsonPart(n ast.Node) bool {
	for {
		if name, _, ok := ofMsg(n); ok {
			return name == "json"
		}
		switch x := n.(type) {
		case *ast.MemberNode:
			n = x.Node
		case *ast.ChainNode:
			n = x.Node
		default:
			return false
		}
	}
}

func (g *guard) builtin(n *ast.BuiltinNode, s scope) {
	if !slices.Contains(functions(), n.Name) {
		g.unavailable(n, n.Name)
		return
	}
	if slices.Contains(loops(), n.Name) && s.loop {
		g.refuse(n, len(n.Name), Finding{Code: "F005", Message: "a loop inside of a loop", Label: "inner loop", Help: "use one any(), all(), none(), one() or count() at a time"})
	}
	g.cutset(n)
	g.nodes(n.Arguments, scope{loop: s.loop, call: s.loop})
}

func (g *guard) call(n *ast.CallNode) {
	switch c := n.Callee.(type) {
	case *ast.IdentifierNode:
		g.unavailable(n, c.Value)
	default:
		g.refuse(n, 1, Finding{Code: "F006", Message: "values have no methods", Label: "not available", Help: "call a function: len(msg.id)"})
	}
}

func (g *guard) unavailable(n ast.Node, name string) {
	f := Finding{Code: "F006", Message: fmt.Sprintf("function %q is not available", clip(name)), Label: "not available",
		Suggestion: didYouMean(name, functions())}
	if f.Help = instead(name); f.Help == "" && f.Suggestion == "" {
		f.Help = "available: " + strings.Join(functions(), " ")
	}
	g.refuse(n, len([]rune(name)), f)
}

// instead is how to write what a function that is not available would do.
func instead(name string) string {
	return map[string]string{"now": "a filter must give the same answer at every try; msg.time and msg.expired know the message's own times",
		"filter": "use any(), count()", "find": "use any()", "map": "use any() with a condition", "contains": "write X contains \"text\"",
		"startsWith": "write X startsWith \"text\"", "endsWith": "write X endsWith \"text\"", "split": "use contains, startsWith or matches"}[name]
}

// lazily replaces the fields of msg by calls of their readers, so that nothing is read of a message that its expression
// does not come to.
type lazily struct{}

// Visit replaces one node; its children have been visited.
func (lazily) Visit(n *ast.Node) {
	switch x := (*n).(type) {
	case *ast.MemberNode:
		if name, m, ok := ofMsg(x); ok {
			ast.Patch(n, call("msg."+name, m.Node))
		} else if subject, ok := calls(x.Node, "msg.header"); ok && !x.Method {
			ast.Patch(n, call("header of", subject, x.Property))
		}
	case *ast.BinaryNode:
		if subject, ok := calls(x.Right, "msg.header"); ok && x.Operator == "in" {
			ast.Patch(n, call("has header", subject, x.Left))
		}
	}
}

func call(name string, args ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// calls returns the first argument when n is a call of the reader called name.
func calls(n ast.Node, name string) (ast.Node, bool) {
	if c, isChain := n.(*ast.ChainNode); isChain {
		n = c.Node
	}
	c, ok := n.(*ast.CallNode)
	if !ok {
		return nil, false
	}
	id, ok := c.Callee.(*ast.IdentifierNode)
	if !ok || id.Value != name {
		return nil, false
	}
	return c.Arguments[0], true
}

// readers are the functions behind the fields. Their names hold a dot or a space: no expression can call them.
func readers() []expr.Option {
	out := []expr.Option{
		expr.Function("header of", func(a ...any) (any, error) { return a[0].(*subject).header(a[1].(string)) }, new(func(*subject, string) string)),
		expr.Function("has header", func(a ...any) (any, error) { return a[0].(*subject).has(a[1].(string)), nil }, new(func(*subject, string) bool)),
	}
	for _, f := range messageFields() {
		out = append(out, expr.Function("msg."+f.name, func(a ...any) (any, error) {
			s := a[0].(*subject)
			s.asked++
			return f.read(s)
		}, f.signature))
	}
	return out
}

// loopedText refuses text joined by + inside of a loop: its length is outside of the memory budget. Types are only known
// after compiling.
func loopedText(name string, code *vm.Program) *fault {
	var found *fault
	root := code.Node()
	ast.Walk(&root, visitor(func(n ast.Node) {
		p, ok := n.(*ast.PredicateNode)
		if !ok || found != nil {
			return
		}
		inner := p.Node
		ast.Walk(&inner, visitor(func(n ast.Node) {
			if b, ok := n.(*ast.BinaryNode); ok && b.Operator == "+" && !(numeric(b.Left) && numeric(b.Right)) && found == nil {
				found = &fault{from: b.Location().From, to: b.Location().From + 1, Finding: Finding{Code: "F005", Message: name + ": text is joined inside of a loop",
					Label: "evaluated for every element", Help: "compare the parts one by one, or convert numbers with int() or float()"}}
			}
		}))
	}))
	return found
}

func numeric(n ast.Node) bool {
	k := n.Type().Kind()
	return k >= reflect.Int && k <= reflect.Float64
}

type visitor func(ast.Node)

// Visit calls v.
func (v visitor) Visit(n *ast.Node) { v(*n) }
