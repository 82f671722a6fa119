package repeater_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// A fork is a world in which one broker has two addresses: its name, and the name with a 2, over a link of its own.
type fork struct {
	*world
	two           string // the broker
	first, second *mem.Link
	log           logBook
}

// forked runs f in virtual time with the route a/in to b/out and two addresses at one of both.
func forked(t *testing.T, two string, f func(k *fork, r *routes.Route)) {
	forkedWith(t, two, mem.Options{}, f)
}

// forkedWith is forked with a target of its own kind.
func forkedWith(t *testing.T, two string, target mem.Options, f func(k *fork, r *routes.Route)) {
	scenario(t, func(w *world, r *routes.Route) {
		w.brokers["b"] = mem.NewBroker("b", target)
		k := &fork{world: w, two: two, first: w.brokers[two].Link(), second: w.brokers[two].NewLink()}
		a := mem.New(w.brokers["a"], w.brokers["b"])
		a.Via(two+"2", k.second)
		w.adapter = a
		w.opts.Log = slog.New(slog.NewTextHandler(&k.log, nil))
		b := w.table.Brokers[two]
		b.Config.Addresses, b.Config.Heartbeat, b.Failback = []string{two, two + "2"}, 5*time.Second, 30*time.Second
		f(k, r)
	})
}

// address is where the end with two addresses is attached.
func (k *fork) address() string {
	r := k.rep.Status().Routes[0]
	if k.two == "a" {
		return r.Source.Peer.Address
	}
	return r.Lanes[0].Link.Peer.Address
}

func (k *fork) firstDies() {
	k.first.Refuse()
	k.first.Cut()
}

// isAt waits for the address, and returns how long that took.
func (k *fork) isAt(address string) time.Duration {
	k.t.Helper()
	begin := time.Now()
	k.until("attached at "+address, func() bool { return k.address() == address })
	return time.Since(begin)
}

// lines are the log's lines with that text.
func (k *fork) lines(text string) int { return k.log.count(text) }

// A logBook is a log that can be read while it is written.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// stream puts a message into a/in every 20 ms until the test calls end, which returns how many there are.
func (k *fork) stream() (end func() int) {
	ctx, cancel := context.WithCancel(k.t.Context())
	n := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; n++ {
			k.brokers["a"].Put("in", message(n))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() int { cancel(); wg.Wait(); return n }
}

// Traffic goes on while the first address is away, and back at it, with messages in flight at the moment of the move.
// After the failover, which breaks a link, the unknown ones come twice; the move home loses and doubles nothing.
func TestFailback(t *testing.T) {
	for _, two := range []string{"a", "b"} {
		for _, mode := range []routes.SpoolMode{routes.SpoolNever, routes.SpoolAuto, routes.SpoolAlways} {
			t.Run(fmt.Sprint(two, "/", mode), func(t *testing.T) {
				forked(t, two, func(k *fork, r *routes.Route) {
					if mode != routes.SpoolNever {
						withSpool(k.world, r, mode)
					}
					for _, l := range []*mem.Link{k.first, k.second} {
						l.SetLatency(100 * time.Millisecond)
					}
					k.start()
					k.up()
					if k.address() != two {
						t.Errorf("begins at %s", k.address())
					}
					end := k.stream()
					pass(time.Second)
					k.firstDies()
					k.isAt(two + "2")
					k.first.Allow()
					pass(10 * time.Second)
					before := len(k.drain())
					if d := k.isAt(two); d < 19*time.Second || d > 40*time.Second {
						t.Errorf("back after %v more", d)
					}
					pass(10 * time.Second)
					n := end()
					k.empty("a", "in")
					k.until("all is confirmed", func() bool { return k.rep.Status().Routes[0].Lanes[0].InFlight == 0 })
					got := k.drain()
					k.halt()
					ns := numbers(got)
					if first := ns[0]; first > before || !slices.Equal(ns, upTo(n)[first:]) {
						t.Errorf("%d messages, %d before; then lost, doubled or out of order: %v", n, before, ns)
					}
					if f := flagged(got); f > 0 {
						t.Errorf("%d messages count as possible duplicates after an orderly move", f)
					}
					if a, b := k.lines("reached at another address"), k.lines("going back to it"); a != 1 || b != 1 {
						t.Errorf("%d lines on the failover, %d on the failback; want 1, 1", a, b)
					}
				})
			})
		}
	}
}

// Under exactly-once neither the failover nor the failback loses or doubles anything.
func TestFailbackExactlyOnce(t *testing.T) {
	for class, o := range map[adapters.Class]mem.Options{adapters.ClassTx: {Tx: true}, adapters.ClassWindow: {Window: true}} {
		t.Run(class.String(), func(t *testing.T) {
			forkedWith(t, "b", o, func(k *fork, r *routes.Route) {
				withSpool(k.world, r, routes.SpoolAlways)
				r.Delivery, r.Identity, r.To[0].Class = routes.ExactlyOnce, adapters.SourcePosition, class
				for _, l := range []*mem.Link{k.first, k.second} {
					l.SetLatency(100 * time.Millisecond)
				}
				k.start()
				k.up()
				end := k.stream()
				pass(time.Second)
				k.firstDies()
				k.isAt("b2")
				k.first.Allow()
				k.isAt("b")
				pass(5 * time.Second)
				n := end()
				if got := k.take("b", "out", n); !slices.Equal(numbers(got), upTo(n)) {
					t.Errorf("of %d messages lost, doubled or out of order: %v", n, numbers(got))
				}
				k.empty("a", "in")
				k.until("all is confirmed", func() bool { return k.rep.Status().Routes[0].Lanes[0].Spooled == 0 })
				if more, _ := k.brokers["b"].Len("out"); more > 0 {
					t.Errorf("%d messages more", more)
				}
				k.halt()
			})
		})
	}
}

// withSpool gives the world a journal in memory.
func withSpool(w *world, r *routes.Route, mode routes.SpoolMode) *depot {
	d := &depot{world: w, r: r, disk: spooltest.NewDisk()}
	w.table.Spool = &routes.Spool{Dir: "spool", SegmentSize: 32 << 10}
	w.opts.SpoolFS = d.disk
	r.Spool, r.MaxAttempts = routes.RouteSpool{Mode: mode, SlowAfter: 30 * time.Second}, 1<<30
	return d
}

// drain takes all that is in b/out.
func (k *fork) drain() []*adapters.Message {
	k.t.Helper()
	n, _ := k.brokers["b"].Len("out")
	return k.take("b", "out", n)
}

// The first address must be healthy for the whole time: a flapping one is not gone back to.
func TestFailbackWaitsForAStableAddress(t *testing.T) {
	forked(t, "b", func(k *fork, _ *routes.Route) {
		k.start()
		k.up()
		k.firstDies()
		k.isAt("b2")
		for range 20 {
			k.first.Allow()
			pass(20 * time.Second)
			k.first.Refuse()
			pass(6 * time.Second) // one heartbeat and a bit
			if k.address() != "b2" {
				t.Fatal("went back to an address that dies every 26 s")
			}
		}
		k.first.Allow()
		if d := k.isAt("b"); d < 30*time.Second || d > 45*time.Second {
			t.Errorf("back after %v of health, want 30 s and at most two heartbeats", d)
		}
		k.firstDies() // it dies again: back to the second, and to waiting
		k.isAt("b2")
		pass(5 * time.Minute)
		if k.address() != "b2" {
			t.Error("went back to an address that is away")
		}
		k.first.Allow()
		k.isAt("b")
		k.halt()
		if a, b := k.lines("reached at another address"), k.lines("going back to it"); a != 2 || b != 2 {
			t.Errorf("%d lines on failovers, %d on failbacks; want 2, 2", a, b)
		}
	})
}

// While the first address comes back, ends that are opened anew stay with the others.
func TestEndsOfABrokerStayTogether(t *testing.T) {
	forked(t, "b", func(k *fork, _ *routes.Route) {
		k.start()
		k.up()
		k.firstDies()
		k.isAt("b2")
		k.first.Allow()
		k.second.Cut()
		pass(3 * time.Second)
		k.up()
		if k.address() != "b2" {
			t.Errorf("after a short cut attached at %s", k.address())
		}
		k.isAt("b")
		k.halt()
	})
}

func TestFailbackNever(t *testing.T) {
	forked(t, "b", func(k *fork, _ *routes.Route) {
		k.table.Brokers["b"].Failback = 0
		k.start()
		k.up()
		k.firstDies()
		k.isAt("b2")
		k.first.Allow()
		pass(time.Hour)
		if k.address() != "b2" {
			t.Errorf("went to %s by itself", k.address())
		}
		k.second.Refuse()
		k.second.Cut()
		k.isAt("b")
		k.halt()
	})
}

// A stop in the middle of a move is as orderly as any other: what is not confirmed is at the source.
func TestStopDuringFailback(t *testing.T) {
	for _, two := range []string{"a", "b"} {
		t.Run(two, func(t *testing.T) {
			forked(t, two, func(k *fork, _ *routes.Route) {
				k.second.SetLatency(time.Second)
				k.start()
				k.up()
				k.firstDies()
				k.isAt(two + "2")
				before := len(k.drain())
				k.first.Allow()
				k.first.SetLatency(time.Second)
				end := k.stream()
				k.until("on the way home", func() bool { return k.lines("going back to it") == 1 })
				k.halt()
				n := end()
				in, _ := k.brokers["a"].Len("in")
				ns := numbers(k.drain())
				if before != 0 || len(ns)+in != n || !slices.Equal(ns, upTo(len(ns))) || len(ns) == 0 {
					t.Errorf("of %d messages %d are at the source; arrived: %v", n, in, ns)
				}
			})
		})
	}
}

// Another broker behind the list is just another broker, unless the route promises exactly-once.
func TestAnotherBrokerBehindTheList(t *testing.T) {
	for _, promise := range []routes.Delivery{routes.AtLeastOnce, routes.ExactlyOnce} {
		t.Run(string(promise), func(t *testing.T) {
			scenario(t, func(w *world, r *routes.Route) {
				other := mem.NewBroker("c", mem.Options{Window: true})
				w.brokers["b"] = mem.NewBroker("b", mem.Options{Window: true})
				w.adapter = mem.New(w.brokers["a"], w.brokers["b"], other)
				b := w.table.Brokers["b"]
				b.Config.Addresses, b.Failback = []string{"b", "c"}, 30*time.Second
				withSpool(w, r, routes.SpoolAlways)
				r.Delivery, r.Identity, r.To[0].Class = promise, adapters.SourcePosition, adapters.ClassWindow
				w.start()
				w.up()
				link := w.brokers["b"].Link()
				link.Refuse()
				link.Cut()
				lane := func() (string, string) { l := w.rep.Status().Routes[0].Lanes[0]; return l.Link.State, l.Link.Error }
				if promise == routes.AtLeastOnce {
					w.until("attached at c", func() bool { return w.rep.Status().Routes[0].Lanes[0].Link.Peer.Address == "c" })
					w.halt()
					return
				}
				w.until("blocked", func() bool { s, _ := lane(); return s == "blocked" })
				if _, err := lane(); !strings.Contains(err, `"c"`) || !strings.Contains(err, `"b"`) || !strings.Contains(err, "exactly-once") {
					t.Errorf("it says %q", err)
				}
				w.brokers["a"].Put("in", messages(0, 20)...)
				pass(5 * time.Minute)
				if n, _ := other.Len("out"); n > 0 {
					t.Errorf("%d messages went to another broker", n)
				}
				link.Allow()
				if ns := numbers(w.take("b", "out", 20)); !slices.Equal(ns, upTo(20)) {
					t.Errorf("arrived: %v", ns)
				}
				w.halt()
			})
		})
	}
}

// With several tries each address has its own, with the pause of reconnect between them, and none before the next address.
func TestTriesOfEachAddress(t *testing.T) {
	forked(t, "b", func(k *fork, _ *routes.Route) {
		b := k.table.Brokers["b"]
		b.Tries, b.Reconnect.Jitter = 3, 0
		begin := time.Now()
		var mu sync.Mutex
		var dials []string
		b.Config.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dials = append(dials, fmt.Sprintf("%s %v", addr, time.Since(begin)))
			return nil, fmt.Errorf("no way to %s", addr)
		}
		k.start()
		pass(20 * time.Second)
		k.halt()
		want := []string{"b 0s", "b 1s", "b 3s", "b2 3s", "b2 7s", "b2 15s"}
		if !slices.Equal(dials, want) {
			t.Errorf("dialled %q, want %q", dials, want)
		}
	})
}
