package broker

import (
	"context"
	"fmt"
	"strings"
)

// All returns the names of all brokers that Start knows, in the order of summaries.
func All() []string { return []string{Artemis, Artemis2, Kafka, RabbitMQ4, RabbitMQ3} }

// Variable is the environment variable with the address of the named broker.
func Variable(name string) string { return "POSTHOUSE_TEST_" + strings.ToUpper(name) }

// Start starts the named broker with its data in dir, as the Start function of its kind does.
func Start(ctx context.Context, name, dir string, o Options) (*Broker, error) {
	o.Name = name
	switch name {
	case Artemis, Artemis2:
		return StartArtemis(ctx, dir, o)
	case Kafka:
		return StartKafka(ctx, dir, o)
	case RabbitMQ4:
		return StartRabbitMQ(ctx, dir, 4, o)
	case RabbitMQ3:
		return StartRabbitMQ(ctx, dir, 3, o)
	}
	return nil, unknown(name)
}

// Fetch downloads what Start of the named broker needs, unless it is in the cache.
func Fetch(ctx context.Context, name string, o Options) error {
	o, err := o.withCache(name)
	if err != nil {
		return err
	}
	switch name {
	case Artemis, Artemis2:
		if _, err = artemisLibraries(ctx, o); err == nil && name == Artemis {
			_, err = jmsLibraries(ctx, o)
		}
	case Kafka:
		_, err = kafkaLibraries(ctx, o)
	case RabbitMQ4:
		_, err = rabbitRoot(ctx, o, 4)
	case RabbitMQ3:
		_, err = rabbitRoot(ctx, o, 3)
	default:
		err = unknown(name)
	}
	return err
}

// Fix says, for the summary, what to do when the named broker is missing.
func Fix(name string) string {
	how, form := "make brokers (needs Java 17 or newer and Maven)", "amqp://user:password@host:port"
	switch name {
	case Kafka:
		form = "host:port"
	case JMS:
		how, form = "make brokers (needs a JDK 17 or newer and Maven)", "DIRECTORY-OF-JARS"
	case Promtool:
		how, form = "make brokers (needs apt-get)", "PATH-OF-PROMTOOL"
	case Chromium:
		how, form = "make brokers as root (Debian's package chromium)", "PATH-OF-CHROMIUM"
	case RabbitMQ4, RabbitMQ3:
		how = "make brokers as root (needs debootstrap, which root on Debian gets by itself)"
	}
	return fmt.Sprintf("%s, or set %s=%s", how, Variable(name), form)
}

func unknown(name string) error {
	return fmt.Errorf("unknown broker %q (known: %s)", name, strings.Join(All(), ", "))
}
