package routes

import (
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

// This file is the table of all keys. A key that is not here does not exist; a key that does nothing is not here.

const since = "0.1"

// spooling is the release that brought the journal.
const spooling = "0.2"

// settingAside is the release that brought dead letters.
const settingAside = "0.3"

// promising is the release that brought promises other than at-least-once.
const promising = "0.4"

// routing is the release that brought topologies, routing and live change.
const routing = "0.5"

// topologyShape is the whole file.
func makeTopologyShape() *Shape {
	broker, route := brokerShape(), routeShape()
	return &Shape{Name: "file", Doc: "One file says what one or more daemons do.", Fields: append([]*Field{
		{Name: "version", Type: Count, Required: true, Min: 1, Max: 1, Since: since, Reload: RestartProcess,
			Example: "version: 1", Doc: "The version of this format. 1 is the only one."},
		{Name: "brokers", Type: Named, Of: broker, Required: true, Since: since, Reload: RestartBroker,
			Example: "brokers: { NAME: { type: amqp, addresses: [amqp://HOST:5672] } }",
			Doc:     "What the daemon connects to, by name."},
		{Name: "routes", Type: Objects, Of: route, Since: since, Reload: RestartRoute,
			Example: "routes: [{ name: NAME, from: { broker: NAME, queue: NAME }, to: { broker: NAME, queue: NAME } }]",
			Doc:     "What it carries from where to where. Required in a file without bridges and topology."},
		{Name: "bridges", Type: Objects, Of: bridgeShape(), Since: bridging, Reload: RestartRoute,
			Example: "bridges: [{ name: NAME, request: { from: ..., to: ... }, reply: { from: ..., to: ... } }]",
			Doc:     "Request and reply between applications on two brokers."},
		{Name: "defaults", Type: Object, Since: since, Reload: RestartRoute, Doc: "Settings that brokers and routes share.",
			Of: &Shape{Name: "defaults", Doc: "Settings that brokers and routes share; each may be overridden where it is used.", Fields: []*Field{
				{Name: "broker", Type: Object, Of: broker.inherited(), Since: since, Reload: RestartBroker, Doc: "For every broker that does not say otherwise."},
				{Name: "route", Type: Object, Of: route.inherited(), Since: since, Reload: RestartRoute, Doc: "For every route that does not say otherwise."},
			}}},
		{Name: "spool", Type: Object, Of: spoolShape(), Since: spooling, Reload: RestartProcess,
			Doc: "The journal on disk that keeps messages while a target is away. Left out: nothing is kept, messages wait at their sources."},
		{Name: "admin", Type: Object, Of: adminShape(), Since: since, Reload: RestartProcess, Doc: "Health, metrics and logs."},
	}, networkFields(route)...)}
}

func spoolShape() *Shape {
	return &Shape{Name: "spool", Doc: "The journal on disk that keeps messages while a target is away: one for all routes.", Fields: []*Field{
		{Name: "dir", Type: Path, Required: true, Since: spooling, Reload: RestartProcess, Example: "dir: PATH",
			Doc: "Where it is; each repeater uses DIR/REPEATER. On a local disk that belongs to this daemon alone."},
		{Name: "max_size", Type: Size, Min: leastSegments * (32 << 10), Since: spooling, Reload: RestartProcess,
			Doc: "Bytes on disk, reserve included: at least five segments. Left out: only the disk bounds it."},
		{Name: "when_full", Type: Word, Words: fullWords(), Refused: dropping(), Default: "pause", Since: spooling, Reload: RestartRoute, Doc: fullDoc},
		{Name: "sync", Type: WordOrDuration, Words: []string{"always", "never"}, Default: "always", Min: 0.001, Max: 60, Since: spooling, Reload: RestartProcess,
			Doc: "A message is settled at its source only after the sync. always: at once, shared by what waits; a duration: wait that long so that more share it; never: leave it to the system, and lose messages in a power cut (P002)."},
		{Name: "segment_size", Type: Size, Default: "64MiB", Min: 32 << 10, Max: 1 << 30, Since: spooling, Reload: RestartProcess,
			Doc: "Bytes of one file of the journal, a multiple of 4KiB. A backlog has at most one such file for each 48 bytes of it: 85 MiB in files of 64KiB, 22 GiB in files of 1MiB."},
	}}
}

// fullWords are what can be done about a spool that is full.
func fullWords() []string { return []string{string(FullPause), string(FullReject)} }

// dropping is what is said to somebody who would rather lose messages.
func dropping() map[string]string {
	return map[string]string{"drop-oldest": "write pause or reject: drop-oldest loses messages, and this version does not have it"}
}

const fullDoc = "pause: stop reading the source until there is room; reject: hand messages back, where the source can put them aside (D004)."

func makeBrokerShape() *Shape {
	reachedAtOne := []string{"amqp", "nats", ibmMQ} // the addresses of a Kafka cluster are only where it is asked first
	return &Shape{Name: "broker", Doc: "A message system that the daemon connects to.", Fields: append([]*Field{
		{Name: "type", Type: Word, Words: []string{"amqp", ibmMQ, "kafka", "nats"}, Required: true, Since: since, Reload: RestartBroker,
			Example: "type: amqp", Doc: "The protocol: AMQP 1.0, IBM MQ through IBM's client library, Apache Kafka, or NATS with JetStream."},
		{Name: "site", Type: Text, Since: since, Reload: Live,
			Doc: "The data centre. A label for people, plots and alerts; it has no effect on routing."},
		{Name: "addresses", Type: URLList, Since: since, Reload: RestartBroker,
			Doc: "Tried in this order. Required, unless the broker is embedded or has a ccdt_url. amqp: amqp://HOST:5672 or amqps://HOST:5671; ibmmq: HOST:1414, or HOST(1414); kafka: HOST:9092; nats: nats://HOST:4222 or tls://HOST:4222."},
		{Name: "credentials", Type: Object, Of: credentialsShape(), Since: since, Reload: RestartBroker, Doc: "How the daemon proves who it is."},
		{Name: "tls", Type: Object, Of: tlsShape(), Since: since, Reload: RestartBroker, Inherit: true,
			Doc: "How connections are secured. An empty section, {}, switches TLS on for a Kafka broker."},
		{Name: "reconnect", Type: Object, Of: reconnectShape(), Since: since, Reload: RestartBroker, Inherit: true,
			Doc: "The pause between two attempts. They go on for ever."},
		{Name: "tries", Type: Count, Unit: "attempts", Default: "1", Min: 1, Max: 1000, Kinds: reachedAtOne, Since: promising, Reload: RestartBroker,
			Doc: "How often one of several addresses is tried before the next, with the pause of reconnect between. 1: all of them in turn, then the pause."},
		{Name: "failback", Type: WordOrDuration, Words: []string{"never"}, Default: "30s", Min: 0.1, Max: 86400, Kinds: reachedAtOne, Since: promising, Reload: RestartBroker,
			Doc: "How long the first of several addresses must answer before the routes go back to it from another; what is on its way is confirmed and settled before."},
		{Name: "heartbeat", Type: Duration, Default: "10s", Min: 0.1, Max: 3600, Since: since, Reload: RestartBroker, Inherit: true,
			Doc: "A peer that is silent is given up within three of these."},
		{Name: "trusted_headers", Type: Flag, Default: "false", Since: since, Reload: RestartBroker,
			Doc: "Give back the values that posthouse-* headers of messages from this broker carry, even if no route writes to it; never their id, origin and path."},
	}, brokerOptions()...)}
}

// brokerOptions are the keys that only some types of broker have.
func brokerOptions() []*Field {
	amqp, kafka, nats := []string{"amqp"}, []string{"kafka"}, []string{"nats"}
	return append([]*Field{
		{Name: "dialect", Type: Word, Words: []string{"artemis", "rabbitmq", "servicebus", "qpid", "ibmmq", "generic"}, Kinds: amqp, Option: true,
			Since: since, Reload: RestartBroker,
			Doc: "Form of addresses, and which capability makes a queue or a topic. Left out, it is known from what the broker says of itself."},
		{Name: "duplicate_window", Type: Count, Unit: "ids", Default: "20000", Min: 1, Max: 1e9, Kinds: amqp, Option: true, Since: promising, Reload: RestartBroker,
			Doc: "How many ids an Artemis address remembers to drop duplicates: its id-cache-size. What may be in flight to one address on routes with delivery: exactly-once must be less (D002)."},
		{Name: "group", Type: Text, Default: "posthouse", Kinds: kafka, Option: true, Since: since, Reload: RestartBroker,
			Doc: "Prefix of the consumer groups: a route reads in the group GROUP.ROUTE."},
		{Name: "compression", Type: Word, Words: []string{"none", "gzip", "snappy", "lz4", "zstd"}, Kinds: kafka, Option: true, Default: "none",
			Since: since, Reload: RestartBroker, Doc: "Of the batches that are sent."},
		{Name: "start_at", Type: Word, Words: []string{"oldest", "newest"}, Default: "oldest", Kinds: kafka, Option: true, Since: since,
			Reload: RestartBroker, Doc: "Where a group without a stored position begins."},
		{Name: "state_topic", Type: Text, Default: "posthouse-state", Kinds: kafka, Option: true, Since: promising, Reload: RestartBroker,
			Doc: "Compacted topic that keeps the positions of routes with delivery: exactly-once; made if it is missing. With another one their lanes send again what they have sent."},
		{Name: "embedded", Type: Object, Of: embeddedShape(), Kinds: nats, Option: true, Since: since, Reload: RestartProcess,
			Doc: "Run a JetStream server inside the daemon, in place of addresses."},
		{Name: "duplicate_window", Type: Duration, Default: "2m", Min: 0.1, Kinds: nats, Option: true, Since: since, Reload: RestartBroker,
			Doc: "How long a stream remembers ids to drop duplicates: one made by create: gets it, another must have at least that. max_outage must not be longer (D002)."},
	}, append(mqBrokerFields(), headerFields()...)...)
}

func credentialsShape() *Shape {
	return &Shape{Name: "credentials", Doc: "How the daemon proves who it is.", Fields: []*Field{
		{Name: "user", Type: Text, Since: since, Reload: RestartBroker, Doc: "User name."},
		{Name: "password", Type: SecretValue, Since: since, Reload: RestartBroker, Doc: "Where the password is."},
		{Name: "token", Type: SecretValue, Since: since, Reload: RestartBroker, Doc: "Where the bearer token is."},
		{Name: "mechanism", Type: Word, Words: []string{"plain", "external", "anonymous"}, Kinds: []string{"amqp"},
			Since: since, Reload: RestartBroker, Doc: "SASL mechanism. Left out: plain with a user, external with a client certificate, else anonymous."},
		{Name: "mechanism", Type: Word, Words: []string{"plain", "token", "external", "anonymous"}, Kinds: []string{"nats"},
			Since: since, Reload: RestartBroker, Doc: "How to log in. Left out: by what is given of user, token and client certificate."},
		{Name: "mechanism", Type: Word, Words: []string{"plain", "scram-sha-256", "scram-sha-512", "oauthbearer", "external"}, Kinds: []string{"kafka"},
			Since: since, Reload: RestartBroker, Doc: "SASL mechanism. Left out: plain with a user, oauthbearer with a token."},
	}}
}

func tlsShape() *Shape {
	return &Shape{Name: "tls", Doc: "How connections are secured. TLS 1.2 is the least that is ever used.", Fields: []*Field{
		{Name: "ca_file", Type: Path, Since: since, Reload: RestartBroker, Doc: "PEM with the authorities to believe. Left out: the system's."},
		{Name: "cert_file", Type: Path, Since: since, Reload: RestartBroker, Doc: "PEM with the client certificate; with key_file. Read again at every handshake."},
		{Name: "key_file", Type: Path, Since: since, Reload: RestartBroker, Doc: "PEM with its private key."},
		{Name: "server_name", Type: Text, Since: since, Reload: RestartBroker, Doc: "The name the certificate must have. Left out: the host of the address."},
		{Name: "min_version", Type: Word, Words: []string{"1.2", "1.3"}, Default: "1.2", Since: since, Reload: RestartBroker, Doc: "The least version of TLS."},
		{Name: "insecure_skip_verify", Type: Flag, Default: "false", Since: since, Reload: RestartBroker,
			Doc: "Believe any certificate. Never silent: a warning at every check, and a metric."},
		{Name: "key_repository", Type: Path, Kinds: []string{ibmMQ}, Since: converting, Reload: RestartBroker,
			Doc: "The key repository of IBM's client: the path of a .kdb or .p12 file. Its stash file must be beside it."},
		{Name: "cipher_spec", Type: Text, Kinds: []string{ibmMQ}, Since: converting, Reload: RestartBroker, Doc: "The cipher of the channel (SSLCIPH), ANY_TLS12_OR_HIGHER for instance."},
		{Name: "certificate_label", Type: Text, Kinds: []string{ibmMQ}, Since: converting, Reload: RestartBroker, Doc: "Which certificate of the repository is ours. Left out: the client's own choice."},
	}}
}

func reconnectShape() *Shape {
	return &Shape{Name: "reconnect", Doc: "The pause between two attempts; it doubles from delay to max_delay.", Fields: []*Field{
		{Name: "delay", Type: Duration, Default: "1s", Min: 0.001, Max: 3600, Since: since, Reload: RestartBroker, Doc: "The first pause."},
		{Name: "max_delay", Type: Duration, Default: "30s", Min: 0.001, Max: 86400, Since: since, Reload: RestartBroker, Doc: "The longest pause."},
		{Name: "jitter", Type: Ratio, Default: "0.2", Min: 0, Max: 1, Since: since, Reload: RestartBroker, Doc: "The part of a pause that is left to chance, 0 to 1."},
	}}
}

func embeddedShape() *Shape {
	return &Shape{Name: "embedded", Doc: "A JetStream server inside the daemon.", Fields: []*Field{
		{Name: "dir", Type: Path, Required: true, Option: true, Since: since, Reload: RestartProcess, Example: "dir: ./jetstream", Doc: "Where it keeps its streams."},
		{Name: "listen", Type: Text, Option: true, Since: since, Reload: RestartProcess, Doc: "HOST:PORT for other clients. Left out: nobody but this daemon reaches it."},
		{Name: "max_size", Type: Size, Min: 1 << 20, Option: true, Since: since, Reload: RestartProcess, Doc: "Bytes that its streams may take together."},
		{Name: "sync", Type: WordOrDuration, Words: []string{"always"}, Default: "always", Min: 0.001, Option: true, Since: since, Reload: RestartProcess,
			Doc: "When what was confirmed is on the disk: always, before the confirm; or at most this much later."},
	}}
}

func makeRouteShape() *Shape {
	return &Shape{Name: "route", Doc: "One source and one or more targets.", Fields: append([]*Field{
		{Name: "name", Type: RouteName, Required: true, Since: since, Reload: RestartRoute, Example: "name: orders", Doc: "Its name everywhere; unique in the file. Only with override: that of a generated route."},
		{Name: "from", Type: Object, Of: sourceShape(), Required: true, Since: since, Reload: RestartRoute,
			Example: "from: { broker: NAME, queue: NAME }", Doc: "Where messages are taken. Routes with an equal source share one reader."},
		{Name: "to", Type: OneOrMany, Of: targetShape(), Required: true, Since: since, Reload: RestartRoute,
			Example: "to: { broker: NAME, queue: NAME }", Doc: "Where they go: one target, or a list of them with distribute."},
		{Name: "filter", Type: Predicate, Since: since, Reload: RestartRoute,
			Doc: "True = take the message. Left out: take all."},
		{Name: "match", Type: Word, Words: []string{string(MatchAll), string(MatchFirst), string(MatchOtherwise)}, Default: string(MatchAll), Since: routing, Reload: RestartRoute,
			Doc: "Where several routes share a source. all: takes what its filter wants; first: of the routes with first, the first in the file whose filter says yes takes it; otherwise: takes what no other route of the source takes (R012)."},
		{Name: "set", Type: Expressions, Since: routing, Reload: RestartRoute, Example: "set: { NAME: EXPR }",
			Doc: "Headers that the targets get, by name: the values of expressions over the message as it came (text, a number, true or false). Worked out once, when the message is received; a dead letter keeps its own headers. What becomes of a message on which one fails: on_filter_error."},
		{Name: "unset", Type: TextList, Since: routing, Reload: RestartRoute, Doc: "Headers that the targets do not get, by name."},
		{Name: "enabled", Type: Flag, Default: "true", Since: since, Reload: RestartRoute, Doc: "false: the route is checked, but does not run."},
		{Name: "spool", Type: Object, Of: routeSpoolShape(), Inherit: true, Since: spooling, Reload: RestartRoute,
			Doc: "What this route does with the spool."},
		{Name: "renamed_from", Type: RouteName, Since: spooling, Reload: RestartRoute,
			Doc: "The name that the route had before: it takes the spool of that name along."},
	}, slices.Concat(distributeFields(), promiseFields(), fateFields(), limitFields(), networkRouteFields())...)}
}

// promiseFields say how often the targets may get a message.
func promiseFields() []*Field {
	return []*Field{
		{Name: "delivery", Type: Word, Words: []string{string(AtLeastOnce), string(AtMostOnce), string(ExactlyOnce)}, Default: string(AtLeastOnce), Inherit: true,
			Since: promising, Reload: RestartRoute,
			Doc: "at-least-once: settled when it is durable elsewhere; at-most-once: settled before it is sent, so an unclean stop loses what was on its way; exactly-once: spooled, and sent so that the target takes it once, where both ends can (D001, D005)."},
		{Name: "max_outage", Type: Duration, Min: 0.1, Inherit: true, Since: promising, Reload: RestartRoute,
			Doc: "With exactly-once to a target that remembers ids for a time (nats): the longest outage that may pass unnoticed, at most its duplicate_window (D002). After a longer one the lane waits for posthouse resolve."},
	}
}

// fateFields say what becomes of messages that cannot go their way.
func fateFields() []*Field {
	return []*Field{
		{Name: "order", Type: Word, Words: []string{string(OrderSource), string(OrderStrict), string(OrderPerKey), string(OrderNone)}, Default: "source", Inherit: true,
			Since: settingAside, Reload: RestartRoute,
			Doc: "source: as the source hands them out, only a refused message leaves its place; strict: nothing passes a message that the target refuses, one at a time where a target would take later ones, unless in_flight is written beside it (D007); per-key: one message of a key at a time, and what the target refuses holds its key in the spool while others pass; none: any order."},
		{Name: "key", Type: Expression, Since: promising, Reload: RestartRoute,
			Doc: "What order: per-key goes by, and the ordering key of the message at a target without a key of its own. Left out: the key it came with, else its group; messages without one share one."},
		{Name: "max_attempts", Type: Count, Unit: "refusals", Default: "5", Min: 1, Max: 1e6, Inherit: true, Since: settingAside, Reload: Live,
			Doc: "Refusals by the target after which a message is poison. An outage, a full target and a missing right never count: they are waited for."},
		{Name: "on_poison", Type: Word, Words: []string{string(PoisonDeadLetter), string(PoisonHold)}, Inherit: true, Since: settingAside, Reload: RestartRoute,
			Doc: "dead-letter: set a poison message aside and go on; hold: stop the lane at it, which tries again every minute until the target takes it or posthouse resolve decides. Left out: hold with order: strict, else dead-letter."},
		{Name: "dead_letter", Type: WordOrObject, Words: []string{"local"}, Of: deadLetterShape(), Default: "local", Inherit: true, Since: settingAside, Reload: RestartRoute,
			Example: "{ broker: NAME, queue: NAME }",
			Doc:     "Where messages are set aside, with the reason: local, in the directory of the spool, or one end. A message is let go only when its dead letter is durable."},
		{Name: "on_filter_error", Type: Word, Words: []string{string(FilterErrorDeadLetter), string(FilterErrorSkip), string(FilterErrorMatch), string(FilterErrorStop)}, Default: "dead-letter",
			Refused: map[string]string{"drop": "write skip", "deliver": "write match"},
			Inherit: true, Since: settingAside, Reload: RestartRoute,
			Doc: "What becomes of a message on which the filter, or an expression of set, fails: set aside, skipped as if the filter had said no, taken as if it had said yes (a header whose expression fails stays as it came), or (stop, since 0.5) given back, and the source is not read until the cause is mended and the route started again."},
		{Name: "unrouted", Type: Word, Words: []string{string(UnroutedDeadLetter), string(UnroutedLeave), string(UnroutedSkip)}, Inherit: true, Since: routing, Reload: RestartRoute,
			Doc: "What becomes of a message that no route of this source takes: set aside (reason unroutable), given back to the source after a pause, or settled and counted as filtered. Left out: dead-letter where several routes share the source, skip where this one is alone."},
		{Name: "expired", Type: Word, Words: []string{string(ExpiredDrop), string(ExpiredDeadLetter), string(ExpiredDeliver)}, Default: "drop", Inherit: true,
			Since: since, Reload: RestartRoute,
			Doc: "What becomes of a message whose expiry has passed: settled and counted, set aside, or delivered all the same. Time in the spool counts."},
	}
}

// deadLetterShape is a target without a name and a key: a dead letter stays as it came.
func makeDeadLetterShape() *Shape {
	out := &Shape{Name: "dead_letter", Doc: "Where messages are set aside, if not in the directory of the spool. It must exist, and no route of the file may read from it (D006)."}
	for _, f := range fixedPlaces(targetShape().Fields) {
		if !slices.Contains([]string{"name", "key", "weight", "priority"}, f.Name) {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

func routeSpoolShape() *Shape {
	return &Shape{Name: "route.spool", Doc: "What a route does with the spool. Each of its lanes has its own part of it.", Fields: []*Field{
		{Name: "mode", Type: Word, Words: []string{string(SpoolAuto), string(SpoolAlways), string(SpoolNever)}, Default: "auto", Since: spooling, Reload: RestartRoute,
			Doc: "auto: spool while the target is away or too slow; always: spool every message before it is sent; never: messages wait at their source. In a file without spool: it is never."},
		{Name: "max_size", Type: Size, Min: 1, Since: spooling, Reload: RestartRoute,
			Doc: "Bytes that each lane of the route may keep: at least one segment, and one message of max_message_size. Left out: as much as the spool has."},
		{Name: "max_age", Type: Duration, Min: 1, Since: spooling, Reload: RestartRoute,
			Doc: "Give up messages that have been spooled for longer. Left out: never. Less than 1h gets a warning (P004)."},
		{Name: "when_full", Type: Word, Words: fullWords(), Refused: dropping(), Since: spooling, Reload: RestartRoute, Doc: "As the key of the spool, for this route. Left out: as the spool says."},
		{Name: "slow_after", Type: Duration, Default: "30s", Min: 0.1, Max: 86400, Since: spooling, Reload: RestartRoute,
			Doc: "With auto: spool when the target has kept the source at its prefetch limit for this long."},
	}}
}

// limitFields are the limits of a route.
func limitFields() []*Field {
	return []*Field{
		{Name: "prefetch", Type: Count, Unit: "messages", Default: "256", Min: 1, Max: 65535, Inherit: true, Since: since, Reload: RestartRoute,
			Doc: "Received and not yet settled, per source."},
		{Name: "prefetch_size", Type: Size, Default: "64MiB", Min: 1 << 16, Max: 1 << 40, Inherit: true, Since: since, Reload: RestartRoute,
			Doc: "Bytes of them; one larger message still passes."},
		{Name: "in_flight", Type: Count, Unit: "messages", Default: "256", Min: 1, Max: 65535, Inherit: true, Since: since, Reload: RestartRoute,
			Doc: "Sent and not yet confirmed, per lane. Left out with order: strict: 1 at a target that takes later messages after refusing one. Left out with exactly-once into kafka: 4096, the most that go in one transaction."},
		{Name: "batch", Type: Object, Of: batchShape(), Inherit: true, Since: since, Reload: Live, Doc: "How many messages are sent together."},
		{Name: "retry", Type: Object, Of: retryShape(), Inherit: true, Since: since, Reload: Live,
			Doc: "The pause before a message is sent again, a changed one from the next pause on; nothing is given up because time passed."},
		{Name: "confirm_timeout", Type: Duration, Default: "30s", Min: 0.1, Max: 3600, Inherit: true, Since: since, Reload: RestartRoute,
			Doc: "Without an answer for this long the connection is given up, and the outcome counts as unknown."},
		{Name: "max_message_size", Type: Size, Default: "64MiB", Min: 1 << 10, Max: 1 << 31, Inherit: true, Since: since, Reload: RestartRoute,
			Doc: "Bytes of one message, headers included."},
		{Name: "max_rate", Type: Count, Unit: "messages per second", Min: 1, Max: 1e9, Inherit: true, Since: promising, Reload: Live,
			Doc: "The most that are sent, per lane, passed through or out of the spool. What comes faster waits at its source, or is spooled after slow_after as with a slow target. Left out: as fast as the target takes them."},
		{Name: "drain_rate", Type: Count, Unit: "messages per second", Min: 1, Max: 1e9, Inherit: true, Since: spooling, Reload: Live,
			Doc: "The most that are sent out of the spool, per lane. Left out: max_rate."},
		lossesField(),
		{Name: "max_hops", Type: Count, Unit: "hops", Default: "8", Min: 1, Max: 32, Inherit: true, Since: since, Reload: RestartRoute,
			Doc: "A message that has passed more routes than this is in a loop."},
	}
}

func batchShape() *Shape {
	return &Shape{Name: "batch", Doc: "How many messages are sent together.", Fields: []*Field{
		{Name: "count", Type: Count, Unit: "messages", Default: "64", Min: 1, Max: 65535, Since: since, Reload: Live, Doc: "At most this many."},
		{Name: "size", Type: Size, Default: "1MiB", Min: 1, Max: 1 << 30, Since: since, Reload: Live, Doc: "At most this many bytes; one larger message still passes."},
	}}
}

func retryShape() *Shape {
	return &Shape{Name: "retry", Doc: "The pause before a message is sent again.", Fields: []*Field{
		{Name: "delay", Type: Duration, Default: "500ms", Min: 0.001, Max: 3600, Since: since, Reload: Live, Doc: "The first pause."},
		{Name: "factor", Type: Ratio, Default: "2", Min: 1, Max: 100, Since: promising, Reload: Live, Doc: "By how much a pause is longer than the one before. 1: all are the same."},
		{Name: "max_delay", Type: Duration, Default: "1m", Min: 0.001, Max: 86400, Since: since, Reload: Live, Doc: "The longest pause."},
	}}
}

func makeSourceShape() *Shape {
	amqp, kafka, nats := []string{"amqp"}, []string{"kafka"}, []string{"nats"}
	return &Shape{Name: "from", Doc: "The source of a route.", Fields: append([]*Field{
		{Name: "broker", Type: BrokerRef, Required: true, Since: since, Reload: RestartRoute, Example: "broker: NAME", Doc: "A name of brokers:."},
		{Name: "queue", Type: Text, Place: true, Since: since, Reload: RestartRoute, Doc: "amqp and ibmmq: the queue to read."},
		{Name: "topic", Type: Text, Place: true, Since: since, Reload: RestartRoute, Doc: "amqp: the topic, with subscription; kafka: the topic."},
		{Name: "stream", Type: Text, Place: true, Since: since, Reload: RestartRoute, Doc: "nats: the JetStream stream."},
		{Name: "subscription", Type: Text, Kinds: amqp, Option: true, With: "topic", Since: since, Reload: RestartRoute, Doc: "Name of the durable, shared subscription of a topic."},
		{Name: adapters.KeyUniqueIDs, Type: Flag, Kinds: amqp, Option: true, Since: promising, Reload: RestartRoute,
			Doc: "true: the applications never use a message-id twice, so that a message given out again can be told from a new one. Left out: it cannot."},
		{Name: "start_at", Type: Word, Words: []string{"oldest", "newest"}, Kinds: kafka, Option: true, Since: since, Reload: RestartRoute,
			Doc: "Where a group without a stored position begins. Left out: as the broker says."},
		{Name: "group", Type: Text, Kinds: kafka, Option: true, Since: since, Reload: RestartRoute, Doc: "The whole name of the consumer group. Left out: GROUP.ROUTE of the broker's group."},
		{Name: "subject", Type: Text, Kinds: nats, Option: true, Since: since, Reload: RestartRoute, Doc: "Only messages of the stream with this subject; wildcards * and >."},
		{Name: "create", Type: Flag, Kinds: nats, Option: true, Since: since, Reload: RestartRoute, Doc: "Make the stream if it is absent. Left out: an absent stream is an error."},
		keepField(nats),
	}, mqSourceFields()...)}
}

func makeTargetShape() *Shape {
	nats := []string{"nats"}
	return &Shape{Name: "to", Doc: "A target of a route.", Fields: append([]*Field{
		{Name: "broker", Type: BrokerRef, Required: true, Since: since, Reload: RestartRoute, Example: "broker: NAME", Doc: "A name of brokers:."},
		{Name: "queue", Type: Text, Place: true, Since: since, Reload: RestartRoute, Doc: "amqp and ibmmq: the queue to write."},
		{Name: "topic", Type: TextOrObject, Of: dynamicShape(), Place: true, Since: since, Reload: RestartRoute, Example: dynamicExample, Doc: "amqp, ibmmq and kafka: the topic to write. kafka: or how it is computed for each message."},
		{Name: "subject", Type: TextOrObject, Of: dynamicShape(), Place: true, Since: since, Reload: RestartRoute, Example: dynamicExample,
			Doc: "nats: the subject to publish to, or how it is computed for each message; a stream must take it."},
		{Name: "name", Type: Name, Since: since, Reload: RestartRoute, Doc: "Name of the target in ROUTE/TARGET. Left out: the broker's name, then with -2, -3."},
		{Name: "key", Type: Expression, Since: since, Reload: RestartRoute, Doc: "The ordering key of the message there (Kafka: the record's key). Left out: the key it came with."},
		{Name: "create", Type: Flag, Kinds: nats, Option: true, Since: since, Reload: RestartRoute, Doc: "Make a stream for the subject if there is none. Left out: that is an error."},
		{Name: "stream", Type: Text, Kinds: nats, Option: true, Since: since, Reload: RestartRoute, Doc: "Name of the stream that create: makes. Left out: made of the subject."},
		keepField(nats),
	}, append(mqTargetFields(), shareFields()...)...)}
}
