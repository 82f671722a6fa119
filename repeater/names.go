package repeater

// What is logged, declared once. Attributes are repeater, route, broker, target, state, err, kind.
const (
	msgLinkUp        = "link is up"
	msgLinkTrouble   = "link is not up"
	msgAddress       = "broker is reached at another address"
	msgFailback      = "broker's first address is healthy again: going back to it"
	msgForeign       = "another broker answers at the first address: not going back to it"
	msgSwitched      = "lane goes to another of its targets"
	msgNoSuccessor   = "target cannot take the place of the one that is down"
	msgRefused       = "message refused"
	msgSettle        = "could not settle at the source: it will give the messages out again"
	msgUnclass       = "error without a kind: a bug of the adapter"
	msgSilent        = "no answer from the source in time: abandoned"
	msgLost          = "lost: this route is at-most-once"
	msgFenced        = "another sender has taken this lane over: nothing more is sent until the next start"
	msgSlowFilter    = "a filter is slow: all messages of its source wait for it"
	msgRouteStopped  = "a route has stopped at a message that its filter cannot judge: its source is read no more"
	msgAbandoned     = "no answer from the target in time: abandoned, its messages are sent again"
	msgLane          = "lane has another state"
	msgAppend        = "could not write to the spool: nothing of it is settled, it is tried again"
	msgNoReply       = "a request was not answered in time"
	msgReplies       = "requests without a reply are known again"
	msgMark          = "could not note in the spool what is delivered: tried again; a crash before would send it twice"
	msgRead          = "could not read a record of the spool: it stays there and is tried again"
	msgCorrupt       = "a record of the spool is damaged: its message is lost"
	msgSpoolScan     = "reading the spool"
	msgSpoolOpen     = "spool is open"
	msgSpoolDamage   = "spool is damaged: alarm until it is acknowledged (posthouse spool acknowledge)"
	msgSpoolLost     = "messages of the spool are missing"
	msgSpoolClose    = "could not close the spool"
	msgOrphan        = "the spool holds messages of a lane that is not in the file: kept; see posthouse spool orphans"
	msgRenamed       = "the spool of a lane has a new name"
	msgRename        = "could not give a lane its name in the spool: tried again"
	msgReloaded      = "another configuration runs"
	msgPosition      = "the source is read under the name of another route than before: from the start, see posthouse explain C005"
	msgReloadRefused = "configuration refused: what ran before goes on"
	msgFinding       = "finding"
	msgHistory       = "could not keep or read a generation of the configuration"
	msgResolved      = "resolved"
	msgDead          = "an operator has decided about dead letters"
	msgPurged        = "an operator has given up the messages of an orphan"
	msgAdopted       = "an operator has sent the messages of an orphan through a route"
	msgTold          = "an operator has given an order"
	msgDrained       = "route is drained: it is paused"
	msgOrders        = "could not keep that a drained route is paused: it drains again after a start"
	msgClock         = "the clock is not believed: nothing expires until it is right (if it is right now, start again)"
	msgClockFine     = "the clock is believed again: messages expire"
	msgAlarm         = "lane is paused: nothing more is sent until posthouse resolve ROUTE/TARGET retry, or the next start"
	msgStopping      = "stopping: no more receiving"
	msgStopped       = "stopped"
)

// Reasons for which a message is set aside; values of the metric's label reason.
const (
	reasonRejected = "rejected"           // the target refused it for good
	reasonTooLarge = "too-large"          // larger than the target takes
	reasonInvalid  = "invalid"            // cannot be expressed in the target's protocol
	reasonFilter   = "filter-error"       // an expression failed on it
	reasonLate     = "late-reply"         // a reply whose request timed out, was answered already, or is not known
	reasonGone     = "target-gone"        // the destination of one message, a reply address or a computed name, is not there
	reasonTarget   = "target-not-allowed" // a request whose reply may not go where it asks for, or a computed name that is not allowed
	reasonLoop     = "loop"               // has been on this route before, or made too many hops
	reasonExpired  = "expired"            // its time was over, and the route says dead-letter
	reasonUnrouted = "unroutable"         // no route of its source wants it
)
