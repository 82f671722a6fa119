package repeater_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// editsOf compiles set and unset as a file would: text is what stands behind the other keys of a route.
func editsOf(t *testing.T, text string) []routes.Edit {
	t.Helper()
	file := "version: 1\nbrokers: { x: { type: amqp, addresses: [amqp://127.0.0.1:1] } }\n" +
		"routes: [{ name: r, from: { broker: x, queue: a }, to: { broker: x, queue: b }, " + text + " }]\n"
	table, fs := routes.Load("test.yaml", []byte(file), routes.Options{Kinds: routes.Kinds{"amqp": mem.New()}})
	if table == nil {
		t.Fatal(fs)
	}
	return table.Routes[0].Edits
}

// header is a property of m as TYPE:TEXT, "" if it has none.
func header(m *adapters.Message, name string) string {
	if v, ok := m.Prop(name); ok {
		return v.Type().Code() + ":" + v.Text()
	}
	return ""
}

const paris = `set: { dc: '"paris"', n: 'int(msg.header.n) * 10', half: 'msg.priority / 2', late: msg.expired, of: 'route + string(msg.json.id)' }, unset: [old, absent]`

func order(n int) *adapters.Message {
	m := message(n)
	m.Props = append(m.Props, adapters.Prop{Name: "old", V: adapters.String("x")})
	m.Body.Data = fmt.Appendf(nil, `{ "id":"o-%d" ,"n": 1.0}`, n)
	return m
}

// checkEdited: what the target has of order n.
func checkEdited(t *testing.T, m *adapters.Message, n int) {
	t.Helper()
	want := map[string]string{"dc": "s:paris", "n": fmt.Sprint("i64:", n*10), "half": "f64:2", "late": "b:false", "of": fmt.Sprint("s:orderso-", n), "old": ""}
	for name, w := range want {
		if got := header(m, name); got != w {
			t.Errorf("message %d, header %s: %q, want %q", n, name, got, w)
		}
	}
	if want := order(n).Body.Data; !bytes.Equal(m.Body.Data, want) {
		t.Errorf("the body was changed: %s", m.Body.Data)
	}
}

// The target gets the headers that the route sets, passed through or out of the spool; they are worked out when the
// message is received, so a file that says something else later does not change them.
func TestEditsArriveOnceAndAsTheyWere(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Edits = editsOf(t, paris)
		d.r.Filter = filterOf(t, `msg.header.old == "x" and msg.json.n == 1`) // sees what came
		d.brokers["a"].Put("in", order(0), order(1))
		d.start()
		for i, m := range d.take("b", "out", 2) {
			checkEdited(t, m, i)
		}
		d.away("b")
		d.is("spooling")
		d.brokers["a"].Put("in", order(2), order(3))
		d.spooled(2)
		d.halt()
		d.r.Edits = editsOf(t, `set: { dc: '"berlin"' }`)
		d.back("b")
		d.start()
		for i, m := range d.take("b", "out", 2) {
			checkEdited(t, m, i+2)
		}
		d.halt()
	})
}

// A dead letter is what came, headers and all, kept here or at a broker.
func TestDeadLetterKeepsItsOwnHeaders(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("at a broker=", away), func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.r.Edits, d.r.MaxAttempts = editsOf(t, paris), 2
				if away {
					d.r.DeadLetter = &routes.Target{Name: routes.DeadLetterName, Addr: addr([2]string{"a", "dead"})}
				}
				d.refuses(func(n int) bool { return n == 50 }) // the target sees what is set
				d.brokers["a"].Put("in", order(4), order(5), order(6))
				d.start()
				for i, m := range d.take("b", "out", 2) {
					checkEdited(t, m, 4+2*i)
				}
				d.empty("a", "in")
				var dead []*adapters.Message
				if away {
					dead = d.take("a", "dead", 1)
				}
				d.halt()
				if !away {
					for _, b := range d.dug() {
						dead = append(dead, b.m)
					}
				}
				if len(dead) != 1 || header(dead[0], "n") != "i64:5" || header(dead[0], "old") != "s:x" || header(dead[0], "dc") != "" {
					t.Errorf("dead letters: %+v", dead)
				}
			})
		})
	}
}

// Each route of a source makes its own edits; the source's message is left alone.
func TestEditsOfOneRouteAreNotThoseOfAnother(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		other := w.route("other", [2]string{"a", "in"}, [2]string{"b", "other"})
		plain := w.route("plain", [2]string{"a", "in"}, [2]string{"b", "plain"})
		r.Edits, other.Edits, plain.Edits = editsOf(t, `set: { dc: '"one"', n: '-1' }`), editsOf(t, `set: { dc: '"two"' }, unset: [n]`), nil
		w.brokers["a"].Put("in", messages(0, 5)...)
		w.start()
		for queue, want := range map[string][2]string{"out": {"s:one", "i64:-1"}, "other": {"s:two", ""}} {
			for _, m := range w.take("b", queue, 5) {
				if got := [2]string{header(m, "dc"), header(m, "n")}; got != want {
					t.Errorf("%s: %v, want %v", queue, got, want)
				}
			}
		}
		if got := numbers(w.take("b", "plain", 5)); !slices.Equal(got, upTo(5)) {
			t.Errorf("plain: %v", got)
		}
		w.halt()
	})
}

// What becomes of a message on which an expression of set fails.
func TestEditErrors(t *testing.T) {
	for fate, want := range map[routes.OnFilterError][]int{
		routes.FilterErrorDeadLetter: {0, 2}, routes.FilterErrorSkip: {0, 2}, routes.FilterErrorMatch: {0, 1, 2}, routes.FilterErrorStop: {0},
	} {
		t.Run(string(fate), func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.r.Edits, d.r.OnFilterError = editsOf(t, `set: { dc: '"paris"', twice: 'int(msg.header.count) * 2' }`), fate
				ms := messages(0, 3)
				for i, m := range ms {
					m.Props = append(m.Props, adapters.Prop{Name: "count", V: adapters.String([]string{"1", "one", "3"}[i])})
				}
				d.brokers["a"].Put("in", ms...)
				d.start()
				got := d.take("b", "out", len(want))
				if ns := numbers(got); !slices.Equal(ns, want) {
					t.Errorf("arrived: %v, want %v", ns, want)
				}
				for _, m := range got {
					if header(m, "dc") != "s:paris" || (number(m) == 1) != (header(m, "twice") == "") {
						t.Errorf("message %d: dc %q, twice %q", number(m), header(m, "dc"), header(m, "twice"))
					}
				}
				if fate == routes.FilterErrorStop {
					d.until("stopped", func() bool { return d.rep.Status().Routes[0].State == "blocked" })
				} else {
					d.empty("a", "in")
				}
				d.halt()
				dead := d.dug()
				if (len(dead) == 1) != (fate == routes.FilterErrorDeadLetter) || len(dead) == 1 && (dead[0].why.Reason != "filter-error" || header(dead[0].m, "dc") != "") {
					t.Errorf("dead letters: %+v", dead)
				}
			})
		})
	}
}

// A record that an older version wrote has no edits, and one with edits is what the lane decodes.
func TestRecordHoldsEdits(t *testing.T) {
	m := order(1)
	m.Edits = []adapters.Prop{{Name: "dc", V: adapters.String("paris")}, {Name: "old", V: adapters.Null()}}
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := repeater.DecodeRecord(b)
	if err != nil || header(got, "old") != "s:x" || len(got.Edits) != 2 || header(got.Edited(), "dc") != "s:paris" || header(got.Edited(), "old") != "" {
		t.Errorf("%+v, %v", got, err)
	}
}
