package repeater

import (
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// Status is a snapshot of everything that runs. Its states are facts: nothing in it is inferred from configuration.
type Status struct {
	Repeater string         `json:"repeater"`
	Hash     string         `json:"config_hash"`
	Config   ConfigStatus   `json:"config"`
	Started  time.Time      `json:"started"`
	Clock    ClockStatus    `json:"clock"`
	Spool    *SpoolStatus   `json:"spool"` // null: the file has no spool section
	Routes   []RouteStatus  `json:"routes"`
	Bridges  []BridgeStatus `json:"bridges,omitempty"`
}

// RouteStatus is one route with its source and its lanes.
type RouteStatus struct {
	Name     string       `json:"name"`
	State    string       `json:"state"` // that of its worst end, or what it does of what an operator has told it: pausing, draining, paused
	Source   EndStatus    `json:"source"`
	Received int64        `json:"received_messages"`
	Filtered int64        `json:"filtered_messages"`
	Refused  int64        `json:"refused_messages"` // times one was set aside
	Told     *Standing    `json:"told,omitempty"`   // null: it runs
	Lanes    []LaneStatus `json:"lanes"`
	Dead     *LaneStatus  `json:"dead_letters,omitempty"` // the lane for dead letters; its spooled messages are those that are kept here
}

// LaneStatus is one route × one target.
type LaneStatus struct {
	Name      string    `json:"name"` // ROUTE/TARGET
	State     string    `json:"state"`
	Since     time.Time `json:"since"`
	Link      EndStatus `json:"link"`
	Waiting   int       `json:"waiting_messages"`   // received, not sent
	InFlight  int       `json:"in_flight_messages"` // sent, not confirmed
	Forwarded int64     `json:"forwarded_messages"`
	Retries   int64     `json:"retries"`

	Spooled      uint64     `json:"spooled_messages"` // in the journal, not confirmed or their done mark not on disk
	SpooledBytes int64      `json:"spooled_bytes"`
	Limit        int64      `json:"limit_bytes"` // of SpooledBytes; 0 = none
	Oldest       *time.Time `json:"oldest_message_at,omitempty"`
	Parked       int        `json:"parked_messages"` // of the spooled: they wait behind a refused one of their key
	Held         int        `json:"held_messages"`   // of the spooled: refused by the target, tried again after a pause
	SpooledTotal int64      `json:"spooled_total"`   // written to the journal since the start
	Error        string     `json:"last_error,omitempty"`
	Told         *Standing  `json:"told,omitempty"`  // null: nobody has paused it
	Share        *LaneShare `json:"share,omitempty"` // null: it gets every message of its route, at one target
}

// The states of a lane.
const (
	stateStarting    = "starting"
	statePassThrough = "pass-through" // the source is settled when the target has confirmed
	stateSpooling    = "spooling"     // the target is away: the source is settled when the record is on disk
	stateDraining    = "draining"     // the journal is sent in order, new messages go to its tail
	stateFull        = "full"         // no room in the journal: nothing is received
	stateHeld        = "held"         // too many refused messages are set aside
	stateBlocked     = "blocked"      // refused by the broker, or away while there is no spool
	statePaused      = "paused"       // by an operator, or an alarm: messages seem to go round; it waits for an operator
	statePausing     = "pausing"      // a route that was paused, while what is on its way is waited for
	stateLocal       = "local"        // dead letters stay in the journal
	stateFailed      = "failed"       // the journal takes nothing until the next start
)

var allStates = []string{stateStarting, statePassThrough, stateSpooling, stateDraining, stateFull, stateHeld, stateBlocked, statePaused, stateFailed}

// linkStates are the states of a lane that passes, by that of its link.
var linkStates = map[LinkState]string{
	LinkUp: statePassThrough, LinkStarting: stateStarting, LinkDown: stateBlocked, LinkBlocked: stateBlocked, LinkPaused: statePaused,
}

// badness orders the states: a route shows its worst lane.
var badness = map[string]int{
	statePassThrough: 0, stateDraining: 1, stateStarting: 2, stateSpooling: 3, stateHeld: 4, stateFull: 5, stateBlocked: 6, statePaused: 7, stateFailed: 8,
}

func (f *flow) status() []RouteStatus {
	var out []RouteStatus
	for _, r := range f.routes {
		s := RouteStatus{
			Name: r.route.Name, Source: f.end.status(f.source), State: linkStates[f.end.current()],
			Received: r.count.receivedN.n.Load(), Filtered: r.count.unwanted(), Refused: r.count.refusedN.Load(),
		}
		for _, l := range r.lanes {
			st := l.status()
			s.Lanes = append(s.Lanes, st)
			if badness[st.State] > badness[s.State] {
				s.State = st.State
			}
		}
		if r.dead != nil {
			st := r.dead.status()
			s.Dead = &st
		}
		r.asTold(f, &s)
		out = append(out, s)
	}
	return out
}

// state is what the lane does now. l.mu is held.
func (l *lane) state() string {
	b, link := l.store, l.end.current()
	switch {
	case l.fenced != nil:
		return stateFailed
	case l.alarm != nil, l.told != nil && l.flying == 0 && (b == nil || b.failed == nil):
		return statePaused
	case l.stuck != nil:
		return stateHeld
	case b == nil:
		return linkStates[link]
	case b.failed != nil:
		return stateFailed
	case b.full != nil:
		return stateFull
	case b.stopped(), l.doubts():
		return stateHeld
	case !b.stored:
		return linkStates[link]
	case l.local:
		return stateLocal
	case !b.working || link != LinkUp:
		return stateSpooling
	case b.mode == routes.SpoolAlways && b.waiting() <= uint64(l.window()):
		return statePassThrough // it keeps up
	}
	return stateDraining
}

// note logs a change of the state. l.mu is held.
func (l *lane) note(why error) {
	if why != nil {
		l.reason = why
	}
	s := l.state()
	if s == l.shown {
		return
	}
	attrs := []any{"from", l.shown, "to", s}
	if l.store != nil {
		attrs = append(attrs, "spooled", l.store.backlog())
	}
	if why != nil {
		attrs = append(attrs, "err", why)
	}
	aside(func() { l.log.Info(msgLane, attrs...) })
	l.shown, l.since = s, time.Now()
}

func (l *lane) status() LaneStatus {
	l.mu.Lock()
	s := LaneStatus{
		Name: l.name, State: l.state(), Since: l.since, Waiting: len(l.queue), InFlight: l.flying,
		Forwarded: l.count.forwarded.n.Load(), Retries: l.count.retries(),
	}
	if l.reason != nil {
		s.Error = l.reason.Error()
	}
	s.Told = l.told
	if l.alarm != nil {
		s.Error = l.alarm.Error()
	}
	b := l.store
	if b != nil {
		s.Waiting += len(b.incoming) + b.appending
		s.Spooled, s.Limit, s.Held, s.SpooledTotal = b.backlog(), b.quota, len(b.held), b.appended
		s.Parked = len(b.lines.parked)
	}
	l.mu.Unlock()
	s.Share = l.share()
	s.Link = l.end.status(l.address())
	if s.Error == "" {
		s.Error = s.Link.Error
	}
	if b != nil {
		s.SpooledBytes = b.j.Stats().Bytes
		if s.Spooled == 0 {
			s.SpooledBytes = 0 // what is left waits for its settle
		}
		s.Oldest = b.oldest()
	}
	return s
}

// holds is how many received messages wait in the lane, or in flight, for an answer.
func (l *lane) holds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) + l.flying
}

// An age is when the record of a sequence was received.
type age struct {
	seq uint64
	at  time.Time
}

// oldest is when the message at the head of the journal was received; nil if there is none. It reads a record only when
// the head has changed.
func (b *store) oldest() *time.Time {
	first := b.j.Stats().First
	known := b.head.Load()
	if known == nil || known.seq != first {
		rec, ready, err := b.j.Reader(first).TryNext()
		if err != nil || ready != nil {
			return nil
		}
		m, err := DecodeRecord(rec.Body)
		if err != nil {
			return nil
		}
		known = &age{rec.Seq, time.UnixMilli(m.Received)}
		b.head.Store(known)
	}
	return &known.at
}

// gauges are what is read from the running flows at scrape time.
type gauges struct {
	r                                         *Repeater
	config                                    configFamilies
	attached, linkUp, state, inFlight_, inUse *family
	clock, dead, outstanding, build           *family
	spool                                     spoolFamilies
	brokers                                   brokerFamilies
}

func newGauges(r *Repeater) readout {
	g := &gauges{
		r: r, spool: newSpoolFamilies(), config: newConfigFamilies(), brokers: newBrokerFamilies(),
		build:       gaugeFamily("build_info", "1 for the program that runs.", "version", "go_version"),
		clock:       gaugeFamily("clock_suspect", "1 while the wall clock is not believed, so that nothing expires."),
		attached:    gaugeFamily("route_source_attached", "1 while the source is attached and answers.", "route"),
		linkUp:      gaugeFamily("link_up", "1 while the target is attached and answers.", "route", "target"),
		state:       gaugeFamily("lane_state", "1 for the state that the lane is in.", "route", "target", "state"),
		inFlight_:   gaugeFamily("lane_in_flight_messages", "Messages sent and not yet confirmed.", "route", "target"),
		inUse:       gaugeFamily("target_in_use", "1 while the target gets new messages, of a route that gives each to one of several.", "route", "target"),
		dead:        gaugeFamily("dead_letter_messages", "Dead letters that are kept in the spool, or wait there for their target.", "route"),
		outstanding: gaugeFamily("bridge_outstanding_requests", "Requests without a reply, within their time.", "bridge"),
	}
	own := []*family{g.build, g.clock, g.attached, g.linkUp, g.state, g.inFlight_, g.inUse, g.dead, g.outstanding}
	return readout{slices.Concat(own, g.spool.list(), g.config.list(), g.brokers.list()), g.samples}
}

func (g *gauges) samples(sample emit) {
	st := g.r.Status()
	sample(g.build, 1, g.r.opts.Version, runtime.Version())
	sample(g.clock, is(st.Clock.Suspect))
	g.spool.journal(sample, st.Spool)
	g.config.samples(sample, st.Config)
	g.brokers.samples(g.r.now.Load().wiring, sample)
	for _, b := range st.Bridges {
		sample(g.outstanding, float64(b.Outstanding), b.Name)
	}
	for _, r := range st.Routes {
		sample(g.attached, is(r.Source.State == LinkUp.String()), r.Name)
		for _, l := range r.Lanes {
			g.lane(sample, l, r.Name, strings.TrimPrefix(l.Name, r.Name+"/"), st.Spool != nil)
		}
		if r.Dead != nil && st.Spool != nil {
			sample(g.dead, float64(r.Dead.Spooled), r.Name)
		}
	}
}

func (g *gauges) lane(sample emit, l LaneStatus, route, target string, spools bool) {
	sample(g.linkUp, is(l.Link.State == LinkUp.String()), route, target)
	sample(g.inFlight_, float64(l.InFlight), route, target)
	l.Share.usage(target, func(inUse bool, target string) { sample(g.inUse, is(inUse), route, target) })
	for _, s := range allStates {
		sample(g.state, is(l.State == s), route, target, s)
	}
	if spools {
		g.spool.lane(sample, l, route, target)
	}
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
