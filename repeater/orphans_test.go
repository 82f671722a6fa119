package repeater_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// orphaned runs f with 30 messages of a lane whose route was taken away; another route is there.
func orphaned(t *testing.T, f func(d *depot)) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.route("other", [2]string{"a", "others"}, [2]string{"b", "out"}).Spool = d.r.Spool
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 30)...)
		d.start()
		d.spooled(30)
		next := d.next()
		next.Routes = next.Routes[1:]
		d.reload(next)
		if os := d.rep.Status().Spool.Orphans; len(os) != 1 || os[0].Messages != 30 {
			d.t.Fatalf("%+v", os)
		}
		d.back("b")
		d.routeIs("other", "pass-through")
		f(d)
		d.halt()
	})
}

func TestPurgeAnOrphan(t *testing.T) {
	orphaned(t, func(d *depot) {
		n := 31
		if _, err := d.rep.Purge(d.t.Context(), repeater.OrphanAsk{Name: "orders/b0", Expect: &n}); !errors.Is(err, repeater.ErrCount) {
			d.t.Error(err)
		}
		if _, err := d.rep.Purge(d.t.Context(), repeater.OrphanAsk{Name: "other/b0"}); !errors.Is(err, repeater.ErrNoOrphan) {
			d.t.Error(err)
		}
		if n, err := d.rep.Purge(d.t.Context(), repeater.OrphanAsk{Name: "orders/b0", DryRun: true}); n != 30 || err != nil {
			d.t.Errorf("%d, %v", n, err)
		}
		n = 30
		if got, err := d.rep.Purge(d.t.Context(), repeater.OrphanAsk{Name: "orders/b0", Expect: &n}); got != 30 || err != nil {
			d.t.Errorf("%d, %v", got, err)
		}
		if st := d.rep.Status().Spool; len(st.Orphans) != 0 || st.Messages != 0 {
			d.t.Errorf("%+v", st)
		}
	})
}

func TestAdoptAnOrphan(t *testing.T) {
	orphaned(t, func(d *depot) {
		if _, err := d.rep.Adopt(d.t.Context(), repeater.OrphanAsk{Name: "orders/b0"}, "nobody"); !errors.Is(err, repeater.ErrNoRoute) {
			d.t.Error(err)
		}
		if out, err := d.rep.Adopt(d.t.Context(), repeater.OrphanAsk{Name: "orders/b0", DryRun: true}, "other"); err != nil || out.Selected != 30 || out.Done != 0 {
			d.t.Errorf("%+v, %v", out, err)
		}
		out, err := d.rep.Adopt(d.t.Context(), repeater.OrphanAsk{Name: "orders/b0"}, "other")
		if err != nil || out.Done != 30 || out.Failed+out.Pending != 0 {
			d.t.Errorf("%+v, %v", out, err)
		}
		if got := d.take("b", "out", 30); !slices.Equal(numbers(got), upTo(30)) {
			d.t.Errorf("%v", numbers(got))
		}
		if st := d.rep.Status().Spool; len(st.Orphans) != 0 || st.Messages != 0 {
			d.t.Errorf("%+v", st)
		}
		pass(time.Minute)
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			d.t.Errorf("%d came twice", n)
		}
	})
}
