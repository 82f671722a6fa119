// Package picture draws the brokers of a topology and what goes between them: for Graphviz, for Mermaid, and as SVG.
package picture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/posthouse/posthouse/routes"
)

// A Graph is what is drawn; its JSON is that of posthouse topology.
type Graph struct {
	Kind    string   `json:"kind,omitempty"` // of the topology
	Brokers []Broker `json:"brokers"`        // those of the topology first, the hub before all
	Routes  []Route  `json:"routes"`
	members int      // so many of Brokers are the topology's
}

// A Broker is a box of the picture.
type Broker struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Site string `json:"site,omitempty"`
}

// A Route is what an arrow stands for.
type Route struct {
	Name     string   `json:"route"`
	From     string   `json:"from"` // BROKER/NAME
	To       []string `json:"to"`
	Kind     string   `json:"kind"`            // generated, written or bridge
	Entry    string   `json:"entry,omitempty"` // of repeat
	Enabled  bool     `json:"enabled"`
	ServedBy []string `json:"served_by"`

	Text string `json:"-"` // of the targets, with their weights
	from string // broker
	to   []string
}

// Of is the graph of all routes of a table.
func Of(t *routes.Table) Graph {
	g := Graph{Brokers: []Broker{}, Routes: []Route{}}
	var names []string
	if t.Topology != nil {
		g.Kind = t.Topology.Kind
		names = slices.DeleteFunc(slices.Clone(t.Topology.Brokers), func(n string) bool { return t.Brokers[n] == nil })
	}
	g.members = len(names)
	for _, n := range slices.Sorted(maps.Keys(t.Brokers)) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		g.Brokers = append(g.Brokers, Broker{n, t.Brokers[n].Kind, t.Brokers[n].Site})
	}
	for _, r := range t.Routes {
		g.Routes = append(g.Routes, routeOf(t, r))
	}
	return g
}

func routeOf(t *routes.Table, r *routes.Route) Route {
	out := Route{Name: r.Name, From: r.From.String(), Kind: "written", Enabled: r.Enabled, from: r.From.Broker, Text: r.TargetText(),
		ServedBy: slices.Clone(r.Repeaters)}
	if len(out.ServedBy) == 0 {
		out.ServedBy = []string{t.ServedBy(r)}
	}
	if r.Repeat != nil {
		out.Entry = r.Repeat.Name
	}
	switch {
	case r.Generated():
		out.Kind = "generated"
	case r.Asks != nil || r.Answers != nil:
		out.Kind = "bridge"
	}
	for _, to := range r.To {
		out.To = append(out.To, to.Addr.String())
		out.to = append(out.to, to.Addr.Broker)
	}
	return out
}

// A Link is all that goes from one broker to another.
type Link struct {
	From, To  string   // brokers
	Routes    []string // names
	generated bool     // all of them
	from, to  int      // places in Graph.Brokers
}

// links are those of the enabled routes, sorted.
func (g Graph) links() []Link {
	place := map[string]int{}
	for i, b := range g.Brokers {
		place[b.Name] = i
	}
	all := map[[2]int]*Link{}
	for _, r := range g.Routes {
		for _, to := range r.to {
			at := [2]int{place[r.from], place[to]}
			l := all[at]
			if !r.Enabled {
				continue
			}
			if l == nil {
				l = &Link{From: r.from, To: to, from: at[0], to: at[1], generated: true}
				all[at] = l
			}
			l.generated = l.generated && r.Kind == "generated"
			if !slices.Contains(l.Routes, r.Name) {
				l.Routes = append(l.Routes, r.Name)
			}
		}
	}
	var out []Link
	for _, l := range all {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Link) int { return cmp.Or(a.from-b.from, a.to-b.to) })
	return out
}

// mostNamed is how many routes are named beside an arrow.
const mostNamed = 4

// label names the routes of a link, the first of them where there are many.
func (l Link) label() []string {
	if len(l.Routes) <= mostNamed {
		return l.Routes
	}
	return append(slices.Clone(l.Routes[:mostNamed-1]), fmt.Sprintf("and %d more", len(l.Routes)-mostNamed+1))
}

// title is what stands in the box of a broker.
func (b Broker) title() string {
	if b.Site != "" {
		return b.Type + ", " + b.Site
	}
	return b.Type
}
