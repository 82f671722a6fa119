package repeater

// What is logged, declared once. Attributes are repeater, route, broker, target, state, err, kind.
const (
	msgLinkUp      = "link is up"
	msgLinkTrouble = "link is not up"
	msgRefused     = "message set aside: refused for good, goes back to its source after a pause"
	msgSettle      = "could not settle at the source: it will give the messages out again"
	msgUnclass     = "error without a kind: a bug of the adapter"
	msgSilent      = "no answer from the source in time: abandoned"
	msgAbandoned   = "no answer from the target in time: abandoned, its messages are sent again"
	msgStopping    = "stopping: no more receiving"
	msgStopped     = "stopped"
)

// Reasons for which a message is set aside; values of the metric's label reason.
const (
	reasonRejected = "rejected"     // the target refused it for good
	reasonTooLarge = "too-large"    // larger than the target takes
	reasonInvalid  = "invalid"      // cannot be expressed in the target's protocol
	reasonFilter   = "filter-error" // an expression failed on it
	reasonLoop     = "loop"         // has been on this route before, or made too many hops
	reasonUnrouted = "unroutable"   // no route of its source wants it
)
