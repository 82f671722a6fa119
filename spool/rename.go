package spool

import (
	"context"
	"errors"
	"fmt"
)

// ErrLaneExists: there is a lane of that name, or one is just getting it.
var ErrLaneExists = errors.New("lane exists")

// Rename gives the lane old the name new, with all its records, and returns nil when that is on disk. Whoever holds the
// *Lane goes on using it. ErrNoLane or ErrLaneExists when it cannot be; with ErrUnknown, or when ctx ended, the lane may
// have either name.
func (s *Spool) Rename(ctx context.Context, old, new string) error {
	l, err := s.reserveName(old, new)
	if err == nil {
		c := make(chan error, 1)
		o := &op{renamed: l, name: new, done: func(_ uint64, err error) {
			s.freeName(new)
			c <- err
		}}
		if err = s.enqueue(ctx, o); err != nil {
			s.freeName(new)
		} else {
			err = wait(ctx, c)
		}
	}
	if err != nil {
		return fmt.Errorf("rename lane %q to %q: %w", old, new, err)
	}
	return nil
}

// reserveName keeps the new name from others until freeName.
func (s *Spool) reserveName(old, new string) (*Lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[old]
	switch {
	case l == nil:
		return nil, ErrNoLane
	case s.lanes[new] != nil || s.reserved[new]:
		return nil, ErrLaneExists
	}
	if err := s.nameFits(new, laneSize(old)); err != nil {
		return nil, err
	}
	s.reserved[new] = true
	return l, nil
}

func (s *Spool) freeName(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reserved, name)
}

// setName gives a lane the name that is on disk now. Called with mu held.
func (s *Spool) setName(l *Lane, name string) {
	if s.lanes[l.name] != l {
		return // renamed twice at once: the later one has won
	}
	delete(s.lanes, l.name)
	s.stateSize += laneSize(name) - laneSize(l.name)
	l.name, l.named = name, true
	s.lanes[name] = l
}
