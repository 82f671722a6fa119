package repeater_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/routes"
)

// A scrape ends well whatever has been counted: of a lane for dead letters most is not there.
func TestScrapeWithDeadLetters(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		d.opts.Metrics = prometheus.NewRegistry()
		d.r.MaxAttempts = 1
		d.refuses(func(n int) bool { return n == 1 })
		d.start()
		if n := count(t, d.opts.Metrics, "posthouse_route_forwarded_messages_total"); n != 0 {
			t.Errorf("%d forwarded", n)
		}
		d.brokers["a"].Put("in", messages(0, 3)...)
		d.until("a dead letter", func() bool { return d.dead() == 1 })
		if n := count(t, d.opts.Metrics, "posthouse_spool_appended_messages_total"); n != 4 {
			t.Errorf("%d written to the spool", n)
		}
		d.halt()
	})
}
