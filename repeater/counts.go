package repeater

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// A counter is one series. Ten thousand lanes have a hundred thousand of them, so each is a number and nothing more until it
// is scraped.
type counter struct{ n atomic.Int64 }

// Inc adds one.
func (c *counter) Inc() { c.n.Add(1) }

// Add adds n.
func (c *counter) Add(n int64) { c.n.Add(n) }

// used is c, or nil while it has counted nothing; nil of nil.
func (c *counter) used() *counter {
	if c == nil || c.n.Load() == 0 {
		return nil
	}
	return c
}

// A histogram is made with its first observation.
type histogram struct {
	of     *prometheus.HistogramVec
	labels []string
	made   atomic.Pointer[prometheus.Observer]
}

// Observe adds an observation, in seconds.
func (h *histogram) Observe(seconds float64) {
	o := h.made.Load()
	if o == nil {
		made := h.of.WithLabelValues(h.labels...)
		o = &made
		h.made.Store(o)
	}
	(*o).Observe(seconds)
}

// routeCounts are the counters of one route. They go on when the route is started again.
type routeCounts struct {
	m     *metrics
	route string

	receivedN, bytes        counter
	filtered_, filterErrors counter
	echoes                  counter // left out by a generated route
	expired, duplicates     counter
	repeated, suspected     counter
	settleErrors            counter // of the source, counted under the name of its first route
	reads                   bool    // it is that route; guarded by metrics.mu
	latency, filter         histogram
	refusedN                atomic.Int64
}

// route returns the counters of a route.
func (m *metrics) route(name string) *routeCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.routes[name]
	if c == nil {
		labels := []string{name}
		c = &routeCounts{m: m, route: name, latency: histogram{of: m.latency, labels: labels}, filter: histogram{of: m.filter, labels: labels}}
		m.routes[name] = c
	}
	return c
}

// source returns the counters of a route that is the first of its source.
func (m *metrics) source(name string) *routeCounts {
	c := m.route(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	c.reads = true
	return c
}

func (c *routeCounts) received(p *parcel) {
	c.receivedN.Inc()
	c.bytes.Add(p.size)
}

func (c *routeCounts) filtered() { c.filtered_.Inc() }

// unwanted is how many messages the route did not take.
func (c *routeCounts) unwanted() int64 {
	return c.filtered_.n.Load() + c.echoes.n.Load() + c.filterErrors.n.Load()
}

func (c *routeCounts) refused(reason string) {
	c.refusedN.Add(1)
	c.m.refused.WithLabelValues(c.route, reason).Inc()
}

// noted counts what a conversion had to say; both words are from closed lists of package bridge.
func (c *routeCounts) noted(ns []bridge.Note) {
	for _, n := range ns {
		c.m.notes.WithLabelValues(c.route, n.Field, n.What).Inc()
	}
}

func (c *routeCounts) filterFailed() { c.filterErrors.Inc() }

func (c *routeCounts) dead(reason string) {
	c.m.dead.WithLabelValues(c.route, reason).Inc()
}

// laneCounts are the counters of one lane. They go on when the lane is started again.
type laneCounts struct {
	route, target string
	confirm       histogram
	of            *routeCounts
	corrupt       prometheus.Counter

	forwarded, bytes, unclassified, abandoned counter
	spooled, turnedAway                       counter
	lost, absorbed                            counter
	refused, gone, unsure                     counter
	moved, switched                           counter
}

// lane returns the counters of a lane.
func (m *metrics) lane(route, target string) *laneCounts {
	r := m.route(route)
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.lanes[[2]string{route, target}]
	if c == nil {
		c = &laneCounts{route: route, target: target, of: r, corrupt: m.corrupt,
			confirm: histogram{of: m.confirm, labels: []string{route, target}}}
		m.lanes[[2]string{route, target}] = c
	}
	return c
}

// retry counts a message that has to be sent again after an error of kind k.
func (c *laneCounts) retry(k adapters.Kind) {
	switch {
	case k == adapters.Lost:
		c.gone.Inc()
	case k.Definite():
		c.refused.Inc()
	default:
		c.unsure.Inc()
	}
}

// retries is how many messages had to be sent again.
func (c *laneCounts) retries() int64 { return c.gone.n.Load() + c.refused.n.Load() + c.unsure.n.Load() }
