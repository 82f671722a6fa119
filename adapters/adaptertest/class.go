package adaptertest

import "github.com/posthouse/posthouse/adapters"

func classChecks() []Check {
	const g = "Class"
	return []Check{
		{Group: g, Name: "OnceInTransaction", run: onceInTransaction, wired: true},
		{Group: g, Name: "FencedSender", run: fencedSender},
		{Group: g, Name: "OnceInWindow", run: onceInWindow},
		{Group: g, Name: "NewIDNotSwallowed", run: newIDNotSwallowed},
	}
}

// onceInWindow: the same Track.ID twice gives one message, also over another connection; both sends are confirmed.
func onceInWindow(e *env) {
	if e.caps.Target != adapters.ClassWindow {
		e.Skipf("Target is %v, not %v", e.caps.Target, adapters.ClassWindow)
	}
	p := e.h.Place(e)
	g := e.target(p)
	ms := e.messages("m", 3)
	e.send(g, ms...)
	e.wantDuplicates(g, 0)
	e.send(g, ms...)
	e.wantDuplicates(g, 3)
	e.close("target", g)
	g = e.target(p)
	e.send(g, ms...)
	e.wantDuplicates(g, 3)
	e.send(g, e.message("end"))
	e.wantBodies("sent three times", e.takeUpTo(p, "end"), bodiesOfMessages(ms)...)
}

// wantDuplicates: a target whose broker tells of repeated messages has been told of n.
func (e *env) wantDuplicates(g adapters.Target, n uint64) {
	e.Helper()
	if d, ok := g.(adapters.Deduplicator); ok && d.Duplicates() != n {
		e.Errorf("Duplicates = %d, want %d", d.Duplicates(), n)
	}
}

// newIDNotSwallowed: two messages that differ in nothing but Track.ID both arrive.
func newIDNotSwallowed(e *env) {
	p := e.h.Place(e)
	g := e.target(p)
	for range 2 {
		m := e.message("same")
		m.ID, m.Corr = adapters.StringID("app-"+e.tag), adapters.StringID("corr")
		e.send(g, m)
	}
	e.send(g, e.message("end"))
	e.wantBodies("two of the same with different Track.ID", e.takeUpTo(p, "end"), "same", "same")
}
