package routes

import (
	"fmt"
	"slices"
	"strings"
)

// shares reads how the targets of a route share its messages, when its order and its promises are known.
func (b *builder) shares(v *value, c chain, r *Route) {
	s := &r.Sharing
	s.Distribute, s.Affinity = Distribute(c.text("distribute")), b.exprOf(v, "affinity")
	switch s.Distribute {
	case Failover:
		s.FailoverAfter, s.FailbackAfter = c.duration("failover_after"), c.duration("failback_after")
	case Weighted, Affinity:
		if s.WhenDown = WhenDown(c.text("when_down")); s.WhenDown == "" {
			s.WhenDown = r.whenDown()
		}
	}
	b.idleKeys(v, r)
	b.needsAffinity(v, r)
	b.allZero(v, r)
	b.strictShares(v, r)
	b.oneKey(v, r)
	b.groupsWait(v, r)
	b.warnMoves(v, r)
	b.onceFailover(v, r)
	b.fixedFailover(v, r)
}

// whenDown is what a route does that does not say it: what goes by a value stays where it belongs.
func (r *Route) whenDown() WhenDown {
	if r.Sharing.Distribute == Affinity || r.Order == OrderPerKey {
		return Wait
	}
	return Move
}

// idleKeys reports keys that mean nothing for the way in which the route distributes.
func (b *builder) idleKeys(v *value, r *Route) {
	fit := map[string][]Distribute{"affinity": {Affinity}, "when_down": {Weighted, Affinity}, "failover_after": {Failover}, "failback_after": {Failover},
		"weight": {Weighted, Affinity}, "priority": {Weighted, Affinity}}
	idle := func(at *value, key string) {
		if at == nil || at.data == nil || slices.Contains(fit[key], r.Sharing.Distribute) || b.wordless(v) {
			return
		}
		f := Finding{Code: "R020", Message: fmt.Sprintf("%s means nothing with distribute: %s", key, r.Sharing.Distribute), Label: "without effect",
			Help: fmt.Sprintf("remove it, or write distribute: %s", list(spelt(fit[key])))}
		if r.Sharing.Distribute == "" {
			f.Message = fmt.Sprintf("%s means nothing without distribute", key)
		}
		b.at(at.key, at.path, f)
	}
	for _, key := range []string{"affinity", "when_down", "failover_after", "failback_after"} {
		idle(v.get(key), key)
	}
	for _, t := range v.get("to").list() {
		idle(t.get("weight"), "weight")
		idle(t.get("priority"), "priority")
	}
}

// wordless reports whether distribute is there and wrong, or was misspelt: that has been reported.
func (b *builder) wordless(v *value) bool {
	d := v.get("distribute")
	return d != nil && d.data == nil || d == nil && b.strange(v, "distribute")
}

func spelt[T ~string](ws []T) (out []string) {
	for _, w := range ws {
		out = append(out, string(w))
	}
	return out
}

// list is the items of a list, none of nothing.
func (v *value) list() []*value {
	if v == nil {
		return nil
	}
	return v.items
}

func (b *builder) needsAffinity(v *value, r *Route) {
	if r.Sharing.Distribute == Affinity && v.get("affinity") == nil {
		at := v.get("distribute")
		b.at(at.node, at.path, Finding{Code: "K002", Message: "distribute: affinity, but the route has no \"affinity\"", Label: "by which value?",
			Help: "add affinity: EXPRESSION, for example affinity: msg.group"})
	}
}

// allZero: a route none of whose targets gets a message would hold them all for ever.
func (b *builder) allZero(v *value, r *Route) {
	zero := func(t Target) bool { return t.Weight == 0 }
	if !slices.Contains([]Distribute{Weighted, Affinity}, r.Sharing.Distribute) || slices.ContainsFunc(r.To, func(t Target) bool { return !zero(t) }) {
		return
	}
	for _, t := range v.get("to").list() {
		if w := t.get("weight"); w != nil && w.data != nil {
			b.at(w.node, w.path, Finding{Code: "R007", Message: "all weights of the route are 0", Label: "no target gets a message",
				Help: "give at least one target a weight of 1 to 100, or write enabled: false"})
			return
		}
	}
}

// strictShares: the order of the whole source cannot hold over several targets.
func (b *builder) strictShares(v *value, r *Route) {
	at := v.get("distribute")
	if r.Order != OrderStrict || !r.ByOne() || at == nil {
		return
	}
	switch {
	case r.Sharing.Distribute == Weighted:
		b.at(at.node, at.path, Finding{Code: "R008", Message: "order: strict, but distribute: weighted spreads the messages over several targets",
			Label: "no order holds over several", Help: "write order: per-key, or distribute: failover or copy"})
	case r.Sharing.WhenDown == Move:
		if w := v.get("when_down"); w != nil {
			at = w
		}
		b.at(at.node, at.path, Finding{Code: "R008", Message: "order: strict, but when_down: move gives messages to another target out of their order",
			Label: "not with strict", Help: "write when_down: wait, or order: source"})
	}
}

// oneKey: which messages keep their order must not hang on the target that gets them.
func (b *builder) oneKey(v *value, r *Route) {
	if !slices.Contains([]Distribute{Weighted, Failover}, r.Sharing.Distribute) || r.Order != OrderPerKey || v.get("key") != nil {
		return
	}
	for _, t := range v.get("to").list() {
		if k := t.get("key"); k != nil {
			b.at(k.node, k.path, Finding{Code: "R020", Message: fmt.Sprintf("distribute: %s with order: per-key goes by the key of the route, and this is one of a target", r.Sharing.Distribute),
				Label: "the key cannot hang on the target", Help: "write key: at the route"})
			return
		}
	}
}

// groupsWait: where messages wait for their target, a second group would never get one.
func (b *builder) groupsWait(v *value, r *Route) {
	if !r.ByOne() || r.Sharing.WhenDown != Wait || len(r.groups()) < 2 {
		return
	}
	for _, t := range v.get("to").list() {
		if p := t.get("priority"); p != nil && p.data != int64(r.groups()[0]) {
			b.at(p.node, p.path, Finding{Code: "R021", Message: "with when_down: wait this target never gets a message", Label: "a later group",
				Help: "write when_down: move, or give all targets the same priority", Note: "with affinity and order: per-key, when_down is wait where it is not written"})
			return
		}
	}
}

// warnMoves says what moving does to an order that somebody has asked for.
func (b *builder) warnMoves(v *value, r *Route) {
	at := v.get("when_down")
	if at == nil || !r.Moves() || !r.ByValue() || r.Order == OrderStrict {
		return
	}
	of := "a value of affinity"
	if r.Order == OrderPerKey {
		of = "a key"
	}
	b.at(at.node, at.path, Finding{Code: "R023", Severity: Warning, Message: "when a target goes down or comes back, the messages of " + of + " change their target",
		Label: "newer ones may arrive before older ones", Help: "write when_down: wait if their order matters"})
}

// onceFailover: the second target does not know what the first has.
func (b *builder) onceFailover(v *value, r *Route) {
	at := v.get("distribute")
	if r.Delivery != ExactlyOnce || !r.FailsOver() || at == nil {
		return
	}
	var places []string
	for _, to := range r.To {
		places = append(places, to.Addr.String())
	}
	b.at(at.node, at.path, Finding{Code: "D005", Message: "distribute: failover cannot keep delivery: exactly-once", Label: "the next target does not know what the one before has",
		Help: "write delivery: at-least-once, or list several addresses of one broker in place of several targets", Note: "the targets are " + strings.Join(places, ", ")})
}
