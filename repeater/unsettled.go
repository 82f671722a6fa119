package repeater

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// Receive-side dedupe (delivery.md, section 6; C3, C5, C24). A source gives a delivery out again as long as it has not
// recorded its settle: after a lost connection, a rebalance, or the death of the repeater. Where it names its deliveries
// (Delivery.SourceID) the second one is recognised, and is answered with what became of the first.

// What a lost session or an earlier life has left may be forgotten when its source has had every chance to give it out
// again: so much time, and either so many later settles confirmed, in multiples of the prefetch, or a session of that length
// at whose end nothing was left to receive. Time alone is not enough.
//
// A source that does not confirm its settles gives out again what it had not taken note of when it was lost. It reads them in
// their order and sends no more than the prefetch ahead of them, so of a living session the last few prefetches are enough.
const (
	keepPrefetches = 8
	toldPrefetches = routes.SettledLate
	keepFor        = 10 * time.Minute
	keepLook       = time.Minute // how often an idle source is looked at
	keepMost       = 100_000     // entries of lost sessions
)

// unsettled are the deliveries of one source whose settle is not confirmed, by the source's own id.
type unsettled struct {
	identity adapters.Identity
	keep     uint64
	toldFor  uint64
	confirms bool // nil from Settle means that the source has recorded it
	silent   bool // it does not tell that it gives a message out again

	begun time.Time
	early []*store // with what earlier lives have left

	mu      sync.Mutex
	byID    map[string]*parcel
	lost    []late // of sessions that are over, oldest first
	told    []late // of the living session, settled and not confirmed, oldest first
	settled uint64 // deliveries, since the start
}

// late is a delivery that may come again after it was settled, or because it was not.
type late struct {
	p       *parcel
	settled uint64 // as many then
	at      time.Time
}

func newUnsettled(c adapters.Capabilities, source adapters.Address, prefetch int) *unsettled {
	return &unsettled{
		identity: c.Identity(source), keep: keepPrefetches * uint64(prefetch), toldFor: toldPrefetches * uint64(prefetch), confirms: c.SettleConfirmed, silent: c.Attempts == adapters.CountNone,
		begun: time.Now(), byID: map[string]*parcel{},
	}
}

// repeats reports whether d is the message that was known by its id. A position cannot come twice; an application's id
// could, so there a redelivery has to be indicated. Where the broker never does, the end of the session that had it, lost,
// is indication enough.
func (u *unsettled) repeats(d adapters.Delivery, lost bool) bool {
	return d.SourceID != "" && (u.identity == adapters.SourcePosition || u.identity == adapters.SourceID && (d.Attempt > 1 || u.silent && lost))
}

// enter notes p, and returns what is known in this run of the delivery that it repeats, nil if nothing is.
func (u *unsettled) enter(p *parcel) (before *parcel) {
	id := p.d.SourceID
	if id == "" || u.identity == adapters.SourceNone {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	before = u.byID[id]
	u.byID[id] = p
	return before
}

// before is the delivery that p surely repeats, as far as it is known in this run; nil if there is none.
func (u *unsettled) before(p *parcel) *parcel {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o := u.byID[p.d.SourceID]; o != nil && u.repeats(p.d, o.s.isDead()) {
		return o
	}
	return nil
}

// leave forgets ps, which are settled, if that is confirmed, and what has been kept for long enough.
func (u *unsettled) leave(ps []*parcel) {
	now := time.Now()
	u.mu.Lock()
	u.settled += uint64(len(ps))
	over := u.gone(ps, now)
	old, early := u.outlived(func(l late) bool { return u.settled-l.settled >= u.keep && now.Sub(l.at) >= keepFor })
	u.mu.Unlock()
	release(over)
	release(old)
	forget(early)
}

// gone returns those of ps, and of the ones before them, that their source will not give out again. mu is held.
func (u *unsettled) gone(ps []*parcel, now time.Time) []*parcel {
	if u.confirms || u.identity == adapters.SourceNone {
		u.drop(ps)
		return ps
	}
	for _, p := range ps {
		p.strip()
		u.told = append(u.told, late{p, u.settled, now})
	}
	return u.forgetTold(func(l late) bool { return u.settled-l.settled >= u.toldFor })
}

// confirmed notes that the session was closed in order: its source has taken note of every settle.
func (u *unsettled) confirmed() {
	u.mu.Lock()
	ps := u.forgetTold(func(late) bool { return true })
	u.mu.Unlock()
	release(ps)
}

// forgetTold takes the first that may be forgotten. mu is held.
func (u *unsettled) forgetTold(may func(late) bool) (ps []*parcel) {
	for len(u.told) > 0 && may(u.told[0]) {
		ps = append(ps, u.told[0].p)
		u.told[0] = late{}
		u.told = u.told[1:]
	}
	u.drop(ps)
	return ps
}

// drop forgets ps. mu is held.
func (u *unsettled) drop(ps []*parcel) {
	for _, p := range ps {
		if u.byID[p.d.SourceID] == p {
			delete(u.byID, p.d.SourceID)
		}
	}
}

// calm looks, while s lasts, whether its source has nothing more to give out again. It returns what ends that.
func (u *unsettled) calm(ctx context.Context, s *session) (stop func()) {
	begin := time.Now()
	return every(ctx, keepLook, func() bool {
		if time.Since(begin) < keepFor || !s.idle() {
			return true
		}
		quiet := time.Now().Add(-keepFor)
		u.mu.Lock()
		old, early := u.outlived(func(l late) bool { return l.at.Before(begin) })
		old = append(old, u.forgetTold(func(l late) bool { return l.at.Before(quiet) })...)
		u.mu.Unlock()
		release(old)
		forget(early)
		return true
	})
}

// outlived takes what may be forgotten: the entries of lost sessions, and all that earlier lives have left. mu is held.
func (u *unsettled) outlived(may func(late) bool) (old []*parcel, early []*store) {
	if may(late{at: u.begun}) {
		early, u.early = u.early, nil
	}
	for len(u.lost) > 0 {
		l := u.lost[0]
		over := may(l)
		known := u.byID[l.p.d.SourceID] == l.p
		if known && !over && len(u.lost) <= keepMost {
			break
		}
		if known {
			delete(u.byID, l.p.d.SourceID)
			old = append(old, l.p)
		}
		u.lost[0] = late{}
		u.lost = u.lost[1:]
	}
	return old, early
}

// ended notes that nothing of s can be settled any more. What has all its answers needs no message any more.
func (u *unsettled) ended(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.byID {
		if p.s == s {
			u.lost = append(u.lost, late{p, u.settled, time.Now()})
			p.strip()
		}
	}
	u.told = nil // they are among the lost
}

// release lets the records of ps go: their source will not give them out again.
func release(ps []*parcel) {
	for _, p := range ps {
		for _, it := range p.items {
			if it.rec != 0 {
				it.lane.store.release(it.rec)
			}
		}
	}
}

// fresh answers for what p only repeats, and returns what its lanes still have to get. before is what is known of the
// delivery in this run, or nil.
func (u *unsettled) fresh(p, before *parcel) (its []*item) {
	now, old := before != nil && u.repeats(p.d, before.s.isDead()), u.repeats(p.d, true)
	known := before != nil && !now // the id, and nothing says that it is the same message
	if !now && !old && !known {
		return p.items
	}
	for _, it := range p.items {
		if it.entry() { // goes as its request goes
			its = append(its, it)
			continue
		}
		if now && before.passOn(it) || old && it.recalled() {
			it.lane.count.of.repeated.Inc()
			continue
		}
		if known {
			it.lane.count.of.suspected.Inc()
		}
		its = append(its, it)
	}
	return p.entriesOf(its, before)
}

// passOn answers for it as its lane did, or will, for the same message in p. False: p's has not got there, and will not.
func (p *parcel) passOn(it *item) bool {
	p.mu.Lock()
	o := p.itemOf(it.lane)
	if o == nil || !p.promising(o) {
		if o != nil {
			it.inherit(o)
		}
		p.mu.Unlock()
		return false
	}
	it.lane = o.lane
	confirmed := o.state == itemConfirmed
	if p.begun.Load() == begunYes {
		it.begin() // what becomes of it at a stop is the same in all lanes
	}
	if confirmed {
		it.rec = o.rec
	} else {
		o.twin = it // and gets the record with the answer
	}
	p.mu.Unlock()
	if confirmed {
		it.begin()
		it.answer(itemConfirmed)
	}
	return true
}

func (p *parcel) itemOf(l *lane) *item {
	for _, it := range p.items {
		if it.lane.sameRoute(l) {
			return it
		}
	}
	return nil
}

// promising reports whether o has got to its place, or is on its way there. p.mu is held.
func (p *parcel) promising(o *item) bool {
	switch {
	case o.state == itemConfirmed:
		return true
	case o.dropped || p.final:
		return false
	}
	return o.state == itemOpen || !p.s.isDead() // in a living session refused ones are tried again
}

// recalls answers for it if its message is in the lane's journal since an earlier life.
func (l *lane) recalls(it *item) bool {
	if l.store == nil || !l.store.recall(it) {
		return false
	}
	it.begin()
	it.answer(itemConfirmed)
	return true
}

// strip lets the message of p go when all its lanes have answered.
func (p *parcel) strip() {
	if p.open.Load() > 0 {
		return
	}
	p.m, p.d.Message = nil, nil
	for _, it := range p.items {
		it.m = nil
	}
}

// A record that its source may give out again must not be forgotten, or the second delivery would be a new message: on an
// exactly-once route it is marked done only when its settle is confirmed, whatever the target has said (C24).

// expect notes the records that its are about to become. Appends of a lane come one at a time, so their sequences are known.
func (b *store) expect(its []*item) {
	if !b.exact {
		return
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	next := b.j.Stats().Next
	for i, it := range its {
		if it.p != nil && it.p.d.SourceID != "" {
			it.rec = next + uint64(i)
			b.settling.set(it.rec, false)
		}
	}
}

// unexpect notes that its did not become records. lane.mu is held.
func (b *store) unexpect(its []*item) {
	for _, it := range its {
		delete(b.settling, it.rec)
		it.rec = 0
	}
}

// keeps reports whether record seq, which the target has, waits for its settle before it is marked done.
func (b *store) keeps(seq uint64) bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if _, waits := b.settling[seq]; !waits {
		return false
	}
	b.settling.set(seq, true)
	b.kept++
	b.freeKey(seq)
	delete(b.unsure, seq)
	delete(b.refused, seq)
	return true
}

// awaiting is how many records of all lanes are with their targets and wait for their settle.
func (r *Repeater) awaiting() (n uint64) {
	for _, f := range r.flows() {
		for _, l := range f.lanes() {
			l.mu.Lock()
			if l.store != nil {
				n += uint64(l.store.kept)
			}
			l.mu.Unlock()
		}
	}
	return n
}

// release notes that the source will not give out the message of record seq again.
func (b *store) release(seq uint64) {
	if b == nil {
		return
	}
	b.l.mu.Lock()
	arrived := b.settling[seq]
	delete(b.settling, seq)
	if arrived {
		b.kept--
		b.fed.set(seq, true) // until it is marked nobody may read it
	}
	b.l.mu.Unlock()
	if !arrived {
		return
	}
	b.done(seq)
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	delete(b.fed, seq)
	signal(b.room)
}

// recall reports whether it is in the journal since an earlier life, and which record it is.
func (b *store) recall(it *item) bool {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	seq, ok := b.seen[it.p.d.SourceID]
	if ok && b.exact {
		it.rec = seq
	}
	return ok
}

// remember lets b recognise what the source gives out again that was written in an earlier life.
func (f *flow) remember(b *store) error {
	if f.unsettled.identity == adapters.SourceNone {
		return nil
	}
	f.unsettled.early = append(f.unsettled.early, b)
	return b.remember(f.limits.Prefetch, f.limits.PrefetchBytes)
}

// remember reads the ids of the records that an earlier life may have left unsettled at their source: the last ones, for
// a source is settled in the order in which its messages are written.
func (b *store) remember(prefetch int, bytes int64) error {
	st := b.j.Stats()
	if st.Live == 0 {
		return nil
	}
	most := uint64(keepPrefetches * prefetch)
	if size := st.Bytes / int64(st.Live); size > 0 {
		most = min(most, uint64(keepPrefetches*bytes/size)+1)
	}
	r := b.j.Reader(st.Next - min(most, st.Next-1))
	for {
		rec, ready, err := r.TryNext()
		if err != nil && !b.unreadable(err) {
			return err
		}
		if ready != nil {
			return nil
		}
		if err == nil && len(rec.ID) > 0 && DecodeDead(rec.ID) == nil {
			b.seen.set(string(rec.ID), rec.Seq)
			if b.exact {
				b.settling.set(rec.Seq, false)
			}
		}
	}
}

// forget drops what remember has read, when the source has had every chance to give it out again.
func forget(bs []*store) {
	for _, b := range bs {
		b.l.mu.Lock()
		seqs := slices.Collect(maps.Values(b.seen))
		clear(b.seen)
		b.l.mu.Unlock()
		for _, seq := range seqs {
			b.release(seq)
		}
	}
}
