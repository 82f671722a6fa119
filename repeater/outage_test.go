package repeater_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
)

// doubtful runs f with an exactly-once route whose target remembers ids for five minutes and may be away for two. arrived
// counts what reached it, repeats included.
func doubtful(t *testing.T, f func(d *depot, arrived *int)) {
	once(t, mem.Options{Window: true}, func(d *depot) {
		d.r.MaxOutage, d.r.To[0].Memory.Time = 2*time.Minute, 5*time.Minute
		arrived := new(int)
		d.brokers["b"].SetRules("out", mem.Rules{Judged: func(*adapters.Message, error) { *arrived++ }})
		f(d, arrived)
	})
}

// unanswered sends ten messages whose confirms never come, then lets the target be away.
func (d *depot) unanswered() {
	d.t.Helper()
	d.start()
	d.up()
	d.brokers["b"].Link().HoldReplies()
	d.brokers["a"].Put("in", messages(0, 10)...)
	d.until("they are with the target", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 })
	d.away("b")
	d.is("spooling")
}

// After an outage within max_outage what got no answer is sent again: the target knows it.
func TestShortOutageHoldsNothing(t *testing.T) {
	doubtful(t, func(d *depot, arrived *int) {
		d.unanswered()
		pass(time.Minute) // and half of that at most until the next try
		d.back("b")
		d.brokers["a"].Put("in", messages(10, 5)...)
		d.onlyOnce(15)
		if *arrived != 25 {
			t.Errorf("%d arrived, ten of them twice", *arrived)
		}
		d.halt()
	})
}

// After a longer one the lane holds them, and what is behind them, until an operator says what became of them.
func TestLongOutageHoldsTheUnknown(t *testing.T) {
	for _, c := range []struct {
		a       repeater.Action
		arrived int
	}{{repeater.Sent, 15}, {repeater.Resend, 25}} {
		t.Run(string(c.a), func(t *testing.T) {
			doubtful(t, func(d *depot, arrived *int) {
				d.unanswered()
				pass(3 * time.Minute)
				d.back("b")
				d.is("held")
				d.brokers["a"].Put("in", messages(10, 5)...)
				d.spooled(15)
				pass(time.Hour)
				d.is("held")
				if *arrived != 10 {
					t.Fatalf("%d arrived while the lane was held", *arrived)
				}
				for _, a := range []repeater.Action{repeater.Retry, repeater.DeadLetter} {
					if n, err := d.rep.Resolve(t.Context(), "orders/b0", a, "x"); n != 0 || !errors.Is(err, repeater.ErrNotHeld) {
						t.Errorf("%s: %d, %v", a, n, err)
					}
				}
				d.resolve(c.a, 10)
				d.onlyOnce(15)
				if *arrived != c.arrived {
					t.Errorf("%d arrived, want %d", *arrived, c.arrived)
				}
				d.is("pass-through")
				d.halt()
			})
		})
	}
}

// A decision is about what is in doubt then, and about nothing that comes later.
func TestResolveIsForOneOutage(t *testing.T) {
	doubtful(t, func(d *depot, arrived *int) {
		d.unanswered()
		pass(3 * time.Minute)
		d.back("b")
		d.is("held")
		d.resolve(repeater.Sent, 10)
		d.is("pass-through")
		d.brokers["a"].Put("in", message(10))
		d.take("b", "out", 11) // and more than one at a time is sent again
		d.until("all is settled", func() bool { return d.lane().Spooled == 0 })
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(11, 5)...)
		d.until("they are with the target", func() bool { return *arrived == 16 })
		d.away("b")
		pass(3 * time.Minute)
		d.back("b")
		d.is("held")
		d.resolve(repeater.Resend, 5)
		d.until("all is settled", func() bool { return d.lane().Spooled == 0 })
		if got := d.take("b", "out", 5); *arrived != 21 || !slices.Equal(numbers(got), []int{11, 12, 13, 14, 15}) {
			t.Errorf("%d arrived, %v", *arrived, numbers(got))
		}
		d.halt()
	})
}

// What an operator has had sent again begins anew: a short outage holds nothing, a long one holds it again.
func TestResendBeginsAnew(t *testing.T) {
	for name, c := range map[string]struct {
		away time.Duration
		held bool
	}{"short": {time.Minute, false}, "long": {3 * time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			doubtful(t, func(d *depot, arrived *int) {
				d.unanswered()
				pass(3 * time.Minute)
				d.back("b")
				d.is("held")
				d.brokers["b"].Link().HoldReplies()
				d.resolve(repeater.Resend, 10)
				d.until("one is sent again", func() bool { return *arrived == 11 })
				d.away("b")
				pass(c.away)
				d.back("b")
				if c.held {
					d.is("held")
					d.resolve(repeater.Sent, 1)
				}
				d.onlyOnce(10)
				if want := map[bool]int{false: 21, true: 20}[c.held]; *arrived != want {
					t.Errorf("%d arrived, want %d", *arrived, want)
				}
				d.halt()
			})
		})
	}
}

// After the death of the repeater the clock of the wall is all there is: what was received within max_outage is sent
// again, older messages are held, and so are those that a clock which has jumped back says to come from the future.
func TestOutageAcrossAPowerFailure(t *testing.T) {
	for name, c := range map[string]struct {
		away, jump time.Duration
		held       bool
	}{"short": {time.Minute, 0, false}, "long": {3 * time.Minute, 0, true}, "clock back": {time.Minute, -time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			doubtful(t, func(d *depot, arrived *int) {
				d.unanswered()
				pass(c.away)
				d.opts.Now = func() time.Time { return time.Now().Add(c.jump) }
				d.powerFailure()
				d.back("b")
				if c.held {
					d.is("held")
					if *arrived != 10 {
						t.Errorf("%d arrived", *arrived)
					}
					d.resolve(repeater.Resend, 10)
				}
				d.onlyOnce(10)
				if *arrived != 20 {
					t.Errorf("%d arrived", *arrived)
				}
				d.halt()
			})
		})
	}
}

// A held lane stops in an orderly way, and holds again after the next start.
func TestStopWhileInDoubt(t *testing.T) {
	doubtful(t, func(d *depot, arrived *int) {
		d.unanswered()
		pass(3 * time.Minute)
		d.back("b")
		d.is("held")
		if took := d.halt(); took > 5*time.Second {
			t.Errorf("the stop took %v", took)
		}
		d.opts.Metrics = nil
		d.start()
		d.is("held")
		d.resolve(repeater.Sent, 10)
		d.onlyOnce(10)
		if *arrived != 10 {
			t.Errorf("%d arrived", *arrived)
		}
		d.halt()
	})
}
