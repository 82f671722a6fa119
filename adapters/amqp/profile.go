package amqp

import (
	"net/url"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// A profile is how one kind of AMQP 1.0 broker wants to be treated: a table of switches. The operator's `dialect`
// chooses it, or else what the broker says of itself in its open frame.
type profile struct {
	name string

	address func(a adapters.Address, source bool) string
	queue   string // capability of a queue terminus, "" = none is sent
	topic   string // capability of a topic terminus

	topicSource, topicTarget bool

	replenish    bool // credit is topped up when half is used; otherwise renewed only when none is outstanding
	confirms     bool // the broker answers an outcome that the receiver leaves unsettled by settling it
	rejectAside  bool // rejected goes to a dead-letter address by itself
	rejectFull   bool // rejected without a reason means a full queue, released that there is none
	counting     adapters.Counting
	acquirer     bool // first-acquirer false means redelivered; other brokers pass on what the producer wrote
	endsSession  bool // an attach to what is not there ends the session
	durableNode  bool // ask for durability of the terminus, or the broker makes a queue that a restart loses
	dupID        bool // duplicate id as an application property
	annotations  bool // message annotations and footer may be sent
	partitionKey bool // Key travels as x-opt-partition-key
	userID       bool // user-id may differ from the connection's user
	allIDs       bool // ulong and uuid ids are taken
	bodies       adapters.BodySet
	reserved     []string
}

func allBodies() adapters.BodySet {
	return adapters.Bodies(adapters.BodyNone, adapters.BodyBytes, adapters.BodyText, adapters.BodyValue, adapters.BodySequence,
		adapters.BodyMap, adapters.BodyStream, adapters.BodyObject)
}

// asWritten is the address as the operator wrote it.
func asWritten(a adapters.Address, _ bool) string { return a.Name }

// profileOf returns the profile with that name; the unknown name "" gives the cautious one.
func profileOf(name string) *profile {
	switch name {
	case "artemis":
		return artemis()
	case "rabbitmq-4":
		return rabbitmq4()
	case "rabbitmq-3":
		return rabbitmq3()
	case "servicebus":
		return serviceBus()
	case "qpid":
		return qpid()
	case "ibmmq":
		return ibmMQ()
	}
	return generic()
}

// artemis counts deliveries only when a receiver modifies them as failed: released and lost ones come again as the first
// time.
func artemis() *profile {
	return &profile{
		name: "artemis", address: asWritten, queue: "queue", topic: "topic", topicSource: true, topicTarget: true,
		replenish: true, rejectAside: true, counting: adapters.CountNone, dupID: true, annotations: true, userID: true,
		allIDs: true, bodies: allBodies(), reserved: []string{"_AMQ_", "AMQ_", "JMS", "x-opt-"},
	}
}

// rabbitmq4 is the native AMQP 1.0 of RabbitMQ 4.0 and later, address format version 2.
func rabbitmq4() *profile {
	return &profile{
		name: "rabbitmq-4", address: rabbit4Address, topicTarget: true, replenish: true, confirms: true, endsSession: true, rejectFull: true, counting: adapters.CountFlag,
		acquirer: true, annotations: true, allIDs: true, bodies: allBodies(), reserved: []string{"x-opt-", "x-death", "x-delay"},
	}
}

// rabbit4Address is /queues/NAME, and for a topic the routing key NAME of the exchange amq.topic, percent-encoded.
func rabbit4Address(a adapters.Address, _ bool) string {
	if strings.HasPrefix(a.Name, "/queues/") || strings.HasPrefix(a.Name, "/exchanges/") {
		return a.Name
	}
	if a.Form == adapters.Topic {
		return "/exchanges/amq.topic/" + url.PathEscape(a.Name)
	}
	return "/queues/" + url.PathEscape(a.Name)
}

// rabbitmq3 is the plugin rabbitmq_amqp1_0 of RabbitMQ 3. It ends the connection on an amqp-value list and reverses
// sequences, its credit goes negative when it is topped up, and it makes non-durable queues unless asked.
func rabbitmq3() *profile {
	return &profile{
		name: "rabbitmq-3", address: asWritten, confirms: true, endsSession: true, rejectFull: true, counting: adapters.CountFlag, acquirer: true, durableNode: true,
		annotations: true, allIDs: true, bodies: adapters.Bodies(adapters.BodyBytes, adapters.BodyText, adapters.BodyNone),
		reserved: []string{"x-opt-", "x-death", "x-delay"},
	}
}

// serviceBus is Azure Service Bus: a subscription is a node of its own.
func serviceBus() *profile {
	return &profile{
		name: "servicebus", address: serviceBusAddress, topicSource: true, topicTarget: true, replenish: true,
		rejectAside: true, counting: adapters.CountEach, annotations: true, partitionKey: true, userID: true, allIDs: true,
		bodies: allBodies(), reserved: []string{"x-opt-"},
	}
}

func serviceBusAddress(a adapters.Address, source bool) string {
	if sub := a.Options.String("subscription", ""); source && sub != "" {
		return a.Name + "/Subscriptions/" + sub
	}
	return a.Name
}

func qpid() *profile {
	p := generic()
	p.name, p.replenish, p.bodies = "qpid", true, allBodies()
	return p
}

// ibmMQ is the AMQP channel of IBM MQ: one session, ids as string or bytes, no message annotations.
func ibmMQ() *profile {
	return &profile{
		name: "ibmmq", address: asWritten, queue: "queue", topic: "topic", topicSource: true, topicTarget: true,
		counting: adapters.CountFlag, acquirer: true, durableNode: true, userID: true,
		bodies:   adapters.Bodies(adapters.BodyNone, adapters.BodyBytes, adapters.BodyText),
		reserved: []string{"x-opt-", "JMS", "mq_"},
	}
}

// generic is what every broker can be expected to take: data bodies, credit that never overlaps, durability asked for
// everywhere.
func generic() *profile {
	return &profile{
		name: "generic", address: asWritten, queue: "queue", topic: "topic", topicSource: true, topicTarget: true,
		durableNode: true, annotations: true, userID: true, allIDs: true,
		bodies: adapters.Bodies(adapters.BodyNone, adapters.BodyBytes, adapters.BodyText), reserved: []string{"x-opt-"},
	}
}

func (p *profile) id(id adapters.ID) adapters.Value {
	if p.allIDs {
		return idValue(id)
	}
	return textID(id)
}

// detect chooses a profile by what the broker says of itself in its open frame (part 2, section 2.7.1), and by the host
// where it says nothing.
func detect(product, version, host string) *profile {
	product = strings.ToLower(product)
	switch {
	case strings.Contains(product, "artemis"):
		return artemis()
	case strings.Contains(product, "rabbitmq") && strings.HasPrefix(version, "3."):
		return rabbitmq3()
	case strings.Contains(product, "rabbitmq"):
		return rabbitmq4()
	case strings.Contains(product, "qpid"):
		return qpid()
	case strings.Contains(product, "ibm mq"), strings.Contains(product, "websphere mq"):
		return ibmMQ()
	case strings.HasSuffix(host, ".servicebus.windows.net"):
		return serviceBus()
	}
	return generic()
}

// choose is the profile for a broker: the operator's word, and the broker's where he says nothing. `rabbitmq` means the
// one that the version tells.
func choose(dialect, product, version, host string) *profile {
	switch dialect {
	case "":
		return detect(product, version, host)
	case "rabbitmq":
		return detect("rabbitmq", version, host)
	}
	return profileOf(dialect)
}
