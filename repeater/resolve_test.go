package repeater_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// heldAtSeven runs f on a strict lane that stops at message 7 of 20, in every mode of the spool.
func heldAtSeven(t *testing.T, f func(d *depot)) {
	for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto, routes.SpoolAlways} {
		t.Run(string(mode), func(t *testing.T) {
			spooling(t, mode, func(d *depot) {
				d.r.Order, d.r.OnPoison, d.r.MaxAttempts, d.r.InFlight = routes.OrderStrict, routes.PoisonHold, 3, 1
				d.refuses(func(n int) bool { return n == 7 })
				d.brokers["a"].Put("in", messages(0, 20)...)
				d.start()
				d.is("held")
				d.take("b", "out", 7)
				f(d)
			})
		})
	}
}

// resolve demands that the decision is taken and concerns n messages.
func (d *depot) resolve(a repeater.Action, n int) {
	d.t.Helper()
	if got, err := d.rep.Resolve(d.t.Context(), "orders/b0", a, "because"); got != n || err != nil {
		d.t.Errorf("%s: %d messages, %v; want %d", a, got, err, n)
	}
}

// A held lane tries at once when an operator says that the cause is mended, not after the pause.
func TestResolveRetry(t *testing.T) {
	heldAtSeven(t, func(d *depot) {
		d.brokers["b"].SetRules("out", mem.Rules{})
		begin := time.Now()
		d.resolve(repeater.Retry, 1)
		if got := d.take("b", "out", 13); number(got[0]) != 7 || !slices.IsSorted(numbers(got)) {
			t.Errorf("came %v", numbers(got))
		}
		took(t, "to go on", begin, 0, 5*time.Second)
		d.is("pass-through")
		d.halt()
	})
}

// If it is not mended, the lane holds at the same message again.
func TestResolveRetryInVain(t *testing.T) {
	heldAtSeven(t, func(d *depot) {
		d.resolve(repeater.Retry, 1)
		pass(10 * time.Second)
		d.is("held")
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			t.Errorf("%d messages passed it", n)
		}
		d.halt()
	})
}

// A message that is given up becomes a dead letter, and those behind it go on; it is not offered to the target again.
func TestResolveDeadLetter(t *testing.T) {
	for _, back := range []bool{false, true} { // the target would take it now: that must not matter
		heldAtSeven(t, func(d *depot) {
			if back {
				d.brokers["b"].SetRules("out", mem.Rules{})
			}
			d.resolve(repeater.DeadLetter, 1)
			want := slices.DeleteFunc(upTo(20), func(n int) bool { return n <= 7 })
			if got := d.take("b", "out", 12); !slices.Equal(numbers(got), want) {
				t.Errorf("came %v", numbers(got))
			}
			d.until("a dead letter", func() bool { return d.dead() == 1 })
			d.is("pass-through")
			d.empty("a", "in")
			d.halt()
			bs := d.dug()
			if len(bs) != 1 || bs[0].n != 7 || bs[0].why.Reason != "rejected" || bs[0].why.Attempts < 3 ||
				!strings.HasPrefix(bs[0].why.Text, "given up by an operator: because; before: ") {
				t.Errorf("%+v", bs)
			}
		})
	}
}

// It may be the only one: then the lane is as well as its target.
func TestResolveTheOnlyMessage(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		d.r.Order, d.r.OnPoison, d.r.MaxAttempts, d.r.InFlight = routes.OrderStrict, routes.PoisonHold, 1, 1
		d.refuses(func(int) bool { return true })
		d.brokers["a"].Put("in", message(0))
		d.start()
		d.is("held")
		d.resolve(repeater.DeadLetter, 1)
		d.is("pass-through")
		d.halt()
	})
}

// What a lane without a strict order has set aside can be tried at once, or given up, all of it.
func TestResolveSetAside(t *testing.T) {
	for _, c := range []struct {
		a    repeater.Action
		dead uint64
	}{{repeater.Retry, 0}, {repeater.DeadLetter, 4}} {
		t.Run(string(c.a), func(t *testing.T) {
			spooling(t, routes.SpoolAlways, func(d *depot) {
				d.r.OnPoison, d.r.MaxAttempts, d.r.Retry.MaxDelay = routes.PoisonHold, 1, time.Hour
				d.refuses(func(n int) bool { return n%5 == 0 })
				d.brokers["a"].Put("in", messages(0, 20)...)
				d.start()
				d.take("b", "out", 16)
				d.until("four are set aside", func() bool { return d.lane().Held == 4 })
				if c.a == repeater.Retry {
					d.brokers["b"].SetRules("out", mem.Rules{})
				}
				begin := time.Now()
				d.resolve(c.a, 4)
				if c.dead == 0 {
					d.take("b", "out", 4)
				}
				d.until("nothing is set aside", func() bool { return d.lane().Held == 0 && d.lane().Spooled == 0 })
				took(t, "to resolve", begin, 0, 5*time.Second)
				if d.dead() != c.dead {
					t.Errorf("%d dead letters", d.dead())
				}
				d.halt()
			})
		})
	}
}

// What cannot be done is told apart, and changes nothing.
func TestResolveErrors(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.Order, r.OnPoison, r.MaxAttempts, r.InFlight = routes.OrderStrict, routes.PoisonHold, 1, 1
		w.brokers["b"].SetRules("out", mem.Rules{})
		var log bytes.Buffer
		w.opts.Log = slog.New(slog.NewTextHandler(&log, nil))
		w.start()
		w.up()
		try := func(lane string, a repeater.Action, reason string, want error) {
			t.Helper()
			if n, err := w.rep.Resolve(t.Context(), lane, a, reason); n != 0 || !errors.Is(err, want) {
				t.Errorf("%s %s %q: %d, %v, want %v", lane, a, reason, n, err, want)
			}
		}
		try("orders/b1", repeater.Retry, "x", repeater.ErrNoLane)
		try("orders/dead-letter", repeater.Retry, "x", repeater.ErrNoLane) // there is no spool
		try("orders/b0", repeater.Retry, " \n", repeater.ErrReason)
		try("orders/b0", repeater.Retry, strings.Repeat("x", 501), repeater.ErrReason)
		try("orders/b0", "skip", "x", repeater.ErrNoAction)
		for _, a := range repeater.Actions() {
			try("orders/b0", a, "x", repeater.ErrNotHeld)
		}
		w.brokers["b"].SetRules("out", mem.Rules{Refuse: func(*adapters.Message) bool { return true }})
		w.brokers["a"].Put("in", messages(0, 3)...)
		w.until("the lane is held", func() bool { return w.rep.Status().Routes[0].Lanes[0].State == "held" })
		try("orders/b0", repeater.DeadLetter, "x", repeater.ErrNoPlace)
		try("orders/b0", repeater.Sent, "x", repeater.ErrNotHeld)
		if n, err := w.rep.Resolve(t.Context(), "orders/b0", repeater.Retry, " mended,\n ticket 12"); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		w.halt()
		if n := strings.Count(log.String(), "level=WARN msg=resolved"); n != 1 || !strings.Contains(log.String(), `lane=orders/b0 action=retry messages=1 reason="mended, ticket 12"`) {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}
