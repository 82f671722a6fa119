package routes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// sharing loads a file whose routes share one source; each entry is what a route has besides name, from and to.
func sharing(t *testing.T, routes ...string) *Table {
	t.Helper()
	table, fs := loadShared(routes...)
	if table == nil {
		t.Fatal(fs)
	}
	return table
}

func loadShared(routes ...string) (*Table, Findings) {
	var b strings.Builder
	b.WriteString("version: 1\nbrokers: { a: { type: amqp, addresses: [amqp://h] } }\nspool: { dir: /d }\nroutes:\n")
	for i, r := range routes {
		fmt.Fprintf(&b, "  - { name: r%d, from: { broker: a, queue: in }, to: { broker: a, queue: out%d }%s }\n", i, i, r)
	}
	return Load("shared.yaml", []byte(b.String()), Options{Kinds: testKinds()})
}

// TestDecide lists who takes a message among routes that share a source: T taken, p preceded, - declined, s skipped,
// D set aside, X stopped.
func TestDecide(t *testing.T) {
	const (
		big    = `, filter: "msg.priority > 5"`
		eu     = `, filter: 'msg.header.region == "EU"'`
		number = `, filter: "int(msg.header.region) > 0"` // fails on every message here
		first  = `, match: first`
		rest   = `, match: otherwise`
	)
	message := func(priority uint8, region string) *adapters.Message {
		return &adapters.Message{Priority: adapters.Priority{Set: true, Value: priority}, Props: []adapters.Prop{{Name: "region", V: adapters.String(region)}}}
	}
	for _, c := range []struct {
		name                       string
		routes                     []string
		both, onlyBig, onlyEU, not string
	}{
		{"all", []string{big, eu}, "TT", "T-", "-T", "--"},
		{"first", []string{big + first, eu + first}, "Tp", "Tp", "-T", "--"},
		{"first, other order", []string{eu + first, big + first}, "Tp", "-T", "Tp", "--"},
		{"otherwise", []string{big, eu, rest}, "TTp", "T-p", "-Tp", "--T"},
		{"otherwise, written first", []string{rest, big + first, eu + first}, "pTp", "pTp", "p-T", "T--"},
		{"one that takes all does not hinder the first", []string{"", big + first, eu + first}, "TTp", "TTp", "T-T", "T--"},
		{"error is a dead letter", []string{number + first, eu + first, rest}, "Dpp", "Dpp", "Dpp", "Dpp"},
		{"error skips", []string{number + first + ", on_filter_error: skip", eu + first, rest}, "sTp", "s-T", "sTp", "s-T"},
		{"error matches", []string{number + ", on_filter_error: match", eu, rest}, "TTp", "T-p", "TTp", "T-p"},
		{"error stops", []string{eu, number + ", on_filter_error: stop"}, "TX", "-X", "TX", "-X"},
	} {
		table := sharing(t, c.routes...)
		for i, want := range []string{c.both, c.onlyBig, c.onlyEU, c.not} {
			m := message([]uint8{9, 9, 1, 1}[i], []string{"EU", "US", "EU", "US"}[i])
			got := ""
			for _, d := range Decide(nil, table.Flows()[0], m) {
				got += string("-pTsDX"[d.Verdict])
				if d.Verdict > Taken && d.Err == nil {
					t.Errorf("%s: no reason", c.name)
				}
			}
			if got != want {
				t.Errorf("%s, message %d: %s, want %s", c.name, i, got, want)
			}
		}
	}
}

func TestFateUnrouted(t *testing.T) {
	for _, c := range []struct {
		routes []string
		want   Unrouted
	}{
		{[]string{""}, UnroutedSkip},
		{[]string{"", ""}, UnroutedDeadLetter},
		{[]string{", unrouted: dead-letter, filter: msg.expired"}, UnroutedDeadLetter},
		{[]string{", filter: msg.expired", ", filter: msg.expired, unrouted: leave"}, UnroutedLeave},
		{[]string{", filter: msg.expired, unrouted: skip", ", filter: msg.expired"}, UnroutedSkip},
	} {
		if got := FateUnrouted(sharing(t, c.routes...).Flows()[0]); got != c.want {
			t.Errorf("%q: %s, want %s", c.routes, got, c.want)
		}
	}
}
