package repeater

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is a snapshot of everything that runs. Its states are facts: nothing in it is inferred from configuration.
type Status struct {
	Repeater string        `json:"repeater"`
	Hash     string        `json:"config_hash"`
	Started  time.Time     `json:"started"`
	Routes   []RouteStatus `json:"routes"`
}

// RouteStatus is one route with its source and its lanes.
type RouteStatus struct {
	Name     string       `json:"name"`
	State    string       `json:"state"` // that of its worst end: pass-through, starting, blocked, disabled
	Source   EndStatus    `json:"source"`
	Received int64        `json:"received_messages"`
	Filtered int64        `json:"filtered_messages"`
	Refused  int64        `json:"refused_messages"` // times one was set aside
	Lanes    []LaneStatus `json:"lanes"`
}

// LaneStatus is one route × one target.
type LaneStatus struct {
	Name      string    `json:"name"` // ROUTE/TARGET
	State     string    `json:"state"`
	Link      EndStatus `json:"link"`
	Waiting   int       `json:"waiting_messages"`   // received, not sent
	InFlight  int       `json:"in_flight_messages"` // sent, not confirmed
	Forwarded int64     `json:"forwarded_messages"`
	Retries   int64     `json:"retries"`
}

// states of lanes and routes, best first.
var laneStates = map[LinkState]string{LinkUp: "pass-through", LinkStarting: "starting", LinkDown: "blocked", LinkBlocked: "blocked"}

func (f *flow) status() []RouteStatus {
	var out []RouteStatus
	for _, r := range f.routes {
		worst := f.end.current()
		s := RouteStatus{
			Name: r.route.Name, Source: f.end.status(f.source),
			Received: r.count.inN.Load(), Filtered: r.count.filteredN.Load(), Refused: r.count.refusedN.Load(),
		}
		for _, l := range r.lanes {
			s.Lanes = append(s.Lanes, l.status())
			worst = worse(worst, l.end.current())
		}
		s.State = laneStates[worst]
		out = append(out, s)
	}
	return out
}

func (l *lane) status() LaneStatus {
	queued, flying := l.waiting()
	return LaneStatus{
		Name: l.name, State: laneStates[l.end.current()], Link: l.end.status(l.target.Addr),
		Waiting: queued, InFlight: flying, Forwarded: l.count.forwardedN.Load(), Retries: l.count.retriesN.Load(),
	}
}

func worse(a, b LinkState) LinkState {
	rank := func(s LinkState) int { return [...]int{LinkUp: 0, LinkStarting: 1, LinkDown: 2, LinkBlocked: 3}[s] }
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// gauges are what is read from the running flows at scrape time.
type gauges struct {
	r                                  *Repeater
	attached, linkUp, state, inFlight_ *prometheus.Desc
}

func newGauges(r *Repeater) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("posthouse_"+name, help, labels, nil)
	}
	return &gauges{
		r:        r,
		attached: desc("route_source_attached", "1 while the source is attached and answers.", "route"),
		linkUp:   desc("link_up", "1 while the target is attached and answers.", "route", "target"),
		state:    desc("lane_state", "1 for the state that the lane is in.", "route", "target", "state"),
		inFlight_: desc("lane_in_flight_messages",
			"Messages sent and not yet confirmed.", "route", "target"),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(c chan<- *prometheus.Desc) {
	c <- g.attached
	c <- g.linkUp
	c <- g.state
	c <- g.inFlight_
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, r := range g.r.Status().Routes {
		gauge(g.attached, is(r.Source.State == LinkUp.String()), r.Name)
		for i, l := range r.Lanes {
			target := g.r.targetName(r.Name, i)
			gauge(g.linkUp, is(l.Link.State == LinkUp.String()), r.Name, target)
			gauge(g.inFlight_, float64(l.InFlight), r.Name, target)
			for _, s := range []string{"starting", "pass-through", "blocked"} {
				gauge(g.state, is(l.State == s), r.Name, target, s)
			}
		}
	}
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
