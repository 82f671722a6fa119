package repeater_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

const year = 365 * 24 * time.Hour

// A skewed depot has a wall clock that can be put forward and back.
type skewed struct {
	*depot
	off atomic.Int64
	log logBook
	reg *prometheus.Registry
}

func withClock(t *testing.T, mode routes.SpoolMode, f func(d *skewed)) {
	spooling(t, mode, func(d *depot) {
		s := &skewed{depot: d, reg: prometheus.NewRegistry()}
		d.opts.Now = s.now
		d.adapter = relative{d.adapter}
		d.opts.Metrics = s.reg
		d.opts.Log = slog.New(slog.NewTextHandler(&s.log, nil))
		f(s)
	})
}

func (d *skewed) now() time.Time         { return time.Now().Add(time.Duration(d.off.Load())) }
func (d *skewed) jump(off time.Duration) { d.off.Store(int64(off)) }

// suspect compares status and metric with want.
func (d *skewed) suspect(want bool) {
	d.t.Helper()
	st := d.rep.Status().Clock
	if st.Suspect != want || (st.Since != nil) != want || (st.Expected != nil) != want {
		d.t.Errorf("status says %+v, want suspect %v", st, want)
	}
	families, err := d.reg.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "posthouse_clock_suspect" {
			if got := f.Metric[0].GetGauge().GetValue() == 1; got != want {
				d.t.Errorf("the metric says %v, want %v", got, want)
			}
			return
		}
	}
	d.t.Error("no metric posthouse_clock_suspect")
}

// expiring is message n that ends after d, by the true time.
func expiring(n int, d time.Duration) *adapters.Message {
	m := message(n)
	m.Expires = time.Now().Add(d).UnixMilli()
	return m
}

// lasting is message n with a lifetime that its receiver counts from its own clock: a relative one, which mem has not.
func lasting(n int, d time.Duration) *adapters.Message {
	m := message(n)
	m.Props = append(m.Props, adapters.Prop{Name: "left", V: adapters.Int(adapters.TI64, d.Milliseconds())})
	return m
}

// relative is mem with relative lifetimes.
type relative struct{ adapters.Adapter }

type relativeSource struct{ adapters.Source }

func (a relative) OpenSource(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Source, error) {
	s, err := a.Adapter.OpenSource(ctx, c, at)
	return relativeSource{s}, err
}

func (s relativeSource) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	for i := range ds {
		if left, ok := ds[i].Message.Prop("left"); ok {
			ds[i].Message = ds[i].Message.Clone()
			ds[i].Message.Left = left.Int()
		}
	}
	return ds, err
}

// C18: messages wait in the spool with an hour to live, and the clock jumps. None of them is dropped; when the clock is
// back, expiry works again, and the time in the spool counts.
func TestC18_JumpingClockDropsNothing(t *testing.T) {
	for _, jump := range []time.Duration{year, -year, 6 * time.Minute, -6 * time.Minute} {
		t.Run(jump.String(), func(t *testing.T) {
			withClock(t, routes.SpoolAuto, func(d *skewed) {
				d.r.Spool.MaxAge = 2 * time.Hour
				d.away("b")
				d.start()
				var ms []*adapters.Message
				for i := range 20 {
					ms = append(ms, expiring(i, time.Hour))
				}
				d.brokers["a"].Put("in", ms...)
				d.spooled(20)
				d.suspect(false)
				d.jump(jump)
				pass(clockLooks)
				d.suspect(true)
				d.back("b")
				got := d.take("b", "out", 20)
				if ns := numbers(got); !slices.Equal(ns, upTo(20)) {
					t.Errorf("arrived: %v", ns)
				}
				d.spooled(0)
				d.jump(0)
				pass(clockLooks)
				d.suspect(false)

				d.away("b")
				d.brokers["a"].Put("in", expiring(20, time.Hour), expiring(21, 3*time.Hour), message(22))
				d.spooled(3)
				pass(90 * time.Minute)
				d.back("b")
				if ns := numbers(d.take("b", "out", 2)); !slices.Equal(ns, []int{21, 22}) {
					t.Errorf("after the clock was right again came %v, want 21, 22", ns)
				}
				d.halt()
				if a, b := d.log.count("the clock is not believed"), d.log.count("the clock is believed again"); a != 1 || b != 1 {
					t.Errorf("%d alarms and %d all-clears, want one of each", a, b)
				}
			})
		})
	}
}

// clockLooks is longer than a repeater takes to notice a jump.
const clockLooks = 11 * time.Second

// A clock that is slewed, or wrong by less than the limit, alarms nobody.
func TestSmallJumpsAreBelieved(t *testing.T) {
	withClock(t, routes.SpoolNever, func(d *skewed) {
		d.start()
		for _, off := range []time.Duration{4 * time.Minute, -4 * time.Minute, 0} {
			d.jump(off)
			pass(clockLooks)
			d.suspect(false)
		}
		d.brokers["a"].Put("in", expiring(0, -time.Minute), message(1))
		if ns := numbers(d.take("b", "out", 1)); ns[0] != 1 {
			t.Errorf("came %v", ns)
		}
		d.halt()
	})
}

// A lifetime that was counted from a clock that is not believed ends nothing, neither then nor when the clock is right
// again; what the producer has said by its own clock stays. A message in pass-through is held to the same.
func TestLifetimeFromASuspectClock(t *testing.T) {
	for _, jump := range []time.Duration{year, -year} {
		for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto} {
			t.Run(fmt.Sprint(jump, "/", mode), func(t *testing.T) {
				withClock(t, mode, func(d *skewed) {
					d.start()
					d.up()
					d.away("b")
					d.jump(jump)
					pass(clockLooks)
					d.brokers["a"].Put("in", lasting(0, time.Minute), expiring(1, time.Minute), expiring(2, 5*time.Hour))
					pass(time.Minute / 2)
					d.jump(0)
					pass(time.Hour)
					d.suspect(false)
					d.back("b")
					got := d.take("b", "out", 2)
					if ns := numbers(got); !slices.Equal(ns, []int{0, 2}) {
						t.Errorf("came %v, want 0 and 2: the producer of 1 had ended it", ns)
					}
					if got[0].Expires != 0 || got[1].Expires == 0 {
						t.Errorf("expiries %d and %d, want none and that of the producer", got[0].Expires, got[1].Expires)
					}
					d.halt()
				})
			})
		}
	}
}

// A clock that lies before what the journal has seen is not believed from the start on, until it has come to that.
func TestClockBehindTheJournal(t *testing.T) {
	for _, left := range []int{0, 5} { // messages of the earlier life
		t.Run(fmt.Sprint(left, " records"), func(t *testing.T) {
			withClock(t, routes.SpoolAuto, func(d *skewed) {
				d.r.Spool.MaxAge = time.Hour
				d.away("b")
				d.start()
				for i := range left {
					d.brokers["a"].Put("in", expiring(i, time.Hour))
				}
				d.spooled(uint64(left))
				d.halt()
				d.jump(-year)
				d.reg = prometheus.NewRegistry()
				d.opts.Metrics = d.reg
				d.start()
				pass(time.Second)
				d.suspect(true)
				if at := d.rep.Status().Clock.Expected; at == nil || time.Since(*at).Abs() > time.Minute {
					t.Errorf("expected is %v, and it is %v", at, time.Now())
				}
				d.brokers["a"].Put("in", lasting(left, time.Minute))
				d.spooled(uint64(left + 1))
				pass(2 * time.Hour)
				d.back("b")
				if ns := numbers(d.take("b", "out", left+1)); !slices.Equal(ns, upTo(left+1)) {
					t.Errorf("came %v", ns)
				}
				d.jump(0)
				pass(clockLooks)
				d.suspect(false)
				d.brokers["a"].Put("in", expiring(90, -time.Minute), message(91))
				if ns := numbers(d.take("b", "out", 1)); ns[0] != 91 {
					t.Errorf("with the clock right again came %v", ns)
				}
				d.halt()
			})
		})
	}
}

// Where the clock is believed a relative lifetime ends.
func TestLifetimeCounts(t *testing.T) {
	withClock(t, routes.SpoolAuto, func(d *skewed) {
		d.away("b")
		d.start()
		d.brokers["a"].Put("in", lasting(0, time.Minute), lasting(1, time.Hour))
		d.spooled(2)
		pass(10 * time.Minute)
		d.back("b")
		if ns := numbers(d.take("b", "out", 1)); ns[0] != 1 {
			t.Errorf("came %v", ns)
		}
		d.halt()
	})
}

// However long nothing ran: a clock that is later than the journal is believed.
func TestClockAfterALongRest(t *testing.T) {
	withClock(t, routes.SpoolAuto, func(d *skewed) {
		d.away("b")
		d.start()
		d.brokers["a"].Put("in", expiring(0, time.Hour), message(1))
		d.spooled(2)
		d.halt()
		pass(30 * 24 * time.Hour)
		d.reg = prometheus.NewRegistry()
		d.opts.Metrics = d.reg
		d.back("b")
		d.start()
		if ns := numbers(d.take("b", "out", 1)); ns[0] != 1 {
			t.Errorf("came %v", ns)
		}
		d.suspect(false)
		d.halt()
	})
}

// C18: a clock that is wrong at the start ends no request of the life before; what it says of a long rest is not believed, so
// that such a request has at most its whole time once more. A short rest counts.
func TestC18_RequestsAndAClockThatIsWrongAtTheStart(t *testing.T) {
	for _, tc := range []struct{ rest, jump, later time.Duration }{
		{time.Second, year, 3 * time.Minute},
		{time.Second, -year, 3 * time.Minute},
		{24 * time.Hour, 0, 3 * time.Minute},
		{3 * time.Minute, 0, time.Minute / 2},
	} {
		t.Run(fmt.Sprint(tc.rest, "/", tc.jump), func(t *testing.T) {
			bridged(t, func(c *crossing) {
				var off time.Duration
				c.opts.Now = func() time.Time { return time.Now().Add(off) }
				c.bridge.Timeout = 5 * time.Minute
				c.start()
				c.brokers["a"].Put("SQ1", request(0, ""), request(1, ""))
				qs := c.take("b", "TQ1", 2)
				c.empty("a", "SQ1")
				pass(time.Minute)
				c.halt()
				pass(tc.rest)
				off = tc.jump
				c.opts.Metrics = prometheus.NewRegistry()
				c.start()
				c.outstanding(2)
				pass(tc.later)
				c.answer(qs[0], false)
				c.take("a", "TQ2", 1)
				pass(c.bridge.Timeout - tc.later)
				c.outstanding(0)
				if s := c.status(); s.Timeouts != 1 {
					t.Errorf("%+v", s)
				}
				c.halt()
			})
		})
	}
}
