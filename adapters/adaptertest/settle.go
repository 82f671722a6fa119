package adaptertest

import (
	"slices"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// An Asider is a Harness that can look where its broker puts rejected messages.
type Asider interface {
	// Aside takes n rejected messages of p, waiting for them as Take does.
	Aside(t testing.TB, p Place, n int) []Native
}

func settleChecks() []Check {
	const g = "Settle"
	return []Check{
		{Group: g, Name: "AcceptedStaysAway", run: acceptedStaysAway},
		{Group: g, Name: "ReleasedComesBack", run: releasedComesBack},
		{Group: g, Name: "UnsettledComesBack", run: unsettledComesBack, wired: true},
		{Group: g, Name: "SettleOutOfOrder", run: settleOutOfOrder, wired: true},
		{Group: g, Name: "SettleTwice", run: settleTwice},
		{Group: g, Name: "SettleAfterLost", run: settleAfterLost, wired: true},
		{Group: g, Name: "RejectedGoesAside", run: rejectedGoesAside},
		{Group: g, Name: "AttemptCounts", run: attemptCounts, wired: true},
		{Group: g, Name: "SettleConfirmed", run: settleConfirmed, wired: true},
	}
}

// acceptedStaysAway: accepted messages never return, also after reopening; the others do.
func acceptedStaysAway(e *env) {
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 6)...)
	s := e.source(p)
	ds := e.receive(s, 6)
	e.settle(s, adapters.Accepted, ds[:3]...)
	away, open := bodiesOf(ds[:3]), bodiesOf(ds[3:])
	e.close("source", s)
	e.h.Put(e, p, native("end"))
	s = e.source(p)
	got := bodiesOf(e.again(s, p, append(slices.Clone(open), "end")...))
	for _, b := range got {
		if slices.Contains(away, b) {
			e.Errorf("%s was accepted and came again", b)
		}
	}
	e.inOrder("after reopening", first(got), append(open, "end"))
}

// releasedComesBack: released messages come again, from the same source or from the next.
func releasedComesBack(e *env) {
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 3)...)
	s := e.source(p)
	ds := e.receive(s, 3)
	e.settle(s, adapters.Released, ds...)
	e.again(s, p, bodiesOf(ds)...)
}

// unsettledComesBack: what was not settled when the connection broke comes again, marked where the broker does that.
func unsettledComesBack(e *env) {
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 3)...)
	s := e.source(p)
	want := bodiesOf(e.receive(s, 3))
	e.wire.Cut()
	e.awaitLost(s)
	e.close("source", s)
	for _, d := range e.again(e.source(p), p, want...) {
		if e.caps.Attempts != adapters.CountNone && d.Attempt < 2 {
			e.Errorf("%s came again with attempt %d", d.Message.Body.Data, d.Attempt)
		}
	}
}

// settleOutOfOrder: the third of three is accepted, then a crash: the first two are not lost.
func settleOutOfOrder(e *env) {
	if e.caps.Settle == adapters.Batch {
		e.Skip("Settle is Batch: a part of a unit of work cannot be settled")
	}
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 3)...)
	s := e.source(p)
	ds := e.receive(s, 3)
	e.settle(s, adapters.Accepted, ds[2])
	e.wire.Cut()
	e.awaitLost(s)
	e.close("source", s)
	got := bodiesOf(e.again(e.source(p), p, bodiesOf(ds[:2])...))
	if third := string(ds[2].Message.Body.Data); e.caps.Settle == adapters.Each && slices.Contains(got, third) {
		e.Logf("%s came again: it was settled just before the cut", third)
	}
}

// settleTwice is harmless, with the same outcome and with another.
func settleTwice(e *env) {
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 2)...)
	s := e.source(p)
	ds := e.receive(s, 2)
	for range 2 {
		e.settle(s, adapters.Accepted, ds...)
	}
	if err := s.Settle(e.soon(), adapters.Released, ds[0]); err != nil {
		e.Errorf("release of an accepted delivery: %v", err)
	}
	e.h.Put(e, p, native("end"))
	e.wantBodies("after settling twice", bodiesOf(e.upTo(s, "end")))
	if err := s.Settle(e.soon(), adapters.Outcome(0), ds[0]); err == nil {
		e.Errorf("the zero outcome was taken")
	}
}

// settleAfterLost is an error of kind Lost, never nil.
func settleAfterLost(e *env) {
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 2)...)
	s := e.source(p)
	ds := e.receive(s, 2)
	e.wire.Cut()
	e.awaitLost(s)
	for _, o := range []adapters.Outcome{adapters.Accepted, adapters.Released} {
		e.wantKind("settle after the connection was lost", s.Settle(e.soon(), o, ds...), adapters.Lost)
	}
}

// rejectedGoesAside: a rejected message does not come again and lands where the broker puts it. Where the source has no
// such place, Rejected is refused and settles nothing.
func rejectedGoesAside(e *env) {
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 2)...)
	s := e.source(p)
	ds := e.receive(s, 2)
	err := s.Settle(e.soon(), adapters.Rejected, ds[0])
	if !e.caps.RejectAside {
		e.wantKind("Rejected without a place for it", err, adapters.Permanent)
		e.close("source", s)
		e.again(e.source(p), p, bodiesOf(ds)...)
		return
	}
	if err != nil {
		e.Fatalf("settle rejected: %v", err)
	}
	e.settle(s, adapters.Accepted, ds[1])
	e.close("source", s)
	e.h.Put(e, p, native("end"))
	e.wantBodies("after a rejection", bodiesOf(e.upTo(e.source(p), "end")))
	if a, ok := e.h.(Asider); ok {
		e.wantBodies("set aside", bodiesOfNatives(a.Aside(e, p, 1)), bodiesOf(ds[:1])...)
	}
}

// attemptCounts: Attempt rises with each redelivery, as claimed.
func attemptCounts(e *env) {
	if e.caps.Attempts == adapters.CountNone {
		e.Skip("Attempts is CountNone")
	}
	p := e.h.Place(e)
	e.h.Put(e, p, native("m"))
	var got []int
	for range 3 {
		s := e.source(p)
		got = append(got, e.receive(s, 1)[0].Attempt)
		e.wire.Cut()
		e.awaitLost(s)
		e.close("source", s)
	}
	flag := got[0] == 1 && got[1] == 2 && got[2] == 2
	each := got[0] == 1 && got[1] > got[0] && got[2] > got[1]
	if e.caps.Attempts == adapters.CountFlag && !flag || e.caps.Attempts == adapters.CountEach && !each {
		e.Errorf("attempts %v do not rise as claimed", got)
	}
	e.again(e.source(p), p, "m")
}

// settleConfirmed: nil is the broker's answer. While its answers are held back, Settle must not succeed.
func settleConfirmed(e *env) {
	if !e.caps.SettleConfirmed {
		e.Skip("SettleConfirmed is not claimed")
	}
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", 4)...)
	s := e.source(p)
	ds := e.receive(s, 4)
	e.settle(s, adapters.Accepted, ds[:2]...)
	e.wire.Set(HoldReplies)
	if err := s.Settle(e.soon(), adapters.Accepted, ds[2:]...); err == nil {
		e.Errorf("Settle returned nil although the broker's answer was held back")
	}
	e.close("source", s)
	e.wire.Cut()
	e.h.Put(e, p, native("end"))
	for _, b := range bodiesOf(e.upTo(e.source(p), "end")) {
		if slices.Contains(bodiesOf(ds[:2]), b) {
			e.Errorf("%s came again although its settlement was confirmed before the cut", b)
		}
	}
}
