package amqp

import (
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// plain is the convention of a broker for which none is written: AMQP 1.0 and nothing else.
const plain = "plain"

func checkConvention(c adapters.Config) error {
	v, ok := c.Options[keyConvention]
	if s := c.Options.String(keyConvention, ""); !ok || s == plain || s == adapters.ConventionJMS {
		return nil
	}
	return &adapters.OptionError{Key: keyConvention, Problem: fmt.Sprintf("unknown convention %q", fmt.Sprint(v)), Help: "write plain or jms"}
}

// conventional narrows what a broker holds to what JMS clients can read, if they are who sends and reads there: names that
// are identifiers, the property types of JMS 2.0 (section 3.5.4), priorities to 9, and text as text.
func conventional(h adapters.Headers, convention string) adapters.Headers {
	if convention != adapters.ConventionJMS {
		return h
	}
	h.Convention = convention
	h.Names, h.Underscore, h.MaxPriority = adapters.NameIdentifier, true, 9
	h.Types = adapters.Types(adapters.TNull, adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64, adapters.TF32,
		adapters.TF64, adapters.TString)
	return h
}

// Decode reads a message as the ends of this adapter do, before bridge.Restore; received is the time it came, in ms. It is for
// measurements and for tests of conversion that need no broker. The body shares its bytes with raw.
func Decode(raw []byte, received int64) (*adapters.Message, error) {
	m, _, err := decode(raw, received)
	return m, err
}

// Encode appends to b a message that bridge.Fit has fitted, as the ends of this adapter do for brokers of a dialect. It is for
// measurements and for tests of conversion that need no broker.
func Encode(b []byte, m *adapters.Message, dialect string) ([]byte, error) {
	p := profileOf(dialect)
	if dialect == "rabbitmq" {
		p = rabbitmq4()
	}
	return encode(b, m, p)
}
