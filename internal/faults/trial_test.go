package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

const (
	window    = 64      // in_flight of every route
	prefetch  = 128     // and what it takes from its source: more, so that some wait behind what is in flight
	some      = 200     // messages that show progress in pass-through
	segment   = 1 << 20 // bytes of a segment of the spool
	spareSegs = 5       // segments that the spool may keep beyond those of its start: its pool, and one being filled
)

// backlog is how many messages an outage must pile up: with bodies of 8 KiB more than the spool keeps in spare segments.
func backlog() int { return scaled(1300) }

// A source is a broker that messages are taken from.
type source interface {
	yaml(at string) string   // the broker's entry in a topology, reached at HOST:PORT
	host() string            // where it is
	from(name string) string // keys of the route's end
	create(*testing.T, string)
	sender(*testing.T, string) sender
	left(t *testing.T, name string) int // messages that are still there, once no daemon runs
	requeues() bool                     // may give them out behind later ones
	regives() bool                      // gives out as new what a killed process had not settled
}

// A target is a broker that messages are sent to, and the one that is broken.
type target interface {
	yaml(at string) string
	to(name string) string
	create(*testing.T, string)
	stop(context.Context)
	start(context.Context) error
	// read returns everything that is there, in order, once a message came of which last says so.
	read(ctx context.Context, t *testing.T, name string, last func(message) bool) ([]message, error)
	absorbs() bool // drops a repeated posthouse-id
}

// A road leads from a source through a daemon and a proxy to a target of the test's own.
type road struct {
	name  string
	from  source
	to    target
	once  bool // delivery: exactly-once
	proxy *adaptertest.Proxy
	at    string // of the proxy, that leads to the target
}

// A trial is one run: a route under load, one kind of fault, and the check.
type trial struct {
	t     *testing.T
	r     road
	o     oracle
	name  string // of the route, the queue and so on
	file  string
	spool string // directory
	log   *daemonLog
	load  *load
	d     *daemon

	base      int        // bytes in the spool's directory at the start
	peak      int        // and most
	calm      metrics    // once messages flow
	found     int        // messages that the last daemon found in the journal; -1 if that is not known exactly
	leastKept int        // messages that must have been spooled, as counted outside
	before    laneStatus // last status of daemons that were killed, summed up
	hit       int        // messages in flight when answers were lost
	again     int        // their duplicates as counted by themselves
	h         history
}

const topology = `version: 1
brokers:
BROKERSdefaults:
  broker: { reconnect: { delay: 50ms, max_delay: 300ms }, heartbeat: 3s }
  route: { prefetch: PREFETCH, in_flight: WINDOW, retry: { delay: 50ms, max_delay: 1s }, max_message_size: 64KiB }
spool: { dir: DIR, segment_size: 1MiBQUOTA }
routes:
ROUTESadmin: { listen: 127.0.0.1:0 }
`

// newTrial starts a daemon with one route and puts it under load.
func newTrial(t *testing.T, r road, dir, quota string) *trial {
	t.Helper()
	x := prepare(t, r)
	begin(t, dir, quota, x)
	return x
}

// prepare makes the queues of a trial and opens its road.
func prepare(t *testing.T, r road) *trial {
	t.Helper()
	x := &trial{t: t, r: r, o: newOracle(t), found: -1}
	x.name = fmt.Sprintf("f%x", x.o.seed)[:12]
	r.proxy.Allow()
	r.proxy.SetLatency(2 * time.Millisecond)
	r.from.create(t, x.name)
	r.to.create(t, x.name)
	x.h = history{lane: x.name, window: window, unsettled: prefetch, absorbs: r.once || r.to.absorbs(), regives: !r.once && r.from.regives(), requeues: r.from.requeues()}
	return x
}

// begin starts one daemon for all of xs, and puts each under load.
func begin(t *testing.T, dir, quota string, xs ...*trial) {
	t.Helper()
	file, log := writeTopology(t, dir, quota, xs), &daemonLog{}
	d := startDaemon(t, file, log)
	for _, x := range xs {
		x.spool, x.file, x.log, x.d = dir, file, log, d
		t.Cleanup(x.report) // before the daemon is killed
		x.await("the lane passes messages through", func(s laneStatus) bool { return s.State == passThrough })
	}
	for _, x := range xs {
		x.base, _ = diskUse(dir)
		x.load = startLoad(t, x.o, x.name, x.r.from.sender(t, x.name))
	}
}

func writeTopology(t *testing.T, dir, quota string, xs []*trial) string {
	t.Helper()
	var brokers, routes string
	for _, x := range xs {
		brokers += fmt.Sprintf("  from-%s: %s\n  to-%s: %s\n", x.name, x.r.from.yaml(x.r.from.host()), x.name, x.r.to.yaml(x.r.at))
		routes += fmt.Sprintf("  - { name: %s, from: { broker: from-%s, %s }, to: { broker: to-%s, %s }, spool: { mode: auto }, delivery: %s }\n",
			x.name, x.name, x.r.from.from(x.name), x.name, x.r.to.to(x.name), map[bool]string{true: "exactly-once", false: "at-least-once"}[x.r.once])
	}
	text := strings.NewReplacer("BROKERS", brokers, "ROUTES", routes, "WINDOW", fmt.Sprint(window), "PREFETCH", fmt.Sprint(prefetch),
		"DIR", dir, "QUOTA", quota).Replace(topology)
	file := filepath.Join(t.TempDir(), "topology.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// report prints what is needed to find the cause of a failure.
func (x *trial) report() {
	if !x.t.Failed() {
		return
	}
	st, err := x.d.get("/api/v1/status")
	_, list := diskUse(x.spool)
	x.t.Logf("seed %d, %d messages sent\nstatus: %s (%v)\nspool:\n%s\nlog:\n%s", x.o.seed, x.load.sentOrZero(), st, err, list, x.log)
}

func (l *load) sentOrZero() int {
	if l == nil {
		return 0
	}
	return l.sent()
}

// await waits until the status shows the lane as wanted, and returns that status.
func (x *trial) await(what string, ok func(laneStatus) bool) laneStatus {
	x.t.Helper()
	st := x.awaitStatus(what, func(s status) bool { return ok(s.lane(x.name)) })
	return st.lane(x.name)
}

func (x *trial) awaitStatus(what string, ok func(status) bool) status {
	x.t.Helper()
	var st status
	var err error
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	late := until(ctx, what, func() bool {
		if st, err = x.d.status(); err != nil {
			var nonsense *json.UnmarshalTypeError
			return x.d.gone() || errors.As(err, &nonsense)
		}
		if st.Spool != nil {
			x.peak = max(x.peak, st.Spool.Bytes)
		}
		return ok(st)
	})
	if late != nil || err != nil {
		x.t.Fatalf("stuck: %v; %v; lane %+v", late, err, st.lane(x.name))
	}
	x.t.Logf("%5.2f s until %s", time.Since(begin).Seconds(), what)
	return st
}

// steady waits until messages flow.
func (x *trial) steady() {
	x.t.Helper()
	start := x.await("the daemon answers", func(s laneStatus) bool { return s.State != "" }).Forwarded
	x.await("messages flow", func(s laneStatus) bool { return s.State == passThrough && s.Forwarded >= start+scaled(some) })
	if x.calm == nil {
		x.calm = x.d.metrics(x.t)
	}
}

// cut takes the target away: connections are reset and none is let in. One that the proxy was just joining is reset by
// a later turn.
func (x *trial) cut() {
	x.t.Helper()
	x.r.proxy.Refuse()
	x.r.proxy.Cut()
	x.h.breaks++
	x.await("the link is lost", func(s laneStatus) bool {
		linked := s.State == passThrough || s.State == draining
		if linked {
			x.r.proxy.Cut()
		}
		return !linked
	})
}

// spooled waits until the lane has a backlog of n on the disk, and gets more.
func (x *trial) spooled(n int) laneStatus {
	x.t.Helper()
	x.load.speed(rate)
	st := x.await(fmt.Sprintf("the lane spools %d messages", n), func(s laneStatus) bool { return s.State == spooling && s.Spooled >= n })
	x.load.speed(rate / 4) // the way back must not depend on how fast this machine is today
	return st
}

// balance pauses the load and waits until every message is accounted for: forwarded, or in the spool. The target is
// away, so this does not change by itself. What a killed daemon had received and not settled may have come to its
// successor again.
func (x *trial) balance() {
	x.t.Helper()
	sent := x.load.pause()
	again := prefetch * x.h.kills
	st := x.await(fmt.Sprintf("%d messages are forwarded or spooled", sent), func(s laneStatus) bool {
		all := x.before.Forwarded + s.Forwarded + s.Spooled
		return s.State == spooling && all >= sent && all <= sent+again && (x.h.kills > 0 || s.received >= sent)
	})
	if x.h.kills == 0 && st.received != sent {
		x.t.Errorf("miscount: %d received, want %d", st.received, sent)
	}
	if x.h.kills > 0 {
		x.found = st.Spooled - st.SpooledTotal // nothing was forwarded since it started
	}
	x.leastKept = max(x.leastKept, st.Spooled)
	x.load.speed(rate / 4)
}

// recovered waits until the lane, under load, passes messages through again.
func (x *trial) recovered() {
	x.t.Helper()
	x.await("the lane has drained under load", func(s laneStatus) bool { return s.State == passThrough })
	x.load.speed(rate)
	x.steady()
}

// restart kills the daemon and starts another one, with what the last status says kept for the sums.
func (x *trial) restart(last laneStatus) {
	x.t.Helper()
	m := x.d.metrics(x.t)
	x.d.kill()
	x.h.kills++
	x.before.Forwarded += last.Forwarded
	x.before.received += last.received
	x.found = -1
	x.again += max(0, m.sum(metricDuplicates, x.route(), `kind="possible-sent"`))
	x.d = startDaemon(x.t, x.file, x.log)
}

func (x *trial) route() string { return fmt.Sprintf("route=%q", x.name) }
