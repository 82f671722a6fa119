package adaptertest

import (
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

func replyChecks() []Check {
	return []Check{
		{Group: "Reply", Name: "ReplyComesBack", run: replyComesBack},
		{Group: "Reply", Name: "Directed", run: directedSend},
		{Group: "Reply", Name: "DirectedGone", run: directedGone},
	}
}

// directedSend: messages of one target go each to its own destination, in order, and those without one to the target's.
func directedSend(e *env) {
	if !e.caps.Directed {
		e.Skip("a target sends to its one address only")
	}
	places := []Place{e.h.Place(e), e.h.Place(e), e.h.Place(e)}
	var ms []*adapters.Message
	for i := range 12 {
		m := e.message(fmt.Sprint("directed-", i))
		if i%3 > 0 {
			m.Dest = places[i%3].Target.Name
		}
		ms = append(ms, m)
	}
	g := e.target(places[0])
	e.send(g, ms[:6]...)
	e.send(g, ms[6:]...)
	for p, place := range places {
		for i, got := range e.h.Take(e, place, 4) {
			if want := fmt.Sprint("directed-", 3*i+p); string(got.Body) != want {
				e.Errorf("place %d: message %d is %q, want %q", p, i, got.Body, want)
			}
		}
	}
}

// replyComesBack: the reply address of a request arrives, and a reply sent there is found by its correlation id.
func replyComesBack(e *env) {
	if !e.caps.Headers.Fields.Has(adapters.FieldReplyTo | adapters.FieldCorr) {
		e.Skip("reply-to and correlation id are not native fields of this protocol")
	}
	requests, replies := e.h.Place(e), e.h.Place(e)
	n := native("request")
	n.ReplyTo, n.Corr = replies.Target.Name, "corr-"+e.tag
	e.h.Put(e, requests, n)
	s := e.source(requests)
	ds := e.receive(s, 1)
	e.settle(s, adapters.Accepted, ds...)
	to := replies.Target
	if to.Name = ds[0].Message.ReplyTo.Name; to.Name != replies.Target.Name {
		e.Errorf("reply-to %q, want %q", to.Name, replies.Target.Name)
	}
	m := e.message("reply")
	m.Corr = ds[0].Message.Corr
	e.send(e.target(Place{Source: replies.Source, Target: to}), m)
	if got := e.h.Take(e, replies, 1)[0]; got.Corr != n.Corr || string(got.Body) != "reply" {
		e.Errorf("the reply has correlation id %q and body %q, want %q and reply", got.Corr, got.Body, n.Corr)
	}
}

// directedGone: a destination that is not there is said of its message alone.
func directedGone(e *env) {
	r, ok := e.h.(Refuser)
	if !e.caps.Directed || !ok {
		e.Skip("a target sends to its one address only, or nothing can be missing")
	}
	p := e.h.Place(e)
	lost := e.message("nowhere")
	lost.Dest = r.MissingPlace(e).Target.Name
	n, err := e.target(p).Send(e.soon(), []*adapters.Message{e.message("before"), lost})
	fates := adapters.Fates(2, n, err)
	if fates[0] != nil || adapters.KindOf(fates[1]) != adapters.Permanent || !errors.Is(fates[1], adapters.ErrGone) {
		e.Errorf("before: %v; to a place that is not there: %v, want a Permanent adapters.ErrGone", fates[0], fates[1])
	}
	e.send(e.target(p), e.message("after")) // a broker may have ended the session
	for i, got := range e.h.Take(e, p, 2) {
		if want := [...]string{"before", "after"}[i]; string(got.Body) != want {
			e.Errorf("message %d is %q, want %q", i, got.Body, want)
		}
	}
}
