package adaptertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Times that only bound how long the suite waits for an event; no check passes because one of them has passed.
const (
	patience  = 30 * time.Second       // for one event
	lifetime  = 4 * time.Minute        // of one check
	quiet     = 300 * time.Millisecond // in which nothing more should come; too short misses a bug, never invents one
	heartbeat = time.Second            // of connections that go through a Wire
	maxSize   = 256 << 10              // Limits.MaxSize of the suite
)

// A Check is one promise of the contract.
type Check struct {
	Group, Name string
	serial      bool // must not run beside another check
	wired       bool // needs a Wire
	run         func(e *env)
}

// Checks are all checks, in the order of the contract.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{lifeChecks(), roundTripChecks(), orderChecks(), settleChecks(), sendChecks(), classChecks(),
		errorChecks(), pressureChecks(), dynamicChecks(), replyChecks(), configChecks()} {
		all = append(all, group...)
	}
	return all
}

// Run runs every check against h as a subtest GROUP/NAME. Checks of one group run side by side as far as -parallel
// allows, so h must be safe for concurrent use. A check is skipped only because a capability is not claimed or h does
// not implement an optional interface; the reason is printed.
func Run(t *testing.T, h Harness) {
	groups := make(map[string][]Check)
	var names []string
	for _, c := range Checks() {
		if groups[c.Group] == nil {
			names = append(names, c.Group)
		}
		groups[c.Group] = append(groups[c.Group], c)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			for _, c := range groups[name] {
				t.Run(c.Name, func(t *testing.T) {
					if !c.serial {
						t.Parallel()
					}
					c.Run(t, h)
				})
			}
		})
	}
}

// Run runs the one check.
func (c Check) Run(t testing.TB, h Harness) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), lifetime)
	t.Cleanup(cancel) // after every end has closed: cleanups run last in, first out
	e := &env{TB: t, h: h, ctx: ctx, tag: rand.Text()}
	var dial DialFunc
	if c.wired {
		e.wire = newWire(t, h)
		dial = e.wire.Dial
	}
	e.cfg = h.Config(t, dial)
	e.cfg.Client = "suite." + c.Name
	e.cfg.Limits.MaxSize = maxSize
	if c.wired {
		e.cfg.Heartbeat = heartbeat
		e.cfg.Limits.Confirm = 5 * time.Second
	}
	e.caps = h.Adapter().Capabilities(e.cfg)
	c.run(e)
}

// env is what a running check has in hand.
type env struct {
	testing.TB
	h    Harness
	ctx  context.Context
	cfg  adapters.Config
	caps adapters.Capabilities
	wire Wire   // of wired checks
	tag  string // makes ids unique between runs
}

// soon bounds one operation.
func (e *env) soon() context.Context {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	e.Cleanup(cancel)
	return ctx
}

// source opens the receiving end of p and closes it when the test ends.
func (e *env) source(p Place) adapters.Source {
	e.Helper()
	s, err := e.h.Adapter().OpenSource(e.soon(), e.cfg, p.Source)
	if err != nil {
		e.Fatalf("open source: %v", err)
	}
	e.Cleanup(func() { e.close("source", s) })
	return s
}

// target opens the sending end of p and closes it when the test ends.
func (e *env) target(p Place) adapters.Target {
	e.Helper()
	g, err := e.h.Adapter().OpenTarget(e.soon(), e.cfg, p.Target)
	if err != nil {
		e.Fatalf("open target: %v", err)
	}
	e.Cleanup(func() { e.close("target", g) })
	return g
}

type closer interface{ Close() error }

// close closes c, which must not take longer than patience.
func (e *env) close(what string, c closer) {
	e.Helper()
	if _, ok := await(e, func() error {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close %s: %w", what, err)
		}
		return nil
	}); !ok {
		e.Errorf("Close of the %s hangs", what)
	}
}

// await runs f in a goroutine and returns its result, or false when it takes longer than patience.
func await[T any](e *env, f func() T) (v T, ok bool) {
	done := make(chan T, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-done:
		return v, true
	case <-timer.C:
		return v, false
	}
}

// receive returns n deliveries of s, unsettled.
func (e *env) receive(s adapters.Source, n int) []adapters.Delivery {
	e.Helper()
	var all []adapters.Delivery
	for len(all) < n {
		ds, err := e.receiveSome(e.soon(), s, n-len(all))
		if err != nil {
			e.Fatalf("receive after %d of %d messages %q: %v", len(all), n, bodiesOf(all), err)
		}
		all = append(all, ds...)
	}
	return all
}

// receiveSome is one Receive, with what the contract says of its results.
func (e *env) receiveSome(ctx context.Context, s adapters.Source, limit int) ([]adapters.Delivery, error) {
	e.Helper()
	ds, err := s.Receive(ctx, limit)
	switch {
	case len(ds) > limit:
		e.Errorf("Receive(%d) returned %d deliveries", limit, len(ds))
	case len(ds) == 0 && err == nil:
		e.Fatalf("Receive returned neither a delivery nor an error")
	}
	for _, d := range ds {
		if d.Message == nil || d.Attempt < 1 {
			e.Fatalf("delivery without message or with attempt %d", d.Attempt)
		}
	}
	return ds, err
}

// settle settles and must succeed.
func (e *env) settle(s adapters.Source, o adapters.Outcome, ds ...adapters.Delivery) {
	e.Helper()
	if err := s.Settle(e.soon(), o, ds...); err != nil {
		e.Fatalf("settle %v: %v", o, err)
	}
}

// awaitLost receives from s until it says that the connection is lost, and returns what came before.
func (e *env) awaitLost(s adapters.Source) (ds []adapters.Delivery) {
	e.Helper()
	ctx := e.soon()
	for {
		more, err := s.Receive(ctx, 100)
		ds = append(ds, more...)
		if err == nil {
			continue
		}
		if adapters.KindOf(err) != adapters.Lost {
			e.Fatalf("Receive on a lost connection: %v (kind %v), want kind lost", err, adapters.KindOf(err))
		}
		return ds
	}
}

// upTo drains s up to the message whose body is last, accepting everything, and returns the deliveries before it.
func (e *env) upTo(s adapters.Source, last string) (before []adapters.Delivery) {
	e.Helper()
	for {
		ds := e.receive(s, 1)
		e.settle(s, adapters.Accepted, ds...)
		if string(ds[0].Message.Body.Data) == last {
			return before
		}
		before = append(before, ds...)
	}
}

// send sends ms, all of which must be taken.
func (e *env) send(g adapters.Target, ms ...*adapters.Message) {
	e.Helper()
	n, err := g.Send(e.soon(), ms)
	if err != nil || n != len(ms) {
		e.Fatalf("send: %d of %d messages taken: %v", n, len(ms), err)
	}
}

// messages makes n messages for a Target, with bodies "PREFIX-0" and so on and one key.
func (e *env) messages(prefix string, n int) []*adapters.Message {
	ms := make([]*adapters.Message, n)
	for i := range ms {
		ms[i] = e.message(fmt.Sprintf("%s-%d", prefix, i))
	}
	return ms
}

// message makes a durable message with an id of its own.
func (e *env) message(body string) *adapters.Message {
	return &adapters.Message{
		Track:   adapters.Track{ID: "t-" + rand.Text()},
		Durable: adapters.Yes,
		Key:     []byte("k"),
		Body:    adapters.Body{Form: adapters.BodyBytes, Data: []byte(body)},
	}
}

// natives makes n messages for Put, with bodies as messages.
func natives(prefix string, n int) []Native {
	ms := make([]Native, n)
	for i := range ms {
		ms[i] = native(fmt.Sprintf("%s-%d", prefix, i))
	}
	return ms
}

func native(body string) Native { return Native{Body: []byte(body), Key: []byte("k"), Durable: true} }

func bodiesOf(ds []adapters.Delivery) (out []string) {
	for _, d := range ds {
		out = append(out, string(d.Message.Body.Data))
	}
	return out
}

func bodiesOfMessages(ms []*adapters.Message) (out []string) {
	for _, m := range ms {
		out = append(out, string(m.Body.Data))
	}
	return out
}

func bodiesOfNatives(ms []Native) (out []string) {
	for _, m := range ms {
		out = append(out, string(m.Body))
	}
	return out
}

// wantKind reports whether err has one of the kinds.
func (e *env) wantKind(what string, err error, kinds ...adapters.Kind) bool {
	e.Helper()
	for _, k := range kinds {
		if err != nil && adapters.KindOf(err) == k {
			return true
		}
	}
	e.Errorf("%s: %v (kind %v), want kind %v", what, err, adapters.KindOf(err), kinds)
	return false
}

// first removes what came again, keeping first arrivals.
func first(all []string) (out []string) {
	seen := make(map[string]bool)
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// until calls f at intervals until it reports true, or fails the test.
func (e *env) until(what string, f func() bool) {
	e.Helper()
	ctx := e.soon()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			e.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// again receives from s, and where s is spent from a source opened anew, until each of want has come once more. It
// accepts everything and returns the deliveries in their order.
func (e *env) again(s adapters.Source, p Place, want ...string) []adapters.Delivery {
	e.Helper()
	missing := make(map[string]bool)
	for _, w := range want {
		missing[w] = true
	}
	var all []adapters.Delivery
	ctx := e.soon()
	for opened := false; len(missing) > 0; {
		ds, err := e.receiveSome(ctx, s, len(missing))
		for _, d := range ds {
			delete(missing, string(d.Message.Body.Data))
		}
		all = append(all, ds...)
		if err == nil {
			e.settle(s, adapters.Accepted, ds...)
			continue
		}
		if opened || adapters.KindOf(err) != adapters.Lost && !errors.Is(err, context.DeadlineExceeded) {
			e.Fatalf("%d of %q did not come again: %v", len(missing), want, err)
		}
		e.close("source", s)
		s, opened, ctx = e.source(p), true, e.soon()
	}
	return all
}
