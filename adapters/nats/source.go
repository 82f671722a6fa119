package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// A source is a durable pull consumer. Messages arrive on the subscription's goroutine and wait in buf, bounded by what
// was pulled for; every delivery stays in the list of held ones until its ack is confirmed.
type source struct {
	c        *conn
	id       string // stream and creation time: a stream that was made again starts its sequence again
	stream   string
	consumer string
	next     string // subject that takes pull requests
	inbox    string // prefix of our answers' subjects
	ackWait  time.Duration
	sub      *natsgo.Subscription
	drained  chan struct{} // closed when sub has ended
	fresh    bool          // nothing of its consumer was open when it attached

	mu     sync.Mutex
	buf    []adapters.Delivery // received, not yet handed out; first at head
	head   int
	held   heldList
	credit credit
	owed   int           // deliveries of former connections that have to come again before anything new
	err    error         // why the source is spent
	wake   chan struct{} // capacity 1: something for Receive
	acks   ackRound
	beat   *time.Timer // of keepAlive; nil before the first
	beats  bool        // it is running
	closed bool

	heard atomic.Int64 // when the consumer was last heard of, UnixNano
}

var (
	_ adapters.Source    = (*source)(nil)
	_ adapters.Prober    = (*source)(nil)
	_ adapters.Described = (*source)(nil)
)

// attachSource finds or makes stream and consumer, subscribes and pulls once. It returns after a round trip, so a
// missing right has shown itself.
func attachSource(ctx context.Context, c *conn) (*source, error) {
	var info *jetstream.StreamInfo
	var co jetstream.Consumer
	ackWait := max(3*c.cfg.Heartbeat, 2*time.Second)
	err := c.during(ctx, "attach", func(ctx context.Context) (err error) {
		if info, err = c.sourceStream(ctx); err != nil {
			return err
		}
		if err := c.copies(info); err != nil {
			return err
		}
		co, err = c.js.CreateOrUpdateConsumer(ctx, info.Config.Name, consumerConfig(c, ackWait))
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &source{
		c: c, ackWait: ackWait, wake: make(chan struct{}, 1), inbox: natsgo.NewInbox() + ".",
		id:     info.Config.Name + "@" + strconv.FormatInt(info.Created.UnixNano(), 36) + ":",
		stream: info.Config.Name, consumer: co.CachedInfo().Name, drained: make(chan struct{}), credit: newCredit(c.cfg.Limits),
	}
	s.fresh = idle(co.CachedInfo())
	s.next = fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", s.stream, s.consumer)
	c.publishes(s.next, fmt.Sprintf(".%s.%s.", s.stream, s.consumer), s.inbox)
	return s, s.start(ctx)
}

func consumerConfig(c *conn, ackWait time.Duration) jetstream.ConsumerConfig {
	cc := jetstream.ConsumerConfig{
		Durable: consumerName(c.cfg, c.at), Description: "posthouse " + c.cfg.Client, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1,
		MaxAckPending: c.cfg.Limits.Prefetch, FilterSubject: c.at.Options.String(KeySubject, ""),
	}
	if c.at.Options.Bool(KeyTemporary, false) {
		cc.InactiveThreshold = time.Minute
	}
	return cc
}

func consumerName(c adapters.Config, a adapters.Address) string {
	own := durableName(c.Client)
	if c.Group != "" {
		own = "shared=" + durableName(c.Group) // of no client: there "=" is followed by hexadecimal digits
	}
	if name := a.Options.String(KeyConsumer, own); name != "" {
		return name
	}
	return "posthouse"
}

// start subscribes, takes back what the last connection held, pulls, and makes a round trip. Pull requests have no
// answer of their own, so a violation is only seen before the PONG.
func (s *source) start(ctx context.Context) error {
	sub, err := s.c.nc.Subscribe(s.inbox+"*", s.onMsg)
	if err == nil {
		sub.SetClosedHandler(func(string) { close(s.drained) })
		err = sub.SetPendingLimits(-1, -1) // bounded by credit instead
	}
	if err != nil {
		return fail("attach", s.c.at, err)
	}
	s.sub = sub
	if err := s.firstPull(ctx); err != nil {
		_ = sub.Unsubscribe() // or the connection, which others may use, would keep it
		return err
	}
	s.c.onDenied(func(err error) { s.spend(fail("receive", s.c.at, err)) })
	context.AfterFunc(s.c.gone, func() { s.spend(s.c.lostNow("receive")) })
	return nil
}

func (s *source) firstPull(ctx context.Context) error {
	return s.c.during(ctx, "attach", func(ctx context.Context) error {
		if err := s.reclaim(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		s.topUp()
		s.mu.Unlock()
		return s.c.nc.FlushWithContext(ctx)
	})
}

// reclaimMost bounds how many positions reclaim looks at; beyond it the ack wait does the same, later.
const reclaimMost = 1 << 14

// reclaim releases what an earlier connection of this consumer received and did not settle. Without it the server would
// wait for the ack wait to pass, and hand out newer messages first. A -NAK for a position that is not open counts for
// nothing, so all between the ack floor and the last delivery get one. They get two: some may stand in the queue for
// redelivery already, out of order; the first, with a delay, takes them out of it, the second puts all in, in order. A
// consumer that several sources share is left alone: what is open may be in another's hands.
func (s *source) reclaim(ctx context.Context) error {
	if s.fresh {
		return nil
	}
	info, err := s.quiesce(ctx)
	if err != nil {
		return err
	}
	from, to := info.AckFloor.Stream+1, info.Delivered.Stream
	if info.NumAckPending == 0 || s.shared() || to < from || to-from >= reclaimMost {
		return nil
	}
	s.mu.Lock()
	s.credit.again, s.owed = info.NumAckPending, info.NumAckPending
	reply, done := s.acks.begin(2, s.inbox)
	s.mu.Unlock()
	for _, word := range []string{"-NAK " + s.ackWait.String(), "-NAK"} {
		for seq := from; seq <= to; seq++ {
			m := natsgo.Msg{Subject: fmt.Sprintf("%s%s.%s.1.%d.%d.0.0", ackMark, info.Stream, info.Name, seq, info.Delivered.Consumer),
				Data: []byte(word)}
			if seq == to {
				m.Reply = reply // acks are taken in order: this answer stands for all
			}
			if err := s.c.nc.PublishMsg(&m); err != nil {
				return err
			}
		}
	}
	return s.await(ctx, done)
}

// idle reports whether a consumer, as described when it was made or updated, has neither messages that are open nor pulls that
// wait. In a cluster that description may be as old as the last change of leader, so there it proves nothing.
func idle(info *jetstream.ConsumerInfo) bool {
	return info.Cluster == nil && info.NumAckPending == 0 && info.NumWaiting == 0
}

// patienceForPulls is how long a source that opens waits for the server to notice the end of the connection before.
const patienceForPulls = time.Second

// quiesce asks for the state of the consumer. The question has a side effect that order needs: the server throws away
// pulls whose inbox has gone. With such a pull at its head it would take a released message up, find nobody to give it
// to, and put it back behind the others; and as long as it takes the connection of a daemon that was killed for alive, it
// gives the message away there, until the ack wait has passed. So it is asked until no pull waits: this source has none yet.
// A pull that the server had not read by then is noticed by what comes instead (owes).
func (s *source) quiesce(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	for end := time.Now().Add(patienceForPulls); ; {
		info, err := s.info(ctx)
		if err != nil || info.NumAckPending == 0 || info.NumWaiting == 0 || s.shared() || time.Now().After(end) {
			return info, err
		}
		select {
		case <-time.After(patienceForPulls / 100):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// shared reports whether other sources may read through the same consumer.
func (s *source) shared() bool {
	return s.c.cfg.Group != "" || s.c.at.Options.String(KeyConsumer, "") != ""
}

func (s *source) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	co, err := s.c.js.Consumer(ctx, s.stream, s.consumer)
	if err != nil {
		return nil, err
	}
	return co.CachedInfo(), nil
}

// Peer tells which server the source is attached to.
func (s *source) Peer() adapters.Peer { return s.c.peer }

// Receive returns what is there, at most max deliveries; see adapters.Source. An error of Kind Permanent means that the
// next message is larger than Limits.MaxSize: it was not fetched and stays in the stream.
func (s *source) Receive(ctx context.Context, max int) ([]adapters.Delivery, error) {
	beat := time.NewTicker(s.c.cfg.Heartbeat)
	defer beat.Stop()
	for {
		ds, err := s.take(max)
		if len(ds) > 0 || err != nil {
			return ds, err
		}
		select {
		case <-s.wake:
		case <-beat.C:
			s.checkHeard()
		case <-ctx.Done():
			return nil, &adapters.Error{Op: "receive", Addr: s.c.at, Kind: adapters.Transient, Err: context.Cause(ctx)}
		}
	}
}

// take hands out what is buffered and asks for more where there is room.
func (s *source) take(most int) ([]adapters.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	n := min(max(most, 1), len(s.buf)-s.head)
	if n == 0 {
		s.topUp()
		return nil, s.oversize()
	}
	ds := make([]adapters.Delivery, n)
	copy(ds, s.buf[s.head:s.head+n])
	clear(s.buf[s.head : s.head+n])
	if s.head += n; s.head == len(s.buf) {
		s.buf, s.head = s.buf[:0], 0
	}
	return ds, nil
}

// oversize is the error for a message that is too large to be fetched, once nothing else is held: until then the source
// goes on settling. s.mu is held.
func (s *source) oversize() error {
	if !s.credit.oversize || s.held.n > 0 {
		return nil
	}
	return &adapters.Error{Op: "receive", Addr: s.c.at, Kind: adapters.Permanent, Err: fmt.Errorf(
		"the next message of the stream is larger than the limit of %d bytes: it was not fetched and stays there; raise max_message_size or remove it",
		s.c.cfg.Limits.MaxSize)}
}

// topUp asks for more when enough room has come free. s.mu is held.
func (s *source) topUp() {
	for s.err == nil {
		req, ok := s.credit.ask(s.held.n, s.held.bytes)
		if !ok {
			return
		}
		s.pull(req)
	}
}

// pull sends one request. s.mu is held.
func (s *source) pull(req request) {
	if s.credit.msgs == req.batch {
		s.heard.Store(time.Now().UnixNano())
	}
	body := req.encode(s.c.cfg.Heartbeat)
	if err := s.c.nc.PublishRequest(s.next, s.inbox+pullName, body); err != nil {
		s.err = s.c.lostNow("receive")
	}
}

// spend ends the source with the first reason and wakes everybody.
func (s *source) spend(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.acks.fail()
	s.mu.Unlock()
	s.signal()
}

func (s *source) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// checkHeard gives the consumer up when a pull is waiting and three heartbeats have been missed: the consumer or its
// stream is gone, or the server has forgotten the pull.
func (s *source) checkHeard() {
	s.mu.Lock()
	waiting := s.credit.msgs > 0
	s.mu.Unlock()
	silence := time.Since(time.Unix(0, s.heard.Load()))
	if waiting && silence > 3*s.c.cfg.Heartbeat {
		s.spend(lost("receive", s.c.at, fmt.Errorf("no heartbeat from the consumer for %v", silence.Round(time.Millisecond))))
		s.c.tr.suspect()
	}
}

// Probe is nil when the consumer was heard of within the last heartbeat, else it makes a round trip and asks the server
// whether the consumer is still there.
func (s *source) Probe(ctx context.Context) error {
	s.mu.Lock()
	err, waiting := s.err, s.credit.msgs > 0
	s.mu.Unlock()
	if err != nil {
		return lost("probe", s.c.at, err)
	}
	if waiting && time.Since(time.Unix(0, s.heard.Load())) <= s.c.cfg.Heartbeat {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.cfg.Heartbeat)
	defer cancel()
	if _, err := s.info(ctx); err != nil {
		if ctx.Err() != nil {
			s.c.tr.suspect()
		}
		return lost("probe", s.c.at, err)
	}
	return nil
}

// Close gives back what is unsettled and disconnects. It never waits longer than a few seconds for the server.
func (s *source) Close() error {
	s.markClosed()
	s.signal()
	if s.c.gone.Err() == nil {
		s.giveBack()
	}
	s.stopBeat()
	_ = s.sub.Unsubscribe() // that it is closed already is as good
	s.c.close()
	return nil
}

func (s *source) markClosed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = lost("receive", s.c.at, errors.New("closed"))
	}
}

// giveBack stops the flow, waits for what is on its way, and releases all that is held in stream order. First the
// interest ends: what is released while a pull of ours waits would come back to us.
func (s *source) giveBack() {
	ctx, cancel := context.WithTimeout(context.Background(), min(closeWait, s.c.cfg.Heartbeat))
	defer cancel()
	if s.sub.Drain() != nil || s.c.nc.FlushWithContext(ctx) != nil || !wait(s.drained, closeWait) {
		return
	}
	if _, err := s.quiesce(ctx); err != nil {
		return
	}
	s.mu.Lock()
	for t := s.held.first; t != nil; t = t.next {
		_ = s.c.nc.Publish(t.reply, []byte("-NAK"))
	}
	s.mu.Unlock()
	if s.c.at.Options.Bool(KeyTemporary, false) {
		_ = s.c.js.DeleteConsumer(ctx, s.stream, s.consumer)
	}
	_ = s.c.nc.FlushWithContext(ctx)
}
