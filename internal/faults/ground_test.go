package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A stormEnd is a broker that a storm takes messages from and sends them to. It has the methods of both and one more.
type stormEnd interface {
	source
	target
	// all takes or reads what is there now, in order.
	all(ctx context.Context, t *testing.T, name string) ([]message, error)
}

// A choosy end can be told to refuse messages that are larger than most bytes: poison.
type choosy interface {
	createChoosy(t *testing.T, name string, most int)
}

// A countable end says how many messages of a source are not settled, and how many were given out again.
type countable interface {
	consumedBy(t *testing.T, name string) func(context.Context) (open, again int, err error)
}

// A site is one broker of a storm.
type site struct {
	name      string
	end       stormEnd
	near, far *adaptertest.Proxy // before it as a source and as a target; nil: the daemon is there without one
	nearAt    string
	farAt     string
	extra     string // keys of its entry as a target
	restarts  bool   // it is the storm's own
	silent    bool   // as a source it does not name its messages: what a lost link leaves unsettled comes again as new
}

// A plan is one lane of a round.
type plan struct {
	kind     laneKind
	from, to *site
}

// A ground is where a storm rages: brokers, and what its lanes are like.
type ground struct {
	name        string
	plans       func(*rand.Rand) []plan
	bridge      plan // of requests; no sites: none
	rate        int  // messages that each lane is sent in a second
	window      int  // in_flight and prefetch
	heartbeat   time.Duration
	visits      int // of each crash point in the short form
	others      int // and of every other fault
	unreachable []string
}

// proxied puts a proxy before a site.
func proxied(t *testing.T, addr string) (*adaptertest.Proxy, string) {
	t.Helper()
	p := adaptertest.NewProxy(t)
	at, err := p.Relay(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p, at
}

func newSite(t *testing.T, name string, end stormEnd) *site {
	s := &site{name: name, end: end}
	s.near, s.nearAt = proxied(t, end.host())
	s.far, s.farAt = proxied(t, end.host())
	return s
}

var laneKinds = []laneKind{
	{"pass", "spool: { mode: auto }", 0, false},
	{"keep", "spool: { mode: always }", 0, false},
	{"poison", "spool: { mode: always }, dead_letter: { DEAD }", 15, false},
	{"once", "delivery: exactly-once, max_outage: 5m", 0, true},
	{"once-poison", "delivery: exactly-once, max_outage: 5m, dead_letter: { DEAD }", 15, true},
}

// natsGround is two NATS servers of the storm's own: a daemon between them dies and comes back many times in a second.
func natsGround(t *testing.T) *ground {
	t.Helper()
	from, to := newSite(t, "from", newNATS(t)), newSite(t, "to", newNATS(t))
	to.extra, to.restarts = "duplicate_window: 10m", true
	g := natsRules()
	g.bridge = plan{laneKinds[0], from, to}
	g.plans = func(*rand.Rand) (ps []plan) {
		for _, k := range laneKinds {
			ps = append(ps, plan{k, from, to})
		}
		return ps
	}
	return g
}

// natsRules are what a storm does there.
func natsRules() *ground {
	g := &ground{name: "NATS", rate: 120, window: 256, heartbeat: 2 * time.Second, visits: 10, others: 4, unreachable: []string{"C22"}}
	if *duration > 0 {
		g.rate = 450
	}
	return g
}

// realBrokers reports whether they are there.
func realBrokers() bool {
	for _, name := range []string{broker.Artemis, broker.Kafka, broker.RabbitMQ4} {
		if os.Getenv(broker.Variable(name)) == "" {
			return false
		}
	}
	return true
}

// realGround is real brokers. Artemis and Kafka are the storm's own as targets, for they are restarted; sources and RabbitMQ
// are those of all tests, which nobody may stop.
func realGround(t *testing.T) *ground {
	t.Helper()
	artemis, kafka, rabbit, nats := newSite(t, "artemis", sharedArtemis(t)), &site{name: "kafka", end: sharedKafka(t)},
		newSite(t, "rabbit", sharedRabbit(t)), newSite(t, "nats", newNATS(t))
	nats2 := newSite(t, "nats2", newNATS(t))
	artemis.silent, rabbit.silent, nats2.restarts, nats2.extra = true, true, true, "duplicate_window: 10m"
	kafka.nearAt = kafka.end.host()
	own := broker.Private(t, broker.Artemis)
	artemis2 := newSite(t, "artemis2", &amqpEnd{url: own.Env()[broker.EnvArtemis], own: own})
	kafka2 := ownKafka(t)
	artemis2.restarts = true
	unique := *artemis
	unique.end = artemis.end.(*amqpEnd).identified()
	g := &ground{name: "real brokers", rate: 60, window: 128, heartbeat: 3 * time.Second, visits: 1, others: 1,
		bridge: plan{laneKinds[1], nats, nats2}}
	g.plans = func(r *rand.Rand) []plan {
		loose := func() laneKind { return laneKinds[r.IntN(2)] }
		all := []plan{
			{laneKinds[3], kafka, kafka2}, {laneKinds[2], rabbit, nats2}, // always there: C22, C12
			{loose(), artemis, kafka2}, {loose(), kafka, artemis2}, {loose(), nats, rabbit}, {laneKinds[3], &unique, artemis2},
			{laneKinds[2], artemis, kafka2}, {laneKinds[3], nats, artemis2}, {laneKinds[4], kafka, nats2}, {loose(), rabbit, artemis2},
		}
		if *duration == 0 {
			return all[:6]
		}
		few := all[2:]
		r.Shuffle(len(few), func(i, j int) { few[i], few[j] = few[j], few[i] })
		return all[:6]
	}
	return g
}

// ownKafka is a Kafka of the storm's own, which a daemon reaches by a proxy only.
func ownKafka(t *testing.T) *site {
	t.Helper()
	s := &site{name: "kafka2", restarts: true, far: adaptertest.NewProxy(t)}
	own := broker.PrivateVia(t, broker.Kafka, s.far.Relay)
	s.end, s.farAt = &kafkaEnd{addr: own.Env()[broker.EnvKafka], own: own}, own.Env()[broker.EnvKafkaVia]
	return s
}

// fakeGround is Kafka's protocol in this process, for what dies in the middle of transactions.
func fakeGround(t *testing.T) *ground {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := &site{name: "kafka", end: &kafkaEnd{addr: c.ListenAddrs()[0]}, nearAt: c.ListenAddrs()[0], farAt: c.ListenAddrs()[0]}
	g := fakeRules()
	g.plans = func(*rand.Rand) []plan { return []plan{{laneKinds[3], s, s}} }
	return g
}

func fakeRules() *ground {
	return &ground{name: "fake Kafka", rate: 120, window: 64, heartbeat: 2 * time.Second, visits: 10}
}

// yaml are the entries of the site's broker: as a source, and as a target.
func (s *site) yaml() string {
	var b strings.Builder
	if s.nearAt != "" {
		fmt.Fprintf(&b, "  %s-in: %s\n", s.name, s.end.yaml(s.nearAt))
	}
	if s.farAt != "" {
		entry := s.end.yaml(s.farAt)
		if s.extra != "" {
			entry = strings.TrimSuffix(entry, " }") + ", " + s.extra + " }"
		}
		fmt.Fprintf(&b, "  %s-out: %s\n", s.name, entry)
	}
	return b.String()
}

// create makes what lanes of that name need at its end; choosily where it is to refuse poison.
func (p plan) create(t *testing.T, name, dead string) {
	t.Helper()
	p.from.end.create(t, name+sourceMark(p))
	if p.kind.poison == 0 {
		p.to.end.create(t, name)
		return
	}
	p.to.end.(choosy).createChoosy(t, name, refusedBody+2048) // headers
	p.to.end.create(t, dead)
}

// sourceMark is what the name of a source has more than that of its target, where both are at one broker.
func sourceMark(p plan) string {
	if p.from == p.to {
		return "-source"
	}
	return ""
}
