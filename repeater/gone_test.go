package repeater_test

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// C24: a route is taken away while its source has not noted what was settled, and the process ends before the source is
// there again. Whether the route is back before that or after it, what comes again is recognised; and what the target has
// is no backlog of a lane without a route.
func TestC24_RouteGoneAndBack(t *testing.T) {
	for name, o := range classes() {
		for _, early := range []bool{false, true} {
			for _, power := range []bool{false, true} {
				t.Run(fmt.Sprint(name, "/early=", early, "/power=", power), func(t *testing.T) {
					once(t, o, func(d *depot) { d.goneAndBack(early, power) })
				})
			}
		}
	}
}

func (d *depot) goneAndBack(early, power bool) {
	p := &patient{Adapter: d.adapter, mute: true}
	p.forgets.Store(true)
	d.adapter, d.opts.Metrics = p, prometheus.NewRegistry()
	d.start()
	d.brokers["a"].Put("in", messages(0, 10)...)
	d.until("delivered", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 && d.lane().Spooled == 0 })
	d.away("a")
	d.until("the source is lost", func() bool { return d.rep.Status().Routes[0].Source.State != "up" })
	p.forgets.Store(false)
	whole, without := d.table, d.next()
	without.Routes = nil
	d.reload(without)
	if st := d.rep.Status().Spool; len(st.Orphans) != 0 || st.Messages != 0 {
		d.t.Errorf("what is delivered is shown as a backlog: %+v", st)
	}
	if early {
		d.reload(whole)
	}
	d.table = whole
	if power {
		d.powerFailure()
	} else {
		d.halt()
		d.opts.Metrics = prometheus.NewRegistry()
		d.start()
	}
	d.back("a")
	d.brokers["a"].Put("in", messages(10, 10)...)
	d.onlyOnce(20)
	d.halt()
}
