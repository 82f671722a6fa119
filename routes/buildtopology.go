package routes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// A network is the topology section while its routes are generated: as values, which are then built and checked like
// those that stand in the file. What is wrong with a generated route so has a place in the file, that of its entry or of
// the key in route:.
type network struct {
	*builder
	v       *value
	kind    string
	brokers []string          // the hub first
	known   map[string]bool   // of them
	names   map[string]*value // of entries
}

const mostChain = generatedHops + 1

// planned are the routes of the file, the generated ones first. A written route with override stands in place of the one
// whose name it has.
func (b *builder) planned() []*value {
	written, generated := b.root.get("routes"), b.generate()
	out, at := generated, map[string]int{}
	for i, g := range generated {
		at[g.get("name").data.(string)] = i
	}
	if written != nil {
		for _, v := range written.items {
			if !b.overrides(v, out, at) {
				out = append(out, v)
			}
		}
	}
	return out
}

// overrides puts a written route in place of a generated one, if it says so.
func (b *builder) overrides(v *value, generated []*value, index map[string]int) bool {
	name, _ := v.get("name").scalar().(string)
	if name == "" {
		return false
	}
	override := v.get("override") != nil && v.get("override").data == true
	at := v.get("name")
	i, there := index[name]
	switch {
	case there && override && !b.repeats[generated[i]].Written:
		r := *b.repeats[generated[i]]
		r.Written = true
		b.repeats[v], generated[i] = &r, v
		return true
	case there && !override:
		b.at(at.node, at.path, Finding{Code: "T008", Message: fmt.Sprintf("the topology generates a route named %q", name), Label: "written and generated",
			Help: "add override: true if it stands in place of the generated one, else give it another name"})
	case !there && override:
		b.noSuchGenerated(at, name, generated)
	case !there && strings.Contains(name, "."):
		b.badRouteName(at)
	}
	return false
}

func (b *builder) noSuchGenerated(at *value, name string, generated []*value) {
	var names []string
	for _, g := range generated {
		if r := b.repeats[g]; r != nil {
			names = append(names, g.get("name").data.(string))
		}
	}
	b.at(at.node, at.path, Finding{Code: "T008", Message: fmt.Sprintf("override: true, but nothing generates a route named %q", clip(name)), Label: "in place of what?",
		Suggestion: didYouMean(name, names), Help: "posthouse topology lists the generated routes; leave override out for a route of its own"})
}

func (b *builder) badRouteName(at *value) {
	b.at(at.node, at.path, Finding{Code: "K006", Message: fmt.Sprintf("%q is not a name", clip(at.node.Text)), Label: "not a name",
		Help: "use lower-case letters, digits and dashes, at most 63, beginning with a letter or digit; only generated routes have dots"})
}

// scalar is the value of a scalar; nil for no value.
func (v *value) scalar() any {
	if v == nil {
		return nil
	}
	return v.data
}

// generate makes the routes of the topology, and notes for each from which entry it is.
func (b *builder) generate() []*value {
	b.repeats = map[*value]*Repeat{}
	v := b.root.get("topology")
	if v == nil || v.subs == nil {
		return nil
	}
	n := &network{builder: b, v: v, known: map[string]bool{}, names: map[string]*value{}}
	n.kind, _ = v.get("kind").scalar().(string)
	n.members()
	if k := v.get("path_key"); k != nil {
		if ref, ok := k.data.(SecretRef); ok {
			ref.Key, ref.File = "topology.path_key", b.path(ref.File)
			b.pathKey = &ref
		}
	}
	b.pattern = &Topology{Kind: n.kind, Brokers: n.brokers}
	var out []*value
	if entries := v.get("repeat"); entries != nil && n.kind != "" {
		for _, e := range entries.items {
			out = append(out, n.entry(e)...)
		}
	}
	return out
}

// members reads which brokers take part. The keys depend on the kind.
func (n *network) members() {
	keys := map[string][]string{HubAndSpoke: {"hub", "spokes"}, Bus: {"chain"}, Mesh: {"members"}}[n.kind]
	for _, key := range []string{"hub", "spokes", "chain", "members"} {
		at := n.v.get(key)
		switch wanted := slices.Contains(keys, key); {
		case n.kind == "":
			return
		case at == nil && wanted && !n.misspelt(key):
			n.at(n.v.node, n.v.path+"."+key, Finding{Code: "K002", Message: fmt.Sprintf("topology of kind %s has no %q", n.kind, key), Label: "in this topology",
				Help: "add " + map[string]string{"hub": "hub: NAME", "spokes": "spokes: [NAME]", "chain": "chain: [NAME, NAME]", "members": "members: [NAME, NAME]"}[key]})
		case at != nil && !wanted:
			n.at(at.key, at.path, Finding{Code: "K001", Message: fmt.Sprintf("key %q does not fit a topology of kind %s", key, n.kind), Label: "not a key of " + n.kind,
				Help: "write " + strings.Join(keys, " and ")})
		case at != nil && key == "hub":
			n.member(at.node, at.path)
		case at != nil:
			for i, it := range at.node.Items {
				n.member(it, fmt.Sprintf("%s[%d]", at.path, i))
			}
		}
	}
	n.enough(keys)
}

// misspelt reports whether an unknown key of the section was meant to be name: that has been reported.
func (n *network) misspelt(name string) bool {
	for _, p := range n.v.node.Pairs {
		if n.v.subs[p.Key.Text] == nil && suggest(p.Key.Text, networkShape(routeShape()).names("")) == name {
			return true
		}
	}
	return false
}

// enough refuses a list that makes no pair, and a bus that is longer than a path may be.
func (n *network) enough(keys []string) {
	key := keys[len(keys)-1]
	at := n.v.get(key)
	if at == nil || at.data == nil {
		return
	}
	switch count := len(at.node.Items); {
	case key != "spokes" && count < 2:
		n.at(at.node, at.path, Finding{Code: "K003", Message: key + " needs at least two brokers", Label: "nothing to repeat to", Help: "add another broker"})
	case key == "chain" && count > mostChain:
		n.at(at.node, at.path, Finding{Code: "K003", Message: fmt.Sprintf("a chain has at most %d brokers", mostChain), Label: "too long",
			Help: "make two of it, with a written route between them"})
	}
}

// member takes in one broker of the list.
func (n *network) member(node *yamltree.Node, path string) {
	switch name := node.Text; {
	case node.Kind != yamltree.Scalar || name == "" || node.Tag != "": // that has been reported
	case n.builder.brokers[name] == nil:
		n.noBroker(&value{node: node, path: path, data: name})
	case n.known[name]:
		n.at(node, path, Finding{Code: "K006", Message: fmt.Sprintf("broker %q takes part twice", name), Label: "again here", Help: "name each broker once"})
	default:
		n.known[name] = true
		n.brokers = append(n.brokers, name)
	}
}

// entry generates the routes of one entry of repeat.
func (n *network) entry(e *value) []*value {
	name, _ := e.get("name").scalar().(string)
	direction, _ := e.get("direction").scalar().(string)
	at := e.get("at")
	if name == "" || direction == "" || at == nil || !n.unique(e, name) || !n.direction(e, direction) {
		return nil
	}
	n.strangers(at)
	pairs := n.complete(e, edges(n.kind, direction, n.brokers))
	if !n.moves(e, pairs) {
		return nil
	}
	var out []*value
	for _, p := range pairs {
		if v := n.route(e, name, p, slices.Contains(pairs, edge{p.to, p.from})); v != nil {
			out = append(out, v)
		}
	}
	return out
}

func (n *network) unique(e *value, name string) bool {
	first := n.names[name]
	if first == nil {
		n.names[name] = e
		return true
	}
	at := e.get("name")
	n.at(at.node, at.path, Finding{Code: "K006", Message: fmt.Sprintf("two entries are named %q", name), Label: "again here",
		Help: "give each entry a name of its own", Note: fmt.Sprintf("the first is at line %d", first.get("name").node.Line)})
	return false
}

// direction refuses a word of another kind, and warns where a path is trusted that anybody could have written.
func (n *network) direction(e *value, word string) bool {
	at := e.get("direction")
	if of := directionsOf(n.kind); !slices.Contains(of, word) {
		n.at(at.node, at.path, Finding{Code: "T006", Message: fmt.Sprintf("a %s has no direction %q", n.kind, word), Label: "a word of another kind",
			Help: "write " + list(of)})
		return false
	}
	if word == "both" && n.v.get("path_key") == nil {
		n.at(at.node, at.path, Finding{Code: "T007", Severity: Warning, Message: "who can write to these brokers can forge the path by which echoes are known", Label: "both ways, without a path_key",
			Help: "add path_key: { file: PATH } to the topology: one secret for all repeaters of the file"})
	}
	return true
}

// strangers reports destinations at brokers that do not take part.
func (n *network) strangers(at *value) {
	for _, v := range at.named() {
		switch name := v.key.Text; {
		case n.known[name] || slices.Contains(n.asked(), name):
		case n.builder.brokers[name] == nil:
			n.noBroker(&value{node: v.key, path: v.path, data: name})
		default:
			n.at(v.key, v.path, Finding{Code: "T002", Message: fmt.Sprintf("broker %q takes no part in this topology", name), Label: "not in the list",
				Help: "remove it, or add the broker to the topology"})
		}
	}
}

// asked are the names that the list of brokers holds, defined or not.
func (n *network) asked() (out []string) {
	for _, key := range []string{"hub", "spokes", "chain", "members"} {
		if v := n.v.get(key); v != nil {
			out = append(out, v.node.Text)
			for _, it := range v.node.Items {
				out = append(out, it.Text)
			}
		}
	}
	return out
}

// complete leaves out the pairs of which one broker has no destination, and reports each such broker once.
func (n *network) complete(e *value, all []edge) (out []edge) {
	at, told := e.get("at"), map[string]bool{}
	for _, p := range all {
		missing := false
		for _, name := range []string{p.from, p.to} {
			if at.get(name) != nil {
				continue
			}
			missing = true
			if told[name] {
				continue
			}
			told[name] = true
			n.at(at.key, at.path, Finding{Code: "T002", Message: fmt.Sprintf("broker %q takes part, but \"at\" does not name it", name), Label: "what is it called there?",
				Help: fmt.Sprintf("add %s: { topic: NAME }, or what fits that broker", name), Note: fmt.Sprintf("it is about entry %q", e.get("name").data)})
		}
		if !missing {
			out = append(out, p)
		}
	}
	return out
}

// moves refuses to repeat a queue where its messages would have to be copied, or would be read again by the route that
// has written them: what is in a queue exists once, so who takes it there must be the only one.
func (n *network) moves(e *value, pairs []edge) bool {
	ok := true
	for _, v := range e.get("at").named() {
		q, targets, back := n.queue(v), []string(nil), false
		if q == nil {
			continue
		}
		for _, p := range pairs {
			if p.from == v.key.Text {
				targets = append(targets, p.to)
				back = back || slices.Contains(pairs, edge{p.to, p.from})
			}
		}
		f := Finding{Code: "T003", Label: "a message of a queue moves", Help: "use a topic, which gives each route a copy, or a written route"}
		switch {
		case len(targets) > 1:
			f.Message = fmt.Sprintf("a queue cannot be repeated to %s: each message would go to one of them only", strings.Join(targets, " and "))
			f.Help = "use a topic, which gives each route a copy, or a written route with distribute: copy"
		case back:
			f.Message = "a queue cannot be repeated both ways: what arrives in it would be taken out again"
		default:
			continue
		}
		ok = false
		if q.field.Name == "create" {
			f.Label, f.Help = "a stream that create makes is a queue", "add keep: 7d, for example: then it keeps messages for all who read it"
		}
		n.at(q.node, q.path, f)
	}
	return ok
}

// queue is the key that makes a destination a queue, nil if it is none as far as the file tells.
func (n *network) queue(at *value) *value {
	if c := at.get("create"); c.scalar() == true && at.get("keep") == nil {
		return c
	}
	return at.get("queue")
}

// route makes the value of one generated route; nil if it cannot be named.
func (n *network) route(e *value, entry string, p edge, mutual bool) *value {
	name, at := strings.Join([]string{entry, p.from, p.to}, "."), e.get("name")
	if len(name) > 63 {
		n.at(at.node, at.path, Finding{Code: "T008", Message: fmt.Sprintf("generated name %q has %d characters", name, len(name)), Label: "too long with the names of the brokers",
			Help: "at most 63: write a shorter name here, or for a broker"})
		return nil
	}
	v := &value{node: e.node, path: e.path, subs: map[string]*value{}}
	if rt := e.get("route"); rt != nil {
		for _, k := range rt.order {
			v.subs[k] = rt.subs[k]
			v.order = append(v.order, k)
		}
	}
	ends := e.get("at")
	v.subs["name"] = &value{node: at.node, key: at.key, field: routeShape().field("name", ""), path: at.path, data: name}
	v.subs["from"] = n.end(ends.get(p.from), sourceShape(), "from", name)
	to := n.end(ends.get(p.to), targetShape(), "to", name)
	v.subs["to"] = &value{node: to.node, key: to.key, field: to.field, path: to.path, items: []*value{to}}
	r := &Repeat{Name: entry, From: p.from, To: p.to, Mutual: mutual, Hops: hopsOf(n.kind, len(n.brokers))}
	if h, ok := v.get("max_hops").scalar().(int64); ok {
		r.Hops = int(h)
	}
	r.text = routeText(v)
	n.repeats[v] = r
	return v
}

// end makes an end of what stands under at: the keys that this side has. A topic that is read gets a subscription of the
// route's own.
func (n *network) end(at *value, s *Shape, side, route string) *value {
	broker := n.builder.brokers[at.key.Text]
	v := &value{node: at.node, key: at.key, field: routeShape().field(side, ""), path: at.path, subs: map[string]*value{}}
	v.set("broker", &value{node: at.key, key: at.key, field: s.field("broker", ""), path: at.path, data: at.key.Text})
	for _, k := range at.order {
		if f := s.field(k, broker.Kind); f != nil {
			sub := *at.subs[k]
			sub.field = f
			v.set(k, &sub)
		}
	}
	for _, f := range s.Fields {
		if f.With != "" && f.fits(broker.Kind) && v.get(f.With) != nil && v.get(f.Name) == nil {
			v.set(f.Name, &value{node: at.get(f.With).node, key: at.key, field: f, path: at.path, data: "posthouse." + route})
		}
	}
	return v
}

func (v *value) set(name string, sub *value) {
	v.subs[name] = sub
	v.order = append(v.order, name)
}

// queueOf reports whether an end is one whose messages exist once: who reads takes them away from all others.
func queueOf(a adapters.Address) bool { return a.Form == adapters.Queue }

// network reads what concerns the place of a route among others.
func (b *builder) network(v *value, c chain, r *Route) {
	b.origins[r] = v
	r.Repeat, r.Share, r.LoopOK = b.repeats[v], c.flag("share"), c.flag("loop_ok")
	if r.Repeat == nil {
		return
	}
	if !r.Repeat.Written || v.get("max_hops") == nil {
		r.MaxHops = generatedHops
	}
	r.Share = r.Share || b.mesh()
}

// mesh reports whether the routes of the topology are there to be shared.
func (b *builder) mesh() bool { return b.root.get("topology", "kind").scalar() == Mesh }

// repeaterName is what expressions get to know as the daemon's name: what was asked for, else the only one of the file.
func (b *builder) repeaterName() string {
	return cmp.Or(b.options.Repeater, soleRepeater(b.root.get("repeaters")))
}
