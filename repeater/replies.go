package repeater

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// Replies of bridges. A request goes out with ids of its own (bridge.Ask), and the table of its bridge knows what they
// were, and where the reply goes. An entry is noted when the request is received, and is on disk before the request is
// settled at its source: it is one of the lanes that have to answer for it, NAME.request/replies, which only keeps
// (repliesstore.go). It ends when a reply is settled, or the time is over.

// A replies is the table of one bridge.
type replies struct {
	bridge *routes.Bridge
	clock  *clock
	log    *slog.Logger
	count  *bridgeCounts
	lane   *lane         // keeps the entries in the journal
	wake   chan struct{} // the first deadline may be another one
	room   chan struct{} // there may be room for another request

	mu      sync.Mutex
	asked   map[string]*asked // by the id that the request has here
	queue   []*asked          // in the order of their deadlines; some of them are over
	past    []*asked          // late or answered, oldest first; some of them are forgotten
	open    int
	trips   trips
	fresh   []*asked                // answered, and not on a sheet yet
	writing bool                    // some of those that are answered
	crashed bool                    // the life before has not ended in order
	closed  bool                    // no sheet is written any more
	earlier map[string]*asked       // outstanding since an earlier life, by sourceKey: a request that comes again is one of them
	sheets  map[string]func(uint64) // what to do when a sheet is on disk, by the id of its record
}

type askedState uint8

const (
	askedOpen    askedState = iota
	askedReplied            // the requester has its reply, which is not settled at its source
	askedAnswered
	askedLate
	askedGone
)

// An asked is one request. replies.mu guards it.
type asked struct {
	track    string
	q        bridge.Question
	at       time.Time // received
	deadline time.Time
	state    askedState
	seq      uint64  // of its record; 0 while it has none
	by       *parcel // the reply on its way
	answers  int     // replies that were taken
	erased   bool    // its record is of no use any more
	digest   uint64  // of the first reply
	again    bool    // it may have been asked twice
	sheet    *sheet  // on which it is noted as answered
}

// keepLate is for how many timeouts a request is remembered after its deadline, and after its reply.
const keepLate = 10

// largestQuestion bounds what is remembered of one request, in bytes: the requester chooses its ids.
const largestQuestion = 4096

var (
	errUnasked  = errors.New("its correlation id is of no request that is remembered: nobody asked for it, or long ago")
	errAnswered = errors.New("its request has been answered already (replies: one)")
	errLate     = errors.New("its request timed out before it came (late_reply)")
	errQuestion = errors.New("its ids and its reply address are too long to be remembered")
)

func newReplies(b *routes.Bridge, c *clock, count *bridgeCounts, log *slog.Logger) *replies {
	return &replies{
		bridge: b, clock: c, count: count, log: log.With("bridge", b.Name), asked: map[string]*asked{}, sheets: map[string]func(uint64){}, earlier: map[string]*asked{},
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// note begins an entry. It is not yet in the journal.
func (t *replies) note(track string, q bridge.Question, at time.Time) *asked {
	t.count.request()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add(&asked{track: track, q: q, at: at, deadline: at.Add(t.bridge.Timeout)})
}

// add puts e in its place. mu is held.
func (t *replies) add(e *asked) *asked {
	t.asked[e.track] = e
	t.open++
	n := len(t.queue)
	for n > 0 && t.queue[n-1].deadline.After(e.deadline) {
		n--
	}
	t.queue = slices.Insert(t.queue, n, e)
	signal(t.wake)
	return e
}

// A verdict of find says what becomes of a reply.
type found struct {
	e      *asked
	byCorr bool
	drop   bool
	known  bool  // with drop: its requester has it, and its settle got lost
	err    error // why it goes to the dead letters
}

// find looks up whose reply p's message is, and reserves the request for it.
//
// What comes again because its settle got lost is dropped, where nothing else would know it: on an exactly-once route its record
// is kept until then, and waits for it.
func (t *replies) find(p *parcel, exact bool) found {
	track, byCorr, ok := bridge.AskedBy(p.m.Corr)
	d := digest(p.m)
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.asked[track]
	if !ok || e == nil {
		t.count.late(unasked)
		return found{err: errUnasked}
	}
	f := found{e: e, byCorr: byCorr}
	switch {
	case !t.bridge.Many && e.repeats(d) && (e.state == askedAnswered || e.state == askedReplied && !exact || e.away(p)):
		t.count.repeat()
		f.drop, f.known = true, e.state == askedReplied
	case !t.bridge.Many && (e.state == askedAnswered || e.away(p)):
		t.count.late(unasked)
		return found{err: errAnswered}
	case e.state == askedLate:
		t.count.late(string(t.bridge.Late))
		f.drop = t.bridge.Late == routes.LateDrop
		if t.bridge.Late == routes.LateDeadLetter {
			return found{err: errLate}
		}
	}
	if !f.drop {
		if e.by = p; e.answers == 0 {
			e.digest = d
		}
		e.answers++
	}
	return f
}

// away reports whether another reply than p is on its way to the requester. replies.mu is held.
func (e *asked) away(p *parcel) bool { return e.by != nil && e.by != p && !e.by.s.isDead() }

// settled notes that a reply is with its requester, or set aside for it.
func (t *replies) settled(e *asked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.count.trip.Observe(now.Sub(e.at).Seconds())
	t.trips.add(now.Sub(e.at))
	t.count.repliesN.Add(1)
	if (e.state == askedOpen || e.state == askedReplied) && !t.bridge.Many {
		t.end(e, askedAnswered, now)
	}
}

// arrived notes that a reply is with its requester, or durable on its way there. What its source gives out again, because
// the settle got lost, still finds the entry; the request is not outstanding any more.
func (t *replies) arrived(e *asked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.state == askedOpen && !t.bridge.Many {
		e.state = askedReplied
		t.open--
		signal(t.room)
	}
}

// returned notes that p, the reply to e, goes back to its source, which may give it out again in the same session.
func (t *replies) returned(e *asked, p *parcel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.by == p {
		e.by = nil
	}
	e.answers--
}

// forget ends an entry whose request will never be answered: it was not sent, or set aside.
func (t *replies) forget(track string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.asked[track]; e != nil && e.state == askedOpen && e.answers == 0 {
		t.end(e, askedGone, time.Now())
	}
}

// end ends an entry. mu is held.
func (t *replies) end(e *asked, s askedState, now time.Time) {
	if e.state == askedOpen {
		t.open--
		signal(t.room)
	}
	e.state = s
	if s == askedGone {
		t.drop(e)
		return
	}
	switch {
	case s == askedAnswered:
		t.isAnswered(e)
	case t.bridge.Late != routes.LateDeliver:
		t.unwrite(e)
	}
	e.deadline = now.Add(keepLate * t.bridge.Timeout) // until it is forgotten
	t.past = append(t.past, e)
	t.trim()
}

// drop forgets an entry altogether. mu is held.
func (t *replies) drop(e *asked) {
	e.state = askedGone
	delete(t.asked, e.track)
	t.unwrite(e)
	t.lighten(e.sheet, 1)
	e.sheet = nil
}

// watch ends what is over, until ctx ends.
func (t *replies) watch(ctx context.Context) {
	if t == nil {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		next := t.overdue(time.Now())
		t.flush(false)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-t.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	t.flush(true)
}

// idleLook is when a table without entries is looked at.
const idleLook = time.Hour

// overdue ends the entries whose time is over, and returns when the next one's is.
func (t *replies) overdue(now time.Time) (next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next = now.Add(idleLook)
	for ; len(t.queue) > 0; t.queue = t.queue[1:] {
		e := t.queue[0]
		waits := e.state == askedOpen || e.state == askedReplied
		if waits && e.deadline.After(now) {
			next = e.deadline
			break
		}
		t.queue[0] = nil
		if waits {
			t.timeout(e, now)
		}
	}
	for len(t.past) > 0 && (t.past[0].state == askedGone || !t.past[0].deadline.After(now)) {
		if t.past[0].state != askedGone {
			t.drop(t.past[0])
		}
		t.past[0] = nil
		t.past = t.past[1:]
	}
	if len(t.past) > 0 && t.past[0].deadline.Before(next) {
		next = t.past[0].deadline
	}
	return next
}

// timeout ends an entry that got no reply in time, or no further one. mu is held.
func (t *replies) timeout(e *asked, now time.Time) {
	if e.answers == 0 {
		t.count.timedOut.Inc()
		t.count.timedOutN.Add(1)
		if more, ok := t.count.fold.line(now); ok {
			t.log.Warn(msgNoReply, "msg_id", e.track, "after", t.bridge.Timeout, "repeats", more)
		}
	}
	if e.state == askedReplied {
		t.end(e, askedAnswered, now)
	} else {
		t.end(e, askedLate, now)
	}
}

// free is how many more requests may be received now.
func (t *replies) free() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.bridge.MaxOutstanding-t.open)
}
