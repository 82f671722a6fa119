package examples

import (
	"context"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// through carries messages from one Artemis through a second, private one to a third, so that the second is a target
// and a source when it fails.
const through = `version: 1
brokers:
  paris:  { type: amqp, addresses: ["amqp://PARIS"], credentials: { user: posthouse, password: { env: PW } } }
  lyon:   { type: amqp, addresses: ["amqp://LYON"], credentials: { user: posthouse, password: { env: PW } } }
  berlin: { type: amqp, addresses: ["amqp://BERLIN"], credentials: { user: posthouse, password: { env: PW } } }
defaults:
  broker: { reconnect: { delay: 200ms, max_delay: 1s }, heartbeat: 2s }
  route: { prefetch: 128, in_flight: 64 }
routes:
  - { name: in, from: { broker: paris, queue: QUEUE }, to: { broker: lyon, queue: QUEUE } }
  - { name: out, from: { broker: lyon, queue: QUEUE }, to: { broker: berlin, queue: QUEUE } }
admin: { listen: 127.0.0.1:0 }
`

// TestBrokerThatComesAndGoes: the broker in the middle is away when the daemon starts, comes, is killed under load, and
// comes again. Nothing is lost, and what comes twice is marked or fits into what was unsettled at the kill.
func TestBrokerThatComesAndGoes(t *testing.T) {
	const many = 6000
	from, to := broker.Need(t, broker.Artemis), broker.Need(t, broker.Artemis2)
	lyon := broker.Private(t, broker.Artemis)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	lyon.Stop(ctx)
	queue := "through" + unique()
	file := written(t, through, "PARIS", hostPort(t, from), "LYON", hostPort(t, lyon.Env()[broker.EnvArtemis]), "BERLIN", hostPort(t, to), "QUEUE", queue)
	load(t, from, queue, many)
	emptyAtEnd(t, to, queue)

	d := start(t, []string{"-c", file}, testPassword())
	for _, end := range []string{"route in: target lyon/", "route out: source lyon/"} {
		d.await(end+" is down", func() bool {
			text := d.get("/readyz?verbose")
			return strings.Contains(text, end+queue+" is down since") && strings.Contains(text, "connection refused")
		})
	}
	if n := d.forwarded("in"); n != 0 {
		t.Fatalf("%d messages to a broker that is away", n)
	}
	if err := lyon.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	d.await("messages flow", func() bool { return d.forwarded("out") >= 300 })
	lyon.Kill()
	before := d.forwarded("in")
	if err := lyon.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	d.awaitUp()
	l := newLedger(t)
	l.takeAll(many, func() { l.take(to, queue) })
	d.stop()
	if before >= many {
		t.Errorf("the kill came too late: %d of %d were through", before, many)
	}
	if rest := l.take(from, queue) + l.take(lyon.Env()[broker.EnvArtemis], queue); rest != 0 {
		t.Errorf("%d messages are left behind", rest)
	}
	marked, again := l.repeats()
	t.Logf("%d through at the kill; %d twice: %d marked, %d given out again by the killed broker", before, l.duplicates(), marked, again)
	// How many are given out again is the broker's matter: it does not answer a settle, and what it had not written of
	// them is forgotten with the kill.
	if marked+again != l.duplicates() {
		t.Errorf("%d duplicates: only %d marked and %d given out again", l.duplicates(), marked, again)
	}
}

// repeats sorts the duplicates: marked ones say of themselves that they may be; the others have one origin, so one
// broker gave the same message out twice and has forgotten that.
func (l *ledger) repeats() (marked, again int) {
	prop := func(m *amqp.Message, name string) string {
		s, _ := m.ApplicationProperties[name].(string)
		return s
	}
	for _, ms := range l.seen {
		origins := map[string]bool{}
		for i, m := range ms {
			origin := prop(m, "posthouse-origin")
			switch {
			case i == 0:
			case prop(m, "posthouse-possible-duplicate") != "":
				marked++
			case origins[origin]:
				again++
			}
			origins[origin] = true
		}
	}
	return marked, again
}
