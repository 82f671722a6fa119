package repeater_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A patient is mem with one illness at a time: a call that does not come back, or an error that mem never makes. Calls
// that hang do so until the test's end, whatever their context says.
type patient struct {
	adapters.Adapter
	cure chan struct{} // closed at the end of the test: hanging calls return

	openTarget, send, wait func() error // nil = well
	openSource, receive    func() error
	settle, probe, close   func() error
	deliver                func([]adapters.Delivery) error // of a Receive that has brought something
	plain                  bool                            // targets have no Post
	poor                   bool                            // no priority above 4
	mute                   bool                            // its sources neither confirm a settle nor tell of a redelivery
	forgets                atomic.Bool                     // and have not taken note of a settle
	holes                  atomic.Int64                    // transactions with holes in their position
}

func (p *patient) Capabilities(c adapters.Config) adapters.Capabilities {
	caps := p.Adapter.Capabilities(c)
	if p.poor {
		caps.Headers.Protocol, caps.Headers.MaxPriority = "poor", 4
	}
	if p.mute {
		caps.SettleConfirmed, caps.Attempts, caps.Source = false, adapters.CountNone, adapters.SourceID
	}
	return caps
}

func (p *patient) OpenTarget(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Target, error) {
	if err := ill(p.openTarget); err != nil {
		return nil, err
	}
	t, err := p.Adapter.OpenTarget(ctx, c, at)
	if err != nil {
		return nil, err
	}
	st := &sickTarget{Target: t.(*mem.Target), p: p}
	if p.plain {
		return struct{ adapters.Target }{plainTarget{st}}, nil
	}
	return st, nil
}

func (p *patient) OpenSource(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Source, error) {
	if err := ill(p.openSource); err != nil {
		return nil, err
	}
	s, err := p.Adapter.OpenSource(ctx, c, at)
	if err != nil {
		return nil, err
	}
	return &sickSource{Source: s.(*mem.Source), p: p}, nil
}

func (p *patient) OpenTx(ctx context.Context, c adapters.Config, at adapters.Address, lane string) (adapters.TxTarget, error) {
	if err := ill(p.openTarget); err != nil {
		return nil, err
	}
	t, err := p.Adapter.(adapters.TxAdapter).OpenTx(ctx, c, at, lane)
	if err != nil {
		return nil, err
	}
	return sickTx{t.(*mem.TxTarget), p}, nil
}

type sickTx struct {
	*mem.TxTarget
	p *patient
}

func (t sickTx) SendTx(ctx context.Context, ms []*adapters.Message, at adapters.Position) error {
	if err := t.TxTarget.SendTx(ctx, ms, at); err != nil {
		return err
	}
	if len(at.Holes) > 0 {
		t.p.holes.Add(1)
	}
	return ill(t.p.wait)
}

func ill(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// hang is an illness: the call does not return.
func (p *patient) hang() error { <-p.cure; return errors.New("cured") }

// first is f for the first call and health afterwards.
func first(f func() error) func() error {
	var n atomic.Int32
	return func() error {
		if n.Add(1) > 1 {
			return nil
		}
		return f()
	}
}

func failing(k adapters.Kind, why string) func() error {
	return func() error { return &adapters.Error{Op: "test", Kind: k, Err: errors.New(why)} }
}

type sickTarget struct {
	*mem.Target
	p *patient
}

func (t *sickTarget) Post(ctx context.Context, ms []*adapters.Message) (adapters.Receipt, error) {
	if err := ill(t.p.send); err != nil {
		return nil, err
	}
	r, err := t.Target.Post(ctx, ms)
	return sickReceipt{r, t.p}, err
}

func (t *sickTarget) Probe(ctx context.Context) error {
	if err := ill(t.p.probe); err != nil {
		return err
	}
	return t.Target.Probe(ctx)
}

func (t *sickTarget) Close() error {
	if err := ill(t.p.close); err != nil {
		return err
	}
	return t.Target.Close()
}

type plainTarget struct{ t *sickTarget }

func (p plainTarget) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	if err := ill(p.t.p.send); err != nil {
		return 0, err
	}
	return p.t.Target.Send(ctx, ms)
}

func (p plainTarget) Close() error { return p.t.Close() }

type sickReceipt struct {
	adapters.Receipt
	p *patient
}

func (r sickReceipt) Wait(ctx context.Context) (int, error) {
	if err := ill(r.p.wait); err != nil {
		return 0, err
	}
	return r.Receipt.Wait(ctx)
}

type sickSource struct {
	*mem.Source
	p *patient
}

func (s *sickSource) Receive(ctx context.Context, max int) ([]adapters.Delivery, error) {
	if err := ill(s.p.receive); err != nil {
		return nil, err
	}
	ds, err := s.Source.Receive(ctx, max)
	for i := range ds {
		if s.p.mute {
			ds[i].Attempt = 1
		}
	}
	if err == nil && s.p.deliver != nil {
		if err = s.p.deliver(ds); err != nil {
			_ = s.Source.Close()
			return nil, err
		}
	}
	return ds, err
}

func (s *sickSource) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	if err := ill(s.p.settle); err != nil || s.p.forgets.Load() {
		return err
	}
	return s.Source.Settle(ctx, o, ds...)
}

// ward is a scenario whose adapter is a patient.
func ward(t *testing.T, f func(w *world, r *routes.Route, p *patient)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		p := &patient{Adapter: w.adapter, cure: make(chan struct{})}
		defer close(p.cure)
		w.adapter = p
		f(w, w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}), p)
	})
}

// One call that never returns costs its object, not the lane, the flow or the stop.
func TestCallsThatNeverReturnAreAbandoned(t *testing.T) {
	for name, sicken := range map[string]func(p *patient){
		"post":        func(p *patient) { p.send = first(p.hang) },
		"send":        func(p *patient) { p.plain, p.send = true, first(p.hang) },
		"wait":        func(p *patient) { p.wait = first(p.hang) },
		"open target": func(p *patient) { p.openTarget = first(p.hang) },
		"open source": func(p *patient) { p.openSource = first(p.hang) },
		"settle":      func(p *patient) { p.settle = first(p.hang) },
		"close": func(p *patient) {
			p.close, p.send = first(p.hang), first(failing(adapters.Lost, "gone"))
		},
		"probe": func(p *patient) { p.probe = first(p.hang) },
	} {
		t.Run(name, func(t *testing.T) {
			ward(t, func(w *world, _ *routes.Route, p *patient) {
				sicken(p)
				w.start()
				pass(time.Minute) // idle, so that a probe is made
				w.brokers["a"].Put("in", messages(0, 50)...)
				if name == "post" { // it waits for room as far as the engine knows: the prober has to find it out
					pass(time.Minute)
					w.brokers["b"].Link().Cut()
				}
				w.empty("a", "in")
				n, _ := w.brokers["b"].Len("out")
				if ns := firstArrivals(numbers(w.take("b", "out", n))); !slices.Equal(ns, upTo(50)) {
					t.Errorf("arrived: %v", ns)
				}
				if took := w.halt(); took > 15*time.Second {
					t.Errorf("stopped after %v", took)
				}
			})
		})
	}
}

// A Receive that ignores its context must not keep the repeater from stopping.
func TestReceiveThatNeverReturnsDoesNotHoldTheStop(t *testing.T) {
	ward(t, func(w *world, _ *routes.Route, p *patient) {
		p.receive = p.hang
		w.start()
		w.up()
		if took := w.halt(); took > 15*time.Second {
			t.Errorf("stopped after %v", took)
		}
	})
}

// What an abandoned target answers late is nobody's business: each message is settled once, by its second sending.
func TestLateAnswerOfAnAbandonedTarget(t *testing.T) {
	ward(t, func(w *world, r *routes.Route, p *patient) {
		late := make(chan struct{})
		p.wait = first(func() error { <-late; return nil })
		w.start()
		w.brokers["a"].Put("in", messages(0, 3)...)
		w.up()
		w.brokers["b"].Link().HoldReplies()
		pass(5 * r.ConfirmTimeout)
		close(late)
		synctest.Wait()
		if _, open := w.brokers["a"].Len("in"); open != 3 {
			t.Errorf("%d of 3 unsettled: a late answer was believed, or an answer that never came", open)
		}
		w.brokers["b"].Link().Allow()
		w.empty("a", "in")
		st := w.rep.Status().Routes[0].Lanes[0]
		if st.Forwarded != 3 || st.InFlight != 0 || st.Waiting != 0 {
			t.Errorf("lane: %+v", st)
		}
		n, _ := w.brokers["b"].Len("out")
		checkTwice(t, w.take("b", "out", n), r.InFlight)
		w.halt()
	})
}

// An error of Post says whether anything was taken (adapters.Poster): only with Lost may it have been.
func TestPostThatFails(t *testing.T) {
	for _, c := range []struct {
		kind    adapters.Kind
		flagged int // messages that say they may be a duplicate
		refused int64
	}{{adapters.Transient, 0, 0}, {adapters.Full, 0, 0}, {adapters.Permanent, 1 /* its source gives it out a second time */, 1}, {adapters.Lost, 4, 0}} {
		t.Run(c.kind.String(), func(t *testing.T) {
			ward(t, func(w *world, r *routes.Route, p *patient) {
				p.send = first(failing(c.kind, "no"))
				w.brokers["a"].Put("in", messages(0, 20)...)
				w.start()
				w.empty("a", "in")
				got := w.take("b", "out", 20)
				flagged := 0
				for _, m := range got {
					if flag, _ := m.Prop("posthouse-possible-duplicate"); flag.Str() == "true" {
						flagged++
					}
				}
				if flagged != c.flagged {
					t.Errorf("%d flagged, want %d", flagged, c.flagged)
				}
				ns, want := numbers(got), upTo(20)
				if c.refused > 0 { // the first leaves its place
					want = append(want[1:], 0)
				}
				if !slices.Equal(ns, want) {
					t.Errorf("arrived: %v", ns)
				}
				if st := w.rep.Status().Routes[0]; st.Refused != c.refused {
					t.Errorf("refused %d, want %d", st.Refused, c.refused)
				}
				w.halt()
			})
		})
	}
}

// A source that answers definitely (its next message is too large, its position is lost) is blocked with the reason and
// tried slowly; what is in flight is settled first, and the broker's other ends do not notice.
func TestSourceThatRefusesIsBlocked(t *testing.T) {
	for _, k := range []adapters.Kind{adapters.Permanent, adapters.Denied, adapters.NotFound} {
		t.Run(k.String(), func(t *testing.T) {
			ward(t, func(w *world, _ *routes.Route, p *patient) {
				const why = "the next message is larger than max_message_size"
				dials := w.dials("a")
				w.brokers["b"].Link().SetLatency(5 * time.Second)
				w.brokers["a"].Put("in", messages(0, 10)...)
				sick := atomic.Bool{}
				p.receive = func() error {
					if sick.Load() {
						return failing(k, why)()
					}
					return nil
				}
				p.deliver = func([]adapters.Delivery) error { sick.Store(true); return nil }
				w.start()
				pass(20 * time.Minute)
				n, _ := w.brokers["b"].Len("out")
				if _, open := w.brokers["a"].Len("in"); n != 10 || open != 0 {
					t.Errorf("%d of 10 arrived, %d unsettled: what was in flight is to be settled once", n, open)
				}
				src := w.rep.Status().Routes[0].Source
				if src.State != "blocked" || !strings.Contains(src.Error, why) || time.Since(src.Since) < 15*time.Minute {
					t.Errorf("source: %+v", src)
				}
				if n := dials.get(); n < 15 || n > 30 {
					t.Errorf("%d attempts in 20 minutes, want about one a minute", n)
				}
				sick.Store(false)
				p.deliver = nil
				w.up()
				w.halt()
			})
		})
	}
}

// A source that delivers but does not let us settle: what comes again and again is one message, not the prefetch.
func TestSourceThatDoesNotLetUsSettle(t *testing.T) {
	for _, k := range []adapters.Kind{adapters.Denied, adapters.Lost} {
		t.Run(k.String(), func(t *testing.T) {
			ward(t, func(w *world, r *routes.Route, p *patient) {
				sick := atomic.Bool{}
				sick.Store(true)
				p.settle = func() error {
					if sick.Load() {
						return failing(k, "no right to settle")()
					}
					return nil
				}
				w.brokers["a"].Put("in", messages(0, 200)...)
				w.start()
				pass(time.Hour)
				src := w.rep.Status().Routes[0].Source
				if src.State == "up" || !strings.Contains(src.Error, "no right to settle") {
					t.Errorf("source: %+v", src)
				}
				if n, _ := w.brokers["b"].Len("out"); n > 3*r.Prefetch+150 {
					t.Errorf("%d arrivals in an hour while nothing could be settled", n)
				}
				sick.Store(false)
				w.empty("a", "in")
				n, _ := w.brokers["b"].Len("out")
				if ns := firstArrivals(numbers(w.take("b", "out", n))); !slices.Equal(ns, upTo(200)) {
					t.Errorf("arrived: %v", ns)
				}
				w.halt()
			})
		})
	}
}

// A target that is silent during the stop costs the grace and no more; what it has not confirmed is at the source again.
func TestStopWithSilentTargetKeepsToItsGrace(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		w.opts.Grace = 5 * time.Second
		w.start()
		w.up()
		w.brokers["b"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(0, 100)...)
		w.until("a window is out", func() bool { n, _ := w.brokers["b"].Len("out"); return n == r.InFlight })
		if took := w.halt(); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("stopped after %v, grace 5 s", took)
		}
		if left, open := w.brokers["a"].Len("in"); left != 100 || open != 0 {
			t.Errorf("%d left, %d open, want 100, 0", left, open)
		}
	})
}

// A source that is lost whenever a certain message is on its way backs off, shows why, and does not send what lies
// before that message again and again.
func TestSourceLostAgainAndAgain(t *testing.T) {
	ward(t, func(w *world, r *routes.Route, p *patient) {
		const why = "a message of 99 bytes waits, larger than max_message_size"
		poison := atomic.Bool{}
		poison.Store(true)
		p.deliver = func(ds []adapters.Delivery) error {
			if poison.Load() && slices.ContainsFunc(ds, func(d adapters.Delivery) bool { return number(d.Message) == 9 }) {
				return failing(adapters.Lost, why)()
			}
			return nil
		}
		dials := w.dials("a")
		w.brokers["b"].Link().SetLatency(time.Second)
		w.start()
		for i := range 20 { // one at a time, so that each is a Receive of its own
			w.brokers["a"].Put("in", message(i))
			pass(10 * time.Millisecond)
		}
		pass(time.Hour)
		if n := dials.get(); n < 60 || n > 200 {
			t.Errorf("%d attempts in an hour, want about 125: backed off to 30 s", n)
		}
		src := w.rep.Status().Routes[0].Source
		if src.State != "down" || !strings.Contains(src.Error, why) {
			t.Errorf("source: %+v", src)
		}
		n, _ := w.brokers["b"].Len("out")
		if n < 9 || n > 9*4 {
			t.Errorf("%d arrivals of the nine messages before the bad one", n)
		}
		poison.Store(false)
		w.empty("a", "in")
		w.up()
		pass(2 * time.Minute)
		w.brokers["a"].Put("in", message(99)) // stable for long enough: the last one that comes alone
		w.empty("a", "in")
		w.up()
		w.brokers["b"].Link().HoldReplies()
		w.brokers["a"].Put("in", messages(100, 200)...)
		w.until("the whole prefetch is used again", func() bool { _, open := w.brokers["a"].Len("in"); return open == r.Prefetch })
		w.brokers["b"].Link().Allow()
		w.empty("a", "in")
		w.halt()
	})
}

// A target that is away while its source comes and goes: what lost sessions leave behind must not pile up.
func TestLostSessionsLeaveNothingBehind(t *testing.T) {
	scenario(t, func(w *world, r *routes.Route) {
		w.brokers["b"].Link().Refuse()
		w.brokers["a"].Put("in", messages(0, 100)...)
		w.start()
		for range 30 {
			w.until("prefetched", func() bool { _, open := w.brokers["a"].Len("in"); return open == r.Prefetch })
			pass(time.Minute)
			w.brokers["a"].Link().Cut()
			synctest.Wait()
		}
		if n := w.rep.Status().Routes[0].Lanes[0].Waiting; n > r.Prefetch {
			t.Errorf("%d messages wait in a lane, prefetch %d", n, r.Prefetch)
		}
		w.brokers["b"].Link().Allow()
		w.take("b", "out", 100)
		w.halt()
	})
}

func TestFullTargetIsUpAgainWhenItTakes(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		w.brokers["b"].SetRules("out", mem.Rules{Room: 5})
		w.brokers["a"].Put("in", messages(0, 20)...)
		w.start()
		w.until("blocked", func() bool { return w.rep.Status().Routes[0].Lanes[0].Link.State == "blocked" })
		w.brokers["b"].SetRules("out", mem.Rules{})
		w.take("b", "out", 20)
		synctest.Wait()
		if st := w.rep.Status().Routes[0].Lanes[0]; st.Link.State != "up" || st.State != "pass-through" {
			t.Errorf("it takes messages and shows as %+v", st)
		}
		w.halt()
	})
}

// What comes out of an open after it was given up is closed, or it would keep messages that nobody handles.
func TestWhatOpensTooLateIsClosed(t *testing.T) {
	ward(t, func(w *world, _ *routes.Route, p *patient) {
		late := make(chan struct{})
		p.openSource = first(func() error { <-late; return nil })
		w.start()
		pass(5 * time.Minute)
		w.up()
		close(late)
		synctest.Wait()
		w.brokers["a"].Put("in", messages(0, 50)...)
		w.take("b", "out", 50)
		w.empty("a", "in")
		w.halt()
	})
}

// A blocked source waits for what is in flight, but not for ever: its messages must not hang in a session that receives
// nothing because one target is away.
func TestBlockedSourceGivesBackWhatCannotBeSent(t *testing.T) {
	ward(t, func(w *world, _ *routes.Route, p *patient) {
		w.brokers["b"].Link().Refuse()
		w.brokers["a"].Put("in", messages(0, 3)...)
		sick := atomic.Bool{}
		p.deliver = func([]adapters.Delivery) error { sick.Store(true); return nil }
		p.receive = func() error {
			if sick.Load() {
				return failing(adapters.Denied, "right was taken away")()
			}
			return nil
		}
		w.start()
		pass(5 * time.Second)
		if _, open := w.brokers["a"].Len("in"); open != 3 {
			t.Errorf("%d of 3 held", open)
		}
		w.until("given back", func() bool { waiting, open := w.brokers["a"].Len("in"); return waiting == 3 && open == 0 })
		w.halt()
	})
}

// With several targets a stop lets the slow one finish what another has begun, so that nothing comes twice.
func TestStopFinishesWhatOneTargetHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		r := w.route("copy", [2]string{"a", "in"}, [2]string{"b", "out"}, [2]string{"c", "out"})
		w.start()
		w.up()
		w.brokers["c"].Link().SetLatency(2 * time.Second)
		w.brokers["a"].Put("in", messages(0, 300)...)
		w.until("b is ahead", func() bool { n, _ := w.brokers["b"].Len("out"); return n >= r.Prefetch })
		if took := w.halt(); took > 40*time.Second {
			t.Errorf("stopped after %v", took)
		}
		b, _ := w.brokers["b"].Len("out")
		c, _ := w.brokers["c"].Len("out")
		left, open := w.brokers["a"].Len("in")
		if b != c || left+b != 300 || open != 0 {
			t.Errorf("%d at b, %d at c, %d left at the source, %d open: not each message once", b, c, left, open)
		}
	})
}

// Refusals are logged in full once, then once a minute with their number.
func TestRefusalsAreFoldedInTheLog(t *testing.T) {
	scenario(t, func(w *world, _ *routes.Route) {
		var log bytes.Buffer
		w.opts.Log = slog.New(slog.NewTextHandler(&log, nil))
		w.brokers["b"].SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { return number(m) < 40 }})
		w.brokers["a"].Put("in", messages(0, 50)...)
		w.start()
		pass(10 * time.Minute)
		w.halt()
		lines := strings.Count(log.String(), "message refused")
		if lines < 5 || lines > 11 {
			t.Errorf("%d lines about 40 messages refused for ten minutes", lines)
		}
		if !strings.Contains(log.String(), "repeats=39") && !strings.Contains(log.String(), "repeats=4") {
			t.Errorf("no line says how many it stands for: %.600s", log.String())
		}
	})
}

// metric adds up the series of one metric whose labels contain all of want (as name=value).
func metric(t *testing.T, reg *prometheus.Registry, name string, want ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			missing := slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(labels, w) })
			if f.GetName() == name && !missing {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestConversionIsNotedOnceForEachMessage(t *testing.T) {
	ward(t, func(w *world, _ *routes.Route, p *patient) {
		p.poor = true
		reg := prometheus.NewRegistry()
		w.opts.Metrics = reg
		m := message(0)
		m.Priority = adapters.Priority{Set: true, Value: 9}
		w.brokers["b"].SetRules("out", mem.Rules{Room: 1})
		w.brokers["a"].Put("in", message(1), m)
		w.start()
		pass(10 * time.Minute) // sent again many times
		w.brokers["b"].SetRules("out", mem.Rules{})
		w.take("b", "out", 2)
		const name = "posthouse_route_conversion_notes_total"
		if n := metric(t, reg, name, "field=priority", "what=clamped"); n != 1 {
			t.Errorf("%v notes of one priority that was clamped, all: %v", n, metric(t, reg, name))
		}
		w.halt()
	})
}

// What is believed of a source's own headers is the broker's setting; what was stripped is counted.
func TestConversionNotesAndTrust(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprint("values=", trusted), func(t *testing.T) {
			scenario(t, func(w *world, _ *routes.Route) {
				reg := prometheus.NewRegistry()
				w.opts.Metrics = reg
				w.table.Brokers["a"].Trusted, w.table.Brokers["a"].TrustValues = false, trusted
				m := message(0)
				m.Props = append(m.Props, adapters.Prop{Name: "posthouse-type", V: adapters.String("order")},
					adapters.Prop{Name: "posthouse-origin", V: adapters.String("forged")})
				w.brokers["a"].Put("in", m, message(1))
				w.brokers["b"].SetRules("out", mem.Rules{Room: 1})
				w.start()
				pass(time.Minute) // sent again several times
				w.brokers["b"].SetRules("out", mem.Rules{})
				got := w.take("b", "out", 2)[0]
				if origin, _ := got.Prop("posthouse-origin"); origin.Str() == "forged" {
					t.Error("the origin of an untrusted source was believed")
				}
				untrusted := metric(t, reg, "posthouse_route_conversion_notes_total", "route=orders", "field=own", "what=untrusted")
				if want := map[bool]float64{false: 1, true: 0}[trusted]; untrusted != want {
					t.Errorf("%v notes about untrusted headers, want %v", untrusted, want)
				}
				w.halt()
			})
		})
	}
}
