package faults

// An outcome is what the sender knows of one send to the source.
type outcome int

const (
	unknown outcome = iota // both fates are legal, for ever
	taken                  // confirmed by the source's broker
	failed                 // refused: it must not arrive
)

// An arrival is a message at the target, in the order in which the target has them.
type arrival struct {
	number  int    // of the message in its lane; -1 if it is not one of the oracle's
	id      string // posthouse-id
	flagged bool   // posthouse-possible-duplicate
	wrong   string // name of what is wrong with it by itself, empty for nothing
	detail  string // of wrong
	tries   int    // of a dead letter: how often the target refused its message; 0 for what is none
}

// A history is what is known of one lane at the end of a run.
type history struct {
	lane     string
	sends    []outcome // by number
	arrivals []arrival

	window    int // most messages sent and not confirmed
	unsettled int // most messages received and not settled
	// absorbs says that the target drops a repeated posthouse-id by itself.
	absorbs bool
	// regives says that the source gives out again, as new messages, what a process had not settled when it was killed.
	regives bool
	// requeues says that the source, when a process was killed or its link was lost, may give out later messages to the next one before it
	// has taken back what that process had not settled. Then this is the source's order.
	requeues bool
	breaks   int // times that the link to the target was lost
	kills    int // unclean stops of the daemon
	losses   int // times that the link to the source was lost, where it does not name its messages
	reported int // messages that the daemon has reported as lost: their bytes on the disk were changed

	figures []figure
}

// A figure is a number that somebody claims, beside the one that it must be.
type figure struct {
	finding  string // what it is if it is wrong: miscount, leftover, void, stuck
	name     string
	got      int
	min, max int
}

// exactly is a claim of the daemon that must equal what was counted outside.
func exactly(name string, got, want int) figure { return figure{miscount, name, got, want, want} }

// within is a claim that can be known from outside only to lie between two numbers.
func within(name string, got, least, most int) figure {
	return figure{miscount, name, got, least, most}
}

// nothing is something that must be gone at the end.
func nothing(name string, got int) figure { return figure{leftover, name, got, 0, 0} }

// atMost is something that must not have grown beyond a bound at the end.
func atMost(name string, got, most int) figure { return figure{leftover, name, got, 0, most} }

// bite is a sign that the run did its work.
func bite(name string, got, least int) figure {
	return figure{void, name, got, least, int(^uint(0) >> 1)}
}

func (f figure) wrong() bool { return f.got < f.min || f.got > f.max }
