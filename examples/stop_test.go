package examples

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// window is what the route of these tests may hold unsettled.
const window = 128

// oneRoute carries QUEUE from one Artemis to another.
const oneRoute = `version: 1
brokers:
  paris:  { type: amqp, dialect: artemis, addresses: ["amqp://PARIS"], credentials: { user: posthouse, password: { env: PW } } }
  berlin: { type: amqp, dialect: artemis, addresses: ["amqp://BERLIN"], credentials: { user: posthouse, password: { env: PW } } }
routes:
  - { name: orders, from: { broker: paris, queue: QUEUE }, to: { broker: berlin, queue: QUEUE }, prefetch: 128, in_flight: 16 }
admin: { listen: 127.0.0.1:0 }
`

// A road is a loaded route whose target is reached through a proxy, slow enough to be stopped in the middle.
type road struct {
	from, to, queue, file string
	proxy                 *adaptertest.Proxy
}

const onRoad = 2000

func newRoad(t *testing.T) *road {
	t.Helper()
	r := &road{from: broker.Need(t, broker.Artemis), to: broker.Need(t, broker.Artemis2), queue: "road" + unique(), proxy: adaptertest.NewProxy(t)}
	relay, err := r.proxy.Relay(hostPort(t, r.to))
	if err != nil {
		t.Fatal(err)
	}
	r.proxy.SetLatency(10 * time.Millisecond)
	r.file = written(t, oneRoute, "PARIS", hostPort(t, r.from), "BERLIN", relay, "QUEUE", r.queue)
	load(t, r.from, r.queue, onRoad)
	emptyAtEnd(t, r.to, r.queue)
	return r
}

// collect empties both ends until every message was found.
func (r *road) collect(t *testing.T) (l *ledger, arrived, rest int) {
	t.Helper()
	l = newLedger(t)
	l.takeAll(onRoad, func() {
		arrived += l.take(r.to, r.queue)
		rest += l.take(r.from, r.queue)
	})
	return l, arrived, rest
}

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

func TestSIGTERMInTheMiddle(t *testing.T) {
	r := newRoad(t)
	d := run(t, r.file, testPassword())
	d.await("messages flow", func() bool { return d.forwarded("orders") >= 100 })
	d.signal(syscall.SIGTERM)
	if code := d.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l, arrived, rest := r.collect(t)
	t.Logf("%d arrived, %d are back", arrived, rest)
	if rest == 0 || arrived < 100 {
		t.Errorf("not in the middle: %d arrived, %d are back", arrived, rest)
	}
	if l.duplicates() != 0 {
		t.Errorf("%d duplicates after a stop in order", l.duplicates())
	}
}

func TestSecondSIGTERMWhileTheTargetIsStalled(t *testing.T) {
	r := newRoad(t)
	d := start(t, []string{"-c", r.file, "--grace", "1h"}, testPassword()) // more than patience: waiting would show
	d.await("messages flow", func() bool { return d.forwarded("orders") >= 100 })
	r.proxy.Stall()
	d.signal(syscall.SIGTERM)
	d.await("it is stopping", func() bool { return d.log.contains("stopping: no more receiving") })
	d.signal(syscall.SIGTERM)
	if code := d.exitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	r.proxy.Cut()
	l, arrived, rest := r.collect(t)
	t.Logf("%d arrived, %d are back, %d twice", arrived, rest, l.duplicates())
	if l.duplicates() > window || rest == 0 {
		t.Errorf("%d duplicates, more than a window of %d; %d are back", l.duplicates(), window, rest)
	}
}

func TestSIGKILLInTheMiddle(t *testing.T) {
	r := newRoad(t)
	d := run(t, r.file, testPassword())
	d.await("messages flow", func() bool { return d.forwarded("orders") >= 100 })
	d.signal(syscall.SIGKILL)
	if code := d.exitCode(); code != -1 {
		t.Errorf("exit code %d", code)
	}
	l := newLedger(t)
	before := l.take(r.to, r.queue)
	r.proxy.SetLatency(0)
	d = run(t, r.file, testPassword())
	l.takeAll(onRoad, func() { l.take(r.to, r.queue) })
	d.stop()
	if rest := l.take(r.from, r.queue); rest != 0 {
		t.Errorf("%d messages are still at the source", rest)
	}
	t.Logf("%d arrived before the kill, %d twice", before, l.duplicates())
	if l.duplicates() > window || before >= onRoad {
		t.Errorf("%d duplicates, more than a window of %d; %d before the kill", l.duplicates(), window, before)
	}
}

// TestKafkaSourceStops: a stop in order leaves the committed offset exactly behind what has arrived, so a second run goes on
// without a gap or a repeat; a kill repeats at most a window.
func TestKafkaSourceStops(t *testing.T) {
	kafka, to := broker.Need(t, broker.Kafka), broker.Need(t, broker.Artemis2)
	name, proxy := "stops"+unique(), adaptertest.NewProxy(t)
	relay, err := proxy.Relay(hostPort(t, to))
	if err != nil {
		t.Fatal(err)
	}
	proxy.SetLatency(10 * time.Millisecond)
	file := written(t, `version: 1
brokers:
  kafka:  { type: kafka, addresses: ["KAFKA"], group: NAME, heartbeat: 2s }
  berlin: { type: amqp, addresses: ["amqp://BERLIN"], credentials: { user: posthouse, password: { env: PW } } }
routes:
  - { name: orders, from: { broker: kafka, topic: NAME }, to: { broker: berlin, queue: NAME }, prefetch: 128, in_flight: 16 }
admin: { listen: 127.0.0.1:0 }
`, "KAFKA", kafka, "BERLIN", relay, "NAME", name)
	createTopic(t, kafka, name)
	deleteTopicAtEnd(t, kafka, name)
	emptyAtEnd(t, to, name)
	var rs []*kgo.Record
	for n := range onRoad {
		rs = append(rs, &kgo.Record{Value: fmt.Append(nil, n)})
	}
	produce(t, kafka, name, rs)

	d := run(t, file, testPassword())
	d.await("messages flow", func() bool { return d.forwarded("orders") >= 100 })
	d.stop()
	l := newLedger(t)
	arrived := l.take(to, name)
	at, err := committed(testContext(t), kafka, name+".orders", name)
	if err != nil || at != int64(arrived) || l.duplicates() != 0 || arrived >= onRoad {
		t.Errorf("%d arrived, %d of them twice; committed offset %d, %v", arrived, l.duplicates(), at, err)
	}

	d = run(t, file, testPassword())
	d.await("messages flow again", func() bool { return d.forwarded("orders") >= 100 })
	d.signal(syscall.SIGKILL)
	d.exitCode()
	before := l.take(to, name)
	proxy.SetLatency(0)
	d = run(t, file, testPassword())
	l.takeAll(onRoad, func() { l.take(to, name) })
	d.stop()
	t.Logf("%d arrived before the stop, %d before the kill, %d twice", arrived, before, l.duplicates())
	if l.duplicates() > window {
		t.Errorf("%d duplicates, more than a window of %d", l.duplicates(), window)
	}
	if at, err := committed(testContext(t), kafka, name+".orders", name); err != nil || at != onRoad {
		t.Errorf("committed offset %d, %v, want %d", at, err, onRoad)
	}
}

// TestSIGTERMWhileConnecting: no broker answers a byte, and the daemon stops at once all the same.
func TestSIGTERMWhileConnecting(t *testing.T) {
	artemis, one := silent(t)
	kafka, two := silent(t)
	nats, three := silent(t)
	file := written(t, `version: 1
brokers:
  artemis: { type: amqp, addresses: ["amqp://ARTEMIS"], credentials: { user: posthouse, password: { env: PW } } }
  kafka:   { type: kafka, addresses: ["KAFKA"] }
  nats:    { type: nats, addresses: ["nats://NATS"] }
routes:
  - { name: a, from: { broker: artemis, queue: q }, to: { broker: kafka, topic: q } }
  - { name: b, from: { broker: kafka, topic: q }, to: { broker: nats, subject: q } }
  - { name: c, from: { broker: nats, stream: q }, to: { broker: artemis, queue: q } }
admin: { listen: 127.0.0.1:0 }
`, "ARTEMIS", artemis, "KAFKA", kafka, "NATS", nats)
	d := start(t, []string{"-c", file, "--grace", "1h"}, testPassword())
	for _, called := range []<-chan struct{}{one, two, three} {
		select {
		case <-called:
		case <-time.After(patience):
			t.Fatal("not every broker was called")
		}
	}
	began := time.Now()
	d.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the stop took %v", took)
	}
}

// silent takes connections and says nothing, ever. called gets a value when the first one has come.
func silent(t *testing.T) (address string, called <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			select {
			case c <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String(), c
}
