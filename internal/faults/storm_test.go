package faults

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

var duration = flag.Duration("duration", 0, "how long the storm of faults lasts; 0 = the short form: every crash point ten times")

var only = flag.String("only", "", "let only those faults of the storm happen whose name matches this expression")

// TestStorm kills the daemon at every crash point, and breaks all that is around it, under load. The schedule follows from
// the seed. It ends with a table. The short form is between two NATS servers; the long one changes between these and real
// brokers, where they are there.
func TestStorm(t *testing.T) {
	t.Parallel()
	grounds := []*ground{natsGround(t)}
	if *duration > 0 && realBrokers() { // whose rounds take as long as three of the others and move fewer messages
		grounds = append(grounds, grounds[0], grounds[0], realGround(t))
	}
	s := newStorm(t)
	t.Cleanup(s.report)
	if *duration > 0 {
		for end := time.Now().Add(*duration); time.Now().Before(end) && !t.Failed(); {
			g := grounds[s.n%len(grounds)]
			s.round(g, s.some(g, g.long()))
		}
	} else {
		s.everything(grounds[0], shortRound)
	}
	s.judge()
}

// TestStormOnRealBrokers is the short form between Artemis, Kafka, RabbitMQ and NATS; the long one is part of TestStorm.
func TestStormOnRealBrokers(t *testing.T) {
	t.Parallel()
	if *duration > 0 {
		t.Skip("-duration: TestStorm does it")
	}
	g := realGround(t)
	s := newStorm(t)
	t.Cleanup(s.report)
	s.everything(g, 1000)
	s.judge()
}

// TestC22 lets daemons die inside transactions, before their end is asked for and before it is answered, on a lane from Kafka
// to Kafka that delivers exactly once. This Kafka is a fake one, which takes no time; TestStormOnRealBrokers has a real one.
func TestC22(t *testing.T) {
	t.Parallel()
	g := fakeGround(t)
	s := newStorm(t)
	t.Cleanup(s.report)
	s.wanted = c22Only
	s.everything(g, 1000)
	s.judge()
}

const c22Only = "^C22"

// Faults in a round. Every round has its own streams, spool and history, so that what has to be kept stays small.
const (
	shortRound    = 70
	longRound     = 40
	longRealRound = 25
)

func (g *ground) long() int {
	if g.name == "NATS" {
		return longRound
	}
	return longRealRound
}

// A storm is a sequence of rounds.
type storm struct {
	top    *testing.T
	t      *testing.T // of the round
	seed   uint64
	rng    *rand.Rand
	wanted string // -only
	log    *daemonLog
	n      int // rounds so far

	g      *ground // of the round
	lanes  []*stormLane
	asking *asking // nil: none
	dir    string  // with all that is below
	file   string
	text   string // of the topology, at first
	spool  string
	copied bool    // the spool is a copy, which no daemon has accepted
	asked  bool    // an operator looks after lanes that hold what may have arrived
	d      *daemon // nil: none runs
	admin  <-chan string

	faults  map[string]int // by kind
	story   []string       // of the round
	judged  []*history     // of the round
	sum     count
	voids   int // events that proved nothing, and were repeated
	changed int // changes of a topology
	again   int // deliveries that the source gave out again
	kills   int
	red     []finding
	began   time.Time
}

// A stormLane is one route of a round.
type stormLane struct {
	plan
	gone     map[string]bool // records that a daemon has found to be missing
	damaged  int             // and that it could not read
	o        oracle
	name     string
	load     *load
	h        history
	consumed func(context.Context) (open, again int, err error) // of the source; nil: it does not say
	taken    []message                                          // from the target, while the daemon ran
}

// A laneKind says what a lane is like.
type laneKind struct {
	name   string
	keys   string // of the route; DEAD is the address of its dead letters
	poison int
	once   bool // no duplicate at all, not even when the daemon dies
}

func newStorm(t *testing.T) *storm {
	o := newOracle(t)
	return &storm{top: t, t: t, seed: o.seed, rng: rand.New(rand.NewPCG(o.seed, 4)), wanted: *only, log: &daemonLog{},
		faults: map[string]int{}, began: time.Now()}
}

// everything is the short form: every fault as often as the ground wants, in rounds of so many.
func (s *storm) everything(g *ground, most int) {
	due := s.everyOne(g)
	for events := range slices.Chunk(due, most) {
		if !s.top.Failed() {
			s.round(g, events)
		}
	}
	if !s.top.Failed() {
		if s.wanted == "" {
			s.visitedOf(refused, g.visits)
		}
		s.visited(due)
	}
}

// round sets up lanes, lets events happen, heals, and checks. A red one leaves all that is known of it.
func (s *storm) round(g *ground, events []event) {
	s.n++
	s.top.Run(fmt.Sprintf("round=%d", s.n), func(t *testing.T) {
		s.t, s.g = t, g
		defer s.leave()
		defer s.killQuietly()
		s.prepare()
		for _, e := range events {
			if t.Failed() {
				return
			}
			s.doing(e)
			s.story = append(s.story, fmt.Sprintf("%7.2f s %s (%d, %v): sent %v", time.Since(s.began).Seconds(), e.kind, e.n, e.pass, s.sent()))
		}
		s.finish()
	})
}

// killQuietly ends the daemon of a round that failed.
func (s *storm) killQuietly() {
	if s.d != nil {
		s.d.kill()
		s.d = nil
	}
}

const stormTopology = `version: 1
brokers:
BROKERSdefaults:
  broker: { reconnect: { delay: 20ms, max_delay: 100ms }, heartbeat: HEARTBEAT }
  route: { prefetch: WINDOW, in_flight: WINDOW, retry: { delay: 20ms, max_delay: 200ms }, max_message_size: 64KiB }
spool: { dir: DIR, segment_size: 64KiB }
routes:
ROUTESBRIDGESadmin: { listen: 127.0.0.1:0, log: { level: debug } }
`

// prepare makes streams, a spool and a topology, and begins to send.
func (s *storm) prepare() {
	s.t.Helper()
	s.dir = s.t.TempDir()
	s.asked, s.copied, s.lanes, s.story, s.judged = false, false, nil, nil, nil
	s.spool, s.file = filepath.Join(s.dir, "spool"), filepath.Join(s.dir, "topology.yaml")
	s.log.restart(s.t, filepath.Join(s.dir, "daemon.log"))
	var routes, brokers strings.Builder
	var sites []*site
	for i, p := range s.g.plans(s.rng) {
		l := s.lane(i, p)
		s.lanes = append(s.lanes, l)
		routes.WriteString(l.yaml())
		sites = append(sites, p.from, p.to)
	}
	if s.asking = s.askIn(); s.asking != nil {
		sites = append(sites, s.asking.from, s.asking.to)
	}
	for i, at := range sites {
		if !slices.ContainsFunc(sites[:i], func(before *site) bool { return before.name == at.name }) {
			brokers.WriteString(at.yaml())
		}
	}
	s.text = strings.NewReplacer("BROKERS", brokers.String(), "ROUTES", routes.String(), "BRIDGES", s.asking.yaml(), "WINDOW", fmt.Sprint(s.g.window),
		"HEARTBEAT", s.g.heartbeat.String(), "DIR", s.spool).Replace(stormTopology)
	s.write(s.text)
	for _, l := range s.lanes {
		l.load = startLoad(s.t, l.o, l.name, l.from.end.sender(s.t, l.source()))
		l.load.speed(s.g.rate)
	}
	s.asking.begin(s)
}

// lane makes the i-th lane of the round, with what it needs at its brokers.
func (s *storm) lane(i int, p plan) *stormLane {
	l := &stormLane{plan: p, name: fmt.Sprintf("%s-%x-%d-%d", p.kind.name, s.seed&0xffff, s.n, i), gone: map[string]bool{}}
	l.o = oracle{seed: s.seed + uint64(s.n*16+i), small: true, poison: p.kind.poison}
	l.h = history{lane: l.name, window: s.g.window, unsettled: s.g.window, absorbs: p.kind.once || p.to.end.absorbs(),
		regives: !p.kind.once && p.from.end.regives(), requeues: p.from.end.requeues()}
	p.create(s.t, l.name, l.dead())
	if c, ok := p.from.end.(countable); ok {
		l.consumed = c.consumedBy(s.t, l.source())
	}
	return l
}

func (l *stormLane) dead() string { return "dead-" + l.name }

func (l *stormLane) source() string { return l.name + sourceMark(l.plan) }

// yaml is its route.
func (l *stormLane) yaml() string {
	to := l.to.name + "-out"
	keys := strings.ReplaceAll(l.kind.keys, "DEAD", "broker: "+to+", "+l.to.end.to(l.dead()))
	return fmt.Sprintf("  - { name: %s, from: { broker: %s-in, %s }, to: { broker: %s, %s }, %s }\n", l.name, l.from.name,
		l.from.end.from(l.source()), to, l.to.end.to(l.name), keys)
}

// gates are the proxies before the sources or before the targets of the lanes, each once.
func (s *storm) gates(at side) (ps []*adaptertest.Proxy) {
	for _, l := range s.lanes {
		if p := l.gate(at); p != nil && !slices.Contains(ps, p) {
			ps = append(ps, p)
		}
	}
	return ps
}

func (l *stormLane) gate(at side) *adaptertest.Proxy {
	if at == near {
		return l.from.near
	}
	return l.to.far
}

// sent is how many messages each lane was sent.
func (s *storm) sent() (ns []int) {
	for _, l := range s.lanes {
		ns = append(ns, l.load.sent())
	}
	return ns
}

// leastMessages is how many a storm has to send.
const leastMessages = 1000

// judge says void where the storm did not do its work.
func (s *storm) judge() {
	if s.again == 0 && s.wanted != c22Only { // there nothing was settled at the source when its daemon died, and that is a log
		s.top.Errorf("%s: no source has given out a message again", void)
	}
	if s.sum.messages < leastMessages {
		s.top.Errorf("%s: %d messages", void, s.sum.messages)
	}
}

// report prints the table.
func (s *storm) report() {
	if verdict := s.verdictOf(s.top); verdict != "green" {
		s.top.Logf("what happened in the last round:\n%s\nlog:\n%s", strings.Join(s.story, "\n"), s.log)
	}
	s.top.Log("\n" + s.table(s.top))
}

func (s *storm) verdictOf(t *testing.T) string {
	switch {
	case !t.Failed():
		return "green"
	case len(s.red) > 0:
		return "red"
	}
	return "void"
}

func (s *storm) table(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "storm: %s\nseed                   %d\nduration               %v\nrounds                 %d\n", s.verdictOf(t), s.seed,
		time.Since(s.began).Round(time.Second), s.n)
	for _, line := range []struct {
		name string
		n    int
	}{{"messages", s.sum.messages}, {"void, repeated", s.voids}, {"kills", s.kills}, {"redeliveries", s.again}, {"duplicates explained", s.sum.explained},
		{"duplicates unexplained", s.sum.unexplained}, {"lost", s.sum.lost}, {"lost and reported", s.sum.reported}} {
		fmt.Fprintf(&b, "%-22s %d\n", line.name, line.n)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.faults)) {
		fmt.Fprintf(&b, "  %-20s %d\n", kind, s.faults[kind])
	}
	return b.String()
}
