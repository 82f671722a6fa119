package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// A target publishes to one subject, or where a message says (Message.Dest). Every message on its way has a slot; the answer comes back to a subject that names
// the slot and how often it was used, so an answer can only ever count for its own message.
type target struct {
	c     *conn
	inbox string
	most  int64         // largest message in bytes
	ttl   bool          // lifetimes go along, for the stream to end messages
	freed chan struct{} // capacity 1: a slot has come free

	mu      sync.Mutex
	slots   []slot // as many as were ever needed at once, at most Limits.InFlight
	free    []int  // of them: without a message
	flying  int    // messages without an answer
	refused int    // permission violations since nothing was flying
	err     error

	known      subjects
	spent      chan struct{} // closed when err is set
	duplicates atomic.Uint64
	answered   atomic.Int64 // time of the last answer, UnixNano
}

// slot is one message on its way.
type slot struct {
	receipt *receipt // nil = free
	index   int      // of the message in its batch
	use     uint32
	to      way
}

var (
	_ adapters.Poster       = (*target)(nil)
	_ adapters.Prober       = (*target)(nil)
	_ adapters.Described    = (*target)(nil)
	_ adapters.Deduplicator = (*target)(nil)
)

// attachTarget looks for the stream.
func attachTarget(ctx context.Context, c *conn) (*target, error) {
	t := &target{c: c, ttl: c.cfg.Options.Bool(keyTTL, false), spent: make(chan struct{}), freed: make(chan struct{}, 1), known: subjects{most: map[string]int64{}, absent: map[string]time.Time{}}}
	if !c.at.Dynamic {
		if err := t.lookUp(ctx); err != nil {
			return nil, err
		}
		c.publishes(c.at.Name)
	}
	t.most = min(c.peer.MaxSize, c.cfg.Limits.MaxSize)
	t.inbox = c.onAnswer(t.onAnswer)
	c.onDenied(t.onDenied)
	c.onUse(t.flies)
	context.AfterFunc(c.gone, func() { t.spend(c.lostNow("send")) })
	return t, nil
}

// lookUp finds or makes the stream, and learns its limits. A client that may not ask goes on without.
func (t *target) lookUp(ctx context.Context) error {
	var info *jetstream.StreamInfo
	err := t.c.during(ctx, "attach", func(ctx context.Context) (err error) {
		info, err = t.c.targetStream(ctx)
		return err
	})
	if errors.Is(err, natsgo.ErrPermissionViolation) && !t.c.at.Options.Bool(KeyCreate, false) {
		if t.c.cfg.Once {
			return t.c.windowUnknown()
		}
		t.c.cfg.Log.Info("may not ask for streams: the duplicate window of the target is not known",
			"broker", t.c.cfg.Name, "subject", t.c.at.Name)
		return nil
	}
	if err != nil {
		return err
	}
	if n := int64(info.Config.MaxMsgSize); n > 0 {
		t.c.peer.MaxSize = min(t.c.peer.MaxSize, n)
	}
	if t.ttl && !info.Config.AllowMsgTTL {
		return t.c.noTTL(info.Config.Name)
	}
	return t.c.checkWindow(info.Config.Name, info.Config.Duplicates)
}

// Peer tells which server the target is attached to; MaxSize is the smaller of its max_payload and the stream's
// max_msg_size.
func (t *target) Peer() adapters.Peer { return t.c.peer }

// Duplicates counts the messages that the stream had already: they were confirmed and not stored a second time.
func (t *target) Duplicates() uint64 { return t.duplicates.Load() }

// Send is Post and Wait.
func (t *target) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	r, err := t.Post(ctx, ms)
	if err != nil {
		return 0, err
	}
	return r.Wait(ctx)
}

// Post publishes ms in order and returns when the last is in the client's hands; see adapters.Poster. A message that
// NATS cannot carry gets its refusal in the receipt and does not stop the others. When ctx ends after some were
// published, the rest is Transient in the receipt.
func (t *target) Post(ctx context.Context, ms []*adapters.Message) (adapters.Receipt, error) {
	r := &receipt{t: t, errs: make([]error, len(ms)), left: len(ms), done: make(chan struct{})}
	if len(ms) == 0 {
		close(r.done)
	}
	for i, m := range ms {
		wire, to, err := t.wire(ctx, m)
		if adapters.KindOf(err) == adapters.Permanent {
			t.mu.Lock()
			r.answer(i, err)
			t.mu.Unlock()
			continue
		}
		var n int
		if err == nil {
			n, err = t.room(ctx)
		}
		if err == nil {
			err = t.publish(wire, slot{receipt: r, index: i, to: to}, n)
		}
		if err != nil && (i == 0 || adapters.KindOf(err) == adapters.Lost) {
			return nil, err
		}
		if err != nil {
			t.abandon(r, i, err)
			return r, nil
		}
	}
	return r, nil
}

// abandon gives all messages of r from i on the same fate: they were not published.
func (t *target) abandon(r *receipt, i int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; i < len(r.errs); i++ {
		r.answer(i, err)
	}
}

// wire makes the message for the client, or says why NATS cannot carry it.
func (t *target) wire(ctx context.Context, m *adapters.Message) (*natsgo.Msg, way, error) {
	to, err := t.wayOf(ctx, m)
	if err != nil {
		return nil, to, err
	}
	h, err := encode(m, t.ttl)
	if err == nil {
		size := len(m.Body.Data)
		for name, vs := range h {
			for _, v := range vs {
				size += len(name) + len(v) + len(": \r\n")
			}
		}
		if len(h) > 0 {
			size += len("NATS/1.0\r\n\r\n")
		}
		if int64(size) > to.most {
			err = fmt.Errorf("%w: %d bytes with headers, and at most %d go through here (max_payload of the server, max_msg_size of the stream, max_message_size of the route)",
				adapters.ErrTooLarge, size, to.most)
		}
	}
	if err != nil {
		return nil, to, &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Permanent, Err: err}
	}
	return &natsgo.Msg{Subject: to.subject, Header: h, Data: m.Body.Data}, to, nil
}

// room waits for a free slot. A server that answers nothing for as long as Limits.Confirm is given up.
func (t *target) room(ctx context.Context) (int, error) {
	if n, ok, err := t.tryRoom(); ok || err != nil {
		return n, err
	}
	timer := time.NewTimer(t.c.cfg.Limits.Confirm)
	defer timer.Stop()
	for {
		select {
		case <-t.freed:
		case <-t.spent:
			return 0, t.reason()
		case <-timer.C:
			return 0, t.silent()
		case <-ctx.Done():
			return 0, &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Transient, Err: context.Cause(ctx)}
		}
		if n, ok, err := t.tryRoom(); ok || err != nil {
			return n, err
		}
	}
}

// tryRoom takes a free slot, if there is one.
func (t *target) tryRoom() (n int, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch last := len(t.free) - 1; {
	case t.err != nil:
		return 0, false, t.err
	case last >= 0:
		n, t.free = t.free[last], t.free[:last]
	case len(t.slots) < t.c.cfg.Limits.InFlight:
		n, t.slots = len(t.slots), append(t.slots, slot{})
	default:
		return 0, false, nil
	}
	if len(t.free) > 0 {
		t.signal() // another may wait
	}
	return n, true, nil
}

func (t *target) signal() {
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

func (t *target) reason() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// silent gives the target up: what became of the messages on their way is unknown.
func (t *target) silent() error {
	t.spend(lost("send", t.c.at, fmt.Errorf("no answer within %v", t.c.cfg.Limits.Confirm)))
	t.c.tr.suspect()
	return t.reason()
}

// publish puts one message on the wire; own is what its slot, the n-th, has to know.
func (t *target) publish(m *natsgo.Msg, own slot, n int) error {
	t.mu.Lock()
	if t.err != nil {
		defer t.mu.Unlock()
		return t.err
	}
	own.use = t.slots[n].use + 1
	t.slots[n] = own
	m.Reply = replySubject(t.inbox, n, own.use)
	t.flying++
	t.mu.Unlock()
	err := t.c.nc.PublishMsg(m)
	if err == nil && own.to.core {
		return t.follow(m.Reply)
	}
	if err == nil {
		return nil
	}
	kind, words := classify(err)
	if !kind.Definite() {
		t.spend(lost("send", t.c.at, words))
		return t.reason()
	}
	t.mu.Lock() // the library refused it before the wire
	t.finish(n, &adapters.Error{Op: "send", Addr: t.c.at, Kind: kind, Err: words})
	t.mu.Unlock()
	return nil
}

func replySubject(inbox string, n int, use uint32) string {
	b := make([]byte, 0, 64)
	b = append(b, inbox...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(use), 10)
	return string(b)
}

// finish gives a slot's message its fate and frees the slot. t.mu is held.
func (t *target) finish(n int, fate error) {
	s := &t.slots[n]
	if s.receipt == nil { // the target was spent meanwhile, and has answered
		return
	}
	s.receipt.answer(s.index, fate)
	s.receipt, s.to = nil, way{}
	t.flying--
	t.free = append(t.free, n)
	t.signal()
}

// onDenied counts a permission violation. The server names the subject and not the message, and the messages before it
// may still be answered: only when every one on its way must be a refused one is the answer definite.
func (t *target) onDenied(err error) {
	if !strings.Contains(strings.ToLower(err.Error()), "publish to") {
		t.spend(fail("send", t.c.at, err))
		return
	}
	if t.silenced(err) || t.notThere(err) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
	t.settleDenied()
}

// settleDenied gives all messages on their way their refusal, when each has one. t.mu is held.
func (t *target) settleDenied() {
	if t.refused == 0 || t.refused < t.flying {
		return
	}
	t.refused = 0
	t.finishAll(&adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Denied,
		Err: fmt.Errorf("no permission to publish to %s", t.c.at.Name)})
}

func (t *target) finishAll(err error) {
	for n := range t.slots {
		if t.slots[n].receipt != nil {
			t.finish(n, err)
		}
	}
}

// spend ends the target with the first reason: every message on its way is unknown. It returns how many there are.
func (t *target) spend(err error) (unknown int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return 0
	}
	t.err = err
	unknown = t.flying
	t.answerAll(err)
	close(t.spent)
	return unknown
}

// answerAll answers everything in flight, with t.mu held.
func (t *target) answerAll(err error) {
	for n := range t.slots {
		if r := t.slots[n].receipt; r != nil {
			r.answer(t.slots[n].index, err)
			t.slots[n].receipt = nil
		}
	}
}

// Probe is nil when the stream answered within the last heartbeat, else it makes a round trip.
func (t *target) Probe(ctx context.Context) error {
	if err := t.reason(); err != nil {
		return lost("probe", t.c.at, err)
	}
	if time.Since(time.Unix(0, t.answered.Load())) <= t.c.cfg.Heartbeat {
		return nil
	}
	return t.c.ping(ctx)
}

// Close disconnects. What is on its way is unknown: whoever sends it again does so on another connection. A second Close is
// harmless.
func (t *target) Close() error {
	if t.spend(lost("send", t.c.at, errors.New("closed"))) > 0 {
		t.c.tr.suspect()
	}
	t.c.close()
	return nil
}

// A receipt collects the fates of one batch. Guarded by the target's mutex until done is closed.
type receipt struct {
	t    *target
	errs []error
	left int
	done chan struct{}
}

// answer gives message i its fate. The target's mutex is held.
func (r *receipt) answer(i int, fate error) {
	r.errs[i] = fate
	if r.left--; r.left == 0 {
		close(r.done)
	}
}

// Wait returns when every message of the batch has its fate; see adapters.Receipt. When ctx ends before, the messages
// without an answer are Transient: unknown.
func (r *receipt) Wait(ctx context.Context) (int, error) {
	timer := time.NewTimer(r.t.c.cfg.Limits.Confirm)
	defer timer.Stop()
	select {
	case <-r.done:
		return adapters.Result(r.errs)
	case <-timer.C:
		_ = r.t.silent()
		<-r.done // spend has answered all
		return adapters.Result(r.errs)
	case <-ctx.Done():
		return r.given(context.Cause(ctx))
	}
}

// given is what is known when nobody waits any longer.
func (r *receipt) given(cause error) (int, error) {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	errs := make([]error, len(r.errs))
	copy(errs, r.errs)
	unknown := &adapters.Error{Op: "send", Addr: r.t.c.at, Kind: adapters.Transient, Err: cause}
	for _, s := range r.t.slots {
		if s.receipt == r {
			errs[s.index] = unknown
		}
	}
	return adapters.Result(errs)
}
