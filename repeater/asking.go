package repeater

import (
	"context"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// What the two routes of a bridge do to a message between match and give (flow.go): a request is noted in the table, a
// reply is looked up there. The lane of the requests keeps them as they came, in memory and in the journal, and gives them
// their other ids at every send, from the id that the message has here: so the record of a request says what the table has
// to know of it.

// pass gives p, as m, to the lanes of r, as a bridge of r's wants it.
func (r *routeRun) pass(p *parcel, m *adapters.Message) {
	switch b := r.route.Asks; {
	case b != nil:
		r.request(p, m, b)
	case r.route.Answers != nil && r.route.Answers.Table():
		r.reply(p, m)
	default:
		r.give(p, m)
	}
}

// request gives the lane a request, and the table its entry; or sets it aside, if its reply could not be sent.
func (r *routeRun) request(p *parcel, asked *adapters.Message, b *routes.Bridge) {
	to, err := b.Destination(asked.ReplyTo)
	if err != nil && b.Mode != routes.ReplyKeep {
		p.refuse(r, reasonTarget, err)
		return
	}
	q := bridge.QuestionOf(asked)
	if q.Size() > largestQuestion {
		p.refuse(r, reasonInvalid, errQuestion)
		return
	}
	m := *asked
	if now, suspect := p.f.clock.read(); !suspect {
		m.Expires = earlier(m.Expires, now.Add(b.Timeout).UnixMilli())
	}
	r.give(p, &m)
	if q.ReplyTo = to; b.Table() {
		r.enter(p, q)
	}
}

// earlier is the earlier of two times, of which the first may be 0: never.
func earlier(ms, limit int64) int64 {
	if ms == 0 || ms > limit {
		return limit
	}
	return ms
}

// enter notes the request that r has just given its lane.
func (r *routeRun) enter(p *parcel, q bridge.Question) {
	n := len(p.items)
	if n == 0 || p.items[n-1].lane.of.route.Name != r.route.Name || p.items[n-1].unfit != "" {
		return
	}
	it := p.items[n-1]
	d := digest(p.m)
	if !certain(r.route.Delivery) { // else it is recognised by its record
		if id := r.replies.comesAgain(p, &q, d); id != "" {
			it.id, it.maybe = id, true
			return
		}
	}
	r.replies.note(it.id, q, p.at)
	if l := r.replies.lane; l != nil {
		m := q.Message()
		m.Received = p.f.clock.now().UnixMilli()
		m.Props = append(m.Props, adapters.Prop{Name: digestName, V: adapters.Uint(adapters.TU64, d)})
		p.items = append(p.items, &item{p: p, m: m, size: m.Size(), at: p.at, lane: l, id: it.id})
	}
}

// reply gives the lane a reply as its requester expects it, or does with it what the bridge says.
func (r *routeRun) reply(p *parcel, m *adapters.Message) {
	f := r.replies.find(p, r.route.Delivery == routes.ExactlyOnce)
	switch {
	case f.err != nil:
		p.refuse(r, reasonLate, f.err)
		return
	case f.drop:
		if f.known {
			p.done = func() { r.replies.settled(f.e) }
		}
		return
	}
	p.arrived = func() { r.replies.arrived(f.e) }
	p.done = func() { r.replies.settled(f.e) }
	p.backed = func() { r.replies.returned(f.e, p) }
	r.give(p, bridge.Answer(m, &f.e.q, f.byCorr, habitOf(r.replies.bridge)))
}

// habitOf is how the bridge wants its replies correlated.
func habitOf(b *routes.Bridge) bridge.Habit {
	switch b.Correlate {
	case routes.CorrelateMessage:
		return bridge.HabitMessageID
	case routes.CorrelateCorrelation:
		return bridge.HabitCorrelation
	}
	return bridge.HabitOfResponder
}

// asked is the message of it as it goes out, m, which is it's own: a request of a bridge has ids of its own, a reply goes
// where its request wanted it. A dead letter stays as it came.
func (l *lane) asked(m *adapters.Message, it *item) *adapters.Message {
	b, back := l.of.route.Asks, l.of.route.Answers
	switch {
	case it.dead != nil:
		return m
	case back != nil && back.Table() && (m.To != back.Fixed || bridge.Placed(m)):
		m.Dest = m.To.Name
		return m
	case b == nil:
		return m
	case b.Table():
		if it.maybe {
			l.of.replies.askedAgain(it.id)
		}
		return bridge.Ask(m, it.id, b.ReplyFrom, l.cfg.Options.String("convention", "") == "spring")
	}
	m.Report = 0
	return m
}

// replyTo is the reply address that those who read from the lane's target use; none outside of bridges.
func (l *lane) replyTo(it *item) adapters.Addr {
	b := l.of.route.Asks
	switch {
	case b == nil || it.dead != nil:
		return adapters.Addr{}
	case b.Mode == routes.ReplyKeep:
		return it.m.ReplyTo
	}
	return b.ReplyFrom
}

// room blocks until another message may be received, and returns how many: as many as s has room for, and of requests no
// more than their table.
func (f *flow) room(ctx context.Context, s *session) (int, error) {
	n, err := s.room(ctx)
	for _, r := range f.routes {
		t := r.replies
		for t != nil && r.route.Asks != nil && err == nil && t.free() == 0 {
			select {
			case <-t.room:
			case <-s.gone:
				return 0, s.cause()
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		if t != nil && r.route.Asks != nil {
			n = min(n, max(1, t.free()))
		}
	}
	return n, err
}

// answeredReplies notes the replies among ps, which are settled.
func answeredReplies(o adapters.Outcome, ps []*parcel) {
	for _, p := range ps {
		if p.done != nil && o == adapters.Accepted {
			p.done()
		}
	}
}

// keeps reports whether it is an entry of a bridge's table. It is written even if its source gives the request out again,
// for that may have been sent.
func (it *item) entry() bool { return it.lane != nil && it.lane.replies != nil }

// entriesOf does with the entry of p what its lanes did with the request: its are what they still have to get. The entry of
// a request that only repeats another is the other's.
func (p *parcel) entriesOf(its []*item, before *parcel) []*item {
	for _, it := range p.items {
		if !it.entry() || p.sends(it, its) {
			continue
		}
		it.lane.replies.forget(it.id)
		its = without(its, it)
		if before == nil || !before.passOn(it) {
			it.answer(itemConfirmed)
		}
	}
	return its
}

// sends reports whether the request of an entry is among its.
func (p *parcel) sends(entry *item, its []*item) bool {
	for _, it := range its {
		if it != entry && it.id == entry.id {
			return true
		}
	}
	return false
}

func without(its []*item, gone *item) (out []*item) {
	for _, it := range its {
		if it != gone {
			out = append(out, it)
		}
	}
	return out
}

// unasked ends the entry of a request that is not sent: it was set aside, its time was over, or it is dropped.
func (it *item) unasked() {
	if l := it.lane; l != nil && l.of.replies != nil && l.of.route.Asks != nil && !it.entry() && it.dead == nil && !it.maybe {
		l.of.replies.forget(it.id)
	}
}

// withdraw ends the entry of a request that goes back to its source: it comes again as another.
func (p *parcel) withdraw() {
	for _, it := range p.items {
		if it.entry() {
			it.lane.replies.forget(it.id)
		}
	}
}

// tripsKept is of how many round trips the percentiles are.
const tripsKept = 1024

// trips are the last round trips of a bridge.
type trips struct {
	last []time.Duration
	n    int
}

func (t *trips) add(d time.Duration) {
	if len(t.last) < tripsKept {
		t.last = append(t.last, d)
	} else {
		t.last[t.n%tripsKept] = d
	}
	t.n++
}
