package routes

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// ExplainRoute tells in a few lines what a route does, defaults included, when the daemon's name is repeater ("" = as the file says); ok is
// false when the file has no such route.
func (t *Table) ExplainRoute(name, repeater string) (text string, ok bool) {
	i := slices.IndexFunc(t.Routes, func(r *Route) bool { return r.Name == name })
	if i < 0 {
		return "", false
	}
	var b strings.Builder
	r := t.Routes[i]
	if repeater == "" {
		repeater = t.homeOf(r)
	}
	fmt.Fprintf(&b, "route %s (%s:%d)", r.Name, t.File, r.Line)
	if !r.Enabled {
		b.WriteString(", not enabled")
	}
	b.WriteString("\n")
	for _, l := range slices.Concat(r.wayLines(), t.networkLines(r), t.promiseLines(r), r.headerLines(), t.fateLines(r, repeater), r.limitLines(), t.spoolLines(r, repeater)) {
		fmt.Fprintf(&b, "  %-16s %s\n", l[0], l[1])
	}
	return b.String(), true
}

func (r *Route) wayLines() [][2]string {
	out := [][2]string{{"from", fmt.Sprintf("%s (%s)", r.From, r.From.Form)}}
	for _, to := range r.To {
		line := fmt.Sprintf("%s (%s), lane %s/%s", to.Addr, to.Addr.Form, r.Name, to.Name)
		if r.FailsOver() {
			line = fmt.Sprintf("%s (%s), %s", to.Addr, to.Addr.Form, to.Name)
		}
		if d := to.Dynamic; d != nil {
			line += ", " + d.explain()
		}
		if to.Key != nil {
			line += ", key " + oneLine(to.Key.Source())
		}
		out = append(out, [2]string{"to", line})
	}
	out = append(out, r.shareLines()...)
	if r.Filter != nil {
		out = append(out, [2]string{"filter", oneLine(r.Filter.String())})
	}
	for _, e := range r.Edits {
		if e.Value != nil {
			out = append(out, [2]string{"set", clip(e.Name) + " = " + oneLine(e.Value.Source())})
		} else {
			out = append(out, [2]string{"unset", clip(e.Name)})
		}
	}
	return out
}

// oneLine takes line breaks and runs of blanks out of an expression.
func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " ")) }

func (r *Route) limitLines() [][2]string {
	out := [][2]string{
		{"prefetch", fmt.Sprintf("%d messages, %s", r.Prefetch, formatSize(r.PrefetchSize))},
		{"in_flight", r.windowText()},
		{"max_message_size", formatSize(r.MaxMessageSize)},
		{"max_rate", rateText(r.MaxRate)},
		{"retry", r.Retry.explain()},
	}
	if r.RenamedFrom != "" {
		out = append(out, [2]string{"renamed_from", r.RenamedFrom + ": its spool is taken along"})
	}
	return out
}

func (t *Table) spoolLines(r *Route, repeater string) [][2]string {
	if t.Spool == nil {
		return [][2]string{{"spool", "never: the file has no spool, messages wait at their source"}}
	}
	s := r.Spool
	out := [][2]string{{"spool", r.modeText()}}
	if s.Mode == SpoolNever {
		return out
	}
	return append(out,
		[2]string{"  dir", filepath.Join(t.Spool.Dir, repeater)},
		[2]string{"  max_size", limitText(s.MaxSize, "each lane") + "; " + limitText(t.Spool.MaxSize, "the whole spool")},
		[2]string{"  max_age", ageLimit(s)},
		[2]string{"  when_full", string(s.WhenFull)},
		[2]string{"  sync", t.Spool.Sync.text()},
		[2]string{"  drain_rate", rateText(r.drains())})
}

func (r *Route) modeText() string {
	switch r.Spool.Mode {
	case SpoolAlways:
		if r.Delivery == ExactlyOnce {
			return "always: every message is spooled before it is sent; exactly-once needs its record"
		}
		return "always: every message is spooled before it is sent"
	case SpoolNever:
		return "never: messages wait at their source"
	}
	return fmt.Sprintf("auto: while the target is away, or slower than the source for %s", formatDuration(r.Spool.SlowAfter))
}

func limitText(n int64, of string) string {
	if n == 0 {
		return of + " without limit"
	}
	return of + " " + formatSize(n)
}

func ageLimit(s RouteSpool) string {
	if s.MaxAge == 0 {
		return "none: nothing is given up because time passed"
	}
	return formatDuration(s.MaxAge)
}

// drains is the rate out of the spool: the lower of the two that hold, 0 for none.
func (r *Route) drains() int {
	if r.DrainRate == 0 || r.MaxRate == 0 {
		return max(r.DrainRate, r.MaxRate)
	}
	return min(r.DrainRate, r.MaxRate)
}

func rateText(n int) string {
	if n == 0 {
		return "as fast as the target takes them"
	}
	return fmt.Sprintf("%d messages a second", n)
}

// text says when what is spooled reaches the disk.
func (s Sync) text() string {
	switch {
	case s.Never:
		return "never: left to the system, a power cut loses messages"
	case s.Every > 0:
		return fmt.Sprintf("within %s, before a message is settled at its source", formatDuration(s.Every))
	}
	return "always, before a message is settled at its source"
}

func (r Retry) explain() string {
	growth := fmt.Sprintf("each pause %v times the last, to", r.Factor)
	switch r.Factor {
	case 1:
		return "after " + formatDuration(r.Delay) + " each time"
	case 2:
		growth = "doubling to"
	}
	return fmt.Sprintf("after %s, %s %s", formatDuration(r.Delay), growth, formatDuration(r.MaxDelay))
}
