package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// A term is one generation of the consumer group, as seen by this member: from the moment it is given partitions until
// a rebalance takes them back. The client library calls Setup, then ConsumeClaim for each partition, then Cleanup.
type term struct {
	s          *source
	generation int32
	member     string
	claims     map[int32]*claim
	missing    atomic.Int32 // partitions that are not yet being read
	over       bool         // guarded by source.mu: nothing of it is handed out any more
}

// belong keeps the source in its group until it is spent.
func (s *source) belong(ctx context.Context) {
	for ctx.Err() == nil && s.failure() == nil {
		if err := s.member.Consume(ctx, []string{s.addr.Name}, handler{s}); err != nil && ctx.Err() == nil {
			s.fail("receive", err)
		}
	}
}

// watch asks the coordinator once in a heartbeat whether this member is still in the group, and looks that the brokers
// that hold the partitions answer, too.
func (s *source) watch(ctx context.Context) {
	t := time.NewTicker(s.heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.spent:
			return
		case <-t.C:
		}
		err := s.Probe(ctx)
		if err == nil && s.net.stalled(2*s.heartbeat) {
			err = fmt.Errorf("no byte from a broker for %s", 2*s.heartbeat)
		}
		if err != nil && ctx.Err() == nil {
			s.fail("receive", err)
			s.net.cut()
			return
		}
	}
}

// A handler is what the client library sees of a source.
type handler struct{ s *source }

// Setup runs when the group has given this member its partitions, before any is read.
func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	s := h.s
	parts := session.Claims()[s.addr.Name]
	t := &term{s: s, generation: session.GenerationID(), member: session.MemberID(), claims: make(map[int32]*claim, len(parts))}
	for _, p := range parts {
		t.claims[p] = &claim{partition: p, term: t, next: -1, committed: -1}
	}
	t.missing.Store(int32(len(parts)))
	s.mu.Lock()
	s.term, s.held, s.bytes = t, 0, 0 // what the last term left behind is given out again
	s.mu.Unlock()
	if err := s.positions(session, t); err != nil {
		s.fail("attach", err)
		return err
	}
	if len(parts) == 0 {
		s.attach()
	}
	return nil
}

func (s *source) attach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.attached:
	default:
		close(s.attached)
	}
}

// ConsumeClaim queues what one partition brings, until the term is over.
func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, messages sarama.ConsumerGroupClaim) error {
	s := h.s
	s.mu.Lock()
	t := s.term
	s.mu.Unlock()
	c := t.claims[messages.Partition()]
	if t.missing.Add(-1) == 0 {
		s.attach()
	}
	for m := range messages.Messages() {
		r, size := s.newRecord(c, m)
		if size > s.limits.MaxSize {
			s.fail("receive", fmt.Errorf("%w: partition %d, offset %d, %d bytes", errFrame, m.Partition, m.Offset, size))
		}
		if !s.admit(session.Context(), r) {
			break
		}
	}
	return nil
}

// newRecord returns also the size on the wire, as a target counts it.
func (s *source) newRecord(c *claim, m *sarama.ConsumerMessage) (*record, int64) {
	w := consumed(m)
	r := &record{claim: c, offset: m.Offset, attempt: 1, source: s.sourceID(m.Partition, m.Offset)}
	decode(w, &r.message, s.spring)
	r.size = r.message.Size()
	return r, w.size()
}

// admit queues r when there is room. It returns false when the term is over or the source spent: r is then dropped, and
// the broker gives it out again, for its position was not committed.
func (s *source) admit(ctx context.Context, r *record) bool {
	for {
		s.mu.Lock()
		if s.err != nil || r.claim.term.over {
			s.mu.Unlock()
			return false
		}
		if s.held == 0 || s.held < s.limits.Prefetch && s.bytes+r.size <= s.limits.PrefetchBytes {
			s.held++
			s.bytes += r.size
			r.claim.open = append(r.claim.open, r)
			s.queue.push(r)
			s.signal()
			s.mu.Unlock()
			return true
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false
		case <-s.spent:
			return false
		}
	}
}

// Cleanup runs when the partitions go away. Nothing more is handed out; what is in flight may still be settled, for a
// bounded time: the coordinator takes commits of the old generation until the members have come together again.
func (h handler) Cleanup(session sarama.ConsumerGroupSession) error {
	s := h.s
	s.endTerm()
	end := time.NewTimer(s.grace())
	defer end.Stop()
	for {
		s.mu.Lock()
		left, idle := s.out+s.busy, s.idle
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-s.spent:
			return nil
		case <-end.C:
			s.fail("receive", fmt.Errorf("a rebalance of the consumer group took the partitions away while %d deliveries were not settled (%w)",
				left, cause(session.Context())))
			return nil
		}
	}
}

// endTerm takes everything that was not handed out from the queue: the broker gives it out again.
func (s *source) endTerm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term == nil {
		return
	}
	s.term.over = true
	s.queue.clear()
	s.held, s.bytes = 0, 0
	for _, c := range s.term.claims {
		s.held += s.keepOut(c)
	}
}

// keepOut leaves in c only what is handed out or accepted behind that, and counts it. A record in the middle that was
// not handed out stays as the gap that it is.
func (s *source) keepOut(c *claim) int {
	last := len(c.open)
	for last > 0 && c.open[last-1].state == queued {
		last--
	}
	c.open = c.open[:last]
	for _, r := range c.open {
		s.bytes += r.size
	}
	return last
}

func cause(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return errors.New("no reason given")
}

// Probe sends one heartbeat to the group's coordinator: it is answered only while this source is a member.
func (s *source) Probe(ctx context.Context) error {
	if err := s.failure(); err != nil {
		return asLost("probe", s.addr, err)
	}
	s.mu.Lock()
	t := s.term
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.heartbeat)
	defer cancel()
	code, err := s.heartbeatOnce(ctx, t)
	switch {
	case err != nil:
		return &adapters.Error{Op: "probe", Addr: s.addr, Kind: adapters.Lost, Err: withCause(err, s.net)}
	case code == sarama.ErrNoError, code == sarama.ErrRebalanceInProgress:
		return nil
	case s.superseded(t):
		return nil // a rebalance has just come between
	}
	return classify("probe", s.addr, code)
}

// superseded reports whether t is no longer the term of the source.
func (s *source) superseded(t *term) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term != t || t.over
}

func (s *source) heartbeatOnce(ctx context.Context, t *term) (sarama.KError, error) {
	type answer struct {
		code sarama.KError
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		if t == nil { // not yet a member: the broker's answer is all there is to ask for
			done <- answer{err: s.control.RefreshMetadata(s.addr.Name)}
			return
		}
		b, err := s.control.Coordinator(s.group)
		if err != nil {
			done <- answer{err: err}
			return
		}
		res, err := b.Heartbeat(&sarama.HeartbeatRequest{Version: 4, GroupId: s.group, GenerationId: t.generation, MemberId: t.member,
			GroupInstanceId: optional(s.instance)})
		if err != nil {
			done <- answer{err: err}
			return
		}
		if res.Err == sarama.ErrNotCoordinatorForConsumer || res.Err == sarama.ErrConsumerCoordinatorNotAvailable {
			done <- answer{code: sarama.ErrNoError, err: s.control.RefreshCoordinator(s.group)} // it has moved; membership moves along
			return
		}
		done <- answer{code: res.Err}
	}()
	select {
	case a := <-done:
		return a.code, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("the group's coordinator does not answer: %w", ctx.Err())
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
