package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// Messages with a destination of their own (Message.Dest): each destination has a sender, an AMQP link on the target's
// session; never one sender for all that would go where the message says. The ones in use are kept, at most maxSenders:
// replies go to the temporary queues of many requesters, each for a while.

// maxSenders is how many AMQP links one target keeps for destinations. One on which something is under way is never closed.
const maxSenders = 256

// senders are the AMQP links of a target that sends to several destinations. All but flying is owned by Post.
type senders struct {
	by     map[string]*directed // nil: all messages go to the one address
	tick   uint64
	closes sync.WaitGroup // of those that are put away
}

// A directed is the sender of one destination.
type directed struct {
	s      *amqp.Sender
	dest   string
	used   uint64
	flying int // messages without an outcome; target.mu guards it
}

// senderFor is the sender that m goes through, nil for the target's own. It attaches one where there is none.
func (t *target) senderFor(ctx context.Context, m *adapters.Message) (*directed, error) {
	if m.Dest == "" && t.many.by == nil {
		return nil, nil
	}
	if t.many.by == nil {
		t.many.by = map[string]*directed{t.at.Name: {s: t.s, dest: t.at.Name}}
		t.w.many.Store(true)
	}
	dest := m.Dest
	if dest == "" {
		dest = t.at.Name
	}
	d := t.many.by[dest]
	if d == nil {
		var err error
		if d, err = t.attach(ctx, dest); err != nil {
			return nil, err
		}
	}
	t.many.tick++
	d.used = t.many.tick
	return d, nil
}

// attach makes the sender of one destination. A broker that has no such destination, or lets nobody send there, has said so
// about this one alone; some end the session with the same word, which ends the target too.
func (t *target) attach(ctx context.Context, dest string) (*directed, error) {
	t.spare()
	for t.p.endsSession && t.flies() { // a refusal would leave nobody knowing what became of them
		if err := t.collect(ctx); err != nil {
			return nil, err
		}
	}
	at := t.at
	at.Name = dest
	actx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := t.session.NewSender(actx, t.p.address(at, false), t.senderOptions())
	if err == nil {
		d := &directed{s: s, dest: dest}
		t.many.by[dest] = d
		return d, nil
	}
	own := link{w: t.w, p: t.p, at: at}
	err = own.attachError(actx, err)
	if k := adapters.KindOf(err); dest != t.at.Name && (k == adapters.NotFound || k == adapters.Denied || k == adapters.Permanent) {
		return nil, t.fail(adapters.Permanent, fmt.Errorf("%w: %w", adapters.ErrGone, err))
	}
	return nil, t.lost("attach", err)
}

func (t *target) flies() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.flight) > t.head
}

// spare puts the sender away that was not used for longest, if there are too many.
func (t *target) spare() {
	for len(t.many.by) >= maxSenders {
		old := t.idlest()
		if old == nil || t.closed.Load() {
			return // all of them are in use, or soon gone
		}
		delete(t.many.by, old.dest)
		t.many.closes.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			_ = old.s.Close(ctx) // nothing is under way on it
		})
	}
}

func (t *target) idlest() (old *directed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.many.by {
		if d.flying == 0 && (old == nil || d.used < old.used) {
			old = d
		}
	}
	return old
}

// detached reports whether err says that this one destination has gone away, while the session lives; then its sender is
// forgotten.
func (t *target) detached(d *directed, err error) bool {
	var link *amqp.LinkError
	if d == nil || t.w.why() != nil || t.w.midway.Load() || !errors.As(err, &link) {
		return false
	}
	if t.many.by[d.dest] == d {
		delete(t.many.by, d.dest)
	}
	return true
}

// unanswered is what is said of a message whose outcome will not come.
func (t *target) unanswered(f sent, err error) error {
	var link *amqp.LinkError
	if f.on != nil && t.w.why() == nil && errors.As(err, &link) {
		return t.fail(adapters.Transient, fmt.Errorf("destination %q went away before the broker answered: %w", f.on.dest, err))
	}
	return t.lost("send", err)
}
