package adaptertest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

func dynamicChecks() []Check {
	const g = "Dynamic"
	return []Check{
		{Group: g, Name: "EachToItsPlace", run: eachToItsPlace},
		{Group: g, Name: "MissingPlaceIsOneMessages", run: missingPlaceIsOneMessages},
		{Group: g, Name: "PlacesInTransactions", run: placesInTransactions},
	}
}

// dynamic is the address of a target that goes to each of ps, by what the names have in common, be it nothing.
func (e *env) dynamic(ps ...Place) Place {
	e.Helper()
	if !e.caps.Dynamic {
		e.Skip("Dynamic is not claimed")
	}
	prefix := ps[0].Target.Name
	for _, p := range ps[1:] {
		for !strings.HasPrefix(p.Target.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	a := ps[0].Target
	a.Name, a.Dynamic = prefix, true
	return Place{Target: a}
}

// to makes n messages that go in turn to ps.
func (e *env) to(prefix string, n int, ps ...Place) []*adapters.Message {
	ms := e.messages(prefix, n)
	for i, m := range ms {
		m.Dest = ps[i%len(ps)].Target.Name
	}
	return ms
}

// eachToItsPlace: messages of one target go to the places that they name, in order, and nowhere else.
func eachToItsPlace(e *env) {
	a, b := e.h.Place(e), e.h.Place(e)
	g := e.target(e.dynamic(a, b))
	for i := range 5 {
		e.send(g, e.to(fmt.Sprint("m", i), 6, a, b)...)
	}
	e.send(g, e.to("end", 2, a, b)...)
	var wantA, wantB []string
	for i := range 5 {
		for n := range 3 {
			wantA, wantB = append(wantA, fmt.Sprintf("m%d-%d", i, 2*n)), append(wantB, fmt.Sprintf("m%d-%d", i, 2*n+1))
		}
	}
	e.wantBodies("first place", e.takeUpTo(a, "end-0"), wantA...)
	e.wantBodies("second place", e.takeUpTo(b, "end-1"), wantB...)
}

// missingPlaceIsOneMessages: a place that is not there is refused for the message that names it, with ErrGone, and
// the others of the batch are taken. So is a message that names none.
func missingPlaceIsOneMessages(e *env) {
	a := e.h.Place(e)
	r, ok := e.h.(Refuser)
	if !ok {
		e.dynamic(a)
		e.Skip("the harness is no Refuser: it has no place that is missing")
	}
	b := r.MissingPlace(e)
	g := e.target(e.dynamic(a, b))
	ms := e.to("m", 5, a)
	ms[1].Dest, ms[3].Dest = b.Target.Name, ""
	n, err := g.Send(e.soon(), ms)
	for i, fate := range adapters.Fates(len(ms), n, err) {
		switch i {
		case 1, 3:
			if !errors.Is(fate, adapters.ErrGone) || !e.wantKind("a place that is missing", fate, adapters.Permanent) {
				e.Errorf("message %d: %v, want ErrGone", i, fate)
			}
		default:
			if fate != nil {
				e.Errorf("message %d, whose place is there: %v", i, fate)
			}
		}
	}
	e.send(g, e.to("end", 1, a)...)
	e.wantBodies("the place that is there", e.takeUpTo(a, "end-0"), "m-0", "m-2", "m-4")
}

// placesInTransactions: a transaction may go to several places; with one that is missing nothing of it is there.
func placesInTransactions(e *env) {
	e.needTx()
	a, b := e.h.Place(e), e.h.Place(e)
	e.dynamic(a, b)
	places := []Place{a, b}
	r, refuses := e.h.(Refuser)
	if refuses {
		places = append(places, r.MissingPlace(e))
	}
	x := e.openTx(e.dynamic(places...))
	e.sendTx(x, 4, e.to("one", 4, a, b)...)
	if refuses {
		ms := e.to("two", 4, a, b)
		ms[2].Dest = places[2].Target.Name
		if err := x.SendTx(e.soon(), ms, adapters.Position{Last: 8}); !errors.Is(err, adapters.ErrGone) || adapters.KindOf(err) != adapters.Permanent {
			e.Errorf("a transaction with a place that is missing: %v", err)
		}
	}
	e.sendTx(x, 10, e.to("end", 2, a, b)...)
	e.wantBodies("first place", e.takeUpTo(a, "end-0"), "one-0", "one-2")
	e.wantBodies("second place", e.takeUpTo(b, "end-1"), "one-1", "one-3")
}
