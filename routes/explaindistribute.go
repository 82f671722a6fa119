package routes

import (
	"fmt"
	"strings"
)

// shareLines tell which of several targets get a message.
func (r *Route) shareLines() [][2]string {
	if len(r.To) < 2 {
		return nil
	}
	switch r.Sharing.Distribute {
	case Failover:
		return [][2]string{{"distribute", fmt.Sprintf("failover: one lane, %s/%s, to the first of these that can be reached; to another one when the one in use has been down for %s, "+
			"back to an earlier one when that has answered for %s and what is in flight is confirmed; what got no answer goes to the next one, marked as a possible duplicate",
			r.Name, FailoverName, formatDuration(r.Sharing.FailoverAfter), formatDuration(r.Sharing.FailbackAfter))}}
	case Weighted, Affinity:
		return append([][2]string{{"distribute", r.shareText()}}, [2]string{"when_down", r.whenDownText()})
	}
	return [][2]string{{"distribute", "copy: every message to every target"}}
}

func (r *Route) shareText() string {
	var parts []string
	for _, to := range r.To {
		part := fmt.Sprintf("%s %d", to.Name, to.Weight)
		if len(r.groups()) > 1 {
			part += fmt.Sprintf(" (priority %d)", to.Priority)
		}
		parts = append(parts, part)
	}
	by := "weighted: each message to one target, in proportion"
	switch {
	case r.Sharing.Distribute == Affinity && r.Sharing.Affinity != nil:
		by = "affinity: messages with an equal value of " + oneLine(r.Sharing.Affinity.Source()) + " to the same target, values in proportion"
	case r.ByValue():
		by = "weighted: all messages of a key to the same target, keys in proportion"
	}
	text := by + " " + strings.Join(parts, ", ")
	if r.ByValue() && r.Sharing.WhenDown == Wait {
		text += "; with other weights or targets a value goes elsewhere only when its old lane has delivered all that it has"
	}
	return text
}

func (r *Route) whenDownText() string {
	if r.Sharing.WhenDown == Wait {
		return "wait: messages for a target that is down are kept for it"
	}
	group := "the others"
	if len(r.groups()) > 1 {
		group = "the others of the best group that is up"
	}
	return "move: while a target is down " + group + " get its messages, those too that wait in memory and have not been sent, out of their order; " +
		"what was sent without an answer, or is in the spool, stays with its lane. When all are down each keeps its own"
}

// explain says how a name is computed.
func (d *Dynamic) explain() string {
	if d.Allow != nil {
		return fmt.Sprintf("%s followed by %s, one of %s", d.Prefix, oneLine(d.Expr.Source()), list(d.Allow))
	}
	return fmt.Sprintf("%s followed by %s, at most %d different names", d.Prefix, oneLine(d.Expr.Source()), MaxNames)
}
