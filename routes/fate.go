package routes

// DeadLetterName is the Name of every Route.DeadLetter.
const DeadLetterName = "dead-letter"

// Order is what a route promises about the order in which its targets get messages. Each lane keeps it by itself.
type Order string

// The orders.
const (
	OrderSource Order = "source"  // as the source hands them out; only a message that the target refuses leaves its place
	OrderStrict Order = "strict"  // as the source hands them out, refusals included
	OrderPerKey Order = "per-key" // within each key: what the target refuses holds its key, others pass
	OrderNone   Order = "none"    // any order
)

// OnPoison is what becomes of a message that a target has refused for good, or Route.MaxAttempts times.
type OnPoison string

// The fates of poison messages.
const (
	PoisonDeadLetter OnPoison = "dead-letter" // set aside; the lane goes on
	PoisonHold       OnPoison = "hold"        // the lane stops at it until an operator decides
)

// OnFilterError is what becomes of a message on which the filter of a route fails.
type OnFilterError string

// The fates of messages that a filter cannot judge.
const (
	FilterErrorDeadLetter OnFilterError = "dead-letter" // set aside
	FilterErrorSkip       OnFilterError = "skip"        // as if the filter had said no, and counted
	FilterErrorMatch      OnFilterError = "match"       // as if it had said yes
	FilterErrorStop       OnFilterError = "stop"        // nothing more is taken until somebody has mended the cause
)

// Expired is what becomes of a message whose expiry has passed.
type Expired string

// The fates of expired messages.
const (
	ExpiredDrop       Expired = "drop"        // settled as accepted and counted
	ExpiredDeadLetter Expired = "dead-letter" // set aside
	ExpiredDeliver    Expired = "deliver"     // sent like any other
)

// Window is how many messages may be sent to a target and not yet confirmed.
func (r *Route) Window(to *Target) int {
	if to.InFlight > 0 {
		return to.InFlight
	}
	return r.InFlight
}
