package examples

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// written writes a topology of the test's own; words are replaced in it, pairwise.
func written(t *testing.T, text string, words ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "topology.yaml")
	text = strings.NewReplacer(words...).Replace(text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hostPort returns HOST:PORT of an address with a scheme.
func hostPort(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func testPassword() string { return "PW=" + broker.Password }

// metric adds up the samples of a metric whose labels hold all of some.
func (d *daemon) metric(name string, some ...string) int {
	sum := 0.0
lines:
	for line := range strings.SplitSeq(d.get("/metrics"), "\n") {
		key, value, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(key, name+"{") {
			continue
		}
		for _, s := range some {
			if !strings.Contains(key, s) {
				continue lines
			}
		}
		f, _ := strconv.ParseFloat(value, 64)
		sum += f
	}
	return int(sum)
}

// forwarded is how many messages a route has delivered.
func (d *daemon) forwarded(route string) int {
	return d.metric("posthouse_route_forwarded_messages_total", fmt.Sprintf("route=%q", route))
}

// exitCode waits for the end of the daemon and returns its exit code, -1 after a signal.
func (d *daemon) exitCode() int {
	d.t.Helper()
	_ = d.wait() // the code says it
	return d.cmd.ProcessState.ExitCode()
}

// load puts n numbered messages into a queue, many under way at a time. The queue is emptied when the test ends.
func load(t *testing.T, address, queue string, n int) {
	t.Helper()
	emptyAtEnd(t, address, queue)
	a := dialArtemis(t, address)
	ctx := testContext(t)
	s, err := a.session.NewSender(ctx, queue, &amqp.SenderOptions{TargetCapabilities: []string{"queue"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	var receipts []amqp.SendReceipt
	for i := range n {
		m := amqp.NewMessage(fmt.Append(nil, i))
		m.Header = &amqp.MessageHeader{Durable: true}
		r, err := s.SendWithReceipt(ctx, m, nil)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	for _, r := range receipts {
		state, err := r.Wait(ctx)
		if _, ok := state.(*amqp.StateAccepted); !ok {
			t.Fatalf("%T, %v", state, err)
		}
	}
}

// emptyAtEnd empties a queue of a shared broker when the test ends, behind the daemon.
func emptyAtEnd(t *testing.T, address string, queues ...string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := amqp.Dial(ctx, address, nil)
		if err != nil {
			return // a private broker that is gone with its data
		}
		defer conn.Close()
		for _, q := range queues {
			if _, err := drain(ctx, conn, q); err != nil {
				t.Errorf("empty %s: %v", q, err)
			}
		}
	})
}

// drain takes everything that a queue has to give now: all that comes before a mark that is sent behind it, with the
// lowest priority.
func drain(ctx context.Context, conn *amqp.Conn, queue string) ([]*amqp.Message, error) {
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close(ctx)
	mark := amqp.NewMessage([]byte("mark" + unique()))
	mark.Header = &amqp.MessageHeader{Priority: 0}
	to, err := s.NewSender(ctx, queue, &amqp.SenderOptions{TargetCapabilities: []string{"queue"}})
	if err == nil {
		err = to.Send(ctx, mark, nil)
	}
	if err != nil {
		return nil, err
	}
	r, err := s.NewReceiver(ctx, queue, &amqp.ReceiverOptions{Credit: 500, SourceCapabilities: []string{"queue"}})
	if err != nil {
		return nil, err
	}
	defer r.Close(ctx)
	var all []*amqp.Message
	for {
		m, err := r.Receive(ctx, nil)
		if err == nil {
			err = r.AcceptMessage(ctx, m)
		}
		if err != nil {
			return all, err
		}
		if string(m.GetData()) == string(mark.GetData()) {
			return all, nil
		}
		all = append(all, m)
	}
}

// A ledger counts where numbered messages are.
type ledger struct {
	t    *testing.T
	seen map[int][]*amqp.Message
	all  int
}

func newLedger(t *testing.T) *ledger { return &ledger{t: t, seen: map[int][]*amqp.Message{}} }

// take empties a queue into the ledger and returns how many messages came.
func (l *ledger) take(address, queue string) int {
	l.t.Helper()
	ctx := testContext(l.t)
	conn, err := amqp.Dial(ctx, address, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	ms, err := drain(ctx, conn, queue)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, m := range ms {
		l.add(m)
	}
	return len(ms)
}

func (l *ledger) add(m *amqp.Message) {
	n, err := strconv.Atoi(string(m.GetData()))
	if err != nil {
		l.t.Errorf("a message with the body %q was never sent", m.GetData())
		return
	}
	l.seen[n] = append(l.seen[n], m)
	l.all++
}

// takeAll empties the queues again and again until n different messages are there. A broker gives out what a dead
// process held only when it has noticed.
func (l *ledger) takeAll(n int, take func()) {
	l.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for take(); len(l.seen) < n; take() {
		select {
		case <-tick.C:
		case <-late:
			l.t.Errorf("lost: %d of %d messages are nowhere", n-len(l.seen), n)
			return
		}
	}
	take() // whatever is there twice
}

// duplicates is how many came more than once, counted without the first.
func (l *ledger) duplicates() int { return l.all - len(l.seen) }
