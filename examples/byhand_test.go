package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// TestSendAndReceiveByHand tries each kind of broker as an operator does who has no other tool: what is sent is there, a
// look with --keep takes nothing away, and what was taken is gone.
func TestSendAndReceiveByHand(t *testing.T) {
	kafka, name := broker.Need(t, broker.Kafka), "hand"+unique()
	rabbit := broker.Need(t, broker.RabbitMQ4, broker.EnvRabbitMQ4Admin)
	admin, err := broker.NewRabbitAdmin(os.Getenv(broker.EnvRabbitMQ4Admin))
	if err == nil {
		err = admin.DeclareQueue(testContext(t), name, "quorum", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.DeleteQueue(testContext(t), name); err != nil {
			t.Error(err)
		}
	})
	createTopic(t, kafka, name)
	deleteTopicAtEnd(t, kafka, name)
	artemis := broker.Need(t, broker.Artemis)
	emptyAtEnd(t, artemis, name)
	file := written(t, `version: 1
brokers:
  artemis: { type: amqp, addresses: ["amqp://ARTEMIS"], credentials: { user: posthouse, password: { env: PW } } }
  rabbit:  { type: amqp, addresses: ["amqp://RABBIT"], credentials: { user: posthouse, password: { env: PW } } }
  kafka:   { type: kafka, addresses: ["KAFKA"], group: NAME }
routes:
  - { name: unused, from: { broker: artemis, queue: NAME }, to: { broker: kafka, topic: NAME }, enabled: false }
`, "ARTEMIS", hostPort(t, artemis), "RABBIT", hostPort(t, rabbit), "KAFKA", kafka, "NAME", name)
	for _, at := range []string{"artemis/", "rabbit/", "kafka/"} {
		t.Run(strings.TrimSuffix(at, "/"), func(t *testing.T) { byHand(t, file, at+name) })
	}
}

func byHand(t *testing.T, file, place string) {
	env := []string{testPassword()}
	for _, body := range []string{"one", "two", "three"} {
		out := command(t, env, "send", "-c", file, place, body, "--id", "id-"+body, "--content-type", "text/plain", "--key", "k", "-H", "region=EU")
		if out != "1 of 1 messages confirmed by "+place+"\n" {
			t.Errorf("send: %s", out)
		}
	}
	for _, args := range [][]string{{"-n", "2", "--keep"}, {"-n", "3"}} {
		out := command(t, env, append([]string{"receive", "-c", file, place, "-o", "json", "--timeout", "30s"}, args...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i, body := range []string{"one", "two", "three"}[:len(lines)] {
			var m struct {
				ID, Body, Key string
				Type          string `json:"content_type"`
				Headers       [][2]string
			}
			if err := json.Unmarshal([]byte(lines[i]), &m); err != nil {
				t.Fatal(err)
			}
			if m.ID != "id-"+body || m.Body != body || m.Key != "k" || m.Type != "text/plain" || len(m.Headers) != 1 || m.Headers[0] != [2]string{"region", "EU"} {
				t.Errorf("receive %v: message %d is %s", args, i, lines[i])
			}
		}
		if want := int(args[1][0] - '0'); len(lines) != want {
			t.Errorf("receive %v: %d messages: %s", args, len(lines), out)
		}
	}
	cmd := exec.CommandContext(testContext(t), binary, "receive", "-c", file, place, "--timeout", "2s")
	cmd.Env = append(os.Environ(), env...)
	out, _ := cmd.CombinedOutput() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "0 of 1 messages received: no more came in time") {
		t.Errorf("after all were taken: exit %d, %s", code, out)
	}
}
