package routes

import (
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// matching reads how a route shares its source with others.
func (b *builder) matching(c chain, r *Route) {
	r.Match, r.Unrouted = Match(c.text("match")), Unrouted(c.text("unrouted"))
}

// checkMatches looks at the routes of each source together.
func (b *builder) checkMatches() {
	index, groups := map[string]int{}, [][]promised{}
	for _, p := range b.promised {
		if p.route.From.Broker == "" {
			continue // its source is wrong: that has been reported
		}
		b.filteredOtherwise(p)
		b.leaves(p)
		if !p.route.Enabled {
			continue
		}
		key := p.route.reader()
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	for _, g := range groups {
		b.matchGroup(g)
	}
}

// filteredOtherwise: what is left over is decided by the others' filters, not by one more.
func (b *builder) filteredOtherwise(p promised) {
	if f := p.where[0].get("filter"); p.route.Match == MatchOtherwise && f != nil {
		b.at(f.key, f.path, Finding{Code: "R012", Message: "match: otherwise has no filter: it takes what no other route of its source takes", Label: "not with match: otherwise",
			Help: "remove the filter, or write match: first"})
	}
}

// leaves: what is left at a source that is settled in order holds everything behind it.
func (b *builder) leaves(p promised) {
	at, broker := p.at("unrouted"), b.brokers[p.route.From.Broker]
	if p.route.Unrouted != UnroutedLeave || at == nil || broker == nil || b.options.Kinds[broker.Kind] == nil {
		return
	}
	if b.options.Kinds[broker.Kind].Capabilities(broker.Config).Settle == adapters.Prefix {
		b.at(at.node, at.path, Finding{Code: "R012", Message: fmt.Sprintf("unrouted: leave, but %s is settled in its order", p.route.From), Label: "it would hold everything behind it",
			Help: "write dead-letter, or skip", Note: b.of(p)})
	}
}

// matchGroup checks the enabled routes of one source.
func (b *builder) matchGroup(g []promised) {
	var rest, everything, unrouted *promised
	for i := range g {
		p := &g[i]
		r := p.route
		if r.Match == MatchOtherwise {
			b.secondRest(p, rest)
			rest = p
		} else if r.Filter == nil && p.where[0].get("filter") == nil && everything == nil {
			everything = p
		}
		if at := p.at("unrouted"); at != nil && at.data != nil {
			b.otherFate(p, unrouted)
			unrouted = p
		}
	}
	b.starved(g)
	switch {
	case rest != nil && everything != nil:
		b.never(rest, "match", fmt.Sprintf("route %q takes every message of %s", everything.route.Name, rest.route.From))
	case rest != nil && len(g) == 1:
		b.never(rest, "match", fmt.Sprintf("no other enabled route reads %s", rest.route.From))
	}
}

// secondRest: only one can take the rest.
func (b *builder) secondRest(p, first *promised) {
	if first == nil {
		return
	}
	at := p.at("match")
	b.at(at.node, at.path, Finding{Code: "R012", Message: fmt.Sprintf("two routes of %s are match: otherwise: %q and %q", p.route.From, first.route.Name, p.route.Name),
		Label: "which of them gets the rest?", Help: "keep one of the two, with several targets if need be"})
}

// otherFate: what nobody wants has one fate.
func (b *builder) otherFate(p, first *promised) {
	if first == nil || first.route.Unrouted == p.route.Unrouted {
		return
	}
	at := p.at("unrouted")
	b.at(at.node, at.path, Finding{Code: "R012", Message: fmt.Sprintf("routes %q and %q share %s, but not what becomes of messages that neither takes", first.route.Name, p.route.Name, p.route.From),
		Label: fmt.Sprintf("%s there, %s here", first.route.Unrouted, p.route.Unrouted), Help: "write unrouted at one of them, or the same at both"})
}

// starved warns of routes that never get a message because one before them takes all.
func (b *builder) starved(g []promised) {
	var all *Route
	for i := range g {
		p := &g[i]
		if p.route.Match != MatchFirst {
			continue
		}
		if all != nil {
			b.never(p, "match", fmt.Sprintf("route %q before it is match: first without a filter", all.Name))
			continue
		}
		if p.where[0].get("filter") == nil {
			all = p.route
		}
	}
}

// never warns of a route that gets no message.
func (b *builder) never(p *promised, key, why string) {
	at := p.at(key)
	f := Finding{Code: "R013", Severity: Warning, Message: fmt.Sprintf("route %q is asked in vain: %s", p.route.Name, why), Label: "look at the other routes of this source",
		Help: "change the order or the filters of the routes, or remove this one"}
	if p.route.Match == MatchOtherwise && len(p.where) > 0 {
		f.Message = fmt.Sprintf("match: otherwise at route %q has no meaning: %s", p.route.Name, why)
	}
	b.at(at.node, at.path, f)
}
