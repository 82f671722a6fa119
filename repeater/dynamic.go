package repeater

import (
	"errors"
	"fmt"
	"sync"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// Targets whose messages name their place (operating.md, section 2.4). The name is computed when the message is received, and
// is part of its record: a retry, a restart or another file do not change it. What is not allowed becomes a dead letter before
// any lane sees it. A place that is not there is refused by the target for that one message (adapters.ErrGone), and tried
// again as often as max_attempts says: somebody may be making it.

// names are the different names that the dynamic ends of a route have had. They are safe for concurrent use.
type names struct {
	mu   sync.Mutex
	seen map[string]bool
}

// admits reports whether name is one of them, or still may be.
func (n *names) admits(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[name] || len(n.seen) >= routes.MaxNames {
		return n.seen[name]
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[name] = true
	return true
}

// placed is m with the place that l's target computes for it; m itself where it computes none. Its error is a
// *routes.EvalError or a *routes.NameError.
func (l *lane) placed(m *adapters.Message) (*adapters.Message, error) {
	d := l.target.Dynamic
	if d == nil {
		return m, nil
	}
	name, err := d.Place(m, l.of.route.Name)
	var failed *routes.EvalError
	if errors.As(err, &failed) && l.of.route.OnFilterError == routes.FilterErrorMatch {
		name, err = d.PlaceOfFailed()
	}
	if err == nil && d.Allow == nil && !l.of.names.admits(name) {
		err = &routes.NameError{Name: name, Reason: fmt.Sprintf("this route has sent to %d names already: list what is allowed with allow", routes.MaxNames)}
	}
	if err != nil {
		return nil, err
	}
	own := *m
	own.Track.Place = name
	return &own, nil
}

// unplaced decides about a message that has no place at a target.
func (r *routeRun) unplaced(p *parcel, err error) {
	var failed *routes.EvalError
	switch {
	case !errors.As(err, &failed):
		p.refuse(r, reasonTarget, err)
	case r.route.OnFilterError == routes.FilterErrorSkip:
		r.count.filterFailed()
	default:
		p.refuse(r, reasonFilter, err)
	}
}

// direct makes m, which is l's own, go where it was to go. A record of a time when the target was another one may have a
// place that means nothing here, or none.
func (l *lane) direct(m *adapters.Message) error {
	switch {
	case l.target.Dynamic == nil:
		m.Track.Place = ""
	case m.Track.Place == "":
		placed, err := l.placed(m)
		if err != nil {
			return err
		}
		m.Track.Place = placed.Track.Place
		fallthrough
	default:
		m.Dest = m.Track.Place
	}
	return nil
}

// final reports whether a message that is refused for that reason is poison at once: it will never be taken. A computed place
// that is not there may be made.
func (l *lane) final(reason string) bool {
	return reason != reasonRejected && !(reason == reasonGone && l.target.Dynamic != nil)
}
