package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// sharingRoutes are routes from Artemis to several targets: Artemis behind a proxy, Kafka and NATS.
const sharingRoutes = `version: 1
brokers:
  paris: PARIS
  berlin: BERLIN
  kafka: KAFKA
  nats: NATS
defaults: { broker: { heartbeat: 500ms, reconnect: { delay: 50ms, max_delay: 300ms } }, route: { failover_after: 1s, failback_after: 2s, max_attempts: 2 } }
spool: { dir: DIR }
routes:
  - name: shared
    from: { broker: paris, queue: Q-shared }
    to: [{ name: b, broker: berlin, queue: Q-sb, weight: 2 }, { name: k, broker: kafka, topic: Q-sk }, { name: n, broker: nats, subject: Q-sn }]
    distribute: weighted
  - name: turns
    from: { broker: paris, queue: Q-turns }
    to: [{ name: b, broker: berlin, queue: Q-tb }, { name: k, broker: kafka, topic: Q-tk }, { name: n, broker: nats, subject: Q-tn }]
    distribute: failover
  - name: names
    from: { broker: paris, queue: Q-names }
    to: [{ name: k, broker: kafka, topic: { prefix: Q-, expr: msg.header.to } }, { name: n, broker: nats, subject: { prefix: Q-, expr: msg.header.to } }]
    distribute: copy
admin: { listen: 127.0.0.1:0 }
`

// A sharing is those routes while they run.
type sharing struct {
	*testing.T
	ctx   context.Context
	a     *amqpEnd
	k     *kafkaEnd
	n     *natsEnd
	proxy *adaptertest.Proxy // before berlin
	q     string
	d     *daemon
	next  map[string]int // messages sent, by queue
}

func newSharing(t *testing.T) *sharing {
	x := &sharing{T: t, a: sharedArtemis(t), k: sharedKafka(t), n: newNATS(t), proxy: adaptertest.NewProxy(t), next: map[string]int{}}
	var cancel context.CancelFunc
	x.ctx, cancel = context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	at, err := x.proxy.Relay(x.a.host())
	if err != nil {
		t.Fatal(err)
	}
	x.q = fmt.Sprintf("sharing-%x", newOracle(t).seed)
	for _, name := range []string{"shared", "sb", "turns", "tb", "names"} {
		x.a.create(t, x.q+"-"+name)
	}
	for _, name := range []string{"sk", "tk", "one", "two"} {
		x.k.create(t, x.q+"-"+name)
	}
	for _, name := range []string{"sn", "tn", "one", "two"} {
		x.n.create(t, x.q+"-"+name)
	}
	text := strings.NewReplacer("PARIS", x.a.yaml(x.a.host()), "BERLIN", x.a.yaml(at), "KAFKA", x.k.yaml(x.k.host()), "NATS", x.n.yaml(x.n.addr),
		"DIR", t.TempDir(), "Q-", x.q+"-").Replace(sharingRoutes)
	file := filepath.Join(t.TempDir(), "sharing.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x.d = startDaemon(t, file, &daemonLog{})
	return x
}

// send puts the next n messages into a queue of paris; header names the place of each.
func (x *sharing) send(queue string, n int, header func(i int) string) {
	x.Helper()
	conn, err := amqp.Dial(x.ctx, x.a.url, nil)
	if err != nil {
		x.Fatal(err)
	}
	defer conn.Close()
	s, err := x.a.open(x.ctx, conn, x.q+"-"+queue)
	if err != nil {
		x.Fatal(err)
	}
	for range n {
		i := x.next[queue]
		m := amqp.NewMessage(fmt.Append(nil, i))
		m.Header = &amqp.MessageHeader{Durable: true}
		if header != nil {
			m.ApplicationProperties = map[string]any{"to": header(i)}
		}
		if err := s.Send(x.ctx, m, nil); err != nil {
			x.Fatal(err)
		}
		x.next[queue]++
	}
}

// await waits until the lanes of a route, in their order, are as ok wants.
func (x *sharing) await(what, route string, ok func(ls []laneStatus) bool) {
	x.Helper()
	err := until(x.ctx, what, func() bool {
		st, err := x.d.status()
		if err != nil {
			x.Fatal(err)
		}
		for _, r := range st.Routes {
			if r.Name == route {
				return ok(r.Lanes)
			}
		}
		return false
	})
	if err != nil {
		st, _ := x.d.status()
		x.Fatalf("%v\n%+v\n%s", err, st.Routes, x.d.log)
	}
}

func forwardedBy(ls []laneStatus) (ns []int) {
	for _, l := range ls {
		ns = append(ns, l.Forwarded)
	}
	return ns
}

// read takes n messages of a place and returns their numbers.
func (x *sharing) read(from target, name string, n int) (got []int) {
	x.Helper()
	if n == 0 {
		return nil
	}
	left := n
	ms, err := from.read(x.ctx, x.T, x.q+"-"+name, func(message) bool { left--; return left == 0 })
	if err != nil {
		x.Fatalf("%s: %d of %d: %v\n%s", name, len(ms), n, err, x.d.log)
	}
	for _, m := range ms {
		i, err := strconv.Atoi(string(m.body))
		if err != nil {
			x.Fatal(err)
		}
		got = append(got, i)
	}
	return got
}

// every number below n came, once.
func (x *sharing) once(what string, n int, parts ...[]int) {
	x.Helper()
	all := slices.Concat(parts...)
	slices.Sort(all)
	var want []int
	for i := range n {
		want = append(want, i)
	}
	if !slices.Equal(all, want) {
		x.Errorf("%s: %d numbers for %d messages: %v", what, len(all), n, all)
	}
}

// Weighted: the shares are exact; while one target is cut off the others get its messages, in proportion, and when it is
// back it gets its share again. Nothing is lost and nothing comes twice.
func TestSharingMoves(t *testing.T) {
	x := newSharing(t)
	x.send("shared", 80, nil)
	x.await("2 to 1 to 1", "shared", func(ls []laneStatus) bool { return slices.Equal(forwardedBy(ls), []int{40, 20, 20}) })
	x.proxy.Refuse()
	x.proxy.Cut()
	x.await("berlin is down", "shared", func(ls []laneStatus) bool { return !ls[0].inUse() })
	x.send("shared", 60, nil)
	x.await("the others have them all", "shared", func(ls []laneStatus) bool {
		ns := forwardedBy(ls)
		return ns[0] == 40 && ns[1]+ns[2] == 100 && ns[1] >= 45 && ns[2] >= 45
	})
	x.proxy.Allow()
	x.await("berlin is back", "shared", func(ls []laneStatus) bool { return ls[0].inUse() })
	x.send("shared", 40, nil)
	x.await("2 to 1 to 1 again", "shared", func(ls []laneStatus) bool {
		ns := forwardedBy(ls)
		return ns[0] >= 58 && ns[0]+ns[1]+ns[2] == 180
	})
	x.await("nothing is left", "shared", func(ls []laneStatus) bool {
		return !slices.ContainsFunc(ls, func(l laneStatus) bool { return l.Spooled+l.Waiting+l.InFlight > 0 })
	})
	st, err := x.d.status()
	if err != nil {
		t.Fatal(err)
	}
	ns := forwardedBy(st.Routes[0].Lanes)
	x.d.stop()
	x.once("shared", 180, x.read(x.a, "sb", ns[0]), x.read(x.k, "sk", ns[1]), x.read(x.n, "sn", ns[2]))
}

// Failover: the next target takes over when the first has been cut off for a second, and the first is used again when it has
// answered for two; the order holds over both.
func TestSharingFailsOver(t *testing.T) {
	x := newSharing(t)
	in := func(target string) func([]laneStatus) bool {
		return func(ls []laneStatus) bool { return ls[0].Share != nil && ls[0].Share.Target == target }
	}
	has := func(n int) func([]laneStatus) bool {
		return func(ls []laneStatus) bool { return ls[0].Forwarded == n && ls[0].Spooled+ls[0].InFlight == 0 }
	}
	x.send("turns", 50, nil)
	x.await("berlin has them", "turns", has(50))
	x.proxy.Refuse()
	x.proxy.Cut()
	x.send("turns", 50, nil)
	x.await("kafka is used", "turns", in("k"))
	x.await("kafka has them", "turns", has(100))
	x.proxy.Allow()
	x.await("berlin is used again", "turns", in("b"))
	x.send("turns", 50, nil)
	x.await("berlin has them", "turns", has(150))
	x.d.stop()
	berlin := x.read(x.a, "tb", 100)
	got := slices.Concat(berlin[:min(50, len(berlin))], x.read(x.k, "tk", 50), berlin[min(50, len(berlin)):])
	if !slices.IsSorted(got) {
		t.Errorf("out of order: %v", got)
	}
	x.once("turns", 150, got)
}

// Computed names: each message goes where it says, on both brokers; one that names a place that is not there becomes a dead
// letter, and one with a name that is not allowed at once.
func TestSharingComputesNames(t *testing.T) {
	x := newSharing(t)
	places := []string{"one", "two", "nowhere", "a/b"}
	x.send("names", 80, func(i int) string { return places[i%4] })
	x.await("both have theirs", "names", func(ls []laneStatus) bool { return slices.Equal(forwardedBy(ls), []int{40, 40}) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(x.d.log)
		}
	})
	err := until(x.ctx, "dead letters", func() bool {
		m := x.d.metrics(t)
		const name = "posthouse_route_dead_lettered_messages_total"
		return m.sum(name, `reason="target-gone"`) == 40 && m.sum(name, `reason="target-not-allowed"`) == 40
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, x.d.log)
	}
	x.d.stop()
	for i, place := range []string{"one", "two"} {
		for _, from := range []target{x.k, x.n} {
			got := x.read(from, place, 20)
			for n, v := range got {
				if v != 4*n+i {
					t.Errorf("%s: %v", place, got)
					break
				}
			}
		}
	}
}
