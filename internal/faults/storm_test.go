package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

var duration = flag.Duration("duration", 0, "how long the storm of faults lasts; 0 = the short form: every crash point ten times")

var only = flag.String("only", "", "let only those faults of the storm happen whose name matches this expression")

// visits is how often the short form comes to every crash point, and others to every other fault.
const (
	visits = 10
	others = 4
)

// TestStorm kills the daemon at every crash point, and breaks all that is around it, under load. The schedule follows from
// the seed. It ends with a table.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	t.Cleanup(s.report)
	if *duration > 0 {
		for end := time.Now().Add(*duration); time.Now().Before(end) && !t.Failed(); {
			s.round(s.some(longRound))
		}
	} else {
		for events := range slices.Chunk(s.everyOne(), shortRound) {
			if !t.Failed() {
				s.round(events)
			}
		}
	}
	if !t.Failed() && *only == "" {
		s.visited()
	}
	s.judge()
}

// Faults in a round. Every round has its own streams, spool and history, so that what has to be kept stays small.
const (
	shortRound = 70
	longRound  = 40
)

// A storm is a sequence of rounds between two NATS servers.
type storm struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	from, to *natsEnd
	near     *adaptertest.Proxy // before the source
	far      *adaptertest.Proxy // before the target
	nearAt   string
	farAt    string
	log      *daemonLog
	n        int // rounds so far

	lanes  []*stormLane
	file   string
	spool  string
	copied bool    // the spool is a copy, which no daemon has accepted
	asked  bool    // an operator looks after lanes that hold what may have arrived
	d      *daemon // nil: none runs
	admin  <-chan string

	faults map[string]int // by kind
	story  []string       // of the round
	sum    count
	again  int // deliveries that the source gave out again
	kills  int
	red    []finding
	began  time.Time
}

// A stormLane is one route of a round.
type stormLane struct {
	gone    map[string]bool // records that a daemon has found to be missing
	damaged int             // and that it could not read
	kind    laneKind
	o       oracle
	name    string
	load    *load
	from    jetstream.JetStream
	h       history
	to      jetstream.JetStream
}

// A laneKind says what a lane is like.
type laneKind struct {
	name   string
	keys   string // of the route
	poison int
	once   bool // no duplicate at all, not even when the daemon dies
}

var laneKinds = []laneKind{
	{"pass", "spool: { mode: auto }", 0, false},
	{"keep", "spool: { mode: always }", 0, false},
	{"poison", "spool: { mode: always }, dead_letter: { broker: to, subject: DEAD }", 15, false},
	{"once", "delivery: exactly-once, max_outage: 5m", 0, true},
	{"once-poison", "delivery: exactly-once, max_outage: 5m, dead_letter: { broker: to, subject: DEAD }", 15, true},
}

const (
	stormRate   = 120 // messages that each lane is sent in a second; longRate in the long form
	longRate    = 450
	stormWindow = 256 // in_flight and prefetch
)

func newStorm(t *testing.T) *storm {
	o := newOracle(t)
	s := &storm{t: t, seed: o.seed, rng: rand.New(rand.NewPCG(o.seed, 4)), from: newNATS(t), to: newNATS(t), log: &daemonLog{},
		faults: map[string]int{}, began: time.Now()}
	near, far := behind(t, s.from, s.from.addr), behind(t, s.to, s.to.addr)
	s.near, s.nearAt, s.far, s.farAt = near.proxy, near.at, far.proxy, far.at
	t.Cleanup(func() { s.kill() })
	return s
}

// round sets up lanes, lets events happen, heals, and checks.
func (s *storm) round(events []event) {
	s.n++
	s.prepare()
	for _, e := range events {
		if s.t.Failed() {
			return
		}
		e.do(s)
		s.story = append(s.story, fmt.Sprintf("%7.2f s %s (%d, %v): sent %v", time.Since(s.began).Seconds(), e.kind, e.n, e.pass, s.sent()))
	}
	s.finish()
}

const stormTopology = `version: 1
brokers:
  from: { type: nats, addresses: ["nats://NEAR"] }
  to: { type: nats, addresses: ["nats://FAR"], duplicate_window: 10m }
defaults:
  broker: { reconnect: { delay: 20ms, max_delay: 100ms }, heartbeat: 2s }
  route: { prefetch: PREFETCH, in_flight: WINDOW, retry: { delay: 20ms, max_delay: 200ms }, max_message_size: 64KiB }
spool: { dir: DIR, segment_size: 64KiB }
routes:
ROUTESadmin: { listen: 127.0.0.1:0 }
`

// prepare makes streams, a spool and a topology, and begins to send.
func (s *storm) prepare() {
	s.t.Helper()
	s.asked, s.lanes, s.story, s.spool = false, nil, nil, filepath.Join(s.t.TempDir(), "spool")
	var routes strings.Builder
	for i, k := range laneKinds {
		l := &stormLane{kind: k, name: fmt.Sprintf("%s-%d", k.name, s.n), gone: map[string]bool{}, from: s.from.client(s.t), to: s.to.client(s.t)}
		l.o = oracle{seed: s.seed + uint64(s.n*len(laneKinds)+i), small: true, poison: k.poison}
		l.h = history{lane: l.name, window: stormWindow, unsettled: stormWindow, absorbs: true, regives: !k.once}
		s.stream(s.from, l.name, 0)
		s.stream(s.to, l.name, refusedBody)
		s.stream(s.to, l.dead(), 0)
		fmt.Fprintf(&routes, "  - { name: %s, from: { broker: from, stream: %s }, to: { broker: to, subject: %s }, %s }\n", l.name, l.name, l.name,
			strings.ReplaceAll(k.keys, "DEAD", l.dead()))
		s.lanes = append(s.lanes, l)
	}
	text := strings.NewReplacer("NEAR", s.nearAt, "FAR", s.farAt, "ROUTES", routes.String(), "WINDOW", fmt.Sprint(stormWindow),
		"PREFETCH", fmt.Sprint(stormWindow), "DIR", s.spool).Replace(stormTopology)
	s.file = filepath.Join(s.t.TempDir(), "topology.yaml")
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, l := range s.lanes {
		l.load = startLoad(s.t, l.o, l.name, s.from.sender(s.t, l.name))
		l.load.speed(stormRate)
		if *duration > 0 {
			l.load.speed(longRate)
		}
	}
}

func (l *stormLane) dead() string { return "dead-" + l.name }

// stream makes a stream that takes messages up to a size, 0 for all.
func (s *storm) stream(n *natsEnd, name string, most int32) {
	s.t.Helper()
	if most > 0 {
		most += 2048 // of headers
	}
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name}, Duplicates: 10 * time.Minute, MaxMsgSize: most}
	if _, err := n.client(s.t).CreateStream(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
}

// finish heals everything, ends the load, and checks what has come.
func (s *storm) finish() {
	s.t.Helper()
	s.heal()
	s.running()
	for _, l := range s.lanes {
		l.load.stop()
	}
	s.quiet("all that was sent has been delivered", patience)
	for _, l := range s.lanes {
		for n := l.load.one(); l.o.poisonous(n); n = l.load.one() {
		}
		l.load.open.Wait()
	}
	s.quiet("a fresh message on every lane is delivered", freshness)
	s.d.stop()
	s.d = nil
	for _, l := range s.lanes {
		s.verdict(l)
	}
	if s.t.Failed() {
		return
	}
	for _, l := range s.lanes {
		for _, e := range []*natsEnd{s.from, s.to, s.to} {
			_ = e.client(s.t).DeleteStream(s.t.Context(), l.name)
		}
		_ = s.to.client(s.t).DeleteStream(s.t.Context(), l.dead())
	}
}

// quiet waits until nothing is at a source and nothing on its way.
func (s *storm) quiet(what string, most time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), most)
	defer cancel()
	err := until(ctx, what, func() bool {
		for _, l := range s.lanes {
			if open, _, err := s.from.consumed(ctx, l.from, l.name); err != nil || open > 0 {
				return false
			}
		}
		st, err := s.d.status()
		if err == nil && s.asked {
			s.resolve(st)
		}
		return err == nil && st.open() == 0
	})
	if err != nil {
		st, _ := s.d.get("/api/v1/status")
		s.t.Fatalf("%s: %v\nstatus: %s\nlog:\n%s", stuck, err, st, s.log)
	}
}

// verdict checks the history of a lane; that of its dead letters is one of its own.
func (s *storm) verdict(l *stormLane) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_, again, err := s.from.consumed(ctx, l.from, l.name)
	good, err1 := s.to.all(ctx, s.t, l.name)
	dead, err2 := s.to.all(ctx, s.t, l.dead())
	if err := errors.Join(err, err1, err2); err != nil {
		s.t.Fatal(err)
	}
	s.again += again
	sends := l.load.outcomes()
	h, buried := l.h, l.h
	buried.lane = l.dead()
	h.sends, buried.sends = slices.Clone(sends), slices.Clone(sends)
	for n := range sends {
		if l.o.poisonous(n) {
			h.sends[n] = failed
		} else {
			buried.sends[n] = failed
		}
	}
	h.arrivals, buried.arrivals = l.arrivals(good), l.arrivals(dead)
	h.figures = append(h.figures, figure{void, "sends without an answer", len(sends) - l.load.count(taken), 0, 0})
	s.judged(&h)
	s.judged(&buried)
	s.sum.messages -= len(sends) // they are in both
}

// sent is how many messages each lane was sent.
func (s *storm) sent() (ns []int) {
	for _, l := range s.lanes {
		ns = append(ns, l.load.sent())
	}
	return ns
}

// arrived is how many messages are at the target, 0 if it does not say.
func (l *stormLane) arrived(ctx context.Context) int {
	st, err := l.to.Stream(ctx, l.name)
	if err != nil {
		return 0
	}
	return int(st.CachedInfo().State.Msgs)
}

func (l *stormLane) arrivals(ms []message) (as []arrival) {
	for _, m := range ms {
		as = append(as, l.o.read(l.name, m))
	}
	return as
}

func (s *storm) judged(h *history) {
	found, c := examine(h)
	for _, f := range found {
		s.t.Errorf("round %d: %s", s.n, f)
	}
	s.red = append(s.red, found...)
	s.sum.messages += c.messages
	s.sum.explained += c.explained
	s.sum.unexplained += c.unexplained
	s.sum.lost += c.lost
	s.sum.reported += c.reported
}

// judge says void where the storm did not do its work.
func (s *storm) judge() {
	if s.again == 0 {
		s.t.Errorf("%s: no source has given out a message again", void)
	}
	if s.sum.messages < 1000 {
		s.t.Errorf("%s: %d messages", void, s.sum.messages)
	}
}

// report prints the table.
func (s *storm) report() {
	verdict := "green"
	if s.t.Failed() {
		verdict = "void"
		if len(s.red) > 0 {
			verdict = "red"
		}
	}
	var b strings.Builder
	if verdict != "green" {
		s.t.Logf("what happened in the last round:\n%s\nlog:\n%s", strings.Join(s.story, "\n"), s.log)
	}
	fmt.Fprintf(&b, "storm: %s\nseed                   %d\nduration               %v\nrounds                 %d\n", verdict, s.seed,
		time.Since(s.began).Round(time.Second), s.n)
	for _, line := range []struct {
		name string
		n    int
	}{{"messages", s.sum.messages}, {"kills", s.kills}, {"redeliveries", s.again}, {"duplicates explained", s.sum.explained},
		{"duplicates unexplained", s.sum.unexplained}, {"lost", s.sum.lost}, {"lost and reported", s.sum.reported}} {
		fmt.Fprintf(&b, "%-22s %d\n", line.name, line.n)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.faults)) {
		fmt.Fprintf(&b, "  %-20s %d\n", kind, s.faults[kind])
	}
	s.t.Log("\n" + b.String())
}
