// Package repeater is the engine: it moves messages from sources to targets and settles them last.
//
// A message's way is in flow.go, steps 1 to 5. Around it:
//
//	repeater.go  wires a table of routes: one broker gate per broker, one Flow per source, one lane per target
//	flow.go      receive, match, convert, send, settle
//	lane.go      one route × one target: order, the window of what is in flight, what happens after a failure
//	sending.go   one open target in use: batches posted, receipts waited for, a silent target given up
//	store.go     which way a message takes in its lane: passed on, or through the journal
//	spooling.go  into the journal, and done marks; draining.go out of it; record.go what a record holds
//	journal.go   the journal of the repeater: opening it, what was found, orphans, renamed lanes
//	tx.go        exactly-once into targets with transactions; atmost.go settled before it is sent; perkey.go order of keys
//	unsettled.go what a source gives out again is recognised
//	session.go   one open source in use: what was received and not yet settled, which bounds the memory
//	parcel.go    one message on its way, and what its lanes answer for it
//	gate.go      one connect loop per broker, shared by all its ends
//	failback.go  several addresses of a broker: which is in use, and the way back to the first
//	clock.go     whether the wall clock can be believed, which decides about expiry
//	fate.go      Kind of error -> what becomes of the message, the target object and the link
//	status.go    what an operator sees, with spoolstatus.go; metrics.go and names.go what a monitor sees
//
// # What is promised
//
// A delivery is settled Accepted only after every lane that its routes chose has it: confirmed by the target, or synced to
// the journal (delivery.md, section 3). A message that a target refuses for good is set aside, counted, and given back to
// its source after a pause, so that it neither gets lost nor spins. Nothing is held in memory beyond the route's prefetch.
// No call of an adapter is waited for without end: one that does not come back is abandoned with its object (bounded.go,
// sending.go).
//
// # What is not
//
// After an unclean stop up to one window of messages of a lane arrives twice, unless the route promises otherwise. There is
// one journal, on one disk.
package repeater
