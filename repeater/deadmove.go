package repeater

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// moveBatch is how many messages are handed over together.
const moveBatch = 32

// errUnsureMoved: the letter stays, and may be there twice.
var errUnsureMoved = errors.New("whether it has arrived is not known: it stays here, too")

// move sends letters to another place, with the headers of dead letters, and waits until it has them.
func (r *Repeater) move(ctx context.Context, to adapters.Address, run *routeRun, letters []*letter, out *DeadDone) {
	l, t, err := r.openPlace(ctx, run, to)
	if err != nil {
		for _, x := range letters {
			x.end(false)
			out.failed(x.Seq, err)
		}
		return
	}
	defer closeBounded(t)
	for len(letters) > 0 {
		n := min(moveBatch, len(letters))
		l.carry(ctx, t, letters[:n], out)
		letters = letters[n:]
	}
}

// openPlace opens a target for dead letters of run. Its error says why it cannot be.
func (r *Repeater) openPlace(ctx context.Context, run *routeRun, to adapters.Address) (*lane, adapters.Target, error) {
	w := r.now.Load().wiring
	if w.table.Brokers[to.Broker] == nil {
		return nil, nil, fmt.Errorf("%q: %w", to.Broker, ErrNoBroker)
	}
	own := *run.route
	own.Delivery, own.Expired, own.Sharing = routes.AtLeastOnce, routes.ExpiredDeliver, routes.Sharing{}
	of := *run
	of.route, of.lanes = &own, nil
	l := w.newLane(&of, routes.Target{Name: deadLane, Addr: to}, w.gates, w.metrics, w.ids)
	l.end = newEnd(l.log)
	l.cfg.Client += ".move"
	var t adapters.Target
	_, err := l.gate.attempt(ctx, func(ctx context.Context, addresses []string) (_ any, err error) {
		t, err = l.attach(ctx, addresses)
		return t, err
	})
	return l, t, err
}

// carry sends some letters, and lets go those that have arrived.
func (l *lane) carry(ctx context.Context, t adapters.Target, letters []*letter, out *DeadDone) {
	var ms []*adapters.Message
	var sent []*letter
	for _, x := range letters {
		m, err := l.enclose(x)
		if err != nil {
			x.end(false)
			out.failed(x.Seq, err)
			continue
		}
		ms, sent = append(ms, m), append(sent, x)
	}
	if len(ms) == 0 {
		return
	}
	n, err := t.Send(ctx, ms)
	for i, err := range adapters.Fates(len(ms), n, err) {
		if err != nil && !adapters.KindOf(err).Definite() {
			err = errors.Join(errUnsureMoved, err)
		}
		if sent[i].end(err == nil); err == nil {
			out.Done++
		} else {
			out.failed(sent[i].Seq, err)
		}
	}
}

// enclose makes the message of a letter for the target.
func (l *lane) enclose(x *letter) (*adapters.Message, error) {
	if x.m == nil {
		return nil, x.err
	}
	f := l.fit(&item{m: x.m, size: x.m.Size(), lane: l, id: x.m.Track.ID, maybe: x.Flags&RecordMaybe != 0, dead: x.dead})
	return f.m, f.err
}
