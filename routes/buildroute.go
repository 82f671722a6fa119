package routes

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

func (b *builder) routes(vs []*value) []*Route {
	var out []*Route
	first := map[string]*value{}
	for _, v := range vs {
		r := b.route(v)
		out = append(out, r)
		if r.Name == "" {
			continue
		}
		if other := first[r.Name]; other != nil {
			if b.repeats[other] == nil { // else that has been reported
				b.again(v, other, r.Name)
			}
			continue
		}
		first[r.Name] = v
	}
	b.renames(vs, out)
	return out
}

// again reports a name that two routes have.
func (b *builder) again(v, first *value, name string) {
	b.at(v.get("name").node, v.path+".name", Finding{Code: "K006", Message: fmt.Sprintf("two routes are named %q", name), Label: "again here",
		Help: "give each route a name of its own", Note: fmt.Sprintf("the first is at line %d", first.get("name").node.Line)})
}

func (b *builder) route(v *value) *Route {
	defaults := b.root.get("defaults", "route")
	c := chain{[]*value{v, defaults}, routeShape()}
	r := &Route{Name: c.text("name"), Enabled: c.flag("enabled"), Line: v.node.Line,
		Prefetch: c.count("prefetch"), PrefetchSize: c.size("prefetch_size"), InFlight: c.count("in_flight"),
		Batch:          Batch{c.count("batch", "count"), c.size("batch", "size")},
		Retry:          Retry{c.duration("retry", "delay"), c.duration("retry", "max_delay"), c.ratio("retry", "factor")},
		ConfirmTimeout: c.duration("confirm_timeout"), MaxMessageSize: c.size("max_message_size"),
		MaxHops: c.count("max_hops"), MaxRate: c.count("max_rate"), DrainRate: c.count("drain_rate"), RenamedFrom: c.text("renamed_from")}
	if r.Retry.Delay > r.Retry.MaxDelay {
		b.order(v.get("retry"), defaults.get("retry"))
	}
	if from := v.get("from"); from != nil {
		r.From, _ = b.end(from, sourceShape(), true)
	}
	if to := v.get("to"); to != nil {
		b.targets(v, to, r)
	}
	if f := v.get("filter"); f != nil && f.data != nil {
		r.Filter = b.filter(f)
	}
	r.Key = b.key(v)
	r.AcceptLosses = c.text("losses") == lossesAccept
	b.matching(c, r)
	b.edits(v, r)
	b.network(v, c, r)
	b.routeSpool(v, defaults, c, r)
	b.fates(v, defaults, c, r)
	b.promises(v, defaults, c, r)
	b.shares(v, c, r)
	return r
}

// targets fills in a route's targets with their names and checks what concerns several of them.
func (b *builder) targets(v, to *value, r *Route) {
	used := map[string]bool{}
	for _, t := range to.items {
		target, ok := b.target(t, used)
		if ok {
			b.feedsItself(t, target, r)
			b.twice(t, target, r)
		}
		r.To = append(r.To, target)
	}
	if len(to.items) > 1 && v.get("distribute") == nil {
		b.at(to.key, v.path+".distribute", Finding{Code: "R003", Message: fmt.Sprintf("route has %d targets but no \"distribute\"", len(to.items)),
			Label: "which of them gets a message?", Help: "add distribute: " + strings.Join(routeShape().field("distribute", "").Words, " | ")})
	}
}

func (b *builder) feedsItself(t *value, target Target, r *Route) {
	if target.Dynamic != nil {
		b.mayFeedItself(t, target, r)
	} else if b.homes.feeds(target.Addr, r.From) {
		b.at(place(t), t.path, Finding{Code: "R006", Message: fmt.Sprintf("target equals source: %s", r.From), Label: "the route would feed itself",
			Help: "name another place, or remove the target"})
	}
}

// twice warns of a target that the route has already.
func (b *builder) twice(t *value, target Target, r *Route) {
	i := slices.IndexFunc(r.To, func(o Target) bool { return reflect.DeepEqual(o.Addr, target.Addr) })
	if i >= 0 && target.Dynamic == nil && target.Addr.String() != r.From.String() {
		b.at(place(t), t.path, Finding{Code: "R006", Severity: Warning, Message: fmt.Sprintf("targets %d and %d are the same: %s", i+1, len(r.To)+1, target.Addr),
			Label: "every message twice", Help: "remove one of the two"})
	}
}

// place is the node that names an end's place, or the whole end.
func place(v *value) *yamltree.Node {
	for _, s := range v.named() {
		if s.field.Place {
			return s.node
		}
	}
	return v.node
}

func (b *builder) target(v *value, used map[string]bool) (Target, bool) {
	addr, ok := b.end(v, targetShape(), false)
	t := Target{Addr: addr, Dynamic: b.dynamic(v)}
	if n := v.get("name"); n != nil {
		t.Name, _ = n.data.(string)
		if used[t.Name] {
			b.at(n.node, n.path, Finding{Code: "K006", Message: fmt.Sprintf("two targets are named %q", t.Name), Label: "again here",
				Help: "give each target of a route a name of its own"})
		}
	} else {
		t.Name = addr.Broker
		for i := 2; used[t.Name]; i++ {
			t.Name = fmt.Sprintf("%s-%d", addr.Broker, i)
		}
	}
	used[t.Name] = true
	t.Key = b.key(v)
	tc := chain{[]*value{v}, targetShape()}
	t.Weight, t.Priority = tc.count("weight"), tc.count("priority")
	return t, ok
}

// key reads the expression that computes a key; nil if there is none.
func (b *builder) key(v *value) *Expr { return b.exprOf(v, "key") }

// exprOf reads the expression under a key; nil if there is none.
func (b *builder) exprOf(v *value, key string) *Expr {
	if k := v.get(key); k != nil && k.data != nil {
		if p, ok := b.expression(k, reflect.String); ok {
			return &Expr{p}
		}
	}
	return nil
}

// end reads one end of a route. ok is false when something is wrong with it, and has been reported.
func (b *builder) end(v *value, s *Shape, source bool) (a adapters.Address, ok bool) {
	ref := v.get("broker")
	if ref == nil || ref.data == nil {
		return a, false
	}
	a.Broker, _ = ref.data.(string)
	broker := b.brokers[a.Broker]
	if broker == nil {
		b.noBroker(ref)
		return a, false
	}
	adapter := b.options.Kinds[broker.Kind]
	if adapter == nil {
		return a, false // the broker's type has been reported
	}
	forms := adapter.Capabilities(broker.Config).Targets
	if source {
		forms = adapter.Capabilities(broker.Config).Sources
	}
	if a.Form, a.Name, ok = b.place(v, s, broker, forms); !ok {
		return a, false
	}
	if a.Dynamic = place(v).Kind == yamltree.Map; a.Dynamic && !b.canCompute(broker, v) {
		return a, false
	}
	a.Options = b.brokerOptions(v)
	for _, f := range s.Fields {
		if f.With != "" && f.fits(broker.Kind) && v.get(f.With) != nil && v.get(f.Name) == nil {
			b.at(v.get(f.With).key, v.path+"."+f.Name, Finding{Code: "K002", Message: fmt.Sprintf("%s with a %s needs a %q", s.Name, f.With, f.Name),
				Label: "not without " + f.Name, Help: fmt.Sprintf("add %s: NAME", f.Name)})
			return a, false
		}
	}
	return a, b.checkEnd(broker, a, v)
}

func (b *builder) noBroker(ref *value) {
	var names []string
	for _, v := range b.root.get("brokers").named() {
		names = append(names, v.key.Text)
	}
	if len(names) == 0 || slices.Contains(names, ref.node.Text) {
		return // there is none at all, or it has no usable definition: that has been reported
	}
	f := Finding{Code: "R001", Message: fmt.Sprintf("no broker named %q", clip(ref.node.Text)), Label: "not defined under brokers:",
		Suggestion: didYouMean(ref.node.Text, names)}
	if len(names) > 10 {
		names = append(names[:10:10], "...")
	}
	f.Help = "defined: " + strings.Join(names, ", ")
	b.at(ref.node, ref.path, f)
}

// place reads which queue, topic, stream or subject an end names.
func (b *builder) place(v *value, s *Shape, broker *Broker, forms []adapters.Form) (adapters.Form, string, bool) {
	var words []string
	for _, f := range forms {
		words = append(words, string(f))
	}
	var given []*value
	wrong := false
	for _, sub := range v.named() {
		if !sub.field.Place {
			continue
		}
		if given = append(given, sub); !slices.Contains(words, sub.field.Name) {
			wrong = true
			b.at(sub.key, sub.path, Finding{Code: "R009", Message: fmt.Sprintf("broker %q is of type %s: %s cannot be a %s there", broker.Name, broker.Kind, s.Name, sub.field.Name),
				Label: "does not fit " + broker.Kind, Help: "write " + list(words)})
		}
	}
	switch {
	case len(given) == 0 && !b.misspeltPlace(v, words):
		b.at(v.node, v.path, Finding{Code: "K002", Message: fmt.Sprintf("%s names no %s", s.Name, list(words)), Label: "in this " + s.Name,
			Help: fmt.Sprintf("add %s: NAME", words[0])})
	case len(given) > 1 && !wrong:
		b.at(given[1].key, given[1].path, Finding{Code: "R009", Message: fmt.Sprintf("%s names two places, %s and %s", s.Name, given[0].field.Name, given[1].field.Name),
			Label: "the second", Help: "keep one of the two"})
	}
	if len(given) != 1 || wrong {
		return "", "", false
	}
	form, at := given[0].field.Name, given[0]
	if at.subs != nil {
		at = at.get("prefix")
	}
	if at == nil {
		return "", "", false
	}
	name, ok := at.data.(string)
	return adapters.Form(form), name, ok
}

// misspeltPlace reports whether an unknown key was meant to be the end's place: that has been reported.
func (b *builder) misspeltPlace(v *value, words []string) bool {
	for _, p := range v.node.Pairs {
		if v.subs[p.Key.Text] == nil && suggest(p.Key.Text, words) != "" {
			return true
		}
	}
	return false
}

func (b *builder) filter(v *value) *Filter {
	p, ok := b.expression(v, reflect.Bool)
	if !ok {
		return nil
	}
	b.warnConstant(p, v)
	return &Filter{p}
}

func (b *builder) warnConstant(p program, v *value) {
	if always, ok := p.constant(); ok {
		b.at(v.node, v.path, Finding{Code: "R010", Severity: Warning, Message: fmt.Sprintf("filter is always %t", always), Label: "looks at nothing of the message",
			Help: map[bool]string{true: "remove the filter: without one, every message is taken", false: "remove the route, or write enabled: false"}[always]})
	}
}

// expression compiles an expression and maps what is wrong back to the file.
func (b *builder) expression(v *value, kind reflect.Kind) (program, bool) {
	p, fault := compile(v.field.Name, v.node.Text, b.repeaterName(), kind)
	// A comment set off by two blanks is meant as one, if what stands before it is a whole expression.
	if c, cut := b.doc.Comment(v.node); cut && (fault != nil || c.Blanks < 2) {
		f := Finding{Code: "Y007", Severity: Warning, Line: c.Line, Col: c.Col, EndCol: c.EndCol, Path: v.path, Label: "read as a comment",
			Message: "YAML ends this value at \" #\"", Help: "put the expression in single quotes, or under a | block"}
		if fault != nil {
			f.Severity, f.Message = Error, f.Message+", and what is left is not a complete expression"
		}
		b.add(f)
		return p, fault == nil
	}
	if fault == nil {
		return p, true
	}
	f := b.locate(fault, v)
	f.Path = v.path
	b.add(f)
	return p, false
}

// locate gives a fault of an expression its position in the file.
func (b *builder) locate(f *fault, v *value) Finding {
	ps := b.doc.Positions(v.node)
	if ps == nil {
		return b.reporter.place(f.Finding, v.node)
	}
	if f.to == 0 {
		f.to = len(ps) - 1
	}
	out := f.Finding
	from, last := ps[min(f.from, len(ps)-1)], ps[min(max(f.to-1, f.from), len(ps)-1)]
	out.Line, out.Col, out.EndCol = from.Line, from.Col, last.Col+1
	if last.Line != from.Line {
		out.EndCol = len([]rune(strings.TrimRight(b.doc.Line(from.Line), " "))) + 1
	}
	return out
}
