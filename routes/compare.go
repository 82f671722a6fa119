package routes

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// A Diff is what a reload from one table to another does. Its lists are in file order, brokers in the order of their
// names, and never nil.
type Diff struct {
	Brokers   []Change `json:"brokers"` // the routes that use one of these are restarted
	Added     []string `json:"added"`
	Changed   []Change `json:"changed"`   // those whose keys are all in Live are not restarted
	Removed   []Change `json:"removed"`   // with Keys: the names that take their spool along
	Restarted []string `json:"restarted"` // what runs and is stopped and started again, for itself or for what it shares
	Process   []string `json:"process"`   // keys whose change needs a restart of the daemon: it refuses the reload
	Live      []string `json:"live"`      // keys that change without any restart
	Positions []Change `json:"positions"` // routes whose reader had another route's name, and so another position, before (positions.go)

	Groups []Group `json:"-"` // all sources, in the order of the new table; those that are only in the old one behind
}

// A Change is an object that both tables have, or that is renamed, and what of it differs.
type Change struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"`
	Was  string   `json:"renamed_from,omitempty"`
}

// A Group is the routes of one source before and after: what one reader serves.
type Group struct {
	Old, New []*Route // nil: there is none
	Same     bool     // nothing that it does differs but the Limits of its routes: they go on
}

// Empty reports whether nothing differs.
func (d *Diff) Empty() bool {
	return len(d.Brokers)+len(d.Added)+len(d.Changed)+len(d.Removed)+len(d.Restarted)+len(d.Process)+len(d.Live) == 0
}

// Compare says what a reload from old to t does. rotated are brokers with other secrets than before: the files do not
// tell that. It compares what routes mean, not how they are written.
func (t *Table) Compare(old *Table, rotated ...string) *Diff {
	return (&comparison{old: old, new: t, brokers: map[string]bool{}, changed: map[*Route]bool{}}).diff(rotated)
}

// Again is what it means to stop some of the routes of t, and what shares a source or a bridge with them, and to start them
// again.
func (t *Table) Again(names ...string) *Diff {
	c := &comparison{old: t, new: t, brokers: map[string]bool{}, changed: map[*Route]bool{}}
	for _, r := range t.Routes {
		if slices.Contains(names, r.Name) {
			c.changed[r] = true
		}
	}
	return c.diff(nil)
}

func (c *comparison) diff(rotated []string) *Diff {
	d := &Diff{Brokers: []Change{}, Added: []string{}, Changed: []Change{}, Removed: []Change{}, Restarted: []string{}, Process: []string{}, Live: []string{}, Positions: []Change{}}
	c.process(d)
	c.compareBrokers(d, rotated)
	c.routes(d)
	c.groups(d)
	c.positions(d)
	return d
}

type comparison struct {
	old, new *Table
	brokers  map[string]bool // that differ
	changed  map[*Route]bool // of the new table
}

// process finds what a running daemon cannot change.
func (c *comparison) process(d *Diff) {
	d.Process = append(d.Process, differing("spool", c.old.Spool, c.new.Spool)...)
	d.Process = slices.DeleteFunc(d.Process, func(k string) bool { return k == "spool.when_full" }) // it is the routes'
	d.Process = append(d.Process, differing("admin", c.old.Admin, c.new.Admin)...)
	if !reflect.DeepEqual(c.old.PathKey, c.new.PathKey) {
		d.Process = append(d.Process, "topology.path_key")
	}
	const level = "admin.log.level"
	if i := slices.Index(d.Process, level); i >= 0 {
		d.Process = slices.Delete(d.Process, i, i+1)
		d.Live = append(d.Live, level)
	}
	for _, name := range namesOf(c.old.Brokers, c.new.Brokers) {
		if !reflect.DeepEqual(embedded(c.old.Brokers[name]), embedded(c.new.Brokers[name])) {
			d.Process = append(d.Process, "brokers."+name+".embedded")
		}
	}
}

// embedded is what a broker says of the server that the daemon runs for it, nil if there is none.
func embedded(b *Broker) any {
	if b == nil {
		return nil
	}
	return b.Config.Options["embedded"]
}

func namesOf[V any](ms ...map[string]V) []string {
	all := map[string]V{}
	for _, m := range ms {
		maps.Copy(all, m)
	}
	return slices.Sorted(maps.Keys(all))
}

// compareBrokers finds the brokers that differ. One that comes or goes differs too, in case that a name is used again.
func (c *comparison) compareBrokers(d *Diff, rotated []string) {
	for _, name := range namesOf(c.old.Brokers, c.new.Brokers) {
		a, b := c.old.Brokers[name], c.new.Brokers[name]
		switch {
		case a == nil:
			d.Brokers, c.brokers[name] = append(d.Brokers, Change{Name: name, Keys: []string{"added"}}), true
			continue
		case b == nil:
			d.Brokers, c.brokers[name] = append(d.Brokers, Change{Name: name, Keys: []string{"removed"}}), true
			continue
		}
		keys := differing("", a, b)
		if slices.Contains(rotated, name) {
			keys = append(keys, "credentials")
		}
		if i := slices.Index(keys, "site"); i >= 0 { // a label
			keys = slices.Delete(keys, i, i+1)
			d.Live = append(d.Live, "brokers."+name+".site")
		}
		if len(keys) > 0 {
			d.Brokers, c.brokers[name] = append(d.Brokers, Change{Name: name, Keys: keys}), true
		}
	}
}

// routes finds those that come, go and differ.
func (c *comparison) routes(d *Diff) {
	before, after := byName(c.old.Routes), byName(c.new.Routes)
	heirs := map[string]string{}
	for _, r := range c.new.Routes {
		old := before[r.Name]
		if old == nil {
			d.Added = append(d.Added, r.Name)
			if r.RenamedFrom != "" {
				heirs[r.RenamedFrom] = r.Name
			}
			continue
		}
		if keys := differing("", old, r); len(keys) > 0 {
			d.Changed = append(d.Changed, Change{Name: r.Name, Keys: keys})
			if c.changed[r] = !allLive(keys); !c.changed[r] {
				d.Live = append(d.Live, routeKeys(r.Name, keys)...)
			}
		}
	}
	for _, r := range c.old.Routes {
		if after[r.Name] == nil {
			d.Removed = append(d.Removed, Change{Name: r.Name, Keys: []string{}, Was: heirs[r.Name]})
		}
	}
}

// routeKeys are keys of a route as the lists of a Diff say them.
func routeKeys(name string, keys []string) (out []string) {
	for _, k := range keys {
		out = append(out, "routes."+name+"."+k)
	}
	return out
}

func byName(rs []*Route) map[string]*Route {
	m := make(map[string]*Route, len(rs))
	for _, r := range rs {
		m[r.Name] = r
	}
	return m
}

// groups pairs the sources of both tables.
func (c *comparison) groups(d *Diff) {
	old := map[string][]*Route{}
	for _, g := range c.old.Flows() {
		old[g[0].reader()] = g
	}
	ran := map[string]bool{}
	for _, g := range old {
		for _, r := range g {
			ran[r.Name] = true
		}
	}
	for _, g := range c.new.Flows() {
		key := g[0].reader()
		pair := Group{Old: old[key], New: g}
		pair.Same = c.same(pair)
		delete(old, key)
		d.Groups = append(d.Groups, pair)
	}
	bridged(d.Groups)
	for _, g := range d.Groups {
		for _, r := range g.New {
			if !g.Same && ran[r.Name] {
				d.Restarted = append(d.Restarted, r.Name)
			}
		}
	}
	for _, g := range c.old.Flows() {
		if key := g[0].reader(); old[key] != nil {
			d.Groups = append(d.Groups, Group{Old: g})
		}
	}
}

// bridged makes groups that serve one bridge the same or not the same together: its table belongs to both of its routes.
func bridged(gs []Group) {
	of := map[string][]int{}
	var changed []int
	for i, g := range gs {
		for _, name := range g.Bridges() {
			of[name] = append(of[name], i)
		}
		if !g.Same {
			changed = append(changed, i)
		}
	}
	for len(changed) > 0 {
		i := changed[0]
		changed = changed[1:]
		for _, name := range gs[i].Bridges() {
			for _, j := range of[name] {
				if gs[j].Same {
					gs[j].Same = false
					changed = append(changed, j)
				}
			}
		}
	}
}

// Bridges are the names of those that the routes of g carry requests or replies of, before or after.
func (g Group) Bridges() (names []string) {
	for _, r := range slices.Concat(g.Old, g.New) {
		for _, b := range []*Bridge{r.Asks, r.Answers} {
			if b != nil && !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

// same reports whether g does after what it did before.
func (c *comparison) same(g Group) bool {
	if len(g.Old) != len(g.New) || c.brokers[g.New[0].From.Broker] {
		return false
	}
	a, b := c.old.Brokers[g.New[0].From.Broker], c.new.Brokers[g.New[0].From.Broker]
	if a != nil && b != nil && a.Trusted != b.Trusted {
		return false
	}
	for i, r := range g.New {
		if slices.ContainsFunc(r.Ends(), func(a adapters.Address) bool { return c.brokers[a.Broker] }) || g.Old[i].Name != r.Name || c.changed[r] {
			return false
		}
	}
	return true
}

// Ends are the places that r writes to: targets, and that of its dead letters.
func (r *Route) Ends() (as []adapters.Address) {
	for _, t := range r.To {
		as = append(as, t.Addr)
	}
	if r.DeadLetter != nil {
		as = append(as, r.DeadLetter.Addr)
	}
	return as
}

// SameSource reports whether two addresses are one place, read or written in the same way: broker, form, name and the end's
// own options.
func SameSource(a, b adapters.Address) bool { return keyOf(a) == keyOf(b) }

// Reader is a text that is equal for routes that share a reader.
func (r *Route) Reader() string { return r.reader() }

// unsaid reports whether a field says where something stands in the file, or follows from others.
func unsaid(name string) bool {
	switch name {
	case "Line", "Trusted", "Identity", "Class", "Memory", "PassesRefused":
		return true
	}
	return false
}

// differing lists the keys below path by which a and b, values of one type, differ.
func differing(path string, a, b any) []string {
	var out []string
	differ(path, reflect.ValueOf(a), reflect.ValueOf(b), &out)
	return slices.Compact(out)
}

// differ compares by what is meant: expressions by their source, all else by value.
func differ(path string, a, b reflect.Value, out *[]string) {
	switch x := a.Interface().(type) {
	case *Filter:
		if y := b.Interface().(*Filter); (x == nil) != (y == nil) || x != nil && x.String() != y.String() {
			*out = append(*out, path)
		}
		return
	case *Expr:
		if y := b.Interface().(*Expr); (x == nil) != (y == nil) || x != nil && x.Source() != y.Source() {
			*out = append(*out, path)
		}
		return
	case []Edit:
		if !slices.EqualFunc(x, b.Interface().([]Edit), Edit.same) {
			*out = append(*out, path)
		}
		return
	case adapters.Address:
		if y := b.Interface().(adapters.Address); keyOf(x) != keyOf(y) {
			*out = append(*out, path)
		}
		return
	case Sync:
		if x != b.Interface().(Sync) {
			*out = append(*out, path)
		}
		return
	}
	switch a.Kind() {
	case reflect.Pointer:
		differPointers(path, a, b, out)
	case reflect.Map:
		differMaps(path, a, b, out)
	case reflect.Struct:
		differFields(path, a, b, out)
	case reflect.Slice:
		differItems(path, a, b, out)
	default:
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			*out = append(*out, path)
		}
	}
}

func differPointers(path string, a, b reflect.Value, out *[]string) {
	switch {
	case a.Pointer() == b.Pointer():
	case a.IsNil() || b.IsNil():
		*out = append(*out, path)
	default:
		differ(path, a.Elem(), b.Elem(), out)
	}
}

// plain kinds are most of all fields, and compared without ado.
func plain(k reflect.Kind) bool {
	return k == reflect.String || k > reflect.Invalid && k <= reflect.Float64
}

func differFields(path string, a, b reflect.Value, out *[]string) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() || unsaid(f.Name) || f.Type.Kind() == reflect.Func {
			continue
		}
		if x, y := a.Field(i), b.Field(i); !plain(x.Kind()) || !x.Equal(y) {
			differ(below(path, f.Name), x, y, out)
		}
	}
}

// differMaps is for the keys that only some kinds of brokers and ends have.
func differMaps(path string, a, b reflect.Value, out *[]string) {
	keys := map[string]bool{}
	for _, m := range []reflect.Value{a, b} {
		for _, k := range m.MapKeys() {
			keys[k.String()] = true
		}
	}
	at := func(m reflect.Value, k string) any {
		if v := m.MapIndex(reflect.ValueOf(k)); v.IsValid() {
			return v.Interface()
		}
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !reflect.DeepEqual(at(a, k), at(b, k)) {
			*out = append(*out, joined(path, k))
		}
	}
}

func differItems(path string, a, b reflect.Value, out *[]string) {
	if a.Len() != b.Len() {
		*out = append(*out, path)
		return
	}
	for i := range a.Len() {
		at := path
		if a.Index(i).Kind() == reflect.Struct && a.Len() > 1 {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		differ(at, a.Index(i), b.Index(i), out)
	}
}

// below is the key of a field. Some fields have no key of their own.
func below(path, field string) string {
	switch field {
	case "Config", "Addr", "Options", "Asks", "Answers", "Sharing", "Fit": // what stands in them stands in the object itself
		return path
	case "Secrets":
		field = "Credentials"
	case "Kind":
		field = "Type"
	case "Edits": // unset is one of them
		field = "Set"
	case "TrustValues":
		field = "TrustedHeaders"
	}
	return joined(path, snake(field))
}

func joined(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// snake is a name of Go as a key: InFlight is in_flight, CAFile is ca_file.
func snake(name string) string {
	var b strings.Builder
	rs := []rune(name)
	for i, r := range rs {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 && (rs[i-1] < 'A' || rs[i-1] > 'Z' || i+1 < len(rs) && rs[i+1] >= 'a') {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
