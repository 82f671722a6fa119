package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// canary is the beginning of every secret of these tests. It may show nowhere.
const canary = "canary-"

// guarded is a JetStream server that wants a user and a password, with a stream ORDERS that takes orders.* .
func guarded(t *testing.T, password string) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(),
		Username: "posthouse", Password: password, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	conn, err := nats.Connect(s.ClientURL(), nats.UserInfo("posthouse", password))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.*"}}); err != nil {
		t.Fatal(err)
	}
	return s.Addr().String()
}

// secretive has a right password by file, and wrong ones and a wrong token by variable, for every kind of broker.
const secretive = `version: 1
brokers:
  right:   { type: nats, addresses: ["nats://GUARDED"], credentials: { user: posthouse, password: { file: FILE } } }
  nats:    { type: nats, addresses: ["nats://GUARDED"], credentials: { user: posthouse, password: { env: WRONG } } }
  token:   { type: nats, addresses: ["nats://GUARDED"], credentials: { token: { env: TOKEN } } }
  artemis: { type: amqp, addresses: ["amqp://ARTEMIS"], credentials: { user: posthouse, password: { env: WRONG } } }
  rabbit:  { type: amqp, addresses: ["amqp://RABBIT"], credentials: { user: posthouse, password: { env: WRONG } } }
  plain:   { type: kafka, addresses: ["SASL"], credentials: { user: posthouse, password: { env: WRONG } } }
  scram:   { type: kafka, addresses: ["SASL"], credentials: { user: posthouse, password: { env: WRONG }, mechanism: scram-sha-512 } }
  bearer:  { type: kafka, addresses: ["SASL"], credentials: { token: { env: TOKEN } } }
  nobody:  { type: amqp, addresses: ["amqp://DEAD"], credentials: { user: posthouse, password: { env: WRONG } } }
routes:
  - { name: right, from: { broker: right, stream: ORDERS, subject: orders.a }, to: { broker: right, subject: orders.b } }
  - { name: nats, from: { broker: nats, stream: ORDERS }, to: { broker: token, subject: orders.b } }
  - { name: amqp, from: { broker: artemis, queue: q }, to: { broker: rabbit, queue: q } }
  - { name: kafka, from: { broker: plain, topic: q }, to: { broker: scram, topic: r } }
  - { name: bearer, from: { broker: bearer, topic: q }, to: { broker: nobody, queue: q } }
admin: { listen: 127.0.0.1:0, log: { level: debug }, tracing: { endpoint: "COLLECTOR" } }
`

// TestSecretsShowNowhere: not in logs at level debug, not in status, metrics, checks, nor in what brokers say to a wrong
// password, nor on the command line of the process.
func TestSecretsShowNowhere(t *testing.T) {
	broker.Need(t, broker.Kafka, broker.EnvKafkaSASL)
	right := canary + "right-password"
	address := guarded(t, right)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(right+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spans := newTracingSystem(t)
	file := written(t, secretive, "GUARDED", address, "FILE", secret, "DEAD", freePort(t),
		"ARTEMIS", hostPort(t, broker.Need(t, broker.Artemis)), "RABBIT", hostPort(t, broker.Need(t, broker.RabbitMQ4)),
		"SASL", os.Getenv(broker.EnvKafkaSASL), "COLLECTOR", spans.url)
	env := []string{"WRONG=" + canary + "wrong-password", "TOKEN=" + canary + "token"}
	hidden := func(what, text string) {
		t.Helper()
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("%s shows a secret: …%s", what, text[max(0, at-200):min(len(text), at+40)])
		}
		if text == "" {
			t.Errorf("%s is empty", what)
		}
	}

	d := start(t, []string{"-c", file}, env...)
	for _, end := range []string{"source nats/ORDERS", "target token/orders.b", "source artemis/q", "target rabbit/q",
		"source plain/q", "target scram/r", "source bearer/q"} {
		d.await(end+" is blocked", func() bool { return strings.Contains(d.get("/readyz?verbose"), end+" is blocked since") })
	}
	d.await("the dead broker is down", func() bool { return strings.Contains(d.get("/readyz?verbose"), "nobody/q is down since") })
	var wg sync.WaitGroup
	for _, args := range [][]string{
		{"check", file}, {"check", "--connect", file}, {"check", "--connect", "--format", "json", file}, {"check", "--connect", "--format", "github", file},
		{"send", "-c", file, "right/orders.a", "hello", "-n", "5"}, {"send", "-c", file, "artemis/q", "x"}, {"send", "-c", file, "rabbit/q", "x"},
		{"send", "-c", file, "plain/q", "x"}, {"send", "-c", file, "scram/r", "x"}, {"send", "-c", file, "bearer/q", "x"},
		{"send", "-c", file, "nats/orders.a", "x"}, {"send", "-c", file, "nobody/q", "x"},
		{"receive", "-c", file, "right/ORDERS"}, {"receive", "-c", file, "artemis/q"}, {"receive", "-c", file, "token/ORDERS"},
		{"receive", "-c", file, "plain/q"}, {"run", "-c", file + ".absent"},
		{"explain", "-c", file, "right"}, {"explain", "-c", file, "kafka"}, {"topology", "-c", file}, {"topology", "-c", file, "-o", "yaml"},
		{"topology", "-c", file, "-o", "json"}, {"status", "--admin", d.admin}, {"status", "--admin", d.admin, "-o", "wide"},
		{"status", "--admin", d.admin, "-o", "json"}, {"config", "show", "--admin", d.admin}, {"config", "history", "--admin", d.admin},
		{"diff", "--running", file, "--admin", d.admin}, {"reload", "--dry-run", "-c", file, "--admin", d.admin}, {"spool", "ls", "--admin", d.admin},
	} {
		wg.Go(func() {
			cmd := exec.CommandContext(testContext(t), binary, args...)
			cmd.Env = append(os.Environ(), env...)
			out, _ := cmd.CombinedOutput() // most of them fail, as they should
			hidden(strings.Join(args, " "), string(out))
		})
	}
	wg.Wait()
	d.await("messages through the route with the right password", func() bool { return d.forwarded("right") == 5 })
	for _, path := range []string{"/livez", "/readyz", "/readyz?verbose", "/metrics", "/version", "/api/v1/status", "/api/v1/routes", "/api/v1/routes/kafka",
		"/api/v1/spools", "/api/v1/config", "/api/v1/config/history"} {
		hidden(path, d.get(path))
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.cmd.Process.Pid))
	if err == nil {
		hidden("the command line", string(line))
	}
	d.stop()
	hidden("the log", d.log.String())
	hidden("what goes to the tracing system", fmt.Sprint(spans.named("")))
}
