package routes

import (
	"fmt"
	"slices"
	"strings"
)

// Sources lists the sources of the enabled routes as BROKER/NAME.
func (t *Table) Sources() (names []string) {
	for _, rs := range t.Flows() {
		if n := rs[0].From.String(); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Summary is the trace in one line: the routes that take the message, and where it comes to rest.
func (t Trace) Summary() string {
	if takers := t.takers(); len(takers) > 0 {
		return fmt.Sprintf("taken by %s; it ends at %s", strings.Join(takers, ", "), sorted(t.ends()))
	}
	return "no route takes it"
}

// Text is the trace as people read it.
func (t Trace) Text() string {
	var b strings.Builder
	for _, a := range t.Sources {
		a.text(&b, "")
	}
	if t.Cut {
		b.WriteString("... the way goes on: what is behind this is not shown\n")
	}
	return b.String()
}

func (a Arrival) text(b *strings.Builder, in string) {
	fmt.Fprintf(b, "%sat %s\n", in, a.At)
	for _, s := range a.Routes {
		s.text(b, in+"  ")
	}
	if a.Unrouted != "" {
		fmt.Fprintf(b, "%s  no route takes it: %s\n", in, map[Unrouted]string{UnroutedDeadLetter: "dead letter, reason unroutable",
			UnroutedLeave: "it goes back to the source after a pause", UnroutedSkip: "it is settled and counted as filtered"}[a.Unrouted])
	}
}

func (s RouteSay) text(b *strings.Builder, in string) {
	says := map[string]string{SayTakes: "takes it", SayNo: "no", SayPreceded: "not asked: another route takes it", SaySkips: "skips it: on_filter_error",
		SayStops: "stops at it: on_filter_error", SayEcho: "leaves it out: an echo, it has been at the target already", SayDead: "dead letter, reason " + s.Reason, SayLoop: "dead letter, reason loop: it has been on this route before, or on too many"}[s.Says]
	by := ""
	if s.By != "" {
		by = " (" + s.By + ")"
	}
	fmt.Fprintf(b, "%sroute %s%s: %s\n", in, s.Route, by, says)
	if s.Error != "" && (s.Filter == nil || s.Filter.Says != SaysFail) { // else its term says it
		fmt.Fprintf(b, "%s  error      %s\n", in, clip(s.Error))
	}
	if s.Filter != nil {
		s.Filter.text(b, in+"  ", "filter")
	}
	for _, h := range s.Set {
		fmt.Fprintf(b, "%s  set        %s = %s\n", in, clip(h.Name), h.Value)
	}
	for _, n := range s.Unset {
		fmt.Fprintf(b, "%s  unset      %s\n", in, clip(n))
	}
	for _, t := range s.Targets {
		t.text(b, in+"  ")
	}
}

func (t Term) text(b *strings.Builder, in, word string) {
	fmt.Fprintf(b, "%s%-10s %-9s  %s\n", in, word, t.Says, clip(t.Source))
	for _, l := range t.Seen {
		value := l.Value
		if l.Error != "" {
			value = "cannot be read: " + l.Error
		}
		fmt.Fprintf(b, "%s%-21s  %s = %s\n", in, "", clip(l.Name), clip(value))
	}
	if t.Error != "" {
		fmt.Fprintf(b, "%s%-21s  %s\n", in, "", clip(t.Error))
	}
	for _, sub := range t.Terms {
		sub.text(b, in+"  ", t.Op)
	}
}

func (s Sent) text(b *strings.Builder, in string) {
	line := fmt.Sprintf("%sto         %s, lane %s", in, s.Target, s.Lane)
	if s.Share != "" {
		line += ", " + s.Share
	}
	if s.Key != nil {
		line += ", key " + *s.Key
	}
	if s.Note != "" {
		line += ": " + clip(s.Note)
	}
	if s.Reason != "" {
		line += ": dead letter, reason " + s.Reason
	}
	if s.Error != "" {
		line += ": not sent: " + clip(s.Error)
	}
	b.WriteString(line + "\n")
	for _, a := range s.Next {
		a.text(b, in+"  ")
	}
}

// Text is the term, with its parts, as people read it.
func (t Term) Text() string {
	var b strings.Builder
	for _, sub := range t.Terms {
		sub.text(&b, "  ", t.Op)
	}
	if len(t.Terms) == 0 {
		t.text(&b, "  ", "term")
	}
	return b.String()
}
