package demo

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a message that may have arrived before.
const (
	headFlag       = "posthouse-possible-duplicate" // Posthouse could not know whether it did
	headDeliveries = "posthouse-deliveries"         // how often its source had given it out before
)

// marks are what a message says of itself.
type marks struct{ flagged, redelivered bool }

func marksOf(m jetstream.Msg) marks {
	h := m.Headers()
	return marks{flagged: h.Get(headFlag) == "true", redelivered: h.Get(headDeliveries) != ""}
}

// counts are what a tally knows at one moment.
type counts struct {
	arrived     int // different messages
	dup         int // arrivals of a message that was there before
	flagged     int // of these, those that say so
	redelivered int // of these, those whose source said so
	disordered  int // first arrivals whose number is below one that came before
	corrupted   int // arrivals whose checksum is wrong
	highest     int // the greatest number that arrived, -1 for none
	last        time.Time
	all         int // arrivals, whatever they are
}

// A tally counts what arrives at a site by the number in each message. Safe for concurrent use.
type tally struct {
	mu    sync.Mutex
	c     counts
	seen  []bool
	goals map[chan struct{}]int // closed when so many different ones have arrived
}

func newTally() *tally { return &tally{c: counts{highest: -1}, goals: make(map[chan struct{}]int)} }

// maxNumber bounds what a corrupt message that keeps its checksum could make the tally allocate.
const maxNumber = 1 << 31

// add counts one arrival.
func (t *tally) add(b []byte, m marks) {
	n, whole := number(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.last = time.Now()
	t.c.all++
	if !whole || n >= maxNumber {
		t.c.corrupted++
		return
	}
	i := int(n)
	for i >= len(t.seen) {
		t.seen = append(t.seen, make([]bool, 1+i-len(t.seen))...)
	}
	switch {
	case t.seen[i]:
		t.again(m)
		return
	case i < t.c.highest:
		t.c.disordered++
	}
	t.c.highest = max(t.c.highest, i)
	t.seen[i] = true
	t.c.arrived++
	t.reached()
}

// again counts a duplicate. t.mu is held.
func (t *tally) again(m marks) {
	t.c.dup++
	if m.flagged {
		t.c.flagged++
	}
	if m.redelivered {
		t.c.redelivered++
	}
}

// reached closes the goals that are due. t.mu is held.
func (t *tally) reached() {
	for ch, n := range t.goals {
		if t.c.arrived >= n {
			close(ch)
			delete(t.goals, ch)
		}
	}
}

// reaches returns a channel that is closed when n different messages have arrived.
func (t *tally) reaches(n int) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := make(chan struct{})
	t.goals[ch] = n
	t.reached()
	return ch
}

func (t *tally) now() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.c
}

// among returns how many of the messages 0 to n-1 have arrived, and how many arrived that are not among them.
func (t *tally) among(n int) (arrived, strange int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, seen := range t.seen {
		switch {
		case seen && i < n:
			arrived++
		case seen:
			strange++
		}
	}
	return arrived, strange
}

// arrivals sums up: sent is how many messages the first site has confirmed, offered how many it was offered.
func (t *tally) arrivals(at string, sent, offered int) Arrivals {
	c := t.now()
	arrived, strange := t.among(offered)
	a := Arrivals{Site: at, Delivered: min(arrived, sent), // more only if it was interrupted before they were confirmed
		Corrupted: c.corrupted + strange, Duplicated: c.dup, Flagged: c.flagged, Redelivered: c.redelivered, OutOfOrder: c.disordered}
	a.Lost = sent - a.Delivered
	return a
}

// watch counts everything that arrives at s, until the returned function is called.
func (t *tally) watch(ctx context.Context, s *site) (stop func(), err error) {
	return s.follow(ctx, prices, func(m jetstream.Msg) { t.add(m.Data(), marksOf(m)) })
}
