package routes_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters/amqp"
	"github.com/posthouse/posthouse/adapters/kafka"
	"github.com/posthouse/posthouse/adapters/nats"
	"github.com/posthouse/posthouse/routes"
)

const compared = `version: 1
brokers:
  a: { type: amqp, dialect: artemis, addresses: ["amqp://127.0.0.1:1"], site: paris }
  b: { type: amqp, dialect: artemis, addresses: ["amqp://127.0.0.1:2"] }
  c: { type: nats, embedded: { dir: js } }
spool: { dir: spool }
routes:
  - { name: one, from: { broker: a, queue: in }, to: { broker: b, queue: out }, filter: 'msg.priority > 4' }
  - { name: two, from: { broker: a, queue: in }, to: { broker: b, queue: more } }
  - name: three
    from: { broker: b, queue: in }
    to: [{ broker: a, queue: x }, { name: y, broker: b, queue: y, key: msg.key }]
    distribute: copy
  - { name: four, enabled: false, from: { broker: b, queue: four }, to: { broker: a, queue: four } }
admin: { listen: 127.0.0.1:0 }
`

func comparedTable(t *testing.T, src string) *routes.Table {
	t.Helper()
	table, fs := routes.Load("test.yaml", []byte(src), routes.Options{Kinds: routes.Kinds{"amqp": amqp.New(), "kafka": kafka.New(), "nats": nats.New()}})
	if table == nil {
		t.Fatalf("%v\n%s", fs, src)
	}
	return table
}

// What a reload says is what it does: each change of the file and its consequences.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new string // replaced in the file
		want     string
	}{
		{"comment", "version: 1", "# hello\nversion: 1", ""},
		{"written otherwise", "{ broker: b, queue: more }", "[{ queue: more, broker: b }]", ""},
		{"defaults written", "to: { broker: b, queue: more } }", "to: { broker: b, queue: more }, in_flight: 256, order: source }", ""},
		{"filter", "msg.priority > 4", "msg.priority > 5", "changed one[filter]; restarted one,two"},
		{"no filter", ", filter: 'msg.priority > 4'", "", "changed one[filter]; restarted one,two"},
		{"key", "key: msg.key", "key: msg.type", "changed three[to[1].key]; restarted three"},
		{"target", "broker: b, queue: more", "broker: b, queue: less", "changed two[to]; restarted one,two"},
		{"another target", "{ broker: a, queue: x }, ", "", "changed three[to distribute]; restarted one,two,three"},
		{"source", "name: two, from: { broker: a, queue: in }", "name: two, from: { broker: a, queue: on }", "changed two[from]; restarted one,two"},
		{"limits", "broker: b, queue: more } }", "broker: b, queue: more }, batch: { count: 9 }, retry: { max_delay: 2m } }", "changed two[batch.count retry.max_delay]; live routes.two.batch.count,routes.two.retry.max_delay"},
		{"limits and another key", "broker: b, queue: more } }", "broker: b, queue: more }, max_rate: 9, in_flight: 9 }", "changed two[in_flight max_rate]; restarted one,two"},
		{"rates", "broker: b, queue: more } }", "broker: b, queue: more }, max_rate: 9, drain_rate: 4, max_attempts: 3 }", "changed two[max_rate drain_rate max_attempts]; live routes.two.max_rate,routes.two.drain_rate,routes.two.max_attempts"},
		{"spool of a route", "broker: b, queue: more } }", "broker: b, queue: more }, spool: { max_age: 2h } }", "changed two[spool.max_age]; restarted one,two"},
		{"dead letters", "broker: b, queue: more } }", "broker: b, queue: more }, dead_letter: { broker: b, queue: dead } }", "changed two[dead_letter]; restarted one,two"},
		{"enabled", "enabled: false, ", "", "changed four[enabled]"},
		{"disabled", "name: three", "name: three\n    enabled: false", "changed three[enabled]; restarted one,two"}, // nobody writes to a any more: its headers are not believed
		{"added", "admin:", "  - { name: five, from: { broker: b, queue: five }, to: { broker: a, queue: five } }\nadmin:", "added five"},
		{"shares a source", "admin:", "  - { name: five, from: { broker: b, queue: in }, to: { broker: a, queue: five } }\nadmin:", "added five; restarted three"},
		{"removed", "  - { name: two, from: { broker: a, queue: in }, to: { broker: b, queue: more } }\n", "", "removed two; restarted one"},
		{"renamed", "name: two,", "name: second, renamed_from: two,", "added second; removed two>second; restarted one"},
		{"address", "127.0.0.1:2", "127.0.0.1:3", "brokers b[addresses]; restarted one,two,three"},
		{"heartbeat", "amqp://127.0.0.1:2\"]", "amqp://127.0.0.1:2\"], heartbeat: 3s, duplicate_window: 5", "brokers b[heartbeat duplicate_window]; restarted one,two,three"},
		{"secret", "amqp://127.0.0.1:2\"]", "amqp://127.0.0.1:2\"], credentials: { user: u, password: { env: X } }", "brokers b[credentials.user credentials]; restarted one,two,three"},
		{"site", "site: paris", "site: lyon", "live brokers.a.site"},
		{"log level", "admin: {", "admin: { log: { level: debug },", "live admin.log.level"},
		{"log format", "admin: {", "admin: { log: { format: json },", "process admin.log.format"},
		{"listen", "listen: 127.0.0.1:0", "listen: 127.0.0.1:7", "process admin.listen"},
		{"spool.dir", "dir: spool", "dir: other", "process spool.dir"},
		{"spool.sync", "dir: spool", "dir: spool, sync: 10ms", "process spool.sync"},
		{"spool.max_size", "dir: spool", "dir: spool, max_size: 1GiB", "process spool.max_size"},
		{"spool.segment_size", "dir: spool", "dir: spool, segment_size: 1MiB", "process spool.segment_size"},
		{"spool.when_full", "dir: spool", "dir: spool, when_full: pause", ""},
		{"embedded", "dir: js", "dir: js2", "brokers c[embedded]; process brokers.c.embedded"},
		{"no embedded", "  c: { type: nats, embedded: { dir: js } }\n", "", "brokers c[removed]; process brokers.c.embedded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(compared, c.old) {
				t.Fatal("void")
			}
			src := strings.Replace(compared, c.old, c.new, 1)
			if c.name == "another target" {
				src = strings.Replace(src, "\n    distribute: copy", "", 1)
			}
			d := comparedTable(t, src).Compare(comparedTable(t, compared))
			if got := said(d); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if d.Empty() != (c.want == "") {
				t.Errorf("empty: %t", d.Empty())
			}
		})
	}
	a := comparedTable(t, compared)
	if got := said(a.Compare(a, "b")); got != "brokers b[credentials]; restarted one,two,three" {
		t.Errorf("a new password: %s", got)
	}
}

// At NATS and Kafka a source is read from its place under the name of the first route on it, unless the file names a group.
func TestComparePositions(t *testing.T) {
	const file = `version: 1
brokers:
  n: { type: nats, addresses: ["nats://127.0.0.1:1"] }
  k: { type: kafka, addresses: ["127.0.0.1:2"] }
  a: { type: amqp, addresses: ["amqp://127.0.0.1:3"] }
routes:
  - { name: audit, from: { broker: k, topic: t }, to: { broker: a, queue: audit } }
  - { name: orders, from: { broker: k, topic: t }, to: { broker: a, queue: orders } }
  - { name: grouped, from: { broker: k, topic: g, group: mine }, to: { broker: a, queue: g } }
  - { name: stream, from: { broker: n, stream: S }, to: { broker: a, queue: s } }
  - { name: queue, from: { broker: a, queue: q }, to: { broker: n, subject: q } }
`
	old := comparedTable(t, file)
	for was, now := range map[string]string{"audit": "aud", "orders": "ord", "grouped": "g", "stream": "flow", "queue": "q"} {
		d := comparedTable(t, strings.Replace(file, "name: "+was+",", "name: "+now+", renamed_from: "+was+",", 1)).Compare(old)
		var want []routes.Change
		if was == "audit" || was == "stream" {
			want = []routes.Change{{Name: now, Keys: []string{}, Was: was}}
		}
		if !slices.EqualFunc(d.Positions, want, func(a, b routes.Change) bool { return a.Name == b.Name && a.Was == b.Was }) {
			t.Errorf("%s renamed: %+v", was, d.Positions)
		}
	}
	without := strings.Replace(file, "  - { name: audit, from: { broker: k, topic: t }, to: { broker: a, queue: audit } }\n", "", 1)
	if d := comparedTable(t, without).Compare(old); len(d.Positions) != 1 || d.Positions[0].Name != "orders" {
		t.Errorf("the first route removed: %+v", d.Positions)
	}
}

func said(d *routes.Diff) string {
	var words []string
	list := func(name string, of []string) {
		if len(of) > 0 {
			words = append(words, name+" "+strings.Join(of, ","))
		}
	}
	changes := func(cs []routes.Change) (out []string) {
		for _, c := range cs {
			s := c.Name
			if len(c.Keys) > 0 {
				s += fmt.Sprint(c.Keys)
			}
			if c.Was != "" {
				s += ">" + c.Was
			}
			out = append(out, s)
		}
		return out
	}
	list("brokers", changes(d.Brokers))
	list("added", d.Added)
	list("changed", changes(d.Changed))
	list("removed", changes(d.Removed))
	list("restarted", d.Restarted)
	list("process", d.Process)
	list("live", d.Live)
	list("positions", changes(d.Positions))
	return strings.Join(words, "; ")
}

// Ten thousand routes are compared in no time, and only what differs is touched.
func TestCompareMany(t *testing.T) {
	many := func(changed int) *routes.Table {
		t := &routes.Table{Brokers: map[string]*routes.Broker{"a": {Name: "a"}, "b": {Name: "b"}}}
		for i := range 10_000 {
			name := fmt.Sprint("r", i)
			r := &routes.Route{Name: name, Enabled: true, InFlight: 16}
			r.From.Broker, r.From.Name = "a", name
			r.To = []routes.Target{{Name: "b"}}
			r.To[0].Addr.Broker, r.To[0].Addr.Name = "b", name
			if i < changed {
				r.InFlight = 3
			}
			t.Routes = append(t.Routes, r)
		}
		return t
	}
	old, new := many(0), many(7)
	d := new.Compare(old)
	if len(d.Changed) != 7 || len(d.Restarted) != 7 || len(d.Groups) != 10_000 {
		t.Errorf("%d changed, %d restarted", len(d.Changed), len(d.Restarted))
	}
	if n := len(slices.DeleteFunc(d.Groups, func(g routes.Group) bool { return g.Same })); n != 7 {
		t.Errorf("%d groups differ", n)
	}
}
