package repeater_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// once runs f in virtual time with an exactly-once route, a/in to b/out.
func once(t *testing.T, target mem.Options, f func(d *depot)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, func(name string) mem.Options {
			if name == "b" {
				return target
			}
			return mem.Options{}
		}, "a", "b")
		d := &depot{world: w, r: w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}), disk: spooltest.NewDisk()}
		w.table.Spool = &routes.Spool{Dir: "spool", SegmentSize: 32 << 10}
		w.opts.SpoolFS = d.disk
		d.r.Delivery, d.r.Spool, d.r.MaxAttempts = routes.ExactlyOnce, routes.RouteSpool{Mode: routes.SpoolAlways, SlowAfter: 30 * time.Second}, 1<<30
		f(d)
	})
}

// classes are targets that can take part.
func classes() map[string]mem.Options {
	return map[string]mem.Options{"Tx": {Tx: true}, "Window": {Window: true}}
}

// onlyOnce takes what b/out holds and wants 0 to n-1, each once and none flagged.
func (d *depot) onlyOnce(n int) {
	d.t.Helper()
	d.until("all is settled and delivered", func() bool {
		waiting, open := d.brokers["a"].Len("in")
		return waiting+open == 0 && d.lane().Spooled == 0
	})
	there, _ := d.brokers["b"].Len("out")
	got := d.take("b", "out", there)
	if !slices.Equal(numbers(got), upTo(n)) || flagged(got) > 0 {
		d.t.Errorf("got %v, %d flagged", numbers(got), flagged(got))
	}
}

// powerFailure ends the repeater and the disk at once, and begins again with what was synced.
func (d *depot) powerFailure() {
	d.t.Helper()
	image := d.disk.Fail(0, nil)
	d.brokers["a"].Link().Cut()
	d.brokers["b"].Link().Cut()
	d.stop()
	<-d.done // of no interest: its disk is gone
	d.disk, d.opts.SpoolFS = image, image
	d.opts.Metrics = prometheus.NewRegistry()
	d.start()
}

// C8: what was sent when the confirm was lost is not sent again, or not taken again.
func TestC08_ConfirmLostOnce(t *testing.T) {
	for name, o := range classes() {
		t.Run(name, func(t *testing.T) {
			once(t, o, func(d *depot) {
				d.start()
				d.up()
				d.brokers["b"].Link().HoldReplies()
				d.brokers["a"].Put("in", messages(0, 10)...)
				d.until("it is with the target", func() bool { n, _ := d.brokers["b"].Len("out"); return n > 0 })
				d.away("b")
				d.is("spooling")
				d.back("b")
				d.brokers["a"].Put("in", messages(10, 10)...)
				d.onlyOnce(20)
				d.halt()
			})
		})
	}
}

// C9 and C10: power fails when the target has it and the done mark is not on disk.
func TestC09_PowerFailsAfterTheConfirmOnce(t *testing.T) {
	for name, o := range classes() {
		t.Run(name, func(t *testing.T) {
			once(t, o, func(d *depot) {
				d.start()
				d.up()
				d.brokers["b"].Link().HoldReplies()
				d.brokers["a"].Put("in", messages(0, 10)...)
				d.until("it is with the target", func() bool { n, _ := d.brokers["b"].Len("out"); return n > 0 })
				d.powerFailure()
				d.brokers["a"].Put("in", messages(10, 10)...)
				d.onlyOnce(20)
				d.halt()
			})
		})
	}
}

// C4 and C5: power fails between the sync and the source's word that it has recorded the settle.
func TestC05_SettleLostWithThePowerOnce(t *testing.T) {
	for name, o := range classes() {
		t.Run(name, func(t *testing.T) {
			once(t, o, func(d *depot) {
				p := &patient{Adapter: d.adapter, cure: make(chan struct{})}
				p.settle = first(p.hang)
				d.adapter = p
				d.start()
				d.brokers["a"].Put("in", messages(0, 10)...)
				d.until("delivered", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 })
				if _, open := d.brokers["a"].Len("in"); open != 10 {
					t.Errorf("%d are not settled", open)
				}
				d.powerFailure()
				d.onlyOnce(10)
				if n := recognised(t, d.opts.Metrics); n != 10 {
					t.Errorf("%d recognised", n)
				}
				close(p.cure)
				d.halt()
			})
		})
	}
}

// C24: the settle fails after the target has confirmed. The second delivery is recognised, on every kind of route.
func TestC24_SettleFailsAfterTheConfirm(t *testing.T) {
	for name, mode := range map[string]routes.SpoolMode{"PassThrough": routes.SpoolAuto, "Spooled": routes.SpoolAlways} {
		t.Run(name, func(t *testing.T) {
			spooling(t, mode, func(d *depot) {
				d.adapter = &patient{Adapter: d.adapter, settle: first(failing(adapters.Lost, "cut before the settle"))}
				d.opts.Metrics = prometheus.NewRegistry()
				d.brokers["a"].Put("in", messages(0, 10)...)
				d.start()
				d.onlyOnce(10)
				if n := recognised(t, d.opts.Metrics); n == 0 {
					t.Error("void: nothing was given out again")
				}
				d.halt()
			})
		})
	}
}

// C24 at a source that neither confirms a settle nor says that it gives a message out again: the ids of what was settled last
// are kept, in the journal too, until the source has had its chance.
func TestC24_SourceThatConfirmsNothing(t *testing.T) {
	for name, o := range classes() {
		for _, power := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/power=", power), func(t *testing.T) {
				once(t, o, func(d *depot) {
					p := &patient{Adapter: d.adapter, mute: true}
					p.forgets.Store(true)
					d.adapter, d.opts.Metrics = p, prometheus.NewRegistry()
					d.start()
					d.brokers["a"].Put("in", messages(0, 10)...)
					d.until("delivered", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 && d.lane().Spooled == 0 })
					p.forgets.Store(false)
					if power {
						d.powerFailure()
					} else {
						d.brokers["a"].Link().Cut()
					}
					d.until("given out again", func() bool { return recognised(t, d.opts.Metrics) == 10 })
					d.brokers["a"].Put("in", messages(10, 1000)...)
					d.onlyOnce(1010)
					pass(time.Hour)
					d.halt()
					lanes, _, _, err := spool.Inspect(t.Context(), d.disk)
					if err != nil || lanes[0].Live != 0 {
						t.Errorf("%+v are kept for ever, %v", lanes, err)
					}
				})
			})
		}
	}
}

// recognised is how many messages of all lanes came again and were known.
func recognised(t *testing.T, r prometheus.Registerer) int {
	return int(metric(t, r.(*prometheus.Registry), "posthouse_route_duplicate_messages_total", "kind=dropped"))
}

// count is the sum of a counter over all lanes.
func count(t *testing.T, r prometheus.Registerer, name string) (n int) {
	families, err := r.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}

// A second message that carries the same application id is a message of its own.
func TestSameApplicationIDIsAnotherMessage(t *testing.T) {
	once(t, mem.Options{Window: true}, func(d *depot) {
		reg := prometheus.NewRegistry()
		d.adapter, d.opts.Metrics = &patient{Adapter: d.adapter, mute: true, deliver: func(ds []adapters.Delivery) error {
			for i := range ds {
				ds[i].SourceID = "order-1"
			}
			return nil
		}}, reg
		d.start()
		d.brokers["a"].Put("in", messages(0, 2)...)
		d.onlyOnce(2)
		if n := metric(t, reg, "posthouse_route_duplicate_messages_total", "kind=suspected"); n != 1 {
			t.Errorf("%v messages are suspected to be duplicates, want 1", n)
		}
		d.halt()
	})
}

func (d *depot) sender() string {
	d.t.Helper()
	_, st, _, err := spool.Inspect(d.t.Context(), d.disk.Image(100, nil))
	if err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("%08x.%08x", st.Epoch, 1)
}

// C17: a lane that another sender has taken over stops; it does not take it back.
func TestC17_FencedLaneStops(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.start()
		d.brokers["a"].Put("in", messages(0, 5)...)
		d.onlyOnce(5)
		cfg := d.table.Brokers["b"].Config
		other, err := d.adapter.(adapters.TxAdapter).OpenTx(d.t.Context(), cfg, addr([2]string{"b", "out"}), d.sender())
		if err != nil {
			t.Fatal(err)
		}
		if other.Position().Last != 5 {
			t.Errorf("position %+v", other.Position())
		}
		d.brokers["a"].Put("in", messages(5, 5)...)
		d.is("failed")
		pass(time.Hour)
		if n, _ := d.brokers["b"].Len("out"); n != 0 || !strings.Contains(d.lane().Error, "another sender") {
			t.Errorf("%d messages; %s", n, d.lane().Error)
		}
		if err := other.SendTx(d.t.Context(), messages(0, 1), adapters.Position{Last: 6}); err != nil {
			t.Errorf("it was taken back: %v", err)
		}
		d.halt()
	})
}

// C19: an old copy of the spool is not taken for the present one, though its directory is the same.
func TestC19_RestoredSpoolIsNoticed(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.start()
		d.brokers["a"].Put("in", messages(0, 5)...)
		d.onlyOnce(5)
		d.halt()
		old := d.disk.Image(100, nil)
		d.opts.Metrics = nil
		d.start()
		d.brokers["a"].Put("in", messages(5, 5)...)
		d.until("delivered", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 5 })
		d.halt()
		d.disk, d.opts.SpoolFS = old, old
		d.brokers["a"].Put("in", messages(10, 5)...)
		d.start()
		d.until("blocked", func() bool { return strings.Contains(d.lane().Link.Error, "--accept-epoch") })
		if n, _ := d.brokers["b"].Len("out"); n != 5 {
			t.Errorf("%d messages", n)
		}
		d.halt()
		d.opts.AcceptEpoch = true
		d.start()
		got := d.take("b", "out", 10)
		if !slices.Equal(numbers(got), []int{5, 6, 7, 8, 9, 10, 11, 12, 13, 14}) {
			t.Errorf("got %v", numbers(got))
		}
		d.halt()
	})
}

// A message that the target refuses leaves the transaction, and the others go.
func TestRefusedMessageLeavesItsTransaction(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.r.MaxAttempts = 2
		d.brokers["b"].SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { return number(m)%7 == 3 }})
		d.start()
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.until("all have an answer", func() bool { return d.lane().Spooled == 0 && d.rep.Status().Routes[0].Received == 50 })
		got := numbers(d.take("b", "out", 43))
		if slices.ContainsFunc(got, func(n int) bool { return n%7 == 3 }) || !slices.IsSorted(got) {
			t.Errorf("got %v", got)
		}
		if dead := d.rep.Status().Routes[0].Dead; dead.Spooled != 7 {
			t.Errorf("%d dead letters", dead.Spooled)
		}
		d.halt()
	})
}

// Those that the target refuses before it begins a transaction leave it all at once: the others take one more, and not one
// for every run of them.
// In strict order nothing passes one of them before it is a dead letter.
func TestManyTooLargeLeaveTheirTransaction(t *testing.T) {
	for order, most := range map[routes.Order]time.Duration{routes.OrderSource: 30 * time.Second, routes.OrderStrict: time.Hour} {
		t.Run(string(order), func(t *testing.T) { manyTooLarge(t, order, most) })
	}
}

func manyTooLarge(t *testing.T, order routes.Order, most time.Duration) {
	once(t, mem.Options{Tx: true, MaxSize: 4000}, func(d *depot) {
		d.r.Order, d.r.OnPoison = order, routes.PoisonDeadLetter
		d.r.InFlight = 4096
		d.r.MaxMessageSize = 1 << 20
		ms := messages(0, 300)
		for i := range ms {
			if i%3 == 1 {
				ms[i].Body.Data = make([]byte, 5000)
			}
		}
		d.away("b")
		d.brokers["a"].Put("in", ms...)
		d.start()
		d.spooled(300)
		d.back("b")
		d.until("the target is there", func() bool { return d.lane().Link.State == "up" })
		d.brokers["b"].Link().SetLatency(time.Second)
		begin := time.Now()
		d.until("all have an answer", func() bool { return d.lane().Spooled == 0 })
		took(t, "300 messages, a hundred of them too large", begin, 0, most) // two seconds for each transaction
		if got := numbers(d.take("b", "out", 200)); !slices.IsSorted(got) || len(got) != 200 {
			t.Errorf("got %v", got)
		}
		if dead := d.rep.Status().Routes[0].Dead; dead.Spooled != 100 {
			t.Errorf("%d dead letters", dead.Spooled)
		}
		d.halt()
	})
}

// A route that becomes exactly-once with a backlog flags what an unclean stop has left in doubt: no position tells.
func TestBecomesExactlyOnceWithABacklog(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.r.Delivery = ""
		d.start()
		d.up()
		d.brokers["b"].Link().HoldReplies()
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.until("all are with the target", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 10 })
		d.r.Delivery = routes.ExactlyOnce
		d.powerFailure()
		got := d.take("b", "out", 20)
		if flagged(got[:10]) != 0 || flagged(got[10:]) != 10 {
			t.Errorf("%v, %d flagged", numbers(got), flagged(got))
		}
		d.brokers["a"].Put("in", messages(10, 10)...)
		if got := d.take("b", "out", 10); flagged(got) != 0 {
			t.Errorf("%d new ones are flagged", flagged(got))
		}
		d.halt()
	})
}

// What waits behind a refused message of its key is not with the target, whatever its transactions have passed.
func TestParkedRecordsAreHoles(t *testing.T) {
	once(t, mem.Options{Tx: true}, func(d *depot) {
		d.r.Order, d.r.OnPoison, d.r.MaxAttempts = routes.OrderPerKey, routes.PoisonHold, 3
		d.brokers["b"].SetRules("out", refuses(7))
		d.brokers["a"].Put("in", keyed(0, 200)...)
		d.start()
		d.until("the other keys have passed", func() bool { n, _ := d.brokers["b"].Len("out"); return n == 161 })
		d.empty("a", "in")
		d.powerFailure()
		d.brokers["b"].SetRules("out", mem.Rules{})
		got := byKey(numbers(d.take("b", "out", 200)))
		for key, ns := range got {
			if len(ns) != 40 || !slices.IsSorted(ns) {
				t.Errorf("key %d: %v", key, ns)
			}
		}
		d.halt()
	})
}
