package repeater

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// What a flow leaves to the one that comes after it. Its goroutines have ended: nothing is in flight, nothing in a queue.
// What is left is in the journal, with what only memory knows of it: which records were sent without an answer, which are
// with their target and wait for their settle, which deliveries the source may give out again.

// handOver gives new flows what old ones leave. has is what the journal had when the reload began.
func (r *Repeater) handOver(ctx context.Context, has map[string]spool.LaneStats, old, new []*flow) {
	heirs, left := heirsOf(old, new), map[string]*store{}
	for _, o := range old {
		for _, l := range o.all() {
			l.store.landedAll(ctx)
			l.sweep()
			if l.store != nil && !l.store.taken {
				left[l.name] = l.store
			}
		}
		if n := sameSource(o, new); n != nil {
			n.inherit(o, heirs)
		} // else the records stay whose settle is not confirmed: who reads the source again may get them again (C24)
	}
	if s := r.journal.open(); s != nil {
		r.equipAll(ctx, s, has, left, new)
	}
	for l := range heirs {
		if l.store != nil {
			l.store.taken = true
		}
	}
	r.handReplies(ctx, old, new)
}

// equipAll gives the lanes of new flows their parts of the journal; left is what there is of the old ones, by name.
func (r *Repeater) equipAll(ctx context.Context, s *spool.Spool, has map[string]spool.LaneStats, left map[string]*store, new []*flow) {
	for _, f := range new {
		for _, l := range f.all() {
			old := left[l.name]
			if was := left[l.was()]; was != nil {
				old = was
			}
			r.equip(ctx, s, has, f, l, old)
		}
	}
}

// handReplies gives the tables of bridges what the old ones know. One that nobody had is read from the journal.
func (r *Repeater) handReplies(ctx context.Context, old, new []*flow) {
	known := map[string]*replies{}
	for _, f := range old {
		for _, run := range f.routes {
			if t := run.replies; t != nil {
				known[t.bridge.Name] = t
			}
		}
	}
	done := map[*replies]bool{}
	for _, f := range new {
		for _, run := range f.routes {
			t := run.replies
			switch {
			case t == nil || done[t]:
			case known[t.bridge.Name] != nil:
				done[t] = true
				t.adopt(known[t.bridge.Name])
			case run.route.Asks != nil && t.lane != nil && t.lane.store != nil && !t.lane.store.empty():
				done[t] = true
				if err := t.read(ctx, run.lanes); err != nil {
					t.log.Error(msgRead, "err", err)
				}
			}
		}
	}
}

// remembers reports whether the table has an entry.
func (t *replies) remembers() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.asked) > 0
}

// adopt takes over the entries of o.
func (t *replies) adopt(o *replies) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked, t.queue, t.past, t.open, t.trips, t.count = o.asked, o.queue, o.past, o.open, o.trips, o.count
	if t.lane == nil || t.lane.store == nil { // they stay in memory only
		for _, e := range t.asked {
			e.seq = 0
		}
	}
	signal(t.wake)
	signal(t.room)
}

// heirsOf says which new lane takes the place of an old one.
func heirsOf(old, new []*flow) map[*lane]*lane {
	byName := map[string]*lane{}
	for _, f := range new {
		for _, l := range f.all() {
			byName[l.name] = l
			if was := l.was(); was != "" {
				byName[was] = l
			}
		}
	}
	heirs := map[*lane]*lane{}
	for _, f := range old {
		for _, l := range f.all() {
			if n := byName[l.name]; n != nil {
				heirs[l] = n
				n.verdict, n.fenced = l.verdict, l.fenced
			}
		}
	}
	return heirs
}

// was is the name of the lane whose spool this one takes along; "" for none.
func (l *lane) was() string {
	if l.of.route.RenamedFrom == "" {
		return ""
	}
	return l.of.route.RenamedFrom + "/" + l.target.Name
}

// sameSource is the flow among fs that reads where o did; nil if none does.
func sameSource(o *flow, fs []*flow) *flow {
	for _, f := range fs {
		if f.table[0].Reader() == o.table[0].Reader() && f.unsettled.identity == o.unsettled.identity {
			return f
		}
	}
	return nil
}

// inherit takes over what o knows of deliveries whose settle is not confirmed.
func (f *flow) inherit(o *flow, heirs map[*lane]*lane) {
	u, own := o.unsettled, f.unsettled
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keep, u.toldFor, u.confirms, u.silent = own.keep, own.toldFor, own.confirms, own.silent
	seen := map[*parcel]bool{}
	for _, p := range u.all() {
		if !seen[p] {
			seen[p] = true
			p.moveTo(heirs)
		}
	}
	f.unsettled = u
}

// all are the parcels that are known, some of them twice. mu is held.
func (u *unsettled) all() (ps []*parcel) {
	for _, p := range u.byID {
		ps = append(ps, p)
	}
	for _, ls := range [][]late{u.lost, u.told} {
		for _, l := range ls {
			ps = append(ps, l.p)
		}
	}
	return ps
}

// moveTo makes the lanes of p those that have taken their places. What has none is let go: nobody will ask for it.
func (p *parcel) moveTo(heirs map[*lane]*lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []*item
	for _, it := range p.items {
		if n := heirs[it.lane]; n != nil {
			it.lane = n
			left = append(left, it)
		} else if it.rec != 0 {
			it.lane.store.release(it.rec)
		}
	}
	p.items = left
}

// leaves reports whether f, which has ended, has left something that one after it has to know.
func (f *flow) leaves() bool {
	if slices.ContainsFunc(f.routes, func(r *routeRun) bool { return r.replies.remembers() }) {
		return true
	}
	u := f.unsettled
	return len(u.byID)+len(u.lost)+len(u.early) > 0 || slices.ContainsFunc(f.all(), func(l *lane) bool { return l.store != nil && !l.store.empty() })
}

// sweep answers for what the end of the grace period has left in l: its source gives it out again.
func (l *lane) sweep() {
	l.mu.Lock()
	its := l.recall()
	if b := l.store; b != nil {
		its, b.incoming = append(its, b.incoming...), nil
	}
	l.mu.Unlock()
	answerAll(slices.DeleteFunc(its, (*item).gone), itemReturned)
}

// landedAll waits for appends that the end of the grace period has left under way: what they write is seen by whoever comes
// next, and counted.
func (b *store) landedAll(ctx context.Context) {
	if b == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		b.writes.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// empty reports whether nothing of the lane is in the journal.
func (b *store) empty() bool { return b.taken || b.unmarked == 0 && b.j.Stats().Live == 0 }

// equip gives l its part of the journal, as it was left by old; nil: nobody has.
func (r *Repeater) equip(ctx context.Context, s *spool.Spool, has map[string]spool.LaneStats, f *flow, l *lane, old *store) {
	if l.of.route.Spool.Mode == routes.SpoolNever && (old == nil || old.empty()) && has[l.name].Live+has[l.was()].Live == 0 {
		return
	}
	j, failed := r.placeOf(ctx, s, l)
	if j == nil {
		l.log.Error(msgRename, "lane", l.name, "err", failed)
		return
	}
	b := newStore(l, s, j, true)
	b.failed = failed
	if old == nil {
		b.isCopy(r.journal.copied[j.Number()])
	} else {
		b.adopt(old)
		f.unsettled.replace(old, b)
	}
	if old != nil && old.torn && l.target.Name != deadLane && l.replies == nil {
		if err := f.remember(b); err != nil {
			b.failed = err
		}
	}
	l.mu.Lock()
	l.store = b
	l.mu.Unlock()
	if err := l.findStrays(); err != nil {
		b.fail(err)
	}
}

// placeOf is l's place in the journal, which gets l's name if it had another. While the journal cannot write the name, it
// tries again; where it takes nothing any more the lane has failed, and sends nothing.
func (r *Repeater) placeOf(ctx context.Context, s *spool.Spool, l *lane) (*spool.Lane, error) {
	for was := l.was(); was != ""; {
		err := r.rename(ctx, s, l.of.route, was, l.name)
		switch {
		case err == nil:
			was = ""
		case ctx.Err() != nil, errors.Is(err, spool.ErrFailed), errors.Is(err, spool.ErrClosed):
			j, _ := s.Lane(was) // it is there
			return j, err
		default:
			l.log.Error(msgRename, "lane", l.name, "err", err)
			wait(ctx, spaceTick)
		}
	}
	return s.Lane(l.name) // it was reserved
}

// rename takes a lane of the journal along that has another name now.
func (r *Repeater) rename(ctx context.Context, s *spool.Spool, route *routes.Route, from, to string) error {
	take, err := takesAlong(route, laneStats(s), from, to, false)
	if err != nil || !take {
		return err
	}
	if err := s.Rename(ctx, from, to); err != nil {
		return err
	}
	r.opts.Log.Info(msgRenamed, "from", from, "to", to)
	return nil
}

// takesAlong reports whether the lane from has to become the lane to. used says that from may still get messages.
func takesAlong(route *routes.Route, has map[string]spool.LaneStats, from, to string, used bool) (bool, error) {
	old, is := has[from]
	_, taken := has[to]
	switch {
	case !is, taken && old.Live == 0 && !used:
		return false, nil
	case taken:
		return false, fmt.Errorf("route %s: renamed_from: %s has a spool already, and so has %s: take renamed_from away, and export or purge one of them, "+
			"or bring the old route back until it has drained", route.Name, to, from)
	}
	return true, nil
}

// adopt takes over what o knows of the records. What the target has refused is tried again in its place, as after a start.
func (b *store) adopt(o *store) {
	b.unmarked, b.top, b.marked = o.unmarked, o.top, max(o.marked, b.marked)
	b.records += int64(o.unmarked)
	b.stored = b.stored || o.unmarked > 0
	b.first, b.sent, b.doubtful, b.copied = o.first, o.sent, o.doubtful, o.copied
	b.unsure, b.firsts, b.appended = o.unsure, o.firsts, o.appended
	b.seen, b.settling, b.kept = o.seen, o.settling, o.kept
	b.at, b.tried = o.at, o.tried
	if b.failed == nil {
		b.failed = o.failed
	}
	if o.unmarked > 0 {
		b.marks.kick()
	}
	if !routes.SameSource(o.l.target.Addr, b.l.target.Addr) { // what nobody knows of the old place is no doubt about this one
		b.elsewhere, b.unsure, b.firsts = b.unsure, nil, nil
	}
	if o.l.target.Addr.Broker != b.l.target.Addr.Broker {
		b.at = adapters.Position{}
	}
}

// replace makes b the one that is told when its source will not give out again what old had from an earlier life.
func (u *unsettled) replace(old, b *store) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, e := range u.early {
		if e == old {
			u.early[i] = b
		}
	}
}
