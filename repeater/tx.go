package repeater

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// Exactly-once into a target of class T-tx (delivery.md, section 5). One transaction at a time holds as many records as
// the window has, and the position that says so. After an unknown outcome the next target's position tells which
// records arrived: what it has is marked done, what it does not have is sent. Nothing is guessed, so nothing is flagged.

// txSize bounds the bytes of one transaction. Its costs are several round trips, so it takes more than a batch.
const txSize = 16 << 20

var (
	errAhead = errors.New("the target's position for this lane is ahead of the spool: the spool was restored from an old copy, or lost records. " +
		"Start once with --accept-epoch: what is in the spool is then sent, perhaps a second time")
	errBack = errors.New("the target has lost its position for this lane (the state topic was emptied or made anew): whether the last messages " +
		"have arrived cannot be known. Look at the target, then start again")
	errBehind = errors.New("not sent: the message before it was refused, and the order is strict")
)

// sender names the lane at its target for good: another journal, or a copy of this one, has another epoch.
func (b *store) sender() string {
	return fmt.Sprintf("%08x.%08x", b.journal.Stats().Epoch, b.j.Number())
}

// attach opens the target in the way that the route's promise needs. One that promises exactly-once tries the addresses
// in the file's order after it has found another broker.
func (l *lane) attach(ctx context.Context, addresses []string) (adapters.Target, error) {
	cfg := l.cfg
	if !l.strayed {
		cfg.Addresses = addresses
	}
	t, err := l.openTarget(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := l.knows(t); err != nil {
		closeBounded(t)
		return nil, &adapters.Error{Op: "attach", Addr: l.target.Addr, Kind: adapters.Denied, Err: err}
	}
	return t, nil
}

func (l *lane) openTarget(ctx context.Context, cfg adapters.Config) (adapters.Target, error) {
	if !l.tx {
		return openBounded(ctx, func() (adapters.Target, error) { return l.adapter.OpenTarget(ctx, cfg, l.target.Addr) })
	}
	a, name := l.adapter.(adapters.TxAdapter), l.store.sender()
	return openBounded(ctx, func() (adapters.Target, error) { return a.OpenTx(ctx, cfg, l.target.Addr, name) })
}

// knows says why the broker of t cannot keep what the route promises: it is another one, or does not know what the lane
// has sent.
func (l *lane) knows(t adapters.Target) error {
	if !l.cfg.Once {
		return nil
	}
	err := l.gate.where.foreign(peerOf(t))
	if l.strayed = err != nil; err != nil || !l.tx {
		return err
	}
	return l.store.resume(t.(adapters.TxTarget).Position())
}

// resume takes over what the target knows. It must know what it has confirmed, and no record that was never sent.
func (b *store) resume(p adapters.Position) error {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	switch {
	case p.Last >= b.first && p.Last > b.tried:
		return errAhead
	case p.Last < b.at.Last:
		return errBack
	}
	b.at = p
	return nil
}

// arrived reports whether the target has rec, and answers for it.
func (b *store) arrived(rec spool.Item) bool {
	b.l.mu.Lock()
	has := b.l.tx && b.at.Has(rec.Seq)
	b.l.mu.Unlock()
	if !has {
		return false
	}
	it := b.open(rec)
	if it == nil {
		return true
	}
	b.l.mu.Lock()
	b.fed.set(it.seq, true)
	b.fedBytes += it.size
	b.l.mu.Unlock()
	b.l.confirmed(it, time.Now())
	b.l.work(true) // it has just told its position
	return true
}

// positionWith is the position when its are with the target: what lies before the last of them and is not there is a hole.
func (b *store) positionWith(its []*item) adapters.Position {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	p := adapters.Position{Last: b.at.Last}
	sent := make(map[uint64]bool, len(its))
	for _, it := range its {
		sent[it.seq] = true
		p.Last = max(p.Last, it.seq)
	}
	holes := map[uint64]bool{}
	hole := func(seq uint64) {
		if seq < p.Last && !sent[seq] && !b.at.Has(seq) {
			holes[seq] = true
		}
	}
	for _, seq := range b.at.Holes { // also those that this life has not come to yet
		hole(seq)
	}
	for seq := range b.fed {
		hole(seq)
	}
	for seq := range b.held {
		hole(seq)
	}
	for seq := range b.lines.parked {
		hole(seq)
	}
	hole(b.reading)
	delete(holes, 0)
	p.Holes = slices.Sorted(maps.Keys(holes))
	b.tried = max(b.tried, p.Last)
	return p
}

// closeHole notes that record seq is done, by a transaction or as a dead letter. lane.mu is held.
func (b *store) closeHole(seq uint64) {
	if i, is := slices.BinarySearch(b.at.Holes, seq); is {
		b.at.Holes = slices.Delete(slices.Clone(b.at.Holes), i, i+1)
	}
}

// reached notes that a transaction is committed.
func (b *store) reached(p adapters.Position) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.at = p
}

// sendTx sends ms, which are its, and returns the fate of each. Where the target refuses some of several and says which, the
// others are sent without them; where it does not say which, the halves are tried.
func (l *lane) sendTx(ctx context.Context, t adapters.TxTarget, its []*item, ms []*adapters.Message) []error {
	p := l.store.positionWith(its)
	err := t.SendTx(ctx, ms, p)
	kind := adapters.KindOf(err)
	switch {
	case err == nil:
		l.store.reached(p)
		return make([]error, len(ms))
	case kind != adapters.Permanent || len(ms) == 1:
		return slices.Repeat([]error{err}, len(ms))
	}
	var some *adapters.RefusedError
	if errors.As(err, &some) && len(some.Errs) == len(ms) {
		return l.sendOthers(ctx, t, its, ms, some.Errs)
	}
	half := len(ms) / 2
	fates := l.sendTx(ctx, t, its[:half], ms[:half])
	if last := fates[half-1]; last != nil && (adapters.KindOf(last) != adapters.Permanent || l.of.route.Order == routes.OrderStrict) {
		return append(fates, slices.Repeat([]error{l.behind(last)}, len(ms)-half)...)
	}
	return append(fates, l.sendTx(ctx, t, its[half:], ms[half:])...)
}

// sendOthers sends those of ms that have no error in fates, and returns the fates of all. In strict order nothing is sent
// that stands behind one that was refused.
func (l *lane) sendOthers(ctx context.Context, t adapters.TxTarget, its []*item, ms []*adapters.Message, fates []error) []error {
	fates = slices.Clone(fates)
	var at []int // of the others
	var others []*item
	var messages []*adapters.Message
	for i, err := range fates {
		if err == nil {
			at, others, messages = append(at, i), append(others, its[i]), append(messages, ms[i])
		} else if l.of.route.Order == routes.OrderStrict {
			for j := i + 1; j < len(fates); j++ {
				fates[j] = l.behind(err)
			}
			break
		}
	}
	if len(others) == 0 {
		return fates
	}
	for i, err := range l.sendTx(ctx, t, others, messages) {
		fates[at[i]] = err
	}
	return fates
}

// behind is the fate of what was not sent because of what became of the message before it.
func (l *lane) behind(err error) error {
	if adapters.KindOf(err) == adapters.Permanent {
		return &adapters.Error{Op: "send", Addr: l.target.Addr, Kind: adapters.Full, Err: errBehind}
	}
	return err
}

// fence ends the sending for good: another sender has the lane, and to open it again would only take it away from that one.
func (l *lane) fence(err error) {
	l.log.Error(msgFenced, "err", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fenced = err
	l.note(err)
}

func (l *lane) isFenced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced != nil
}
