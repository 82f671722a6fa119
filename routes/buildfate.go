package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// fates reads what becomes of messages that cannot go their way.
func (b *builder) fates(v, defaults *value, c chain, r *Route) {
	r.Order, r.MaxAttempts, r.OnPoison = Order(c.text("order")), c.count("max_attempts"), OnPoison(c.text("on_poison"))
	r.OnFilterError, r.Expired = OnFilterError(c.text("on_filter_error")), Expired(c.text("expired"))
	if r.OnPoison == "" {
		r.OnPoison = r.Order.poison()
	}
	b.deadLetter(v, defaults, r)
	b.windows(v, defaults, r)
	b.perKey(v, defaults, r)
}

// perKey: what waits behind a refused message of its key waits in the spool.
func (b *builder) perKey(v, defaults *value, r *Route) {
	at := firstOf([]*value{v, defaults}, "order")
	if r.Order != OrderPerKey || at == nil {
		return
	}
	f := Finding{Code: "D009", Message: "order: per-key, but the file has no \"spool\"", Label: "where do messages of a held key wait?",
		Help: "add spool: { dir: PATH } at the top level, or write order: strict", Note: fmt.Sprintf("it is about route %q", r.Name)}
	switch {
	case b.top == nil && !b.meant("spool"):
	case r.Spool.Mode == SpoolNever:
		f.Message, f.Help = "order: per-key, but mode: never keeps nothing in the spool", "write mode: auto, or order: strict"
	default:
		return
	}
	b.at(at.node, at.path, f)
}

// poison is what becomes of a poison message if the file does not say it: to set it aside would break a strict order.
func (o Order) poison() OnPoison {
	if o == OrderStrict {
		return PoisonHold
	}
	return PoisonDeadLetter
}

func (b *builder) deadLetter(v, defaults *value, r *Route) {
	at := firstOf([]*value{v, defaults}, "dead_letter")
	if at != nil && at.subs != nil {
		addr, ok := b.end(at, deadLetterShape(), false)
		r.DeadLetter = &Target{Name: DeadLetterName, Addr: addr, PassesRefused: b.passesRefused(addr)}
		if ok {
			b.asides = append(b.asides, aside{r, at})
		}
		return
	}
	if b.top != nil || at != nil && at.data == nil { // a wrong value has been reported
		return
	}
	b.placeless = true
	b.nowhere(at)
	for _, key := range []string{"on_poison", "on_filter_error", "expired", "unrouted"} {
		b.nowhere(firstOf([]*value{v, defaults}, key))
	}
}

// nowhere reports a key that asks for dead letters in a file that has no place for them.
func (b *builder) nowhere(at *value) {
	if at == nil || at.data != "local" && at.data != string(PoisonDeadLetter) || b.meant("spool") {
		return
	}
	b.at(at.node, at.path, Finding{Code: "K002", Message: fmt.Sprintf("%s: %s, but the file has no \"spool\"", at.field.Name, at.data), Label: "where to?",
		Help: "add spool: { dir: PATH } at the top level, or dead_letter: { broker: NAME, queue: NAME }"})
}

// An aside is a route's dead_letter in the file, with which nothing is wrong by itself.
type aside struct {
	route *Route
	at    *value
}

// checkAsides: a dead letter that some route reads again would come round for ever, and one among the messages that
// have been delivered would pass for one of them. What defaults say is reported once for each route that is in the way.
func (b *builder) checkAsides(rs []*Route) {
	type cause struct {
		at    *value
		route *Route
	}
	told, readers := map[cause]bool{}, b.readersOf(rs)
	for _, a := range b.asides {
		if f, r := b.objection(a, readers); r != nil && !told[cause{a.at, r}] {
			told[cause{a.at, r}] = true
			f.Code, f.Help = "D006", "name a place that no route of the file reads or writes, or write dead_letter: local"
			b.at(place(a.at), a.at.path, f)
		}
	}
}

// objection is what speaks against a place for dead letters, and the route that is in the way; nil if nothing is.
func (b *builder) objection(a aside, readers map[string][]*Route) (Finding, *Route) {
	r, to := a.route, a.route.DeadLetter.Addr
	if b.homes.feeds(to, r.From) {
		return Finding{Message: fmt.Sprintf("dead_letter of route %q equals its source: %s", r.Name, r.From), Label: "dead letters would come back"}, r
	}
	if slices.ContainsFunc(r.To, func(t Target) bool { return b.homes.same(t.Addr, to) }) {
		return Finding{Message: fmt.Sprintf("dead_letter of route %q equals one of its targets: %s", r.Name, to), Label: "dead letters would mix with what was delivered"}, r
	}
	reader := b.readerOf(readers[b.homes.of(to).Broker], r, to)
	if reader == nil {
		return Finding{}, nil
	}
	return Finding{Message: fmt.Sprintf("route %q reads the dead letters of route %q: %s", reader.Name, r.Name, to), Label: "dead letters would be on their way again",
		Note: fmt.Sprintf("it is at line %d; a route that is meant to carry dead letters on belongs into a file of its own", reader.Line)}, reader
}

// readersOf are the enabled routes by the broker that they read.
func (b *builder) readersOf(rs []*Route) map[string][]*Route {
	readers := map[string][]*Route{}
	for _, r := range rs {
		if r.Enabled {
			at := b.homes.of(r.From).Broker
			readers[at] = append(readers[at], r)
		}
	}
	return readers
}

// readerOf finds a route that runs together with owner and reads what is written to an address.
func (b *builder) readerOf(rs []*Route, owner *Route, to adapters.Address) *Route {
	for _, r := range rs {
		if owner.Enabled && b.homes.feeds(to, r.From) {
			return r
		}
	}
	return nil
}

// windows lets one message at a time onto the lanes of a strict route whose target takes later messages after it has
// refused one: no other way keeps their order.
func (b *builder) windows(v, defaults *value, r *Route) {
	var loose []string
	for i := range r.To {
		to := &r.To[i]
		if to.PassesRefused = b.passesRefused(to.Addr); to.PassesRefused {
			loose = append(loose, fmt.Sprintf("%q", to.Name))
		}
	}
	if r.Order != OrderStrict || len(loose) == 0 {
		return
	}
	if at := besideOrder(v, defaults); at != nil {
		b.warnLoose(at, r, loose)
		return
	}
	for i := range r.To {
		if r.To[i].PassesRefused {
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

func (b *builder) warnLoose(at *value, r *Route, loose []string) {
	if at.data == nil || r.InFlight == 1 {
		return
	}
	verb := map[bool]string{true: "takes", false: "take"}[len(loose) == 1]
	b.at(at.node, at.path, Finding{Code: "D007", Severity: Warning, Label: "the others pass a message that is refused",
		Message: fmt.Sprintf("order: strict, but %s %s later messages after refusing one", strings.Join(loose, ", "), verb),
		Help:    "remove in_flight: it is 1 there then, and as large as elsewhere where a refusal stops what follows"})
}

// passesRefused reports whether a target takes later messages of a window after it has refused one.
func (b *builder) passesRefused(a adapters.Address) bool {
	broker := b.brokers[a.Broker]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return false
	}
	return !b.options.Kinds[broker.Kind].Capabilities(broker.Config).RefusalStops
}
