package repeater

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A session is the time from attach to loss of one Source. It counts what was received and not yet settled, which is
// the only bound on the memory of a flow, and queues what is ready to be settled.
type session struct {
	src      adapters.Source
	received atomic.Int64
	stopping func() bool
	whole    bool           // the source settles all it has given out at once (adapters.Batch)
	owed     *debt          // shared with the sessions before
	renew    time.Time      // a careful session ends when nothing is open after this; zero = it does not
	parked   sync.WaitGroup // refused parcels that wait out their pause

	mu       sync.Mutex
	limits   adapters.Limits
	count    int       // received, not yet settled
	bytes    int64     // of them
	full     time.Time // since when the source is at its limit; zero below half of it
	done     map[adapters.Outcome][]*parcel
	finished bool  // nothing more will be received
	dead     error // why it cannot settle any more

	settler *worker       // settles what is ready, until the end has come
	free    chan struct{} // something was settled
	gone    chan struct{} // closed by kill
}

func newSession(src adapters.Source, l adapters.Limits, owed *debt) *session {
	return &session{
		owed: owed, src: src, limits: l, done: map[adapters.Outcome][]*parcel{},
		free: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

// room blocks until something may be received, and returns how many messages.
func (s *session) room(ctx context.Context) (int, error) {
	for {
		s.mu.Lock()
		n := s.limits.Prefetch - s.count - int(s.owed.messages.Load())
		if s.bytes+s.owed.bytes.Load() >= s.limits.PrefetchBytes {
			n = 0
		}
		if n <= 0 && s.full.IsZero() {
			s.full = time.Now()
		}
		s.mu.Unlock()
		if n > 0 {
			return n, ctx.Err()
		}
		select {
		case <-s.free:
		case <-s.owed.paid:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *session) took(p *parcel) {
	s.mu.Lock()
	s.count++
	s.bytes += p.size
	s.mu.Unlock()
	s.received.Add(1)
}

// park reports whether a refused parcel may wait out its pause; parked.Done ends it. In a dead session it may not: its
// broker gives the message out again anyway, and nobody would wait for the pause.
func (s *session) park() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead == nil {
		s.parked.Add(1)
	}
	return s.dead == nil
}

// ready queues p for settling. In a dead session there is nothing to settle.
func (s *session) ready(p *parcel, o adapters.Outcome) {
	s.mu.Lock()
	if s.dead == nil {
		s.done[o] = append(s.done[o], p)
	}
	s.mu.Unlock()
	s.settler.kick()
}

// takeDone returns what is ready, by outcome, nil if nothing is; then over says that nothing more will come. Where a source
// settles all at once that is everything that is open: until then it gives out nothing new, and a part would cost it a detour.
func (s *session) takeDone() (done map[adapters.Outcome][]*parcel, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if over = s.dead != nil || s.finished && s.count == 0; over || len(s.done) == 0 || s.whole && s.count > s.readied() {
		return nil, over
	}
	done, s.done = s.done, make(map[adapters.Outcome][]*parcel, 2)
	return done, false
}

// readied is how many messages wait to be settled. mu is held.
func (s *session) readied() (n int) {
	for _, ps := range s.done {
		n += len(ps)
	}
	return n
}

func (s *session) settled(ps []*parcel) {
	s.mu.Lock()
	for _, p := range ps {
		s.count--
		s.bytes -= p.size
	}
	if s.count <= s.limits.Prefetch/2 && s.bytes <= s.limits.PrefetchBytes/2 {
		s.full = time.Time{}
	}
	s.mu.Unlock()
	signal(s.free)
}

// pressed returns since when the source is at its limit, zero if it is not, and how many messages are not settled.
func (s *session) pressed() (since time.Time, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full, s.count
}

// idle reports whether all that was received is settled.
func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count == 0
}

// finish says that nothing more will be received: the settling ends when nothing is open.
func (s *session) finish() {
	s.mu.Lock()
	s.finished = true
	s.mu.Unlock()
	s.settler.kick()
}

// kill says that nothing can be settled any more. Only the first cause counts.
func (s *session) kill(err error) {
	s.mu.Lock()
	first := s.dead == nil
	if first {
		if err == nil {
			err = errors.New("the source was lost")
		}
		s.dead = err
	}
	s.mu.Unlock()
	if first {
		close(s.gone)
	}
	s.settler.kick()
}

func (s *session) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

func (s *session) isDead() bool { return s.cause() != nil }

// signal wakes the one reader of c, now or at its next look.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
