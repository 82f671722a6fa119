package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/adapters"
)

// A tag stands for one delivery of one source, from its arrival until the server has confirmed its ack. Guarded by the
// source's mutex, but for what never changes.
type tag struct {
	source *source
	reply  string // ack subject
	size   int64
	since  int64 // last sign of life given to the server, UnixNano
	done   bool
	prev   *tag
	next   *tag
}

// A heldList is all unsettled deliveries in the order of their arrival.
type heldList struct {
	first, last *tag
	n           int
	bytes       int64
}

func (l *heldList) add(t *tag) {
	if t.prev = l.last; l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.n++
	l.bytes += t.size
}

func (l *heldList) remove(t *tag) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.done = nil, nil, true
	l.n--
	l.bytes -= t.size
}

// An ackRound is one Settle in progress: how many answers are missing. Rounds have numbers, so that a late answer to an
// earlier one counts for nothing.
type ackRound struct {
	number uint64
	left   int
	done   chan struct{}
	gone   bool // an answer said that nobody takes acks any more
}

// begin starts the next round and returns where its answers go. The source's mutex is held.
func (r *ackRound) begin(n int, inbox string) (reply string, done chan struct{}) {
	r.number++
	r.left, r.done, r.gone = n, make(chan struct{}), false
	return inbox + "a" + strconv.FormatUint(r.number, 10), r.done
}

func (r *ackRound) answered() {
	if r.left--; r.left == 0 {
		close(r.done)
	}
}

// fail ends a round without its answers.
func (r *ackRound) fail() {
	if r.left > 0 {
		r.left, r.gone = 0, true
		close(r.done)
	}
}

// onAcked counts one answer of the server to an ack.
func (s *source) onAcked(m *natsgo.Msg) {
	number, _ := strconv.ParseUint(m.Subject[len(s.inbox)+1:], 10, 64)
	refused := m.Header.Get("Status") == "503"
	s.mu.Lock()
	if number == s.acks.number && s.acks.left > 0 && !refused {
		s.acks.answered()
	}
	s.mu.Unlock()
	if refused {
		s.spend(lost("settle", s.c.at, errors.New("the consumer or its stream is gone")))
	}
}

// Settle sends all acks of ds and waits until the server has answered every one; see adapters.Source. When ctx ends
// before, it is unknown which were recorded, and ds may be settled again.
func (s *source) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	word, err := s.ackWord(o)
	if err != nil {
		return err
	}
	tags, err := s.open(ds)
	if err != nil || len(tags) == 0 {
		return err
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return s.lostSettle()
	}
	reply, done := s.acks.begin(len(tags), s.inbox)
	s.mu.Unlock()
	for _, t := range tags {
		if err := s.c.nc.PublishRequest(t.reply, reply, word); err != nil {
			s.spend(lost("settle", s.c.at, err))
			return s.lostSettle()
		}
	}
	if err := s.await(ctx, done); err != nil {
		return err
	}
	s.forget(tags)
	return nil
}

// ackWord is what an outcome is on the wire (ADR-13).
func (s *source) ackWord(o adapters.Outcome) ([]byte, error) {
	switch o {
	case adapters.Accepted:
		return []byte("+ACK"), nil
	case adapters.Released:
		return []byte("-NAK"), nil
	case adapters.Rejected:
		return nil, &adapters.Error{Op: "settle", Addr: s.c.at, Kind: adapters.Permanent,
			Err: errors.New("JetStream has no place for rejected messages; it would drop them")}
	}
	return nil, &adapters.Error{Op: "settle", Addr: s.c.at, Kind: adapters.Permanent, Err: fmt.Errorf("%v: nothing to settle with", o)}
}

// open returns the tags of ds that are not settled yet.
func (s *source) open(ds []adapters.Delivery) ([]*tag, error) {
	tags := make([]*tag, 0, len(ds))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ds {
		t, ok := ds[i].Tag.(*tag)
		if !ok || t.source != s {
			return nil, lost("settle", s.c.at, errors.New("the delivery came from a connection that is gone"))
		}
		if !t.done {
			tags = append(tags, t)
		}
	}
	if s.err != nil && len(tags) > 0 {
		return nil, s.lostSettleLocked()
	}
	return tags, nil
}

// await waits for the answers of one round.
func (s *source) await(ctx context.Context, done chan struct{}) error {
	timer := time.NewTimer(s.c.cfg.Limits.Confirm)
	defer timer.Stop()
	select {
	case <-done:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.acks.gone {
			return s.lostSettleLocked()
		}
		return nil
	case <-ctx.Done():
		return &adapters.Error{Op: "settle", Addr: s.c.at, Kind: adapters.Transient, Err: context.Cause(ctx)}
	case <-timer.C:
		s.spend(lost("settle", s.c.at, fmt.Errorf("no answer to acks within %v", s.c.cfg.Limits.Confirm)))
		s.c.tr.suspect()
		return s.lostSettle()
	}
}

// forget frees the room of settled deliveries and asks for more.
func (s *source) forget(tags []*tag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tags {
		if !t.done {
			s.held.remove(t)
		}
	}
	s.credit.tight = false
	s.topUp()
	if s.credit.oversize {
		s.signal()
	}
}

func (s *source) lostSettle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lostSettleLocked()
}

func (s *source) lostSettleLocked() error {
	cause := s.err
	var e *adapters.Error
	if errors.As(cause, &e) {
		cause = e.Err
	}
	return lost("settle", s.c.at, cause)
}

// keepAlive tells the server three times within the ack wait that what is held is still being worked on, for as long as
// something is held. s.mu is held.
func (s *source) keepAlive() {
	switch {
	case s.beats || s.closed:
	case s.beat == nil:
		s.beats, s.beat = true, time.AfterFunc(s.ackWait/3, s.onBeat)
	default:
		s.beats = true
		s.beat.Reset(s.ackWait / 3)
	}
}

func (s *source) onBeat() {
	s.mu.Lock()
	s.beats = false
	if s.held.n > 0 && s.c.gone.Err() == nil {
		s.keepAlive()
	}
	s.mu.Unlock()
	s.extend(time.Now().Add(-s.ackWait / 4).UnixNano())
}

func (s *source) stopBeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.beat != nil {
		s.beat.Stop()
	}
}

func (s *source) extend(limit int64) {
	for _, reply := range s.stale(limit) {
		_ = s.c.nc.Publish(reply, []byte("+WPI"))
	}
}

// stale lists the ack subjects of what was received or kept alive before limit, and marks them as kept alive.
func (s *source) stale(limit int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for t := s.held.first; t != nil && !s.closed; t = t.next {
		if t.since <= limit {
			t.since = time.Now().UnixNano()
			out = append(out, t.reply)
		}
	}
	return out
}
