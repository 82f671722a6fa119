package repeater

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// At-most-once (delivery.md, section 1): what was received is settled first, and given to the lanes when its source has
// recorded that; a settle of unknown outcome means that it is not sent. A record is marked done, on disk, before it is sent.
// What has no certain outcome is not sent again. Each message that is known to be lost so is counted.

var errNotRepeated = errors.New("its outcome is not known, or the repeater stopped before it was sent: at-most-once does not send it again")

// certain reports whether no second send needs a flag: it is recognised, or there is none.
func certain(d routes.Delivery) bool { return d == routes.ExactlyOnce || d == routes.AtMostOnce }

// settledFirst reports whether p is settled before it is sent. What is a dead letter already takes the other way: it is
// settled when that is durable.
func (f *flow) settledFirst(p *parcel) bool {
	for _, it := range p.items {
		if it.unfit != "" {
			return false
		}
	}
	return len(p.items) > 0 && f.routes[0].route.Delivery == routes.AtMostOnce
}

// laneStop is when the lanes stop: with ctx, but where messages are settled first not before the last of them has come.
func (f *flow) laneStop(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.routes[0].route.Delivery == routes.AtMostOnce {
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithCancel(ctx)
}

// keepBack moves what would be settled first to what is released, once the repeater stops: it cannot be sent any more.
func (s *session) keepBack(done map[adapters.Outcome][]*parcel) {
	if !s.stopping() {
		return
	}
	var accepted []*parcel
	for _, p := range done[adapters.Accepted] {
		if p.first {
			p.first = false
			done[adapters.Released] = append(done[adapters.Released], p)
		} else {
			accepted = append(accepted, p)
		}
	}
	done[adapters.Accepted] = accepted
}

// sendSettled gives the lanes what was settled first.
func (s *session) sendSettled(ps []*parcel) {
	out := make(map[*lane][]*item, 1)
	for _, p := range ps {
		if !p.first {
			continue
		}
		s.owed.add(1, p.size)
		for _, it := range p.items {
			it.settled = true
			out[it.lane] = append(out[it.lane], it)
		}
	}
	for l, its := range out {
		l.push(its)
	}
}

// lost notes that a message will never arrive, or that nobody will know whether it has.
func (l *lane) lost(it *item, why error) {
	l.count.lost.Inc()
	if more, ok := l.losses.line(time.Now()); ok {
		l.log.Warn(msgLost, "msg_id", it.id, "err", why, "repeats", more)
	}
}

// answeredSettled ends the life of an item whose source was told long ago.
func (it *item) answeredSettled(st itemState) {
	if st != itemConfirmed && !it.entry() {
		it.lane.lost(it, errNotRepeated)
	}
	if p := it.p; p != nil && p.open.Add(-1) == 0 {
		p.s.owed.add(-1, -p.size)
	}
}

// A debt is what was settled first and has no answers yet. It takes room from its source like what is not settled, so that
// a slow target stops the source, and it outlives the session.
type debt struct {
	messages, bytes atomic.Int64
	paid            chan struct{} // some of it
}

func newDebt() *debt { return &debt{paid: make(chan struct{}, 1)} }

func (d *debt) add(messages, bytes int64) {
	d.messages.Add(messages)
	d.bytes.Add(bytes)
	signal(d.paid)
}

// unrepeated answers for it, which may have arrived, and reports whether the route's promise forbids to send it again.
func (l *lane) unrepeated(it *item, kind adapters.Kind) bool {
	if kind.Definite() || !it.settled {
		return false
	}
	it.answer(itemReturned)
	return true
}

// markFirst marks the records among its done before they are sent; then they are no records any more. Its error means that
// this may not be on disk, so that they must not be sent now.
func (s *sending) markFirst(ctx context.Context, its []*item) error {
	b := s.l.store
	if b == nil || s.l.of.route.Delivery != routes.AtMostOnce {
		return nil
	}
	s.l.mu.Lock()
	var seqs []uint64
	late := false
	for _, it := range its {
		if it.record() {
			seqs = append(seqs, it.seq)
		}
		late = late || it.unmarked
	}
	s.l.mu.Unlock()
	if len(seqs) == 0 && !late {
		return nil
	}
	for _, seq := range seqs {
		b.done(seq)
	}
	s.l.mu.Lock()
	for _, it := range its { // from here on nobody reads them again
		if it.record() {
			b.unfeed(it)
			it.seq, it.settled, it.unmarked = 0, true, true
		}
	}
	s.l.mu.Unlock()
	if err := b.journal.Sync(ctx); err != nil {
		return err
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	for _, it := range its {
		it.unmarked = false
	}
	return nil
}
