package examples

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// chains carry from one queue of Artemis to another, over all other brokers, there and back.
const chains = `version: 1
spool: { dir: SPOOL }
brokers:
  paris: { type: amqp, dialect: artemis, convention: jms, user_id: pass, addresses: ["ARTEMIS"], credentials: { user: USER, password: { env: PASSWORD } } }
  rabbit: { type: amqp, dialect: rabbitmq, addresses: ["RABBIT"], credentials: { user: USER, password: { env: PASSWORD } } }
  kafka: { type: kafka, addresses: ["KAFKA"], group: NAME }
  nats: { type: nats, embedded: { dir: JETSTREAM } }
defaults: { route: { losses: accept, order: strict } }
routes:
  - { name: a1, from: { broker: paris, queue: NAME.a }, to: { broker: kafka, topic: NAME.a } }
  - { name: a2, from: { broker: kafka, topic: NAME.a }, to: { broker: rabbit, queue: NAME.a } }
  - { name: a3, from: { broker: rabbit, queue: NAME.a }, to: { broker: nats, subject: a, create: true, stream: A } }
  - { name: a4, from: { broker: nats, stream: A, subject: a, create: true }, to: { broker: paris, queue: NAME.a.end } }
  - { name: b1, from: { broker: paris, queue: NAME.b }, to: { broker: nats, subject: b, create: true, stream: B } }
  - { name: b2, from: { broker: nats, stream: B, subject: b, create: true }, to: { broker: rabbit, queue: NAME.b } }
  - { name: b3, from: { broker: rabbit, queue: NAME.b }, to: { broker: kafka, topic: NAME.b } }
  - { name: b4, from: { broker: kafka, topic: NAME.b }, to: { broker: paris, queue: NAME.b.end } }
admin: { listen: 127.0.0.1:0 }
`

// TestJMSOverEveryBroker: a program that uses JMS sends messages of every kind, and one that receives them behind Kafka,
// RabbitMQ and NATS reads the same, whichever of them came first.
func TestJMSOverEveryBroker(t *testing.T) {
	from, kafka := broker.Need(t, broker.Artemis), broker.Need(t, broker.Kafka)
	rabbit := broker.Need(t, broker.RabbitMQ4, broker.EnvRabbitMQ4Admin)
	name := "jms" + unique()
	admin, err := broker.NewRabbitAdmin(os.Getenv(broker.EnvRabbitMQ4Admin))
	if err != nil {
		t.Fatal(err)
	}
	for _, chain := range []string{".a", ".b"} {
		if err := admin.DeclareQueue(testContext(t), name+chain, "quorum", nil); err != nil {
			t.Fatal(err)
		}
		createTopic(t, kafka, name+chain)
		deleteTopicAtEnd(t, kafka, name+chain)
		emptyAtEnd(t, from, name+chain, name+chain+".end")
	}
	dir := t.TempDir()
	file := written(t, chains, "SPOOL", dir+"/spool", "JETSTREAM", dir+"/js", "ARTEMIS", host(t, from), "RABBIT", host(t, rabbit),
		"KAFKA", kafka, "USER", broker.User, "NAME", name)
	jms := func(args ...string) string { return broker.RunJMS(t, "testdata/JmsPeer.java", args...) }
	d := run(t, file, "PASSWORD="+broker.Password)
	for _, chain := range []string{".a", ".b"} {
		sent := jms("send", host(t, from), broker.User, broker.Password, name+chain)
		got := jms("receive", host(t, from), broker.User, broker.Password, name+chain+".end", "6")
		sameLines(t, chain, sent, got)
	}
	d.stop()
}

// sameLines compares what two programs have printed, but for what a repeater and the last broker say of themselves.
func sameLines(t *testing.T, chain, sent, got string) {
	t.Helper()
	want, have := telling(sent), telling(got)
	for _, l := range want {
		if !slices.Contains(have, l) {
			t.Errorf("%s: sent, and did not arrive: %s", chain, l)
		}
	}
	for _, l := range have {
		if !slices.Contains(want, l) {
			t.Errorf("%s: arrived, and was not sent: %s", chain, l)
		}
	}
	if len(want) < 100 {
		t.Errorf("%s: only %d things were said", chain, len(want))
	}
}

func telling(out string) (lines []string) {
	for l := range strings.Lines(out) {
		l = strings.TrimSuffix(l, "\n")
		_, name, _ := strings.Cut(l, " ")
		if hop := []string{"property.posthouse_", "property.JMSXDeliveryCount ", "property._AMQ_DUPL_ID "}; slices.ContainsFunc(hop, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		lines = append(lines, l)
	}
	return lines
}
