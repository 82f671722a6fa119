package amqp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// rawType marks the body of a message that is not AMQP 1.0: it is the message as it came, byte by byte.
const rawType = "application/vnd.posthouse.amqp-message"

// firstCredit is how many bytes a message is taken to have before one has been seen.
const firstCredit = 1 << 20

// A source is a receiver with credit of our own.
type source struct {
	*link
	r         *amqp.Receiver
	closed    atomic.Bool
	uniqueIDs bool // the operator says that a message id is never used twice

	mu      sync.Mutex
	granted uint64          // credit given since the attach
	settled uint64          // deliveries whose outcome is on its way: others may come for them
	largest int64           // bytes of the largest recent message, decays
	guessed bool            // largest is not a measured size yet
	held    map[uint32]bool // deliveries by id; true when the outcome is on its way but not confirmed
}

// tag identifies a delivery to its source.
type tag struct {
	s  *source
	id uint32
}

func (a *Adapter) openSource(ctx context.Context, cfg adapters.Config, at adapters.Address) (*source, error) {
	l, err := connect(ctx, cfg, at)
	if err != nil {
		return nil, err
	}
	s := &source{link: l, largest: firstCredit, guessed: true, held: make(map[uint32]bool), uniqueIDs: at.Options.Bool(adapters.KeyUniqueIDs, false)}
	actx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s.r, err = l.session.NewReceiver(actx, l.p.address(at, true), l.receiverOptions())
	if err != nil {
		err = l.attachError(actx, err)
		_ = l.close()
		return nil, err
	}
	if err := s.topUp(); err != nil {
		_ = l.close()
		return nil, err
	}
	return s, nil
}

// receiverOptions asks for manual credit and for the size we can hold, and for a durable shared subscription where the
// address names one: JMS 2.0 brokers know it by the capabilities shared and global and the link's name up to a bar.
func (l *link) receiverOptions() *amqp.ReceiverOptions {
	o := &amqp.ReceiverOptions{Credit: -1, MaxMessageSize: uint64(l.cfg.Limits.MaxSize)}
	if kind := l.nodeKind(); kind != "" {
		o.SourceCapabilities = []string{kind}
	}
	if l.p.durableNode {
		o.SourceDurability = amqp.DurabilityUnsettledState
	}
	if sub := l.at.Options.String("subscription", ""); sub != "" && l.at.Form == adapters.Topic && l.p.topic != "" {
		o.Name = sub + "|" + containerID(l.cfg)
		o.SourceCapabilities = append(o.SourceCapabilities, "shared", "global")
		o.SourceDurability = amqp.DurabilityUnsettledState
		o.SourceExpiryPolicy = amqp.ExpiryPolicyNever
	}
	return o
}

// Receive returns what has come, at most max.
func (s *source) Receive(ctx context.Context, most int) ([]adapters.Delivery, error) {
	if err := s.topUp(); err != nil {
		return nil, err
	}
	m, err := s.r.Receive(ctx, nil)
	if s.w.why() != nil { // what the library still has cannot be settled any more: it comes again
		return nil, s.lost("receive", err)
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, s.lost("receive", err)
	}
	now := s.cfg.Now().UnixMilli()
	ds := make([]adapters.Delivery, 0, min(most, 16))
	for ; m != nil; m = s.r.Prefetched() {
		d, err := s.delivery(m, now)
		if err != nil {
			return nil, s.lost("receive", err)
		}
		if ds = append(ds, d); len(ds) >= most {
			break
		}
	}
	if err := s.topUp(); err != nil {
		return nil, err
	}
	return ds, nil
}

// delivery decodes what belongs to the library's ticket m. What cannot be decoded is not refused: it becomes a message
// whose body is what came.
func (s *source) delivery(m *amqp.Message, now int64) (adapters.Delivery, error) {
	a, ok := s.w.take(m.GetData())
	if !ok {
		return adapters.Delivery{}, errors.New("the client library handed out a delivery that did not arrive")
	}
	msg, h, err := decode(a.raw, now)
	if err != nil {
		s.cfg.Log.Warn("message is not AMQP 1.0, passed on as bytes", "address", s.at.String(), "error", err)
		msg = &adapters.Message{Received: now, ContentType: rawType, Body: adapters.Body{Form: adapters.BodyBytes, Data: a.raw}}
	}
	s.hold(a)
	attempt := 1 + int(min(h.count, math.MaxInt32-1))
	if s.p.acquirer && h.acquiredBefore {
		attempt = max(attempt, 2)
	}
	d := adapters.Delivery{Message: msg, Tag: tag{s, a.id}, Attempt: attempt}
	if s.uniqueIDs {
		d.SourceID = sourceID(msg.ID)
	}
	return d, nil
}

// hold counts a delivery that the caller has from now on.
func (s *source) hold(a arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(a.raw))
	if s.guessed {
		s.largest, s.guessed = 1, false
	}
	s.largest = max(n, s.largest-s.largest/256, 1)
	if a.settled {
		s.settled++
		return
	}
	s.held[a.id] = false
}

// topUp gives the broker credit for what may come on top of what we have: never more than Prefetch unsettled, nor more
// than PrefetchBytes as far as the size of recent messages lets us guess.
func (s *source) topUp() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	window := uint64(s.cfg.Limits.Prefetch)
	if byBytes := uint64(max(s.cfg.Limits.PrefetchBytes/s.largest, 1)); byBytes < window {
		window = byBytes
	}
	used := s.granted - s.settled // credit outstanding, in the library, and with the caller
	if used >= window {
		return nil
	}
	outstanding := s.granted - s.w.came()
	if s.p.replenish {
		if window > 1 && window-used < window/2 {
			return nil
		}
	} else if outstanding > 0 {
		return nil
	}
	if err := s.r.IssueCredit(uint32(window - used)); err != nil {
		return s.lost("receive", err)
	}
	s.granted = s.settled + window
	return nil
}

// Settle writes the outcome of all ds in as few frames as their ids allow.
func (s *source) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	if o < adapters.Accepted || o > adapters.Rejected {
		return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Permanent, Err: fmt.Errorf("%v", o)}
	}
	if o == adapters.Rejected && !s.p.rejectAside {
		return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Permanent,
			Err: fmt.Errorf("a rejected message would be lost: %s has no place for it", s.p.name)}
	}
	if s.closed.Load() || s.w.why() != nil {
		return s.lost("settle", nil)
	}
	ids, err := s.open(ds)
	if err != nil || len(ids) == 0 {
		return err
	}
	if s.p.confirms {
		return s.settleConfirmed(ctx, ids, stateOf(o))
	}
	if err := s.w.settle(ids, stateOf(o), true); err != nil {
		return s.lost("settle", err)
	}
	s.free(ids, true)
	return s.topUp()
}

// settleConfirmed leaves the deliveries open until the broker has settled them on its side.
func (s *source) settleConfirmed(ctx context.Context, ids []uint32, state byte) error {
	a := s.w.expect(ids)
	if err := s.w.settle(ids, state, false); err != nil {
		return s.lost("settle", err)
	}
	s.free(ids, false)
	if err := s.topUp(); err != nil {
		return err
	}
	watchdog := time.NewTimer(s.cfg.Limits.Confirm)
	defer watchdog.Stop()
	select {
	case <-a.done:
		if a.lost {
			return s.lost("settle", nil)
		}
		s.free(ids, true)
		return nil
	case <-watchdog.C:
		s.w.cut(fmt.Errorf("the broker has not confirmed a settlement within %v", s.cfg.Limits.Confirm))
		return s.lost("settle", nil)
	case <-ctx.Done():
		return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Transient, Err: ctx.Err()}
	}
}

// open lists the ids of ds that are not settled yet.
func (s *source) open(ds []adapters.Delivery) ([]uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]uint32, 0, len(ds))
	for _, d := range ds {
		t, ok := d.Tag.(tag)
		if !ok || t.s != s {
			return nil, &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Lost, Err: errors.New("the delivery came over a connection that is gone")}
		}
		if _, is := s.held[t.id]; is {
			ids = append(ids, t.id)
		}
	}
	return ids, nil
}

// free makes room for as many other deliveries, once, and forgets ids when that is the end of them.
func (s *source) free(ids []uint32, forget bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if sent, is := s.held[id]; is && !sent {
			s.settled++
		}
		s.held[id] = true
		if forget {
			delete(s.held, id)
		}
	}
}

// Probe tells whether the AMQP link is attached and the broker was heard within the heartbeat.
func (s *source) Probe(ctx context.Context) error { return s.alive(ctx) }

// Peer tells what the source is attached to.
func (s *source) Peer() adapters.Peer { return s.peer }

// Close ends the session, so that the broker gives out again what is not settled, and the connection.
func (s *source) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.close()
}
