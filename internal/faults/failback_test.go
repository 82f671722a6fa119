package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// twoAddresses carries from one queue of Artemis to another; both brokers of the file are that one, by two proxies.
const twoAddresses = `version: 1
brokers:
  from: { type: amqp, dialect: artemis, addresses: [FROM], failback: 1s, USER
  to: { type: amqp, dialect: artemis, addresses: [TO], failback: 1s, USER
defaults: { route: { spool: { mode: never } } }
routes:
  - { name: orders, from: { broker: from, queue: QUEUE.in }, to: { broker: to, queue: QUEUE.out }, in_flight: 64 }
admin: { listen: 127.0.0.1:0 }
`

// Both ends of a route lose their first address, go on at the second, and go back, under load. Artemis drops what the
// failover sends twice; the failback sends nothing twice.
func TestFailbackAtArtemis(t *testing.T) {
	e := sharedArtemis(t)
	first, second := adaptertest.NewProxy(t), adaptertest.NewProxy(t)
	var addresses []string
	for _, p := range []*adaptertest.Proxy{first, second} {
		at, err := p.Relay(e.host())
		if err != nil {
			t.Fatal(err)
		}
		p.SetLatency(5 * time.Millisecond)
		addresses = append(addresses, "amqp://"+at)
	}
	queue := fmt.Sprintf("failback.%x", newOracle(t).seed)
	for _, q := range []string{queue + ".in", queue + ".out"} {
		e.create(t, q)
	}
	d := startDaemon(t, writeTwo(t, addresses, queue), &daemonLog{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	at := func(address string) {
		t.Helper()
		if err := until(ctx, "both ends are at "+address, func() bool { return d.bothAt(t, address) }); err != nil {
			t.Fatalf("%v\n%s", err, d.log)
		}
	}
	at(addresses[0])
	end := feedArtemis(ctx, t, e, queue+".in")
	first.Refuse()
	first.Cut()
	at(addresses[1])
	first.Allow()
	at(addresses[0])
	moved := forwarded(t, d)
	if err := until(ctx, "messages flow", func() bool { return forwarded(t, d) > moved+some }); err != nil {
		t.Fatal(err)
	}
	n := end()
	last := func(m message) bool { return string(m.body) == fmt.Sprint(n-1) }
	ms, err := e.drain(ctx, queue+".out", last)
	if err != nil {
		t.Fatal(err)
	}
	d.stop()
	checkOnceInOrder(t, ms, n)
	for text, want := range map[string]int{"broker is reached at another address": 2, "first address is healthy again": 2} {
		if got := strings.Count(d.log.String(), text); got != want {
			t.Errorf("%d lines say %q, want %d\n%s", got, text, want, d.log)
		}
	}
}

func writeTwo(t *testing.T, addresses []string, queue string) string {
	t.Helper()
	list := `"` + strings.Join(addresses, `", "`) + `"`
	user := fmt.Sprintf("heartbeat: 500ms, reconnect: { delay: 50ms, max_delay: 300ms }, credentials: { user: %s, password: { env: PW } } }", broker.User)
	text := strings.NewReplacer("FROM", list, "TO", list, "USER", user, "QUEUE", queue).Replace(twoAddresses)
	file := filepath.Join(t.TempDir(), "two.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bothAt reports whether source and target are up at that address.
func (d *daemon) bothAt(t *testing.T, address string) bool {
	t.Helper()
	raw, err := d.get("/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	type end struct {
		State string
		Peer  struct{ Address string }
	}
	var s struct {
		Routes []struct {
			Source end
			Lanes  []struct{ Link end }
		}
	}
	if err := json.Unmarshal(raw, &s); err != nil || len(s.Routes) != 1 {
		t.Fatalf("%v: %s", err, raw)
	}
	is := func(e end) bool { return e.State == "up" && e.Peer.Address == address }
	return is(s.Routes[0].Source) && is(s.Routes[0].Lanes[0].Link)
}

func forwarded(t *testing.T, d *daemon) int {
	t.Helper()
	s, err := d.status()
	if err != nil {
		t.Fatal(err)
	}
	return s.lane("orders").Forwarded
}

// feedArtemis sends numbers to a queue, each when the one before has been taken, until end is called; it returns how many.
func feedArtemis(ctx context.Context, t *testing.T, e *amqpEnd, queue string) (end func() int) {
	t.Helper()
	conn, err := amqp.Dial(ctx, e.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.open(ctx, conn, queue)
	if err != nil {
		t.Fatal(err)
	}
	n, failed, stop, done := 0, error(nil), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for ; failed == nil; n++ {
			select {
			case <-stop:
				return
			default:
			}
			m := amqp.NewMessage(fmt.Append(nil, n))
			m.Header = &amqp.MessageHeader{Durable: true}
			failed = s.Send(ctx, m, nil)
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return func() int {
		close(stop)
		<-done
		if failed != nil {
			t.Fatal(failed)
		}
		return n
	}
}

// checkOnceInOrder: every number came, in order of first arrival. What the source gave out again after the failover came
// twice under two ids, at most a prefetch of it, before the failback.
func checkOnceInOrder(t *testing.T, ms []message, n int) {
	t.Helper()
	next, twice := 0, 0
	for _, m := range ms {
		var i int
		if _, err := fmt.Sscan(string(m.body), &i); err != nil {
			t.Fatal(err)
		}
		switch {
		case i == next:
			next++
		case i < next:
			twice++
		default:
			t.Fatalf("message %d came when %d was awaited", i, next)
		}
	}
	if next != n || twice > 256 {
		t.Errorf("%d of %d messages came, %d twice", next, n, twice)
	}
	t.Logf("%d messages, %d came twice", n, twice)
}
