package repeater_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// A world is a few brokers in memory and a repeater between them, in virtual time.
type world struct {
	t       *testing.T
	brokers map[string]*mem.Broker
	table   *routes.Table
	adapter adapters.Adapter
	opts    repeater.Options

	rep  *repeater.Repeater
	stop context.CancelFunc
	done chan error
}

func newWorld(t *testing.T, names ...string) *world {
	return newWorldOf(t, func(string) mem.Options { return mem.Options{} }, names...)
}

// newWorldOf is a world whose brokers have options.
func newWorldOf(t *testing.T, options func(name string) mem.Options, names ...string) *world {
	w := &world{t: t, brokers: map[string]*mem.Broker{}, table: &routes.Table{Brokers: map[string]*routes.Broker{}}}
	var bs []*mem.Broker
	for _, n := range names {
		b := mem.NewBroker(n, options(n))
		w.brokers[n] = b
		bs = append(bs, b)
		w.table.Brokers[n] = &routes.Broker{
			Name: n, Kind: "mem", Config: adapters.Config{Name: n, Addresses: []string{n}}, Trusted: true,
			Reconnect: routes.Reconnect{Delay: time.Second, MaxDelay: 30 * time.Second, Jitter: 0.2},
		}
	}
	w.adapter = mem.New(bs...)
	w.opts = repeater.Options{Name: "test", Log: slog.New(slog.DiscardHandler)}
	return w
}

// route adds FROM to TO..., each BROKER/QUEUE written as two words.
func (w *world) route(name string, from [2]string, to ...[2]string) *routes.Route {
	r := &routes.Route{
		Name: name, From: addr(from), Prefetch: 64, PrefetchSize: 1 << 20, InFlight: 16, Enabled: true, MaxHops: 8,
		Batch: routes.Batch{Count: 4, Size: 1 << 20}, Retry: routes.Retry{Delay: 500 * time.Millisecond, MaxDelay: time.Minute},
		ConfirmTimeout: 30 * time.Second, MaxMessageSize: 1 << 20,
	}
	for i, a := range to {
		r.To = append(r.To, routes.Target{Name: fmt.Sprintf("%s%d", a[0], i), Addr: addr(a)})
	}
	w.table.Routes = append(w.table.Routes, r)
	return r
}

func addr(a [2]string) adapters.Address {
	return adapters.Address{Broker: a[0], Form: adapters.Queue, Name: a[1]}
}

func (w *world) start() {
	w.t.Helper()
	rep, err := repeater.New(w.table, routes.Kinds{"mem": w.adapter}, w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	w.rep, w.stop, w.done = rep, cancel, make(chan error, 1)
	go func() { w.done <- rep.Run(ctx) }()
}

// halt stops the repeater in an orderly way and returns how long that took in virtual time.
func (w *world) halt() time.Duration {
	w.t.Helper()
	begin := time.Now()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Errorf("Run: %v", err)
	}
	return time.Since(begin)
}

func message(n int) *adapters.Message {
	return &adapters.Message{
		ID: adapters.StringID(fmt.Sprint("m", n)), Durable: adapters.Yes,
		Props: []adapters.Prop{{Name: "n", V: adapters.Int(adapters.TI64, int64(n))}},
		Body:  adapters.Body{Form: adapters.BodyBytes, Data: fmt.Appendf(nil, "body %d", n)},
	}
}

func messages(from, n int) []*adapters.Message {
	var ms []*adapters.Message
	for i := range n {
		ms = append(ms, message(from+i))
	}
	return ms
}

// take removes n messages of a queue within five virtual minutes.
func (w *world) take(broker, queue string, n int) []*adapters.Message {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	ms, err := w.brokers[broker].Take(ctx, queue, n)
	if err != nil {
		w.t.Fatalf("%s/%s: %d of %d messages: %v\nstatus: %.1500s", broker, queue, len(ms), n, err, fmt.Sprint(w.rep.Status()))
	}
	return ms
}

// empty waits until a queue holds nothing, settled or not.
func (w *world) empty(broker, queue string) {
	w.t.Helper()
	w.until("empty "+broker+"/"+queue, func() bool {
		waiting, open := w.brokers[broker].Len(queue)
		return waiting == 0 && open == 0
	})
}

// until waits, in virtual time, for ok.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for range 3000 {
		synctest.Wait()
		if ok() {
			return
		}
		pass(100 * time.Millisecond)
	}
	w.t.Fatalf("not in five minutes: %s\nstatus: %.1500s", what, fmt.Sprint(w.rep.Status()))
}

// up waits until all ends are attached.
func (w *world) up() {
	w.t.Helper()
	w.until("all routes are up", func() bool {
		return !slices.ContainsFunc(w.rep.Status().Routes, func(r repeater.RouteStatus) bool { return r.State != "pass-through" })
	})
}

func numbers(ms []*adapters.Message) []int {
	var ns []int
	for _, m := range ms {
		v, _ := m.Prop("n")
		ns = append(ns, int(v.Int()))
	}
	return ns
}

func firstArrivals(ns []int) []int {
	seen := map[int]bool{}
	var out []int
	for _, n := range ns {
		if !seen[n] {
			out = append(out, n)
		}
		seen[n] = true
	}
	return out
}

func upTo(n int) []int {
	var ns []int
	for i := range n {
		ns = append(ns, i)
	}
	return ns
}

// scenario runs f in virtual time with two brokers and one route, a/in to b/out.
func scenario(t *testing.T, f func(w *world, r *routes.Route)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		f(w, w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}))
	})
}

func TestMovesInOrderAndSettles(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.brokers["a"].Put("in", messages(0, 500)...)
		w.start()
		got := w.take("b", "out", 500)
		if ns := numbers(got); !slices.Equal(ns, upTo(500)) {
			t.Errorf("order: %v", ns)
		}
		w.empty("a", "in")
		m := got[7]
		if m.ID.S != "m7" || string(m.Body.Data) != "body 7" {
			t.Errorf("message 7 arrived as %+v", m)
		}
		for _, h := range []string{"posthouse-id", "posthouse-origin", "posthouse-path"} {
			if v, ok := m.Prop(h); !ok || v.Str() == "" {
				t.Errorf("header %s is missing", h)
			}
		}
		if d := w.halt(); d > time.Second {
			t.Errorf("an idle repeater took %v to stop", d)
		}
	})
}

// The source is settled only after the target's answer: style.md 3.2, steps 4 and 5.
func TestSettleIsLast(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.start()
		w.up()
		w.brokers["b"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(0, 3)...)
		w.until("the messages are at the target", func() bool { n, _ := w.brokers["b"].Len("out"); return n == 3 })
		if _, open := w.brokers["a"].Len("in"); open != 3 {
			t.Errorf("%d of 3 deliveries unsettled while the target has not answered", open)
		}
		w.brokers["b"].Link().Allow()
		w.empty("a", "in")
		w.halt()
	})
}

func TestBrokerAwayAtStart(t *testing.T) {
	for _, away := range []string{"a", "b"} {
		t.Run(away, func(t *testing.T) {
			scenario(t, func(w *world, _ *routes.Route) {
				w.brokers[away].Link().Refuse()
				w.brokers["a"].Put("in", messages(0, 10)...)
				w.start()
				pass(10 * time.Minute)
				st := w.rep.Status().Routes[0]
				end := st.Source
				if away == "b" {
					end = st.Lanes[0].Link
				}
				if st.State != "blocked" || end.State != "down" || end.Error == "" {
					t.Errorf("with %s away: route %s, end %+v", away, st.State, end)
				}
				w.brokers[away].Link().Allow()
				w.take("b", "out", 10)
				w.empty("a", "in")
				if st := w.rep.Status().Routes[0]; st.State != "pass-through" {
					t.Errorf("after recovery: %s", st.State)
				}
				w.halt()
			})
		})
	}
}

// dials counts how often anybody tries to connect.
func (w *world) dials(broker string) *counter {
	c := &counter{}
	b, link := w.table.Brokers[broker], w.brokers[broker].Link()
	dial := link.Dial
	b.Config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.add()
		return dial(ctx, network, addr)
	}
	return c
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() { c.mu.Lock(); c.n++; c.mu.Unlock() }

func (c *counter) get() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

// One hour away, forty lanes: one connect loop, backed off to 30 s (peers.md, requirement 17).
func TestManyLanesShareOneConnectLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		for i := range 40 {
			q := fmt.Sprint("q", i)
			w.route(fmt.Sprint("r", i), [2]string{"a", q}, [2]string{"b", q})
			w.brokers["a"].Put(q, message(i))
		}
		dials := w.dials("b")
		w.brokers["b"].Link().Refuse()
		w.start()
		pass(time.Hour)
		if n := dials.get(); n < 60 || n > 200 {
			t.Errorf("%d connection attempts in an hour, want about 125 for all lanes together", n)
		}
		w.brokers["b"].Link().Allow()
		for i := range 40 {
			w.take("b", fmt.Sprint("q", i), 1)
		}
		w.halt()
	})
}

// A cut with answers outstanding: nothing lost, order kept on first arrivals, what came twice has the same posthouse-id
// and says so, and there is no more of it than one window.
func TestCutResendsTheUnknownInOrder(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		w.start()
		w.up()
		w.brokers["b"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(0, 200)...)
		w.until("a window is out", func() bool { n, _ := w.brokers["b"].Len("out"); return n == r.InFlight })
		w.brokers["b"].Link().Cut()
		w.until("all arrived", func() bool { n, _ := w.brokers["b"].Len("out"); return n >= 200+r.InFlight })
		w.empty("a", "in")
		got := w.take("b", "out", 200+r.InFlight)
		if ns := firstArrivals(numbers(got)); !slices.Equal(ns, upTo(200)) {
			t.Errorf("first arrivals: %v", ns)
		}
		checkTwice(t, got, r.InFlight)
		w.halt()
	})
}

func checkTwice(t *testing.T, got []*adapters.Message, window int) {
	t.Helper()
	byNumber := map[int]string{}
	twice := 0
	for i, n := range numbers(got) {
		id, _ := got[i].Prop("posthouse-id")
		first, again := byNumber[n]
		byNumber[n] = id.Str()
		if !again {
			continue
		}
		twice++
		if flag, _ := got[i].Prop("posthouse-possible-duplicate"); flag.Str() != "true" {
			t.Errorf("message %d came twice without the flag", n)
		}
		if first != id.Str() {
			t.Errorf("message %d came twice under ids %s and %s", n, first, id.Str())
		}
	}
	if twice > window {
		t.Errorf("%d messages came twice, window %d", twice, window)
	}
}

func TestStalledTargetIsNoticed(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.start()
		w.up()
		w.brokers["b"].Link().Stall()
		pass(2 * time.Minute)
		if st := w.rep.Status().Routes[0].Lanes[0].Link; st.State == "up" {
			t.Errorf("an idle link to a stalled broker is shown as %+v", st)
		}
		w.brokers["b"].Link().Allow()
		w.brokers["a"].Put("in", message(1))
		w.take("b", "out", 1)
		w.halt()
	})
}

// A refused message is neither lost nor does it stop the others, and it does not spin.
func TestRefusedMessageWaitsAndComesBack(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		bad := counter{}
		refuse := func(m *adapters.Message) bool {
			v, _ := m.Prop("n")
			if v.Int() == 3 {
				bad.add()
			}
			return v.Int() == 3
		}
		w.brokers["b"].SetRules("out", mem.Rules{Refuse: refuse})
		w.brokers["a"].Put("in", messages(0, 10)...)
		w.start()
		want := []int{0, 1, 2, 4, 5, 6, 7, 8, 9}
		if ns := numbers(w.take("b", "out", 9)); !slices.Equal(ns, want) {
			t.Errorf("arrived: %v, want %v", ns, want)
		}
		pass(10 * time.Minute)
		if n := bad.get(); n < 5 || n > 15 {
			t.Errorf("tried %d times in ten minutes, want about ten", n)
		}
		if waiting, open := w.brokers["a"].Len("in"); waiting+open != 1 {
			t.Errorf("the refused message is not at its source: %d waiting, %d unsettled", waiting, open)
		}
		if st := w.rep.Status().Routes[0]; st.State != "pass-through" || st.Refused < 5 {
			t.Errorf("status: %+v", st)
		}
		w.brokers["b"].SetRules("out", mem.Rules{})
		w.take("b", "out", 1)
		w.empty("a", "in")
		w.halt()
	})
}

func TestFullTargetHoldsBackAndResumes(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		w.brokers["b"].SetRules("out", mem.Rules{Room: 20})
		w.brokers["a"].Put("in", messages(0, 300)...)
		w.start()
		w.until("full", func() bool { n, _ := w.brokers["b"].Len("out"); return n == 20 })
		pass(time.Minute)
		if _, open := w.brokers["a"].Len("in"); open > r.Prefetch {
			t.Errorf("%d deliveries held, prefetch %d", open, r.Prefetch)
		}
		if st := w.rep.Status().Routes[0].Lanes[0]; st.State != "blocked" {
			t.Errorf("a full target shows as %+v", st)
		}
		w.brokers["b"].SetRules("out", mem.Rules{})
		if ns := numbers(w.take("b", "out", 300)); !slices.Equal(ns, upTo(300)) {
			t.Errorf("order: %v", ns)
		}
		w.empty("a", "in")
		w.halt()
	})
}

// What an operator has to mend blocks its own route, with the reason, and no other.
func TestDeniedAndMissingBlockOnlyTheirRoute(t *testing.T) {
	for name, rules := range map[string]mem.Rules{"denied": {Denied: true}, "missing": {Missing: true}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(w *world, _ *routes.Route) {
				w.route("other", [2]string{"a", "in2"}, [2]string{"b", "out2"})
				w.brokers["b"].SetRules("out", rules)
				dials := w.dials("b")
				w.brokers["a"].Put("in", message(0))
				w.brokers["a"].Put("in2", messages(0, 5)...)
				w.start()
				w.take("b", "out2", 5)
				pass(10 * time.Minute)
				if n := dials.get(); n > 20 {
					t.Errorf("%d attempts in ten minutes: retry is to be slow", n)
				}
				st := w.rep.Status()
				if st.Routes[0].State != "blocked" || st.Routes[0].Lanes[0].Link.Error == "" || st.Routes[1].State != "pass-through" {
					t.Errorf("status: %+v", st)
				}
				w.brokers["b"].SetRules("out", mem.Rules{})
				w.take("b", "out", 1)
				w.halt()
			})
		})
	}
}

// A stop returns what was not sent, settles what is confirmed, and keeps within its grace.
func TestStopReturnsTheRest(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		w.opts.Grace = 20 * time.Second
		w.brokers["b"].Link().SetLatency(time.Second)
		w.brokers["a"].Put("in", messages(0, 1000)...)
		w.start()
		w.until("some arrived", func() bool { n, _ := w.brokers["b"].Len("out"); return n >= 3*r.InFlight })
		took := w.halt()
		if took > w.opts.Grace+15*time.Second {
			t.Errorf("stopped after %v", took)
		}
		arrived, _ := w.brokers["b"].Len("out")
		left, open := w.brokers["a"].Len("in")
		if open != 0 || left+arrived != 1000 {
			t.Errorf("%d left and %d open at the source, %d at the target: together not 1000, or sent twice", left, open, arrived)
		}
	})
}

func TestStopWithTargetGone(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.brokers["b"].Link().Refuse()
		w.brokers["a"].Put("in", messages(0, 100)...)
		w.start()
		w.until("prefetched", func() bool { _, open := w.brokers["a"].Len("in"); return open == 64 })
		if took := w.halt(); took > 5*time.Second {
			t.Errorf("stopped after %v with nothing in flight", took)
		}
		if left, open := w.brokers["a"].Len("in"); left != 100 || open != 0 {
			t.Errorf("%d left, %d open, want 100, 0", left, open)
		}
	})
}

func TestCopyGoesToEveryTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		w.route("copy", [2]string{"a", "in"}, [2]string{"b", "out"}, [2]string{"c", "out"})
		w.brokers["c"].SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { v, _ := m.Prop("n"); return v.Int() == 1 }})
		w.brokers["a"].Put("in", messages(0, 4)...)
		w.start()
		if ns := numbers(w.take("b", "out", 4)); !slices.Equal(ns, upTo(4)) {
			t.Errorf("b: %v", ns)
		}
		if ns := numbers(w.take("c", "out", 3)); !slices.Equal(ns, []int{0, 2, 3}) {
			t.Errorf("c: %v", ns)
		}
		pass(5 * time.Minute)
		if n, _ := w.brokers["b"].Len("out"); n != 0 {
			t.Errorf("b got %d messages again because c refused one", n)
		}
		w.brokers["c"].SetRules("out", mem.Rules{})
		w.take("c", "out", 1)
		w.empty("a", "in")
		w.halt()
	})
}

func TestMemoryIsBoundedByPrefetchAndBytes(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		r.PrefetchSize = 100 << 10
		big := messages(0, 200)
		for _, m := range big {
			m.Body.Data = make([]byte, 10<<10)
		}
		w.brokers["b"].Link().Refuse()
		w.brokers["a"].Put("in", big...)
		w.start()
		pass(time.Minute)
		if st := w.rep.Status().Routes[0]; st.Received == 0 || st.Received > 12 {
			t.Errorf("%d messages of 10 KiB received with 100 KiB allowed", st.Received)
		}
		w.brokers["b"].Link().Allow()
		w.take("b", "out", 200)
		w.halt()
	})
}

func TestSourceLostWhileMessagesWait(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.brokers["b"].Link().Refuse()
		w.brokers["a"].Put("in", messages(0, 50)...)
		w.start()
		w.until("prefetched", func() bool { _, open := w.brokers["a"].Len("in"); return open == 50 })
		w.brokers["a"].Link().Cut()
		w.until("received again", func() bool { _, open := w.brokers["a"].Len("in"); return open == 50 })
		w.brokers["b"].Link().Allow()
		if ns := numbers(w.take("b", "out", 50)); !slices.Equal(ns, upTo(50)) {
			t.Errorf("arrived: %v", ns)
		}
		w.empty("a", "in")
		if n, _ := w.brokers["b"].Len("out"); n != 0 {
			t.Errorf("%d messages of the lost session were sent as well", n)
		}
		w.halt()
	})
}

func TestLoopIsNotSentRoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		w.route("there", [2]string{"a", "q"}, [2]string{"b", "q"})
		w.route("back", [2]string{"b", "q"}, [2]string{"a", "q"})
		w.brokers["a"].Put("q", message(1))
		w.start()
		pass(10 * time.Minute)
		st := w.rep.Status()
		if n := st.Routes[0].Lanes[0].Forwarded + st.Routes[1].Lanes[0].Forwarded; n != 2 {
			t.Errorf("forwarded %d times, want 2: there and back, then it stays", n)
		}
		w.halt()
	})
}

func TestExpiredMessages(t *testing.T) {
	for _, deliver := range []bool{false, true} {
		t.Run(fmt.Sprint("deliver=", deliver), func(t *testing.T) {
			scenario(t, func(w *world, r *routes.Route) {
				if deliver {
					r.Expired = routes.ExpiredDeliver
				}
				old := message(0)
				old.Expires = time.Now().Add(-time.Minute).UnixMilli()
				w.brokers["a"].Put("in", old, message(1))
				w.start()
				want := []int{1}
				if deliver {
					want = []int{0, 1}
				}
				if ns := numbers(w.take("b", "out", len(want))); !slices.Equal(ns, want) {
					t.Errorf("arrived: %v, want %v", ns, want)
				}
				w.empty("a", "in")
				w.halt()
			})
		})
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		reg := prometheus.NewRegistry()
		w.opts.Metrics = reg
		w.brokers["a"].Put("in", messages(0, 10)...)
		w.start()
		w.take("b", "out", 10)
		w.empty("a", "in")
		got := map[string]float64{}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		for name, want := range map[string]float64{
			"posthouse_route_received_messages_total": 10, "posthouse_route_forwarded_messages_total": 10,
			"posthouse_link_up": 1, "posthouse_route_source_attached": 1, "posthouse_lane_in_flight_messages": 0,
			"posthouse_route_settle_errors_total": 0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s = %v (there: %v), want %v", name, v, ok, want)
			}
		}
		w.halt()
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }
