// Package adaptertest is the conformance suite of the contract in package adapters, with the fault proxy that stands
// between an adapter and its broker. An adapter enters adapters/all when it passes against a real broker.
//
// # Writing a harness
//
// A harness is about sixty lines in a _test.go file beside the adapter:
//
//	func TestConformance(t *testing.T) { adaptertest.Run(t, newHarness(t)) }
//
// Run uses one Harness for all checks and several at once, so its methods must be safe for concurrent use. What each
// check asks of it:
//
//   - Config returns a fresh value each time. The suite sets Client, Limits.MaxSize (256 KiB), Limits.Prefetch, and for
//     checks with faults Heartbeat (1 s), Limits.Confirm (5 s) and Dial; leave those alone. Set what makes redelivery
//     quick where the broker has a timer for it: a check waits at most 30 s for one event.
//   - Place makes a place that no other check sees. A check uses it in one of three ways and never mixes them: Put and
//     Source, Target and Take, Target and Source. So a broker that keeps what was read, such as Kafka, needs no more in
//     Take than a position for each place. All messages of one check have an equal Key, "k".
//   - Put and Take go through another client than the adapter's. Put returns when the broker has confirmed. Take is
//     called with 1 many times; a client that is kept for each place pays.
//   - TTL, Headers and the other fields of Native are looked at only where Capabilities.Headers claims the field.
//
// # Optional interfaces
//
// Restarter for AcceptedIsDurable; Refuser for FullHoldsBack and rows of ErrorKinds; Asider for where rejected messages
// go; Goldener for Golden; Leaker for goroutines that a library leaves behind; Wirer for a broker that is not reached by TCP. A check whose
// interface is missing is skipped with its reason. The broker of a Restarter is killed while no other check of the same
// Run is at work.
//
// # What the suite takes on trust
//
// How much memory an adapter touches before it refuses a message above MaxSize: brokers in the same process blur that
// figure.
//
// The suite itself is tested by adapters over adapters/mem with one planted bug each: the names of the checks that fail
// must be equal to a list, and every check must be on one of them.
package adaptertest
