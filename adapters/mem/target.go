package mem

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A Target sends to one queue.
type Target struct {
	*end

	// below: Broker.mu
	posted   []*batch // not answered, in order
	inFlight int      // messages of them
	again    uint64   // messages that the broker had already
}

var (
	_ adapters.Poster       = (*Target)(nil)
	_ adapters.Prober       = (*Target)(nil)
	_ adapters.Described    = (*Target)(nil)
	_ adapters.Deduplicator = (*Target)(nil)
)

// A batch is one Post on its way to the broker and its answer on the way back.
type batch struct {
	t              *Target
	msgs           []*adapters.Message
	errs           []error // for each message; those refused before sending are set from the start
	items          []*item // taken from it
	again          uint64  // of it, there already
	arrive, answer time.Time
	taken          bool
	tx             *transaction  // of SendTx: taken as a whole
	done           chan struct{} // closed when the answer has come
}

// Send is Post and Wait.
func (t *Target) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	r, err := t.Post(ctx, ms)
	if err != nil {
		return 0, err
	}
	return r.Wait(ctx)
}

// Duplicates counts the confirmed messages that the broker had already.
func (t *Target) Duplicates() uint64 {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	return t.again
}

// Post puts copies of ms on their way. It blocks while Limits.InFlight messages are without an answer.
func (t *Target) Post(ctx context.Context, ms []*adapters.Message) (adapters.Receipt, error) {
	bt := &batch{t: t, errs: make([]error, len(ms)), done: make(chan struct{})}
	for i, m := range ms {
		bt.errs[i] = t.fits(m)
		bt.msgs = append(bt.msgs, clone(m))
	}
	return bt, t.queue(ctx, bt)
}

// queue puts bt on its way as soon as there is room.
func (t *Target) queue(ctx context.Context, bt *batch) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		full, err := t.post(bt)
		if err != nil || full == nil {
			return err
		}
		select {
		case <-full:
		case <-t.gone:
		case <-ctx.Done():
		}
	}
}

// fits refuses what is too big before it is sent.
func (t *Target) fits(m *adapters.Message) error {
	limit := t.cfg.Limits.MaxSize
	if peer := t.b.opts.MaxSize; peer > 0 {
		limit = min(limit, peer)
	}
	if n := m.Size(); n > limit {
		return &adapters.Error{Op: "send", Addr: t.at, Kind: adapters.Permanent,
			Err: fmt.Errorf("%w: %d bytes, and %d are allowed", adapters.ErrTooLarge, n, limit)}
	}
	return nil
}

// post appends bt, or returns what to wait for while there is no room.
func (t *Target) post(bt *batch) (full chan struct{}, err error) {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	if t.why != nil {
		return nil, &adapters.Error{Op: "send", Addr: t.at, Kind: adapters.Lost, Err: t.why}
	}
	if len(t.posted) > 0 && t.inFlight+len(bt.msgs) > t.cfg.Limits.InFlight {
		return t.posted[0].done, nil
	}
	d := t.link.latency
	bt.arrive = time.Now().Add(d)
	bt.answer = bt.arrive.Add(d)
	t.posted = append(t.posted, bt)
	t.inFlight += len(bt.msgs)
	if d > 0 {
		time.AfterFunc(d, t.tick)
		time.AfterFunc(2*d, t.tick)
	}
	t.advance()
	return nil, nil
}

func (t *Target) tick() {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	t.advance()
}

// advance lets every batch go as far as time and the link allow, in order. Broker.mu is held.
func (t *Target) advance() {
	if t.why != nil || t.link.stalled {
		return
	}
	now := time.Now()
	for _, bt := range t.posted {
		if !bt.taken && bt.arrive.After(now) {
			break // nothing overtakes on one connection, also when the latency has fallen
		}
		if !bt.taken {
			bt.land()
		}
	}
	for len(t.posted) > 0 && t.posted[0].taken && !t.posted[0].answer.After(now) && !t.link.held {
		bt := t.posted[0]
		t.posted = t.posted[1:]
		t.inFlight -= len(bt.msgs)
		close(bt.done)
	}
}

// land is the broker taking the batch. Broker.mu is held.
func (bt *batch) land() {
	bt.taken = true
	if bt.tx != nil {
		bt.tx.land(bt)
		return
	}
	for i := range bt.msgs {
		if bt.errs[i] == nil {
			bt.errs[i] = bt.t.nowhere(bt.msgs[i])
		}
	}
	for i, m := range bt.msgs {
		if bt.errs[i] != nil {
			continue
		}
		p := bt.t.placeOf(m)
		var it *item
		if it, bt.errs[i] = p.accept(m, bt.t); it != nil {
			bt.items = append(bt.items, it)
		} else if bt.errs[i] == nil {
			bt.again++
		}
		p.dispatch()
	}
}

// placeOf is where m goes. Broker.mu is held.
func (t *Target) placeOf(m *adapters.Message) *place {
	if m.Dest != "" {
		return t.b.place(m.Dest)
	}
	return t.b.place(t.at.Name)
}

// nowhere refuses a message that names no place, where it has to.
func (t *Target) nowhere(m *adapters.Message) error {
	if t.at.Dynamic && !strings.HasPrefix(m.Dest, t.at.Name) || t.at.Dynamic && m.Dest == "" {
		return &adapters.Error{Op: "send", Addr: t.at, Kind: adapters.Permanent, Err: fmt.Errorf("%w: %q", adapters.ErrGone, m.Dest)}
	}
	return nil
}

// Wait returns the broker's answer. Without one after Limits.Confirm the connection is given up.
func (bt *batch) Wait(ctx context.Context) (int, error) {
	t := bt.t
	watchdog := time.NewTimer(t.cfg.Limits.Confirm)
	defer watchdog.Stop()
	select {
	case <-bt.done:
		return bt.sync()
	case <-t.gone:
	case <-watchdog.C:
		t.giveUp()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case <-bt.done: // the answer came before the end
		return bt.sync()
	default:
		return 0, t.lost("send")
	}
}

func (t *Target) giveUp() {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	t.lose(errors.New("no answer to a send"), false)
}

// sync makes what the batch brought survive a kill. What a kill has already dropped is not confirmed any more.
func (bt *batch) sync() (int, error) {
	bt.t.b.mu.Lock()
	defer bt.t.b.mu.Unlock()
	for _, it := range bt.items {
		if it.dropped {
			return 0, &adapters.Error{Op: "send", Addr: bt.t.at, Kind: adapters.Lost, Err: bt.t.why}
		}
		it.volatile = nil
	}
	bt.t.again += bt.again
	return adapters.Result(bt.errs)
}

// drop ends the batches under way. What the broker has taken stays, unless it was killed before it synced.
func (t *Target) drop(killed bool) {
	for _, p := range t.b.places { // messages with a Dest are elsewhere
		if killed {
			p.forget(t)
		} else {
			p.synced(t)
		}
	}
	t.posted = nil
}
