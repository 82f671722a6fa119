package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// wordSigns are those of a value that was meant as a text, but has lost its quotes to YAML.
const wordSigns = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// maxName is the most bytes of the name of a header that a file sets.
const maxName = 128

// expressions checks a map from names of headers to expressions.
func (w *walker) expressions(n *yamltree.Node, f *Field, path string) *value {
	v := &value{node: n, path: path, subs: map[string]*value{}}
	if n.Kind != yamltree.Map || len(n.Pairs) == 0 {
		label := describe(n)
		if n.Kind == yamltree.Map {
			label = "nothing in it"
		}
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be %s", f.Name, wanted(f)), Label: label, Help: "write for example: " + f.Example})
		return v
	}
	for _, p := range n.Pairs {
		if p.Key.Kind != yamltree.Scalar {
			w.at(p.Key, path, Finding{Code: "K003", Message: "a key must be a word", Label: "this is a map or a list", Help: "quote the whole expression, or put it under a | block"})
			continue
		}
		name := p.Key.Text
		of := &Field{Name: clip(f.Name + "." + name), Type: Expression}
		sub := w.value(p, of, join(path, clip(name)), "")
		v.subs[name], v.order = sub, append(v.order, name)
	}
	return v
}

// edits reads what a route changes of the headers.
func (b *builder) edits(v *value, r *Route) {
	for _, s := range v.get("set").named() {
		if !b.headerName(s.key, s.path) || b.command(s, r) || s.data == nil {
			continue
		}
		before := len(b.findings)
		if p, ok := b.expression(s, anyValue); ok {
			r.Edits = append(r.Edits, Edit{s.key.Text, &Value{p}})
		} else if word := s.node.Text; before < len(b.findings) && b.findings[before].Code == "F002" && strings.Trim(word, wordSigns) == "" {
			b.findings[before].Help = fmt.Sprintf("a text is in quotes of its own: '%q'; a header is msg.header.%s", clip(word), clip(word))
		}
	}
	out := v.get("unset")
	if out == nil || out.data == nil {
		return
	}
	for _, n := range out.node.Items {
		switch {
		case n.Kind != yamltree.Scalar || n.Form != yamltree.Text || n.Tag != "" || n.Text == "": // that has been reported
		case !b.headerName(n, out.path):
		case slices.ContainsFunc(r.Edits, func(e Edit) bool { return e.Name == n.Text }):
			b.at(n, out.path, Finding{Code: "K006", Message: fmt.Sprintf("header %q is named twice", clip(n.Text)), Label: "again here",
				Help: "name it in set or in unset, once; set replaces what is there"})
		default:
			r.Edits = append(r.Edits, Edit{Name: n.Text})
		}
	}
}

// headerName checks the name of a header that the file changes, and reports whether it is one. posthouse-* says what is
// known of a message: an operator cannot make it say something else.
func (b *builder) headerName(n *yamltree.Node, path string) bool {
	name := n.Text
	f := Finding{Code: "K006", Message: fmt.Sprintf("%q is not a name of a header", clip(name)), Label: "not a name of a header",
		Help: "use printable characters, at most 128 bytes, without blanks at the ends"}
	switch lower := strings.ToLower(name); {
	case name == "" || len(name) > maxName || name != strings.TrimSpace(name) || strings.ContainsFunc(name, unprintable):
	case strings.HasPrefix(lower, "posthouse-") || strings.HasPrefix(lower, "posthouse_"):
		f.Message, f.Label, f.Help = fmt.Sprintf("header %q belongs to Posthouse", clip(name)), "reserved", "use another name"
	default:
		return true
	}
	b.at(n, path, f)
	return false
}

func unprintable(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 || c == '\ufffd' }

// command reports a header that is a command to the broker of a target: it would not be set there.
func (b *builder) command(s *value, r *Route) bool {
	for _, to := range r.To {
		br := b.brokers[to.Addr.Broker]
		if br == nil || b.options.Kinds[br.Kind] == nil {
			continue
		}
		for _, p := range b.options.Kinds[br.Kind].Capabilities(br.Config).Headers.Reserved {
			if strings.HasPrefix(s.key.Text, p) {
				b.at(s.key, s.path, Finding{Code: "K006", Message: fmt.Sprintf("header %q is a command to broker %q", clip(s.key.Text), br.Name),
					Label: fmt.Sprintf("begins with %q", p), Help: "use another name: it would not arrive as a header"})
				return true
			}
		}
	}
	return false
}
