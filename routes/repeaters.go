package routes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Repeater is one daemon of the file.
type Repeater struct {
	Name    string
	Brokers []string // it serves the routes whose brokers are all in this list
	Routes  []string // only these of them; nil = all
	Admin   Admin    // that of the file, with what the daemon has of its own
	Line    int      // where it stands in the file
}

// aloneName is the name of a daemon whose file says nothing about repeaters, if nobody gives it another.
const aloneName = "posthouse"

// A RepeaterError says that the name of a daemon is missing, or that the file has no such daemon.
type RepeaterError struct {
	Name  string   // as given, "" = not at all
	Names []string // of the file
}

// Error names the repeaters of the file.
func (e *RepeaterError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("the file is for several repeaters: say which one with --repeater NAME or POSTHOUSE_REPEATER: %s", strings.Join(e.Names, ", "))
	}
	s := fmt.Sprintf("the file has no repeater named %q", clip(e.Name))
	if near := suggest(e.Name, e.Names); near != "" {
		s += fmt.Sprintf(": did you mean %q?", near)
	}
	return s + " (its repeaters: " + strings.Join(e.Names, ", ") + ")"
}

// Part returns the part of the file that one repeater runs: its brokers, its routes and its admin. With a file that says
// nothing about repeaters, and with one repeater, name may be "". What is believed of a broker's messages goes by the whole
// file. Load must have had the same name, for expressions ask for it. The error is a *RepeaterError.
func (t *Table) Part(name string) (*Table, error) {
	part := *t
	if len(t.Repeaters) == 0 {
		part.Repeater = cmp.Or(name, aloneName)
		return &part, nil
	}
	i := slices.IndexFunc(t.Repeaters, func(r *Repeater) bool { return r.Name == name || name == "" && len(t.Repeaters) == 1 })
	if i < 0 {
		e := &RepeaterError{Name: name}
		for _, r := range t.Repeaters {
			e.Names = append(e.Names, r.Name)
		}
		return nil, e
	}
	r := t.Repeaters[i]
	part.Repeater, part.Admin, part.Brokers, part.Routes = r.Name, r.Admin, map[string]*Broker{}, nil
	for _, b := range r.Brokers {
		part.Brokers[b] = t.Brokers[b]
	}
	for _, route := range t.Routes {
		if slices.Contains(route.Repeaters, r.Name) {
			part.Routes = append(part.Routes, route)
		}
	}
	part.whole = t.Routes
	return &part, nil
}

// ServedBy names the repeaters that run a route: those of the file, or the one daemon.
func (t *Table) ServedBy(r *Route) string {
	if len(t.Repeaters) == 0 {
		return cmp.Or(t.Repeater, aloneName)
	}
	return strings.Join(r.Repeaters, ", ")
}

// soleRepeater reads ahead: the name of the only repeater of a file, "" if there is none or several.
func soleRepeater(v *value) string {
	if v == nil || len(v.order) != 1 {
		return ""
	}
	return v.order[0]
}

// repeaters reads the section.
func (b *builder) repeaters(v *value) (out []*Repeater) {
	for _, rv := range v.named() {
		r := &Repeater{Name: rv.key.Text, Line: rv.key.Line, Admin: b.adminOf(rv.get("admin"), b.root.get("admin"))}
		r.Brokers = b.served(rv.get("brokers"))
		if at := rv.get("routes"); at != nil {
			r.Routes, _ = at.data.([]string)
		}
		out = append(out, r)
	}
	b.hostsOnce(out)
	return out
}

// served reads the list of brokers of one repeater.
func (b *builder) served(at *value) (out []string) {
	if at == nil {
		return nil
	}
	for i, it := range at.node.Items {
		ref := &value{node: it, path: fmt.Sprintf("%s[%d]", at.path, i), data: it.Text}
		switch {
		case it.Text == "":
		case b.brokers[it.Text] == nil:
			b.noBroker(ref)
		default:
			out = append(out, it.Text)
		}
	}
	return out
}

// hostsOnce refuses an embedded broker in two daemons: its directory belongs to one process, and it would be two brokers.
func (b *builder) hostsOnce(rs []*Repeater) {
	first := map[string]string{}
	for _, r := range rs {
		at := b.root.get("repeaters", r.Name, "brokers")
		for _, it := range at.node.Items {
			broker := b.brokers[it.Text]
			if broker == nil || broker.Config.Options.Sub("embedded") == nil {
				continue
			}
			if o := first[it.Text]; o != "" && o != r.Name {
				b.at(it, at.path, Finding{Code: "R005", Message: fmt.Sprintf("broker %q is embedded, and runs inside repeater %q already", it.Text, o), Label: "it would be two brokers",
					Help: "give it listen:, and let the others reach it by a broker with addresses"})
			}
			first[it.Text] = r.Name
		}
	}
}

// serve finds out which repeaters run each route, and what they would take from one another.
func (b *builder) serve(t *Table) {
	if len(t.Repeaters) > 0 {
		b.wanted(t)
		for _, r := range t.Routes {
			b.servers(t, r)
		}
		b.checkPattern(t)
	}
	b.checkShares(t)
}

// wanted looks at the routes that repeaters ask for.
func (b *builder) wanted(t *Table) {
	var names []string
	for _, r := range t.Routes {
		names = append(names, r.Name)
	}
	for _, rp := range t.Repeaters {
		at := b.root.get("repeaters", rp.Name, "routes")
		if at == nil {
			continue
		}
		for i, it := range at.node.Items {
			path := fmt.Sprintf("%s[%d]", at.path, i)
			j := slices.Index(names, it.Text)
			switch {
			case it.Text == "":
			case j < 0:
				b.at(it, path, Finding{Code: "R011", Message: fmt.Sprintf("no route named %q", clip(it.Text)), Label: "not a route of the file", Suggestion: didYouMean(it.Text, names)})
			case b.lacks(rp, t.Routes[j]) != "":
				b.at(it, path, Finding{Code: "R002", Message: fmt.Sprintf("repeater %q cannot serve route %q: it has no broker %q", rp.Name, it.Text, b.lacks(rp, t.Routes[j])),
					Label: "not with its brokers", Help: "add the broker to the repeater's list, or remove the route"})
			}
		}
	}
}

// lacks is the first broker of a route that a repeater does not have, "" if it has all that are defined.
func (b *builder) lacks(rp *Repeater, r *Route) string {
	for _, name := range r.brokers() {
		if b.brokers[name] != nil && !slices.Contains(rp.Brokers, name) {
			return name
		}
	}
	return ""
}

// brokers are those that a route needs.
func (r *Route) brokers() []string {
	out := []string{r.From.Broker}
	for _, t := range r.To {
		out = append(out, t.Addr.Broker)
	}
	if r.DeadLetter != nil {
		out = append(out, r.DeadLetter.Addr.Broker)
	}
	return out
}

// servers notes which repeaters run a route, and reports a route that nobody runs.
func (b *builder) servers(t *Table, r *Route) {
	for _, rp := range t.Repeaters {
		if b.lacks(rp, r) == "" && (rp.Routes == nil || slices.Contains(rp.Routes, r.Name)) {
			r.Repeaters = append(r.Repeaters, rp.Name)
		}
	}
	at := b.origins[r].get("name")
	if len(r.Repeaters) > 0 || at == nil || slices.ContainsFunc(r.brokers(), func(n string) bool { return b.brokers[n] == nil }) {
		return
	}
	f := Finding{Code: "R002", Message: fmt.Sprintf("no repeater serves route %q", r.Name), Label: "nobody would run it", Help: b.whoCould(t, r)}
	if r.Repeat != nil {
		f.Code, f.Message = "T001", fmt.Sprintf("no repeater has both %s and %s, so nothing carries %s", r.Repeat.From, r.Repeat.To, r.Name)
	}
	b.at(at.node, at.path, f)
}

// whoCould says which repeater lacks least.
func (b *builder) whoCould(t *Table, r *Route) string {
	best, lacking := "", []string(nil)
	for _, rp := range t.Repeaters {
		miss := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(r.brokers()))), func(n string) bool { return slices.Contains(rp.Brokers, n) })
		if best == "" || len(miss) < len(lacking) {
			best, lacking = rp.Name, miss
		}
	}
	if len(lacking) == 0 {
		return fmt.Sprintf("add it to routes of repeater %q", best)
	}
	return fmt.Sprintf("add %s to the brokers of repeater %q, for example", strings.Join(lacking, " and "), best)
}

// checkPattern warns of repeaters that do not fit the pattern of the topology: with a bus, brokers that are no neighbours;
// with a mesh, a member that is missing.
func (b *builder) checkPattern(t *Table) {
	if t.Topology == nil || len(t.Topology.Brokers) < 2 {
		return
	}
	for _, rp := range t.Repeaters {
		at := b.root.get("repeaters", rp.Name, "brokers")
		var place []int
		for i, name := range t.Topology.Brokers {
			if slices.Contains(rp.Brokers, name) {
				place = append(place, i)
			}
		}
		if len(place) == 0 || at == nil {
			continue
		}
		switch last := place[len(place)-1]; {
		case t.Topology.Kind == Bus && last-place[0] != len(place)-1:
			b.at(at.node, at.path, Finding{Code: "T004", Severity: Warning, Message: fmt.Sprintf("repeater %q has brokers that are no neighbours on the bus", rp.Name), Label: "a gap",
				Help: "the order of the chain is " + strings.Join(t.Topology.Brokers, ", ")})
		case t.Topology.Kind == Mesh && len(place) < len(t.Topology.Brokers):
			b.at(at.node, at.path, Finding{Code: "T005", Severity: Warning, Message: fmt.Sprintf("repeater %q does not have all members of the mesh", rp.Name), Label: "it cannot stand in for the others",
				Help: "the members are " + strings.Join(t.Topology.Brokers, ", ")})
		}
	}
}

// consumer is equal for two sources that take messages away from each other, "" for one that takes from nobody: a queue,
// and what has the same subscription or group. Kafka and JetStream give each route a group or consumer of its own.
func (b *builder) consumer(r *Route) string {
	if r.From.Broker == "" {
		return ""
	}
	spot := fmt.Sprint(b.homes.spotOf(r.From))
	if queueOf(r.From) {
		return spot
	}
	for _, key := range []string{"subscription", "group"} {
		if s := r.From.Options.String(key, ""); s != "" {
			return spot + key + s
		}
	}
	return ""
}

// checkShares: what is read destructively has one reader, unless the file says that it is shared.
func (b *builder) checkShares(t *Table) {
	first, beside := map[string]*Route{}, t.besides()
	for _, r := range t.Routes {
		at := b.origins[r].get("from")
		if !r.Enabled || at == nil {
			continue
		}
		if r.Shared() {
			b.checkShared(r)
		}
		b.apart(r, beside[r.reader()], at)
		key := b.consumer(r)
		o := first[key]
		if key == "" || o == nil {
			first[key] = r
			continue
		}
		one := o.reader() == r.reader() && slices.Equal(o.Repeaters, r.Repeaters)
		if one || o.Share && r.Share || b.servedByNobody(t, r, o) {
			continue
		}
		b.at(place(at), at.path, Finding{Code: "R005", Message: fmt.Sprintf("routes %q and %q take messages of %s away from each other", o.Name, r.Name, r.From), Label: "each message goes to one of them",
			Help: b.togetherHelp(o, r), Note: fmt.Sprintf("the other is at line %d", o.Line)})
	}
}

// apart: routes with an equal source share a reader, which is named after the first of them. Where repeaters that share one
// of them do not serve the same routes, they would read with different names, and each would get every message.
func (b *builder) apart(r *Route, beside []*Route, at *value) {
	if !r.Shared() || b.consumer(r) != "" {
		return
	}
	for _, o := range beside {
		if o != r && !slices.Equal(o.Repeaters, r.Repeaters) {
			b.at(place(at), at.path, Finding{Code: "R005", Message: fmt.Sprintf("routes %q and %q share a reader, but not the repeaters that serve them", r.Name, o.Name), Label: "each repeater would get every message",
				Help: "let the same repeaters serve both", Note: fmt.Sprintf("the other is at line %d", o.Line)})
			return
		}
	}
}

// besides are the enabled routes by their reader.
func (t *Table) besides() map[string][]*Route {
	out := map[string][]*Route{}
	for _, r := range t.Routes {
		if key := r.reader(); r.Enabled {
			out[key] = append(out[key], r)
		}
	}
	return out
}

// servedByNobody reports whether one of the routes has no repeater, which has been reported.
func (b *builder) servedByNobody(t *Table, rs ...*Route) bool {
	return len(t.Repeaters) > 0 && slices.ContainsFunc(rs, func(r *Route) bool { return len(r.Repeaters) == 0 })
}

func (b *builder) togetherHelp(o, r *Route) string {
	if o.reader() == r.reader() {
		return "let the same repeaters serve both, or write share: true in both if it is meant"
	}
	return "give both the same from, so that one reader serves them, or write share: true in both if it is meant"
}

// checkShared looks at a route that several repeaters serve.
func (b *builder) checkShared(r *Route) {
	v := b.origins[r]
	name := v.get("name")
	who := strings.Join(r.Repeaters, " and ")
	if !r.Share {
		b.at(name.node, name.path, Finding{Code: "R005", Message: fmt.Sprintf("repeaters %s compete for the source of route %q", who, r.Name), Label: "served by each of them",
			Help: "write share: true if they shall share the load, or name the route under routes: of one of them"})
		return
	}
	b.sharedOrder(r, v)
	if r.Delivery == ExactlyOnce {
		at := firstOf([]*value{v, b.root.get("defaults", "route")}, "delivery")
		b.at(at.node, at.path, Finding{Code: "D005", Message: fmt.Sprintf("delivery: exactly-once, but repeaters %s share route %q", who, r.Name), Label: "what one has sent, the other does not know",
			Help: "let one repeater serve it, or use delivery: at-least-once"})
	}
}

// sharedOrder says what order comes to when a source has several readers, each with a spool of its own.
func (b *builder) sharedOrder(r *Route, v *value) {
	at := firstOf([]*value{v, b.root.get("defaults", "route")}, "order")
	if at == nil {
		at = v.get("name")
	}
	switch {
	case r.Order == OrderNone:
	case r.Order == OrderStrict:
		b.at(at.node, at.path, Finding{Code: "T010", Message: fmt.Sprintf("order: strict, but repeaters %s share route %q", strings.Join(r.Repeaters, " and "), r.Name), Label: "two readers overtake each other",
			Help: "let one repeater serve it, or write order: none if no order is needed"})
	default:
		what := fmt.Sprintf("route %q is shared: its order holds", r.Name)
		if r.Generated() {
			what = fmt.Sprintf("the routes of entry %q are shared: their order holds", r.Repeat.Name)
		}
		f := Finding{Code: "T009", Severity: Warning, Message: what + " within each repeater only", Label: "order " + string(r.Order),
			Help: "write order: none if that is meant, or let one repeater serve it", Note: b.orderNote(r)}
		b.at(at.node, at.path, f)
	}
}

// orderNote says what would keep the order of a shared route.
func (b *builder) orderNote(r *Route) string {
	kafka := b.brokers[r.From.Broker] != nil && b.brokers[r.From.Broker].Kind == "kafka"
	switch {
	case kafka && r.Spool.Mode == SpoolNever:
		return "each partition has one reader, and the backlog stays at the source: order per key holds while no partition changes its reader"
	case kafka:
		return "each partition has one reader, but its backlog is in the spool of one repeater: spool: { mode: never } leaves it at the source"
	}
	return "the source gives each message to one of them"
}

// adminOf is the admin section of a repeater over that of the file.
func (b *builder) adminOf(own, file *value) Admin {
	a := b.admin(file)
	c := chain{[]*value{own}, adminShape()}
	if own.get("socket") != nil {
		a.Socket = b.path(c.text("socket"))
	}
	if own.get("listen").scalar() != nil {
		a.Listen = c.text("listen")
		b.listens(own, a)
	}
	return a
}
