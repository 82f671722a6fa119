package repeater

import (
	"errors"

	"github.com/posthouse/posthouse/routes"
)

// errEcho says that a message came back into a queue from which it would be repeated, although its repetition has ended.
var errEcho = errors.New("the message has been at the target already, and a queue keeps no copy of it")

// circled looks at where p has been, and reports whether it goes no further by this route. A generated route leaves out what
// its entry has carried far enough, the normal end of a repetition; from a queue, which nobody else reads, that would lose
// it, so there it is a dead letter, like what a written route gets a second time, or what has made too many hops.
func (r *routeRun) circled(p *parcel) bool {
	path, rep := p.m.Track.Path, r.route.Repeat
	switch said := r.route.Round(path, r.hop); {
	case said == routes.Onward:
		return false
	case said == routes.Echo:
		r.count.echoes.Inc()
	case rep != nil && rep.Echoes(path):
		p.refuse(r, reasonLoop, errEcho)
	default:
		p.refuse(r, reasonLoop, errLoop)
	}
	return true
}
