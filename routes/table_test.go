package routes

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// load reads a file that must have no finding.
func load(t *testing.T, file string) *Table {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table, fs := Load(file, src, Options{Kinds: testKinds(), Repeater: "test"})
	if len(fs) > 0 {
		var b strings.Builder
		_ = fs.Text(&b)
		t.Fatalf("findings in a good file:\n%s", b.String())
	}
	return table
}

func TestEverything(t *testing.T) {
	table := load(t, "testdata/good/everything.yaml")
	at := func(p string) string { return filepath.Join("testdata/good", p) }
	wantBroker := &Broker{Name: "paris", Kind: "amqp", Site: "paris", Line: 3,
		Reconnect: Reconnect{500 * time.Millisecond, 10 * time.Second, 0.5}, Tries: 3,
		Secrets: []SecretRef{{Key: "credentials.password", Env: "PARIS_PASSWORD"}},
		Config: adapters.Config{Name: "paris", Addresses: []string{"amqps://a1.example.net:5671", "amqps://a2.example.net:5671"},
			Credentials: adapters.Credentials{User: "posthouse", Mechanism: "plain"}, Heartbeat: 5 * time.Second,
			TLS:     adapters.TLS{On: true, CAFile: at("ca.pem"), CertFile: "/etc/posthouse/paris.pem", KeyFile: at("keys/paris.key"), ServerName: "a.example.net", MinVersion: tls.VersionTLS13},
			Options: adapters.Options{"dialect": "artemis", "duplicate_window": int64(50000), "convention": "jms"}},
		Fit: bridge.Options{PassUserID: true, ConvertBody: true, KeepTo: true, NoShed: true}}
	opts := cmp.AllowUnexported(adapters.Secret{})
	if diff := cmp.Diff(wantBroker, table.Brokers["paris"], opts); diff != "" {
		t.Errorf("broker (-want +got):\n%s", diff)
	}
	here := table.Brokers["here"]
	wantOptions := adapters.Options{"duplicate_window": 5 * time.Minute,
		"embedded": adapters.Options{"dir": at("js"), "listen": "127.0.0.1:4222", "max_size": int64(1 << 30), "sync": 10 * time.Millisecond}}
	if diff := cmp.Diff(wantOptions, here.Config.Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if here.Reconnect != (Reconnect{time.Second, 30 * time.Second, 0}) || here.Config.Heartbeat != 20*time.Second {
		t.Errorf("defaults.broker: %+v, heartbeat %v", here.Reconnect, here.Config.Heartbeat)
	}
	if diff := cmp.Diff(Admin{Listen: "127.0.0.1:0", Log: Log{"debug", "json"}}, table.Admin); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]time.Duration{"paris": 0, "berlin": 0, "vienna": 30 * time.Second} {
		if got := table.Brokers[name].Failback; got != want {
			t.Errorf("failback of %s: %v, want %v", name, got, want)
		}
	}
	if len(table.Hash) != 12 || table.Summary() != "testdata/good/everything.yaml: ok (4 brokers, 5 routes)" {
		t.Errorf("hash %q, summary %q", table.Hash, table.Summary())
	}
}

func TestRouteSettings(t *testing.T) {
	table := load(t, "testdata/good/everything.yaml")
	ignore := cmpopts.IgnoreFields(Route{}, "From", "To", "Filter", "Line")
	dead := func(broker string, form adapters.Form, name string, o adapters.Options) *Target {
		return &Target{Name: DeadLetterName, Addr: adapters.Address{Broker: broker, Form: form, Name: name, Options: o}, PassesRefused: true}
	}
	want := &Route{Name: "orders", Match: MatchAll, Sharing: Sharing{Distribute: Copy}, Enabled: true, Prefetch: 10, PrefetchSize: 1 << 20, InFlight: 20, Batch: Batch{10, 2 << 20},
		Retry: Retry{time.Second, 2 * time.Minute, 1.5}, ConfirmTimeout: 10 * time.Second, MaxMessageSize: 8 << 20, MaxHops: 3,
		Delivery: AtLeastOnce, Identity: adapters.SourceID, Order: OrderSource, MaxAttempts: 1, OnPoison: PoisonHold, OnFilterError: FilterErrorSkip, Expired: ExpiredDeadLetter,
		DeadLetter: dead("here", adapters.Subject, "dead.orders", adapters.Options{"create": true, "stream": "DEAD"}),
		MaxRate:    5000, DrainRate: 2000, RenamedFrom: "trades", Spool: RouteSpool{SpoolAlways, 64 << 20, 7 * 24 * time.Hour, FullReject, 5 * time.Second}}
	if diff := cmp.Diff(want, table.Routes[0], ignore); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	want = &Route{Name: "more", Match: MatchAll, Sharing: Sharing{Distribute: Copy}, Enabled: true, Prefetch: 100, PrefetchSize: 64 << 20, InFlight: 256, Batch: Batch{10, 1 << 20},
		Retry: Retry{500 * time.Millisecond, 2 * time.Minute, 2}, ConfirmTimeout: 30 * time.Second, MaxMessageSize: 64 << 20, MaxHops: 8,
		Delivery: AtLeastOnce, Identity: adapters.SourceID, Order: OrderStrict, MaxAttempts: 3, OnPoison: PoisonHold, OnFilterError: FilterErrorDeadLetter, Expired: ExpiredDeliver,
		DeadLetter: dead("paris", adapters.Queue, "DLQ", nil),
		MaxRate:    700, DrainRate: 500, Spool: RouteSpool{SpoolAuto, 1 << 30, 0, FullPause, 5 * time.Second}}
	if diff := cmp.Diff(want, table.Routes[1], ignore); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestSpoolSettings(t *testing.T) {
	table := load(t, "testdata/good/everything.yaml")
	want := &Spool{Dir: filepath.Join("testdata/good", "spool"), MaxSize: 10 << 30, WhenFull: FullPause, Sync: Sync{Every: 10 * time.Millisecond}, SegmentSize: 16 << 20}
	if diff := cmp.Diff(want, table.Spool); diff != "" {
		t.Errorf("spool (-want +got):\n%s", diff)
	}
	if got := table.Routes[2].Spool.Mode; got != SpoolNever {
		t.Errorf("mode %q of a route that says never", got)
	}
	const head = "version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h] }\nroutes:\n  - { name: r, from: { broker: a, queue: q }, to: { broker: a, queue: p } }\n"
	for text, want := range map[string]struct {
		spool *Spool
		route RouteSpool
	}{
		"":                     {nil, RouteSpool{Mode: SpoolNever, WhenFull: FullPause}},
		"spool: { dir: /d }\n": {&Spool{Dir: "/d", WhenFull: FullPause, SegmentSize: 64 << 20}, RouteSpool{Mode: SpoolAuto, WhenFull: FullPause, SlowAfter: 30 * time.Second}},
		"spool: { dir: /d, sync: never, when_full: reject }\n": {&Spool{Dir: "/d", WhenFull: FullReject, Sync: Sync{Never: true}, SegmentSize: 64 << 20},
			RouteSpool{Mode: SpoolAuto, WhenFull: FullReject, SlowAfter: 30 * time.Second}},
	} {
		table, fs := Load("f.yaml", []byte(head+text), Options{Kinds: testKinds()})
		if table == nil {
			t.Fatal(fs)
		}
		if diff := cmp.Diff(want.spool, table.Spool) + cmp.Diff(want.route, table.Routes[0].Spool); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// TestExplainRoute compares with testdata/explain.txt: what routes of one file do, defaults included.
func TestExplainRoute(t *testing.T) {
	table := load(t, "testdata/good/everything.yaml")
	var got strings.Builder
	for _, name := range []string{"orders", "more", "other-end", "off", "group"} {
		text, ok := table.ExplainRoute(name, "paris")
		if !ok {
			t.Errorf("no route %s", name)
		}
		got.WriteString(text)
	}
	table = load(t, "testdata/good/distribute.yaml")
	for _, r := range table.Routes {
		text, _ := table.ExplainRoute(r.Name, "paris")
		got.WriteString(text)
	}
	golden(t, "testdata/explain.txt", got.String())
	if text, ok := table.ExplainRoute("absent", "paris"); ok {
		t.Errorf("a route that is not there: %s", text)
	}
	const src = "version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h] }\nroutes:\n  - { name: r, from: { broker: a, queue: q }, to: { broker: a, queue: p } }\n"
	for add, want := range map[string]string{
		"":                                  "  spool            never: the file has no spool, messages wait at their source\n",
		"spool: { dir: /d, sync: never }\n": "    sync           never: left to the system",
		"spool: { dir: /d }\n":              "    max_size       each lane without limit; the whole spool without limit\n",
	} {
		table, _ := Load("f.yaml", []byte(src+add), Options{Kinds: testKinds()})
		if text, _ := table.ExplainRoute("r", "x"); !strings.Contains(text, want) {
			t.Errorf("%q: no %q in\n%s", add, want, text)
		}
	}
}

func TestEnds(t *testing.T) {
	table := load(t, "testdata/good/everything.yaml")
	r := table.Routes[0]
	if diff := cmp.Diff(adapters.Address{Broker: "paris", Form: adapters.Topic, Name: "orders", Options: adapters.Options{"subscription": "posthouse", "unique_ids": true}}, r.From); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, to := range r.To {
		names = append(names, to.Name+"="+to.Addr.String())
	}
	want := []string{"berlin=berlin/orders", "here=here/orders.new", "berlin-2=berlin/audit", "last=here/orders.last"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	key, err := r.To[0].Key.String(&adapters.Message{Props: []adapters.Prop{{Name: "account", V: adapters.Int(adapters.TI32, 7)}}}, "orders")
	if err != nil || key != "7" || r.To[1].Key != nil {
		t.Errorf("key %q, %v; of a target without key: %v", key, err, r.To[1].Key)
	}
}

func TestFlows(t *testing.T) {
	table := load(t, "testdata/good/everything.yaml")
	var got [][]string
	for _, g := range table.Flows() {
		var names []string
		for _, r := range g {
			names = append(names, r.Name)
		}
		got = append(got, names)
	}
	if diff := cmp.Diff([][]string{{"orders", "more"}, {"other-end"}, {"group"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTrust(t *testing.T) {
	type trust struct{ all, values bool }
	got := map[string]trust{}
	for n, b := range load(t, "testdata/good/everything.yaml").Brokers {
		got[n] = trust{b.Trusted, b.TrustValues}
	}
	// paris is written to by a route that is not enabled, and gets dead letters; vienna is written to by none;
	// trusted_headers vouches for values, not for identities.
	want := map[string]trust{"paris": {}, "berlin": {all: true}, "here": {all: true}, "vienna": {values: true}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(trust{})); diff != "" {
		t.Error(diff)
	}
}

// TestOptionsAsWritten: an adapter gets the options that the file has, and no default of the table of keys: it must be
// able to tell "the operator says" from "nobody said".
func TestOptionsAsWritten(t *testing.T) {
	brokers := load(t, "testdata/good/everything.yaml").Brokers
	want := map[string]adapters.Options{"vienna": {"nats_ttl": true},
		"berlin": {"convention": "spring", "group": "posthouse", "compression": "zstd", "start_at": "newest", "state_topic": "berlin.positions"}}
	for n, o := range want {
		if diff := cmp.Diff(o, brokers[n].Config.Options); diff != "" {
			t.Errorf("%s (-want +got):\n%s", n, diff)
		}
	}
}
