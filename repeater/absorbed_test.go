package repeater_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters/mem"
)

// What a target says it had already is counted once for each message, over several sends and several links.
func TestAbsorbedMessagesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		w.brokers["b"] = mem.NewBroker("b", mem.Options{Window: true})
		w.adapter = mem.New(w.brokers["a"], w.brokers["b"])
		reg := prometheus.NewRegistry()
		w.opts.Metrics = reg
		r := w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"})
		w.start()
		w.up()
		for round := range 2 {
			link := w.brokers["b"].Link()
			link.HoldReplies()
			w.brokers["a"].Put("in", messages(100*round, 100)...)
			w.until("a window is out", func() bool { n, _ := w.brokers["b"].Len("out"); return n == 100*round+r.InFlight })
			link.Cut()
			w.empty("a", "in")
			if got, want := metric(t, reg, "posthouse_lane_absorbed_total", "target=b0"), float64(r.InFlight*(round+1)); got != want {
				t.Errorf("round %d: %v messages were absorbed, want %v", round, got, want)
			}
		}
		if ns := numbers(w.take("b", "out", 200)); !slices.Equal(ns, upTo(200)) {
			t.Errorf("arrived: %v", ns)
		}
		w.halt()
	})
}
