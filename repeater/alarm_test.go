package repeater_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// aliased gives a broker of the world a second name, under another address.
func (w *world) aliased(name, alias string) {
	w.adapter.(*mem.Adapter).Via(alias+"-address", w.brokers[name].Link())
	b := *w.table.Brokers[name]
	b.Name, b.Config.Name, b.Config.Addresses = alias, alias, []string{alias + "-address"}
	w.table.Brokers[alias] = &b
}

// paused are the lanes that an alarm has paused.
func (w *world) paused() (names []string) {
	for _, r := range w.rep.Status().Routes {
		for _, l := range r.Lanes {
			if l.State == "paused" {
				names = append(names, l.Name)
			}
		}
	}
	return names
}

// TestTwoNamesForOneBroker: the file shows a route from one broker to another; the brokers say that they are one. Nothing is
// sent; a lane beside it works.
func TestTwoNamesForOneBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		w.aliased("a", "c")
		w.route("itself", [2]string{"a", "q"}, [2]string{"c", "q"})
		w.route("fine", [2]string{"a", "in"}, [2]string{"c", "out"})
		w.route("there", [2]string{"b", "r"}, [2]string{"c", "r"})
		w.route("back", [2]string{"a", "r"}, [2]string{"b", "r"})
		w.brokers["a"].Put("q", messages(0, 5)...)
		w.brokers["a"].Put("r", messages(0, 5)...)
		w.brokers["a"].Put("in", messages(0, 5)...)
		w.start()
		if ns := numbers(w.take("a", "out", 5)); !slices.Equal(ns, upTo(5)) {
			t.Errorf("beside it: %v", ns)
		}
		w.until("the circles are known", func() bool { return len(w.paused()) == 3 })
		pass(10 * time.Minute)
		for _, r := range w.rep.Status().Routes {
			if r.Name != "fine" && r.Name != "back" && r.Lanes[0].Forwarded != 0 {
				t.Errorf("%s has sent %d", r.Name, r.Lanes[0].Forwarded)
			}
			if r.Name == "itself" && !strings.Contains(r.Lanes[0].Error, "a and c are one broker") {
				t.Errorf("%s says %q", r.Name, r.Lanes[0].Error)
			}
		}
		if n, err := w.rep.Resolve(t.Context(), "itself/c0", repeater.Retry, "it is meant"); err != nil || n != 5 {
			t.Errorf("%d, %v", n, err)
		}
		w.until("it goes on", func() bool { return !slices.Contains(w.paused(), "itself/c0") })
		w.halt()
	})
}

// A stripper is an adapter whose sources at one broker lose what Posthouse has written.
type stripper struct {
	adapters.Adapter
	at string
}

func (s stripper) OpenSource(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Source, error) {
	src, err := s.Adapter.OpenSource(ctx, c, a)
	if err != nil || a.Broker != s.at {
		return src, err
	}
	return stripped{src}, nil
}

type stripped struct{ adapters.Source }

func (s stripped) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	for i := range ds {
		m := ds[i].Message.Clone()
		m.Track = adapters.Track{}
		m.Props = slices.DeleteFunc(m.Props, func(p adapters.Prop) bool { return strings.HasPrefix(p.Name, "posthouse-") })
		ds[i].Message = m
	}
	return ds, err
}

// TestRingThatLosesHeaders: a ring of three, and a broker in it that removes headers, so that no path ends the way of a
// message. A lane sees that it sends the same again and again, and is paused; nothing is lost. Messages that an application
// has given an id, and those that can be told by their content only.
func TestRingThatLosesHeaders(t *testing.T) {
	for _, anonymous := range []bool{false, true} {
		t.Run(fmt.Sprint("anonymous=", anonymous), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a", "b", "c")
				w.adapter = stripper{w.adapter, "b"}
				for i, at := range []string{"a", "b", "c"} {
					to := string("bca"[i])
					w.route(at+to, [2]string{at, "q"}, [2]string{to, "q"}).InCircle = true
					w.brokers[at].Link().SetLatency(5 * time.Millisecond)
				}
				ms := messages(0, 20)
				for _, m := range ms {
					if anonymous {
						m.ID = adapters.ID{}
					}
				}
				w.brokers["a"].Put("q", ms...)
				w.start()
				w.until("a lane is paused", func() bool { return len(w.paused()) > 0 })
				pass(time.Minute)
				before := w.forwarded()
				pass(10 * time.Minute)
				if n := w.forwarded(); n != before || n > 3*3000 {
					t.Errorf("still going round: %d, then %d", before, n)
				}
				w.halt()
				held := map[int]bool{}
				for _, at := range []string{"a", "b", "c"} {
					n, _ := w.brokers[at].Len("q")
					for _, i := range numbers(w.take(at, "q", n)) {
						held[i] = true
					}
				}
				if len(held) != 20 {
					t.Errorf("%d of 20 messages are left", len(held))
				}
			})
		})
	}
}

// forwarded is what all lanes have sent.
func (w *world) forwarded() (n int64) {
	for _, r := range w.rep.Status().Routes {
		for _, l := range r.Lanes {
			n += l.Forwarded
		}
	}
	return n
}

// TestNoFalseAlarm: a source that gives everything out again after each of many lost connections, ids that applications use
// twice, and messages that are all alike on a route that is on no circle.
func TestNoFalseAlarm(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		for n := range 8000 {
			m := message(n % 4000)
			if n >= 4000 {
				m.ID, m.Props, m.Body.Data = adapters.ID{}, nil, []byte("tick")
			}
			w.brokers["a"].Put("in", m)
		}
		w.start()
		for range 20 {
			pass(20 * time.Millisecond)
			w.brokers["a"].Link().Cut()
		}
		w.empty("a", "in")
		if p := w.paused(); len(p) > 0 {
			t.Errorf("paused: %v", p)
		}
		w.halt()
	})
}

// TestParallelLinks: what two routes bring to one broker is twice there and goes on twice; that is no circle.
func TestParallelLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "z", "a", "b", "c")
		w.route("origin", [2]string{"z", "in"}, [2]string{"a", "q1"}, [2]string{"a", "q2"})
		w.route("one", [2]string{"a", "q1"}, [2]string{"b", "q"})
		w.route("two", [2]string{"a", "q2"}, [2]string{"b", "q"})
		w.route("on", [2]string{"b", "q"}, [2]string{"c", "q"}).InCircle = true
		for n := range 1500 {
			m := message(n)
			m.ID = adapters.ID{}
			w.brokers["z"].Put("in", m)
		}
		w.start()
		if got := w.take("c", "q", 3000); len(got) != 3000 {
			t.Errorf("%d arrived", len(got))
		}
		w.empty("b", "q")
		if p := w.paused(); len(p) > 0 {
			t.Errorf("paused: %v", p)
		}
		w.halt()
	})
}
