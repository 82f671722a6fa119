// Package all is the list of the adapters that are built in.
package all

import (
	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/amqp"
	"github.com/posthouse/posthouse/adapters/ibmmq"
	"github.com/posthouse/posthouse/adapters/kafka"
	"github.com/posthouse/posthouse/adapters/nats"
)

// Adapters returns a new value of every adapter that has passed the conformance suite, in alphabetical order. One that a build
// has left out is among them (adapters.Optional).
func Adapters() []adapters.Adapter {
	return []adapters.Adapter{amqp.New(), ibmmq.New(), kafka.New(), nats.New()}
}
