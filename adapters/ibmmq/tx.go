package ibmmq

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/failpoint"
)

// A txTarget puts messages and the lane's position in one unit of work.
//
// The state queue is open to one connection at a time, for as long as a unit of work lasts. So a position is never read while
// somebody may still commit another one: a connection that has died with a unit of work open keeps the queue until the queue
// manager has backed that out. Who opens the lane later writes itself into the state, and who finds another there is fenced.
type txTarget struct {
	*target
	states states
	start  adapters.Position
}

var (
	_ adapters.TxTarget  = (*txTarget)(nil)
	_ adapters.Prober    = (*txTarget)(nil)
	_ adapters.Described = (*txTarget)(nil)
)

// busyPause is between two looks at a state queue that somebody else has open.
const busyPause = 50 * time.Millisecond

func openTx(ctx context.Context, k connector, c adapters.Config, a adapters.Address, lane string) (*txTarget, error) {
	queue := a.Options.String(keyState, "")
	if queue == "" {
		return nil, &adapters.Error{Op: "attach", Addr: a, Kind: adapters.Denied, Err: errors.New(needsState)}
	}
	t, err := openTarget(ctx, k, c, a)
	if err != nil {
		return nil, err
	}
	x := &txTarget{target: t, states: states{l: t.link, queue: queue, owner: lane}}
	if err := x.claim(ctx); err != nil {
		t.drop(err)
		return nil, attachError(a, err)
	}
	x.start = x.states.last.Position
	return x, nil
}

// claim takes the lane over, as soon as nobody is in the middle of a unit of work.
func (x *txTarget) claim(ctx context.Context) error {
	return x.whenFree(ctx, func() error {
		_, err := run(ctx, x.link, x.cfg.Limits.Confirm, func() (struct{}, error) { return struct{}{}, x.states.claim() })
		return err
	})
}

// whenFree calls f until it is not in anybody's way.
func (x *txTarget) whenFree(ctx context.Context, f func() error) error {
	wait := time.NewTimer(x.cfg.Limits.Confirm)
	defer wait.Stop()
	for {
		err := f()
		if codeOf(err) != mqrcObjectInUse {
			return err
		}
		pause := time.NewTimer(busyPause)
		select {
		case <-pause.C:
		case <-wait.C:
			return err
		case <-x.gone:
			return x.cause()
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// Position is what the state said when the target was opened.
func (x *txTarget) Position() adapters.Position { return x.start }

// Send is refused: what is sent here carries a position.
func (x *txTarget) Send(_ context.Context, ms []*adapters.Message) (int, error) {
	if err := x.cause(); err != nil {
		return 0, op("send", err)
	}
	if len(ms) == 0 {
		return 0, nil
	}
	return 0, &adapters.Error{Op: "send", Addr: x.at, Kind: adapters.Permanent, Err: errors.New("a target with transactions has SendTx only")}
}

// SendTx puts ms and p in one unit of work; see adapters.TxTarget.
func (x *txTarget) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	if err := x.cause(); err != nil {
		return op("send", err)
	}
	ws, err := x.encodeAll(ms)
	if err != nil {
		return err
	}
	if most := x.facts.maxUncommitted; most > 0 && len(ws)+2 > most {
		return &adapters.Error{Op: "send", Addr: x.at, Kind: adapters.Denied,
			Err: fmt.Errorf("%d messages do not go into one unit of work: lower in_flight of the route, or raise MAXUMSGS of the queue manager, which is %d", len(ws), most)}
	}
	err = x.whenFree(ctx, func() error {
		_, err := run(ctx, x.link, x.cfg.Limits.Confirm, func() (struct{}, error) { return struct{}{}, x.transact(ms, ws, p) })
		return err
	})
	if err == nil {
		return nil
	}
	return x.failed(err)
}

// encodeAll makes what is put of ms, or tells which of them cannot be put at all.
func (x *txTarget) encodeAll(ms []*adapters.Message) ([]Wire, error) {
	ws, errs := make([]Wire, len(ms)), make([]error, len(ms))
	for i, m := range ms {
		ws[i], errs[i] = x.wireOf(m)
	}
	return ws, adapters.Refusal(errs)
}

// failed is what SendTx returns for err. Where the unit of work is certainly backed out and the reason may pass, the target is
// as good as full; everything else that is not definite spends it.
func (x *txTarget) failed(err error) error {
	out := classify("send", x.at, err)
	switch {
	case out.Kind.Definite():
		return op("send", out)
	case out.Kind == adapters.Transient && x.cause() == nil:
		return &adapters.Error{Op: "send", Addr: x.at, Kind: adapters.Full, Err: out.Err}
	}
	x.lose(out)
	return op("send", lost("send", x.at, out))
}

// transact is SendTx on the connection. Unless its error has Kind Lost nothing is left of it.
func (x *txTarget) transact(ms []*adapters.Message, ws []Wire, p adapters.Position) error {
	q, st, err := x.states.replace(func(st *state) { st.Position, st.Count, st.SHA256 = p, len(ws), digest(ws) })
	for i := 0; err == nil && i < len(ws); i++ {
		err = x.put(ms[i], &ws[i])
	}
	if err == nil {
		failpoint.Hit("C22")
		failpoint.Soon("C22-end")
		err = x.conn.commit()
	}
	if err != nil {
		err = x.undo(err)
	}
	if q != nil {
		_ = q.close() // or the connection is gone, and the handle with it
	}
	if err == nil {
		x.states.last = st
	}
	return err
}

func digest(ws []Wire) string {
	h := sha256.New()
	for i := range ws {
		h.Write(ws[i].MD.MsgID[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
