//go:build cgo && ibmmq

package ibmmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

// bench is a harness with what most of these tests do with it.
type bench struct {
	*harness
	t   *testing.T
	cfg adapters.Config
}

func newBench(t *testing.T, o qmgr.Options) *bench {
	h := newHarness(t, o)
	h.needStandin(t)
	return &bench{h, t, h.Config(t, nil)}
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bench) address(name string, o adapters.Options) adapters.Address {
	return adapters.Address{Broker: "mq", Form: adapters.Queue, Name: name, Options: o}
}

func (b *bench) source(name string, o adapters.Options) adapters.Source {
	b.t.Helper()
	s, err := New().OpenSource(b.ctx(), b.cfg, b.address(name, o))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (b *bench) target(name string, o adapters.Options) adapters.Target {
	b.t.Helper()
	g, err := New().OpenTarget(b.ctx(), b.cfg, b.address(name, o))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = g.Close() })
	return g
}

func (b *bench) put(name string, bodies ...string) {
	b.t.Helper()
	for _, body := range bodies {
		if err := b.manager.Put(name, qmgr.Message{Body: []byte(body), MD: qmgr.Descriptor{Persistence: 1}}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) receive(s adapters.Source, n int) []adapters.Delivery {
	b.t.Helper()
	ds, err := s.Receive(b.ctx(), n)
	if err != nil || len(ds) != n {
		b.t.Fatalf("%d of %d messages, %v", len(ds), n, err)
	}
	return ds
}

func (b *bench) holds(name string, want ...string) {
	b.t.Helper()
	ms, open := b.manager.Messages(name)
	if got := bodies(ms); !slices.Equal(got, want) || len(open) > 0 {
		b.t.Errorf("%s holds %q and %d in units of work, want %q", name, got, len(open), want)
	}
}

func bodies(ms []qmgr.Message) (out []string) {
	for _, m := range ms {
		out = append(out, string(m.Body))
	}
	return out
}

func message(body string) *adapters.Message {
	return &adapters.Message{Durable: adapters.Yes, Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte(body)}}
}

func messages(bodies ...string) (ms []*adapters.Message) {
	for _, b := range bodies {
		ms = append(ms, message(b))
	}
	return ms
}

func wantKind(t *testing.T, what string, err error, want adapters.Kind) {
	t.Helper()
	if err == nil || adapters.KindOf(err) != want {
		t.Errorf("%s: %v (kind %v), want kind %v", what, err, adapters.KindOf(err), want)
	}
}

// TestEveryReasonHasItsKind injects every reason code that the table knows into a put, and looks that nothing is left behind.
func TestEveryReasonHasItsKind(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	for kind, names := range reasons {
		for code := range names {
			if kind == adapters.Other {
				continue
			}
			g := b.target(q, nil)
			b.manager.Inject(qmgr.Fault{Verb: "MQPUT", Queue: q, Nth: 2, Reason: code})
			n, err := g.Send(b.ctx(), messages("a", "b", "c"))
			want := 0
			if kind.Definite() {
				want = 1 // what lies before it is there
			}
			if adapters.KindOf(err) != kind || n != want {
				t.Errorf("%d: %d taken, %v (kind %v), want %d and kind %v", code, n, err, adapters.KindOf(err), want, kind)
			}
			if got, _ := b.manager.Messages(q); len(got) != want {
				t.Errorf("%d: %d messages are there, want %d", code, len(got), want)
			}
			b.manager.Clear(q)
			b.manager.Heal()
			_ = g.Close()
		}
	}
	if use := b.manager.Use(); use.MessageHandles != 0 {
		t.Errorf("%d message handles are left", use.MessageHandles)
	}
}

// TestUnknownCommitOfATarget: the answer to MQCMIT is lost, before and after its effect. Neither is success, and neither is a
// refusal.
func TestUnknownCommitOfATarget(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	for _, f := range []qmgr.Fault{{Cut: true}, {Cut: true, When: qmgr.After}, {Reason: 2549}, {Reason: 2549, When: qmgr.After}, {Reason: 2009, When: qmgr.After}} {
		q := b.queue(t, qmgr.Queue{})
		g := b.target(q, nil)
		f.Verb, f.Queue = "MQCMIT", q
		b.manager.Inject(f)
		n, err := g.Send(b.ctx(), messages("a", "b"))
		wantKind(t, fmt.Sprintf("commit with %+v", f), err, adapters.Lost)
		if n != 0 {
			t.Errorf("%+v: %d messages taken", f, n)
		}
		_, err = g.Send(b.ctx(), messages("c"))
		wantKind(t, "the spent target", err, adapters.Lost)
	}
	if fired := b.manager.Fired(); len(fired) != 5 {
		t.Errorf("%d faults came, want 5", len(fired))
	}
}

// TestBackedOutIsDefinite: 2003 at MQCMIT says that nothing is there; the target can be used again.
func TestBackedOutIsDefinite(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	g := b.target(q, nil)
	b.manager.Inject(qmgr.Fault{Verb: "MQCMIT", Queue: q, Reason: mqrcBackedOut, Completion: mqccWarning})
	n, err := g.Send(b.ctx(), messages("a"))
	wantKind(t, "a unit of work that was backed out", err, adapters.Transient)
	if n != 0 {
		t.Errorf("%d messages taken", n)
	}
}

// TestUnknownCommitOfASource: whatever became of the commit, the settle is no success, and a message that comes again says so
// and is known by its id.
func TestUnknownCommitOfASource(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	for _, f := range []qmgr.Fault{{Cut: true}, {Cut: true, When: qmgr.After}, {Reason: 2549}, {Reason: 2549, When: qmgr.After}} {
		q := b.queue(t, qmgr.Queue{})
		state := b.queue(t, qmgr.Queue{Persistent: true})
		b.put(q, "a", "b")
		s := b.source(q, adapters.Options{keyState: state})
		ds := b.receive(s, 2)
		f.Verb, f.Queue = "MQCMIT", q
		b.manager.Inject(f)
		wantKind(t, "settle", s.Settle(b.ctx(), adapters.Accepted, ds...), adapters.Lost)
		_ = s.Close()
		b.put(q, "end")
		s = b.source(q, adapters.Options{keyState: state})
		var again []string
		for {
			more := b.receiveSome(s)
			for _, d := range more {
				if body := string(d.Message.Body.Data); body != "end" {
					again = append(again, body)
					if i := slices.IndexFunc(ds, func(o adapters.Delivery) bool { return o.SourceID == d.SourceID }); i < 0 || d.Attempt != 2 {
						t.Errorf("%+v: %s comes again with attempt %d, known %t", f, body, d.Attempt, i >= 0)
					}
				}
			}
			if err := s.Settle(b.ctx(), adapters.Accepted, more...); err != nil {
				t.Fatal(err)
			}
			if string(more[len(more)-1].Message.Body.Data) == "end" {
				break
			}
		}
		want := []string{"a", "b"}
		if f.When == qmgr.After && f.Cut || f.When == qmgr.After {
			want = nil
		}
		if !slices.Equal(again, want) {
			t.Errorf("%+v: %q came again, want %q", f, again, want)
		}
		_ = s.Close()
	}
}

func (b *bench) receiveSome(s adapters.Source) []adapters.Delivery {
	b.t.Helper()
	ds, err := s.Receive(b.ctx(), 10)
	if err != nil {
		b.t.Fatal(err)
	}
	return ds
}

// TestTransactionsAreAllOrNothing: at every call of a transaction in turn it breaks, before and after the effect; the position
// of the next sender tells, and what it tells is true.
func TestTransactionsAreAllOrNothing(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q, state := b.queue(t, qmgr.Queue{}), b.queue(t, qmgr.Queue{Persistent: true, OpenExclusive: true})
	at := b.address(q, adapters.Options{keyState: state})
	open := func() adapters.TxTarget {
		x, err := New().OpenTx(b.ctx(), b.cfg, at, "lane.1")
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	var last uint64
	var want []string
	for _, verb := range []string{"MQOPEN", "MQGET", "MQPUT", "MQCMIT"} {
		for nth := 1; nth <= 3; nth++ {
			for _, when := range []qmgr.When{qmgr.Before, qmgr.After} {
				x := open()
				b.manager.Inject(qmgr.Fault{Verb: verb, Nth: nth, Cut: true, When: when})
				p := adapters.Position{Last: last + 2}
				ms := messages(fmt.Sprint(last+1), fmt.Sprint(last+2))
				if err := x.SendTx(b.ctx(), ms, p); err != nil {
					wantKind(t, fmt.Sprintf("%s %d %s", verb, nth, when), err, adapters.Lost)
				}
				_ = x.Close()
				b.manager.Heal()
				if x = open(); x.Position().Last == last {
					if err := x.SendTx(b.ctx(), ms, p); err != nil {
						t.Fatal(err)
					}
				}
				_ = x.Close()
				last += 2
				want = append(want, string(ms[0].Body.Data), string(ms[1].Body.Data))
			}
		}
	}
	b.holds(q, want...)
	if n := len(b.manager.Fired()); n < 12 {
		t.Errorf("only %d faults came", n)
	}
}

// TestTransactionsRefuse: a definite refusal of one message leaves nothing of the transaction, and the target as it was.
func TestTransactionsRefuse(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q, state := b.queue(t, qmgr.Queue{MaxDepth: 3}), b.queue(t, qmgr.Queue{Persistent: true})
	x, err := New().OpenTx(b.ctx(), b.cfg, b.address(q, adapters.Options{keyState: state}), "lane.1")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, step := range []struct {
		fault qmgr.Fault
		ms    []*adapters.Message
		kind  adapters.Kind
	}{
		{qmgr.Fault{}, messages("1", "2", "3", "4"), adapters.Full},
		{qmgr.Fault{Verb: "MQPUT", Queue: q, Nth: 2, Reason: 2030}, messages("1", "2"), adapters.Permanent},
		{qmgr.Fault{Verb: "MQPUT", Queue: q, Nth: 2, Reason: 2051}, messages("1", "2"), adapters.Full},
		{qmgr.Fault{Verb: "MQPUT", Queue: q, Reason: 2035}, messages("1"), adapters.Denied},
		{qmgr.Fault{Verb: "MQCMIT", Queue: q, Reason: 2003, Completion: 1}, messages("1"), adapters.Full},
	} {
		if step.fault.Verb != "" {
			b.manager.Inject(step.fault)
		}
		wantKind(t, fmt.Sprintf("%+v", step.fault), x.SendTx(b.ctx(), step.ms, adapters.Position{Last: 9}), step.kind)
		b.holds(q)
		b.manager.Heal()
	}
	if err := x.SendTx(b.ctx(), messages("1", "2"), adapters.Position{Last: 2}); err != nil {
		t.Fatal(err)
	}
	b.holds(q, "1", "2")
}

// TestStateQueues: what a state queue must not be.
func TestStateQueues(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	tx := func(state string) error {
		x, err := New().OpenTx(b.ctx(), b.cfg, b.address(q, adapters.Options{keyState: state}), "lane.1")
		if err == nil {
			_ = x.Close()
		}
		return err
	}
	two, other, junk := b.queue(t, qmgr.Queue{}), b.queue(t, qmgr.Queue{}), b.queue(t, qmgr.Queue{})
	b.put(two, `{"version":1,"owner":"lane.1"}`, `{"version":1,"owner":"lane.1"}`)
	b.put(other, `{"version":1,"owner":"lane.2"}`)
	b.put(junk, "hello")
	for what, c := range map[string]struct {
		queue string
		kind  adapters.Kind
		words string
	}{
		"missing": {"NO.SUCH.STATE", adapters.NotFound, "DEFINE QLOCAL(NO.SUCH.STATE)"}, "none": {"", adapters.Denied, "state_queue"},
		"two messages": {two, adapters.Denied, "more than one"}, "another lane's": {other, adapters.Denied, "belongs to lane.2"}, "no state": {junk, adapters.Denied, "hello"},
	} {
		err := tx(c.queue)
		wantKind(t, what, err, c.kind)
		if err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v lacks %q", what, err, c.words)
		}
	}
	b.holds(junk, "hello")
	good := b.queue(t, qmgr.Queue{})
	x, err := New().OpenTx(b.ctx(), b.cfg, b.address(q, adapters.Options{keyState: good}), "lane.1")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	b.manager.Clear(good)
	wantKind(t, "a state that was taken away", x.SendTx(b.ctx(), messages("m"), adapters.Position{Last: 1}), adapters.Denied)
	b.holds(q)
}

// TestDeadSenderKeepsTheState: the connection of a sender dies in the middle of a transaction, and the queue manager has not
// noticed. Who opens the lane waits until it has, and only then believes what the state says.
func TestDeadSenderKeepsTheState(t *testing.T) {
	const locked = 700e6 // ns
	b := newBench(t, qmgr.Options{LockedFor: locked})
	q, state := b.queue(t, qmgr.Queue{}), b.queue(t, qmgr.Queue{Persistent: true})
	at := b.address(q, adapters.Options{keyState: state})
	x, err := New().OpenTx(b.ctx(), b.cfg, at, "lane.1")
	if err != nil {
		t.Fatal(err)
	}
	b.manager.Inject(qmgr.Fault{Verb: "MQPUT", Queue: q, Nth: 2, Cut: true})
	wantKind(t, "cut in the middle", x.SendTx(b.ctx(), messages("1", "2"), adapters.Position{Last: 2}), adapters.Lost)
	_ = x.Close()
	x, err = New().OpenTx(b.ctx(), b.cfg, at, "lane.1")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if p := x.Position(); p.Last != 0 {
		t.Errorf("position %d of a transaction that was backed out", p.Last)
	}
	if err := x.SendTx(b.ctx(), messages("1", "2"), adapters.Position{Last: 2}); err != nil {
		t.Fatal(err)
	}
	b.holds(q, "1", "2")
}

// TestPoisonIsSetAside: as often backed out as BOTHRESH says, a message goes to BOQNAME; without one to the dead-letter queue,
// with its header; with neither it stays, and the source says so.
func TestPoisonIsSetAside(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	boq := b.queue(t, qmgr.Queue{})
	withQueue := b.queue(t, qmgr.Queue{BackoutThreshold: 3, BackoutQueue: boq})
	alias := b.queue(t, qmgr.Queue{Alias: withQueue})
	without := b.queue(t, qmgr.Queue{BackoutThreshold: 3})
	for _, c := range []struct{ from, base, to string }{{withQueue, withQueue, boq}, {alias, withQueue, boq}, {without, without, "DEAD"}} {
		b.put(c.base, "poison")
		b.manager.SetBackoutCount(c.base, 3)
		b.put(c.base, "good")
		s := b.source(c.from, nil)
		ds := b.receive(s, 1)
		if body := string(ds[0].Message.Body.Data); body != "good" {
			t.Errorf("%s gave out %q", c.from, body)
		}
		if err := s.Settle(b.ctx(), adapters.Accepted, ds...); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		b.holds(c.base)
		ms, _ := b.manager.Messages(c.to)
		if len(ms) != 1 || !strings.HasSuffix(string(ms[0].Body), "poison") {
			t.Fatalf("%s holds %q", c.to, bodies(ms))
		}
		if c.to == "DEAD" {
			d, _, err := ParseDLH(ms[0].Body, ms[0].MD.Encoding)
			if err != nil || d.Reason != mqrcBackoutThreshold || d.Queue != without || ms[0].MD.Format != FormatDeadLetter {
				t.Errorf("%+v, %v, format %q", d, err, ms[0].MD.Format)
			}
		}
		b.manager.Clear(c.to)
	}
	full := b.queue(t, qmgr.Queue{BackoutThreshold: 1, BackoutQueue: "NO.SUCH.QUEUE"})
	if err := b.manager.Alter("DEAD", func(q *qmgr.Queue) { q.PutInhibited = true }); err != nil {
		t.Fatal(err)
	}
	b.put(full, "poison")
	b.manager.SetBackoutCount(full, 1)
	s := b.source(full, nil)
	_, err := s.Receive(b.ctx(), 10)
	wantKind(t, "no place for a message that is set aside", err, adapters.Denied)
	for _, words := range []string{"NO.SUCH.QUEUE", "DEAD", "BOQNAME"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v lacks %q", err, words)
		}
	}
	_ = s.Close()
	b.holds(full, "poison")
}

// TestMixedOutcomes: of one unit of work some messages are accepted, some released and one rejected.
func TestMixedOutcomes(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	b.put(q, "a", "b", "c", "d", "e")
	s := b.source(q, nil)
	ds := b.receive(s, 5)
	for _, step := range []struct {
		o  adapters.Outcome
		ds []adapters.Delivery
	}{{adapters.Accepted, []adapters.Delivery{ds[0], ds[3]}}, {adapters.Released, []adapters.Delivery{ds[1], ds[4]}}, {adapters.Rejected, []adapters.Delivery{ds[2]}}} {
		if err := s.Settle(b.ctx(), step.o, step.ds...); err != nil {
			t.Fatalf("%v: %v", step.o, err)
		}
	}
	b.holds(q, "b", "e")
	if got := bodies2(b.manager.Messages("DEAD")); len(got) != 1 || !strings.HasSuffix(got[0], "c") {
		t.Errorf("set aside: %q", got)
	}
	if again := b.receive(s, 2); again[0].SourceID != ds[1].SourceID || again[0].Attempt != 2 {
		t.Errorf("released: %+v", again[0])
	}
}

func bodies2(ms, _ []qmgr.Message) []string { return bodies(ms) }

// TestExclusiveSource: the second reader is told, and gets the queue when the first has left.
func TestExclusiveSource(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	o := adapters.Options{keyExclusive: true}
	s := b.source(q, o)
	_, err := New().OpenSource(b.ctx(), b.cfg, b.address(q, o))
	wantKind(t, "a queue that another has for itself", err, adapters.Lost)
	if err == nil || !strings.Contains(err.Error(), "MQRC_OBJECT_IN_USE (2042)") {
		t.Errorf("%v does not say why", err)
	}
	_ = s.Close()
	b.source(q, o)
}

// TestBadConnections: what an operator gets to read.
func TestBadConnections(t *testing.T) {
	b := newBench(t, qmgr.Options{Channels: []qmgr.Channel{{Name: "APP.SVRCONN"}, {Name: "TLS.SVRCONN", Cipher: "ANY_TLS12_OR_HIGHER"}, {Name: "BLOCKED", Blocked: true}}})
	q := b.queue(t, qmgr.Queue{})
	for name, c := range map[string]struct {
		change func(*adapters.Config)
		kind   adapters.Kind
		words  string
	}{
		"channel":       {func(c *adapters.Config) { c.Options = adapters.Options{keyChannel: "NO.SUCH"} }, adapters.NotFound, "UNKNOWN_CHANNEL_NAME (2540)"},
		"blocked":       {func(c *adapters.Config) { c.Options = adapters.Options{keyChannel: "BLOCKED"} }, adapters.Denied, "(2577)"},
		"queue manager": {func(c *adapters.Config) { c.Options = adapters.Options{keyChannel: "APP.SVRCONN", keyManager: "OTHER"} }, adapters.NotFound, "Q_MGR_NAME_ERROR (2058)"},
		"password":      {func(c *adapters.Config) { c.Credentials.Password = adapters.NewSecret("wrong") }, adapters.Denied, "NOT_AUTHORIZED (2035)"},
		"cipher": {func(c *adapters.Config) {
			c.Options = adapters.Options{keyChannel: "TLS.SVRCONN"}
			c.TLS = adapters.TLS{On: true, KeyRepository: t.TempDir(), CipherSpec: "TLS_AES_128_GCM_SHA256"}
		}, adapters.Denied, "cipher_spec"},
		"key repository": {func(c *adapters.Config) {
			c.Options = adapters.Options{keyChannel: "TLS.SVRCONN"}
			c.TLS = adapters.TLS{On: true, KeyRepository: "/nonexistent/keys", CipherSpec: "ANY_TLS12_OR_HIGHER"}
		}, adapters.Denied, "KEY_REPOSITORY_ERROR (2381)"},
		"nobody there": {func(c *adapters.Config) { c.Addresses = []string{"127.0.0.1:1"} }, adapters.Lost, "addresses"},
	} {
		cfg := b.cfg
		c.change(&cfg)
		_, err := New().Ping(b.ctx(), cfg, b.address(q, nil))
		wantKind(t, name, err, c.kind)
		if err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v lacks %q", name, err, c.words)
		}
	}
	second := b.cfg
	second.Addresses = []string{"127.0.0.1:1", b.cfg.Addresses[0]}
	if p, err := New().Ping(b.ctx(), second, b.address(q, nil)); err != nil || p.Product != "IBM MQ" || p.Unique == "" {
		t.Errorf("the second address: %+v, %v", p, err)
	}
}

// TestHeldBackMessage: a message that is larger than may be taken stays, and the source says how large it is.
func TestHeldBackMessage(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	b.put(q, "small", strings.Repeat("x", 70_000))
	b.cfg.Limits.MaxSize = 65_000
	s := b.source(q, nil)
	ds := b.receive(s, 1)
	if err := s.Settle(b.ctx(), adapters.Accepted, ds...); err != nil {
		t.Fatal(err)
	}
	_, err := s.Receive(b.ctx(), 10)
	wantKind(t, "a message that is too large", err, adapters.Denied)
	if err == nil || !strings.Contains(err.Error(), "70000") {
		t.Errorf("%v does not say how large", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
