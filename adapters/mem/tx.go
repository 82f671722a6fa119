package mem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

// A lane is what the broker knows of one sender with transactions. Broker.mu guards it.
type lane struct {
	at     adapters.Position
	stored bool  // there has been a transaction
	holder int64 // number of the sender that opened it last
}

// Position is what the last transaction of a lane has left; false where there was none.
func (b *Broker) Position(name string) (adapters.Position, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lane(name)
	return copied(l.at), l.stored
}

func (b *Broker) lane(name string) *lane {
	l := b.lanes[name]
	if l == nil {
		l = &lane{}
		b.lanes[name] = l
	}
	return l
}

func copied(p adapters.Position) adapters.Position {
	return adapters.Position{Last: p.Last, Holes: slices.Clone(p.Holes)}
}

// A TxTarget sends transactions to one queue.
type TxTarget struct {
	*end
	t      *Target
	lane   string
	number int64 // the lane is ours while its holder has this one
	start  adapters.Position
}

var (
	_ adapters.TxTarget  = (*TxTarget)(nil)
	_ adapters.Prober    = (*TxTarget)(nil)
	_ adapters.Described = (*TxTarget)(nil)
)

// OpenTx attaches a target with transactions to the queue at, and takes the lane from whoever had it.
func (a *Adapter) OpenTx(ctx context.Context, c adapters.Config, at adapters.Address, lane string) (adapters.TxTarget, error) {
	if err := adapters.CheckLane(lane); err != nil {
		return nil, err
	}
	e, err := a.open(ctx, c, at)
	if err != nil {
		return nil, err
	}
	x := &TxTarget{end: e, t: &Target{end: e}, lane: lane}
	if err := x.begin(ctx); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

// begin fences the sender before and reads the position.
func (x *TxTarget) begin(ctx context.Context) error {
	if !x.b.opts.Tx {
		return &adapters.Error{Op: "attach", Addr: x.at, Kind: adapters.Permanent, Err: errors.New("this broker has no transactions (Options.Tx)")}
	}
	if !x.attach(x.t) {
		return x.end.lost("attach")
	}
	if err := x.travel(ctx, "attach", false); err != nil {
		return x.unknown("attach", err)
	}
	x.take()
	if err := x.travel(ctx, "attach", true); err != nil {
		return x.unknown("attach", err)
	}
	return nil
}

func (x *TxTarget) take() {
	x.b.mu.Lock()
	defer x.b.mu.Unlock()
	l := x.b.lane(x.lane)
	l.holder++
	x.number, x.start = l.holder, copied(l.at)
}

// unknown gives err the kind Lost and spends the target.
func (x *TxTarget) unknown(op string, err error) error {
	x.b.mu.Lock()
	defer x.b.mu.Unlock()
	x.lose(err, false)
	if adapters.KindOf(err) == adapters.Lost {
		return err
	}
	return &adapters.Error{Op: op, Addr: x.at, Kind: adapters.Lost, Err: err}
}

// Position is what OpenTx has found.
func (x *TxTarget) Position() adapters.Position { return copied(x.start) }

// Send is refused: what is sent here carries a position.
func (x *TxTarget) Send(context.Context, []*adapters.Message) (int, error) {
	return 0, &adapters.Error{Op: "send", Addr: x.at, Kind: adapters.Permanent, Err: errors.New("a target with transactions has SendTx only")}
}

// SendTx sends copies of ms and p; see adapters.TxTarget.
func (x *TxTarget) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	tx := &transaction{x: x, to: copied(p)}
	bt := &batch{t: x.t, tx: tx, errs: make([]error, len(ms)), done: make(chan struct{})}
	refused := make([]error, len(ms))
	for i, m := range ms {
		refused[i] = x.t.fits(m)
		bt.msgs = append(bt.msgs, clone(m))
	}
	if err := adapters.Refusal(refused); err != nil {
		return err
	}
	if err := x.t.queue(ctx, bt); err != nil {
		return x.unknown("send", err)
	}
	if _, err := bt.Wait(ctx); err != nil {
		return x.unknown("send", err)
	}
	return tx.err
}

// A transaction is one SendTx at the broker.
type transaction struct {
	x   *TxTarget
	to  adapters.Position
	err error // the broker's answer; set when it has arrived there
}

// land is the broker taking all of bt and the position, or nothing. Broker.mu is held.
func (tx *transaction) land(bt *batch) {
	tx.err = tx.judge(bt)
	for _, m := range bt.msgs {
		if p := bt.t.placeOf(m); p.rules.Judged != nil {
			p.rules.Judged(m, tx.err)
		}
	}
	if tx.err != nil {
		return
	}
	for _, m := range bt.msgs {
		bt.t.placeOf(m).push(m, nil)
	}
	l := bt.t.b.lane(tx.x.lane)
	l.at, l.stored = tx.to, true
	for _, m := range bt.msgs {
		bt.t.placeOf(m).dispatch()
	}
}

func (tx *transaction) judge(bt *batch) error {
	if bt.t.b.lane(tx.x.lane).holder != tx.x.number {
		return &adapters.Error{Op: "send", Addr: bt.t.at, Kind: adapters.Denied, Err: fmt.Errorf("lane %s: %w", tx.x.lane, adapters.ErrFenced)}
	}
	for _, m := range bt.msgs {
		if err := cmp.Or(bt.t.nowhere(m), bt.t.placeOf(m).refusal(m, bt.t)); err != nil {
			return err
		}
		if err := bt.t.placeOf(m).overflow(len(bt.msgs), bt.t); err != nil {
			return err
		}
	}
	return nil
}
