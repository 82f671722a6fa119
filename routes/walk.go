package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// A value is a part of the file that has been checked against the table of keys.
type value struct {
	node  *yamltree.Node
	key   *yamltree.Node // nil for an item of a list
	field *Field
	path  string
	data  any // of a scalar: string, bool, int64, float64, time.Duration, []string, SecretRef; nil when it is wrong
	subs  map[string]*value
	order []string // of subs, as in the file
	items []*value
}

// get follows names; nil when one of them is absent.
func (v *value) get(names ...string) *value {
	for _, n := range names {
		if v == nil {
			return nil
		}
		v = v.subs[n]
	}
	return v
}

// named returns the entries of a map in file order.
func (v *value) named() []*value {
	if v == nil {
		return nil
	}
	out := make([]*value, 0, len(v.order))
	for _, n := range v.order {
		out = append(out, v.subs[n])
	}
	return out
}

// A walker checks a tree against the table.
type walker struct {
	*reporter
	kinds []string          // types of broker that this program has
	types map[string]string // broker name to type, as far as known
}

// object checks a map against a shape.
func (w *walker) object(n *yamltree.Node, s *Shape, path, kind string) *value {
	v := &value{node: n, path: path, subs: map[string]*value{}}
	if n.Kind != yamltree.Map {
		w.notAnObject(n, s, path)
		return v
	}
	var strange []string
	for _, p := range n.Pairs {
		if p.Key.Kind != yamltree.Scalar {
			w.at(p.Key, path, Finding{Code: "K003", Message: "a key must be a word", Label: "this is a map or a list",
				Help: "quote the whole expression, or put it under a | block"})
			continue
		}
		f := s.field(p.Key.Text, kind)
		if f == nil {
			w.unknown(p.Key, s, path, kind)
			strange = append(strange, suggest(p.Key.Text, s.names(kind)))
			continue
		}
		if f.Outdated != "" {
			w.at(p.Key, join(path, f.Name), Finding{Code: "K008", Severity: Warning,
				Message: fmt.Sprintf("%q is an old key", f.Name), Label: "deprecated", Help: f.Outdated})
		}
		sub := w.value(p, f, join(path, f.Name), kind)
		v.subs[f.Name], v.order = sub, append(v.order, f.Name)
	}
	w.missing(v, s, strange, kind)
	return v
}

func (w *walker) notAnObject(n *yamltree.Node, s *Shape, path string) {
	help := "write its keys below it: " + strings.Join(s.names(""), ", ")
	w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be a map of keys", s.Name), Label: describe(n), Help: help})
}

// describe says what a node is.
func describe(n *yamltree.Node) string {
	switch {
	case n.Kind == yamltree.Map:
		return "this is a map"
	case n.Kind == yamltree.List:
		return "this is a list"
	case n.Form == yamltree.Null:
		return "nothing here"
	case n.Form == yamltree.Bool:
		return "this is true or false"
	case n.Form == yamltree.Number:
		return "this is a number"
	}
	return "this is text"
}

func (w *walker) unknown(key *yamltree.Node, s *Shape, path, kind string) {
	name := key.Text
	f := Finding{Code: "K001", Message: fmt.Sprintf("unknown key %q in %s", clip(name), s.Name), Label: "not a key of " + s.Name}
	if of := s.kinds(name); kind != "" && len(of) > 0 {
		f = misfit(name, s, kind, of)
	} else if f.Suggestion = didYouMean(name, s.names(kind)); f.Suggestion == "" {
		f.Help = "keys of " + s.Name + ": " + strings.Join(s.names(kind), ", ")
	}
	w.at(key, join(path, clip(name)), f)
}

// misfit is a key that only brokers of other types have.
func misfit(name string, s *Shape, kind string, of []string) Finding {
	return Finding{Code: "K001", Message: fmt.Sprintf("key %q does not fit a broker of type %s", name, kind),
		Label: fmt.Sprintf("not a key of %s with %s", s.Name, kind), Help: "it belongs to type " + list(of)}
}

// missing reports required keys, but not those that a misspelt key was meant to be.
func (w *walker) missing(v *value, s *Shape, strange []string, kind string) {
	for _, f := range s.Fields {
		if !f.Required || v.subs[f.Name] != nil || slices.Contains(strange, f.Name) || kind != "" && !f.fits(kind) {
			continue
		}
		w.at(v.node, join(v.path, f.Name), Finding{Code: "K002", Message: fmt.Sprintf("%s has no %q", s.Name, f.Name),
			Label: "in this " + s.Name, Help: "add " + f.Example})
	}
}

// value checks what stands behind a key.
func (w *walker) value(p yamltree.Pair, f *Field, path, kind string) *value {
	n := p.Value
	v := &value{node: n, field: f, path: path}
	if n.Tag != "" {
		w.tag(n, f, path)
		v.key = p.Key
		return v
	}
	switch f.Type {
	case Object, WordOrObject, TextOrObject:
		if f.Type != Object && n.Kind != yamltree.Map {
			v.data = w.scalar(n, f, path)
			break
		}
		if kind == "" {
			kind = w.kindOf(n)
		}
		v = w.object(n, f.Of, path, kind)
	case Objects, OneOrMany:
		v.items = w.items(n, f, path)
	case Named:
		v = w.entries(n, f, path)
	case Plain:
	case Expressions:
		v = w.expressions(n, f, path)
	case TextList, URLList:
		v.data = w.texts(n, f, path)
	case SecretValue:
		v.data = w.secret(n, f, path)
	default:
		v.data = w.scalar(n, f, path)
	}
	v.key, v.field = p.Key, f
	return v
}

func (w *walker) tag(n *yamltree.Node, f *Field, path string) {
	if f.Type == SecretValue { // the tag is the beginning of the secret
		w.literal(n, path)
		return
	}
	out := Finding{Code: "Y003", Message: fmt.Sprintf("YAML reads %q as a tag", clip(n.Tag)), Label: "a tag", Help: "remove it, or quote the whole value"}
	if f.Type == Predicate || f.Type == Expression {
		rest := strings.TrimSpace(strings.TrimPrefix(n.Tag, "!") + " " + n.Text)
		out.Message += fmt.Sprintf(": this %s would be empty and match every message", f.Name)
		if n.Text != "" || f.Type == Expression {
			out.Message = fmt.Sprintf("YAML reads %q as a tag and takes it out of the %s", clip(n.Tag), f.Name)
		}
		out.Label, out.Help = "unquoted leading !", "quote it, or write: not "+clip(rest)
	}
	w.at(n, path, out)
}

// items checks a list of objects, or a single one where that is permitted.
func (w *walker) items(n *yamltree.Node, f *Field, path string) []*value {
	one := func(n *yamltree.Node, path string) *value {
		if n.Tag != "" {
			w.tag(n, f, path)
		}
		v := w.object(n, f.Of, path, w.kindOf(n))
		v.field = f
		return v
	}
	if n.Kind == yamltree.Map && f.Type == OneOrMany {
		return []*value{one(n, path)}
	}
	if n.Kind != yamltree.List || len(n.Items) == 0 {
		out := Finding{Code: "K003", Message: fmt.Sprintf("%s must be a list", f.Name), Label: describe(n),
			Help: "write each entry below it, beginning with a dash"}
		if n.Kind == yamltree.List {
			out.Message, out.Label, out.Help = f.Name+" is empty", "nothing in it", "write at least one: "+f.Example
		}
		w.at(n, path, out)
		return nil
	}
	var out []*value
	for i, it := range n.Items {
		out = append(out, one(it, fmt.Sprintf("%s[%d]", path, i)))
	}
	return out
}

// kindOf is the type of the broker that an end names, "" when that is unknown or the node is no end.
func (w *walker) kindOf(n *yamltree.Node) string {
	for _, p := range n.Pairs {
		if p.Key.Text == "broker" && p.Value.Kind == yamltree.Scalar {
			return w.types[p.Value.Text]
		}
	}
	return ""
}

// entries checks a map from names to objects.
func (w *walker) entries(n *yamltree.Node, f *Field, path string) *value {
	v := &value{node: n, path: path, subs: map[string]*value{}}
	if n.Kind != yamltree.Map {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be a map from names to objects", f.Name), Label: describe(n),
			Help: f.Example})
		return v
	}
	for _, p := range n.Pairs {
		if p.Key.Kind != yamltree.Scalar || !goodName(p.Key.Text) {
			w.badName(p.Key, path)
			continue
		}
		name := p.Key.Text
		if p.Value.Tag != "" {
			w.tag(p.Value, f, join(path, name))
		}
		sub := w.object(p.Value, f.Of, join(path, name), w.types[name])
		sub.key = p.Key
		v.subs[name], v.order = sub, append(v.order, name)
	}
	return v
}

func (w *walker) badName(n *yamltree.Node, path string) {
	w.at(n, path, Finding{Code: "K006", Message: fmt.Sprintf("%q is not a name", clip(n.Text)), Label: "not a name",
		Help: "use lower-case letters, digits and dashes, at most 63, beginning with a letter or digit"})
}

// goodName reports whether s matches [a-z0-9][a-z0-9-]{0,62}.
func goodName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// clip shortens what a message quotes from the file, and takes out what a terminal would act upon.
func clip(s string) string {
	r := []rune(strings.Map(blank, s))
	if len(r) > 120 {
		return string(r[:117]) + "..."
	}
	return string(r)
}

// blank makes a space of a control character.
func blank(c rune) rune {
	if c < ' ' || c == 0x7f {
		return ' '
	}
	return c
}
