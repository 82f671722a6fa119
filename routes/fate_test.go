package routes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// loadRoute loads one route with keys of its own, keys of defaults.route, and a spool if that is asked for.
func loadRoute(t *testing.T, keys, defaults string, spool bool) (*Table, *Route) {
	t.Helper()
	src := "version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h] }\n  k: { type: kafka, addresses: [\"h:1\"] }\n" +
		"routes:\n  - { name: r, from: { broker: a, queue: q }, to: [{ broker: a, queue: p }, { broker: k, topic: p }], distribute: copy" + keys + " }\n"
	if defaults != "" {
		src += "defaults: { route: { " + defaults + " } }\n"
	}
	if spool {
		src += "spool: { dir: /d }\n"
	}
	table, fs := Load("f.yaml", []byte(src), Options{Kinds: testKinds()})
	if table == nil {
		var b strings.Builder
		_ = fs.Text(&b)
		t.Fatalf("%s\n%s", src, b.String())
	}
	return table, table.Routes[0]
}

// TestFateDefaults: each setting as it is without a word, under defaults, and overridden by the route.
func TestFateDefaults(t *testing.T) {
	type fates struct {
		Order         Order
		MaxAttempts   int
		OnPoison      OnPoison
		OnFilterError OnFilterError
		Expired       Expired
		Dead          string
	}
	for _, c := range []struct {
		keys, defaults string
		want           fates
	}{
		{"", "", fates{OrderSource, 5, PoisonDeadLetter, FilterErrorDeadLetter, ExpiredDrop, ""}},
		{"", "order: strict, max_attempts: 2, on_filter_error: match, expired: dead-letter, dead_letter: { broker: k, topic: dead }",
			fates{OrderStrict, 2, PoisonHold, FilterErrorMatch, ExpiredDeadLetter, "k/dead"}},
		{", order: none, on_filter_error: skip, dead_letter: { broker: a, queue: dead }", "order: strict, on_filter_error: match, dead_letter: { broker: k, topic: dead }",
			fates{OrderNone, 5, PoisonDeadLetter, FilterErrorSkip, ExpiredDrop, "a/dead"}},
		{", order: strict, dead_letter: local", "on_poison: dead-letter, dead_letter: { broker: k, topic: dead }",
			fates{OrderStrict, 5, PoisonDeadLetter, FilterErrorDeadLetter, ExpiredDrop, ""}},
		{", order: per-key", "", fates{OrderPerKey, 5, PoisonDeadLetter, FilterErrorDeadLetter, ExpiredDrop, ""}},
		{", on_poison: hold", "", fates{OrderSource, 5, PoisonHold, FilterErrorDeadLetter, ExpiredDrop, ""}},
	} {
		_, r := loadRoute(t, c.keys, c.defaults, true)
		got := fates{r.Order, r.MaxAttempts, r.OnPoison, r.OnFilterError, r.Expired, ""}
		if r.DeadLetter != nil {
			got.Dead = r.DeadLetter.Addr.String()
			if r.DeadLetter.Name != DeadLetterName {
				t.Errorf("name %q of a dead letter target", r.DeadLetter.Name)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q over %q (-want +got):\n%s", c.keys, c.defaults, diff)
		}
	}
}

// TestWindow: what may be in flight to a target that passes a refused message (a), and to one that stops (k).
func TestWindow(t *testing.T) {
	for _, c := range []struct {
		keys, defaults string
		a, k           int
		loose          bool
	}{
		{"", "", 256, 256, false},
		{", order: strict", "", 1, 256, false},
		{", order: strict, in_flight: 1", "", 1, 1, false},
		{", order: strict, in_flight: 9", "", 9, 9, true},
		{", order: strict", "in_flight: 9", 1, 9, false},
		{", order: strict, in_flight: 9", "in_flight: 1", 9, 9, true},
		{", in_flight: 9", "order: strict", 9, 9, true},
		{"", "order: strict, in_flight: 9", 9, 9, true},
		{"", "order: strict", 1, 256, false},
		{", order: source", "order: strict", 256, 256, false},
	} {
		table, r := loadRoute(t, c.keys, c.defaults, true)
		if a, k := r.Window(&r.To[0]), r.Window(&r.To[1]); a != c.a || k != c.k {
			t.Errorf("%q over %q: windows %d and %d, want %d and %d", c.keys, c.defaults, a, k, c.a, c.k)
		}
		if !r.To[0].PassesRefused || r.To[1].PassesRefused {
			t.Errorf("passes what was refused: %v and %v", r.To[0].PassesRefused, r.To[1].PassesRefused)
		}
		text, _ := table.ExplainRoute("r", "x")
		if got := strings.Contains(text, "but to a up to 8 do: in_flight is written (D007)"); got != c.loose {
			t.Errorf("%q over %q: explained as loose: %v, want %v\n%s", c.keys, c.defaults, got, c.loose, text)
		}
	}
}

// TestExplainFates: lines that depend on whether there is a place for dead letters.
func TestExplainFates(t *testing.T) {
	const back = "given back to its source after a pause"
	for _, c := range []struct {
		keys  string
		spool bool
		want  []string
	}{
		{", filter: msg.priority > 4", false, []string{"  on_poison        dead-letter: a poison message is " + back, "  dead_letter      nowhere: the file has no spool",
			"  on_filter_error  dead-letter: a message on which the filter, or an expression of set, fails is " + back}},
		{", order: strict", false, []string{"hold: the lane stops", "nowhere: "}},
		{", dead_letter: { broker: a, queue: dead }", false, []string{"a poison message is set aside", "  dead_letter      a/dead (queue); a message is let go only when its dead letter is durable\n"}},
		{"", true, []string{"a poison message is set aside", "  dead_letter      local, in /d/x; a message is let go only"}},
		{", max_attempts: 1, expired: dead-letter", true, []string{"  max_attempts     1 refusal by a target", "dead-letter: a message whose expiry has passed is set aside"}},
		{", order: strict", true, []string{"  in_flight        256 messages, to a 1 because of order: strict, confirmed within 30s\n"}},
	} {
		table, _ := loadRoute(t, c.keys, "", c.spool)
		text, _ := table.ExplainRoute("r", "x")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%q, spool %v: no %q in\n%s", c.keys, c.spool, want, text)
			}
		}
	}
}

// TestFeeds: what is written to one end and read at another.
func TestFeeds(t *testing.T) {
	stream := func(subject string) adapters.Address {
		a := adapters.Address{Broker: "n", Form: adapters.Stream, Name: "S"}
		if subject != "" {
			a.Options = adapters.Options{"subject": subject}
		}
		return a
	}
	subject := func(broker, name, made string) adapters.Address {
		return adapters.Address{Broker: broker, Form: adapters.Subject, Name: name, Options: adapters.Options{"stream": made}}
	}
	queue := adapters.Address{Broker: "n", Form: adapters.Queue, Name: "q"}
	for _, c := range []struct {
		to, from adapters.Address
		want     bool
	}{
		{queue, queue, true},
		{queue, adapters.Address{Broker: "n", Form: adapters.Topic, Name: "q"}, false},
		{queue, adapters.Address{Broker: "m", Form: adapters.Queue, Name: "q"}, false},
		{subject("n", "s.x", ""), stream("s.*"), true},
		{subject("n", "s.x", ""), stream("s.>"), true},
		{subject("n", "s.x", ""), stream(">"), true},
		{subject("n", "s.x", ""), stream("s.x"), true},
		{subject("n", "s", ""), stream("s.>"), false},
		{subject("n", "s.x.y", ""), stream("s.*"), false},
		{subject("n", "s.x", ""), stream("s.*.y"), false},
		{subject("n", "t.x", ""), stream("s.>"), false},
		{subject("m", "s.x", ""), stream("s.>"), false},
		{subject("n", "s.x", ""), stream(""), false},
		{subject("n", "s.x", "S"), stream(""), true},
		{subject("n", "s.x", "T"), stream(""), false},
		{subject("n", "S", ""), stream(""), false},
	} {
		if got := feeds(c.to, c.from); got != c.want {
			t.Errorf("%v %v to %v %v: %v", c.to, c.to.Options, c.from, c.from.Options, got)
		}
	}
}
