package repeater

import (
	"context"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// The table of a bridge in the journal: a lane that only keeps, like that of local dead letters. A record is the message
// of bridge.Question; its id is the source's own name for the request. It is marked done when the reply is settled or its
// time is over. At the start the table is read back, and what it lacks is taken from the records of the requests that wait
// to be sent: when the repeater died between the two, one of them is enough (delivery.md, C21).

// repliesLane is the name of a bridge's table among the lanes of its request route.
const repliesLane = routes.RepliesName

// repliesOf is the table of a route's bridge; nil if it has none.
func (r *wiring) repliesOf(run *routeRun, ids *identity) *replies {
	b := run.route.Asks
	if b == nil {
		b = run.route.Answers
	}
	if b == nil || !b.Table() {
		return nil
	}
	t := r.tables[b.Name]
	if t == nil {
		t = newReplies(b, r.clock, r.bridging.of(b.Name), run.log)
		r.tables[b.Name] = t
	}
	if run.route.Asks != nil && r.table.Spool != nil {
		t.lane = r.newTable(run, t, ids)
	}
	return t
}

// newTable makes the lane that keeps the entries.
func (r *wiring) newTable(run *routeRun, t *replies, ids *identity) *lane {
	own := *run.route
	own.Spool, own.Order, own.Delivery, own.Expired = routes.RouteSpool{Mode: routes.SpoolAlways}, routes.OrderSource, routes.AtLeastOnce, routes.ExpiredDeliver
	of := *run
	of.route, of.lanes = &own, nil
	return &lane{
		name: run.route.Name + "/" + repliesLane, of: &of, reach: &reach{target: routes.Target{Name: repliesLane}}, local: true, replies: t,
		end: newEnd(run.log), ids: ids.lane(), clock: r.clock, log: run.log.With("target", repliesLane), count: r.metrics.lane(run.route.Name, repliesLane),
		wake: make(chan struct{}, 1), nudge: make(chan struct{}, 1), shown: stateStarting, since: time.Now(),
	}
}

// wrote notes which records its are, from first on.
func (t *replies) wrote(its []*item, first uint64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, it := range its {
		if written := t.sheets[it.id]; written != nil {
			delete(t.sheets, it.id)
			written(first + uint64(i))
		} else if e := t.asked[it.id]; e != nil && !e.erased {
			e.seq = first + uint64(i)
		} else { // it is over already
			t.lane.store.done(first + uint64(i))
		}
	}
}

// unwrite lets the record of e go. mu is held.
func (t *replies) unwrite(e *asked) {
	if e.erased {
		return
	}
	if e.erased = true; e.seq != 0 && t.lane != nil {
		t.lane.store.done(e.seq)
	}
}

// readReplies reads the tables back from the journal.
func (r *Repeater) readReplies(ctx context.Context) error {
	r.noteTimes(time.Time{}) // how long nothing ran
	for _, f := range r.flows() {
		for _, run := range f.routes {
			if t := run.replies; t != nil && run.route.Asks != nil && t.lane != nil {
				if err := t.read(ctx, run.lanes); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// read takes in the records of the table, and writes those that the requests in the lanes lack.
func (t *replies) read(ctx context.Context, lanes []*lane) error {
	b := t.lane.store
	t.crashed = b.doubtful > 0
	b.doubtful = 0 // nothing of it is ever sent
	err := b.eachRecord(func(rec spool.Item, m *adapters.Message) { t.restore(rec, m) })
	var lost []spool.Record
	for _, l := range lanes {
		if err != nil || l.store == nil {
			continue
		}
		err = l.store.eachRecord(func(rec spool.Item, m *adapters.Message) {
			if t.asked[m.Track.ID] == nil {
				lost = append(lost, t.reconstruct(rec, m))
			}
		})
	}
	if err != nil || len(lost) == 0 {
		return err
	}
	first, err := b.j.Append(ctx, lost...)
	if err != nil {
		return err
	}
	for i, rec := range lost {
		m, err := DecodeRecord(rec.Body)
		if err != nil {
			return err
		}
		t.restore(spool.Item{Seq: first + uint64(i), Record: rec}, m)
		b.records++
		b.first = first + uint64(i) + 1
	}
	t.log.Info(msgReplies, "entries", len(t.asked), "of requests in the spool", len(lost))
	return nil
}

// eachRecord calls each for every record that can be read.
func (b *store) eachRecord(each func(rec spool.Item, m *adapters.Message)) error {
	r := b.j.Reader(1)
	for {
		rec, ready, err := r.TryNext()
		switch {
		case err != nil && !b.unreadable(err):
			return err
		case err != nil:
			continue
		case ready != nil:
			return nil
		}
		if m, err := DecodeRecord(rec.Body); err != nil {
			b.l.log.Error(msgRead, "seq", rec.Seq, "err", err)
		} else {
			each(rec, m)
		}
	}
}

// restore makes an entry of a record: what is left of its time is left of it.
func (t *replies) restore(rec spool.Item, m *adapters.Message) {
	gone := t.clock.passed(time.UnixMilli(m.Received))
	if t.readSheet(rec, m, gone) {
		return
	}
	at := time.Now().Add(-gone)
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.asked[m.Track.ID]; old != nil { // written twice, when it was not known whether the first got there
		t.lane.store.done(rec.Seq)
		return
	}
	e := t.add(&asked{track: m.Track.ID, q: bridge.QuestionOf(m), at: at, deadline: at.Add(t.bridge.Timeout), seq: rec.Seq, again: t.crashed})
	sum, _ := m.Prop(digestName)
	t.earlier[sourceKey(string(rec.ID), &e.q, sum.Uint())] = e
}

// reconstruct makes the record of an entry of that of its request.
func (t *replies) reconstruct(rec spool.Item, m *adapters.Message) spool.Record {
	q := bridge.QuestionOf(m)
	if to, err := t.bridge.Destination(m.ReplyTo); err == nil {
		q.ReplyTo = to
	}
	e := q.Message()
	e.Track.ID, e.Track.Origin, e.Received = m.Track.ID, m.Track.Origin, m.Received
	e.Props = append(e.Props, adapters.Prop{Name: digestName, V: adapters.Uint(adapters.TU64, digest(m))})
	body, err := e.AppendBinary(nil)
	if err != nil {
		panic("repeater: what was read from the journal cannot be written: " + err.Error()) // ids and addresses only
	}
	return spool.Record{ID: rec.ID, Body: body}
}
