package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// A source is one member of a consumer group for one topic. The client library runs one goroutine for each partition,
// which puts what it gets into the queue as long as there is room; Receive takes from it.
//
// It keeps two clients: one for the group and the fetches, whose connections are busy with requests that wait at the
// broker, and one for commits, heartbeats of Probe and questions, which are answered at once.
type source struct {
	addr      adapters.Address
	limits    adapters.Limits
	heartbeat time.Duration
	log       *slog.Logger

	group, instance string
	facts           facts
	startAt         int64
	spring          bool // its programs use Spring for Kafka
	net             *network
	control         sarama.Client
	member          sarama.ConsumerGroup
	committing      chan struct{} // holds one token: commits never overtake each other

	closing  sync.Once
	stop     context.CancelFunc // ends the loops
	loops    sync.WaitGroup
	attached chan struct{} // closed when the first term has all its partitions
	spent    chan struct{} // closed when err is set
	ready    chan struct{} // holds a token when there is something to hand out

	mu    sync.Mutex
	err   error
	queue queue
	held  int           // records not passed yet
	bytes int64         // of them
	out   int           // handed out and not settled
	busy  int           // calls of Settle whose commit is under way
	room  chan struct{} // closed and replaced when held shrinks
	idle  chan struct{} // closed and replaced when out and busy become 0
	term  *term
}

var (
	_ adapters.Source    = (*source)(nil)
	_ adapters.Prober    = (*source)(nil)
	_ adapters.Described = (*source)(nil)
)

func openSource(ctx context.Context, c adapters.Config, a adapters.Address) (*source, error) {
	probe := newNetwork(c, maxResponse(c.Limits, 0))
	f, err := connect(ctx, c, probe, a)
	probe.cut()
	if err != nil {
		return nil, err
	}
	s := newSource(c, a, f)
	if err := s.dial(ctx, c); err != nil {
		s.net.cut()
		return nil, err
	}
	s.start()
	if err := s.waitAttached(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func newSource(c adapters.Config, a adapters.Address, f facts) *source {
	start, _ := startAt(a.Options, c.Options) // Check has looked at it
	return &source{addr: a, limits: c.Limits, heartbeat: c.Heartbeat, log: c.Log, group: groupOf(c, a), instance: instanceOf(c, a),
		facts: f, startAt: start, spring: usesSpring(c), net: newNetwork(c, maxResponse(c.Limits, 2*fetchBound(c.Limits))),
		committing: make(chan struct{}, 1), attached: make(chan struct{}), spent: make(chan struct{}),
		ready: make(chan struct{}, 1), room: make(chan struct{}), idle: make(chan struct{})}
}

// fetchBound is the most that one response may be asked to hold: half of what may be held, for the other half is being
// handed out meanwhile.
func fetchBound(l adapters.Limits) int64 { return min(max(l.PrefetchBytes/2, 64<<10), 8<<20) }

// fetchTotal is how many bytes are asked for in one response: what as many messages as may be held usually have. A
// response is in memory several times over while it is unpacked, so more would only cost memory.
func fetchTotal(l adapters.Limits) int64 {
	const usual = 4 << 10
	return min(fetchBound(l), max(int64(l.Prefetch)*usual, 1<<20))
}

// consumerSettings are the safe ones: no commit but our own, no silent reset, only committed records.
func (s *source) consumerSettings(c adapters.Config) *sarama.Config {
	k := settings(c, s.net)
	total := fetchTotal(c.Limits)
	k.ChannelBufferSize = 1 // what waits in the library's channels is not counted: keep it small
	k.Consumer.Return.Errors = true
	k.Consumer.IsolationLevel = sarama.ReadCommitted
	k.Consumer.Offsets.AutoCommit.Enable = false
	k.Consumer.Offsets.Initial = s.startAt
	k.Consumer.Fetch.MaxBytes = int32(total)
	k.Consumer.Fetch.Default = int32(max(total/int64(max(s.facts.partitions, 1)), 16<<10))
	k.Consumer.Fetch.Max = 0 // with a maximum the library would step over a larger message
	k.Consumer.MaxWaitTime = 100 * time.Millisecond
	k.Consumer.MaxProcessingTime = time.Hour // a full queue holds all partitions alike; no need to drop and resume them
	k.Consumer.Retry.Backoff = 200 * time.Millisecond
	g := &k.Consumer.Group
	g.ResetInvalidOffsets = false
	g.InstanceId = s.instance
	g.Session.Timeout = min(max(3*c.Heartbeat, 6*time.Second), 5*time.Minute)
	g.Heartbeat.Interval = min(c.Heartbeat, g.Session.Timeout/3, 3*time.Second)
	g.Rebalance.Timeout = s.rebalance()
	g.Rebalance.Retry.Max = 2
	g.Rebalance.Retry.Backoff = 250 * time.Millisecond
	g.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	k.Net.ReadTimeout = g.Rebalance.Timeout + 5*time.Second // JoinGroup is answered when all members have come
	return k
}

// rebalance is how long the members of a group may take to come together again: the grace for settling and some more.
func (s *source) rebalance() time.Duration { return s.grace() + 20*time.Second }

// grace is how long a rebalance waits for the deliveries in flight to be settled.
func (s *source) grace() time.Duration { return min(s.limits.Confirm, 10*time.Second) }

func (s *source) dial(ctx context.Context, c adapters.Config) error {
	type both struct {
		control sarama.Client
		member  sarama.ConsumerGroup
	}
	addrs := []string{s.facts.peer.Address}
	b, err := within(ctx, s.net, func() (both, error) {
		control, err := sarama.NewClient(addrs, settings(c, s.net))
		if err != nil {
			return both{}, err
		}
		member, err := sarama.NewConsumerGroup(addrs, s.group, s.consumerSettings(c))
		if err != nil {
			_ = control.Close()
			return both{}, err
		}
		return both{control, member}, nil
	})
	if err != nil {
		return classify("attach", s.addr, withCause(err, s.net))
	}
	s.control, s.member = b.control, b.member
	return nil
}

// start runs the loops; each ends when stop is called or the source is spent.
func (s *source) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.loops.Go(func() { s.belong(ctx) })
	s.loops.Go(func() { s.watch(ctx) })
	go func() { // ends with the member, whose Close may take as long as the network
		for err := range s.member.Errors() {
			s.fail("receive", err)
		}
	}()
}

func (s *source) waitAttached(ctx context.Context) error {
	select {
	case <-s.attached:
		return nil
	case <-s.spent:
		return s.failure()
	case <-ctx.Done():
		return classify("attach", s.addr, fmt.Errorf("the consumer group %s gave no partitions in time: %w", s.group, ctx.Err()))
	}
}

// Receive returns what is queued; see adapters.Source.
func (s *source) Receive(ctx context.Context, max int) ([]adapters.Delivery, error) {
	for {
		ds, err := s.take(max)
		if err != nil || len(ds) > 0 {
			return ds, err
		}
		select {
		case <-s.ready:
		case <-s.spent:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *source) take(max int) ([]adapters.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	n := min(max, s.queue.len())
	if n <= 0 {
		return nil, nil
	}
	ds := make([]adapters.Delivery, n)
	for i := range ds {
		r := s.queue.pop()
		r.state = out
		ds[i] = r.delivery()
	}
	s.out += n
	return ds, nil
}

// Settle records what became of ds; see adapters.Source. Accepted returns nil when the group's coordinator has recorded
// the gap-free front of each partition. A context that ends leaves that unknown; the next Settle records it again.
func (s *source) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	switch o {
	case adapters.Accepted, adapters.Released:
	case adapters.Rejected:
		return s.refuse(errors.New("a Kafka topic has no place for rejected messages"))
	default:
		return s.refuse(errors.New("no outcome"))
	}
	due, err := s.mark(o, ds)
	if err != nil {
		return err
	}
	defer s.settled()
	if len(due) == 0 {
		return nil
	}
	return s.commit(ctx, due)
}

func (s *source) refuse(err error) error {
	return &adapters.Error{Op: "settle", Addr: s.addr, Kind: adapters.Permanent, Err: err}
}

// mark notes the outcome and returns the claims with a position to commit.
func (s *source) mark(o adapters.Outcome, ds []adapters.Delivery) ([]*claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, asLost("settle", s.addr, s.err)
	}
	for i := range ds {
		if r, ok := ds[i].Tag.(*record); !ok {
			return nil, s.refuse(errors.New("the delivery is not of Kafka"))
		} else if r.claim.term.s != s {
			return nil, asLost("settle", s.addr, errors.New("the delivery is of a source that was lost before"))
		}
	}
	touched := make([]*claim, 0, 4)
	for i := range ds {
		touched = s.settleOne(o, ds[i].Tag.(*record), touched)
	}
	due := touched[:0]
	for _, c := range touched {
		n, bytes := c.pass()
		s.free(n, bytes)
		if c.due() {
			due = append(due, c)
		}
	}
	s.busy++
	return due, nil
}

// settled ends what mark began.
func (s *source) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	if s.out+s.busy == 0 {
		close(s.idle)
		s.idle = make(chan struct{})
	}
}

// settleOne notes the outcome of one record that is out; for others there is nothing to do but to see that the claim's
// position gets recorded, if an earlier Settle did not come so far. Caller holds mu.
func (s *source) settleOne(o adapters.Outcome, r *record, touched []*claim) []*claim {
	if r.state == out {
		s.out--
		if o == adapters.Released {
			r.state = queued
			r.attempt++
			s.queue.giveBack(r)
			s.signal()
			return touched
		}
		r.state = taken
	}
	for _, c := range touched {
		if c == r.claim {
			return touched
		}
	}
	return append(touched, r.claim)
}

// free gives n places back. Caller holds mu.
func (s *source) free(n int, bytes int64) {
	if n == 0 {
		return
	}
	s.held -= n
	s.bytes -= bytes
	close(s.room)
	s.room = make(chan struct{})
}

func (s *source) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// fail spends the source; the first reason stays.
func (s *source) fail(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = classify(op, s.addr, withCause(err, s.net))
	s.queue.clear()
	close(s.spent)
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close gives up the partitions without leaving the group: a static member that comes back within the session timeout
// finds them again. It waits a bounded time for the client library to end.
func (s *source) Close() error {
	s.fail("receive", errClosed)
	s.stop()
	s.closing.Do(func() {
		ended := make(chan struct{})
		go func() {
			s.loops.Wait()
			_ = s.member.Close()
			_ = s.control.Close()
			close(ended)
		}()
		if !waitFor(ended, time.Second) {
			s.net.cut() // makes every blocked call return
			waitFor(ended, 5*time.Second)
		}
		s.net.cut()
	})
	return nil
}

// waitFor reports whether done was closed within d.
func waitFor(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// Peer is what the cluster told when the source was opened.
func (s *source) Peer() adapters.Peer { return s.facts.peer }

// sourceID is cluster, topic id (or, from old brokers, the topic's name), partition and offset.
func (s *source) sourceID(partition int32, offset int64) string {
	b := make([]byte, 0, 96)
	b = append(b, s.facts.peer.ID...)
	b = append(b, '/')
	if s.facts.topicID != "" {
		b = append(b, s.facts.topicID...)
	} else {
		b = append(b, s.addr.Name...)
	}
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(partition), 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, offset, 10))
}
