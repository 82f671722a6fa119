package routes

import (
	"fmt"
	"path/filepath"
	"strings"
)

// fateLines tell what becomes of messages that cannot go their way.
func (t *Table) fateLines(r *Route, repeater string) [][2]string {
	aside := "set aside"
	if t.Spool == nil && r.DeadLetter == nil {
		aside = "given back to its source after a pause"
	}
	out := [][2]string{
		{"order", r.orderText()},
		{"max_attempts", plural(r.MaxAttempts, "refusal") + " by a target: then a message is poison; an outage, a full target or a missing right never counts"},
		{"on_poison", r.OnPoison.text(aside)},
		{"dead_letter", t.deadLetterText(r, repeater)},
	}
	if r.Filter != nil || len(r.Edits) > 0 {
		out = append(out, [2]string{"on_filter_error", r.OnFilterError.text(aside)})
	}
	out = append(out, t.matchLines(r, aside)...)
	return append(out, [2]string{"expired", r.Expired.text()})
}

// orderText names the lanes on which a strict order depends on nothing being refused.
func (r *Route) orderText() string {
	switch r.Order {
	case OrderNone:
		return "none: messages may arrive in any order"
	case OrderPerKey:
		return "per-key: within each key as the source hands them out; what a target refuses holds its key, and other keys pass"
	case OrderSource:
		return "source: as the source hands them out; only a message that a target refuses leaves its place"
	}
	text := "strict: as the source hands them out; nothing passes a message that a target refuses"
	var loose []string
	lanes := r.Lanes()
	for i := range lanes {
		if to := &lanes[i]; to.PassesRefused && r.Window(to) > 1 {
			loose = append(loose, to.Name)
		}
	}
	if len(loose) > 0 {
		text += fmt.Sprintf(", but to %s up to %d do: in_flight is written (D007)", strings.Join(loose, ", "), r.InFlight-1)
	}
	return text
}

// windowText names the lanes that have a window of their own.
func (r *Route) windowText() string {
	within := ", confirmed within " + formatDuration(r.ConfirmTimeout)
	var own []string
	lanes := r.Lanes()
	for i := range lanes {
		if w := r.Window(&lanes[i]); w != r.InFlight {
			own = append(own, fmt.Sprintf("to %s %d because of %s", lanes[i].Name, w, r.windowCause(w)))
		}
	}
	switch {
	case len(own) == 0:
		return plural(r.InFlight, "message") + within
	case len(own) == len(lanes) && r.sameWindow():
		w := r.Window(&lanes[0])
		return fmt.Sprintf("%s, because of %s%s", plural(w, "message"), r.windowCause(w), within)
	}
	return fmt.Sprintf("%s, %s%s", plural(r.InFlight, "message"), strings.Join(own, ", "), within)
}

func (r *Route) sameWindow() bool {
	lanes := r.Lanes()
	for i := range lanes {
		if r.Window(&lanes[i]) != r.Window(&lanes[0]) {
			return false
		}
	}
	return true
}

// windowCause is why a lane has w in place of in_flight.
func (r *Route) windowCause(w int) string {
	if w < r.InFlight {
		return "order: strict"
	}
	return "exactly-once: they go in one transaction"
}

func (p OnPoison) text(aside string) string {
	if p == PoisonHold {
		return "hold: the lane stops at a poison message and tries again every minute until the target takes it or posthouse resolve decides"
	}
	return "dead-letter: a poison message is " + aside + ", those behind it go on"
}

func (t *Table) deadLetterText(r *Route, repeater string) string {
	const promise = "; a message is let go only when its dead letter is durable"
	switch {
	case r.DeadLetter != nil:
		return fmt.Sprintf("%s (%s)%s", r.DeadLetter.Addr, r.DeadLetter.Addr.Form, promise)
	case t.Spool != nil:
		return "local, in " + filepath.Join(t.Spool.Dir, repeater) + promise
	}
	return "nowhere: the file has no spool, a refused message goes back to its source after a pause"
}

func (o OnFilterError) text(aside string) string {
	const which = "a message on which the filter, or an expression of set, fails is "
	switch o {
	case FilterErrorSkip:
		return "skip: " + which + "not taken, and counted"
	case FilterErrorMatch:
		return "match: " + which + "taken"
	case FilterErrorStop:
		return "stop: " + which + "given back, and the source is not read until the cause is mended and the route started again"
	}
	return "dead-letter: " + which + aside
}

func (e Expired) text() string {
	switch e {
	case ExpiredDeliver:
		return "deliver: a message whose expiry has passed is sent all the same"
	case ExpiredDeadLetter:
		return "dead-letter: a message whose expiry has passed is set aside"
	}
	return "drop: a message whose expiry has passed is not sent, and counted"
}
