package routes_test

import (
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters/amqp"
	"github.com/posthouse/posthouse/adapters/kafka"
	"github.com/posthouse/posthouse/adapters/nats"
	"github.com/posthouse/posthouse/routes"
)

const lossy = `version: 1
spool: { dir: spool }
brokers:
  a: { type: amqp, dialect: artemis, addresses: [amqp://localhost:1] }
  r: { type: amqp, dialect: rabbitmq, addresses: [amqp://localhost:2] }
  k: { type: kafka, addresses: ["localhost:3"] }
  n: { type: nats, nats_ttl: true, addresses: [nats://localhost:4] }
routes:
  - { name: out, from: { broker: a, queue: q }, to: [{ broker: k, topic: t }, { broker: n, subject: s }, { broker: r, queue: q }], distribute: copy }
  - { name: back, from: { broker: k, topic: t2 }, to: { broker: a, queue: q2 } }
  - { name: known, from: { broker: a, queue: q3 }, to: { broker: k, topic: t3 }, losses: accept }
  - { name: off, enabled: false, from: { broker: a, queue: q4 }, to: { broker: k, topic: t4 } }
`

func loadLossy(t *testing.T) *routes.Table {
	t.Helper()
	kinds := routes.Kinds{"amqp": amqp.New(), "kafka": kafka.New(), "nats": nats.New()}
	table, fs := routes.Load("f.yaml", []byte(lossy), routes.Options{Kinds: kinds})
	if table == nil || len(fs) > 0 {
		t.Fatal(fs)
	}
	return table
}

// TestLosses: a warning for each lane whose target does not act on what its source may say, and none where somebody knows
// it or nothing runs.
func TestLosses(t *testing.T) {
	var b strings.Builder
	if err := loadLossy(t).Losses().Text(&b); err != nil {
		t.Fatal(err)
	}
	const help = "   = help: write losses: accept in the route if programs there need none of it; posthouse explain out lists all\n"
	const want = "f.yaml: warning: lane out/k (line 9): the broker does not act on expiry, priority or delivery time [H001]\n" + help +
		"f.yaml: warning: lane out/n (line 9): the broker does not act on priority or delivery time [H001]\n" + help + "f.yaml: 2 warnings\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestExplainTellsTheLosses: the lines of one lane, in full.
func TestExplainTellsTheLosses(t *testing.T) {
	text, _ := loadLossy(t).ExplainRoute("known", "posthouse")
	for _, want := range []string{
		"  headers          what a target has no place for travels in headers posthouse-..., and is itself again behind the next repeater\n",
		"    k              its broker does not act on: expiry; priority; delivery time\n",
		"                   only in headers: message id; correlation id; type (JMSType, subject); group; reply group; message annotations; user id; footer; reply address (nobody there can answer, outside of bridges)\n",
		"                   changed: properties that are not text become text, with their types in posthouse-types; text bodies become bytes in UTF-8; ",
		"                   lost: counts of redeliveries as native fields; delivery annotations; annotations that the source's broker made\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line\n%sin\n%s", want, text)
		}
	}
	if text, _ := loadLossy(t).ExplainRoute("back", "posthouse"); strings.Contains(text, "does not act on") {
		t.Errorf("Kafka knows no expiry that Artemis could ignore:\n%s", text)
	}
}
