package repeater_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// perKey runs f in virtual time with a route that keeps the order of keys; message n has the key n % 5.
func perKey(t *testing.T, f func(d *depot)) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Order, d.r.OnPoison, d.r.MaxAttempts = routes.OrderPerKey, routes.PoisonDeadLetter, 3
		f(d)
	})
}

func keyed(from, n int) []*adapters.Message {
	ms := messages(from, n)
	for i, m := range ms {
		m.Key = fmt.Append(nil, (from+i)%5)
	}
	return ms
}

// byKey sorts what arrived by its key, in the order of arrival.
func byKey(ns []int) map[int][]int {
	out := map[int][]int{}
	for _, n := range ns {
		out[n%5] = append(out[n%5], n)
	}
	return out
}

func refuses(ns ...int) mem.Rules {
	return mem.Rules{Refuse: func(m *adapters.Message) bool { return slices.Contains(ns, number(m)) }}
}

// What the target refuses holds its key until it is a dead letter; other keys pass, and the key goes on in its order.
func TestPerKeyHoldsTheKey(t *testing.T) {
	perKey(t, func(d *depot) {
		d.r.Retry.Delay, d.r.Retry.MaxDelay = time.Minute, time.Minute
		d.brokers["b"].SetRules("out", refuses(7))
		d.brokers["a"].Put("in", keyed(0, 400)...)
		d.start()
		others := func() int { n, _ := d.brokers["b"].Len("out"); return n }
		d.until("the other keys have passed", func() bool { return others() == 321 })
		if st := d.lane(); st.Parked+st.Held < 70 {
			t.Errorf("%d parked, %d held", st.Parked, st.Held)
		}
		d.until("the key goes on", func() bool { return others() == 399 })
		got := byKey(numbers(d.take("b", "out", 399)))
		for key, ns := range got {
			if !slices.IsSorted(ns) {
				t.Errorf("key %d: %v", key, ns)
			}
		}
		if slices.Contains(got[2], 7) || d.rep.Status().Routes[0].Dead.Spooled != 1 {
			t.Errorf("7 is no dead letter: %v", got[2])
		}
		d.brokers["a"].Put("in", keyed(400, 20)...)
		d.is("pass-through")
		d.take("b", "out", 20)
		d.halt()
	})
}

// A key that is held for good waits in the journal, over a restart too, until an operator decides.
func TestPerKeyHoldsForGood(t *testing.T) {
	perKey(t, func(d *depot) {
		d.r.OnPoison = routes.PoisonHold
		d.brokers["b"].SetRules("out", refuses(7, 9))
		d.brokers["a"].Put("in", keyed(0, 1000)...)
		d.start()
		d.until("three keys have passed", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 602 })
		d.empty("a", "in")
		d.halt()
		d.opts.Metrics = nil
		d.start()
		d.until("both keys are held", func() bool { st := d.lane(); return st.Held == 2 && st.Parked == 396 })
		d.brokers["b"].SetRules("out", refuses(9))
		if n, err := d.rep.Resolve(t.Context(), "orders/b0", repeater.Retry, "the target is mended"); err != nil || n != 2 {
			t.Errorf("%d resolved: %v", n, err)
		}
		d.until("one key has passed", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 801 })
		if n, err := d.rep.Resolve(t.Context(), "orders/b0", repeater.DeadLetter, "nobody wants 9"); err != nil || n != 1 {
			t.Errorf("%d resolved: %v", n, err)
		}
		got := byKey(numbers(d.take("b", "out", 999)))
		for key := range maps.Keys(got) {
			if !slices.IsSorted(got[key]) {
				t.Errorf("key %d: %v", key, got[key])
			}
		}
		d.until("nothing is left", func() bool { return d.lane().Spooled == 0 })
		d.halt()
	})
}

// One message of a key is under way at a time, many keys side by side.
func TestPerKeyOneUnderWay(t *testing.T) {
	perKey(t, func(d *depot) {
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", keyed(0, 50)...)
		d.until("one of each key is in flight", func() bool { return d.lane().InFlight == 5 })
		pass(time.Second)
		if n := d.lane().InFlight; n != 5 {
			t.Errorf("%d in flight", n)
		}
		d.brokers["b"].Link().Allow()
		d.take("b", "out", 50)
		d.halt()
	})
}

// Messages without a key share one.
func TestPerKeyWithoutKeys(t *testing.T) {
	perKey(t, func(d *depot) {
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.start()
		if got := numbers(d.take("b", "out", 100)); !slices.Equal(got, upTo(100)) {
			t.Errorf("they share one key: %v", got)
		}
		d.halt()
	})
}
