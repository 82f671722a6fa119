//go:build cgo && ibmmq

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/internal/mqi/standin"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

// mqTags are what the program is built with, so that it has IBM MQ.
var mqTags = []string{"ibmmq"}

// kills is how many times TestKillsAtIBMMQ kills the daemon; -scale makes it more.
const kills = 20

// managers numbers the queue managers of these tests.
var managers atomic.Int64

// mqEnd is a queue manager: the stand-in, in this process, so that it outlives every daemon.
type mqEnd struct{ m *qmgr.Manager }

func newMQ(t *testing.T) *mqEnd {
	t.Helper()
	library, err := standin.Library()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Unsetenv("POSTHOUSE_MQ_LIB") })
	if err := os.Setenv("POSTHOUSE_MQ_LIB", library); err != nil { // of the daemons; t.Setenv does not go with parallel tests
		t.Fatal(err)
	}
	m, err := qmgr.Open(qmgr.Options{Name: fmt.Sprintf("QM%d", managers.Add(1))}) // two of one name would be one to the daemon
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return &mqEnd{m}
}

func (e *mqEnd) host() string { return e.m.Addr() }

func (e *mqEnd) yaml(at string) string {
	return fmt.Sprintf(`{ type: ibmmq, addresses: [%q], channel: APP.SVRCONN, queue_manager: %s }`, at, e.m.Name())
}

// create makes the queue, and one for the position of its lane. The names of both ends of a trial are equal.
func (e *mqEnd) create(t *testing.T, name string) {
	t.Helper()
	for _, q := range []qmgr.Queue{{Name: name, MaxDepth: 1 << 20}, {Name: name + ".STATE", Persistent: true, OpenExclusive: true}} {
		if err := e.m.Define(q); err != nil {
			t.Fatal(err)
		}
	}
}

// As a source. A killed reader has the queue until its connection is seen to be gone, so the order holds. It names its
// messages, but what passes through a daemon leaves no trace of its name when that dies.

func (e *mqEnd) from(name string) string { return "queue: " + name + ", exclusive: true" }
func (e *mqEnd) requeues() bool          { return false }
func (e *mqEnd) regives() bool           { return true }

func (e *mqEnd) left(_ *testing.T, name string) int {
	there, open := e.m.Messages(name)
	return len(there) + len(open)
}

func (e *mqEnd) sender(_ *testing.T, name string) sender { return mqSender{e.m, name} }

type mqSender struct {
	m    *qmgr.Manager
	name string
}

func (s mqSender) send(_ context.Context, m message, done func(outcome)) {
	msg := qmgr.Message{MD: qmgr.Descriptor{Persistence: 1}, Body: m.body}
	for name, v := range m.headers {
		msg.Props = append(msg.Props, qmgr.Property{Name: bridge.EscName(name), Type: 1024, Value: []byte(v)}) // MQTYPE_STRING
	}
	if err := s.m.Put(s.name, msg); err != nil {
		done(failed)
		return
	}
	done(taken)
}

// As a target.

func (e *mqEnd) absorbs() bool               { return false }
func (e *mqEnd) to(name string) string       { return "queue: " + name + ", state_queue: " + name + ".STATE" }
func (e *mqEnd) stop(context.Context)        { e.m.Stop() }
func (e *mqEnd) start(context.Context) error { return e.m.Start() }

func (e *mqEnd) read(ctx context.Context, _ *testing.T, name string, last func(message) bool) ([]message, error) {
	for n := 1; ; {
		ms, err := e.m.Await(name, n, ctx.Done())
		var all []message
		for _, m := range ms {
			all = append(all, mqMessage(m))
		}
		if err != nil || len(all) > 0 && last(all[len(all)-1]) {
			return all, err
		}
		n = len(ms) + 1
	}
}

func mqMessage(m qmgr.Message) message {
	hs := map[string]string{}
	for _, p := range m.Props {
		name := bridge.UnescName(p.Name)
		if strings.HasPrefix(name, "posthouse_") { // Posthouse's own names, as identifiers
			name = strings.ReplaceAll(name, "_", "-")
		}
		hs[name] += string(p.Value)
	}
	return message{hs, m.Body}
}

// TestKillsAtIBMMQ kills the daemon again and again, wherever it is in its units of work, between two queue managers: nothing is
// lost, and where the route promises exactly-once nothing comes twice.
func TestKillsAtIBMMQ(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprintf("once=%t", once), func(t *testing.T) {
			p := adaptertest.NewProxy(t)
			to, from := newMQ(t), newMQ(t)
			at, err := p.Relay(to.host())
			if err != nil {
				t.Fatal(err)
			}
			x := newTrial(t, road{name: "kills", from: from, to: to, once: once, proxy: p, at: at}, t.TempDir(), "")
			p.SetLatency(0) // the stand-in's client asks the queue manager for every property, which IBM's does by itself
			x.load.speed(rate / 2)
			r := rand.New(rand.NewPCG(x.o.seed, 0))
			for range scaled(kills) {
				few := 1 + r.IntN(60)
				at := x.await("the daemon answers", func(s laneStatus) bool { return s.State != "" }).Forwarded
				x.restart(x.await(fmt.Sprintf("%d messages are forwarded", few), func(s laneStatus) bool { return s.Forwarded >= at+few }))
			}
			x.await("enough is sent", func(laneStatus) bool { return x.load.sent() >= 2*scaled(some)+backlog() })
			x.load.speed(rate / 8)
			x.await("the lane has drained under load", func(s laneStatus) bool { return s.State == passThrough })
			finish(x)
			t.Logf("%d kills", x.h.kills)
		})
	}
}
