package routes

import (
	"cmp"
	"slices"
	"strings"
)

// A Topology is the pattern of the file, for those who draw it. The routes that it generates are among Table.Routes.
type Topology struct {
	Kind    string   // HubAndSpoke, Bus or Mesh
	Brokers []string // the hub first; of a bus in their order
}

// Repeat says from which entry of the topology a route was generated. It decides what is an echo there.
type Repeat struct {
	Name     string // of the entry
	From, To string // names of brokers
	Mutual   bool   // another route of the entry goes the other way: its source holds what came from its target
	Hops     int    // routes of the entry after which a message has come far enough
	Written  bool   // a route of the file stands in its place (override)

	text string // of the route, as one could write it
}

// generatedHops bounds the path of a message on generated routes, whatever it came by.
const generatedHops = 32

// Echoes reports whether a message with this path, REPEATER/ROUTE for each hop, has been at the target already by way of
// the same entry, or has come as far as the entry carries a message: the normal end of a repetition. Hops of other routes do
// not count: what a written route brings into a mesh is repeated like anything else.
func (r *Repeat) Echoes(path []string) bool {
	hops := 0
	for _, hop := range path {
		_, route, _ := strings.Cut(hop, "/")
		parts := strings.Split(route, ".")
		if len(parts) != 3 || parts[0] != r.Name {
			continue
		}
		if hops++; hops >= r.Hops || parts[1] == r.To || parts[2] == r.To {
			return true
		}
	}
	return false
}

// Round is what a route makes of where a message has been.
type Round uint8

// The three.
const (
	Onward Round = iota // it has not been here
	Echo                // it has been where the route would send it, by the same entry of the topology
	Loop                // it has been on this route, or has made too many hops
)

// Round looks at the path of a message. hop is the route's own entry there, REPEATER/ROUTE; what another repeater of the file
// has carried by the route counts as well.
func (r *Route) Round(path []string, hop string) Round {
	switch {
	case r.Repeat == nil || !r.Repeat.Echoes(path):
	case queueOf(r.From): // nobody else has it
		return Loop
	default:
		return Echo
	}
	if len(path) >= r.MaxHops {
		return Loop
	}
	for _, h := range path {
		repeater, route, _ := strings.Cut(h, "/")
		if h == hop || route == r.Name && slices.Contains(r.Repeaters, repeater) {
			return Loop
		}
	}
	return Onward
}

// Generated reports whether the topology made the route; one that was written in place of such a route was not.
func (r *Route) Generated() bool { return r.Repeat != nil && !r.Repeat.Written }

// Shared reports whether several repeaters serve the route.
func (r *Route) Shared() bool { return len(r.Repeaters) > 1 }

// reader is equal for the enabled routes of one repeater that share one reader: those with an equal source. A generated
// route, and one in its place, has one of its own, so that a broker that is added to the topology moves no position of the
// others.
func (r *Route) reader() string {
	if r.Repeat != nil {
		return r.Name + " " + keyOf(r.From)
	}
	return keyOf(r.From)
}

// hopAt is the entry of the route in a path, where the file has repeaters that of the first that serves it.
func (r *Route) hopAt(repeater string) string {
	if len(r.Repeaters) > 0 && !slices.Contains(r.Repeaters, repeater) {
		repeater = r.Repeaters[0]
	}
	return cmp.Or(repeater, aloneName) + "/" + r.Name
}

// TargetText is what a table shows of the targets: names and weights where there are several, else the place.
func (r *Route) TargetText() string {
	if len(r.To) == 1 {
		return r.To[0].Addr.String()
	}
	var all []string
	for _, t := range r.To {
		all = append(all, t.Name)
	}
	return strings.Join(all, ", ")
}

// An edge is a pair of brokers, in the direction in which messages go.
type edge struct{ from, to string }

// edges are those of a topology with so many brokers, the hub first, in one direction.
func edges(kind, direction string, brokers []string) (out []edge) {
	if len(brokers) < 2 {
		return nil
	}
	switch {
	case kind == Mesh:
		for _, from := range brokers {
			for _, to := range brokers {
				if from != to {
					out = append(out, edge{from, to})
				}
			}
		}
		return out
	case kind == HubAndSpoke:
		for _, spoke := range brokers[1:] {
			out = append(out, edge{brokers[0], spoke})
		}
	default:
		for i := range brokers[1:] {
			out = append(out, edge{brokers[i], brokers[i+1]})
		}
	}
	return directed(out, direction)
}

// directed turns edges that go outward or forward into those of a direction.
func directed(out []edge, direction string) []edge {
	back := make([]edge, len(out))
	for i, e := range out {
		back[i] = edge{e.to, e.from}
	}
	switch direction {
	case "inward", "backward":
		return back
	case "both":
		return slices.Concat(out, back)
	}
	return out
}

// hopsOf is after how many routes of an entry a message has been everywhere.
func hopsOf(kind string, brokers int) int {
	switch kind {
	case HubAndSpoke:
		return 2
	case Bus:
		return brokers - 1
	}
	return 1
}

// goodRouteName reports whether s is a Name, or several joined by dots.
func goodRouteName(s string) bool {
	return !slices.ContainsFunc(strings.Split(s, "."), func(p string) bool { return !goodName(p) })
}
