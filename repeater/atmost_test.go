package repeater_test

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// atMostOnce runs f in virtual time with a route that promises at-most-once.
func atMostOnce(t *testing.T, mode routes.SpoolMode, f func(d *depot)) {
	spooling(t, mode, func(d *depot) {
		d.r.Delivery = routes.AtMostOnce
		d.opts.Metrics = prometheus.NewRegistry()
		f(d)
	})
}

// A message is settled before it is sent, and a slow target still stops its source.
func TestAtMostOnceSettlesFirst(t *testing.T) {
	atMostOnce(t, routes.SpoolNever, func(d *depot) {
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 500)...)
		d.start()
		d.until("a prefetch is settled and waits", func() bool { return d.lane().Waiting == d.r.Prefetch })
		pass(time.Hour)
		waiting, open := d.brokers["a"].Len("in")
		if n := d.lane().Waiting; n != d.r.Prefetch || waiting+open != 500-n {
			t.Errorf("%d wait in the lane, prefetch %d; %d and %d open at the source", n, d.r.Prefetch, waiting, open)
		}
		d.back("b")
		if got := numbers(d.take("b", "out", 500)); !slices.Equal(got, upTo(500)) {
			t.Errorf("order %v", got)
		}
		d.halt()
	})
}

// What has no certain outcome is not sent again, and is counted.
func TestAtMostOnceDoesNotRepeat(t *testing.T) {
	for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto, routes.SpoolAlways} {
		t.Run(string(mode), func(t *testing.T) {
			atMostOnce(t, mode, func(d *depot) {
				d.start()
				d.up()
				d.brokers["b"].Link().HoldReplies()
				d.brokers["a"].Put("in", messages(0, 10)...)
				d.until("all are in flight", func() bool { return d.lane().InFlight == 10 })
				d.away("b")
				d.until("they are lost", func() bool { return count(t, d.opts.Metrics, "posthouse_route_lost_messages_total") == 10 })
				d.back("b")
				d.brokers["a"].Put("in", messages(10, 10)...)
				if got := numbers(d.take("b", "out", 20)); !slices.Equal(got, upTo(20)) {
					t.Errorf("got %v", got) // the first ten had arrived
				}
				d.halt()
			})
		})
	}
}

// A settle of unknown outcome means: do not send. The source gives it out again, or it is lost.
func TestAtMostOnceUnknownSettleIsNotSent(t *testing.T) {
	atMostOnce(t, routes.SpoolAuto, func(d *depot) {
		d.adapter = &patient{Adapter: d.adapter, settle: first(failing(adapters.Lost, "cut before the settle"))}
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.start()
		d.empty("a", "in")
		d.until("all are sent", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 })
		if got := numbers(d.take("b", "out", 10)); !slices.Equal(got, upTo(10)) {
			t.Errorf("got %v", got)
		}
		d.halt()
	})
}

// A record is marked done, on disk, before it is sent: after a power failure it is not sent again.
func TestAtMostOnceMarksFirst(t *testing.T) {
	atMostOnce(t, routes.SpoolAlways, func(d *depot) {
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.until("it is with the target", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 })
		d.powerFailure()
		d.brokers["a"].Put("in", messages(10, 10)...)
		if got := numbers(d.take("b", "out", 20)); !slices.Equal(got, upTo(20)) {
			t.Errorf("got %v", got)
		}
		d.halt()
	})
}
