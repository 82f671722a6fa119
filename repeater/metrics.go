package repeater

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// metrics are all counters and histograms, declared once with their help text. Labels come only from names in the file.
type metrics struct {
	received, receivedBytes        *prometheus.CounterVec
	filtered, refused              *prometheus.CounterVec
	expired                        *prometheus.CounterVec
	forwarded, forwardedBytes      *prometheus.CounterVec
	retries, duplicates            *prometheus.CounterVec
	settleErrors, unclass          *prometheus.CounterVec
	abandoned, notes               *prometheus.CounterVec
	spooled, turnedAway            *prometheus.CounterVec
	dead, repeated, absorbed, lost *prometheus.CounterVec
	corrupt                        prometheus.Counter
	sync                           prometheus.Histogram
	latency, confirm               *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "posthouse", Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "posthouse", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	duration := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "posthouse", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.00005, 4, 9), NativeHistogramBucketFactor: 1.1,
		})
		r.MustRegister(h)
		return h
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "posthouse", Name: name, Help: help,
			Buckets:                     prometheus.ExponentialBuckets(0.0005, 4, 9),
			NativeHistogramBucketFactor: 1.1,
		}, labels)
		r.MustRegister(h)
		return h
	}
	return &metrics{
		received:       counter("route_received_messages_total", "Messages received from the source.", "route"),
		receivedBytes:  counter("route_received_bytes_total", "Bytes of messages received from the source.", "route"),
		filtered:       counter("route_filtered_messages_total", "Messages that the route did not want.", "route", "reason"),
		refused:        counter("route_refused_messages_total", "Times a message was refused: by the target, or because it could not be made into one for it.", "route", "reason"),
		expired:        counter("route_expired_messages_total", "Messages dropped because their expiry had passed.", "route"),
		forwarded:      counter("route_forwarded_messages_total", "Messages confirmed by the target.", "route", "target"),
		forwardedBytes: counter("route_forwarded_bytes_total", "Bytes of messages confirmed by the target.", "route", "target"),
		retries:        counter("route_retries_total", "Messages sent again, or to be sent again.", "route", "target", "reason"),
		duplicates:     counter("route_duplicate_messages_total", "Messages that may have arrived twice.", "route", "kind"),
		settleErrors:   counter("route_settle_errors_total", "Settles that the source did not take.", "route"),
		unclass:        counter("lane_unclassified_errors_total", "Errors without a kind: bugs of an adapter.", "route", "target"),
		absorbed:       counter("lane_absorbed_total", "Messages sent again that the target had already and did not store a second time.", "route", "target"),
		dead:           counter("route_dead_lettered_messages_total", "Messages that became dead letters.", "route", "reason"),
		lost:           counter("lane_lost_messages_total", "Messages of an at-most-once route that did not arrive, or may not have.", "route", "target"),
		repeated:       counter("lane_recognised_duplicates_total", "Messages that a source gave out again and that were recognised: not sent, not written a second time.", "route", "target"),
		spooled:        counter("spool_appended_messages_total", "Messages written to the spool.", "route", "target"),
		turnedAway:     counter("spool_turned_away_messages_total", "Messages handed back because the spool had no room.", "route", "target"),
		corrupt:        one("spool_corrupt_records_total", "Records that were in the spool and cannot be read any more."),
		sync:           duration("spool_sync_seconds", "One write and sync of the journal."),
		abandoned:      counter("lane_abandoned_targets_total", "Targets given up because an answer never came: bugs of an adapter.", "route", "target"),
		notes:          counter("route_conversion_notes_total", "What the conversion between protocols could not keep as it was.", "route", "field", "what"),
		latency:        histogram("route_latency_seconds", "From received to confirmed.", "route"),
		confirm:        histogram("lane_confirm_seconds", "From sent to confirmed.", "route", "target"),
	}
}

// flowCounts are counted for a source, under the name of its first route.
type flowCounts struct{ settleErrors prometheus.Counter }

// routeCounts are the counters of one route, resolved once.
type routeCounts struct {
	m                *metrics
	route            string
	receivedN, bytes prometheus.Counter
	filtered_        prometheus.Counter
	expired          prometheus.Counter
	latency          prometheus.Observer
	refusedN         atomic.Int64
	inN, filteredN   atomic.Int64
}

func (m *metrics) route(name string) *routeCounts {
	return &routeCounts{
		m: m, route: name,
		receivedN: m.received.WithLabelValues(name), bytes: m.receivedBytes.WithLabelValues(name),
		filtered_: m.filtered.WithLabelValues(name, "filter"), expired: m.expired.WithLabelValues(name),
		latency: m.latency.WithLabelValues(name),
	}
}

func (c *routeCounts) received(p *parcel) {
	c.inN.Add(1)
	c.receivedN.Inc()
	c.bytes.Add(float64(p.size))
}

func (c *routeCounts) filtered() {
	c.filteredN.Add(1)
	c.filtered_.Inc()
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

func (c *routeCounts) filterFailed() {
	c.filteredN.Add(1)
	c.m.filtered.WithLabelValues(c.route, reasonFilter).Inc()
}

func (c *routeCounts) dead(reason string) {
	c.m.dead.WithLabelValues(c.route, reason).Inc()
}

// laneCounts are the counters of one lane.
type laneCounts struct {
	forwarded, bytes      prometheus.Counter
	confirm               prometheus.Observer
	unclassified          prometheus.Counter
	abandoned             prometheus.Counter
	duplicates            prometheus.Counter
	spooled, turnedAway   prometheus.Counter
	repeated, lost        prometheus.Counter
	corrupt               prometheus.Counter
	refused, gone, unsure prometheus.Counter
	absorbed              prometheus.Counter
	forwardedN, retriesN  atomic.Int64
}

func (m *metrics) lane(route, target string) *laneCounts {
	return &laneCounts{
		forwarded: m.forwarded.WithLabelValues(route, target), bytes: m.forwardedBytes.WithLabelValues(route, target),
		confirm: m.confirm.WithLabelValues(route, target), abandoned: m.abandoned.WithLabelValues(route, target), unclassified: m.unclass.WithLabelValues(route, target),
		spooled: m.spooled.WithLabelValues(route, target), turnedAway: m.turnedAway.WithLabelValues(route, target), corrupt: m.corrupt,
		duplicates: m.duplicates.WithLabelValues(route, "possible-sent"), repeated: m.repeated.WithLabelValues(route, target),
		lost:     m.lost.WithLabelValues(route, target),
		absorbed: m.absorbed.WithLabelValues(route, target),
		refused:  m.retries.WithLabelValues(route, target, "refused"),
		gone:     m.retries.WithLabelValues(route, target, "unreachable"),
		unsure:   m.retries.WithLabelValues(route, target, "unknown"),
	}
}

// retry counts a message that has to be sent again after an error of kind k.
func (c *laneCounts) retry(k adapters.Kind) {
	c.retriesN.Add(1)
	switch {
	case k == adapters.Lost:
		c.gone.Inc()
	case k.Definite():
		c.refused.Inc()
	default:
		c.unsure.Inc()
	}
}

// confirmed counts it and answers for it: the target has it.
func (l *lane) confirmed(it *item, sent time.Time) {
	now := time.Now()
	l.count.forwardedN.Add(1)
	l.count.forwarded.Inc()
	l.count.bytes.Add(float64(it.size))
	l.count.confirm.Observe(now.Sub(sent).Seconds())
	l.of.count.latency.Observe(now.Sub(it.at).Seconds())
	if it.maybe {
		l.count.duplicates.Inc()
	}
	l.freed()
	it.answer(itemConfirmed)
}
