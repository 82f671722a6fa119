package routes

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// dynamic reads how the place of a target is computed; nil where it is written.
func (b *builder) dynamic(v *value) *Dynamic {
	for _, s := range v.named() {
		if s.field.Place && s.subs != nil {
			d := &Dynamic{}
			if p := s.get("prefix"); p != nil {
				d.Prefix, _ = p.data.(string)
			}
			if e := s.get("expr"); e != nil && e.data != nil {
				if p, ok := b.expression(e, reflect.String); ok {
					d.Expr = &Expr{p}
				}
			}
			b.allowed(s, d)
			return d
		}
	}
	return nil
}

// allowed reads the names that are allowed: each must be one that can be computed.
func (b *builder) allowed(s *value, d *Dynamic) {
	if p := s.get("prefix"); p != nil && d.Prefix != "" && !legalName(d.Prefix) {
		b.at(p.node, p.path, Finding{Code: "R022", Message: "prefix has characters that no computed name may have", Label: "every name would be refused",
			Help: "use letters, digits, dots, underscores and dashes, at most 200"})
	}
	at := s.get("allow")
	if at == nil {
		return
	}
	d.Allow, _ = at.data.([]string)
	for _, name := range d.Allow {
		if !strings.HasPrefix(name, d.Prefix) || !legalName(name) {
			b.at(at.node, at.path, Finding{Code: "R022", Message: fmt.Sprintf("allow lists %q, which is never computed", clip(name)), Label: "a name that cannot be",
				Help: fmt.Sprintf("write whole names that begin with %q and have letters, digits, dots, underscores and dashes only", clip(d.Prefix))})
			return
		}
	}
}

// canCompute reports whether the broker of an end takes messages that name their place.
func (b *builder) canCompute(broker *Broker, v *value) bool {
	if b.options.Kinds[broker.Kind].Capabilities(broker.Config).Dynamic {
		return true
	}
	b.at(place(v), v.path, Finding{Code: "R022", Message: fmt.Sprintf("broker %q is of type %s, which takes no computed names", broker.Name, broker.Kind), Label: "one fixed name there",
		Help: "write the name, or use a kafka topic or a nats subject"})
	return false
}

// mayFeedItself refuses a computed name that can be the source of its route.
func (b *builder) mayFeedItself(t *value, target Target, r *Route) {
	to, from := b.homes.of(target.Addr), b.homes.of(r.From)
	for _, a := range target.Places() {
		a.Broker = to.Broker
		if a.Dynamic && !mayFeed(a, from) || !a.Dynamic && !feeds(a, from) {
			continue
		}
		b.at(place(t), t.path, Finding{Code: "R006", Message: fmt.Sprintf("a computed name of this target may be the source: %s", r.From), Label: "the route could feed itself",
			Help: "use another prefix, or list what is allowed with allow, without the source"})
		return
	}
}

// mayFeed is feeds for names of which only the beginning is known.
func mayFeed(to, from adapters.Address) bool {
	if to.Broker != from.Broker {
		return false
	}
	name := from.Name
	if from.Form == adapters.Stream { // of its subjects the file shows at most those that are read
		name, _ = from.Options["subject"].(string)
		name, _, _ = strings.Cut(strings.ReplaceAll(name, ">", "*"), "*")
		return from.Options["subject"] != nil && (strings.HasPrefix(name, to.Name) || strings.HasPrefix(to.Name, name))
	}
	return to.Form == from.Form && strings.HasPrefix(name, to.Name)
}

// fixedFailover: what is computed for one target would be sent to another.
func (b *builder) fixedFailover(v *value, r *Route) {
	if !r.FailsOver() {
		return
	}
	for i, t := range v.get("to").list() {
		if r.To[i].Dynamic != nil {
			b.at(place(t), t.path, Finding{Code: "R022", Message: "a computed name with distribute: failover: it would be that of one target only", Label: "another target may take over",
				Help: "write fixed names, or distribute: weighted with priority and when_down: move"})
			return
		}
	}
}
