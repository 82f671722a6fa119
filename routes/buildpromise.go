package routes

import (
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// A promised is a route and where its settings stand in the file.
type promised struct {
	route *Route
	where []*value // the route itself, then the defaults
}

// at is where a key of the route stands, nil if nowhere.
func (p promised) at(key string) *value { return firstOf(p.where, key) }

// promises reads how often the targets of a route may get a message, and refuses exactly-once where an end or the spool
// of the route rules it out. Exactly-once spools every message: without a record a crash between the confirm and the
// settle would give the message a new id.
func (b *builder) promises(v, defaults *value, c chain, r *Route) {
	r.Delivery, r.MaxOutage, r.Identity = Delivery(c.text("delivery")), c.duration("max_outage"), b.identity(r.From)
	for i := range r.To {
		r.To[i].Class, r.To[i].Memory = b.class(r.To[i].Addr)
	}
	p := promised{r, []*value{v, defaults}}
	b.promised = append(b.promised, p)
	if r.Delivery != ExactlyOnce {
		return
	}
	b.onceSpool(p)
	b.onceSource(p)
	for i := range r.To {
		b.onceTarget(p, &r.To[i])
	}
	if r.Spool.Mode == SpoolAuto {
		r.Spool.Mode = SpoolAlways
	}
}

// onceSpool: exactly-once needs the record of every message.
func (b *builder) onceSpool(p promised) {
	at := p.at("delivery")
	if b.top == nil && !b.meant("spool") {
		b.at(at.node, at.path, Finding{Code: "D005", Message: "delivery: exactly-once, but the file has no \"spool\"", Label: "no place for its records",
			Help: "add spool: { dir: PATH } at the top level", Note: b.of(p)})
	}
	mode := firstOf([]*value{p.where[0].get("spool"), p.where[1].get("spool")}, "mode")
	if mode != nil && mode.data == string(SpoolNever) {
		b.at(mode.node, mode.path, Finding{Code: "D005", Message: "delivery: exactly-once, but mode: never keeps no record of a message",
			Label: "after a crash it would come again as a new one", Help: "write mode: always, or delivery: at-least-once", Note: b.of(p)})
	}
}

// of tells which route a finding is about: it may stand in the defaults.
func (b *builder) of(p promised) string { return fmt.Sprintf("it is about route %q", p.route.Name) }

// onceSource: a source that gives neither a position nor an id hands out a message a second time as if it were new.
func (b *builder) onceSource(p promised) {
	broker := b.brokers[p.route.From.Broker]
	if broker == nil || p.route.Identity != adapters.SourceNone || b.options.Kinds[broker.Kind] == nil {
		return
	}
	f := Finding{Code: "D005", Message: fmt.Sprintf("source %s cannot take part in exactly-once delivery", p.route.From),
		Label: "S-none: a redelivery from there looks like a new message", Help: "use delivery: at-least-once", Note: b.of(p)}
	if broker.Kind == "amqp" {
		f.Help = "write unique_ids: true in from, if no two messages there ever have the same message-id; else use delivery: at-least-once"
	}
	at := p.at("delivery")
	b.at(at.node, at.path, f)
}

// onceTarget: a target that takes a message a second time cannot be sent one again, and one that forgets ids must
// remember them for as long as an outage lasts.
func (b *builder) onceTarget(p promised, to *Target) {
	broker := b.brokers[to.Addr.Broker]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return // that has been reported
	}
	switch {
	case to.Class == adapters.ClassNone:
		b.notOnce(p, to, broker)
	case to.Memory.Time > 0:
		b.outage(p, to)
	case to.Class == adapters.ClassTx:
		b.positioned(p, to, broker)
		if to.InFlight == 0 && p.at("in_flight") == nil {
			to.InFlight = window(p.route, broker)
		}
	}
}

// positioned asks the adapter whether the target says where the lane's position is kept.
func (b *builder) positioned(p promised, to *Target, broker *Broker) {
	c := filled(broker)
	c.Once = true
	for _, e := range optionErrors(b.options.Kinds[broker.Kind].Check(c, to.Addr)) {
		at := p.at("delivery")
		b.at(at.node, at.path, Finding{Code: "D001", Message: fmt.Sprintf("target %s cannot take part in exactly-once delivery: %s: %s", to.Addr, e.Key, e.Problem),
			Label: "not without " + e.Key, Help: clip(e.Help), Note: b.of(p)})
	}
}

// window is how many messages go into one transaction where the file does not say in_flight.
func window(r *Route, broker *Broker) int {
	if broker.Kind == ibmMQ {
		return max(r.InFlight, mqWindow)
	}
	return max(r.InFlight, txWindow)
}

// mqWindow is the window at IBM MQ, whose log is held up by a unit of work for as long as it lasts.
const mqWindow = 256

// txWindow is the most messages of a transaction where the file does not say in_flight. A transaction costs some
// milliseconds besides its messages, and none of them can arrive twice, so it may be large.
const txWindow = 4096

func (b *builder) notOnce(p promised, to *Target, broker *Broker) {
	what, help := broker.Kind, "use delivery: at-least-once, or another target"
	if broker.Kind == "amqp" {
		what = broker.Config.Options.String("dialect", "") + " over AMQP 1.0"
		if broker.Config.Options["dialect"] == nil {
			what, help = "a broker over AMQP 1.0 of unknown make", "write dialect: artemis at the broker if it is one; else "+help
		}
	}
	at, note := p.at("delivery"), "explain D001 lists what each broker type can do"
	if p.where[0].get("delivery") == nil || len(p.route.To) > 1 {
		note = fmt.Sprintf("it is about lane %s/%s; %s", p.route.Name, to.Name, note)
	}
	b.at(at.node, at.path, Finding{Code: "D001", Message: fmt.Sprintf("broker %q cannot take part in exactly-once delivery", broker.Name),
		Label: what + " has neither transactions nor duplicate detection", Help: help, Note: note})
}

// outage: an id that the target has forgotten would be taken a second time.
func (b *builder) outage(p promised, to *Target) {
	window := formatDuration(to.Memory.Time)
	at := p.at("max_outage")
	switch {
	case p.route.ConfirmTimeout >= to.Memory.Time:
		at = p.at("delivery")
		b.at(at.node, at.path, Finding{Code: "D002", Message: fmt.Sprintf("broker %q remembers ids for %s, not longer than confirm_timeout: %s", to.Addr.Broker, window, formatDuration(p.route.ConfirmTimeout)),
			Label: "every lost answer would hold the lane", Help: "write a larger duplicate_window, which the stream must have too, or a smaller confirm_timeout", Note: b.of(p)})
	case at == nil:
		at = p.at("delivery")
		b.at(at.node, at.path, Finding{Code: "D002", Message: fmt.Sprintf("exactly-once to %s needs a max_outage", to.Addr), Label: "how long may an outage last?",
			Help: "add max_outage: " + window + ", or less: that is the duplicate_window of the broker", Note: b.of(p)})
	case at.data != nil && p.route.MaxOutage > to.Memory.Time:
		b.at(at.node, at.path, Finding{Code: "D002", Message: fmt.Sprintf("max_outage is longer than broker %q remembers ids: %s", to.Addr.Broker, window),
			Label: "longer than its duplicate_window", Help: fmt.Sprintf("write at most %s, or a larger duplicate_window; the stream must have it too", window), Note: b.of(p)})
	}
}

// checkPromises looks at what several routes do with one place.
func (b *builder) checkPromises() {
	all, readers := b.homes.trafficOf(b.promisers()), map[string]promised{}
	for _, p := range b.promised {
		for j := range p.route.To {
			b.crowded(p, &p.route.To[j], all)
		}
		b.sameSettle(p, readers)
	}
}

// promisers are the routes of all promises.
func (b *builder) promisers() []*Route {
	rs := make([]*Route, len(b.promised))
	for i, p := range b.promised {
		rs[i] = p.route
	}
	return rs
}

// crowded: what is in flight to an address at once must fit among the ids that it remembers, or the first of them is
// forgotten before it is confirmed.
func (b *builder) crowded(p promised, to *Target, all traffic) {
	if p.route.Delivery != ExactlyOnce || to.Memory.IDs == 0 {
		return
	}
	sum, lanes := b.homes.flying(all, p.route, to.Addr)
	if sum < to.Memory.IDs {
		return
	}
	at := p.at("in_flight")
	if at == nil {
		at = p.at("delivery")
	}
	b.at(at.node, at.path, Finding{Code: "D002", Message: fmt.Sprintf("%d messages may be in flight to %s, but it remembers %d ids", sum, to.Addr, to.Memory.IDs),
		Label: "together with all lanes to that address", Help: "make in_flight or, from an amqp source, prefetch smaller, or write the duplicate_window that the broker is configured with, if it is larger",
		Note: fmt.Sprintf("%s; lanes that go there: %d", b.of(p), lanes)})
}

// flying is how many messages may be in flight to an address when r runs beside what else is enabled, and on how many
// lanes.
func (h homes) flying(all traffic, r *Route, to adapters.Address) (messages, lanes int) {
	l := all[h.spotOf(to)]
	if !r.Enabled {
		own := traffic{}
		h.add(own, r)
		o := own[h.spotOf(to)]
		l.messages, l.lanes = l.messages+o.messages, l.lanes+o.lanes
	}
	return l.messages, l.lanes
}

// settledLate is how many delivered messages an unclean stop may send again besides those in flight.
func (r *Route) settledLate() int {
	if r.Delivery == ExactlyOnce && r.Identity == adapters.SourceID {
		return SettledLate * r.Prefetch
	}
	return 0
}

// sameSettle: one reader settles a message once for all routes, before they send it or after. readers has the first enabled
// route of each source.
func (b *builder) sameSettle(p promised, readers map[string]promised) {
	if !p.route.Enabled || p.route.From.Broker == "" {
		return
	}
	key := p.route.reader()
	o, ok := readers[key]
	if !ok {
		readers[key] = p
		return
	}
	if (o.route.Delivery == AtMostOnce) == (p.route.Delivery == AtMostOnce) {
		return // whatever there is to say has been said of the first of them
	}
	at := p.at("delivery")
	if at == nil {
		at = o.at("delivery")
	}
	b.at(at.node, at.path, Finding{Code: "D008", Message: fmt.Sprintf("routes %q and %q read %s, and one of them alone is at-most-once", o.route.Name, p.route.Name, o.route.From),
		Label: "settled before it is sent, or after?", Help: "give both the same delivery, or a source of its own to each: another subscription, group or queue",
		Note: "routes with an equal source share one reader, which settles a message once"})
}
