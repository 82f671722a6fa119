package ibmmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// A target puts messages in units of work, one commit for each.
type target struct {
	*link
	places   map[objectName]object // that messages have named; the handles that a connection may have are few
	queue    object
	options  Options
	context  contextOption
	reports  bool
	groups   bool
	openWith int32
}

// mostPlaces bounds the open handles: a queue manager allows a connection 256 (MAXHANDS).
const mostPlaces = 64

var (
	_ adapters.Target    = (*target)(nil)
	_ adapters.Prober    = (*target)(nil)
	_ adapters.Described = (*target)(nil)
)

func openTarget(ctx context.Context, k connector, c adapters.Config, a adapters.Address) (*target, error) {
	l, err := dial(ctx, k, c, a)
	if err != nil {
		return nil, err
	}
	t, err := run(ctx, l, c.Limits.Confirm, func() (*target, error) { return attachTarget(l) })
	if err != nil {
		l.drop(err)
		return nil, attachError(a, err)
	}
	return t, nil
}

func attachTarget(l *link) (*target, error) {
	o := l.at.Options
	t := &target{link: l, places: make(map[objectName]object), openWith: mqooOutput,
		reports: o.String(keyReports, reportsStrip) == reportsPass, groups: o.String(keyGroups, groupsDrop) == groupsKeep}
	switch o.String(keyContext, contextDefault) {
	case contextAll:
		t.context, t.options.SetContext, t.openWith = allContext, true, t.openWith|mqooSetAllContext
	case contextIdentity:
		t.context, t.openWith = identityContext, t.openWith|mqooSetIdentity
	}
	var err error
	t.queue, err = l.conn.open(t.own(), t.openWith)
	return t, err
}

// own is where messages go that name no place.
func (t *target) own() objectName {
	if t.at.Form == adapters.Topic {
		return objectName{topic: t.at.Name}
	}
	return objectName{queue: t.at.Name}
}

// Send puts ms in as few units of work as the queue manager allows. A message that is refused does not spoil what lies before
// it, and nothing behind it is put.
func (t *target) Send(ctx context.Context, ms []*adapters.Message) (n int, err error) {
	if err := t.cause(); err != nil {
		return 0, op("send", err)
	}
	for n < len(ms) && err == nil {
		part := ms[n:min(len(ms), n+t.facts.unit())]
		taken := 0
		taken, err = t.sendUnit(ctx, part)
		n += taken
	}
	return n, err
}

// A sent is the result of one unit of work: how many of its messages are there, and why not the next one.
type sent struct {
	n       int
	refused error
}

func (t *target) sendUnit(ctx context.Context, ms []*adapters.Message) (int, error) {
	ws, refused := t.encode(ms)
	if len(ws) == 0 {
		return 0, refused
	}
	done, err := run(ctx, t.link, t.cfg.Limits.Confirm, func() (sent, error) { return t.putUnit(ms, ws) })
	if err != nil {
		failed := classify("send", t.at, err)
		if failed.Kind == adapters.Other {
			t.lose(failed)
		}
		return 0, op("send", failed)
	}
	return done.n, cmp.Or(done.refused, refused)
}

// encode makes what is put of ms, up to the first that cannot be put at all.
func (t *target) encode(ms []*adapters.Message) ([]Wire, error) {
	ws := make([]Wire, 0, len(ms))
	for _, m := range ms {
		w, err := t.wireOf(m)
		if err != nil {
			return ws, err
		}
		ws = append(ws, w)
	}
	return ws, nil
}

func (t *target) wireOf(m *adapters.Message) (Wire, error) {
	w, err := Encode(m, t.options)
	if err == nil {
		w = t.deadLetter(w, m)
	}
	if err != nil {
		return Wire{}, &adapters.Error{Op: "send", Addr: t.at, Kind: adapters.Permanent, Err: err}
	}
	if t.reports {
		w.MD.Report = int32(m.Report)
	}
	if t.groups {
		keepGroup(&w.MD, m.Group)
	}
	if size := sizeOf(&w); size > t.largest() {
		return Wire{}, &adapters.Error{Op: "send", Addr: t.at, Kind: adapters.Permanent,
			Err: fmt.Errorf("%w: %d bytes with its properties, and the queue manager and this end take %d", adapters.ErrTooLarge, size, t.largest())}
	}
	return w, nil
}

// keepGroup writes the group fields; MQ counts from 1.
func keepGroup(d *Descriptor, g adapters.Group) {
	if g.ID.IsZero() || !g.HasSeq || g.Seq == 0 {
		return
	}
	copy(d.GroupID[:], g.ID.B)
	d.MsgSeqNumber, d.MsgFlags = int32(g.Seq), inGroup
	if g.Last {
		d.MsgFlags |= lastInGroup
	}
}

// sizeOf is what counts against MAXMSGL: the body, and the properties as they would stand in an MQRFH2.
func sizeOf(w *Wire) int64 {
	n := int64(len(w.Body))
	for i := range w.Props {
		n += int64(len(w.Props[i].Name)) + int64(len(w.Props[i].V.Str()))
	}
	return n
}

// putUnit puts ws and commits. A definite refusal of one ends the unit of work before it; anything else that goes wrong backs
// out everything.
func (t *target) putUnit(ms []*adapters.Message, ws []Wire) (s sent, _ error) {
	for i := range ws {
		err := t.put(ms[i], &ws[i])
		if err == nil {
			s.n++
			continue
		}
		if !kindOf(err).Definite() {
			return sent{}, t.undo(err)
		}
		s.refused = classify("send", t.at, err)
		break
	}
	if s.n == 0 {
		return s, nil
	}
	if err := t.conn.commit(); err != nil {
		return sent{}, t.undo(err)
	}
	return s, nil
}

// undo backs out after err, so that the next unit of work begins empty. Where that fails the connection is of no use.
func (t *target) undo(err error) error {
	if kindOf(err) == adapters.Lost {
		return err
	}
	if failed := t.conn.back(); failed != nil {
		return lost("send", t.at, errors.Join(err, failed))
	}
	return err
}

// put puts one message to its place.
func (t *target) put(m *adapters.Message, w *Wire) error {
	q := t.queue
	if m.Dest != "" {
		var err error
		if q, err = t.place(m); err != nil {
			return err
		}
	}
	err := q.put(*w, putOptions{context: t.context})
	if m.Dest != "" && gone(err) {
		return t.goneTo(m, err)
	}
	return err
}

// gone reports whether err says that nobody can send to a place, rather than that this message cannot go there.
func gone(err error) bool {
	k := kindOf(err)
	return err != nil && (k == adapters.NotFound || k == adapters.Denied)
}

func (t *target) goneTo(m *adapters.Message, err error) error {
	return &adapters.Error{Op: "send", Addr: t.at, Kind: adapters.Permanent, Err: fmt.Errorf("%w: %s: %w", adapters.ErrGone, m.Dest, err)}
}

// place opens the queue that m names. The queue manager is that of its own address, where that is the same.
func (t *target) place(m *adapters.Message) (object, error) {
	name := objectName{queue: m.Dest}
	if m.To.Name == m.Dest {
		name.manager = m.To.Scope
	}
	if len(name.queue) > queueLength || len(name.manager) > queueLength {
		return nil, t.goneTo(m, errors.New("the name is longer than IBM MQ's names are"))
	}
	if q := t.places[name]; q != nil {
		return q, nil
	}
	if len(t.places) >= mostPlaces {
		t.forget()
	}
	q, err := t.conn.open(name, t.openWith)
	if gone(err) {
		return nil, t.goneTo(m, err)
	}
	if err == nil {
		t.places[name] = q
	}
	return q, err
}

// forget closes the places that messages have named.
func (t *target) forget() {
	for name, q := range t.places {
		_ = q.close() // a handle that is not closed ends with the connection
		delete(t.places, name)
	}
}
