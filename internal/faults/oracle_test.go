package faults

import (
	"maps"
	"testing"
)

// carried is a message as Posthouse leaves it at a target.
func carried(m message) message {
	m.headers = maps.Clone(m.headers)
	m.headers[headerPosthouseID] = "e.1.2"
	m.headers["posthouse-path"] = "a/b"
	return m
}

func TestOracleReadsItsOwn(t *testing.T) {
	o := oracle{seed: 42}
	for n := range 50 {
		m := carried(o.make("orders", n))
		a := o.read("orders", m)
		if a.number != n || a.wrong != "" || a.id != "e.1.2" || a.flagged {
			t.Fatalf("message %d: %+v", n, a)
		}
		m.headers[headerPossibleDup] = "true"
		if a := o.read("orders", m); !a.flagged || a.wrong != "" {
			t.Fatalf("message %d, flagged: %+v", n, a)
		}
	}
}

// TestOracleSeesEveryChange: whatever is changed on the way is told apart from what was sent.
func TestOracleSeesEveryChange(t *testing.T) {
	o := oracle{seed: 42}
	for name, c := range map[string]struct {
		change func(*message)
		want   string
	}{
		"a bit of the body":    {func(m *message) { m.body[17] ^= 1 }, corrupt},
		"the end of the body":  {func(m *message) { m.body = m.body[:len(m.body)-1] }, corrupt},
		"no body":              {func(m *message) { m.body = nil }, corrupt},
		"another body":         {func(m *message) { m.body = o.make("orders", 4).body }, corrupt},
		"a header":             {func(m *message) { m.headers[headerWord] += "x" }, corrupt},
		"a header gone":        {func(m *message) { delete(m.headers, headerKey) }, corrupt},
		"another key":          {func(m *message) { m.headers[headerKey] = "key-9"; m.headers[headerSum] = m.sum() }, corrupt},
		"body with a good sum": {func(m *message) { m.body[0] ^= 1; m.headers[headerSum] = m.sum() }, corrupt},
		"no sum":               {func(m *message) { delete(m.headers, headerSum) }, corrupt},
		"no posthouse-id":      {func(m *message) { delete(m.headers, headerPosthouseID) }, corrupt},
		"no id":                {func(m *message) { delete(m.headers, headerID) }, foreign},
		"another run":          {func(m *message) { m.headers[headerID] = "orders/7/3" }, foreign},
		"no number":            {func(m *message) { m.headers[headerID] = "orders/2a/x" }, foreign},
		"another number":       {func(m *message) { m.headers[headerID] = "orders/2a/4" }, corrupt},
		"another lane":         {func(m *message) { *m = carried(o.make("fills", 3)) }, misrouted},
		"another seed":         {func(m *message) { *m = carried(oracle{seed: 1}.make("orders", 3)) }, foreign},
	} {
		m := carried(o.make("orders", 3))
		c.change(&m)
		if a := o.read("orders", m); a.wrong != c.want {
			t.Errorf("%s: %q (%s), want %q", name, a.wrong, a.detail, c.want)
		}
	}
}

func TestOracleRepeatsItself(t *testing.T) {
	a, b := oracle{seed: 1}.make("orders", 5), oracle{seed: 1}.make("orders", 5)
	if what := a.differs(b); what != "" {
		t.Error(what)
	}
	if other := (oracle{seed: 2}).make("orders", 5); a.differs(other) == "" {
		t.Error("another seed makes the same message")
	}
}
