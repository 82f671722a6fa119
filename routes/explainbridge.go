package routes

import (
	"fmt"
	"slices"
	"strings"
)

// ExplainBridge tells what a bridge does, whether it has to remember its requests, and what it promises; ok is false when
// the file has no such bridge.
func (t *Table) ExplainBridge(name string) (text string, ok bool) {
	i := slices.IndexFunc(t.Bridges, func(b *Bridge) bool { return b.Name == name })
	if i < 0 {
		return "", false
	}
	br := t.Bridges[i]
	var b strings.Builder
	fmt.Fprintf(&b, "bridge %s (%s:%d)\n", br.Name, t.File, br.Line)
	lines := [][2]string{{"requests", t.halfText(br.Request)}, {"replies", t.halfText(br.Reply)}, {"reply address", br.addressText()}, {"replies go to", br.placesText()}}
	for _, l := range append(lines, br.tableLines()...) {
		fmt.Fprintf(&b, "  %-16s %s\n", l[0], l[1])
	}
	return b.String(), true
}

// halfText is the way of one of the two routes.
func (t *Table) halfText(name string) string {
	i := slices.IndexFunc(t.Routes, func(r *Route) bool { return r.Name == name })
	r := t.Routes[i]
	return fmt.Sprintf("%s -> %s, route %s", r.From, r.To[0].Addr, name)
}

func (b *Bridge) addressText() string {
	if b.Mode == ReplyKeep {
		return "keep: as the request names it"
	}
	return fmt.Sprintf("%s: responders see %q", b.Mode, b.ReplyFrom.Name)
}

func (b *Bridge) placesText() string {
	var ways []string
	if b.Fixed.Name != "" {
		ways = append(ways, fmt.Sprintf("%q, also for a request that names nothing", b.Fixed.Name))
	}
	for _, a := range b.Allow {
		ways = append(ways, fmt.Sprintf("%q", a))
	}
	if b.Temporary {
		ways = append(ways, "temporary destinations")
	}
	text := strings.Join(ways, "; ")
	if b.Table() {
		text += "; a request that names another address is a dead letter (target-not-allowed)"
	}
	return text
}

// tableLines tell what is remembered, for how long, and what is promised.
func (b *Bridge) tableLines() [][2]string {
	if !b.Table() {
		return [][2]string{
			{"table", "not needed: the way of a reply follows from the file alone; ids stay as they are"},
			{"timeout", formatDuration(b.Timeout) + ": then a request expires, if not before; nobody counts its reply as late"},
			{"promise", "that of the two routes: posthouse explain " + b.Request + ", " + b.Reply},
		}
	}
	return [][2]string{
		{"table", "needed: requests go out with ids of their own; what they were, and where the reply goes, is synced to the spool before the request is settled"},
		{"correlate", b.Correlate.text()},
		{"timeout", formatDuration(b.Timeout) + ": then a request expires, if not before, and its reply is late: " + string(b.Late)},
		{"max_outstanding", plural(b.MaxOutstanding, "request") + " without a reply; more wait at their source"},
		{"replies", b.manyText()},
		{"promise", "no reply that comes in time is lost, also if Posthouse dies between request and reply, and none goes to another requester; a request or a reply may come twice as its route says: posthouse explain " + b.Request + ", " + b.Reply},
	}
}

func (b *Bridge) manyText() string {
	if b.Many {
		return "many: all that come in time are delivered"
	}
	return "one: another is a dead letter (late-reply), and so is one that nobody asked for"
}

func (c Correlate) text() string {
	switch c {
	case CorrelateMessage:
		return "message-id: a reply has the message id of its request as correlation id"
	case CorrelateCorrelation:
		return "correlation-id: a reply has the correlation id of its request, or its message id if it had none"
	}
	return "auto: a reply has the message id or the correlation id of its request, whichever the responder took over"
}
