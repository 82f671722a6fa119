package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/posthouse/posthouse/adapters"
)

// needTx skips the check where transactions are not claimed.
func (e *env) needTx() {
	e.Helper()
	if e.caps.Target != adapters.ClassTx {
		e.Skipf("Target is %v, not %v", e.caps.Target, adapters.ClassTx)
	}
}

// openTx opens the sending end of p with transactions, as the one sender of the lane that belongs to the check.
func (e *env) openTx(p Place) adapters.TxTarget {
	e.Helper()
	a, ok := e.h.Adapter().(adapters.TxAdapter)
	if !ok {
		e.Fatalf("Target is %v, but the adapter is no TxAdapter", e.caps.Target)
	}
	x, err := a.OpenTx(e.soon(), e.cfg, p.Target, "suite."+strings.ToLower(e.tag))
	if err != nil {
		e.Fatalf("open with transactions: %v", err)
	}
	e.Cleanup(func() { e.close("target", x) })
	return x
}

func (e *env) sendTx(x adapters.TxTarget, last uint64, ms ...*adapters.Message) {
	e.Helper()
	if err := x.SendTx(e.soon(), ms, adapters.Position{Last: last}); err != nil {
		e.Fatalf("transaction up to %d: %v", last, err)
	}
}

// onceInTransaction: an answer is lost, or a request, at every step of a transaction in turn. The error has Kind Lost;
// the position of the target opened next tells whether to send again; a reader of committed records sees each message
// once, in order.
func onceInTransaction(e *env) {
	e.needTx()
	p := e.h.Place(e)
	f := &fuse{cut: e.wire.Cut}
	e.cfg.Dial = f.through(e.cfg.Dial)
	r := &txRun{env: e, p: p}
	for name, m := range map[string]Mode{"never heard": Stall, "unanswered": HoldReplies} {
		r.step(name, func() { e.wire.Set(m) }, func() bool { e.wire.Cut(); return true })
	}
	for _, way := range []direction{answers, requests} {
		lost := true
		for n := 0; lost; n++ {
			lost = r.step(fmt.Sprintf("%s %d lost", way, n), func() { f.arm(way, n) }, f.disarm)
		}
	}
	r.step("smooth", func() {}, func() bool { return false })
	e.sendTx(e.openTx(p), r.last, e.message("end"))
	e.wantBodies("committed", e.takeUpTo(p, "end"), r.want...)
}

// A txRun sends transactions with faults, as a lane does.
type txRun struct {
	*env
	p    Place
	last uint64
	want []string
}

// step sends one transaction with a fault, and again where it was not taken. It reports what mend says: whether the fault
// has hit anything.
func (r *txRun) step(name string, fault func(), mend func() bool) bool {
	r.Helper()
	ms := r.messages("m-"+name, 3)
	before, after := r.last, r.last+uint64(len(ms))
	x := r.openTx(r.p)
	fault()
	err := x.SendTx(r.soon(), ms, adapters.Position{Last: after})
	hit := mend()
	if err != nil {
		r.wantKind("transaction with a fault "+name, err, adapters.Lost)
		r.wantKind("the spent target", x.SendTx(r.soon(), ms, adapters.Position{Last: after}), adapters.Lost)
	}
	r.close("target", x)
	for sent := err == nil; !r.taken(name, before, after, sent, ms); {
		sent = false
	}
	r.last = after
	r.want = append(r.want, bodiesOfMessages(ms)...)
	return hit
}

// taken opens the lane and reports whether the position says that the transaction is there. If not it sends it again, as
// often as it takes: a slow broker is no fault.
func (r *txRun) taken(name string, before, after uint64, sent bool, ms []*adapters.Message) bool {
	r.Helper()
	x := r.openTx(r.p)
	defer r.close("target", x)
	switch at := x.Position().Last; {
	case at == after:
		return true
	case at != before || sent:
		r.Fatalf("fault %s: position %d after a transaction from %d to %d that was confirmed: %t", name, at, before, after, sent)
	}
	if err := x.SendTx(r.soon(), ms, adapters.Position{Last: after}); err != nil {
		r.wantKind("transaction sent again", err, adapters.Lost)
		return false
	}
	return r.taken(name, before, after, true, ms)
}

// fencedSender: of two senders of one lane the older is refused, and nothing of it is there.
func fencedSender(e *env) {
	e.needTx()
	p := e.h.Place(e)
	older := e.openTx(p)
	e.sendTx(older, 1, e.message("first"))
	newer := e.openTx(p)
	if at := newer.Position().Last; at != 1 {
		e.Errorf("the newer sender has position %d, want 1", at)
	}
	for range 2 {
		err := older.SendTx(e.soon(), e.messages("zombie", 2), adapters.Position{Last: 9})
		if e.wantKind("the older sender", err, adapters.Denied) && !errors.Is(err, adapters.ErrFenced) {
			e.Errorf("the older sender: %v is not ErrFenced", err)
		}
	}
	e.sendTx(newer, 2, e.message("second"), e.message("end"))
	e.wantBodies("committed", e.takeUpTo(p, "end"), "first", "second")
	if at := e.openTx(p).Position().Last; at != 2 {
		e.Errorf("position %d, want 2", at)
	}
}

// direction of bytes, seen from the adapter.
type direction string

const (
	answers  direction = "answer"
	requests direction = "request"
)

// A fuse blows at the nth piece of one direction that passes after it was armed, over any TCP connection: the piece is
// lost and everything is cut.
type fuse struct {
	cut func()

	mu    sync.Mutex
	way   direction // "" = not armed
	left  int
	blown bool
}

func (f *fuse) arm(way direction, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.way, f.left, f.blown = way, n, false
}

// disarm reports whether the fuse has blown.
func (f *fuse) disarm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.way = ""
	return f.blown
}

// passes counts one piece.
func (f *fuse) passes(way direction) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.way != way {
		return true
	}
	f.left--
	f.blown = f.blown || f.left < 0
	return f.left >= 0
}

func (f *fuse) through(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if _, tcp := c.(*net.TCPConn); err == nil && tcp {
			c = fused{c, f}
		}
		return c, err
	}
}

type fused struct {
	net.Conn
	f *fuse
}

func (c fused) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.f.passes(answers) {
		c.f.cut()
		return 0, net.ErrClosed
	}
	return n, err
}

func (c fused) Write(b []byte) (int, error) {
	if !c.f.passes(requests) {
		c.f.cut()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}
