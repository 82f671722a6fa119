package repeater

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are all counters and histograms, declared once with their help text. Labels come only from names in the file. What
// every route and lane has is kept as bare numbers (counts.go) and made into samples when it is asked for.
type metrics struct {
	refused, dead, notes *prometheus.CounterVec
	requests             *prometheus.CounterVec // to the admin listener
	corrupt              prometheus.Counter
	sync                 prometheus.Observer
	filter               *prometheus.HistogramVec
	latency, confirm     *prometheus.HistogramVec
	ofRoutes             []routeSeries
	ofLanes              []laneSeries

	mu     sync.Mutex
	routes map[string]*routeCounts
	lanes  map[[2]string]*laneCounts // by route and target
}

// A routeSeries is a counter that every route has; nil from of: this one has not.
type routeSeries struct {
	family *family
	of     func(*routeCounts) *counter
	extra  []string // values of labels behind the route's name
}

// A laneSeries is a counter that every lane has.
type laneSeries struct {
	family *family
	of     func(*laneCounts) *counter
	extra  []string // values of labels behind the names of route and target
}

// nativeBuckets bounds what one native histogram takes in memory: 267 of them would span from 50 µs to a fortnight.
const nativeBuckets = 160

// durations are histograms whose first classic bucket ends at first seconds; each further one at four times as many.
func durations(r prometheus.Registerer, first float64, name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "posthouse", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 4, 9),
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	r.MustRegister(h)
	return h
}

// counters are for what has happened to few: a series is made when it does.
func counters(r prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "posthouse", Name: name, Help: help}, labels)
	r.MustRegister(c)
	return c
}

func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		refused:  counters(r, "route_refused_messages_total", "Times a message was refused: by the target, or because it could not be made into one for it.", "route", "reason"),
		dead:     counters(r, "route_dead_lettered_messages_total", "Messages that became dead letters.", "route", "reason"),
		corrupt:  counters(r, "spool_corrupt_records_total", "Records that were in the spool and cannot be read any more.").WithLabelValues(),
		sync:     durations(r, 0.00005, "spool_sync_seconds", "One write and sync of the journal.").WithLabelValues(),
		notes:    counters(r, "route_conversion_notes_total", "What the conversion between protocols could not keep as it was.", "route", "field", "what"),
		requests: counters(r, "admin_requests_total", "Requests to the admin listener.", "method", "code"),
		filter:   durations(r, 0.000002, "route_filter_seconds", "What the filters of all routes of a source took over one message, under the name of its first route.", "route"),
		latency:  durations(r, 0.0005, "route_latency_seconds", "From received to confirmed.", "route"),
		confirm:  durations(r, 0.0005, "lane_confirm_seconds", "From sent to confirmed.", "route", "target"),
		ofRoutes: routeTable(), ofLanes: laneTable(), routes: map[string]*routeCounts{}, lanes: map[[2]string]*laneCounts{},
	}
}

func routeTable() []routeSeries {
	row := func(name, help string, of func(*routeCounts) *counter) routeSeries {
		return routeSeries{family: counterFamily(name, help, "route"), of: of}
	}
	filtered := counterFamily("route_filtered_messages_total", "Messages that the route did not want: its filter (filter), a message that it repeated itself (echo), an error of the filter (filter-error).", "route", "reason")
	duplicates := counterFamily("route_duplicate_messages_total",
		"Messages that came again and were not sent again (dropped), that carry an id that is known and were sent all the same (suspected), that may have arrived twice (possible-sent).", "route", "kind")
	return []routeSeries{
		row("route_received_messages_total", "Messages received from the source.", func(c *routeCounts) *counter { return &c.receivedN }),
		row("route_received_bytes_total", "Bytes of messages received from the source.", func(c *routeCounts) *counter { return &c.bytes }),
		row("route_expired_messages_total", "Messages dropped because their expiry had passed.", func(c *routeCounts) *counter { return &c.expired }),
		row("route_settle_errors_total", "Settles that the source did not take.", func(c *routeCounts) *counter {
			if !c.reads {
				return nil
			}
			return &c.settleErrors
		}),
		{filtered, func(c *routeCounts) *counter { return &c.filtered_ }, []string{"filter"}},
		{filtered, func(c *routeCounts) *counter { return c.echoes.used() }, []string{"echo"}},
		{filtered, func(c *routeCounts) *counter { return c.filterErrors.used() }, []string{reasonFilter}},
		{duplicates, func(c *routeCounts) *counter { return &c.duplicates }, []string{"possible-sent"}},
		{duplicates, func(c *routeCounts) *counter { return c.repeated.used() }, []string{"dropped"}},
		{duplicates, func(c *routeCounts) *counter { return c.suspected.used() }, []string{"suspected"}},
	}
}

func laneTable() []laneSeries {
	lane := []string{"route", "target"}
	row := func(name, help string, of func(*laneCounts) *counter) laneSeries {
		return laneSeries{family: counterFamily(name, help, lane...), of: of}
	}
	retries := counterFamily("route_retries_total", "Messages sent again, or to be sent again, after a definite no (refused), a lost connection (unreachable) or no answer (unknown).", append(lane, "reason")...)
	lost := counterFamily("route_lost_messages_total", "Messages that did not arrive, or may not have, on a route that is at-most-once.", append(lane, "reason")...)
	return []laneSeries{
		row("route_forwarded_messages_total", "Messages confirmed by the target.", func(c *laneCounts) *counter { return &c.forwarded }),
		row("route_forwarded_bytes_total", "Bytes of messages confirmed by the target.", func(c *laneCounts) *counter { return &c.bytes }),
		row("lane_unclassified_errors_total", "Errors without a kind: bugs of an adapter.", func(c *laneCounts) *counter { return &c.unclassified }),
		row("lane_absorbed_total", "Messages sent again that the target had already and did not store a second time.", func(c *laneCounts) *counter { return &c.absorbed }),
		row("spool_appended_messages_total", "Messages written to the spool.", func(c *laneCounts) *counter { return &c.spooled }),
		row("spool_turned_away_messages_total", "Messages handed back because the spool had no room.", func(c *laneCounts) *counter { return &c.turnedAway }),
		row("lane_abandoned_targets_total", "Targets given up because an answer never came: bugs of an adapter.", func(c *laneCounts) *counter { return &c.abandoned }),
		row("lane_moved_messages_total", "Messages that were not sent because the target was down and that another lane of the route got.",
			func(c *laneCounts) *counter { return c.moved.used() }),
		row("lane_switches_total", "Times a lane with distribute: failover went to another of its targets.", func(c *laneCounts) *counter { return c.switched.used() }),
		{lost, func(c *laneCounts) *counter { return &c.lost }, []string{"at-most-once"}},
		{retries, func(c *laneCounts) *counter { return &c.refused }, []string{"refused"}},
		{retries, func(c *laneCounts) *counter { return &c.gone }, []string{"unreachable"}},
		{retries, func(c *laneCounts) *counter { return &c.unsure }, []string{"unknown"}},
	}
}

// readout are the counters of routes and lanes.
func (m *metrics) readout() readout {
	r := readout{samples: m.samples}
	for _, s := range m.ofRoutes {
		r.families = append(r.families, s.family)
	}
	for _, s := range m.ofLanes {
		r.families = append(r.families, s.family)
	}
	return r
}

func (m *metrics) samples(sample emit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	send := func(f *family, n *counter, labels ...string) {
		if n != nil {
			sample(f, float64(n.n.Load()), labels...)
		}
	}
	for _, r := range m.routes {
		for _, s := range m.ofRoutes {
			send(s.family, s.of(r), append([]string{r.route}, s.extra...)...)
		}
	}
	for _, l := range m.lanes {
		for _, s := range m.ofLanes {
			n := s.of(l)
			if l.target == deadLane { // every route has one, and most have nothing to count
				n = n.used()
			}
			send(s.family, n, append([]string{l.route, l.target}, s.extra...)...)
		}
	}
}

// forgetRoute drops the series of a route that is not there any more, and of its lanes.
func (m *metrics) forgetRoute(name string, lanes []string) {
	for _, target := range lanes {
		m.forgetLane(name, target)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.routes, name)
	m.latency.DeleteLabelValues(name)
	m.filter.DeleteLabelValues(name)
	for _, v := range []*prometheus.CounterVec{m.refused, m.dead, m.notes} { // few series: only what has happened has one
		v.DeletePartialMatch(prometheus.Labels{"route": name})
	}
}

// forgetLane drops the series of a lane that is not there any more.
func (m *metrics) forgetLane(route, target string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.lanes, [2]string{route, target})
	m.confirm.DeleteLabelValues(route, target)
}

// confirmed counts it and answers for it: the target has it.
func (l *lane) confirmed(it *item, sent time.Time) {
	now := time.Now()
	l.count.forwarded.Inc()
	l.count.bytes.Add(it.size)
	l.count.confirm.Observe(now.Sub(sent).Seconds())
	l.of.count.latency.Observe(now.Sub(it.at).Seconds())
	if it.maybe {
		l.count.of.duplicates.Inc()
	}
	l.freed()
	if why := l.circling(it, now); why != nil {
		l.pause(why)
	}
	it.answer(itemConfirmed)
}
