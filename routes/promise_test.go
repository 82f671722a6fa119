package routes

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// promiseFile has one broker of each class and one route with keys of its own.
func promiseFile(keys, more string) string {
	return `version: 1
brokers:
  art: { type: amqp, dialect: artemis, addresses: ["amqp://a"], duplicate_window: 600 }
  plain: { type: amqp, dialect: artemis, addresses: ["amqp://a"] }
  rabbit: { type: amqp, dialect: rabbitmq, addresses: ["amqp://r"] }
  k: { type: kafka, addresses: ["k:9092"] }
  n: { type: nats, addresses: ["nats://n"], duplicate_window: 5m }
  short: { type: nats, addresses: ["nats://s"] }
routes: [{ name: r, from: { broker: k, topic: a }, ` + keys + ` }]
` + more
}

func loadPromise(t *testing.T, keys, more string) *Table {
	t.Helper()
	table, fs := Load("f.yaml", []byte(promiseFile(keys, more)), Options{Kinds: testKinds()})
	if table == nil {
		var b strings.Builder
		_ = fs.Text(&b)
		t.Fatal(b.String())
	}
	return table
}

// TestPromiseSettings: the promise of a route, what it makes of the spool, and the class of each target with what the
// file says, or does not say, of its memory.
func TestPromiseSettings(t *testing.T) {
	const all = "to: [{ broker: k, topic: b }, { broker: art, queue: b }, { broker: plain, queue: b }, { broker: n, subject: b }, { broker: short, subject: b }], distribute: copy"
	const spool = "spool: { dir: s }\n"
	for _, c := range []struct {
		keys, more string
		delivery   Delivery
		outage     time.Duration
		mode       SpoolMode
	}{
		{"", spool, AtLeastOnce, 0, SpoolAuto},
		{", delivery: at-most-once", "", AtMostOnce, 0, SpoolNever},
		{", delivery: at-most-once", spool, AtMostOnce, 0, SpoolAuto},
		{", delivery: exactly-once, max_outage: 1m", spool, ExactlyOnce, time.Minute, SpoolAlways},
		{", max_outage: 2m", spool + "defaults: { route: { delivery: exactly-once, max_outage: 1m } }\n", ExactlyOnce, 2 * time.Minute, SpoolAlways},
		{", delivery: at-least-once", spool + "defaults: { route: { delivery: exactly-once, max_outage: 1m } }\n", AtLeastOnce, time.Minute, SpoolAuto},
	} {
		r := loadPromise(t, all+c.keys, c.more).Routes[0]
		if r.Delivery != c.delivery || r.MaxOutage != c.outage || r.Spool.Mode != c.mode || r.Identity != adapters.SourcePosition {
			t.Errorf("%q over %q: %s, %v, %s, source %v", c.keys, c.more, r.Delivery, r.MaxOutage, r.Spool.Mode, r.Identity)
		}
		type end struct {
			Class  adapters.Class
			Memory Memory
		}
		var got []end
		for _, to := range r.To {
			got = append(got, end{to.Class, to.Memory})
		}
		w := adapters.ClassWindow
		want := []end{{adapters.ClassTx, Memory{}}, {w, Memory{IDs: 600}}, {w, Memory{IDs: 20000}}, {w, Memory{Time: 5 * time.Minute}}, {w, Memory{Time: 2 * time.Minute}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ends (-want +got):\n%s", diff)
		}
	}
}

// TestUniqueIDs: an end that promises ids has them, whatever its kind of broker can say by itself.
func TestUniqueIDs(t *testing.T) {
	b := &builder{brokers: map[string]*Broker{"a": {Name: "a", Kind: "amqp"}}, options: Options{Kinds: testKinds()}}
	for _, c := range []struct {
		broker string
		o      adapters.Options
		want   adapters.Identity
	}{
		{"a", nil, adapters.SourceNone},
		{"a", adapters.Options{"unique_ids": false}, adapters.SourceNone},
		{"a", adapters.Options{"unique_ids": true}, adapters.SourceID},
		{"absent", adapters.Options{"unique_ids": true}, adapters.SourceNone},
	} {
		if got := b.identity(adapters.Address{Broker: c.broker, Options: c.o}); got != c.want {
			t.Errorf("%s with %v: %v, want %v", c.broker, c.o, got, c.want)
		}
	}
}
