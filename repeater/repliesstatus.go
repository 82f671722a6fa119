package repeater

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/routes"
)

// BridgeStatus is one bridge that keeps a table.
type BridgeStatus struct {
	Name        string     `json:"name"`
	Outstanding int        `json:"outstanding_requests"` // without a reply
	Limit       int        `json:"max_outstanding"`
	Oldest      *time.Time `json:"oldest_request_at,omitempty"` // of the outstanding
	Requests    int64      `json:"requests"`                    // since the start
	Replies     int64      `json:"replies"`                     // settled, since the start
	Timeouts    int64      `json:"timeouts"`
	LateReplies int64      `json:"late_replies"`           // those nobody asked for included
	Repeated    int64      `json:"repeated_replies"`       // dropped: their requesters had them
	P50         float64    `json:"round_trip_p50_seconds"` // of the last 1,024: from the reception of a request until its reply is settled
	P90         float64    `json:"round_trip_p90_seconds"`
	P99         float64    `json:"round_trip_p99_seconds"`
}

// bridgeMetrics are the counters of all bridges.
type bridgeMetrics struct {
	requests, timeouts, late *prometheus.CounterVec
	trips                    *prometheus.HistogramVec
}

func newBridgeMetrics(reg prometheus.Registerer) *bridgeMetrics {
	return &bridgeMetrics{
		requests: counters(reg, "bridge_requests_total", "Requests received.", "bridge"),
		timeouts: counters(reg, "bridge_timeouts_total", "Requests without a reply in time.", "bridge"),
		late:     counters(reg, "bridge_late_replies_total", "Replies that came late (deliver, dead-letter, drop), that nobody asked for (unasked), or that their requester has already (repeated).", "bridge", "action"),
		trips:    durations(reg, 0.0005, "bridge_round_trip_seconds", "From the reception of a request until its reply is settled.", "bridge"),
	}
}

// unasked is the action for replies that nobody asked for, or for another.
const unasked = "unasked"

// repeated is the action for replies that their requester has already.
const repeated = "repeated"

// bridgeCounts are the counters of one bridge.
type bridgeCounts struct {
	name                           string
	m                              *bridgeMetrics
	requests_, timedOut            prometheus.Counter
	trip                           prometheus.Observer
	requestsN, timedOutN, repliesN atomic.Int64
	lateN, repeatedN               atomic.Int64
	fold                           fold
}

func (m *bridgeMetrics) of(name string) *bridgeCounts {
	for _, action := range []string{string(routes.LateDeadLetter), string(routes.LateDeliver), string(routes.LateDrop), unasked, repeated} {
		m.late.WithLabelValues(name, action) // so that the first one is an increase
	}
	return &bridgeCounts{
		name: name, m: m, requests_: m.requests.WithLabelValues(name), timedOut: m.timeouts.WithLabelValues(name), trip: m.trips.WithLabelValues(name),
	}
}

func (c *bridgeCounts) request() {
	c.requestsN.Add(1)
	c.requests_.Inc()
}

func (c *bridgeCounts) late(action string) {
	c.lateN.Add(1)
	c.m.late.WithLabelValues(c.name, action).Inc()
}

// repeat counts a reply that its requester has already.
func (c *bridgeCounts) repeat() {
	c.repeatedN.Add(1)
	c.m.late.WithLabelValues(c.name, repeated).Inc()
}

// status is what the table holds now.
func (t *replies) status() BridgeStatus {
	s := BridgeStatus{
		Name: t.bridge.Name, Limit: t.bridge.MaxOutstanding, Requests: t.count.requestsN.Load(), Replies: t.count.repliesN.Load(),
		Timeouts: t.count.timedOutN.Load(), LateReplies: t.count.lateN.Load(), Repeated: t.count.repeatedN.Load(),
	}
	t.mu.Lock()
	s.Outstanding = t.open
	if i := slices.IndexFunc(t.queue, func(e *asked) bool { return e.state == askedOpen }); i >= 0 {
		at := t.queue[i].at.Round(0)
		s.Oldest = &at
	}
	last := slices.Clone(t.trips.last)
	t.mu.Unlock()
	slices.Sort(last)
	if n := len(last); n > 0 {
		s.P50, s.P90, s.P99 = last[n/2].Seconds(), last[n*9/10].Seconds(), last[n*99/100].Seconds()
	}
	return s
}

// bridges lists those that run, in file order.
func (r *Repeater) bridges() (out []BridgeStatus) {
	for _, b := range r.Table().Bridges {
		if t := r.now.Load().tables[b.Name]; t != nil {
			out = append(out, t.status())
		}
	}
	return out
}

// entries is how many records of the journal are entries of tables.
func (r *Repeater) entries() (n uint64) {
	for _, t := range r.now.Load().tables {
		if l := t.lane; l != nil && l.store != nil {
			l.mu.Lock()
			n += l.store.backlog()
			l.mu.Unlock()
		}
	}
	return n
}
