package routes

import (
	"fmt"
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
)

// What costs more than a look at each character of a text is bounded by what the expression itself shows.

// pattern counts what the pattern of matches costs for every character of the text.
func (g *guard) pattern(n *ast.BinaryNode) {
	text, ok := n.Right.(*ast.StringNode)
	if !ok {
		return // that is refused
	}
	re, err := syntax.Parse(text.Value, syntax.Perl)
	if err != nil {
		return // the compiler says why
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return
	}
	if g.patterns += len(prog.Inst); g.patterns > maxPattern {
		g.refuse(n, len("matches"), Finding{Code: "F005", Message: fmt.Sprintf("the patterns of matches are too large together: %d steps for each character, at most %d", g.patterns, maxPattern),
			Label: "this one, or all of them", Help: "repeat fewer times, or write: X in [\"A\", \"B\"]"})
	}
}

// cutset refuses a set of characters to trim that comes from the message: each character of the text is looked up in it.
func (g *guard) cutset(n *ast.BuiltinNode) {
	if n.Name != "trim" || len(n.Arguments) < 2 {
		return
	}
	if _, ok := n.Arguments[1].(*ast.StringNode); !ok {
		g.refuse(n, len("trim"), Finding{Code: "F005", Message: "the characters that trim takes away must be a text in quotes", Label: "not constant characters",
			Help: "write them in quotes, or use trimPrefix or trimSuffix"})
	}
}
