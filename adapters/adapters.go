// Package adapters is the contract between Posthouse and the brokers it serves: the vocabulary (Message, Address,
// Delivery, Outcome, Error and its Kinds) and the few interfaces that one folder per kind of broker implements.
//
// Reading order: this file, then message.go. A new adapter implements Adapter, Source and Target, states its
// Capabilities, and enters adapters/all when it passes the suite in adapters/adaptertest.
//
// The words for delivery are those of AMQP 1.0 (part 2, section 2.6, and part 3, section 3.4): a receiver settles a
// delivery with an outcome, accepted, released or rejected.
package adapters

import (
	"context"
	"io"
)

// A Source receives deliveries from one address of one broker.
//
// Receive and Settle may run at the same time; neither may be called twice at once.
type Source interface {
	// Receive blocks until it has 1 to max deliveries, ctx ends, or the connection to the broker is lost (Kind Lost).
	// It returns what is there at once rather than waiting for max. It does not retry: after an error of Kind Lost the
	// Source is spent and its owner opens another. A delivery it has taken from the broker it must return, or give
	// back: when ctx ends nothing is dropped. The deliveries are the caller's; their messages are never changed by
	// the Source afterwards.
	Receive(ctx context.Context, max int) ([]Delivery, error)

	// Settle tells the broker what became of ds. When it returns nil the broker has recorded it, as far as
	// Capabilities.SettleConfirmed says. Settling a delivery twice is harmless; settling after the connection was lost
	// is an error of Kind Lost. Where Capabilities.Settle is Prefix, an Accepted delivery behind one that is still
	// open is kept and recorded together with it. Rejected where Capabilities.RejectAside is false is an error of
	// Kind Permanent and settles nothing: it would lose the message.
	Settle(ctx context.Context, o Outcome, ds ...Delivery) error

	// Close unblocks Receive with Kind Lost; unsettled deliveries go back to the broker; a second Close is harmless. Where
	// Capabilities.SettleConfirmed is false, nil from the first says that the broker has taken note of every settle.
	io.Closer
}

// A Target sends messages to one address of one broker. A Target that can take the next messages before the last ones
// are confirmed is also a Poster.
//
// Send must not be called twice at once. Nobody below the lane retries: a Target reports, its owner decides.
type Target interface {
	// Send hands ms over in order and returns how many, from the front, are durably taken. As with io.Writer,
	// n < len(ms) means err != nil and the reverse; err is about ms[n], and what became of the rest is unknown, unless
	// err is a *PartialError, which tells the fate of each. After an error of Kind Lost the Target is spent and its
	// owner opens another. Send keeps neither ms nor its messages.
	Send(ctx context.Context, ms []*Message) (n int, err error)

	io.Closer // nothing to flush: Send was synchronous; a second Close is harmless
}

// A Poster is a Target that keeps several batches on their way at once, so that a long link does not cost a round trip
// for each of them.
//
// Post must not be called twice at once, nor beside Send; Receipt.Wait of an earlier batch may run beside Post.
type Poster interface {
	Target

	// Post hands ms over in order, like Send, but returns as soon as they are on their way. It blocks while the broker
	// gives no room (credit) and then ends with ctx. An error from Post says that nothing of ms was taken into the
	// hands of the client library, or, with Kind Lost, that it is unknown. Until its Receipt answers, ms and its
	// messages must not be changed.
	Post(ctx context.Context, ms []*Message) (Receipt, error)
}

// A Receipt stands for one posted batch.
type Receipt interface {
	// Wait blocks until the broker has answered for the whole batch, the connection is lost, or ctx ends, and returns
	// what Send would have returned. It is called once.
	Wait(ctx context.Context) (n int, err error)
}

// A Prober is a Source or Target that can ask its broker whether it is still there and still attached. Probe makes one
// round trip, or reads a fact that is no older than the heartbeat; its error has Kind Lost. It may run beside every
// other method.
type Prober interface {
	Probe(ctx context.Context) error
}

// A Deduplicator is a Target whose broker says of a message, in the same breath as its confirm, that it had it already
// and did not store it again.
type Deduplicator interface {
	// Duplicates counts those messages since the Target was opened; it never falls, also after a Close.
	Duplicates() uint64
}

// An Adapter opens the ends of one kind of broker. Five methods: the two ends, the claim, the check, the name. An
// Adapter is safe for concurrent use.
type Adapter interface {
	// Kind is the word in YAML and the name of the folder: "amqp", "kafka", "nats".
	Kind() string

	// Capabilities are the claims for a broker configured like c; the suite proves each. Pure: no network, no file.
	Capabilities(c Config) Capabilities

	// Check looks at c and as without touching the network or a file. Its error is an *OptionError or several joined.
	Check(c Config, as ...Address) error

	// OpenSource connects, attaches to a, and returns when the broker has confirmed that. c.Addresses are tried in order
	// once; nobody retries below the caller. The error is an *Error: Denied, NotFound, Permanent or Lost.
	OpenSource(ctx context.Context, c Config, a Address) (Source, error)

	// OpenTarget is like OpenSource for the sending end.
	OpenTarget(ctx context.Context, c Config, a Address) (Target, error)
}

// A Pinger is an Adapter that can connect and authenticate without touching a message: `posthouse check --connect`.
type Pinger interface {
	// Ping connects to the first address that answers, authenticates, looks whether the addresses as exist as far as
	// the protocol can tell without consuming, and disconnects. Its error is an *Error as from OpenSource.
	Ping(ctx context.Context, c Config, as ...Address) (Peer, error)
}

// An Optional is an Adapter that a build of the program may leave out: it is known, and cannot be used.
type Optional interface {
	// Missing is nil if this program has what it needs to connect, else an error that says how to get one that has. Pure.
	Missing() error
}

// A Host is an Adapter that can run a broker inside this process, when the file says so (`embedded:`).
type Host interface {
	// Start runs what c asks for and returns when it accepts connections; Close stops it and waits. Where c asks for
	// nothing it returns nil, nil. Ends opened with an equal c.Name reach the running broker.
	Start(ctx context.Context, c Config) (io.Closer, error)
}

// A Described end knows what it is attached to; the answer is a fact learned from the broker at attach time.
type Described interface {
	Peer() Peer
}

// A Peer is what a broker tells about itself. Unknown fields are empty.
type Peer struct {
	ID      string // identity that two names for one broker share: AMQP container id, Kafka cluster id, name of the NATS cluster or server
	Unique  string // identity that no other broker has, so that equal ones are one broker; "" where there is no certainty
	Product string // "apache-activemq-artemis", "RabbitMQ", "nats-server"
	Version string
	Address string // the one of Config.Addresses that is in use
	MaxSize int64  // largest message in bytes that the peer takes at this end, 0 = it does not say
}

// A Delivery is a message received but not yet settled. It is a value; copies stand for the same delivery.
type Delivery struct {
	Message  *Message // never changed after it leaves the Source; Clone to alter
	Tag      any      // means something only to the Source that made it
	Attempt  int      // 1 for the first; 2 or more for a redelivery, as far as the broker tells
	SourceID string   // position or id given by the broker that cannot repeat; "" where there is none
}

// Outcome is what became of a delivery. Its zero value means nothing and is refused.
type Outcome uint8

// The outcomes, as in AMQP 1.0 part 3, section 3.4.
const (
	_        Outcome = iota
	Accepted         // durable elsewhere: the source may forget it
	Released         // not taken: the source gives it out again
	Rejected         // refused for good: the source sets it aside, where it has a place for that
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Released:
		return "released"
	case Rejected:
		return "rejected"
	}
	return "no outcome"
}

// Form is what kind of place an Address names; the words are those of the YAML keys.
type Form string

// The forms. Which of them a kind of broker opens is in its Capabilities.
const (
	Queue   Form = "queue"
	Topic   Form = "topic"
	Stream  Form = "stream"  // JetStream: the source form
	Subject Form = "subject" // NATS: the target form
)

// An Address is one end of a route: a broker's queue, topic, stream or subject.
type Address struct {
	Broker  string  // name of the broker in the file
	Form    Form    //
	Name    string  // as the operator wrote it; the adapter brings it into the broker's form
	Options Options // the end's own keys: subscription, exclusive, subject, start_at, group

	// Dynamic, of a target where Capabilities.Dynamic says that there can be such: Name is only how the names begin, and
	// every message says where it goes, in Dest, which begins with it. The order holds within each place.
	Dynamic bool
}

// String is BROKER/NAME, the form of every table and log line; BROKER/NAME* if it is only how names begin.
func (a Address) String() string {
	if a.Dynamic {
		return a.Broker + "/" + a.Name + "*"
	}
	return a.Broker + "/" + a.Name
}
