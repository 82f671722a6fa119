package examples

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// deleteTopicAtEnd removes a topic of the shared Kafka.
func deleteTopicAtEnd(t *testing.T, address, topic string) {
	t.Cleanup(func() {
		c, err := kgo.NewClient(kgo.SeedBrokers(address))
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, err := kadm.NewClient(c).DeleteTopics(testContext(t), topic); err != nil {
			t.Errorf("delete topic %s: %v", topic, err)
		}
	})
}

// TestClientCertificates: both brokers are reached over TLS and know the daemon by its certificate alone.
func TestClientCertificates(t *testing.T) {
	from, to := broker.Need(t, broker.Artemis, broker.EnvArtemisTLS, broker.EnvTLSDir), broker.Need(t, broker.Kafka, broker.EnvKafkaTLS)
	name := "tls" + unique()
	file := written(t, `version: 1
brokers:
  paris: { type: amqp, addresses: ["ARTEMIS"], credentials: { mechanism: external } }
  kafka: { type: kafka, addresses: ["KAFKA"], group: NAME }
defaults:
  broker: { tls: { ca_file: TLS/ca.pem, cert_file: TLS/client.pem, key_file: TLS/client.key, min_version: "1.3" } }
routes:
  - { name: out, from: { broker: paris, queue: NAME }, to: { broker: kafka, topic: NAME } }
  - { name: back, from: { broker: kafka, topic: NAME }, to: { broker: paris, queue: NAME-back } }
admin: { listen: 127.0.0.1:0 }
`, "ARTEMIS", os.Getenv(broker.EnvArtemisTLS), "KAFKA", os.Getenv(broker.EnvKafkaTLS), "TLS/", os.Getenv(broker.EnvTLSDir)+"/", "NAME", name)
	createTopic(t, to, name)
	deleteTopicAtEnd(t, to, name)
	emptyAtEnd(t, from, name, name+"-back")
	if out := command(t, nil, "check", "--connect", file); !strings.Contains(out, "paris: ok") || !strings.Contains(out, "kafka: ok") {
		t.Errorf("check --connect: %s", out)
	}
	paris := dialArtemis(t, from)
	sent := orders(volume)
	paris.send(name, sent)
	d := run(t, file)
	sameOrders(t, paris.receive(name+"-back", volume), sent)
	d.stop()
}

func orders(n int) []*amqp.Message {
	var ms []*amqp.Message
	for i := range n {
		ms = append(ms, order(i))
	}
	return ms
}

// TestRabbitMQToNATSAndBack: the dialect is not written, it is known from what the broker says of itself. What NATS has
// no field for comes back as it was.
func TestRabbitMQToNATSAndBack(t *testing.T) {
	address := broker.Need(t, broker.RabbitMQ4, broker.EnvRabbitMQ4Admin)
	admin, err := broker.NewRabbitAdmin(os.Getenv(broker.EnvRabbitMQ4Admin))
	if err != nil {
		t.Fatal(err)
	}
	name := "pair" + unique()
	for queue, kind := range map[string]string{name: "quorum", name + "-back": "classic"} {
		if err := admin.DeclareQueue(testContext(t), queue, kind, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := admin.DeleteQueue(testContext(t), queue); err != nil {
				t.Error(err)
			}
		})
	}
	file := written(t, `version: 1
brokers:
  rabbit: { type: amqp, addresses: ["RABBIT"], credentials: { user: posthouse, password: { env: PW } } }
  local:  { type: nats, embedded: { dir: DIR } }
routes:
  - { name: out, from: { broker: rabbit, queue: NAME }, to: { broker: local, subject: orders.new, stream: ORDERS, create: true } }
  - { name: back, from: { broker: local, stream: ORDERS, subject: orders.new, create: true }, to: { broker: rabbit, queue: NAME-back } }
admin: { listen: 127.0.0.1:0 }
`, "RABBIT", host(t, address), "DIR", t.TempDir(), "NAME", name)
	rabbit := dialArtemis(t, address)
	sent := orders(volume)
	rabbit.send("/queues/"+name, sent)
	d := run(t, file, testPassword())
	sameOrders(t, rabbit.receive("/queues/"+name+"-back", volume), sent)
	for _, route := range []string{"out", "back"} {
		d.await("figures of "+route, func() bool { return d.forwarded(route) == volume })
	}
	d.stop()
	d.await("an empty source", func() bool { // the figures of the broker come late
		ready, unsettled, err := admin.Count(testContext(t), name)
		return err == nil && ready == 0 && unsettled == 0
	})
}

// tooMuch is more bytes than Kafka and an embedded server take, 1 MiB and 8 MiB.
const tooMuch = 9 << 20

// TestTooLargeForTheTarget: a message that the target cannot take is neither lost nor in the way of the others.
func TestTooLargeForTheTarget(t *testing.T) {
	from, kafka := broker.Need(t, broker.Artemis), broker.Need(t, broker.Kafka)
	name := "large" + unique()
	file := written(t, `version: 1
brokers:
  paris: { type: amqp, addresses: ["PARIS"], credentials: { user: posthouse, password: { env: PW } } }
  kafka: { type: kafka, addresses: ["KAFKA"] }
  local: { type: nats, embedded: { dir: DIR, listen: "LISTEN" } }
routes:
  - { name: to-kafka, from: { broker: paris, queue: NAME-kafka }, to: { broker: kafka, topic: NAME } }
  - { name: to-nats, from: { broker: paris, queue: NAME-nats }, to: { broker: local, subject: orders, stream: ORDERS, create: true } }
admin: { listen: 127.0.0.1:0 }
`, "PARIS", host(t, from), "KAFKA", kafka, "NAME", name, "DIR", t.TempDir(), "LISTEN", freePort(t))
	createTopic(t, kafka, name)
	deleteTopicAtEnd(t, kafka, name)
	emptyAtEnd(t, from, name+"-kafka", name+"-nats")
	paris := dialArtemis(t, from)
	for _, queue := range []string{name + "-kafka", name + "-nats"} {
		var ms []*amqp.Message
		for i := range 20 {
			m := amqp.NewMessage(fmt.Append(nil, i))
			if i%10 == 5 {
				m = amqp.NewMessage(make([]byte, tooMuch))
			}
			m.Header = &amqp.MessageHeader{Durable: true}
			ms = append(ms, m)
		}
		paris.send(queue, ms)
	}
	d := run(t, file, testPassword())
	for _, route := range []string{"to-kafka", "to-nats"} {
		label := fmt.Sprintf("route=%q", route)
		d.await("18 messages through "+route, func() bool { return d.forwarded(route) == 18 })
		d.await("two messages set aside by "+route, func() bool {
			return d.metric("posthouse_route_refused_messages_total", label, `reason="too-large"`) >= 2
		})
	}
	if text := d.get("/readyz?verbose"); !strings.HasPrefix(text, "ok") {
		t.Errorf("a message too large is no trouble of the link: %s", text)
	}
	if rs := consume(t, kafka, name, 18); len(rs) != 18 {
		t.Errorf("%d records", len(rs))
	}
	d.stop()
	for _, queue := range []string{name + "-kafka", name + "-nats"} {
		for _, m := range paris.receive(queue, 2) {
			if len(m.GetData()) != tooMuch {
				t.Errorf("%s: a message of %d bytes came back", queue, len(m.GetData()))
			}
		}
	}
}
