// Package faults breaks what is around a running posthouse and proves that nothing is lost by it: the real binary as a
// child process, real brokers, a real disk.
//
// # Who knows what
//
// The oracle makes numbered messages: key, headers and body follow from the lane, the number and the seed of the run, and
// a checksum of body and headers travels along. A load sends them with the client of the broker's vendor, at a steady
// rate, and notes of each whether it was taken. When all faults are over, another client reads everything that is at the
// target. What was sent, what came and what was broken is the history of a lane; check reads it and returns findings, one
// for each promise that was not kept. No finding is about time: a test waits for an event that the daemon's status
// shows, and time only decides when it gives up.
//
// # Void
//
// A run that did not do its work proves nothing: too few messages, a fault that met nothing in flight, a backlog smaller
// than asked for. It is reported as the finding void. A single event of a storm that was void, because the machine was too
// busy, is repeated, and counted in the table; only one that is void three times ends the storm. What is lost, stuck or dies by
// itself is never repeated.
//
// # Trials and the storm
//
// A trial is one kind of fault between one pair of real brokers. The storm (TestStorm, make faults) is all of them in turn,
// in an order that follows from a seed, on lanes of every promise: killed at every crash point of the program (package
// failpoint, of which only the daemon of the storm knows), cut off, slowed down, on a disk that fails or is full, with a
// wrong clock, restored from a copy. It is green, red, or void, and ends with a table.
//
// A storm rages on a ground (ground_test.go). Two NATS servers let a daemon die and come back many times in a second. Real
// brokers are Artemis, Kafka, RabbitMQ and NATS in pairs: the targets are the storm's own, because they are restarted, but for
// RabbitMQ; sources are those of all tests, which nobody stops. A fake Kafka is for TestC22, inside transactions. The short
// form has a test for each ground; the long one changes between NATS and real brokers from round to round.
//
// Besides its lanes a round has a bridge between two NATS servers: requesters who number their requests alike, a responder that
// answers each request it sees once, with one of its ids, and a history of what came back. Every request has its answer, with
// its own body and under its own id; a second one comes under another posthouse-id, and only after a kill.
//
// A red round leaves a directory, whose path it prints: the seed, the version, the topology, a copy of the spool, what the
// daemons have logged, what the oracle knows of each message (oracle.jsonl), a report, and the command that repeats it.
//
// # Where the crash points are
//
// The short forms come to each of C1 to C24 ten times at least (TestEveryCrashPoint), and fail when they did not:
//
//	C1 to C12, C23    TestStorm, failpoints that a daemon under load comes to by itself
//	C13, C14, C15     TestStorm, a sync that fails, no room, changed bytes
//	C16               TestStorm, a failpoint while a changed file is taken by SIGHUP; reload storms without a kill are beside it
//	C17, C18, C19     TestStorm, a second instance, a clock that is a year off, a restored copy
//	C20               TestStorm, messages that the target refuses while it confirms what is behind them
//	C21               TestStorm, a failpoint at the table of a bridge
//	C22               TestC22, failpoints in transactions, before and after their end is asked for
//	C24               TestStorm, connections to a source that lose its answers
//
// TestStormOnRealBrokers comes to each of them once, to those of C22 three times.
//
// # Flags
//
// -seed repeats a run's messages and the storm's schedule; -scale makes outages and counts of trials longer by a factor;
// -duration is how long the storm lasts; -only picks some of its faults by name.
package faults
