package examples

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// troubled is a daemon whose routes all have something to mend, but for the one named healthy. Sources of routes with a
// bad target are streams of an embedded server, and targets of routes with a bad source are too.
const troubled = `version: 1
brokers:
  paris:     { type: amqp, addresses: ["amqp://ARTEMIS"], credentials: { user: posthouse, password: { env: PW } } }
  berlin:    { type: amqp, addresses: ["amqp://OTHER"], credentials: { user: posthouse, password: { env: PW } } }
  rabbit:    { type: amqp, addresses: ["amqp://RABBIT"], credentials: { user: posthouse, password: { env: PW } } }
  kafka:     { type: kafka, addresses: ["KAFKA"] }
  local:     { type: nats, embedded: { dir: DIR/js, listen: "LISTEN" } }
  artemis-password: { type: amqp, addresses: ["amqp://ARTEMIS"], credentials: { user: posthouse, password: { env: WRONG } } }
  rabbit-password:  { type: amqp, addresses: ["amqp://RABBIT"], credentials: { user: posthouse, password: { env: WRONG } } }
  kafka-password:   { type: kafka, addresses: ["SASL"], credentials: { user: posthouse, password: { env: WRONG }, mechanism: scram-sha-256 } }
  artemis-expired:  { type: amqp, addresses: ["ATLS"], tls: { ca_file: TLS/ca.pem, cert_file: TLS/expired.pem, key_file: TLS/expired.key } }
  kafka-expired:    { type: kafka, addresses: ["KTLS"], tls: { ca_file: TLS/ca.pem, cert_file: TLS/expired.pem, key_file: TLS/expired.key } }
  artemis-unknown:  { type: amqp, addresses: ["ATLS"], tls: { ca_file: TLS/stranger.pem, cert_file: TLS/client.pem, key_file: TLS/client.key } }
  kafka-unknown:    { type: kafka, addresses: ["KTLS"], tls: { ca_file: TLS/stranger.pem, cert_file: TLS/client.pem, key_file: TLS/client.key } }
  artemis-stranger: { type: amqp, addresses: ["ATLS"], tls: { ca_file: TLS/ca.pem, cert_file: TLS/stranger.pem, key_file: TLS/stranger.key } }
  kafka-stranger:   { type: kafka, addresses: ["KTLS"], tls: { ca_file: TLS/ca.pem, cert_file: TLS/stranger.pem, key_file: TLS/stranger.key } }
routes:
  - { name: healthy, from: { broker: paris, queue: QUEUE }, to: { broker: berlin, queue: QUEUE } }
  - { name: artemis-password, from: { broker: local, stream: S1, create: true }, to: { broker: artemis-password, queue: QUEUE } }
  - { name: rabbit-password, share: true, from: { broker: rabbit-password, queue: QUEUE }, to: { broker: local, subject: T2, create: true } }
  - { name: kafka-password, from: { broker: kafka-password, topic: QUEUE }, to: { broker: local, subject: T3, create: true } }
  - { name: unknown-queue, from: { broker: local, stream: S4, create: true }, to: { broker: rabbit, queue: QUEUE } }
  - { name: unknown-source-queue, share: true, from: { broker: rabbit, queue: QUEUE }, to: { broker: local, subject: T4, create: true } }
  - { name: unknown-topic, from: { broker: local, stream: S5, create: true }, to: { broker: kafka, topic: QUEUE } }
  - { name: unknown-source-topic, from: { broker: kafka, topic: QUEUE }, to: { broker: local, subject: T5, create: true } }
  - { name: unknown-stream, from: { broker: local, stream: NOWHERE }, to: { broker: local, subject: T6, create: true } }
  - { name: unknown-subject, from: { broker: local, stream: S7, create: true }, to: { broker: local, subject: nowhere } }
  - { name: denied-source, from: { broker: paris, queue: denied.queue }, to: { broker: local, subject: T8, create: true } }
  - { name: denied-target, from: { broker: local, stream: S9, create: true }, to: { broker: paris, queue: denied.queue } }
  - { name: artemis-expired, from: { broker: local, stream: S10, create: true }, to: { broker: artemis-expired, queue: QUEUE } }
  - { name: kafka-expired, from: { broker: local, stream: S11, create: true }, to: { broker: kafka-expired, topic: QUEUE } }
  - { name: artemis-unknown, share: true, from: { broker: artemis-unknown, queue: QUEUE }, to: { broker: local, subject: T12, create: true } }
  - { name: kafka-unknown, from: { broker: kafka-unknown, topic: QUEUE }, to: { broker: local, subject: T13, create: true } }
  - { name: artemis-stranger, share: true, from: { broker: artemis-stranger, queue: QUEUE }, to: { broker: local, subject: T14, create: true } }
  - { name: kafka-stranger, from: { broker: kafka-stranger, topic: QUEUE }, to: { broker: local, subject: T15, create: true } }
admin: { listen: 127.0.0.1:0 }
`

// reasons is what /readyz?verbose must say of each of them, in words that an operator can act on.
func reasons() map[string]string {
	return map[string]string{
		"artemis-password":     `target artemis-password/QUEUE is blocked since .*the broker refused the login \(plain, user "posthouse"\)`,
		"rabbit-password":      `source rabbit-password/QUEUE is blocked since .*(refused the login|wrong credentials)`,
		"kafka-password":       `source kafka-password/QUEUE is blocked since .*(refused user and password|wrong user, password)`,
		"unknown-queue":        `target rabbit/QUEUE is blocked since .*no queue`,
		"unknown-source-queue": `source rabbit/QUEUE is blocked since .*no queue`,
		"unknown-topic":        `target kafka/QUEUE is blocked since .*no such topic`,
		"unknown-source-topic": `source kafka/QUEUE is blocked since .*no such topic`,
		"unknown-stream":       `source local/NOWHERE is blocked since .*no such stream`,
		"unknown-subject":      `target local/nowhere is blocked since .*no stream takes the subject nowhere`,
		"denied-source":        `source paris/denied.queue is blocked since .*AMQ229213|source paris/denied.queue is blocked since .*not.*(permission|authoriz)`,
		"denied-target":        `target paris/denied.queue is blocked since .*(permission|authoriz)`,
		"artemis-expired":      `target artemis-expired/QUEUE is blocked since .*our client certificate .*expired on 20`,
		"kafka-expired":        `target kafka-expired/QUEUE is blocked since .*certificate.*(expired|valid only)`,
		"artemis-unknown":      `source artemis-unknown/QUEUE is blocked since .*not signed by a CA we know: set tls.ca_file`,
		"kafka-unknown":        `source kafka-unknown/QUEUE is blocked since .*signed by nobody in tls.ca_file`,
		"artemis-stranger":     `source artemis-stranger/QUEUE is blocked since .*client certificate`,
		"kafka-stranger":       `source kafka-stranger/QUEUE is blocked since .*our certificate`,
	}
}

// trouble writes the file and returns it with its queue's name and the address of its embedded server.
func trouble(t *testing.T) (file, queue, listen string) {
	t.Helper()
	queue, listen = "trouble"+unique(), freePort(t)
	paris, berlin := broker.Need(t, broker.Artemis, broker.EnvArtemisTLS, broker.EnvTLSDir), broker.Need(t, broker.Artemis2)
	file = written(t, troubled, "ARTEMIS", hostPort(t, paris), "OTHER", hostPort(t, berlin),
		"RABBIT", hostPort(t, broker.Need(t, broker.RabbitMQ4)), "KAFKA", broker.Need(t, broker.Kafka, broker.EnvKafkaSASL, broker.EnvKafkaTLS),
		"ATLS", os.Getenv(broker.EnvArtemisTLS), "KTLS", os.Getenv(broker.EnvKafkaTLS), "SASL", os.Getenv(broker.EnvKafkaSASL),
		"TLS/", os.Getenv(broker.EnvTLSDir)+"/", "DIR", t.TempDir(), "LISTEN", listen, "QUEUE", queue)
	return file, queue, listen
}

// TestBlockedRoutesSayWhy: each route whose broker refuses it says so in the broker's reason; the messages that it should
// carry stay at their source, and the healthy route does not notice.
func TestBlockedRoutesSayWhy(t *testing.T) {
	file, queue, listen := trouble(t)
	from, to := broker.Need(t, broker.Artemis), broker.Need(t, broker.Artemis2)
	load(t, from, queue, volume)
	emptyAtEnd(t, to, queue)
	d := start(t, []string{"-c", file}, testPassword(), "WRONG=canary-wrong")
	for name, words := range reasons() {
		line := regexp.MustCompile(`(?m)^route ` + name + ": " + strings.ReplaceAll(words, "QUEUE", queue))
		d.await(name+" says "+line.String(), func() bool { return line.MatchString(d.get("/readyz?verbose")) })
	}
	if text := d.get("/readyz?verbose"); !strings.HasPrefix(text, "degraded\n") || strings.Contains(text, "route healthy") {
		t.Errorf("readyz: %s", text)
	}
	js := dialNATS(t, listen)
	for _, subject := range []string{"S1", "S4", "S5", "S7", "S9", "S10", "S11"} {
		if _, err := js.PublishMsg(testContext(t), nats.NewMsg(subject)); err != nil {
			t.Fatal(err)
		}
	}
	l := newLedger(t)
	l.takeAll(volume, func() { l.take(to, queue) })
	for _, stream := range []string{"S1", "S4", "S5", "S7", "S9", "S10", "S11"} {
		s, err := js.Stream(testContext(t), stream)
		if err != nil || s.CachedInfo().State.Msgs != 1 {
			t.Errorf("stream %s does not keep its message: %v", stream, err)
		}
	}
	if n := d.metric("posthouse_lane_unclassified_errors_total"); n != 0 {
		t.Errorf("%d errors without a kind", n)
	}
	t.Log(d.get("/readyz?verbose"))
	d.stop()
}

// TestCheckConnect: one line for each broker, ok or with its reason; nothing of it moves a message.
func TestCheckConnect(t *testing.T) {
	file, queue, _ := trouble(t)
	cmd := exec.CommandContext(testContext(t), binary, "check", "--connect", file)
	cmd.Env = append(os.Environ(), testPassword(), "WRONG=canary-wrong")
	out, _ := cmd.Output() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	for _, line := range []string{
		`^berlin: ok, .* 2\.55\.0 at amqp://127`, `^paris: denied: .*denied.queue.*permission`, `^local: ok, embedded`,
		`^kafka: not-found: .*` + queue + `.*no such topic`, `^rabbit: not-found: .*no queue`,
		`^artemis-password: denied: .*refused the login`, `^rabbit-password: denied: .*(refused the login|wrong credentials)`,
		`^kafka-password: denied: .*(refused user and password|wrong user, password)`,
		`^artemis-expired: denied: .*expired on 20`, `^kafka-expired: denied: .*certificate.*(expired|valid only)`,
		`^artemis-unknown: denied: .*tls.ca_file`, `^kafka-unknown: denied: .*tls.ca_file`,
		`^artemis-stranger: denied: .*certificate`, `^kafka-stranger: denied: .*certificate`,
	} {
		if !regexp.MustCompile(`(?m)` + line).Match(out) {
			t.Errorf("no line %s", line)
		}
	}
	t.Logf("%s", out)
}
