package routes

import "github.com/posthouse/posthouse/adapters"

// converting is the release that brought the keys of header conversion.
const converting = "0.5"

// Words of the keys of header conversion.
const (
	userIDHeader = "header"
	userIDPass   = "pass"
	bodyRefuse   = "refuse"
	bodyConvert  = "convert"
	plainHeaders = "plain"
	lossesWarn   = "warn"
	lossesAccept = "accept"
)

// lossesField is a key of routes.
func lossesField() *Field {
	return &Field{Name: "losses", Type: Word, Words: []string{lossesWarn, lossesAccept}, Default: lossesWarn, Inherit: true, Since: converting, Reload: RestartRoute,
		Doc: "Whether check --strict warns when a target's broker does not act on what the source's messages may say, their expiry for instance, or refuses some of them (H001). accept: it is known, and explain ROUTE lists it."}
}

// headerFields say how messages of a broker are converted: the keys of the adapters, and those of the conversion itself.
func headerFields() []*Field {
	amqp, kafka, nats := []string{"amqp"}, []string{"kafka"}, []string{"nats"}
	return []*Field{
		{Name: "convention", Type: Word, Words: []string{plainHeaders, adapters.ConventionJMS}, Default: plainHeaders, Kinds: amqp, Option: true,
			Since: converting, Reload: RestartBroker,
			Doc: "What the programs at this broker are. jms: names of properties are identifiers (x-team is x_HYPHEN_team), values have the types of JMS, priorities end at 9, and bytes whose content type says text are a TextMessage."},
		{Name: "convention", Type: Word, Words: []string{plainHeaders, adapters.ConventionSpring, adapters.ConventionCloudEvents, adapters.ConventionConnect},
			Default: plainHeaders, Kinds: kafka, Option: true, Since: converting, Reload: RestartBroker,
			Doc: "What the programs at this broker are. spring: correlation id and reply address are Spring's kafka_correlationId and kafka_replyTopic, types are in spring_json_header_types; cloudevents: a message that is no CloudEvent becomes one in binary mode; connect: header values are text, as SimpleHeaderConverter reads them."},
		{Name: "nats_ttl", Type: Flag, Default: "false", Kinds: nats, Option: true, Since: converting, Reload: RestartBroker,
			Doc: "Give messages that expire a Nats-TTL, so that the stream removes them; it must allow that, one made by create: does. At least 1s."},
		{Name: "user_id", Type: Word, Words: []string{userIDHeader, userIDPass}, Default: userIDHeader, Kinds: amqp, Since: converting, Reload: RestartBroker,
			Doc: "pass: the user id that a message came with is written as the user-id here, where many brokers refuse another than the connection's. header: it travels in posthouse-user-id."},
		{Name: "body", Type: Word, Words: []string{bodyRefuse, bodyConvert}, Default: bodyRefuse, Kinds: amqp, Since: converting, Reload: RestartBroker,
			Doc: "What becomes of a body that this broker cannot take (maps, lists and typed values at RabbitMQ 3). refuse: a dead letter; convert: it goes as bytes in AMQP encoding, and is itself again behind the next repeater."},
		{Name: "keep_to", Type: Flag, Default: "false", Since: converting, Reload: RestartBroker,
			Doc: "Write the destination that a message had at its source into posthouse-to, as information."},
		{Name: "shed", Type: Flag, Default: "true", Since: converting, Reload: RestartBroker,
			Doc: "When Posthouse's own headers of one message exceed their budget (32 KiB, or what the broker takes), leave out footers, then annotations, then odd properties, with a count. false: such a message is a dead letter."},
	}
}
