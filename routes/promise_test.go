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

// TestPromiseOfEachClass: every class of target under every promise has its sentence, with the numbers of the file in it.
func TestPromiseOfEachClass(t *testing.T) {
	const (
		tx, ids, outage, none = "{ broker: k, topic: b }", "{ broker: art, queue: b }", "{ broker: n, subject: b }", "{ broker: rabbit, queue: b }"
		spool                 = "spool: { dir: s }\n"
		twice                 = "at least once; after an unclean stop or a lost link at most 20 messages (in_flight) may arrive twice, each with posthouse-possible-duplicate: true and the same posthouse-id"
		fresh                 = "; up to 20 may also repeat under a new id when Posthouse itself dies (spool: { mode: always } avoids that)"
		marked                = "; of what is sent again after a longer one at most 20 messages (in_flight) may arrive twice, each with posthouse-possible-duplicate: true and the same posthouse-id"
		lost                  = "at most once; each message is settled at its source before it is sent, so after an unclean stop or a failed send at most 20 messages (in_flight) are lost, counted where it can be known"
	)
	for _, c := range []struct{ to, delivery, class, brief, text string }{
		{tx, "exactly-once", "T-tx", "its readers must use read_committed", "once, for consumers that use read_committed"},
		{ids, "exactly-once", "T-window", "it remembers 600 ids, and at most 20 are in flight there",
			"once, as long as an outage is shorter than the window of 600 ids, of which all lanes to the address have at most 20 in flight; what others send there uses it up too"},
		{outage, "exactly-once, max_outage: 4m", "T-window", "outages of 4m: it remembers ids for 5m; then the lane waits for resolve",
			"once, as long as an outage is shorter than 4m (max_outage, and confirm_timeout before the window of 5m ends); after a longer one the lane holds what may have arrived, at most 20 messages, until posthouse resolve"},
		{tx, "at-least-once", "T-tx", "at most 20 twice after an unclean stop, marked", twice + fresh},
		{none, "at-least-once", "T-none", "at most 20 twice after an unclean stop, marked", twice + fresh},
		{none, "at-least-once, spool: { mode: always }", "T-none", "at most 20 twice after an unclean stop, marked", twice},
		{ids, "at-least-once", "T-window", "once while an outage is shorter than its window of 600 ids", "once, as long as an outage is shorter than the window of 600 ids" + marked + fresh},
		{outage, "at-least-once", "T-window", "once while an outage is shorter than its window of 5m", "once, as long as an outage is shorter than the window of 5m" + marked + fresh},
		{tx, "at-most-once", "T-tx", "at most 20 lost after an unclean stop, none twice", lost},
		{ids, "at-most-once", "T-window", "at most 20 lost after an unclean stop, none twice", lost},
		{outage, "at-most-once", "T-window", "at most 20 lost after an unclean stop, none twice", lost},
		{none, "at-most-once", "T-none", "at most 20 lost after an unclean stop, none twice", lost},
	} {
		table := loadPromise(t, "to: "+c.to+", in_flight: 20, delivery: "+c.delivery, spool)
		r := table.Routes[0]
		want := Promise{Lane: "r/" + r.To[0].Name, Target: r.To[0].Addr.String(), Class: c.class, Source: "S-position", Delivery: r.Delivery, InFlight: 20, Brief: c.brief, Text: c.text}
		if diff := cmp.Diff([]Promise{want}, table.Promises()); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", c.to, c.delivery, diff)
		}
		if text, _ := table.ExplainRoute("r", "x"); !strings.Contains(text, c.class+": "+c.text+"\n") {
			t.Errorf("%s, %s: the promise is not explained:\n%s", c.to, c.delivery, text)
		}
	}
}

// TestPromiseExceptions: what a source without ids, a route without spool and a spool without sync add.
func TestPromiseExceptions(t *testing.T) {
	const again = "; what the source gives out again because it has no record of the settle comes under a new id\n"
	for _, c := range []struct{ src, want string }{
		{"from: { broker: rabbit, queue: a }, to: { broker: k, topic: b }, spool: { mode: always } }]\nspool: { dir: s }\n", again},
		{"from: { broker: k, topic: a }, to: { broker: k, topic: b } }]\n", "  not covered    a target that confirms and then loses\n"},
		{"from: { broker: k, topic: a }, to: { broker: k, topic: b } }]\nspool: { dir: s }\n", "  not covered    loss of the spool's disk, a disk that lies about fsync, a target that confirms and then loses\n"},
		{"from: { broker: k, topic: a }, to: { broker: k, topic: b } }]\nspool: { dir: s, sync: never }\n", "; and with sync: never a power cut\n"},
	} {
		head, _, _ := strings.Cut(promiseFile("", ""), "from:")
		table, fs := Load("f.yaml", []byte(head+c.src), Options{Kinds: testKinds()})
		if table == nil {
			t.Fatal(fs)
		}
		if text, _ := table.ExplainRoute("r", "x"); !strings.Contains(text, c.want) {
			t.Errorf("%s: no %q in\n%s", c.src, c.want, text)
		}
	}
	table := loadPromise(t, "to: { broker: k, topic: b }, enabled: false", "")
	if ps := table.Promises(); ps == nil || len(ps) > 0 {
		t.Errorf("a route that does not run promises %v", ps)
	}
}

// TestTransactionWindow: a transaction is large, unless the file says how many messages may be in flight, or the order is
// strict.
func TestTransactionWindow(t *testing.T) {
	const spool = "spool: { dir: s }\n"
	for _, c := range []struct {
		keys string
		want int
		text string
	}{
		{"", 256, "256 messages, confirmed"},
		{", delivery: exactly-once", 4096, "4096 messages, because of exactly-once: they go in one transaction, confirmed"},
		{", delivery: exactly-once, in_flight: 100", 100, "100 messages, confirmed"},
	} {
		table := loadPromise(t, "to: { broker: k, topic: b }"+c.keys, spool)
		if got := table.Routes[0].Window(&table.Routes[0].To[0]); got != c.want {
			t.Errorf("%q: %d", c.keys, got)
		}
		if text, _ := table.ExplainRoute(table.Routes[0].Name, "x"); !strings.Contains(text, c.text) {
			t.Errorf("%q: %s", c.keys, text)
		}
	}
	table := loadPromise(t, "to: [{ broker: k, topic: b }, { broker: art, queue: b }], distribute: copy, delivery: exactly-once", spool)
	if text, _ := table.ExplainRoute(table.Routes[0].Name, "x"); !strings.Contains(text, "256 messages, to k 4096 because of exactly-once") {
		t.Error(text)
	}
}
