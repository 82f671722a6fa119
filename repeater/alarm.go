package repeater

import (
	"sync"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// An alarm pauses a lane: what it has waits, in memory, in the journal or at the source, until an operator says retry
// (posthouse resolve) or the repeater starts again. Nothing is dropped for it.

// errCircle says that a lane is part of a circle that the file does not show.
type errCircle struct{ text string }

func (e errCircle) Error() string { return "messages would go round in a circle: " + e.text }

// pause stops the sending of l, unless an operator has let it go on with the same circle.
func (l *lane) pause(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if circle, is := why.(errCircle); l.alarm != nil || is && circle == l.meant {
		return
	}
	l.alarm = why
	l.note(why)
	l.log.Error(msgAlarm, "err", why)
}

// resume lets l send again, and returns how many messages have waited in memory. l.mu is held.
func (l *lane) resume() int {
	if circle, is := l.alarm.(errCircle); is {
		l.meant = circle
	}
	l.alarm = nil
	l.rounds.forget()
	l.goesOn()
	return len(l.queue)
}

// goesOn wakes what has waited. l.mu is held.
func (l *lane) goesOn() {
	l.note(nil)
	signal(l.wake)
	if l.store != nil {
		signal(l.store.room)
	}
}

// identities are what the brokers that were reached say of themselves. Two names for one broker may close a circle that
// nobody sees in the file.
type identities struct {
	r *Repeater

	mu      sync.Mutex
	known   map[string]string // by name of broker
	table   *routes.Table     // that was looked at with them
	circles []routes.Circle   // that were found in it
}

func newIdentities(r *Repeater) *identities {
	return &identities{r: r, known: map[string]string{}}
}

// learn takes in what a broker says, and pauses the lanes of the circles that are known now, for one of them may have begun
// only now. It returns before anything is sent to the end that has just been attached. What an operator has let go on is not
// paused again while its lane lives: a reload of other routes does not touch it.
func (i *identities) learn(broker string, p adapters.Peer) {
	if i == nil || p.Unique == "" {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.r.Table(); i.known[broker] != p.Unique || i.table != t {
		i.known[broker], i.table = p.Unique, t
		i.circles = t.Circles(i.known)
	}
	for _, c := range i.circles {
		for _, route := range c.Routes {
			i.r.pauseRoute(route.Name, errCircle{c.Text})
		}
	}
}

// pauseRoute pauses the lanes of a route, if it runs here.
func (r *Repeater) pauseRoute(name string, why error) {
	for _, f := range r.flows() {
		for _, run := range f.routes {
			if run.route.Name != name {
				continue
			}
			for _, l := range run.lanes {
				l.pause(why)
			}
		}
	}
}
