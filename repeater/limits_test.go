package repeater_test

import (
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// limited reloads with other limits of the first route, which must not be restarted, and whose source must not be opened
// again.
func limited(w *world, o *opens, change func(r *routes.Route)) repeater.Reloading {
	w.t.Helper()
	before, next := o.n.get(), w.next()
	change(next.Routes[0])
	out := w.reload(next)
	if len(out.Restarted) > 0 || len(out.Live) == 0 || len(out.Changed) != 1 || o.n.get() != before {
		w.t.Errorf("%+v; %d sources opened", out.Diff, o.n.get()-before)
	}
	return out
}

func watched(w *world) *opens {
	o := &opens{Adapter: w.adapter}
	w.adapter = o
	return o
}

// A rate that a reload changes holds for what waits already, and nothing is restarted for it.
func TestReloadOfMaxRate(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.MaxRate = 1
		o := watched(w)
		w.start()
		w.up()
		w.brokers["a"].Put("in", messages(0, 200)...)
		got := w.take("b", "out", 3)
		begin := time.Now()
		out := limited(w, o, func(r *routes.Route) { r.MaxRate = 10 })
		if !slices.Equal(out.Live, []string{"routes.orders.max_rate"}) {
			t.Errorf("live: %v", out.Live)
		}
		got = append(got, w.take("b", "out", 50)...)
		took(t, "50 messages at 10 a second", begin, 4*time.Second, 6*time.Second)
		begin = time.Now()
		limited(w, o, func(r *routes.Route) { r.MaxRate = 0 })
		if got = append(got, w.take("b", "out", 147)...); !slices.Equal(numbers(got), upTo(200)) {
			t.Errorf("order %v", numbers(got))
		}
		took(t, "147 messages without a limit", begin, 0, time.Second)
		w.halt()
	})
}

// The same out of the spool.
func TestReloadOfDrainRate(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		d.r.DrainRate = 1
		o := watched(d.world)
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 300)...)
		d.start()
		d.spooled(300)
		d.back("b")
		got := d.take("b", "out", 3)
		begin := time.Now()
		limited(d.world, o, func(r *routes.Route) { r.DrainRate = 10 })
		got = append(got, d.take("b", "out", 50)...)
		took(t, "50 messages at 10 a second", begin, 4*time.Second, 7*time.Second)
		begin = time.Now()
		limited(d.world, o, func(r *routes.Route) { r.DrainRate = 0 })
		if got = append(got, d.take("b", "out", 247)...); !slices.Equal(numbers(got), upTo(300)) {
			t.Errorf("order %v", numbers(got))
		}
		took(t, "247 messages without a limit", begin, 0, 2*time.Second)
		d.halt()
	})
}

// A message that is refused for a day is set aside with its next refusal when max_attempts becomes less, and what is known
// of it is not forgotten by a reload.
func TestReloadOfMaxAttempts(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.MaxAttempts, d.r.Retry = 1e6, routes.Retry{Delay: time.Second, MaxDelay: 10 * time.Second}
		o := watched(d.world)
		var tries counter
		d.brokers["b"].SetRules("out", mem.Rules{
			Refuse: func(m *adapters.Message) bool { return number(m) == 0 },
			Judged: func(_ *adapters.Message, err error) {
				if err != nil {
					tries.add()
				}
			},
		})
		d.start()
		d.up()
		d.brokers["a"].Put("in", messages(0, 20)...)
		d.take("b", "out", 19)
		pass(5 * time.Minute)
		before := tries.get()
		if before < 10 || d.dead() != 0 {
			t.Fatalf("void: %d tries", before)
		}
		limited(d.world, o, func(r *routes.Route) { r.MaxAttempts, r.Retry.Delay = 3, 2*time.Second })
		d.until("a dead letter", func() bool { return d.dead() == 1 })
		if tries.get() > before+1 {
			t.Errorf("%d tries before, %d in all", before, tries.get())
		}
		d.halt()
		if bs := d.dug(); len(bs) != 1 || int(bs[0].why.Attempts) != int(tries.get()) {
			t.Errorf("%d tries, and %+v", tries.get(), bs)
		}
	})
}

// The pauses between tries of a lane that cannot send are those of the file that runs.
func TestReloadOfRetry(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.Retry = routes.Retry{Delay: time.Minute, MaxDelay: time.Minute}
		o := watched(w)
		var asked counter
		w.brokers["b"].Put("out", message(99))
		w.brokers["b"].SetRules("out", mem.Rules{Room: 1, Judged: func(*adapters.Message, error) { asked.add() }})
		w.brokers["a"].Put("in", messages(0, 5)...)
		w.start()
		pass(10 * time.Minute)
		slow := asked.get()
		limited(w, o, func(r *routes.Route) { r.Retry = routes.Retry{Delay: time.Second, MaxDelay: time.Second} })
		pass(10 * time.Minute)
		if fast := asked.get() - slow; slow > 15 || fast < 300 {
			t.Errorf("%d tries in ten minutes, then %d", slow, fast)
		}
		w.halt()
	})
}
