package amqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters"
)

func openSource(t *testing.T, c adapters.Config) *source {
	t.Helper()
	s, err := New().OpenSource(deadline(t), c, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*source)
}

func openTarget(t *testing.T, c adapters.Config) *target {
	t.Helper()
	s, err := New().OpenTarget(deadline(t), c, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*target)
}

func wantKind(t *testing.T, err error, k adapters.Kind, words ...string) {
	t.Helper()
	if err == nil || adapters.KindOf(err) != k {
		t.Fatalf("error %v (%v), want kind %v", err, adapters.KindOf(err), k)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func body(n int) *adapters.Message {
	return &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, n)}}
}

func encoded(t testing.TB, m *adapters.Message) []byte {
	raw, err := encode(nil, m, artemis())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The peer states no max-message-size, which switches the client library's own bound off.
func TestSizeBoundHoldsAgainstAPeerThatStatesNone(t *testing.T) {
	p := newPeer(t)
	p.onCredit = func(p *peer, _ uint32) {
		p.onCredit = nil
		p.transfer(encoded(t, body(9_000)), true, false)
		for i := range 1000 {
			p.transfer(make([]byte, 1_000), i == 0, true)
		}
	}
	s := openSource(t, p.config())
	ds, err := s.Receive(deadline(t), 1)
	if err == nil && len(ds[0].Message.Body.Data) != 9_000 {
		t.Fatalf("%d bytes", len(ds[0].Message.Body.Data))
	}
	for err == nil {
		_, err = s.Receive(deadline(t), 1)
	}
	wantKind(t, err, adapters.Lost, "max_message_size", "10000")
	if !errors.Is(err, errOversize) {
		t.Errorf("%v", err)
	}
	if cap(s.w.cur.raw) > 20_000 {
		t.Errorf("%d bytes of it are held", cap(s.w.cur.raw))
	}
	wantKind(t, s.Settle(deadline(t), adapters.Accepted, ds...), adapters.Lost)
}

func TestFrameThatIsLargerThanAgreedIsCutOff(t *testing.T) {
	p := newPeer(t)
	p.onCredit = func(p *peer, _ uint32) { p.write([]byte{0x7f, 0, 0, 0, 2, 0, 0, 0}) }
	_, err := openSource(t, p.config()).Receive(deadline(t), 1)
	wantKind(t, err, adapters.Lost, "breaks the protocol")
}

func TestOutcomesBecomeKinds(t *testing.T) {
	for _, c := range []struct {
		state field
		want  adapters.Kind
	}{
		{described(stateRejected, condition("amqp:resource-limit-exceeded", "Address q is full")), adapters.Full},
		{described(stateRejected, condition("amqp:not-found", "no q")), adapters.NotFound},
		{described(stateRejected, condition("amqp:unauthorized-access", "no right")), adapters.Denied},
		{described(stateRejected, condition("amqp:link:message-size-exceeded", "")), adapters.Permanent},
		{described(stateRejected, condition("amqp:internal-error", "")), adapters.Transient},
		{described(stateRejected, condition("vendor:own", "")), adapters.Permanent},
		{described(stateRejected), adapters.Permanent},
		{described(stateReleased), adapters.Transient},
		{described(stateModified, flag(true)), adapters.Transient},
	} {
		p := newPeer(t)
		p.onSend = func(p *peer, id uint32, _ []byte) { p.outcome(id, c.state) }
		_, err := openTarget(t, p.config()).Send(deadline(t), []*adapters.Message{body(1)})
		wantKind(t, err, c.want)
	}
}

// One refusal among many in flight: each message has its own fate, answered in any order.
func TestFatesOfABatch(t *testing.T) {
	p := newPeer(t)
	var ids []uint32
	p.onSend = func(p *peer, id uint32, _ []byte) {
		if ids = append(ids, id); len(ids) < 9 {
			return
		}
		for i := len(ids) - 1; i >= 0; i-- {
			state := described(stateAccepted)
			if i == 4 {
				state = described(stateRejected, condition("amqp:not-allowed", "not this one"))
			}
			p.outcome(ids[i], state)
		}
	}
	ms := make([]*adapters.Message, 10)
	for i := range ms {
		ms[i] = body(i)
	}
	ms[7] = body(10_000) // with its frame above MaxSize: never sent
	n, err := openTarget(t, p.config()).Send(deadline(t), ms)
	if n != 4 {
		t.Errorf("n = %d, want 4", n)
	}
	for i, err := range adapters.Fates(10, n, err) {
		want := map[int]adapters.Kind{4: adapters.Denied, 7: adapters.Permanent}[i]
		if (err != nil) != (want != 0) || err != nil && adapters.KindOf(err) != want {
			t.Errorf("message %d: %v, want %v", i, err, want)
		}
	}
}

func TestNoCreditIsFullAndNotTheEnd(t *testing.T) {
	p := newPeer(t)
	p.credit = 2
	p.onSend = func(p *peer, id uint32, _ []byte) { p.outcome(id, described(stateAccepted)) }
	to := openTarget(t, p.config())
	p.wg.Go(p.keepAlive)
	ms := []*adapters.Message{body(1), body(2), body(3)}
	n, err := to.Send(deadline(t), ms)
	if n != 2 {
		t.Errorf("n = %d, %v", n, err)
	}
	wantKind(t, err, adapters.Full, "credit")
	_, err = to.Post(deadline(t), ms[2:])
	wantKind(t, err, adapters.Full)
	ctx, cancel := context.WithCancel(deadline(t))
	cancel()
	_, err = to.Post(ctx, ms[2:])
	wantKind(t, err, adapters.Transient)
	p.giveCredit(10)
	if n, err := to.Send(deadline(t), ms[2:]); n != 1 || err != nil {
		t.Errorf("with credit again: %d, %v", n, err)
	}
}

// A message that is late while somebody collects answers is looked at twice: its answer may be next in line. Only one
// that nobody has moved by then is given up.
func TestLateWhileOthersCollect(t *testing.T) {
	p := newPeer(t)
	p.onSend = func(p *peer, id uint32, _ []byte) { p.outcome(id, described(stateAccepted)) }
	c := p.config()
	c.Limits.Confirm = time.Hour // only the test looks at what is late
	to := openTarget(t, c)
	for round := range 2 {
		r, err := to.Post(deadline(t), []*adapters.Message{body(1)})
		if err != nil {
			t.Fatal(err)
		}
		<-to.collecting
		to.mu.Lock()
		to.flight[to.head].at = time.Time{}
		to.mu.Unlock()
		for range round + 1 {
			to.overdue()
		}
		to.collecting <- struct{}{}
		if n, err := r.Wait(deadline(t)); round == 0 && (n != 1 || err != nil) {
			t.Errorf("answered meanwhile: %d, %v", n, err)
		}
	}
	if to.w.why() == nil {
		t.Error("a message late at the second look, and the connection goes on")
	}
}

// A window smaller than the batch must not wait for a Wait that comes only after Post.
func TestWindowDoesNotLockPost(t *testing.T) {
	p := newPeer(t)
	p.onSend = func(p *peer, id uint32, _ []byte) { p.outcome(id, described(stateAccepted)) }
	c := p.config()
	c.Limits.InFlight = 2
	to := openTarget(t, c)
	var rs []adapters.Receipt
	for range 3 {
		r, err := to.Post(deadline(t), []*adapters.Message{body(1), body(1), body(1), body(1), body(1)})
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	for i := len(rs) - 1; i >= 0; i-- {
		if n, err := rs[i].Wait(deadline(t)); n != 5 || err != nil {
			t.Errorf("batch %d: %d, %v", i, n, err)
		}
	}
}

func TestNoAnswerIsLost(t *testing.T) {
	p := newPeer(t)
	p.onSend = func(*peer, uint32, []byte) { p.wg.Go(p.keepAlive) }
	to := openTarget(t, p.config())
	_, err := to.Send(deadline(t), []*adapters.Message{body(1)})
	wantKind(t, err, adapters.Lost, "not answered")
	_, err = to.Send(deadline(t), []*adapters.Message{body(1)})
	wantKind(t, err, adapters.Lost)
}

func TestDetachOfAnIdleTargetIsNoticed(t *testing.T) {
	p := newPeer(t)
	to := openTarget(t, p.config())
	p.detach("amqp:link:detach-forced", "idle for too long")
	<-to.w.gone
	wantKind(t, to.Probe(deadline(t)), adapters.Lost, "idle for too long")
	_, err := to.Send(deadline(t), []*adapters.Message{body(1)})
	wantKind(t, err, adapters.Lost, "idle for too long")
}

func TestSilentPeerIsLost(t *testing.T) {
	p := newPeer(t)
	s := openSource(t, p.config()) // the peer sends no keep-alive frames
	_, err := s.Receive(deadline(t), 1)
	wantKind(t, err, adapters.Lost, "nothing heard")
	wantKind(t, s.Probe(deadline(t)), adapters.Lost)
}

func TestLoginThatIsNotAnswered(t *testing.T) {
	p := newPeer(t)
	p.saslCode = -1
	_, err := New().OpenSource(deadline(t), p.config(), queue)
	wantKind(t, err, adapters.Denied, "possibly wrong credentials")
	p = newPeer(t)
	p.saslCode = 1
	_, err = New().OpenTarget(deadline(t), p.config(), queue)
	wantKind(t, err, adapters.Denied, "refused the login")
}

// Runs of ids go out in one frame, whatever order they come in, and settling twice writes nothing.
func TestSettleWritesRuns(t *testing.T) {
	got := make(chan string, 9)
	p := newPeer(t)
	p.onSettle = func(_ *peer, first, last uint32, settled bool, state byte) {
		got <- fmt.Sprintf("%d-%d %v %x", first, last, settled, state)
	}
	p.onCredit = func(p *peer, _ uint32) {
		p.onCredit = nil
		for range 6 {
			p.transfer(encoded(t, body(1)), true, false)
		}
	}
	s := openSource(t, p.config())
	var ds []adapters.Delivery
	for len(ds) < 6 {
		more, err := s.Receive(deadline(t), 6)
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, more...)
	}
	settle := func(o adapters.Outcome, ds ...adapters.Delivery) {
		t.Helper()
		if err := s.Settle(deadline(t), o, ds...); err != nil {
			t.Fatal(err)
		}
	}
	settle(adapters.Accepted, ds[5], ds[0], ds[2], ds[1])
	settle(adapters.Accepted, ds[0])
	settle(adapters.Released, ds[3:5]...)
	for _, want := range []string{"0-2 true 24", "5-5 true 24", "3-4 true 26"} {
		if g := <-got; g != want {
			t.Errorf("disposition %s, want %s", g, want)
		}
	}
	wantKind(t, s.Settle(deadline(t), adapters.Rejected, ds[0]), adapters.Permanent)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
