package repeater

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/spool"
)

// A clock is the wall time that decides about expiry (delivery.md, section 11; C18). It is compared with the monotonic
// time of this process, and at the start with what the journal has seen. While it is suspect nothing expires, for late is
// better than lost, and the time is counted on from when the clock was last believed.
type clock struct {
	wall func() time.Time
	log  *slog.Logger

	mu      sync.Mutex
	base    time.Time     // the wall time that was believed
	at      time.Time     // when, on the monotonic clock
	early   bool          // base is from the journal: the wall time has not come to it yet
	begun   time.Time     // the wall time at the start
	seen    time.Time     // the newest wall time that the journal had then
	rest    time.Duration // between the two, where it is longer than clockLimit
	rested  bool          // rest is known
	suspect bool
	since   time.Time // since when, on the monotonic clock
}

// clockLimit is how far wall time and monotonic time may differ.
const clockLimit = 5 * time.Minute

// clockLook is how often a clock is looked at when no message makes anybody ask.
const clockLook = 10 * time.Second

func newClock(wall func() time.Time, log *slog.Logger) *clock {
	c := &clock{wall: wall, log: log}
	c.base, c.at = c.now0(), time.Now()
	c.begun = c.base
	return c
}

// now0 is the wall time without the monotonic one, which would hide a jump.
func (c *clock) now0() time.Time { return c.wall().Round(0) }

// noted takes in a wall time that an earlier life has written to the journal.
func (c *clock) noted(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.seen) && !c.rested {
		c.seen = t.Round(0)
	}
	if t.Sub(c.base) > clockLimit {
		c.base, c.at, c.early = t.Round(0), time.Now(), true
	}
}

// read returns the time to be believed, and whether expiry is suspended.
func (c *clock) read() (now time.Time, suspect bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono, wall := time.Now(), c.now0()
	believed := c.base.Add(mono.Sub(c.at))
	off := wall.Sub(believed)
	if c.early && off >= -clockLimit { // however long nothing ran
		c.early, c.base, c.at = false, wall, mono
		believed, off = wall, 0
	}
	if suspect = off > clockLimit || off < -clockLimit; suspect != c.suspect {
		c.suspect, c.since = suspect, mono
		c.changed(wall, believed)
	}
	if suspect {
		return believed, true
	}
	return wall, false
}

// passed is how much of the time since at, a wall time of this life or an earlier one, is certain to have passed. A time in which
// nothing ran, as far as the journal tells, and which is longer than a clock may be wrong, is not: the machine may have slept for
// a year, or its clock may be a year ahead. Nor is any while the clock is not believed.
func (c *clock) passed(at time.Time) time.Duration {
	now, suspect := c.read()
	if suspect {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rested { // what is written from now on is of this life
		c.rested = true
		if d := c.begun.Sub(c.seen); !c.seen.IsZero() && d > clockLimit {
			c.rest = d
		}
	}
	d := now.Sub(at)
	if at.Before(c.begun) {
		d -= c.rest
	}
	return max(0, d)
}

// changed logs the beginning and the end of a doubt. c.mu is held.
func (c *clock) changed(wall, believed time.Time) {
	if !c.suspect {
		c.log.Info(msgClockFine)
		return
	}
	why := "it has jumped"
	if c.early {
		why = "it lies before what the spool has seen"
	}
	c.log.Error(msgClock, "clock", wall.UTC(), "expected", believed.UTC(), "why", why)
}

// now is the time to be believed, for what is written into messages.
func (c *clock) now() time.Time {
	t, _ := c.read()
	return t
}

// watch notices jumps when nothing else asks for the time.
func (c *clock) watch(ctx context.Context) {
	for wait(ctx, clockLook) {
		c.read()
	}
}

// ClockStatus is what is known of the wall clock.
type ClockStatus struct {
	Suspect  bool       `json:"suspect"` // nothing expires
	Since    *time.Time `json:"since,omitempty"`
	Expected *time.Time `json:"expected,omitempty"` // what the clock should show
}

func (c *clock) status() ClockStatus {
	now, suspect := c.read()
	if !suspect {
		return ClockStatus{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Add(-time.Since(c.since))
	return ClockStatus{Suspect: true, Since: &since, Expected: &now}
}

// doubtful takes the end off a message whose lifetime was counted from a clock that is suspect. What the producer has
// said itself stays.
func (c *clock) doubtful(m, raw *adapters.Message) *adapters.Message {
	if raw.Left <= 0 || m.Expires != raw.Received+raw.Left {
		return m
	}
	if _, suspect := c.read(); !suspect {
		return m
	}
	own := *m
	own.Expires = raw.Expires
	return &own
}

// noteTimes tells the clock what the journal has seen: when its newest file was made, and when the last message of each
// lane was received.
func (r *Repeater) noteTimes(made time.Time) {
	r.clock.noted(made)
	for _, f := range r.flows() {
		for _, l := range f.all() {
			if b := l.store; b != nil {
				r.clock.noted(b.newest())
			}
		}
	}
}

// newest is when the last message of the journal was received, or the first if the last is done; zero if there is none.
func (b *store) newest() time.Time {
	st := b.j.Stats()
	if st.Live == 0 {
		return time.Time{}
	}
	for _, from := range []uint64{st.Next - 1, st.First} {
		if t := receivedAt(b.j.Reader(from)); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func receivedAt(r *spool.Reader) time.Time {
	rec, ready, err := r.TryNext()
	if err != nil || ready != nil {
		return time.Time{}
	}
	m, err := DecodeRecord(rec.Body)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(m.Received)
}
