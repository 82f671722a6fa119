package repeater_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// buried runs f with a route whose target has refused every fifth of 40 messages.
func buried(t *testing.T, mode routes.SpoolMode, f func(d *depot)) {
	spooling(t, mode, func(d *depot) {
		d.r.MaxAttempts, d.r.OnPoison = 1, routes.PoisonDeadLetter
		d.refuses(func(n int) bool { return n%5 == 0 })
		d.brokers["a"].Put("in", messages(0, 40)...)
		d.start()
		d.take("b", "out", 32)
		d.until("eight dead letters", func() bool { return d.dead() == 8 })
		f(d)
		d.halt()
	})
}

// page asks for messages that must be shown.
func (d *depot) page(q repeater.Query) repeater.Page {
	d.t.Helper()
	p, err := d.rep.Browse(d.t.Context(), q)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// ask does something with dead letters that must be begun.
func (d *depot) ask(a repeater.DeadAsk) repeater.DeadDone {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Minute)
	defer cancel()
	a.Route = "orders"
	out, err := d.rep.DeadLetters(ctx, a)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

func shownNumbers(p repeater.Page) (ns []string) {
	for _, l := range p.Letters {
		ns = append(ns, l.Message.Body)
	}
	return ns
}

// Messages are shown page by page, in their order; bodies only to those who may see them.
func TestBrowse(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		ms := messages(0, 120)
		ms[3].Props = append(ms[3].Props, adapters.Prop{Name: "x-token", V: adapters.String("s3cret")})
		d.brokers["a"].Put("in", ms...)
		d.start()
		d.spooled(120)
		var got []string
		q := repeater.Query{Lane: "orders/b0", Whole: true}
		for pages := 0; ; pages++ {
			p := d.page(q)
			got = append(got, shownNumbers(p)...)
			if q.After = p.Next; p.Next == 0 {
				if pages != 2 {
					d.t.Errorf("%d pages", pages+1)
				}
				break
			}
		}
		for i, s := range got {
			if s != fmt.Sprint("body ", i) {
				d.t.Fatalf("message %d: %q of %d", i, s, len(got))
			}
		}
		if len(got) != 120 {
			d.t.Errorf("%d messages", len(got))
		}
		some := d.page(repeater.Query{Lane: "orders/b0", Selection: repeater.Selection{Filter: "int(msg.header.n) >= 100", Limit: 7}})
		if len(some.Letters) != 7 || some.Next == 0 || some.Letters[0].Message.Body != "" || some.Letters[0].Bytes != len("body 100") {
			d.t.Errorf("%+v", some)
		}
		veiled, err := d.rep.Letter(d.t.Context(), "orders/b0", 4, false)
		if err != nil || !slices.Contains(veiled.Message.Headers, [2]string{"x-token", "***"}) || veiled.Source == "" {
			d.t.Errorf("%+v, %v", veiled.Message, err)
		}
		if whole, _ := d.rep.Letter(d.t.Context(), "orders/b0", 4, true); !slices.Contains(whole.Message.Headers, [2]string{"x-token", "s3cret"}) {
			d.t.Errorf("%+v", whole.Message)
		}
		for _, c := range []struct {
			q    repeater.Query
			want error
		}{
			{repeater.Query{Lane: "orders/x"}, repeater.ErrNoLane},
			{repeater.Query{Lane: "orders/b0", Selection: repeater.Selection{Filter: "msg.nothing ="}}, repeater.ErrFilter},
		} {
			if _, err := d.rep.Browse(d.t.Context(), c.q); !errors.Is(err, c.want) {
				d.t.Errorf("%+v: %v", c.q, err)
			}
		}
		if _, err := d.rep.Letter(d.t.Context(), "orders/b0", 999, true); !errors.Is(err, repeater.ErrNoLetter) {
			d.t.Error(err)
		}
		checked, err := d.rep.Verify(d.t.Context())
		if err != nil || len(checked) == 0 || checked[slices.IndexFunc(checked, func(c repeater.Checked) bool { return c.Lane == "orders/b0" })].Messages != 120 {
			d.t.Errorf("%+v, %v", checked, err)
		}
		d.halt()
	})
}

// Dead letters that are sent again go to the lane that they come from, once each, and are dead letters no more.
func TestRetryDeadLetters(t *testing.T) {
	for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto, routes.SpoolAlways} {
		t.Run(string(mode), func(t *testing.T) {
			buried(t, mode, func(d *depot) {
				p := d.page(repeater.Query{Lane: "orders/dead-letter", Whole: true})
				if len(p.Letters) != 8 || p.Letters[0].Dead == nil || p.Letters[0].Dead.Reason != "rejected" || p.Letters[0].Dead.Lane != "orders/b0" {
					d.t.Fatalf("%+v", p)
				}
				d.brokers["b"].SetRules("out", mem.Rules{})
				sel := repeater.Selection{Filter: "int(msg.header.n) < 20"}
				if out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, Selection: sel, DryRun: true}); out.Selected != 4 || out.Done != 0 || d.dead() != 8 {
					d.t.Errorf("dry run: %+v", out)
				}
				if out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, Selection: sel}); out.Selected != 4 || out.Done != 4 || out.Failed != 0 {
					d.t.Errorf("%+v", out)
				}
				got := d.take("b", "out", 4)
				slices.SortFunc(got, func(a, b *adapters.Message) int { return number(a) - number(b) })
				if !slices.Equal(numbers(got), []int{0, 5, 10, 15}) || flagged(got) != 0 {
					d.t.Errorf("%v, %d flagged", numbers(got), flagged(got))
				}
				d.until("four are left", func() bool { return d.dead() == 4 })
				if out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, All: true}); out.Done != 4 {
					d.t.Errorf("%+v", out)
				}
				d.take("b", "out", 4)
				d.until("none is left", func() bool { return d.dead() == 0 })
				d.is("pass-through")
				pass(time.Minute)
				if n, _ := d.brokers["b"].Len("out"); n != 0 {
					d.t.Errorf("%d came twice", n)
				}
			})
		})
	}
}

// What is refused again is another dead letter, in the place of the first.
func TestRetryDeadLettersInVain(t *testing.T) {
	buried(t, routes.SpoolAuto, func(d *depot) {
		out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, All: true})
		if out.Done != 0 || out.Failed != 8 || len(out.Failures) != 8 || out.Failures[0].Error == "" {
			d.t.Errorf("%+v", out)
		}
		d.until("eight again", func() bool { return d.dead() == 8 })
		if p := d.page(repeater.Query{Lane: "orders/dead-letter"}); len(p.Letters) != 8 || p.Letters[0].Seq <= 8 {
			d.t.Errorf("%+v", p)
		}
	})
}

// With the target away they go to the spool, if the route has one; else they wait, and a stop leaves them where they are.
func TestRetryDeadLettersWhileTheTargetIsAway(t *testing.T) {
	for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto} {
		t.Run(string(mode), func(t *testing.T) {
			buried(t, mode, func(d *depot) {
				d.brokers["b"].SetRules("out", mem.Rules{})
				d.away("b")
				pass(time.Minute)
				out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, All: true})
				if mode == routes.SpoolAuto && (out.Done != 8 || d.lane().Spooled != 8) || mode == routes.SpoolNever && out.Pending != 8 {
					d.t.Errorf("%+v, %d spooled", out, d.lane().Spooled)
				}
				d.halt()
				d.start()
				d.back("b")
				if mode == routes.SpoolAuto {
					d.take("b", "out", 8)
				}
				d.up()
				if mode == routes.SpoolNever && d.dead() != 8 {
					d.t.Errorf("%d dead letters are left", d.dead())
				}
			})
		})
	}
}

// A message that no lane has had is given to the route again.
func TestRetryWhatTheFilterHasRefused(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Filter = filterOf(d.t, `int(msg.header.size) > 1`)
		m := message(1)
		m.Props = append(m.Props, adapters.Prop{Name: "size", V: adapters.String("large")})
		d.brokers["a"].Put("in", m)
		d.start()
		d.until("a dead letter", func() bool { return d.dead() == 1 })
		if out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, All: true}); out.Failed != 1 {
			d.t.Errorf("%+v", out)
		}
		next := d.next()
		next.Routes[0].Filter = filterOf(d.t, `msg.header.size == "large"`)
		d.reload(next)
		if out := d.ask(repeater.DeadAsk{Action: repeater.DeadRetry, Selection: repeater.Selection{Reason: "filter-error"}}); out.Done != 1 {
			d.t.Errorf("%+v", out)
		}
		d.take("b", "out", 1)
		d.halt()
	})
}

// Moved, they are at another place with their reasons; discarded, nowhere.
func TestMoveAndDiscardDeadLetters(t *testing.T) {
	buried(t, routes.SpoolAuto, func(d *depot) {
		to := addr([2]string{"a", "refused"})
		if out := d.ask(repeater.DeadAsk{Action: repeater.DeadMove, To: addr([2]string{"z", "q"}), All: true}); out.Failed != 8 || d.dead() != 8 {
			d.t.Errorf("to no broker: %+v", out)
		}
		if out := d.ask(repeater.DeadAsk{Action: repeater.DeadMove, To: to, Selection: repeater.Selection{Limit: 3}, All: true}); out.Done != 3 {
			d.t.Errorf("%+v", out)
		}
		for _, m := range d.take("a", "refused", 3) {
			if v, ok := m.Prop("posthouse-dead-reason"); !ok || v.Str() != "rejected" {
				d.t.Errorf("%+v", m.Props)
			}
		}
		d.until("five are left", func() bool { return d.dead() == 5 })
		p := d.page(repeater.Query{Lane: "orders/dead-letter"})
		n := 4
		_, err := d.rep.DeadLetters(d.t.Context(), repeater.DeadAsk{Route: "orders", Action: repeater.DeadDiscard, All: true, Expect: &n})
		if !errors.Is(err, repeater.ErrCount) || d.dead() != 5 {
			d.t.Errorf("%v", err)
		}
		if out := d.ask(repeater.DeadAsk{Action: repeater.DeadDiscard, Selection: repeater.Selection{Seqs: []uint64{p.Letters[1].Seq, p.Letters[4].Seq, 999}}}); out.Done != 2 || out.Selected != 2 {
			d.t.Errorf("%+v", out)
		}
		d.until("three are left", func() bool { return d.dead() == 3 })
		d.halt()
		if bs := d.dug(); len(bs) != 3 {
			d.t.Errorf("%+v", bs)
		}
		d.start()
		d.until("three are left", func() bool { return d.dead() == 3 })
	})
}

// What cannot be done with dead letters is told apart.
func TestDeadLettersRefused(t *testing.T) {
	buried(t, routes.SpoolAuto, func(d *depot) {
		for _, c := range []struct {
			a    repeater.DeadAsk
			want error
		}{
			{repeater.DeadAsk{Route: "orders", Action: repeater.DeadDiscard}, repeater.ErrSelect},
			{repeater.DeadAsk{Route: "bills", Action: repeater.DeadDiscard, All: true}, repeater.ErrNoRoute},
			{repeater.DeadAsk{Route: "orders", Action: repeater.DeadDiscard, Selection: repeater.Selection{Filter: "1 +"}}, repeater.ErrFilter},
		} {
			if _, err := d.rep.DeadLetters(d.t.Context(), c.a); !errors.Is(err, c.want) {
				d.t.Errorf("%+v: %v", c.a, err)
			}
		}
	})
	scenario(t, func(w *world, r *routes.Route) {
		w.start()
		w.up()
		if _, err := w.rep.DeadLetters(w.t.Context(), repeater.DeadAsk{Route: "orders", All: true}); !errors.Is(err, repeater.ErrNoSpool) {
			w.t.Error(err)
		}
		if _, err := w.rep.Browse(w.t.Context(), repeater.Query{Lane: "orders/b0"}); !errors.Is(err, repeater.ErrNoSpool) {
			w.t.Error(err)
		}
		w.halt()
	})
}
