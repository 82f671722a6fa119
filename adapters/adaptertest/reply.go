package adaptertest

import "github.com/posthouse/posthouse/adapters"

func replyChecks() []Check {
	return []Check{{Group: "Reply", Name: "ReplyComesBack", run: replyComesBack}}
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
