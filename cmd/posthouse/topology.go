package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

func topologyCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "topology", Short: "Show the routes of a file, the generated ones too, or draw them", Args: cobra.NoArgs,
		Long: `Shows all routes of a file: those that topology generates, then those that are written, and which repeater serves each.
Offline: it opens no socket. With --repeater it shows what that one runs. -o dot, mermaid and svg draw the brokers and
what goes between them; -o yaml prints the generated routes as one could write them, with override: true.`,
		Example: `  posthouse topology -c topology.yaml
  posthouse topology -c topology.yaml -o svg > topology.svg
  posthouse topology -c topology.yaml -o dot | dot -Tpng > topology.png
  posthouse topology -c topology.yaml --repeater paris -o json`,
	}
	file, name := configFlag(c), c.Flags().String("repeater", "", "only what this repeater runs")
	wordFlag(c, &output, "output", "o", "what to print", "table", "dot", "mermaid", "svg", "json", "yaml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		t, err := loadTool(*file, kinds(), c.ErrOrStderr())
		if err == nil && *name != "" {
			t, err = part(t, *name)
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c.OutOrStdout(), drawn(t, output)); err != nil {
			return fail(exitEnvironment, err)
		}
		return nil
	}
	return c
}

// drawn is the table in one of the forms.
func drawn(t *routes.Table, form string) string {
	var b strings.Builder
	switch form {
	case "dot":
		writeDot(&b, graphOf(t))
	case "mermaid":
		writeMermaid(&b, graphOf(t))
	case "svg":
		writeSVG(&b, graphOf(t))
	case "yaml":
		b.WriteString(t.Written())
	case "json":
		g := graphOf(t)
		_ = printJSON(&b, answer{Command: "topology", OK: true, Result: g, // to memory: cannot fail
			Summary: fmt.Sprintf("%s, %s", plural(int64(len(g.Brokers)), "broker"), plural(int64(len(g.Routes)), "route"))})
	default:
		routeTable(graphOf(t)).text(&b)
	}
	return b.String()
}

// A graph is what is drawn, and the JSON of the command.
type graph struct {
	Kind    string        `json:"kind,omitempty"` // of the topology
	Brokers []graphBroker `json:"brokers"`        // those of the topology first, the hub before all
	Routes  []graphRoute  `json:"routes"`
	members int           // so many of Brokers are the topology's
}

type graphBroker struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Site string `json:"site,omitempty"`
}

type graphRoute struct {
	Name     string   `json:"route"`
	From     string   `json:"from"` // BROKER/NAME
	To       []string `json:"to"`
	Kind     string   `json:"kind"`            // generated, written or bridge
	Entry    string   `json:"entry,omitempty"` // of repeat
	Enabled  bool     `json:"enabled"`
	ServedBy []string `json:"served_by"`

	text string // of the targets
	from string // broker
	to   []string
}

func graphOf(t *routes.Table) graph {
	g := graph{Brokers: []graphBroker{}, Routes: []graphRoute{}}
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
		g.Brokers = append(g.Brokers, graphBroker{n, t.Brokers[n].Kind, t.Brokers[n].Site})
	}
	for _, r := range t.Routes {
		g.Routes = append(g.Routes, graphRouteOf(t, r))
	}
	return g
}

func graphRouteOf(t *routes.Table, r *routes.Route) graphRoute {
	out := graphRoute{Name: r.Name, From: r.From.String(), Kind: "written", Enabled: r.Enabled, from: r.From.Broker, text: r.TargetText(),
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

// routeTable lists the routes as people read them.
func routeTable(g graph) *table {
	t := &table{head: []string{"ROUTE", "FROM", "TO", "KIND", "SERVED BY"}}
	for _, r := range g.Routes {
		kind := r.Kind
		if !r.Enabled {
			kind += ", off"
		}
		t.rows = append(t.rows, []string{r.Name, clean(r.From), clean(r.text), kind, strings.Join(r.ServedBy, ", ")})
	}
	return t
}

// A link is all that goes from one broker to another, both by their place in graph.Brokers.
type graphLink struct {
	from, to  int
	routes    []string
	generated bool // all of them
}

// links are those of the enabled routes, sorted.
func (g graph) links() []graphLink {
	place := map[string]int{}
	for i, b := range g.Brokers {
		place[b.Name] = i
	}
	all := map[[2]int]*graphLink{}
	for _, r := range g.Routes {
		for _, to := range r.to {
			at := [2]int{place[r.from], place[to]}
			l := all[at]
			if !r.Enabled {
				continue
			}
			if l == nil {
				l = &graphLink{from: at[0], to: at[1], generated: true}
				all[at] = l
			}
			l.generated = l.generated && r.Kind == "generated"
			if !slices.Contains(l.routes, r.Name) {
				l.routes = append(l.routes, r.Name)
			}
		}
	}
	var out []graphLink
	for _, l := range all {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b graphLink) int { return cmp.Or(a.from-b.from, a.to-b.to) })
	return out
}

// mostNamed is how many routes are named beside an arrow.
const mostNamed = 4

// label names the routes of a link, the first of them where there are many.
func (l graphLink) label() []string {
	if len(l.routes) <= mostNamed {
		return l.routes
	}
	return append(slices.Clone(l.routes[:mostNamed-1]), fmt.Sprintf("and %d more", len(l.routes)-mostNamed+1))
}

// title is what stands in the box of a broker.
func (b graphBroker) title() string {
	if b.Site != "" {
		return b.Type + ", " + b.Site
	}
	return b.Type
}
