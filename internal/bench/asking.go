package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"
)

// Request-reply: requesters with temporary reply queues at one broker, a responder at another that knows nothing of
// Posthouse, and a bridge between the two; beside the same requesters at the responder's own broker.

const (
	requesters = 64
	// askPace is the time between two requests, of all requesters together, while latency is measured: so little load that
	// what is measured is the way and not the waiting for two processors.
	askPace = 4 * time.Millisecond
)

// requestReply measures round trips in turns: asking directly, and over the bridge. The first turn does not count. Of the
// others the best counts, on both sides: four brokers and clients on the daemon's processors, and whoever else is there, can
// only take away.
func (b *bench) requestReply(ctx context.Context) error {
	var direct, bridged []asked
	for turn := range 4 {
		d, x, err := b.askedBoth(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("request-reply, turn %d: direct %s; over the bridge %s\n", turn, d, x)
		if turn > 0 {
			direct, bridged = append(direct, d), append(bridged, x)
		}
	}
	near, far := best(direct), best(bridged)
	b.atLeast(fmt.Sprintf("request-reply over a bridge, %d requesters: round trips/s, best of 3", requesters), far.rate, 2000)
	b.report("the same asking B directly", near.rate)
	b.report("CPU µs of the daemon for each, its start included", far.cpu)
	b.atMost("request-reply, 250 requests/s: p50 ms over the bridge less p50 ms directly, best of 3 each", ms(far.p50)-ms(near.p50), 3)
	return nil
}

// best takes each figure from the turn where it is best.
func best(turns []asked) asked {
	b := turns[0]
	for _, t := range turns[1:] {
		b.rate, b.p50, b.p99, b.cpu = max(b.rate, t.rate), min(b.p50, t.p50), min(b.p99, t.p99), min(b.cpu, t.cpu)
	}
	return b
}

// An asked is what one way of asking gave.
type asked struct {
	rate     float64 // round trips per second, all requesters at once, each waiting for its reply
	p50, p99 time.Duration
	trips    int     // all of them
	cpu      float64 // µs of the daemon for each
}

func (a asked) String() string {
	return fmt.Sprintf("%.0f/s, p50 %.2f ms, p99 %.2f ms", a.rate, ms(a.p50), ms(a.p99))
}

// askedBoth asks the responder at B, first at B itself, then at A over a bridge.
func (b *bench) askedBoth(ctx context.Context) (direct, bridged asked, err error) {
	home, away, err := b.sites(ctx)
	if err != nil {
		return direct, bridged, err
	}
	defer home.close()
	defer away.close()
	stop, err := away.respond(ctx)
	if err != nil {
		return direct, bridged, err
	}
	defer stop()
	if direct, err = away.ask(ctx, b.trips); err != nil {
		return direct, bridged, fmt.Errorf("directly: %w", err)
	}
	dir, err := os.MkdirTemp(b.dir, "ask-")
	if err != nil {
		return direct, bridged, err
	}
	d, err := b.daemon(ctx, askTopology(home, away, dir))
	if err != nil {
		return direct, bridged, err
	}
	defer func() { err = firstOf(err, d.stop()) }()
	if bridged, err = home.ask(ctx, b.trips); err != nil {
		return direct, bridged, fmt.Errorf("over the bridge: %w", err)
	}
	u, err := d.usage()
	bridged.cpu = u.cpu / float64(bridged.trips) * 1e6
	return direct, bridged, err
}

func askTopology(home, away *amqpSide, dir string) string {
	a, from, _ := home.yaml()
	z, _, to := away.yaml()
	return fmt.Sprintf("version: 1\nspool: { dir: %q }\nbrokers:\n  a: %s\n  b: %s\nbridges:\n  - name: ask\n"+
		"    request: { from: { broker: a, %s }, to: { broker: b, %s } }\n"+
		"    reply: { from: { broker: b, queue: %s.replies }, to: { broker: a, queue: %s.replies, allow: [temporary] } }\n",
		dir, a, z, from, to, away.queue, home.queue)
}

// respond answers what comes to the side's queue, as JMS does: the reply's correlation id is the request's message id. stop
// ends that.
func (s *amqpSide) respond(ctx context.Context) (stop func(), err error) {
	conn, err := amqp.Dial(ctx, s.url, nil)
	if err != nil {
		return nil, err
	}
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	rcv, err := session.NewReceiver(ctx, s.queue, &amqp.ReceiverOptions{Credit: 256, SourceCapabilities: asQueue})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		answer(ctx, session, rcv)
	}()
	return func() { cancel(); <-over; _ = conn.Close() }, nil
}

// answer sends replies until ctx ends. A request is accepted when its reply is.
func answer(ctx context.Context, session *amqp.Session, rcv *amqp.Receiver) {
	senders := map[string]*amqp.Sender{}
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		q, err := rcv.Receive(ctx, nil)
		if err != nil {
			return
		}
		to := *q.Properties.ReplyTo
		if senders[to] == nil {
			if senders[to], err = session.NewSender(ctx, to, nil); err != nil {
				_ = rcv.RejectMessage(ctx, q, nil) // its requester is gone, or never ends
				continue
			}
		}
		r, err := senders[to].SendWithReceipt(ctx, &amqp.Message{
			Header: &amqp.MessageHeader{Durable: true}, Properties: &amqp.MessageProperties{CorrelationID: q.Properties.MessageID}, Data: q.Data,
		}, nil)
		if err != nil {
			delete(senders, to)
			continue
		}
		pending.Go(func() {
			if _, err := r.Wait(ctx); err == nil {
				_ = rcv.AcceptMessage(ctx, q)
			}
		})
	}
}

// ask makes n round trips as fast as all requesters can, behind some that warm up, and then a tenth as many at askPace.
func (s *amqpSide) ask(ctx context.Context, n int) (a asked, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	conn, err := amqp.Dial(ctx, s.url, nil)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	who := make([]*requester, requesters)
	for i := range who {
		if who[i], err = newRequester(ctx, conn, s.queue, i); err != nil {
			return a, err
		}
	}
	if _, err = all(ctx, who, n/10, 0); err != nil {
		return a, err
	}
	begin := time.Now()
	if _, err = all(ctx, who, n, 0); err != nil {
		return a, err
	}
	a.rate = float64(n) / time.Since(begin).Seconds()
	took, err := all(ctx, who, n/10, askPace)
	if err != nil {
		return a, err
	}
	a.trips = n + 2*(n/10)
	a.p50, a.p99 = took[len(took)/2], took[len(took)*99/100]
	return a, nil
}

// A requester asks one question at a time and waits for the reply in a queue of its own.
type requester struct {
	snd *amqp.Sender
	rcv *amqp.Receiver
	n   int // of its requests
	as  string
}

func newRequester(ctx context.Context, conn *amqp.Conn, queue string, i int) (*requester, error) {
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	r := &requester{as: fmt.Sprintf("requester-%d-", i)}
	if r.rcv, err = session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true, SourceCapabilities: []string{"temporary-queue"}}); err != nil {
		return nil, err
	}
	r.snd, err = session.NewSender(ctx, queue, &amqp.SenderOptions{TargetCapabilities: asQueue})
	return r, err
}

// trip asks and waits. A reply to another question is an error.
func (r *requester) trip(ctx context.Context) (time.Duration, error) {
	begin, to := time.Now(), r.rcv.Address()
	r.n++
	id := fmt.Sprint(r.as, r.n)
	m := amqp.NewMessage(kib(0))
	m.Header = &amqp.MessageHeader{Durable: true}
	m.Properties = &amqp.MessageProperties{MessageID: id, ReplyTo: &to}
	if err := r.snd.Send(ctx, m, nil); err != nil {
		return 0, err
	}
	reply, err := r.rcv.Receive(ctx, nil)
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if reply.Properties == nil || reply.Properties.CorrelationID != id {
		return 0, fmt.Errorf("a reply to another request than %s", id)
	}
	return took, r.rcv.AcceptMessage(ctx, reply)
}

// all makes n round trips with all requesters at once, one every pace, and returns how long each took, in ascending order.
func all(ctx context.Context, who []*requester, n int, pace time.Duration) ([]time.Duration, error) {
	var (
		mu    sync.Mutex
		took  = make([]time.Duration, 0, n)
		group sync.WaitGroup
		next  atomic.Int64
		first error
		begin = time.Now()
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, r := range who {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := sleepUntil(ctx, begin.Add(time.Duration(i)*pace)); err != nil {
					return
				}
				d, err := r.trip(ctx)
				mu.Lock()
				took, first = append(took, d), firstOf(first, err)
				mu.Unlock()
				if err != nil {
					cancel()
					return
				}
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took, first
}

// sleepUntil waits for a time, if it is to come.
func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
