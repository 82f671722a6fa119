package console

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/repeater"
)

// What is remembered: so many looks, of so many routes.
const (
	mostLooks  = 150 // five minutes
	mostTraced = 500 // routes; of more only the sums are plotted
)

// A look is what the counters of a route, or of all, said at one moment.
type look struct {
	at                time.Time
	in, out           int64 // messages since the start
	retries, dead     int64
	backlog, bytes    int64 // in the spool
	limit             int64 // of bytes, 0 = none
	oldest            time.Duration
	inFlight, waiting int64
}

// past remembers looks. It is safe for concurrent use.
type past struct {
	mu     sync.Mutex
	all    []look
	routes map[string][]look
	states map[string]string // of routes and links, at the last look
	events []Event
}

func newPast() *past { return &past{routes: map[string][]look{}, states: map[string]string{}} }

// An Event is a change that was seen.
type Event struct {
	At         time.Time
	What, Text string
}

// mostEvents are remembered.
const mostEvents = 300

// became notes the state of something. p.mu is held.
func (p *past) became(now time.Time, what, state, why string) {
	before, known := p.states[what]
	if p.states[what] = state; !known || before == state {
		return
	}
	text := before + " -> " + state
	if why != "" {
		text += ": " + why
	}
	if len(p.events) == mostEvents {
		p.events = append(p.events[:0], p.events[1:]...)
	}
	p.events = append(p.events, Event{now, what, text})
}

// changes are what was noted, the last first.
func (p *past) changes() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.events)
	slices.Reverse(out)
	return out
}

// note remembers what st says.
func (p *past) note(now time.Time, st repeater.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := look{at: now}
	here := make(map[string]bool, len(st.Routes))
	for _, r := range st.Routes {
		l := lookAt(now, r)
		total.add(l)
		p.becameRoute(now, r)
		if here[r.Name] = true; len(st.Routes) <= mostTraced {
			p.routes[r.Name] = kept(p.routes[r.Name], l)
		}
	}
	p.became(now, "configuration", fmt.Sprintf("generation %d (%s)", st.Config.Generation, st.Config.Hash), "")
	if st.Spool != nil {
		p.became(now, "spool", st.Spool.State, st.Spool.Error)
		total.bytes, total.limit = st.Spool.Bytes, st.Spool.Limit
	}
	p.all = kept(p.all, total)
	for name := range p.routes {
		if !here[name] {
			delete(p.routes, name)
		}
	}
}

// becameRoute notes the states of a route and its ends. p.mu is held.
func (p *past) becameRoute(now time.Time, r repeater.RouteStatus) {
	p.became(now, "source of "+r.Name, r.Source.State, unless(r.Source.State == "up", r.Source.Error))
	for _, l := range r.Lanes {
		p.became(now, "link of "+l.Name, l.Link.State, unless(l.Link.State == "up", l.Link.Error))
		p.became(now, "lane "+l.Name, l.State, unless(l.State == good, l.Error))
	}
}

// unless is text, but nothing when it does not matter.
func unless(well bool, text string) string {
	if well {
		return ""
	}
	return text
}

func kept(looks []look, l look) []look {
	if len(looks) == mostLooks {
		copy(looks, looks[1:])
		looks = looks[:mostLooks-1]
	}
	return append(looks, l)
}

func lookAt(now time.Time, r repeater.RouteStatus) look {
	l := look{at: now, in: r.Received}
	for _, lane := range r.Lanes {
		l.out += lane.Forwarded
		l.retries += lane.Retries
		l.backlog += int64(lane.Spooled)
		l.bytes += lane.SpooledBytes
		l.limit += lane.Limit
		l.inFlight += int64(lane.InFlight)
		l.waiting += int64(lane.Waiting)
		if lane.Oldest != nil {
			l.oldest = max(l.oldest, now.Sub(*lane.Oldest))
		}
	}
	if r.Dead != nil {
		l.dead = int64(r.Dead.Spooled)
	}
	return l
}

// add makes l the sum of both; ages do not add up.
func (l *look) add(o look) {
	l.in += o.in
	l.out += o.out
	l.retries += o.retries
	l.dead += o.dead
	l.backlog += o.backlog
	l.inFlight += o.inFlight
	l.waiting += o.waiting
	l.oldest = max(l.oldest, o.oldest)
}

// of returns what is known of a route; of all for "".
func (p *past) of(route string) []look {
	p.mu.Lock()
	defer p.mu.Unlock()
	if route == "" {
		return append([]look(nil), p.all...)
	}
	return append([]look(nil), p.routes[route]...)
}

// rate is what f counts, per second, over the last looks. A count that falls is one of a new start.
func rate(looks []look, f func(look) int64) float64 {
	const over = 3
	n := len(looks)
	if n < 2 {
		return 0
	}
	first, last := looks[max(0, n-1-over)], looks[n-1]
	took := last.at.Sub(first.at).Seconds()
	if took <= 0 || f(last) < f(first) {
		return 0
	}
	return float64(f(last)-f(first)) / took
}

// untilFull is how long it takes until the spool is full if it goes on as in the last looks; 0 = it does not fill.
func untilFull(looks []look) time.Duration {
	if len(looks) < 10 {
		return 0
	}
	first, last := looks[0], looks[len(looks)-1]
	grown, took := last.bytes-first.bytes, last.at.Sub(first.at)
	if last.limit == 0 || grown <= 0 || took <= 0 {
		return 0
	}
	return time.Duration(float64(max(0, last.limit-last.bytes)) / float64(grown) * float64(took))
}

func countIn(l look) int64  { return l.in }
func countOut(l look) int64 { return l.out }
