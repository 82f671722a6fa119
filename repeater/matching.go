package repeater

import (
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// What routes.Decide says is done here. A message that no route takes has the fate that the file gives it: it is set
// aside, left at its source, or counted; it is never dropped without a word.

// errUnwanted says that no route of a source takes a message.
var errUnwanted = errors.New("no route of its source wants it")

// errStopped is in the chain of the error with which a source is given up whose route stops at a message.
var errStopped = errors.New("on_filter_error: stop; mend the cause, then restart, or reload with the route changed")

// unrouted decides about a message that no route of its source takes.
func (f *flow) unrouted(p *parcel) {
	switch first := f.routes[0]; routes.FateUnrouted(f.table) {
	case routes.UnroutedDeadLetter:
		p.refuse(first, reasonUnrouted, errUnwanted)
	case routes.UnroutedLeave:
		first.refused(p.d.SourceID, reasonUnrouted, 1, errUnwanted)
		p.unwanted = true
	}
}

// stops reports whether a route stops at p: then no route gets it, and the source is read no more. What is in flight is
// settled, what the lanes have they deliver.
func (f *flow) stops(p *parcel, ds []routes.Decision) bool {
	for i, d := range ds {
		if d.Verdict != routes.Stopped {
			continue
		}
		r := f.routes[i]
		r.refused(p.d.SourceID, reasonFilter, 1, d.Err)
		err := &adapters.Error{Op: "match", Addr: f.source, Kind: adapters.Permanent,
			Err: fmt.Errorf("route %q has stopped at message %s: %w (%w)", r.route.Name, named(p), d.Err, errStopped)}
		f.log.Error(msgRouteStopped, "route", r.route.Name, "msg_id", named(p), "err", d.Err)
		f.halted.Store(err)
		return true
	}
	return false
}

// named is a message as an operator can find it: by the source's own name, else by the application's.
func named(p *parcel) string {
	switch {
	case p.d.SourceID != "":
		return p.d.SourceID
	case p.m.ID.Form == adapters.IDString:
		return fmt.Sprintf("%.64q", p.m.ID.S)
	}
	return "without a name"
}

// halt is why the source is read no more; nil while it is read.
func (f *flow) halt() error {
	if err := f.halted.Load(); err != nil {
		return err
	}
	return nil
}
