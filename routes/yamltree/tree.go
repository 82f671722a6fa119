// Package yamltree reads one YAML document into a tree that knows where everything stands, and refuses what an
// operator's file must not hold: tags are kept visible, aliases are counted, merge keys, second documents, deep nesting
// and oversize are problems with a position.
//
// It is the only package that imports a YAML library, so that the library can be changed in one line.
package yamltree

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// The limits of a file.
const (
	MaxBytes   = 4 << 20 // bytes of a file
	MaxDepth   = 64      // nesting of maps and lists
	MaxAliases = 20      // aliases in a file
	maxNodes   = 400_000 // nodes, those reached through aliases counted again

	maxProblems = 1000 // kept; a file with more is not an operator's
)

// Kind is the kind of a Node.
type Kind uint8

// The kinds.
const (
	Scalar Kind = iota + 1
	Map
	List
)

// Style is how a scalar is written.
type Style uint8

// The styles of scalars.
const (
	Plain Style = iota
	SingleQuoted
	DoubleQuoted
	Literal // the | block
	Folded  // the > block
)

// Form is what a plain scalar means by YAML's rules.
type Form uint8

// The forms. Quoted scalars and blocks are always Text.
const (
	Text Form = iota
	Null
	Bool
	Number
)

// A Node is one value or key. Lines and columns start at 1; columns count runes.
type Node struct {
	Kind   Kind
	Style  Style
	Form   Form
	Line   int
	Col    int
	Tag    string // as written, "" = none: "!msg.expired"
	Anchor bool   // an anchor or alias stands before the value: its position in the file is not that of its text
	Flow   bool   // a Map or List in brackets
	Text   string // of a Scalar
	Pairs  []Pair // of a Map, in file order
	Items  []*Node
}

// A Pair is one key of a Map and its value. The key may be a Map or a List: YAML permits it.
type Pair struct {
	Key, Value *Node
}

// A Problem is why a file, or a part of it, is refused.
type Problem struct {
	Code              string // Y001, Y002, Y004, Y005, Y008
	Line, Col, EndCol int
	Message, Label    string
	Help, Note        string
}

// A Document is a parsed file.
type Document struct {
	Root  *Node // nil when the file cannot be read at all
	lines []string
}

// Parse reads src. Duplicate keys (Y004) and merge keys (Y005) leave a usable tree, all other problems leave Root nil. It never panics
// and its cost is bounded by the limits above.
func Parse(src []byte) (*Document, []Problem) {
	if len(src) > MaxBytes {
		return &Document{}, []Problem{{Code: "Y008", Line: 1, Col: 1, EndCol: 1,
			Message: "the file is larger than 4 MiB, the most that is read",
			Help:    "is this the right file? a topology of ten thousand routes has about 2 MiB"}}
	}
	src = []byte(strings.TrimPrefix(string(src), "\ufeff"))
	d := &Document{lines: splitLines(string(src))}
	if p := notText(src); p != nil {
		return d, []Problem{*p}
	}
	docs, err := decode(src, 2)
	if err != nil && strings.Contains(err.Error(), "exceeded max depth") {
		return d, []Problem{{Code: "Y008", Line: 1, Col: 1, EndCol: 1,
			Message: fmt.Sprintf("more than %d levels of nesting", MaxDepth),
			Help:    "is this the right file? a topology needs about six levels"}}
	}
	if err != nil {
		return d, []Problem{d.syntax(src, err)}
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 || isEmpty(docs[0].Content[0]) {
		return d, []Problem{{Code: "Y002", Line: 1, Col: 1, EndCol: 1, Message: "the file is empty",
			Help: "start with: version: 1"}}
	}
	if len(docs) > 1 {
		return d, []Problem{d.secondDocument(docs[1])}
	}
	c := converter{doc: d}
	root := c.node(docs[0].Content[0], 1)
	if c.fatal {
		return d, c.problems
	}
	d.Root = root
	return d, c.problems
}

// decode reads at most max documents and turns a panic of the library into an error.
func decode(src []byte, max int) (docs []*yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	dec := yaml.NewDecoder(strings.NewReader(string(src)))
	for len(docs) < max {
		var n yaml.Node
		if err := dec.Decode(&n); err != nil {
			if err.Error() == "EOF" {
				break
			}
			return nil, err
		}
		docs = append(docs, &n)
	}
	return docs, nil
}

func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

func (d *Document) secondDocument(n *yaml.Node) Problem {
	line := max(n.Line, 1)
	for line > 1 && !strings.HasPrefix(d.Line(line), "---") {
		line--
	}
	return Problem{Code: "Y002", Line: line, Col: 1, EndCol: 1 + utf8.RuneCountInString(d.Line(line)),
		Message: "a second document starts here; it would be ignored", Label: "second document",
		Help: "keep one document in the file: remove this line, or what follows it"}
}

// A converter turns the library's nodes into ours. What is reached through an alias is converted again each time, so
// that the tree has no cycle; the budget of nodes bounds that.
type converter struct {
	doc      *Document
	problems []Problem
	nodes    int
	aliases  int
	fatal    bool
}

func (c *converter) add(p Problem) {
	if p.EndCol == 0 {
		p.EndCol = p.Col + 1
	}
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, p)
	}
	c.fatal = c.fatal || p.Code == "Y008" || p.Label == tooMany
}

func (c *converter) node(n *yaml.Node, depth int) *Node {
	if c.nodes++; c.fatal || c.nodes > maxNodes || depth > MaxDepth {
		if !c.fatal {
			c.add(Problem{Code: "Y008", Line: n.Line, Col: n.Column, Label: "too much here",
				Message: fmt.Sprintf("more than %d levels or %d values, aliases counted at every use", MaxDepth, maxNodes),
				Help:    "write the file without nesting aliases in one another"})
		}
		return &Node{Kind: Scalar, Form: Null, Line: n.Line, Col: n.Column}
	}
	if n.Kind == yaml.AliasNode {
		return c.alias(n, depth)
	}
	n.Line = min(max(n.Line, 1), len(c.doc.lines)) // the library may count a break more for an empty value at the end
	out := &Node{Line: n.Line, Col: max(n.Column, 1), Anchor: n.Anchor != "", Flow: n.Style&yaml.FlowStyle != 0, Tag: c.tag(n)}
	switch n.Kind {
	case yaml.MappingNode:
		out.Kind = Map
		c.pairs(n, out, depth)
	case yaml.SequenceNode:
		out.Kind = List
		for _, it := range n.Content {
			out.Items = append(out.Items, c.node(it, depth+1))
		}
	default:
		out.Kind, out.Text, out.Style = Scalar, n.Value, style(n.Style)
		if out.Style == Plain {
			out.Form = form(n)
		}
	}
	return out
}

const tooMany = "one alias too many"

func (c *converter) alias(n *yaml.Node, depth int) *Node {
	if c.aliases++; c.aliases == MaxAliases+1 {
		c.add(Problem{Code: "Y005", Line: n.Line, Col: n.Column, EndCol: n.Column + 1 + utf8.RuneCountInString(n.Value),
			Message: fmt.Sprintf("more than %d aliases", MaxAliases), Label: tooMany,
			Help: "put what the entries share under defaults:"})
	}
	out := *c.node(n.Alias, depth+1)
	out.Anchor = true
	return &out
}

func (c *converter) pairs(n *yaml.Node, out *Node, depth int) {
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode {
			width := utf8.RuneCountInString(k.Value)
			if k.Value == "<<" && k.Style == 0 {
				c.add(Problem{Code: "Y005", Line: k.Line, Col: k.Column, EndCol: k.Column + width, Label: "merge key",
					Message: "merge keys are not read", Help: "put what the entries share under defaults:"})
				continue
			}
			if first := seen[k.Value]; first != nil {
				c.add(Problem{Code: "Y004", Line: k.Line, Col: k.Column, EndCol: k.Column + width, Label: "again here",
					Message: fmt.Sprintf("key %q is written twice", k.Value),
					Help:    "keep one of the two",
					Note:    fmt.Sprintf("first written at line %d, column %d", first.Line, first.Column)})
				continue
			}
			seen[k.Value] = k
		}
		out.Pairs = append(out.Pairs, Pair{c.node(k, depth+1), c.node(v, depth+1)})
	}
}

// tag returns the tag as it is written: the library rewrites known ones and forgets a lone "!".
func (c *converter) tag(n *yaml.Node) string {
	rest := fromRune(c.doc.Line(n.Line), n.Column-1)
	if len(rest) > 0 && rest[0] == '!' && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 || n.Style&yaml.TaggedStyle != 0 {
		if len(rest) == 0 || rest[0] != '!' {
			return n.Tag
		}
		word, _, _ := strings.Cut(rest, " ")
		if strings.ContainsAny(word, ",]}") {
			word = word[:strings.IndexAny(word+",", ",]}")]
		}
		return word
	}
	return ""
}

// fromRune is what is left of s behind its first n runes.
func fromRune(s string, n int) string {
	for i := range s {
		if n <= 0 {
			return s[i:]
		}
		n--
	}
	return ""
}

func style(s yaml.Style) Style {
	switch {
	case s&yaml.SingleQuotedStyle != 0:
		return SingleQuoted
	case s&yaml.DoubleQuotedStyle != 0:
		return DoubleQuoted
	case s&yaml.LiteralStyle != 0:
		return Literal
	case s&yaml.FoldedStyle != 0:
		return Folded
	}
	return Plain
}

func form(n *yaml.Node) Form {
	switch n.ShortTag() {
	case "!!null":
		return Null
	case "!!bool":
		return Bool
	case "!!int", "!!float":
		return Number
	}
	return Text
}
