package routes

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// Redact returns a file as it may be shown: what looks like a secret is masked, though no accepted file has one (X001).
func Redact(src []byte) string {
	doc, _ := yamltree.Parse(src)
	r := &reporter{doc: doc}
	if doc.Root != nil {
		r.secretKeys(doc.Root, false)
	}
	var b strings.Builder
	for i := range strings.Count(string(src), "\n") + 1 {
		line, _, _ := r.cover(i+1, []rune(doc.Line(i+1)), 0, 0)
		b.WriteString(string(line))
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// Unchangeable reports that keys of a file, each with the objects that it stands in, differ from those of the running daemon
// and that only a restart can take them (C001).
func Unchangeable(file string, src []byte, keys []string) Findings {
	doc, _ := yamltree.Parse(src)
	r := &reporter{file: file, doc: doc}
	if doc.Root != nil {
		r.secretKeys(doc.Root, false)
	}
	for _, key := range keys {
		f := Finding{Code: "C001", Message: key + " cannot change while the daemon runs", Label: "needs a restart",
			Help: "put the old value back and reload, or restart the daemon", Path: key}
		if n := nodeOf(doc.Root, strings.Split(key, ".")); n != nil {
			f = r.place(f, n)
		}
		r.add(f)
	}
	return r.finish()
}

// nodeOf is the value of a key, or of what is nearest above it; nil if the file has neither.
func nodeOf(n *yamltree.Node, path []string) *yamltree.Node {
	var at *yamltree.Node
	for _, name := range path {
		if n == nil {
			return at
		}
		i := slices.IndexFunc(n.Pairs, func(p yamltree.Pair) bool { return p.Key.Text == name })
		if i < 0 {
			return at
		}
		at, n = n.Pairs[i].Key, n.Pairs[i].Value
		if n != nil && n.Kind == yamltree.Scalar {
			at = n
		}
	}
	return at
}

// Spooled finds spool.dir in a file that may be wrong elsewhere; "" if it cannot be found.
func Spooled(file string, src []byte) string {
	return (&builder{dir: filepath.Dir(file)}).path(Peek(src, "spool", "dir"))
}

// Peek finds the text of a key in a file that may be wrong elsewhere; "" if it cannot be found.
func Peek(src []byte, path ...string) string {
	doc, _ := yamltree.Parse(src)
	n := doc.Root
	for _, name := range path {
		if n == nil {
			return ""
		}
		i := slices.IndexFunc(n.Pairs, func(p yamltree.Pair) bool { return p.Key.Text == name })
		if i < 0 {
			return ""
		}
		n = n.Pairs[i].Value
	}
	if n == nil || n.Kind != yamltree.Scalar {
		return ""
	}
	return n.Text
}
