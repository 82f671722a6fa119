package repeater_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

// A door counts the targets that are on their way to be opened.
type door struct {
	*mem.Adapter
	mu           sync.Mutex
	now, peak, n int
}

func (d *door) OpenTarget(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Target, error) {
	d.enter(1)
	defer d.enter(-1)
	return d.Adapter.OpenTarget(ctx, c, at)
}

func (d *door) enter(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now += by
	d.peak, d.n = max(d.peak, d.now), d.n+max(by, 0)
}

// begin forgets what was counted.
func (d *door) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peak, d.n = d.now, 0
}

func (d *door) counted() (peak, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peak, d.n
}

// Two thousand lanes lose their broker at once, and come back to it a few at a time; at the first start and on the way
// to the first address too.
func TestThousandsOfLanesDoNotConnectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes, most = 2000, 32
		w := newWorld(t, "a", "b")
		to := make([][2]string, lanes)
		for i := range to {
			to[i] = [2]string{"b", fmt.Sprint("q", i)}
		}
		w.route("many", [2]string{"a", "in"}, to...)
		b := w.brokers["b"]
		d := &door{Adapter: mem.New(w.brokers["a"], b)}
		second := b.NewLink()
		d.Via("b2", second)
		w.adapter = d
		w.table.Brokers["b"].Config.Addresses, w.table.Brokers["b"].Failback = []string{"b", "b2"}, time.Minute
		b.Link().SetLatency(50 * time.Millisecond)
		second.SetLatency(50 * time.Millisecond)
		step := func(what string, within time.Duration, change func()) {
			t.Helper()
			d.begin()
			begin := time.Now()
			change()
			w.until(what, func() bool { _, n := d.counted(); return n >= lanes })
			w.up()
			peak, n := d.counted()
			if took := time.Since(begin); peak > most || took > within || n > lanes+100 {
				t.Errorf("%s: %d at once, want at most %d; %d openings in %v, want within %v", what, peak, most, n, took, within)
			}
		}
		step("start", 10*time.Second, w.start)
		step("outage", 5*time.Minute, func() {
			second.Refuse()
			b.Link().Refuse()
			b.Link().Cut()
			pass(3 * time.Minute)
			if _, n := d.counted(); n > 20 {
				t.Errorf("%d openings in an outage of three minutes", n)
			}
			second.Allow()
		})
		step("failback", 2*time.Minute, b.Link().Allow)
		w.halt()
	})
}

// A target that does not take the head of a lane is asked again after pauses that grow by the factor of the route, and
// the other lanes do not wait.
func TestFailingHeadDoesNotSpin(t *testing.T) {
	for _, c := range []struct {
		factor      float64
		least, most int // attempts in ten minutes
	}{
		{0, 12, 24},     // 0.5 s, 1 s, 2 s ... 1 minute
		{1, 1000, 1500}, // 0.5 s each time
		{10, 10, 18},    // 0.5 s, 5 s, 50 s, 1 minute
		{1.001, 600, 1500},
	} {
		t.Run(fmt.Sprint(c.factor), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a", "b")
				w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}).Retry.Factor = c.factor
				w.route("other", [2]string{"a", "in2"}, [2]string{"b", "out2"})
				var asked counter
				w.brokers["b"].Put("out", message(99))
				w.brokers["b"].SetRules("out", mem.Rules{Room: 1, Judged: func(*adapters.Message, error) { asked.add() }})
				w.brokers["a"].Put("in", messages(0, 5)...)
				w.brokers["a"].Put("in2", messages(0, 100)...)
				w.start()
				begin := time.Now()
				w.take("b", "out2", 100)
				if d := time.Since(begin); d > time.Second {
					t.Errorf("the other lane took %v", d)
				}
				pass(10 * time.Minute)
				if n := asked.get(); n < c.least || n > c.most {
					t.Errorf("asked %d times in ten minutes, want %d to %d", n, c.least, c.most)
				}
				w.halt()
			})
		})
	}
}
