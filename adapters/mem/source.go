package mem

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A Source receives from one queue.
type Source struct {
	*end
	place   *place
	arrival chan struct{} // holds one token when arrived may have grown

	// below: Broker.mu
	arrived []arrival
	open    map[*tag]struct{}
	bytes   int64 // of arrived and open
}

var (
	_ adapters.Source    = (*Source)(nil)
	_ adapters.Prober    = (*Source)(nil)
	_ adapters.Described = (*Source)(nil)
)

// An arrival is an item on its way to the client.
type arrival struct {
	it  *item
	due time.Time
}

// A tag is the Delivery.Tag: one handing out of an item.
type tag struct {
	src *Source
	it  *item
}

// room reports whether the source has credit left. Broker.mu is held.
func (s *Source) room() bool {
	n := len(s.arrived) + len(s.open)
	return n < s.cfg.Limits.Prefetch && (n == 0 || s.bytes < s.cfg.Limits.PrefetchBytes)
}

// take is the broker's side of a delivery. Broker.mu is held.
func (s *Source) take(it *item, now time.Time) {
	s.arrived = append(s.arrived, arrival{it, now.Add(s.link.latency)})
	s.bytes += it.msg.Size()
	select {
	case s.arrival <- struct{}{}:
	default:
	}
}

// Receive hands out what has arrived, at most max.
func (s *Source) Receive(ctx context.Context, max int) ([]adapters.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ds, wait, err := s.collect(max)
		if err != nil || len(ds) > 0 {
			return ds, err
		}
		select {
		case <-s.arrival:
		case <-wait.due:
		case <-wait.changed:
		case <-s.gone:
		case <-ctx.Done():
		}
	}
}

// wait is what can make it worth looking again.
type wait struct {
	due     <-chan time.Time
	changed chan struct{}
}

func (s *Source) collect(max int) ([]adapters.Delivery, wait, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.why != nil {
		return nil, wait{}, &adapters.Error{Op: "receive", Addr: s.at, Kind: adapters.Lost, Err: s.why}
	}
	if s.link.stalled || s.link.held {
		return nil, wait{changed: s.link.changed}, nil
	}
	var ds []adapters.Delivery
	for now := time.Now(); len(s.arrived) > 0 && len(ds) < max && !s.arrived[0].due.After(now); {
		it := s.arrived[0].it
		if n := it.msg.Size(); n > s.cfg.Limits.MaxSize {
			return s.tooBig(ds, n)
		}
		s.arrived = s.arrived[1:]
		ds = append(ds, s.hand(it))
	}
	if len(ds) == 0 && len(s.arrived) > 0 {
		return nil, wait{due: time.After(time.Until(s.arrived[0].due))}, nil
	}
	return ds, wait{}, nil
}

// tooBig returns what lies before the message that is too big, or gives the connection up.
func (s *Source) tooBig(ds []adapters.Delivery, size int64) ([]adapters.Delivery, wait, error) {
	if len(ds) > 0 {
		return ds, wait{}, nil
	}
	s.lose(fmt.Errorf("a message of %d bytes waits, larger than max_size %d", size, s.cfg.Limits.MaxSize), false)
	return nil, wait{}, &adapters.Error{Op: "receive", Addr: s.at, Kind: adapters.Lost, Err: s.why}
}

// hand makes a delivery of it. Broker.mu is held.
func (s *Source) hand(it *item) adapters.Delivery {
	it.attempts++
	t := &tag{src: s, it: it}
	if s.open == nil {
		s.open = make(map[*tag]struct{})
	}
	s.open[t] = struct{}{}
	m := it.msg.Clone()
	m.Received = s.cfg.Now().UnixMilli()
	m.Left = 0 // for encoding only: what the sender had left says nothing here
	m.Deliveries = uint32(it.attempts - 1)
	id := s.place.name + "/" + strconv.FormatUint(it.seq, 10)
	return adapters.Delivery{Message: m, Tag: t, Attempt: it.attempts, SourceID: id}
}

// Settle records o for ds and returns when the broker has answered.
func (s *Source) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	if o < adapters.Accepted || o > adapters.Rejected {
		return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Permanent, Err: errors.New("no outcome")}
	}
	for _, d := range ds {
		if t, ok := d.Tag.(*tag); !ok || t.src != s {
			return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Lost, Err: errors.New("a delivery of another source")}
		}
	}
	if err := s.travel(ctx, "settle", false); err != nil {
		return err
	}
	if err := s.apply(o, ds); err != nil {
		return err
	}
	return s.travel(ctx, "settle", true)
}

// apply is the broker's side of Settle.
func (s *Source) apply(o adapters.Outcome, ds []adapters.Delivery) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.why != nil {
		return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Lost, Err: s.why}
	}
	var back []*item
	for _, d := range ds {
		t := d.Tag.(*tag)
		if _, open := s.open[t]; !open {
			continue // settled before: harmless
		}
		delete(s.open, t)
		s.bytes -= t.it.msg.Size()
		switch o {
		case adapters.Released:
			back = append(back, t.it)
		case adapters.Rejected:
			s.place.aside = append(s.place.aside, t.it.msg)
		}
	}
	s.place.putBack(back...)
	s.place.dispatch()
	return nil
}

// giveBack returns everything unsettled to the queue. Broker.mu is held.
func (s *Source) giveBack() {
	p := s.place
	p.sources = slices.DeleteFunc(p.sources, func(o *Source) bool { return o == s })
	var back []*item
	for _, a := range s.arrived {
		back = append(back, a.it)
	}
	for t := range s.open {
		back = append(back, t.it)
	}
	s.arrived, s.open = nil, nil
	p.putBack(back...)
	p.dispatch()
}
