package faults

import "context"

// Metrics that are compared with what was counted outside.
const (
	metricReceived   = "posthouse_route_received_messages_total"
	metricForwarded  = "posthouse_route_forwarded_messages_total"
	metricDuplicates = "posthouse_route_duplicate_messages_total"
	metricAppended   = "posthouse_spool_appended_messages_total"
	metricSpooled    = "posthouse_spool_messages"
	metricSpoolBytes = "posthouse_spool_bytes"
	metricCorrupt    = "posthouse_spool_corrupt_records_total"
	metricDamaged    = "posthouse_spool_damaged_segments"
	metricUnclass    = "posthouse_lane_unclassified_errors_total"
	metricGoroutines = "go_goroutines"
	metricFiles      = "process_open_fds"
	metricAbandoned  = "posthouse_lane_abandoned_targets_total"
)

// growth is how many goroutines and open files may be more at the end than at the start, beside those of the spool's
// spare segments: connections of brokers' clients and of this test to the admin interface come and go. Each flap of a
// link that left something behind would be seen by it.
const growth = 10

// finish ends the load, sends a fresh message, reads everything at the target, and checks the whole history.
func (x *trial) finish() {
	x.t.Helper()
	x.add(bite("bytes of the spool at its peak", x.peak, x.base+(spareSegs+1)*segment))
	finish(x)
}

// finish does so for all lanes of a daemon, and ends it.
func finish(xs ...*trial) {
	xs[0].t.Helper()
	for _, x := range xs {
		x.load.stop()
		x.fresh()
		x.h.sends = x.load.outcomes()
	}
	for _, x := range xs {
		st := x.awaitStatus("nothing is on its way", x.quiet)
		x.counted(st, x.load.count(taken))
		x.emptied(st)
	}
	xs[0].d.stop()
	for _, x := range xs {
		x.verdict()
	}
}

// quiet says that nothing of the lane is on its way, and that the spool has given back its segments.
func (x *trial) quiet(s status) bool {
	l := s.lane(x.name)
	return l.State == passThrough && l.Waiting == 0 && l.InFlight == 0 && l.Spooled == 0 &&
		s.Spool != nil && (x.keeps() || s.Spool.Messages == 0 && s.Spool.Segments <= 1)
}

// keeps says that records stay for a while after they have arrived, to be recognised: their source may give them out again
// that a daemon, killed, had not settled for certain (C24).
// A source that confirms no settle may do so at any time.
func (x *trial) keeps() bool {
	_, silent := x.r.from.(*amqpEnd)
	return x.r.once && (x.h.kills > 0 || silent)
}

// verdict is the last word on a lane, once no daemon runs.
func (x *trial) verdict() {
	x.t.Helper()
	all := x.load.count(taken)
	x.add(nothing("messages at the source", x.r.from.left(x.t, x.name)),
		bite("messages taken by the source", all, 2*scaled(some)+backlog()),
		figure{void, "sends without an answer", len(x.h.sends) - all, 0, 0})
	for _, f := range check(&x.h) {
		x.t.Errorf("%s", f)
	}
	ids, flagged := distinct(x.h.arrivals)
	x.t.Logf("%d sent, %d arrived, %d ids, %d flagged; spool at most %d KiB, at the start %d KiB", all, len(x.h.arrivals), ids, flagged,
		x.peak>>10, x.base>>10)
}

func (x *trial) add(fs ...figure) { x.h.figures = append(x.h.figures, fs...) }

// fresh sends one message, which must get through in time, and reads everything at the target.
func (x *trial) fresh() {
	x.t.Helper()
	before := x.await("nothing is on its way", func(s laneStatus) bool {
		return s.State == passThrough && s.Waiting+s.InFlight+s.Spooled == 0
	})
	n := x.load.one()
	id := x.o.make(x.name, n).headers[headerID]
	x.load.open.Wait()
	soon, cancel := context.WithTimeout(context.Background(), freshness)
	defer cancel()
	err := until(soon, "the fresh message is confirmed", func() bool {
		st, err := x.d.status()
		return err == nil && st.lane(x.name).Forwarded > before.Forwarded
	})
	if err != nil {
		x.add(figure{stuck, "fresh messages confirmed within 30 s", 0, 1, 1})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ms, err := x.r.to.read(ctx, x.t, x.name, func(m message) bool { return m.headers[headerID] == id })
	for _, m := range ms {
		x.h.arrivals = append(x.h.arrivals, x.o.read(x.name, m))
	}
	if err != nil {
		x.add(figure{stuck, "fresh messages at the target", 0, 1, 1})
		x.t.Logf("read the target: %d messages, %v", len(ms), err)
	}
}

// aside is how many messages beyond a window the spool marks after an unclean stop, whether they were sent or not
// (docs/limits.md); what the source gives out again, as such, is marked as well.
const aside = 256

// counted compares what the daemon says with what was sent and what came.
func (x *trial) counted(st status, all int) {
	m, l := x.d.metrics(x.t), st.lane(x.name)
	ids, flagged := distinct(x.h.arrivals)
	x.add(exactly("received in /metrics", m.sum(metricReceived, x.route()), l.received),
		exactly("forwarded in /metrics", m.sum(metricForwarded, x.route()), l.Forwarded),
		exactly("spooled in /metrics", m.sum(metricAppended, x.route()), l.SpooledTotal),
		exactly("spool_messages in /metrics", m.sum(metricSpooled, x.route()), 0),
		exactly("spool_bytes in /metrics", m.sum(metricSpoolBytes), st.Spool.Bytes),
		exactly("errors without a kind", m.sum(metricUnclass, x.route()), 0),
		exactly("targets given up", m.sum(metricAbandoned, x.route()), 0),
		exactly("corrupt records", max(0, m.sum(metricCorrupt)), 0),
		exactly("damaged segments", m.sum(metricDamaged), 0))
	doubt := x.again + max(0, m.sum(metricDuplicates, x.route(), `kind="possible-sent"`))
	if x.hit > 0 && !x.r.once { // some had arrived: they are there twice, or their flagged copy was dropped
		x.add(bite("messages that the target was sent twice", len(x.h.arrivals)-ids+doubt-flagged, 1))
	}
	if x.h.absorbs {
		x.add(within("possible duplicates in /metrics", doubt, flagged, window*x.h.breaks+(window+aside+prefetch)*x.h.kills))
	} else {
		x.add(within("possible duplicates in /metrics", doubt, flagged, flagged+window*x.h.kills))
	}
	if x.h.kills == 0 {
		x.add(exactly("received", l.received, all), exactly("forwarded", l.Forwarded, all), exactly("forwarded ids", ids, all),
			within("spooled", l.SpooledTotal, x.leastKept, all))
		return
	}
	// What the last daemon has forwarded is what it found in the journal and what it received. A killed one may have had
	// more confirmed than its last status said, and what it had not noted as done is sent again; where each message arrives once,
	// that is also what its source had not been known to have taken note of.
	most := window * x.h.kills
	if x.r.once {
		most += 2 * prefetch * x.h.kills
	}
	x.add(within("forwarded by all daemons", x.before.Forwarded+l.Forwarded, 0, ids+most),
		exactly("damaged or missing records", len(st.Spool.Recovery.Damage)+len(st.Spool.Recovery.Missing), 0))
	if x.found >= 0 {
		x.add(exactly("forwarded by the last daemon", l.Forwarded, x.found+l.received-max(0, m.sum(metricDuplicates, x.route(), `kind="dropped"`))),
			exactly("forwarded by all daemons", x.before.Forwarded+l.Forwarded, ids))
	}
}

// emptied looks at what must be gone.
func (x *trial) emptied(st status) {
	bytes, _ := diskUse(x.spool)
	if m := x.d.metrics(x.t); x.h.kills == 0 { // of one process
		for _, name := range []string{metricGoroutines, metricFiles} {
			x.t.Logf("%s: %d, before the fault %d", name, m.sum(name), x.calm.sum(name))
			x.add(atMost(name, m.sum(name), x.calm.sum(name)+spareSegs+growth))
		}
	}
	if x.keeps() {
		return
	}
	x.add(nothing("messages in the spool", st.Spool.Messages),
		nothing("bytes of messages in the spool", st.lane(x.name).SpooledBytes),
		atMost("segments in use", st.Spool.Segments, 1),
		atMost("bytes in the spool's directory", bytes, x.base+spareSegs*segment))
}
