package repeater

import (
	"math"
	"sync"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// Routes that give each message to one of several lanes (operating.md, section 2.7). The choice is made once, when the
// message is received and before its record is written; a retry never changes it. Only what has not been sent, and is in
// no journal, goes to another lane when its own goes down and the route says move (moving.go): nobody else can have it.

// A chooser is what a route remembers to choose in proportion. It is safe for concurrent use.
type chooser struct {
	mu   sync.Mutex
	lead map[*lane]int // by how much a lane is behind its share, in messages times the sum of weights
}

func newChooser() *chooser { return &chooser{lead: map[*lane]int{}} }

// give makes an item of p, as m, for each lane of r that gets it. What its source gave out before may have been sent by the repeater that died
// with it (delivery.md, section 1), unless it would be recognised, or was settled before.
func (r *routeRun) give(p *parcel, m *adapters.Message) {
	again := p.d.Attempt > 1 && !certain(r.route.Delivery)
	lanes, err := r.choose(p, m)
	if err != nil {
		lanes = r.unchosen(p, err)
	}
	for _, l := range lanes {
		m, err := l.placed(m)
		if err != nil {
			r.unplaced(p, err)
			continue
		}
		p.items = append(p.items, &item{p: p, m: m, size: p.size, at: p.at, lane: l, id: l.ids.next(), maybe: again, key: l.keyOf(m)})
	}
}

// choose returns the lanes that get p as m. Its error is that of the expression which the choice goes by.
func (r *routeRun) choose(p *parcel, m *adapters.Message) ([]*lane, error) {
	if !r.route.ByOne() {
		return r.lanes, nil
	}
	if l := p.f.unsettled.before(p).laneOf(r); l != nil {
		return []*lane{l}, nil
	}
	value, err := r.valueOf(m)
	if err != nil {
		return nil, err
	}
	if l := r.strays[value]; l != nil {
		return []*lane{l}, nil
	}
	return []*lane{r.pick(value, nil)}, nil
}

// laneOf is the lane of r that p was for, if what repeats p has to go there too: it may have arrived there, or the lane
// keeps its place.
func (p *parcel) laneOf(r *routeRun) *lane {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.itemOf(r.lanes[0])
	if o == nil || r.route.Moves() && o.lane.isAway() && !o.handed.Load() {
		return nil
	}
	return o.lane
}

// inherit takes over what is known of o, the same message of an earlier delivery that nobody has any more. o.p.mu is held.
func (it *item) inherit(o *item) {
	if o.dropped {
		it.maybe = o.maybe // what became of it is known: it was not sent
	}
	if o.handed.Load() {
		it.lane, it.key = o.lane, o.key
		it.handed.Store(true)
	}
}

// valueOf is what a choice by value goes by.
func (r *routeRun) valueOf(m *adapters.Message) (string, error) {
	switch {
	case !r.route.ByValue():
		return "", nil
	case r.route.Sharing.Distribute == routes.Affinity:
		return r.route.Sharing.Affinity.String(m, r.route.Name)
	}
	return r.lanes[0].keyOf(m), nil
}

// pick chooses among the lanes that may get a message of that value; never not, unless there is no other.
func (r *routeRun) pick(value string, not *lane) *lane {
	ls := r.eligible(not)
	if r.route.ByValue() {
		return highest(ls, value)
	}
	return r.chooser.next(ls)
}

// eligible are the lanes of the best group that may get messages: with when_down: move those that are up, where some are.
func (r *routeRun) eligible(not *lane) []*lane {
	up := func(l *lane) bool { return l != not && !l.isAway() }
	var ls []*lane
	if r.route.Moves() {
		ls = r.bestGroup(up)
	}
	if len(ls) == 0 {
		ls = r.bestGroup(func(*lane) bool { return true })
	}
	return ls
}

// bestGroup are the lanes with a weight for which ok holds and whose priority is the lowest of these.
func (r *routeRun) bestGroup(ok func(*lane) bool) (ls []*lane) {
	for _, l := range r.lanes {
		if l.target.Weight == 0 || !ok(l) {
			continue
		}
		if len(ls) > 0 && l.target.Priority < ls[0].target.Priority {
			ls = ls[:0]
		}
		if len(ls) == 0 || l.target.Priority == ls[0].target.Priority {
			ls = append(ls, l)
		}
	}
	return ls
}

// next is the smooth weighted choice: each lane gains its weight, the one that leads is taken and gives the sum back. So
// after every sum of messages each lane has got exactly its weight of them, spread evenly.
func (c *chooser) next(ls []*lane) (best *lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := 0
	for _, l := range ls {
		sum += l.target.Weight
		c.lead[l] += l.target.Weight
		if best == nil || c.lead[l] > c.lead[best] {
			best = l
		}
	}
	c.lead[best] -= sum
	return best
}

// highest is the weighted rendezvous choice: each lane draws a score from value and its own name, and the highest has it.
// So a lane that comes or goes moves no value but its own, and the choice is the same after every start.
func highest(ls []*lane, value string) (best *lane) {
	most := math.Inf(-1)
	for _, l := range ls {
		if s := routes.Rendezvous(l.target.Name, l.target.Weight, value); best == nil || s > most {
			best, most = l, s
		}
	}
	return best
}

// unchosen decides about a message for which no lane can be chosen: what the route says of a filter that fails. Where that
// is to take the message, it goes where those without a value go.
func (r *routeRun) unchosen(p *parcel, err error) []*lane {
	switch r.route.OnFilterError {
	case routes.FilterErrorSkip:
		r.count.filterFailed()
	case routes.FilterErrorMatch:
		if l := r.strays[""]; l != nil {
			return []*lane{l}
		}
		return []*lane{r.pick("", nil)}
	default:
		p.refuse(r, reasonFilter, err)
	}
	return nil
}

// sameRoute reports whether a message that l got was for o, too: where each goes to one of several lanes, a second
// delivery belongs to the lane that has the first, whichever it would get now.
func (l *lane) sameRoute(o *lane) bool { return l == o || l.of == o.of && l.of.route.ByOne() }

// recalled answers for it if its message is in the journal of a lane that it could have gone to, since an earlier life.
func (it *item) recalled() bool {
	for _, l := range it.lane.siblings() {
		if l.store == nil {
			continue
		}
		first := it.lane
		it.lane = l
		if l.recalls(it) {
			return true
		}
		it.lane = first
	}
	return false
}

// siblings are the lanes one of which gets what l gets.
func (l *lane) siblings() []*lane {
	if l.of.route.ByOne() {
		return l.of.lanes
	}
	return []*lane{l}
}
