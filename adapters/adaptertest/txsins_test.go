package adaptertest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

// txSins are those of adapters with transactions.
func txSins() []sin {
	return []sin{
		{"pure", badTx(func(x adapters.TxTarget, _ opener) adapters.TxTarget { return x }), ""},
		{"braggart", func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return braggart{a} },
			"OnceInTransaction FencedSender PlacesInTransactions"},
		{"optimist", badTx(func(x adapters.TxTarget, _ opener) adapters.TxTarget { return optimist{x} }),
			"OnceInTransaction"},
		{"amnesiac", badTx(func(x adapters.TxTarget, _ opener) adapters.TxTarget { return amnesiac{x} }),
			"OnceInTransaction FencedSender"},
		{"stubborn", badTx(func(x adapters.TxTarget, again opener) adapters.TxTarget { return &stubborn{x, again} }),
			"OnceInTransaction"},
		{"zombie", badTx(func(x adapters.TxTarget, again opener) adapters.TxTarget { return &zombie{x, again} }),
			"FencedSender"},
		{"splitter", badTx(func(x adapters.TxTarget, _ opener) adapters.TxTarget { return splitter{x} }),
			"OnceInTransaction"},
	}
}

// A braggart claims transactions and has none.
type braggart struct{ adapters.Adapter }

// A txSinner replaces the targets with transactions.
type txSinner struct {
	*mem.Adapter
	change func(adapters.TxTarget, opener) adapters.TxTarget
}

// An opener opens the same target once more.
type opener func(context.Context) (adapters.TxTarget, error)

func badTx(f func(adapters.TxTarget, opener) adapters.TxTarget) func(testing.TB, adapters.Adapter) adapters.Adapter {
	return func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return txSinner{a.(*mem.Adapter), f} }
}

func (s txSinner) OpenTx(ctx context.Context, c adapters.Config, a adapters.Address, lane string) (adapters.TxTarget, error) {
	again := func(ctx context.Context) (adapters.TxTarget, error) { return s.Adapter.OpenTx(ctx, c, a, lane) }
	x, err := again(ctx)
	if err != nil {
		return nil, err
	}
	return s.change(x, again), nil
}

// optimist takes a lost answer for success.
type optimist struct{ adapters.TxTarget }

func (x optimist) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	if err := x.TxTarget.SendTx(ctx, ms, p); adapters.KindOf(err) != adapters.Lost {
		return err
	}
	return nil
}

// amnesiac does not read its position back.
type amnesiac struct{ adapters.TxTarget }

func (amnesiac) Position() adapters.Position { return adapters.Position{} }

// stubborn sends again after a lost answer, whatever the position says.
type stubborn struct {
	adapters.TxTarget
	again opener
}

func (x *stubborn) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	err := x.TxTarget.SendTx(ctx, ms, p)
	if adapters.KindOf(err) != adapters.Lost {
		return err
	}
	next, err := x.again(ctx)
	if err != nil {
		return err
	}
	_ = x.TxTarget.Close()
	x.TxTarget = next
	return next.SendTx(ctx, ms, p)
}

// zombie takes the lane back from whoever has fenced it.
type zombie struct {
	adapters.TxTarget
	again opener
}

func (x *zombie) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	err := x.TxTarget.SendTx(ctx, ms, p)
	if !errors.Is(err, adapters.ErrFenced) {
		return err
	}
	next, err := x.again(ctx)
	if err != nil {
		return err
	}
	_ = x.TxTarget.Close()
	x.TxTarget = next
	return next.SendTx(ctx, ms, p)
}

// splitter sends the messages first and the position in a transaction of its own.
type splitter struct{ adapters.TxTarget }

func (x splitter) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	if err := x.TxTarget.SendTx(ctx, ms, x.Position()); err != nil {
		return err
	}
	return x.TxTarget.SendTx(ctx, nil, p)
}
