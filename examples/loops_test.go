package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// refusedBy runs check, which must refuse the file, and returns what it prints.
func refusedBy(t *testing.T, file string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), binary, append(append([]string{"check"}, args...), file)...)
	cmd.Env = append(os.Environ(), testPassword())
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("check %v: exit %d, want 2\n%s", args, cmd.ProcessState.ExitCode(), out)
	}
	return string(out)
}

// lanes is the state of each lane, as status tells it.
func (d *daemon) lanes() map[string]string {
	var v struct {
		Routes []struct {
			Lanes []struct{ Name, State string }
		}
	}
	_ = json.Unmarshal([]byte(d.get("/api/v1/status")), &v) // a daemon that does not answer has none
	out := map[string]string{}
	for _, r := range v.Routes {
		for _, l := range r.Lanes {
			out[l.Name] = l.State
		}
	}
	return out
}

const thereAndBack = `version: 1
brokers:
  paris:  { type: amqp, dialect: artemis, addresses: ["PARIS"], credentials: { user: posthouse, password: { env: PW } } }
  berlin: { type: amqp, dialect: artemis, addresses: ["BERLIN"], credentials: { user: posthouse, password: { env: PW } } }
spool: { dir: SPOOL, segment_size: 4MiB }
routes:
  - { name: there, from: { broker: paris, queue: QUEUE }, to: { broker: berlin, queue: QUEUE } }
  - { name: back, from: { broker: berlin, queue: QUEUE }, to: { broker: paris, queue: QUEUE }LEAVE }
admin: { listen: 127.0.0.1:0 }
`

// TestThereAndBack: two Artemis brokers and a queue of one name at both. check refuses the circle; with leave to close it each
// message goes round once, and is then kept as a dead letter with that reason.
func TestThereAndBack(t *testing.T) {
	here, there := broker.Need(t, broker.Artemis), broker.Need(t, broker.Artemis2)
	queue := "circle" + unique()
	emptyAtEnd(t, here, queue)
	emptyAtEnd(t, there, queue)
	words := []string{"PARIS", host(t, here), "BERLIN", host(t, there), "SPOOL", t.TempDir(), "QUEUE", queue}
	say := refusedBy(t, written(t, thereAndBack, append(words, "LEAVE", "")...))
	if want := fmt.Sprintf("berlin/%s -> paris/%s -> berlin/%s [R004]", queue, queue, queue); !strings.Contains(say, want) {
		t.Errorf("check says nothing of %s:\n%s", want, say)
	}
	file := written(t, thereAndBack, append(words, "LEAVE", ", loop_ok: true")...)
	dialArtemis(t, here).send(queue, []*amqp.Message{order(1), order(2), order(3)})
	d := run(t, file, testPassword())
	d.await("three dead letters", func() bool {
		return d.metric("posthouse_route_dead_lettered_messages_total", `reason="loop"`) == 3
	})
	if n := d.metric("posthouse_route_forwarded_messages_total"); n != 6 {
		t.Errorf("sent %d times, want 6: there and back", n)
	}
	d.stop()
}

// TestTwoNamesForOneArtemis: two addresses that lead to one broker. Offline nobody can know; --connect finds the circle, and a
// daemon that runs all the same sends nothing.
func TestTwoNamesForOneArtemis(t *testing.T) {
	here := broker.Need(t, broker.Artemis)
	queue := "twonames" + unique()
	emptyAtEnd(t, here, queue)
	other := strings.Replace(host(t, here), "127.0.0.1", "localhost", 1)
	if other == host(t, here) {
		t.Skipf("%s has no other name", other)
	}
	file := written(t, strings.Replace(thereAndBack, "  - { name: back", "  # - { name: back", 1), "PARIS", host(t, here), "BERLIN", other, "SPOOL", t.TempDir(), "QUEUE", queue, "LEAVE", "")
	command(t, nil, "check", file)
	if say := refusedBy(t, file, "--connect"); !strings.Contains(say, "paris and berlin are one broker") && !strings.Contains(say, "berlin and paris are one broker") {
		t.Errorf("check --connect:\n%s", say)
	}
	d := start(t, []string{"-c", file}, testPassword())
	d.await("the lane is paused", func() bool { return d.lanes()["there/berlin"] == "paused" })
	dialArtemis(t, here).send(queue, []*amqp.Message{order(1)})
	d.await("it has the message", func() bool { return d.metric("posthouse_route_received_messages_total") == 1 })
	if n := d.metric("posthouse_route_forwarded_messages_total"); n != 0 || d.lanes()["there/berlin"] != "paused" {
		t.Errorf("sent %d times: %v", n, d.lanes())
	}
	d.stop()
}

// TestRingOfNATS: three brokers in a ring, and messages that have no id. Each goes round once.
func TestRingOfNATS(t *testing.T) {
	g, words := threeServers(t)
	g.make("RING", "ring")
	file := written(t, `version: 1
brokers:
  b1: { type: nats, addresses: ["nats://127.0.0.1:4222"] }
  b2: { type: nats, addresses: ["nats://127.0.0.1:4223"] }
  b3: { type: nats, addresses: ["nats://127.0.0.1:4224"] }
spool: { dir: SPOOL, segment_size: 4MiB }
routes:
  - { name: r1, from: { broker: b1, stream: RING, subject: ring }, to: { broker: b2, subject: ring }, loop_ok: true }
  - { name: r2, from: { broker: b2, stream: RING, subject: ring }, to: { broker: b3, subject: ring } }
  - { name: r3, from: { broker: b3, stream: RING, subject: ring }, to: { broker: b1, subject: ring } }
admin: { listen: 127.0.0.1:0 }
`, append(words, "SPOOL", t.TempDir())...)
	d := run(t, file)
	for i := range 50 {
		m := nats.NewMsg("ring")
		m.Header.Set("n", fmt.Sprint(i))
		m.Header.Set("at", "b1")
		m.Data = fmt.Appendf(nil, "message %d of b1", i)
		if _, err := g.js["b1"].PublishMsg(testContext(t), m); err != nil {
			t.Fatal(err)
		}
	}
	d.await("all have gone round", func() bool { return d.metric("posthouse_route_dead_lettered_messages_total", `reason="loop"`) == 50 })
	g.quiet(d, "RING")
	if n := d.metric("posthouse_route_forwarded_messages_total"); n != 150 {
		t.Errorf("sent %d times, want 150", n)
	}
	d.stop()
}
