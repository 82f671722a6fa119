// Package routes reads a topology, the YAML file that says what a daemon does, checks it, and compiles it into an
// immutable Table.
//
// The way of a file: yamltree parses it and keeps positions; walk.go checks it against the table of keys (keys.go, whose
// rows also make the JSON Schema and the reference page); build.go makes brokers and routes of it, with the rules that
// concern several keys; expr.go compiles expressions after guard.go has looked at them. All findings are reported
// together, in file order.
package routes

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path/filepath"
	"slices"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// Kinds are the adapters that the program has, by Kind.
type Kinds map[string]adapters.Adapter

// Options is what Load needs to know beside the file.
type Options struct {
	Kinds    Kinds
	Repeater string // name of this daemon, which expressions may ask for
}

// Load checks a file and compiles it. name is the file's name: for findings, and as the place to which relative paths
// in it refer. The Table is nil if there is any error; warnings come beside a Table. Nothing is opened, neither a
// socket nor a file, and no secret is read.
func Load(name string, src []byte, o Options) (*Table, Findings) {
	doc, problems := yamltree.Parse(src)
	r := &reporter{file: name, doc: doc}
	r.problems(problems)
	if doc.Root == nil {
		return nil, r.finish()
	}
	r.secretKeys(doc.Root, false)
	w := &walker{reporter: r, kinds: slices.Sorted(maps.Keys(o.Kinds)), types: brokerTypes(doc.Root, o.Kinds)}
	root := w.object(doc.Root, topologyShape(), "", "")
	b := &builder{reporter: r, options: o, dir: filepath.Dir(name), root: root}
	t := b.table()
	fs := r.finish()
	if fs.HasErrors() {
		return nil, fs
	}
	sum := sha256.Sum256(src)
	t.File, t.Hash = name, hex.EncodeToString(sum[:6])
	return t, fs
}

// brokerTypes reads ahead: the type of each broker decides which keys it and the ends on it have.
func brokerTypes(root *yamltree.Node, kinds Kinds) map[string]string {
	types := map[string]string{}
	for _, p := range root.Pairs {
		if p.Key.Text != "brokers" {
			continue
		}
		for _, b := range p.Value.Pairs {
			for _, f := range b.Value.Pairs {
				if f.Key.Text == "type" && kinds[f.Value.Text] != nil {
					types[b.Key.Text] = f.Value.Text
				}
			}
		}
	}
	return types
}
