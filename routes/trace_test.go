package routes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// ringOf is a file in which a/q1 goes to a/q2 and so on, the last back to the first, with n queues.
func ringOf(n int, keys string) string {
	var b strings.Builder
	b.WriteString("version: 1\nbrokers: { a: { type: amqp, addresses: [amqp://h] } }\nspool: { dir: /d }\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { name: r%d, from: { broker: a, queue: q%d }, to: { broker: a, queue: q%d }, loop_ok: %t%s }\n", i, i, (i+1)%n, i == 0, keys)
	}
	return b.String()
}

func anywhere(adapters.Address, []*Route) bool { return true }

func options() TraceOptions {
	return TraceOptions{Kinds: testKinds(), Repeater: "paris", Now: time.UnixMilli(1700000000000)}
}

const hops = `version: 1
brokers:
  a: { type: amqp, addresses: [amqp://h] }
  k: { type: kafka, addresses: ["h:9092"] }
  n: { type: nats, addresses: ["nats://h:4222"] }
spool: { dir: /d }
routes:
  - name: copy
    from: { broker: a, queue: in }
    to: [{ broker: k, topic: t, key: msg.header.account }, { broker: n, subject: s.1 }]
    distribute: copy
    set: { dc: '"paris"' }
    unset: [old]
    filter: msg.priority > 3 and (msg.header.region == "EU" or msg.json.x == 1)
  - { name: second, from: { broker: k, topic: t }, to: { broker: n, subject: s.2 }, filter: 'msg.header.dc == "paris" and msg.hops == 1 and msg.key == "7"' }
  - { name: third, from: { broker: n, stream: S, subject: "s.*" }, to: { broker: a, queue: out }, filter: 'route == "third"' }
  - { name: off, from: { broker: a, queue: in }, to: { broker: a, queue: off }, enabled: false }
`

func loadText(t testing.TB, text string) *Table {
	t.Helper()
	table, fs := Load("hops.yaml", []byte(text), Options{Kinds: testKinds(), Repeater: "paris"})
	if table == nil {
		t.Fatal(fs)
	}
	return table
}

// TestTrace compares a way over three brokers with testdata/trace.txt.
func TestTrace(t *testing.T) {
	table := loadText(t, hops)
	header := func(region, account string) []adapters.Prop {
		return []adapters.Prop{{Name: "region", V: adapters.String(region)}, {Name: "account", V: adapters.String(account)}, {Name: "old", V: adapters.Bool(true)}}
	}
	high := adapters.Priority{Set: true, Value: 5}
	var out strings.Builder
	for _, m := range []*adapters.Message{
		{Priority: high, Props: header("EU", "7")},
		{Priority: high, Props: header("US", "7"), Body: adapters.Body{Form: adapters.BodyText, Data: []byte(`{"x": 2}`)}},
		{Priority: high, Props: header("US", "7")},
		{Props: header("EU", "7"), Priority: high, Expires: 5},
		{Props: header("EU", "7"), Priority: high, Track: adapters.Track{Path: []string{"x/y", "paris/copy"}}},
	} {
		trace := table.Trace(m, func(a adapters.Address, _ []*Route) bool { return a.String() == "a/in" }, options())
		fmt.Fprintf(&out, "%s\n%s\n", trace.Summary(), trace.Text())
	}
	golden(t, "testdata/trace.txt", out.String())
}

// TestTraceEnds: a ring ends where the path says that the message has been there, and many targets at every hop are cut.
func TestTraceEnds(t *testing.T) {
	table := loadText(t, ringOf(3, ""))
	trace := table.Trace(&adapters.Message{}, func(a adapters.Address, _ []*Route) bool { return a.Name == "q0" }, options())
	if got := strings.Count(trace.Text(), "at a/q"); got != 4 || trace.Cut || !strings.Contains(trace.Text(), "reason loop") {
		t.Errorf("%d stations, cut %v:\n%s", got, trace.Cut, trace.Text())
	}
	var b strings.Builder
	b.WriteString(ringOf(20, ", max_hops: 32"))
	for i := range 20 {
		fmt.Fprintf(&b, "  - { name: s%d, from: { broker: a, queue: q%d }, to: { broker: a, queue: q%d }, max_hops: 32, loop_ok: true }\n", i, i, (i+7)%20)
	}
	trace = loadText(t, b.String()).Trace(&adapters.Message{}, anywhere, options())
	if n := strings.Count(trace.Text(), "at a/q"); !trace.Cut || n > 2*mostArrivals {
		t.Errorf("%d stations, cut %v", n, trace.Cut)
	}
}

const trialTable = `topology: t.yaml
tests:
  - name: as it is
    from: a/in
    message: { priority: 5, header: { region: EU, account: "7", old: 1 } }
    expect: { routes: [copy], targets: [n/s.1, k/t], ends: [a/out, a/out], dead_letter: none, headers: { dc: paris, account: 7 }, without: [old] }
  - name: wrong in all
    from: a/in
    message: { priority: 5, header: { region: EU, account: "7" } }
    expect: { routes: [], targets: [k/t], ends: [], dead_letter: loop, headers: { dc: berlin, none: 1 }, without: [region] }
  - name: an error
    from: a/in
    message: { priority: 5 }
    expect: { routes: [], dead_letter: filter-error }
  - name: filtered
    from: a/in
    message: { priority: 1 }
    expect: { routes: [], targets: [], ends: [], dead_letter: none }
`

func TestTrials(t *testing.T) {
	table := loadText(t, hops)
	trials, fs := LoadTrials("dir/trials.yaml", []byte(trialTable))
	if trials == nil {
		t.Fatal(fs)
	}
	if trials.Topology != "dir/t.yaml" || len(trials.List) != 4 || trials.List[1].Line != 7 {
		t.Errorf("%+v", trials)
	}
	all := []Difference{
		{"dead_letter", "loop", "none"}, {"ends", "[]", "[a/out, a/out]"}, {"header dc on copy/k", `"berlin"`, `"paris"`}, {"header dc on copy/n", `"berlin"`, `"paris"`},
		{"header none on copy/k", "1", "none"}, {"header none on copy/n", "1", "none"}, {"header region on copy/k", "none", `"EU"`}, {"header region on copy/n", "none", `"EU"`},
		{"routes", "[]", "[copy]"}, {"targets", "[k/t]", "[k/t, n/s.1]"},
	}
	for i, want := range [][]Difference{nil, all, nil, nil} {
		_, got, err := trials.List[i].Run(table, options())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", trials.List[i].Name, err, diff)
		}
	}
}

// TestTrialsThatCannotBe: what does not fit the topology is no difference but a mistake.
func TestTrialsThatCannotBe(t *testing.T) {
	table := loadText(t, hops)
	routes := []string{"cpoy"}
	for want, tr := range map[string]Trial{
		"says no from":           {},
		"no enabled route reads": {From: "a/none"},
		`expects route "cpoy"`:   {From: "a/in", Routes: &routes},
	} {
		tr.Message = &adapters.Message{}
		if _, _, err := tr.Run(table, options()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for src, want := range map[string]string{
		"tests: []":     "tests is empty",
		"topology: a\n": `has no "tests"`,
		"tests: [{ name: x, message: {}, expect: {} }]":                                  "the test expects nothing",
		"tests: [{ name: x, message: {}, expect: { routes: copy } }]":                    "must be a list",
		"tests: [{ name: x, message: {}, expect: { routes: [[a]] } }]":                   "a list of names",
		"tests: [{ name: x, message: { heder: {} }, expect: { routes: [] } }]":           `did you mean "header"?`,
		"tests: [{ name: x, message: {}, expect: { route: [] } }]":                       `did you mean "routes"?`,
		"tests: [{ name: x, message: {}, expect: { dead_letter: unroutabel } }]":         `did you mean "unroutable"?`,
		"tests: [{ message: {}, expect: { routes: [] } }]":                               `has no "name"`,
		"tests: [{ name: x, message: {}, expect: { routes: [] }, from: [a] }]":           "from must be text",
		"tests: [{ name: x, message: {}, expect: { headers: { a: [b] }, routes: [] } }]": "a header must be text",
	} {
		trials, fs := LoadTrials("x.yaml", []byte(src))
		var b strings.Builder
		_ = fs.Text(&b)
		if trials != nil || !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "x.yaml:") {
			t.Errorf("%s: no %q in\n%s", src, want, b.String())
		}
	}
}

func TestEval(t *testing.T) {
	for source, want := range map[string][2]string{
		`msg.priority + 1`:          {"8", "number"},
		`msg.json`:                  {`{"items":[{"sku":"a"},{"sku":"b"}],"name":"x","none":null,"total":12.5,"urgent":true}`, "map"},
		`msg.json.items`:            {`[{"sku":"a"},{"sku":"b"}]`, "list"},
		`msg.json.none`:             {"null", "nothing"},
		`msg.type + route`:          {`"orderr"`, "text"},
		`msg.expired and route==""`: {"false", "true or false"},
	} {
		e, fs, err := Eval(source, testMessage(), "r", "paris")
		if err != nil || len(fs) > 0 || e.Value != want[0] || e.Type != want[1] || (e.Terms != nil) != (want[1] == "true or false") {
			t.Errorf("%s: %+v, %v, %v; want %v", source, e, fs, err, want)
		}
	}
	for source, want := range map[string]string{
		"msg.nix":                            " 1 | msg.nix\n   |     ^^^ unknown field\n",
		"true and\n  msg.type + nix":         " 2 |   msg.type + nix\n   |              ^^^ unknown name\n",
		"'ü' == foo":                         " 1 | 'ü' == foo\n   |        ^^^ unknown name\n",
		"":                                   "expression:1:1: error:",
		strings.Repeat("x", 5000):            "F005",
		strings.Repeat(" ", 150) + "msg.nix": "unknown field",
	} {
		_, fs, err := Eval(source, testMessage(), "", "")
		var b strings.Builder
		_ = fs.Text(&b)
		if err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%.40q: no %q in\n%s", source, want, b.String())
		}
	}
	if _, _, err := Eval("int(msg.type)", testMessage(), "", ""); err == nil || !strings.Contains(err.Error(), "order") {
		t.Errorf("no answer: %v", err)
	}
}

// TestTraceOfShares: which of several targets a message goes to, and where a bridge lets a request through.
func TestTraceOfShares(t *testing.T) {
	table := loadText(t, `version: 1
brokers: { a: { type: amqp, addresses: [amqp://h] } }
spool: { dir: /d }
routes:
  - { name: weighted, from: { broker: a, queue: w }, distribute: weighted, to: [{ broker: a, queue: w1, weight: 3 }, { broker: a, queue: w2, weight: 1 }, { broker: a, queue: w3, weight: 0 }, { broker: a, queue: w4, weight: 5, priority: 2 }] }
  - { name: affine, from: { broker: a, queue: f }, distribute: affinity, affinity: msg.header.s, to: [{ broker: a, queue: f1 }, { broker: a, queue: f2 }] }
  - { name: failing, from: { broker: a, queue: f }, distribute: affinity, affinity: 'string(int(msg.header.n))', to: [{ broker: a, queue: g1 }, { broker: a, queue: g2 }] }
  - { name: over, from: { broker: a, queue: o }, distribute: failover, to: [{ broker: a, queue: o1 }, { broker: a, queue: o2 }] }
bridges:
  - { name: ask, request: { from: { broker: a, queue: q1 }, to: { broker: a, queue: q2 } }, reply: { from: { broker: a, queue: p1 }, to: { broker: a, queue: p2 } } }
`)
	m := &adapters.Message{Props: []adapters.Prop{{Name: "s", V: adapters.String("x")}}, ReplyTo: adapters.Addr{Name: "elsewhere"}}
	for queue, want := range map[string]string{
		"w":  "to         a/w1, lane weighted/a, 3 of 4 messages\n    to         a/w2, lane weighted/a-2, 1 of 4 messages\n",
		"o":  "to         a/o1, lane over/failover, while it can be reached\n    to         a/o2, lane over/failover, while those before it are away\n",
		"f":  "route failing: dead letter, reason filter-error\n    error      expression string(int(msg.header.n))",
		"q1": "route ask.request: dead letter, reason target-not-allowed\n    error      reply address \"elsewhere\"",
		"p1": "to         a/p2, lane ask.reply/a: a reply goes where its request has asked for it\n",
	} {
		trace := table.Trace(m, func(a adapters.Address, _ []*Route) bool { return a.Name == queue }, options())
		if !strings.Contains(trace.Text(), want) {
			t.Errorf("%s: no %q in\n%s", queue, want, trace.Text())
		}
		if n := len(trace.targets()); queue == "o" && n != 1 || queue == "w" && n != 2 || queue == "f" && n != 1 {
			t.Errorf("%s: targets %v", queue, trace.targets())
		}
	}
	m.ReplyTo.Name = ""
	if got := table.Trace(m, func(a adapters.Address, _ []*Route) bool { return a.Name == "q1" }, options()).Text(); !strings.Contains(got, "lane ask.request/a: its reply is expected at p1") {
		t.Errorf("a request:\n%s", got)
	}
	counts := map[string]int{}
	for i := range 200 {
		m := &adapters.Message{Props: []adapters.Prop{{Name: "s", V: adapters.String(fmt.Sprint(i))}, {Name: "n", V: adapters.String("1")}}}
		trace := table.Trace(m, func(a adapters.Address, _ []*Route) bool { return a.Name == "f" }, options())
		counts[trace.targets()[0]]++
	}
	if counts["a/f1"] < 50 || counts["a/f2"] < 50 {
		t.Errorf("200 values are spread %v", counts)
	}
}

// TestTraceOfComputedPlaces: where a message goes whose target is computed, and from there on.
func TestTraceOfComputedPlaces(t *testing.T) {
	table := loadText(t, `version: 1
brokers: { k: { type: kafka, addresses: ["h:9092"] } }
spool: { dir: /d }
routes:
  - { name: alarms, from: { broker: k, topic: in }, to: { broker: k, topic: { prefix: alarms-, expr: lower(msg.header.region), allow: [alarms-eu, alarms-uk] } } }
  - { name: next, from: { broker: k, topic: alarms-eu }, to: { broker: k, topic: out } }
  - { name: stops, from: { broker: k, topic: other }, to: { broker: k, topic: { prefix: x-, expr: 'string(int(msg.header.region))' } }, on_filter_error: stop }
`)
	for region, want := range map[string]string{
		"EU": "at k/in\n  route alarms: takes it\n    to         k/alarms-eu, lane alarms/k\n      at k/alarms-eu\n        route next: takes it\n          to         k/out, lane next/k\n",
		"UK": "at k/in\n  route alarms: takes it\n    to         k/alarms-uk, lane alarms/k\n",
		"US": "dead letter, reason target-not-allowed: not sent: \"alarms-us\": it is not in allow",
	} {
		m := &adapters.Message{Props: []adapters.Prop{{Name: "region", V: adapters.String(region)}}}
		trace := table.Trace(m, func(a adapters.Address, _ []*Route) bool { return a.Name == "in" }, options())
		if !strings.Contains(trace.Text(), want) || (trace.deadLetter() == "target-not-allowed") != (region == "US") {
			t.Errorf("%s: dead letter %q, no %q in\n%s", region, trace.deadLetter(), want, trace.Text())
		}
	}
	m := &adapters.Message{}
	if d := Decide(nil, table.Routes[2:3], m); d[0].Verdict != Stopped {
		t.Errorf("no value for the place, and on_filter_error: stop: %+v", d[0])
	}
}
