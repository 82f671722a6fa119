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
// than asked for. It is reported as the finding void.
//
// # Flags
//
// -seed repeats a run's messages; -scale makes outages and counts longer by a factor, for hours if wanted.
package faults
