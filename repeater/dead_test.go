package repeater_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// A burial is a dead letter as it is kept.
type burial struct {
	n   int
	m   *adapters.Message
	why bridge.Dead
}

// dug reads the local dead letters; the repeater has stopped.
func (d *depot) dug() []burial { return d.dugOf("orders") }

// dugOf is dug for a route that has another name.
func (d *depot) dugOf(route string) (bs []burial) {
	d.t.Helper()
	err := spool.Export(d.t.Context(), d.disk, route+"/dead-letter", func(rec spool.Item) error {
		m, err := repeater.DecodeRecord(rec.Body)
		if err != nil {
			return err
		}
		b := burial{n: number(m), m: m}
		bs = append(bs, b)
		return json.Unmarshal(rec.ID, &bs[len(bs)-1].why)
	})
	if err != nil && !errors.Is(err, spool.ErrNoLane) {
		d.t.Fatal(err)
	}
	return bs
}

// filterOf compiles an expression as a file would.
func filterOf(t *testing.T, expr string) *routes.Filter {
	t.Helper()
	file := "version: 1\nbrokers: { x: { type: amqp, addresses: [amqp://127.0.0.1:1] } }\n" +
		"routes: [{ name: r, from: { broker: x, queue: a }, to: { broker: x, queue: b }, filter: '" + expr + "' }]\n"
	table, fs := routes.Load("test.yaml", []byte(file), routes.Options{Kinds: routes.Kinds{"amqp": mem.New()}})
	if table == nil {
		t.Fatal(fs)
	}
	return table.Routes[0].Filter
}

// refuses lets b/out refuse what f says.
func (d *depot) refuses(f func(n int) bool) {
	d.brokers["b"].SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { return f(number(m)) }})
}

func (d *depot) dead() uint64 { return d.rep.Status().Routes[0].Dead.Spooled }

// A message that the target refuses max_attempts times is kept with its reason, and then settled; the others pass it.
func TestC12_PoisonBecomesADeadLetter(t *testing.T) {
	for _, spooled := range []bool{false, true} {
		t.Run(fmt.Sprint("spooled=", spooled), func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.r.MaxAttempts = 3
				tries := 0
				d.brokers["b"].SetRules("out", mem.Rules{
					Refuse: func(m *adapters.Message) bool { return number(m) == 7 },
					Judged: func(_ *adapters.Message, err error) {
						if err != nil {
							tries++
						}
					},
				})
				if spooled {
					d.away("b")
				}
				d.brokers["a"].Put("in", messages(0, 20)...)
				d.start()
				if spooled {
					d.spooled(20)
					d.back("b")
				}
				d.take("b", "out", 19)
				d.until("a dead letter", func() bool { return d.dead() == 1 })
				d.empty("a", "in")
				d.is("pass-through")
				d.halt()
				bs := d.dug()
				if len(bs) != 1 || bs[0].n != 7 || tries != 3 {
					t.Fatalf("%d attempts; %+v", tries, bs)
				}
				if m, w := bs[0].m, bs[0].why; string(m.Body.Data) != "body 7" || m.ID.S != "m7" ||
					w.Reason != "rejected" || w.Attempts != 3 || w.Lane != "orders/b0" || w.Route != "orders" || w.Text == "" || w.First >= w.Last {
					t.Errorf("%+v\n%+v", m, w)
				}
			})
		})
	}
}

// A dead letter for a broker has its body and properties untouched, and the reason in headers of its own.
func TestDeadLetterAtABroker(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.MaxAttempts = 1
		d.r.DeadLetter = &routes.Target{Addr: addr([2]string{"a", "dead"})}
		d.refuses(func(n int) bool { return n == 3 })
		d.brokers["a"].Put("in", messages(0, 5)...)
		d.start()
		m := d.take("a", "dead", 1)[0]
		for name, want := range map[string]string{
			"posthouse-dead-reason": "rejected", "posthouse-dead-route": "orders", "posthouse-dead-lane": "orders/b0", "posthouse-dead-attempts": "1",
		} {
			if v, _ := m.Prop(name); v.Text() != want {
				t.Errorf("%s is %q, want %q", name, v.Text(), want)
			}
		}
		if string(m.Body.Data) != "body 3" || number(m) != 3 {
			t.Errorf("%+v", m)
		}
		d.until("nothing is kept here", func() bool { return d.dead() == 0 })
		d.halt()
	})
}

// While the place for dead letters is away they wait in the journal, and no message waits for them.
func TestDeadLetterTargetAway(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.MaxAttempts = 1
		d.r.DeadLetter = &routes.Target{Addr: addr([2]string{"b", "dead"})}
		d.brokers["b"].SetRules("dead", mem.Rules{Missing: true})
		d.refuses(func(n int) bool { return n%10 == 3 })
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.start()
		d.take("b", "out", 90)
		d.empty("a", "in")
		d.until("dead letters are kept", func() bool { return d.dead() == 10 })
		d.brokers["b"].SetRules("dead", mem.Rules{})
		d.take("b", "dead", 10)
		d.halt()
	})
}

// What never reaches a target has a reason of its own.
func TestDeadLetterReasons(t *testing.T) {
	set := func(f func(m *adapters.Message)) *adapters.Message {
		m := message(1)
		f(m)
		return m
	}
	for _, c := range []struct {
		reason string
		m      *adapters.Message
		rule   func(r *routes.Route)
	}{
		{"loop", set(func(m *adapters.Message) { m.Track.Path = []string{"x/1", "x/2"} }), func(r *routes.Route) { r.MaxHops = 1 }},
		{"expired", set(func(m *adapters.Message) { m.Expires = 1 }), func(r *routes.Route) { r.Expired = routes.ExpiredDeadLetter }},
		{"filter-error", message(1), func(r *routes.Route) { r.Filter = filterOf(t, `int(msg.header.size) > 1`) }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			spooling(t, routes.SpoolAuto, func(d *depot) {
				d.r.MaxAttempts = 5
				d.table.Spool.SegmentSize = 16 << 20
				c.rule(d.r)
				d.brokers["a"].Put("in", c.m)
				d.start()
				d.until("a dead letter", func() bool { return d.rep.Status().Routes[0].Dead.Spooled == 1 })
				d.empty("a", "in")
				d.halt()
				if bs := d.dug(); len(bs) != 1 || bs[0].why.Reason != c.reason || bs[0].why.Text == "" {
					t.Errorf("%+v", bs)
				}
			})
		})
	}
}

// Strict order: a refused message stops the lane, which says so; nothing passes it, and it goes on when it is taken.
func TestStrictOrderHolds(t *testing.T) {
	for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto, routes.SpoolAlways} {
		t.Run(string(mode), func(t *testing.T) {
			spooling(t, mode, func(d *depot) {
				d.r.Order, d.r.OnPoison, d.r.MaxAttempts, d.r.InFlight = routes.OrderStrict, routes.PoisonHold, 3, 1
				d.refuses(func(n int) bool { return n == 7 })
				d.brokers["a"].Put("in", messages(0, 20)...)
				d.start()
				d.is("held")
				pass(10 * time.Minute)
				if got := d.take("b", "out", 7); !slices.Equal(numbers(got), upTo(7)) {
					t.Errorf("came %v", numbers(got))
				}
				if n, _ := d.brokers["b"].Len("out"); n != 0 || d.dead() != 0 {
					t.Errorf("%d messages passed it, %d dead letters", n, d.dead())
				}
				d.brokers["b"].SetRules("out", mem.Rules{})
				if got := d.take("b", "out", 13); number(got[0]) != 7 || !slices.IsSorted(numbers(got)) {
					t.Errorf("came %v", numbers(got))
				}
				d.is("pass-through")
				d.halt()
			})
		})
	}
}

// Strict order with on_poison dead-letter: after max_attempts the lane goes on without it.
func TestStrictOrderGoesOnWithoutThePoison(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Order, d.r.OnPoison, d.r.MaxAttempts, d.r.InFlight = routes.OrderStrict, routes.PoisonDeadLetter, 3, 1
		d.refuses(func(n int) bool { return n == 7 })
		d.brokers["a"].Put("in", messages(0, 20)...)
		d.start()
		want := slices.DeleteFunc(upTo(20), func(n int) bool { return n == 7 })
		if got := d.take("b", "out", 19); !slices.Equal(numbers(got), want) {
			t.Errorf("came %v", numbers(got))
		}
		d.until("a dead letter", func() bool { return d.dead() == 1 })
		d.halt()
	})
}

// A refusal is an answer: when the last message has become a dead letter, the lane is as well as its target.
func TestTheOnlyMessageBecomesADeadLetter(t *testing.T) {
	for _, mode := range []routes.SpoolMode{routes.SpoolAuto, routes.SpoolAlways} {
		t.Run(string(mode), func(t *testing.T) {
			spooling(t, mode, func(d *depot) {
				d.r.Order, d.r.OnPoison, d.r.MaxAttempts, d.r.InFlight = routes.OrderStrict, routes.PoisonDeadLetter, 4, 1
				d.refuses(func(int) bool { return true })
				d.brokers["a"].Put("in", message(0))
				d.start()
				d.until("a dead letter", func() bool { return d.dead() == 1 })
				d.is("pass-through")
				d.halt()
			})
		})
	}
}

// A stop between refusals loses nothing and buries nothing.
func TestStopBetweenRefusals(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.MaxAttempts = 100
		d.refuses(func(n int) bool { return n == 2 })
		d.brokers["a"].Put("in", messages(0, 5)...)
		d.start()
		d.take("b", "out", 4)
		d.halt()
		d.brokers["b"].SetRules("out", mem.Rules{})
		d.start()
		if got := d.take("b", "out", 1); number(got[0]) != 2 || d.dead() != 0 {
			t.Errorf("came %v, %d dead letters", numbers(got), d.dead())
		}
		d.halt()
	})
}
