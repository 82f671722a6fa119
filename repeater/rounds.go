package repeater

import (
	"fmt"
	"hash/maphash"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// The last means against a circle: a lane that sends the same messages again and again is paused. The path of a message
// ends its way before that, unless a broker, or a bridge of somebody else's, removes headers on the way.

const (
	// mostRepeats is how many messages a minute may be known to the lane already by the id of an application or by the
	// origin that another repeater gave them. A source that gives messages out again after each lost connection comes to
	// a prefetch for each.
	mostRepeats = 2000
	// mostAlike is how many may be alike, of those that have neither, on a route that closes a circle with leave.
	mostAlike = 600
	// mostAlikeBothWays is that of a generated route with one the other way: its messages are nobody's mistake, and some
	// applications send the same again and again.
	mostAlikeBothWays = 6000

	roundCells = 2048
	mostHashed = 16 << 10 // bytes of a body
)

// rounds remember what a lane has sent: a table of hashes, in which a newer one takes the place of an older. So it forgets,
// and never takes a message for another one. Two thousand fit, in 16 KiB, which are there from the first message that
// counts. lane.mu guards them.
type rounds struct {
	cells *[roundCells]uint64
	seed  maphash.Seed
	since time.Time // of the minute that is counted
	known [2]int    // repeats in it: by id, and alike
}

// errRounds says that a lane has sent the same messages too often.
type errRounds struct {
	n    int
	last string // id of the last
}

func (e errRounds) Error() string {
	return fmt.Sprintf("%d messages of the last minute had been sent by this lane before (the last: %s): they seem to go round in a circle", e.n, e.last)
}

// forget begins anew.
func (r *rounds) forget() { *r = rounds{} }

// tells reports whether a message can be told from others: by an origin that it came with, by the id of its application, or,
// on routes where circles are to be expected, by what is in it.
func (l *lane) tells(it *item) bool {
	return it.m.Track.Origin != "" && it.m.Track.Origin != it.id || !it.m.ID.IsZero() || l.expectsRounds()
}

// expectsRounds reports whether there is a way from the lane's target back to its source.
func (l *lane) expectsRounds() bool {
	r := l.of.route
	return r.InCircle || r.Repeat != nil && r.Repeat.Mutual
}

// mark is what a message is known by; weak says that it is only its content.
func (r *rounds) mark(it *item) (sum uint64, weak bool) {
	m := it.m
	if r.cells == nil {
		r.cells, r.seed = new([roundCells]uint64), maphash.MakeSeed()
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	if m.Track.Origin != "" && m.Track.Origin != it.id {
		h.WriteString(m.Track.Origin)
		return h.Sum64(), false
	}
	weak = m.ID.IsZero()
	for _, id := range [...]*adapters.ID{&m.ID, &m.Corr} {
		h.WriteByte(byte(id.Form))
		h.WriteString(id.S)
		h.Write(id.B)
		maphash.WriteComparable(&h, id.U)
	}
	for i := range m.Props {
		if p := &m.Props[i]; weak {
			h.WriteString(p.Name)
			h.WriteString(p.V.Text())
		}
	}
	maphash.WriteComparable(&h, m.Created)
	maphash.WriteComparable(&h, len(m.Body.Data))
	h.Write(m.Body.Data[:min(len(m.Body.Data), mostHashed)])
	return h.Sum64(), weak
}

// limit is how many repeats a minute are too many.
func (l *lane) limit(weak bool) int {
	switch {
	case !weak:
		return mostRepeats
	case l.of.route.InCircle:
		return mostAlike
	}
	return mostAlikeBothWays
}

// circling notes that the target has taken it, and returns why the lane is to be paused, if it is. What a source gives out
// again and says so, and what may have been sent before, is no round.
func (l *lane) circling(it *item, now time.Time) error {
	if it.p != nil && it.p.d.Attempt > 1 || it.maybe || it.dead != nil || !l.tells(it) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.rounds
	sum, weak := r.mark(it)
	if now.Sub(r.since) > time.Minute {
		r.since, r.known = now, [2]int{}
	}
	cell, kind := &r.cells[sum%roundCells], 0
	if *cell != sum {
		*cell = sum
		return nil
	}
	if weak {
		kind = 1
	}
	if r.known[kind]++; r.known[kind] <= l.limit(weak) {
		return nil
	}
	return errRounds{r.known[kind], it.id}
}
