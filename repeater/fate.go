package repeater

import "github.com/posthouse/posthouse/adapters"

// pause says how long a lane waits after a failure.
type pause uint8

const (
	pauseNone  pause = iota // go on at once
	pauseRetry              // the lane's own backoff
	pauseSlow               // an operator has to act: about a minute
)

// A fate is what one kind of error means (style.md, section 3.3). It is decided here and nowhere else.
type fate struct {
	again  bool  // the message stays at the head of its lane and is sent again; otherwise it was refused for good
	reopen bool  // the target object is thrown away: after an unknown outcome nothing is repaired
	probe  bool  // one message at a time until one is taken
	pause  pause // before the next try
	link   LinkState
}

// fateOf returns what a failure of kind k means. Other is treated as Transient, and counted by the caller.
func fateOf(k adapters.Kind) fate {
	switch k {
	case adapters.Permanent:
		return fate{pause: pauseRetry, link: LinkUp} // the pause is that of a lane in strict order, which stops at it
	case adapters.Full:
		return fate{again: true, probe: true, pause: pauseRetry, link: LinkBlocked}
	case adapters.Denied, adapters.NotFound:
		return fate{again: true, reopen: true, pause: pauseSlow, link: LinkBlocked}
	case adapters.Lost:
		return fate{again: true, reopen: true, link: LinkDown}
	default:
		return fate{again: true, reopen: true, pause: pauseRetry, link: LinkUp}
	}
}
