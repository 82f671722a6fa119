package routes

import (
	"fmt"
	"maps"
	"slices"
)

// Circles finds the circles that the file does not show, because it has two names for one broker: known says by which
// identity each broker that has been reached goes (adapters.Peer.Unique). The whole file is looked at, also by the Part of
// one repeater. Routes that may close a circle are left out, as in the check of the file.
func (t *Table) Circles(known map[string]string) []Circle {
	h, merged := t.merged(known)
	if !merged {
		return nil
	}
	rs := t.Routes
	if t.whole != nil {
		rs = t.whole
	}
	out := h.circles(rs)
	for i := range out {
		out[i].Text += t.aliases(h, out[i])
	}
	return out
}

// merged are the homes with names joined whose brokers are one.
func (t *Table) merged(known map[string]string) (h homes, merged bool) {
	if h = maps.Clone(t.homes); h == nil {
		h = homesOf(t.Brokers)
	}
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		b := t.Brokers[name]
		if b == nil || known[name] == "" {
			continue
		}
		key := b.realm() + known[name]
		o, there := first[key]
		if !there {
			first[key] = name
			continue
		}
		if from, to := h[name], h[o]; from != to {
			merged = true
			for n, home := range h {
				if home == from {
					h[n] = to
				}
			}
		}
	}
	return h, merged
}

// aliases tells which names of a circle are one broker.
func (t *Table) aliases(h homes, c Circle) string {
	var names []string
	for _, r := range c.Routes {
		names = append(names, r.brokers()...)
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for i, a := range names {
		for _, b := range names[i+1:] {
			if h[a] == h[b] {
				return fmt.Sprintf(" (%s and %s are one broker)", a, b)
			}
		}
	}
	return ""
}

// Closed are findings about circles that have become known by connecting.
func (t *Table) Closed(cs []Circle) Findings {
	var out Findings
	for _, c := range cs {
		r := c.Routes[0]
		out = append(out, Finding{Code: "R004", Severity: Error, File: t.File, Message: fmt.Sprintf("route %q (line %d): messages would go round in a circle: %s", r.Name, r.Line, c.Text),
			Help: "break it, or write loop_ok: true in the route that may close it"})
	}
	return out
}
