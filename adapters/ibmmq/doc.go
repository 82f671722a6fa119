// Package ibmmq connects to IBM MQ through IBM's own client library, over the binding mq-golang, and says how a message looks
// there: the descriptor (MQMD), the message properties, and the headers MQRFH2, MQDLH and MQMDE.
//
// Only mqi_cgo.go and properties_cgo.go need cgo and the build tag ibmmq; everything else is plain Go over the few calls of
// mqi.go. Without the tag the adapter checks files and connects to nothing (Built).
//
// # What it connects to
//
// A queue manager by client connections: addresses are tried in turn, over one channel, or a CCDT says where to go. Each end has
// a connection of its own, for a connection is a unit of work. Automatic reconnection is off: it would hide that a unit of work
// was backed out. Calls of the MQI cannot be cancelled; one that does not come back in time (Limits.Confirm, or for a get three
// heartbeats) is given up together with its connection.
//
// # Settle
//
// In batches: what Receive returns is one unit of work of at most 250 messages, and the next is got when all of it is settled.
// Accepted is MQCMIT, Released MQBACK; Rejected puts the message to the backout queue of the queue (BOQNAME), or with an MQDLH
// to the dead-letter queue, and is Denied where there is neither. A part of a batch is settled by a detour: MQBACK, then a unit
// of work of what is got again by its ids. A message that was backed out as often as BOTHRESH says is set aside the same way.
//
// # Send
//
// One MQCMIT for at most 250 messages. A message that is refused ends the unit before it. With a state queue (OpenTx) the
// position of the lane is a message that is got and put in the same unit of work; whoever opens the lane later writes himself
// into it, and fences the one before.
//
// # Order
//
// That of the queue, which is first in, first out unless MSGDLVSQ(PRIORITY) and priorities say otherwise, for one reader
// (exclusive: true). What is backed out comes first again.
//
// # Errors
//
// By reason code, one table (reasons.go). 2009 and 2549, and no answer at all, leave open whether a commit has happened.
//
// # Limits
//
// MaxSize bounds what is got and put, beside MAXMSGL of queue, queue manager and channel. A message at the source that is larger
// than MaxSize stays there, in front of the others, and blocks the source until somebody mends that.
//
// # Facts
//
// Field names and values are those of IBM's reference (MQMD, MQRFH2, MQDLH, message properties, "Mapping JMS fields onto IBM MQ
// fields"). Ids are 24 bytes, expiry is relative in tenths of a second, times are GMT in hundredths, names of queues have 48
// characters. Properties are typed and their names are Java identifiers; the folder usr is left out of a name.
//
// # What is read and not written
//
// BackoutCount, UserIdentifier, PutApplName, and the reply address of JMS: without context authority the queue manager sets them
// itself. Groups unless groups: keep says so: an incomplete group blocks who waits for all of it. Report options unless reports:
// pass: the reports would come from the wrong queue manager.
package ibmmq
