package bridge

import (
	"errors"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/amqp"
	"github.com/posthouse/posthouse/adapters/amqp091"
	"github.com/posthouse/posthouse/adapters/ibmmq"
	"github.com/posthouse/posthouse/adapters/kafka"
	"github.com/posthouse/posthouse/adapters/mqtt"
	"github.com/posthouse/posthouse/adapters/nats"
	"github.com/posthouse/posthouse/adapters/stomp"
)

var errBadFrame = errors.New("the frame cannot be read")

// protocols are the names under which tests know the ends: a protocol, and behind a dash its dialect or convention.
func protocols() []string {
	return []string{"amqp", "amqp-plain", "amqp-mq", "amqp-rabbitmq", "amqp-rabbitmq3", "amqp-servicebus", "amqp-qpid", "amqp-jms",
		"kafka", "kafka-spring", "kafka-cloudevents", "kafka-connect", "nats", "nats-ttl", "mq", "mq-context", "amqp091", "mqtt",
		"stomp", "stomp-artemis", "stomp-rabbitmq"}
}

// dialectOf is the option dialect behind a name.
func dialectOf(name string) string {
	return map[string]string{"amqp": "artemis", "amqp-plain": "generic", "amqp-mq": "ibmmq", "amqp-short": "ibmmq", "amqp-rabbitmq": "rabbitmq-4",
		"amqp-rabbitmq3": "rabbitmq-3", "amqp-servicebus": "servicebus", "amqp-qpid": "qpid", "amqp-jms": "artemis"}[name]
}

func conventionOf(name string) string {
	return map[string]string{"amqp-jms": "jms", "kafka-spring": "spring", "kafka-cloudevents": "cloudevents", "kafka-connect": "connect"}[name]
}

// headersOf is what the adapter of a name claims.
func headersOf(name string) adapters.Headers {
	options := adapters.Options{}
	if c := conventionOf(name); c != "" {
		options["convention"] = c
	}
	if d := dialectOf(name); d != "" {
		options["dialect"] = d
		h := amqp.New().Capabilities(adapters.Config{Options: options}).Headers
		if name == "amqp-short" { // a limit that loses long annotations, so only vectors use it
			h.MaxName = 60
		}
		return h
	}
	switch name {
	case "kafka", "kafka-spring", "kafka-cloudevents", "kafka-connect":
		return kafka.New().Capabilities(adapters.Config{Options: options}).Headers
	case "nats", "nats-ttl":
		options["nats_ttl"] = name == "nats-ttl"
		return nats.New().Capabilities(adapters.Config{Options: options}).Headers
	case "mq", "mq-context":
		return ibmmq.Headers(ibmmq.Options{SetContext: name == "mq-context"})
	case "amqp091":
		return amqp091.Headers()
	case "mqtt":
		return mqtt.Headers()
	}
	return stomp.Headers(stompDialect(name))
}

func stompDialect(name string) stomp.Dialect {
	return map[string]stomp.Dialect{"stomp-artemis": stomp.Artemis, "stomp-rabbitmq": stomp.RabbitMQ}[name]
}

// overWire encodes m at baseTime for the end called name and decodes it again at received.
func overWire(m *adapters.Message, name string, received int64) (*adapters.Message, error) {
	if dialect := dialectOf(name); dialect != "" {
		raw, err := amqp.Encode(nil, m, dialect)
		if err != nil {
			return nil, err
		}
		return amqp.Decode(raw, received)
	}
	switch name {
	case "kafka", "kafka-spring", "kafka-cloudevents", "kafka-connect":
		d := kafka.Decode(asConsumed(kafka.Encode(m, conventionOf(name), time.UnixMilli(baseTime))), conventionOf(name))
		d.Received = received
		return d, nil
	case "nats", "nats-ttl":
		h, err := nats.Encode(m, name == "nats-ttl")
		if err != nil {
			return nil, err
		}
		d := nats.Decode(h, m.Body.Data)
		d.Received = received
		return d, nil
	case "mq", "mq-context":
		w, err := ibmmq.Encode(m, ibmmq.Options{SetContext: name == "mq-context"})
		return ibmmq.Decode(w, received), err
	case "amqp091":
		return amqp091.Decode(amqp091.Encode(m), received), nil
	case "mqtt":
		return mqtt.Decode(mqtt.Encode(m), received), nil
	}
	d := stompDialect(name)
	w := stomp.Encode(m, d)
	hs, _, ok := stomp.ParseHeaders(string(w.AppendHeaders(nil)))
	if !ok {
		return nil, errBadFrame
	}
	return stomp.Decode(stomp.Wire{Headers: hs, Body: w.Body}, d, received), nil
}

// asConsumed is a record as a consumer gets it.
func asConsumed(p *sarama.ProducerMessage) *sarama.ConsumerMessage {
	c := &sarama.ConsumerMessage{Timestamp: p.Timestamp}
	if p.Key != nil {
		c.Key, _ = p.Key.Encode()
	}
	if p.Value != nil {
		c.Value, _ = p.Value.Encode()
	}
	for i := range p.Headers {
		c.Headers = append(c.Headers, &p.Headers[i])
	}
	return c
}
