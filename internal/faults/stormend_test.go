package faults

import (
	"context"
	"slices"
)

// finish heals everything, ends the load, and checks what has come.
func (s *storm) finish() {
	s.t.Helper()
	s.heal()
	s.running()
	s.enough()
	for _, l := range s.lanes {
		l.load.stop()
	}
	if s.asking != nil {
		s.asking.load.stop()
		s.asking.load.one()
	}
	s.quiet("all that was sent has been delivered")
	last := map[*stormLane]string{}
	for _, l := range s.lanes {
		n := l.load.one()
		for ; l.o.poisonous(n); n = l.load.one() {
		}
		l.load.open.Wait()
		last[l] = l.o.make(l.name, n).headers[headerID]
	}
	s.quiet("a fresh message on every lane is delivered")
	for _, l := range s.lanes {
		s.fresh(l, last[l])
	}
	s.quiet("nothing is on its way")
	s.d.stop()
	s.d = nil
	for _, l := range s.lanes {
		s.verdict(l)
	}
	s.askingVerdict(s.asking)
}

// enough waits until a verdict means something, however slow this machine is today.
func (s *storm) enough() {
	s.t.Helper()
	s.wait(stuck, "enough has been sent", func(status) bool {
		n := s.sum.messages
		for _, sent := range s.sent() {
			n += sent
		}
		return n >= leastMessages
	})
}

// quiet waits until nothing is on its way, nor at a source that can say so.
func (s *storm) quiet(what string) {
	s.t.Helper()
	s.wait(stuck, what, func(st status) bool {
		for _, l := range s.lanes {
			if l.consumed == nil {
				continue
			}
			if open, _, err := l.consumed(s.t.Context()); err != nil || open > 0 {
				return false
			}
		}
		return s.asking.quiet(s.t.Context(), s.t, st) && st.open() == 0
	})
}

// wait waits until the daemon's status is as wanted, while an operator does his duty.
func (s *storm) wait(name, what string, ok func(status) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	err := until(ctx, what, func() bool {
		if s.d.gone() {
			return true
		}
		st, err := s.d.status()
		if err == nil && s.asked {
			s.resolve(st)
		}
		return err == nil && ok(st)
	})
	if s.d.gone() {
		s.ended()
	}
	if err != nil {
		st, _ := s.d.get("/api/v1/status")
		s.red = append(s.red, finding{name, what})
		s.t.Fatalf("%s: %v\nstatus: %s\nlog:\n%s", name, err, st, s.log)
	}
}

// fresh waits, at the target of l, for the message that was sent last, where its source does not say that it is empty.
func (s *storm) fresh(l *stormLane, id string) {
	s.t.Helper()
	if l.consumed != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), freshness)
	defer cancel()
	ms, err := l.to.end.read(ctx, s.t, l.name, func(m message) bool { return m.headers[headerID] == id })
	if err != nil {
		s.t.Fatalf("%s: a fresh message of lane %s is not at its target, which has %d: %v\nlog:\n%s", stuck, l.name, len(ms), err, s.log)
	}
	l.keep(ms)
}

// keep keeps what is gone at the target once it was read.
func (l *stormLane) keep(ms []message) {
	if _, queue := l.to.end.(*amqpEnd); queue {
		l.taken = append(l.taken, ms...)
	}
}

// verdict checks the history of a lane; that of its dead letters is one of its own.
func (s *storm) verdict(l *stormLane) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if l.consumed != nil {
		_, again, err := l.consumed(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		s.again += again
	}
	good, err := l.to.end.all(ctx, s.t, l.name)
	if err != nil {
		s.t.Fatal(err)
	}
	sends := l.load.outcomes()
	h, buried := l.h, l.h
	buried.lane, buried.absorbs = l.dead(), l.to.end.absorbs() // C12: a dead letter may be there twice, whatever the route promises
	h.sends, buried.sends = slices.Clone(sends), slices.Clone(sends)
	for n := range sends {
		if l.o.poisonous(n) {
			h.sends[n] = failed
		} else {
			buried.sends[n] = failed
		}
	}
	h.arrivals = l.arrivals(append(l.taken, good...))
	h.figures = append(h.figures, figure{void, "sends without an answer", len(sends) - l.load.count(taken), 0, 0},
		nothing("messages at the source", l.from.end.left(s.t, l.source())))
	s.examine(l, &h)
	if l.kind.poison > 0 {
		dead, err := l.to.end.all(ctx, s.t, l.dead())
		if err != nil {
			s.t.Fatal(err)
		}
		buried.arrivals = l.arrivals(dead)
		ids, _ := distinct(buried.arrivals)
		s.faults[refused] += min(ids, len(h.arrivals)/l.kind.poison)
		s.examine(l, &buried)
		s.sum.messages -= len(sends) // they are in both
	}
}

func (l *stormLane) arrivals(ms []message) (as []arrival) {
	for _, m := range ms {
		as = append(as, l.o.read(l.name, m))
	}
	return as
}

func (s *storm) examine(l *stormLane, h *history) {
	s.lie(h)
	found, c := examine(h)
	for _, f := range found {
		s.t.Errorf("round %d: %s", s.n, f)
	}
	if l.consumed == nil {
		s.again += c.explained
	}
	s.judged = append(s.judged, h)
	s.red = append(s.red, found...)
	s.sum.messages += c.messages
	s.sum.explained += c.explained
	s.sum.unexplained += c.unexplained
	s.sum.lost += c.lost
	s.sum.reported += c.reported
}
