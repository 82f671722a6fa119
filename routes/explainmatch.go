package routes

import (
	"fmt"
	"slices"
	"strings"
)

// matchLines tell how a route shares its source, and what becomes of messages that no route takes. A route that takes
// everything alone needs no such lines.
func (t *Table) matchLines(r *Route, aside string) (out [][2]string) {
	group := t.beside(r)
	if len(group) > 1 || r.Match != MatchAll && r.Match != "" {
		out = append(out, [2]string{"match", r.matchText(group)})
	}
	if slices.ContainsFunc(group, func(o *Route) bool { return o.Filter == nil && o.OnFilterError != FilterErrorSkip }) {
		return out // somebody takes what is left
	}
	fate := map[Unrouted]string{
		UnroutedDeadLetter: "dead-letter: what no route of the source takes is " + aside + ", reason unroutable",
		UnroutedLeave:      "leave: what no route of the source takes goes back to it after a pause, again and again",
		UnroutedSkip:       "skip: what no route of the source takes is settled and counted",
	}
	return append(out, [2]string{"unrouted", fate[FateUnrouted(group)]})
}

// beside are the enabled routes that share the source of r, r among them, in file order.
func (t *Table) beside(r *Route) []*Route {
	for _, g := range t.Flows() {
		if slices.Contains(g, r) {
			return g
		}
	}
	return []*Route{r}
}

func (r *Route) matchText(group []*Route) string {
	var others []string
	for _, o := range group {
		if o != r {
			others = append(others, o.Name)
		}
	}
	with := ""
	if len(others) > 0 {
		with = fmt.Sprintf("; it shares its source with %s", clip(strings.Join(others, ", ")))
	}
	switch r.Match {
	case MatchFirst:
		return "first: of the routes with match: first, the first in the file whose filter says yes takes a message" + with
	case MatchOtherwise:
		return "otherwise: takes what no other route of its source takes" + with
	}
	return "all: takes what its filter wants, whatever the others take" + with
}
