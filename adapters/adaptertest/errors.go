package adaptertest

import (
	"errors"

	"github.com/posthouse/posthouse/adapters"
)

func errorChecks() []Check {
	return []Check{{Group: "Errors", Name: "ErrorKinds", run: errorKinds, wired: true}}
}

// errorKinds: provoked conditions and their kinds. Rows that the harness cannot provoke are logged.
func errorKinds(e *env) {
	p := e.h.Place(e)
	e.badPassword(p)
	if r, ok := e.h.(Refuser); ok {
		missing, denied := r.MissingPlace(e), r.DeniedPlace(e)
		e.wantKind("source of a place that does not exist", e.sourceError(missing.Source), adapters.NotFound)
		e.wantKind("target of a place that does not exist", e.targetError(missing.Target), adapters.NotFound)
		e.wantKind("source of a place that may not be used", e.sourceError(denied.Source), adapters.Denied)
		e.wantKind("target of a place that may not be used", e.targetError(denied.Target), adapters.Denied)
	} else {
		e.Logf("not provoked: missing, denied: the harness is no Refuser")
	}
	e.cutAndRefused(p)
}

func (e *env) badPassword(p Place) {
	e.Helper()
	right := e.cfg.Credentials
	if right.Password.IsZero() {
		e.Logf("not provoked: bad password: the harness uses none")
		return
	}
	e.cfg.Credentials.Password = adapters.NewSecret("wrong-" + e.tag)
	e.wantKind("source with a wrong password", e.sourceError(p.Source), adapters.Denied)
	e.wantKind("target with a wrong password", e.targetError(p.Target), adapters.Denied)
	e.cfg.Credentials = right
}

// sourceError opens a source and returns what opening says; where that is nil, what the first Receive says, for brokers
// that tell only then.
func (e *env) sourceError(a adapters.Address) error {
	e.Helper()
	s, err := e.h.Adapter().OpenSource(e.soon(), e.cfg, a)
	if err != nil {
		return err
	}
	defer e.close("source", s)
	_, err = s.Receive(e.soon(), 1)
	return err
}

// targetError is sourceError for a target.
func (e *env) targetError(a adapters.Address) error {
	e.Helper()
	g, err := e.h.Adapter().OpenTarget(e.soon(), e.cfg, a)
	if err != nil {
		return err
	}
	defer e.close("target", g)
	_, err = g.Send(e.soon(), e.messages("m", 1))
	return err
}

// cutAndRefused: the connection breaks, then nobody gets in.
func (e *env) cutAndRefused(p Place) {
	e.Helper()
	s, g := e.source(p), e.target(p)
	e.wire.Set(Refuse)
	e.wire.Cut()
	e.awaitLost(s)
	_, err := g.Send(e.soon(), e.messages("m", 1))
	e.wantKind("send over a connection that was cut", err, adapters.Lost)
	e.close("source", s)
	e.close("target", g)
	e.wantKind("source while connections are refused", e.sourceError(p.Source), adapters.Lost)
	e.wantKind("target while connections are refused", e.targetError(p.Target), adapters.Lost)
	var ae *adapters.Error
	if err := e.targetError(p.Target); !errors.As(err, &ae) || ae.Op == "" {
		e.Errorf("the error of Open is no *adapters.Error with an operation: %#v", err)
	}
	e.wire.Set(Pass)
	e.send(e.target(p), e.messages("again", 1)...)
}
