package kafka

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// plain is the convention of a broker for which none is written: headers are what they are.
const plainConvention = "plain"

func conventions() []string {
	return []string{plainConvention, adapters.ConventionSpring, adapters.ConventionCloudEvents, adapters.ConventionConnect}
}

func usesSpring(c adapters.Config) bool {
	return c.Options.String(keyConvention, plainConvention) == adapters.ConventionSpring
}

func checkConvention(o adapters.Options) error {
	v, ok := o[keyConvention]
	if !ok || slices.Contains(conventions(), o.String(keyConvention, "")) {
		return nil
	}
	return &adapters.OptionError{Key: keyConvention, Problem: fmt.Sprintf("unknown convention %q", fmt.Sprint(v)),
		Help: "write one of " + strings.Join(conventions(), ", ")}
}

// consumed is a record as the client library gives it out.
func consumed(m *sarama.ConsumerMessage) wire {
	w := wire{key: m.Key, value: m.Value, time: m.Timestamp}
	if len(m.Headers) > 0 {
		w.headers = make([]sarama.RecordHeader, len(m.Headers))
		for i, h := range m.Headers {
			w.headers[i] = *h
		}
	}
	return w
}

// produced is a record as the client library takes it, without a topic.
func (w *wire) produced() *sarama.ProducerMessage {
	p := &sarama.ProducerMessage{Headers: w.headers, Timestamp: w.time}
	if w.key != nil {
		p.Key = sarama.ByteEncoder(w.key)
	}
	if w.value != nil {
		p.Value = sarama.ByteEncoder(w.value)
	}
	return p
}

// Decode reads a record as the ends of this adapter do, before bridge.Restore. It is for measurements and for tests of
// conversion that need no broker. The message takes the slices of r over.
func Decode(r *sarama.ConsumerMessage, convention string) *adapters.Message {
	m := &adapters.Message{}
	decode(consumed(r), m, convention == adapters.ConventionSpring)
	return m
}

// Encode makes a record of a message that bridge.Fit has fitted, as the ends of this adapter do, at the time now. It is for
// measurements and for tests of conversion that need no broker.
func Encode(m *adapters.Message, convention string, now time.Time) *sarama.ProducerMessage {
	w := encode(m, now, convention == adapters.ConventionSpring)
	return w.produced()
}
