package routes

import (
	"github.com/posthouse/posthouse/adapters"
)

// fates reads what becomes of messages that cannot go their way.
func (b *builder) fates(v, defaults *value, c chain, r *Route) {
	r.Order, r.MaxAttempts, r.OnPoison = Order(c.text("order")), c.count("max_attempts"), OnPoison(c.text("on_poison"))
	r.OnFilterError, r.Expired = OnFilterError(c.text("on_filter_error")), Expired(c.text("expired"))
	if r.OnPoison == "" {
		r.OnPoison = r.Order.poison()
	}
	if at := firstOf([]*value{v, defaults}, "dead_letter"); at != nil && at.subs != nil {
		addr, _ := b.end(at, deadLetterShape(), false)
		r.DeadLetter = &Target{Name: DeadLetterName, Addr: addr}
	}
	b.narrow(v, defaults, r)
}

// poison is what becomes of a poison message if the file does not say it: to set it aside would break a strict order.
func (o Order) poison() OnPoison {
	if o == OrderStrict {
		return PoisonHold
	}
	return PoisonDeadLetter
}

// narrow lets one message at a time onto the lanes of a strict route whose target takes later messages after it has
// refused one: no other way keeps their order.
func (b *builder) narrow(v, defaults *value, r *Route) {
	if r.Order != OrderStrict || besideOrder(v, defaults) != nil {
		return
	}
	for i := range r.To {
		if b.passesRefused(r.To[i].Addr) {
			r.To[i].InFlight = 1
		}
	}
}

// besideOrder is the in_flight that somebody wrote with the order in mind: in the same object, or closer to the route.
// What defaults say for all routes does not loosen the order that one route asks for.
func besideOrder(v, defaults *value) *value {
	if at := v.get("in_flight"); at != nil || v.get("order") != nil {
		return at
	}
	return defaults.get("in_flight")
}

// passesRefused reports whether a target takes later messages of a window after it has refused one.
func (b *builder) passesRefused(a adapters.Address) bool {
	broker := b.brokers[a.Broker]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return false
	}
	return !b.options.Kinds[broker.Kind].Capabilities(broker.Config).RefusalStops
}
