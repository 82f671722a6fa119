package faults

import (
	"context"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// artemisTarget is an Artemis of the test's own behind a proxy.
func artemisTarget(t *testing.T) road {
	own := broker.Private(t, broker.Artemis)
	e := &amqpEnd{url: own.Env()[broker.EnvArtemis], own: own}
	return behind(t, e, e.host())
}

// behind puts a proxy before a target.
func behind(t *testing.T, to target, addr string) road {
	t.Helper()
	p := adaptertest.NewProxy(t)
	at, err := p.Relay(addr)
	if err != nil {
		t.Fatal(err)
	}
	return road{to: to, proxy: p, at: at}
}

// between completes a road.
func (r road) between(name string, from source) road {
	r.name, r.from = name, from
	return r
}

// exactlyOnce makes a road on which nothing comes twice, whatever dies.
func (r road) exactlyOnce() road {
	r.once = true
	return r
}

func sharedKafka(t *testing.T) *kafkaEnd {
	return &kafkaEnd{addr: broker.Need(t, broker.Kafka)}
}

// TestArtemisTarget: two kinds of source share one target, so their trials take turns.
func TestArtemisTarget(t *testing.T) {
	t.Parallel()
	from, kafka := sharedArtemis(t), sharedKafka(t)
	to := artemisTarget(t)
	trials(t, to.between("ArtemisToArtemis", from), to.between("KafkaToArtemisOnce", kafka).exactlyOnce())
	once := to.between("ArtemisToArtemisOnce", from.identified()).exactlyOnce()
	t.Run("ArtemisToArtemisOnce/LinkCut", func(t *testing.T) { linkCut(t, once) })
	t.Run("ArtemisToArtemisOnce/KilledWhileDraining", func(t *testing.T) { killedWhileDraining(t, once) })
}

func TestKafkaTarget(t *testing.T) {
	t.Parallel()
	from := sharedArtemis(t)
	p := adaptertest.NewProxy(t)
	own := broker.PrivateVia(t, broker.Kafka, p.Relay)
	e := &kafkaEnd{addr: own.Env()[broker.EnvKafka], own: own}
	r := road{name: "ArtemisToKafka", from: from, to: e, proxy: p, at: own.Env()[broker.EnvKafkaVia]}
	trials(t, r)
	once := r.between("KafkaToKafkaOnce", sharedKafka(t)).exactlyOnce()
	t.Run("KafkaToKafkaOnce/LinkCut", func(t *testing.T) { linkCut(t, once) })
	t.Run("KafkaToKafkaOnce/KilledWhileDraining", func(t *testing.T) { killedWhileDraining(t, once) })
}

func TestNATSTarget(t *testing.T) {
	t.Parallel()
	from := sharedRabbit(t)
	n := newNATS(t)
	trials(t, behind(t, n, n.addr).between("RabbitMQToNATS", from))
}

// trials runs every fault on every road.
func trials(t *testing.T, rs ...road) {
	for _, r := range rs {
		for _, f := range []struct {
			name string
			run  func(*testing.T, road)
		}{
			{"TargetStopped", targetStopped}, {"LinkCut", linkCut}, {"KilledWhileSpooling", killedWhileSpooling},
			{"KilledWhileDraining", killedWhileDraining}, {"DiskFull", diskFull},
		} {
			t.Run(r.name+"/"+f.name, func(t *testing.T) { f.run(t, r) })
		}
	}
}

// targetStopped: the broker itself is stopped in order, for a while, and started again with its data.
func targetStopped(t *testing.T, r road) {
	x := newTrial(t, r, t.TempDir(), "")
	x.steady()
	r.to.stop(t.Context())
	away := true
	t.Cleanup(func() {
		if away { // the next trial wants it
			_ = r.to.start(context.Background())
		}
	})
	x.h.breaks++
	x.spooled(backlog())
	x.balance()
	if err := r.to.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	away = false
	x.recovered()
	x.finish()
}

// flaps is how often a link comes for a moment and goes again.
const flaps = 3

// linkCut: a link that loses answers, stays away, and flaps before it stays.
func linkCut(t *testing.T, r road) {
	x := newTrial(t, r, t.TempDir(), "")
	x.steady()
	x.holdAnswers(passThrough)
	r.proxy.Release()
	x.h.breaks++
	x.cut()
	x.spooled(backlog())
	x.balance()
	for range flaps {
		at := x.await("the daemon answers", func(s laneStatus) bool { return s.State != "" }).Forwarded
		r.proxy.Allow()
		x.await("some messages pass", func(s laneStatus) bool { return s.Forwarded > at })
		x.cut()
		x.await("the lane spools again", func(s laneStatus) bool { return s.State == spooling })
	}
	r.proxy.Allow()
	x.recovered()
	x.finish()
}

// holdAnswers lets messages through and holds what the target answers, until nothing is confirmed any more, half the
// window is without an answer, and others wait behind: what is in flight has arrived, or part of it, and the daemon does
// not know.
func (x *trial) holdAnswers(state string) laneStatus {
	x.t.Helper()
	x.r.proxy.CutAfterRequest()
	forwarded, still, least := -1, 0, window/2
	if x.r.once { // a transaction takes what is there
		least = 1
	}
	st := x.await("what is in flight is without an answer", func(s laneStatus) bool {
		if still++; s.Forwarded != forwarded {
			forwarded, still = s.Forwarded, 0
		}
		over := s.State != state
		if x.r.once { // all its messages pass the spool, so it may be draining at any time
			over = s.State == spooling
		}
		return s.InFlight >= least && s.Waiting > 0 && still >= 10 || over
	})
	x.hit = st.InFlight
	x.add(bite("messages in flight without an answer", x.hit, least), bite("messages that wait behind them", st.Waiting, 1))
	return st
}

// killedWhileSpooling: the daemon dies while it writes to its journal, and another one goes on with it.
func killedWhileSpooling(t *testing.T, r road) {
	x := newTrial(t, r, t.TempDir(), "")
	x.steady()
	x.cut()
	x.spooled(backlog() / 2)
	x.balance()
	last := x.spooled(backlog() * 2 / 3)
	x.restart(last)
	x.await("the next daemon has the backlog", func(s laneStatus) bool { return s.State == spooling && s.Spooled >= last.Spooled })
	x.spooled(backlog())
	x.balance()
	r.proxy.Allow()
	x.recovered()
	x.finish()
}

// killedWhileDraining: the daemon dies while it sends what it has kept, and what is in flight has arrived.
func killedWhileDraining(t *testing.T, r road) {
	x := newTrial(t, r, t.TempDir(), "")
	r.proxy.SetLatency(15 * time.Millisecond)
	x.steady()
	x.cut()
	x.spooled(backlog())
	x.balance()
	r.proxy.Allow()
	x.await("the lane drains", func(s laneStatus) bool {
		return s.State == draining && s.Spooled <= backlog()*3/4 || s.State == passThrough
	})
	last := x.holdAnswers(draining)
	x.add(bite("messages in the spool when the daemon was killed", last.Spooled, 2*window))
	x.restart(last)
	r.proxy.Allow()
	r.proxy.SetLatency(2 * time.Millisecond)
	x.recovered()
	x.finish()
}
