package ibmmq

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// Settle ends the unit of work when ds are all of it. A part of it is settled by a detour, for MQ knows none: the unit is backed
// out, and of what is wanted a new one is made, by the ids of the messages; the rest lies at the queue meanwhile.
func (s *source) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	if o < adapters.Accepted || o > adapters.Rejected {
		return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Permanent, Err: errors.New("no outcome")}
	}
	tags, err := s.still(ds)
	if err != nil {
		return op("settle", err)
	}
	if len(tags) == 0 {
		return op("settle", s.cause())
	}
	whole := s.whole(tags)
	_, err = run(ctx, s.link, s.limits.Confirm, func() (struct{}, error) { return struct{}{}, s.settle(o, tags, whole) })
	if err != nil {
		return op("settle", s.unsettled(err))
	}
	s.close(tags, whole)
	return nil
}

// still are those of ds that are open.
func (s *source) still(ds []adapters.Delivery) ([]*tag, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tags []*tag
	for _, d := range ds {
		t, ok := d.Tag.(*tag)
		if !ok || t.src != s {
			return nil, &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Lost, Err: errors.New("a delivery of another source")}
		}
		if _, open := s.open[t]; open {
			tags = append(tags, t)
		}
	}
	return tags, nil
}

// whole reports whether tags are all of the unit of work.
func (s *source) whole(tags []*tag) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unit && len(tags) == len(s.open)
}

// settle is Settle on the connection.
func (s *source) settle(o adapters.Outcome, tags []*tag, whole bool) error {
	if whole && o == adapters.Accepted {
		return s.commit(tags)
	}
	if err := s.giveBack(); err != nil || o == adapters.Released {
		return err
	}
	for _, t := range tags {
		err := s.again(t)
		if err == nil && o == adapters.Rejected {
			err = s.putAside(&t.wire, rejectedCode)
		}
		if err != nil {
			_ = s.conn.back()
			return err
		}
	}
	return s.commit(tags)
}

// giveBack ends the unit of work; what was in it lies at the queue.
func (s *source) giveBack() error {
	s.mu.Lock()
	unit := s.unit
	s.unit = false
	s.mu.Unlock()
	if !unit {
		return nil
	}
	return s.conn.back()
}

// again gets what lies at the queue by its ids. What is not there any more somebody else has taken, or it has expired.
func (s *source) again(t *tag) error {
	w, err := s.queue.get(getOptions{max: largest, messages: &struct{ msg, correl [24]byte }{t.wire.MD.MsgID, t.wire.MD.CorrelID}})
	if err == nil && s.identify(&w) != t.id {
		err = errors.New("another message has the same id")
	}
	if err != nil {
		return lost("settle", s.at, fmt.Errorf("a part of what was received is settled, and a message of it is not at the queue any more: %w", err))
	}
	return nil
}

// commit ends the unit of work, and with it goes the state, where there is one. Its outcome may be unknown.
func (s *source) commit(tags []*tag) error {
	if s.position != nil {
		if err := s.position.next(tags); err != nil {
			_ = s.conn.back()
			return lost("settle", s.at, err)
		}
	}
	return s.conn.commit()
}

// unsettled says what a settle that failed has left: after a definite refusal everything is as before, and otherwise the
// connection is given up, for its unit of work is in doubt.
func (s *source) unsettled(err error) error {
	failed := classify("settle", s.at, err)
	if failed.Kind.Definite() {
		s.mu.Lock()
		s.unit = false
		s.mu.Unlock()
		return failed
	}
	s.lose(failed)
	return lost("settle", s.at, failed)
}

// close notes that tags are settled. When nothing is open the next unit of work may begin.
func (s *source) close(tags []*tag, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tags {
		delete(s.open, t)
	}
	if whole {
		s.unit = false
	}
	if len(s.open) == 0 {
		s.settled <- struct{}{}
	}
}
