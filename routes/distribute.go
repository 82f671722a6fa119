package routes

import (
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Distribute says which of several targets of a route get a message.
type Distribute string

// The ways to distribute. A route with one target has none, or any.
const (
	Copy     Distribute = "copy"     // all of them
	Weighted Distribute = "weighted" // one, in proportion to the weights
	Failover Distribute = "failover" // the first in the order of the list that can be reached: one lane for all
	Affinity Distribute = "affinity" // one: messages with an equal value of an expression have the same
)

// WhenDown is what becomes of messages for a target that is down, on a route that gives each message to one of several.
type WhenDown string

// What is done. Either way, what has been sent or is in the spool stays where it is: it may have arrived.
const (
	Wait WhenDown = "wait" // they are kept for it
	Move WhenDown = "move" // another target gets those that have not been sent
)

// FailoverName is the Name of the one lane of a route with Failover.
const FailoverName = "failover"

// A Sharing is how the targets of a route share its messages. The zero Sharing is Copy.
type Sharing struct {
	Distribute Distribute
	Affinity   *Expr    // of Affinity: targets go by its value
	WhenDown   WhenDown // of Weighted and Affinity

	FailoverAfter time.Duration // how long the target in use must be down before another one is used
	FailbackAfter time.Duration // how long an earlier target must answer before it is used again
}

// ByOne reports whether each message of the route goes to one of several lanes.
func (r *Route) ByOne() bool {
	return len(r.To) > 1 && (r.Sharing.Distribute == Weighted || r.Sharing.Distribute == Affinity)
}

// ByValue reports whether a value of the message decides which lane that is.
func (r *Route) ByValue() bool {
	return r.ByOne() && (r.Sharing.Distribute == Affinity || r.Order == OrderPerKey)
}

// FailsOver reports whether the targets of the route are one lane.
func (r *Route) FailsOver() bool { return len(r.To) > 1 && r.Sharing.Distribute == Failover }

// Moves reports whether messages for a lane that is down go to another one.
func (r *Route) Moves() bool { return r.ByOne() && r.Sharing.WhenDown == Move }

// Lanes are the targets by lane: each has its own, but with Failover they share one, whose target has the name
// FailoverName, the first address, the smallest window, and no class: what one of them knows the next one does not.
func (r *Route) Lanes() []Target {
	if !r.FailsOver() {
		return r.To
	}
	one := r.To[0]
	one.Name, one.Key, one.Class, one.Memory = FailoverName, nil, adapters.ClassNone, Memory{}
	for i := range r.To[1:] {
		to := &r.To[i+1]
		if r.Window(to) < r.Window(&one) {
			one.InFlight = r.Window(to)
		}
		one.PassesRefused = one.PassesRefused || to.PassesRefused
	}
	return []Target{one}
}

// groups are the priorities of the targets that get messages, best first.
func (r *Route) groups() (ps []int) {
	for _, to := range r.To {
		if to.Weight > 0 && !slices.Contains(ps, to.Priority) {
			ps = append(ps, to.Priority)
		}
	}
	slices.Sort(ps)
	return ps
}
