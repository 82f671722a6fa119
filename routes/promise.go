package routes

import (
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Delivery is what a route promises about how often its targets get a message. What it comes to depends on the class of
// each target (Target.Class).
type Delivery string

// The promises.
const (
	AtMostOnce  Delivery = "at-most-once"  // settled before it is sent: an unclean stop may lose it, nothing repeats it
	AtLeastOnce Delivery = "at-least-once" // settled when it is durable elsewhere: nothing loses it, an unclean stop may repeat it
	ExactlyOnce Delivery = "exactly-once"  // each target gets it once; such a route spools every message
)

// SettledLate is for how many prefetches of later settles an exactly-once route keeps, and after an unclean stop sends again,
// what it has settled at a source that confirms no settle (AMQP).
const SettledLate = 2

// A Memory is how long a target of class T-window knows an id again: so many ids, or so much time. The zero Memory is
// that of the other classes.
type Memory struct {
	IDs  int           // of all that is sent to the address
	Time time.Duration // from the first send
}

// Outage is how long a target of an ExactlyOnce route may be away before the lane holds what got no answer: max_outage, but
// at least a confirm_timeout less than the target remembers ids, for what is sent may take that long to arrive. 0 where the
// target does not remember ids for a time.
func (r *Route) Outage(to *Target) time.Duration {
	if r.Delivery != ExactlyOnce || to.Memory.Time == 0 {
		return 0
	}
	return max(min(r.MaxOutage, to.Memory.Time-r.ConfirmTimeout), 1)
}

// identity says how a redelivery of a source can be told from a new message.
func (b *builder) identity(a adapters.Address) adapters.Identity {
	broker := b.brokers[a.Broker]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return adapters.SourceNone
	}
	return b.options.Kinds[broker.Kind].Capabilities(broker.Config).Identity(a)
}

// class says what a target does with a message that is sent again, and for how long.
func (b *builder) class(a adapters.Address) (adapters.Class, Memory) {
	broker := b.brokers[a.Broker]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return adapters.ClassNone, Memory{}
	}
	c := b.options.Kinds[broker.Kind].Capabilities(broker.Config).Target
	if c != adapters.ClassWindow {
		return c, Memory{}
	}
	return c, memory(broker)
}

// memory is the duplicate window that the file states for a broker, or that of the table of keys.
func memory(broker *Broker) Memory {
	const key = "duplicate_window"
	x, ok := broker.Config.Options[key]
	if f := brokerShape().field(key, broker.Kind); !ok && f != nil {
		x = f.initial()
	}
	switch x := x.(type) {
	case int64:
		return Memory{IDs: int(x)}
	case time.Duration:
		return Memory{Time: x}
	}
	return Memory{}
}
