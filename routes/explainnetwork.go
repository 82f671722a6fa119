package routes

import (
	"fmt"
	"strings"
)

// homeOf is the name of the repeater that runs a route, {A,B} for several.
func (t *Table) homeOf(r *Route) string {
	if r.Shared() {
		return "{" + strings.Join(r.Repeaters, ",") + "}"
	}
	return t.ServedBy(r)
}

// networkLines tell where a route stands among others.
func (t *Table) networkLines(r *Route) (out [][2]string) {
	if p := r.Repeat; p != nil {
		line := fmt.Sprintf("by entry %q of the topology; a message that has been at %s, or has come by %s of it, is left out as an echo", p.Name, p.To, plural(p.Hops, "route"))
		if p.Written {
			line = fmt.Sprintf("in place of what entry %q of the topology generates, and leaves out echoes like it", p.Name)
		}
		out = append(out, [2]string{"generated", line})
	}
	if len(t.Repeaters) > 0 {
		line := t.ServedBy(r)
		if r.Shared() {
			line += ", which share what the source hands out; " + r.sharedText(t.Brokers[r.From.Broker])
		}
		out = append(out, [2]string{"served by", line})
	}
	if r.LoopOK {
		out = append(out, [2]string{"loop_ok", "it may close a circle; what comes by a second time is a dead letter"})
	}
	return out
}

// sharedText says what sharing a source comes to.
func (r *Route) sharedText(from *Broker) string {
	s := "what one has received and not settled when it dies comes again by another, after a time that the broker decides, perhaps a second time to the target and under a new id; its spool stays on its disk until it is back"
	switch {
	case r.Order == OrderNone:
		return s
	case from != nil && from.Kind == "kafka" && r.Spool.Mode == SpoolNever:
		return s + "; order per key holds while no partition changes its reader"
	}
	return s + "; order holds within each repeater only"
}
