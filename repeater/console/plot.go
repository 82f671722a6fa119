package console

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// The measures of a plot, in pixels.
const (
	plotWidth, plotHeight = 360, 110
	plotTop, plotBottom   = 18, 92
)

// A line of a plot.
type line struct {
	name   string
	values []float64
}

// plot draws lines over the time of looks, from 0 to the greatest value. unit is written behind numbers.
func plot(title, unit string, looks []look, lines ...line) template.HTML {
	top := 0.0
	for _, l := range lines {
		for _, v := range l.values {
			top = max(top, v)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<figure class="plot"><figcaption>%s</figcaption>`, html.EscapeString(title))
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, plotWidth, plotHeight, html.EscapeString(said(title, unit, lines)))
	fmt.Fprintf(&b, `<path class="axis" d="M0 %d H%d"/>`, plotBottom, plotWidth)
	if len(looks) < 2 {
		fmt.Fprintf(&b, `<text x="%d" y="60" text-anchor="middle">not enough is known yet</text>`, plotWidth/2)
	} else {
		for i, l := range lines {
			fmt.Fprintf(&b, `<polyline class="line%d" points="%s"/>`, i, points(l.values, top))
		}
		fmt.Fprintf(&b, `<text x="0" y="12">%s</text>`, html.EscapeString(short(top)+unit))
		fmt.Fprintf(&b, `<text x="0" y="106">%s ago</text><text x="%d" y="106" text-anchor="end">now</text>`,
			html.EscapeString(ago(looks[len(looks)-1].at.Sub(looks[0].at))), plotWidth)
		legend(&b, lines)
	}
	b.WriteString(`</svg></figure>`)
	return template.HTML(b.String()) //nolint:gosec // all that is not from here is escaped
}

// said is the plot in words: its last values.
func said(title, unit string, lines []line) string {
	var words []string
	for _, l := range lines {
		if n := len(l.values); n > 0 {
			words = append(words, strings.TrimSpace(l.name+" "+short(l.values[n-1])+unit))
		}
	}
	return title + ": now " + strings.Join(words, ", ")
}

func legend(b *strings.Builder, lines []line) {
	if len(lines) < 2 {
		return
	}
	x := plotWidth
	for i := len(lines) - 1; i >= 0; i-- {
		fmt.Fprintf(b, `<text class="line%d" x="%d" y="12" text-anchor="end">%s</text>`, i, x, html.EscapeString(lines[i].name))
		x -= 8*len(lines[i].name) + 12
	}
}

func points(values []float64, top float64) string {
	var b strings.Builder
	step := float64(plotWidth) / float64(max(1, len(values)-1))
	for i, v := range values {
		y := float64(plotBottom)
		if top > 0 {
			y -= v / top * (plotBottom - plotTop)
		}
		b.WriteString(strconv.FormatFloat(float64(i)*step, 'f', 1, 64) + "," + strconv.FormatFloat(y, 'f', 1, 64) + " ")
	}
	return strings.TrimSpace(b.String())
}

// valuesOf are the values of f over looks.
func valuesOf(looks []look, f func(look) float64) (vs []float64) {
	for _, l := range looks {
		vs = append(vs, f(l))
	}
	return vs
}

// ratesOf are what f counts, per second, between the looks.
func ratesOf(looks []look, f func(look) int64) (vs []float64) {
	for i := range looks {
		vs = append(vs, rate(looks[:i+1], f))
	}
	return vs
}

// plots are those of a route, or of all.
func plots(looks []look, one bool) []template.HTML {
	number := func(f func(look) int64) []float64 {
		return valuesOf(looks, func(l look) float64 { return float64(f(l)) })
	}
	ps := []template.HTML{
		plot("messages a second", "/s", looks, line{"in", ratesOf(looks, countIn)}, line{"out", ratesOf(looks, countOut)}),
		plot("in the spool", "", looks, line{"", number(func(l look) int64 { return l.backlog })}),
		plot("age of the oldest message", " s", looks, line{"", valuesOf(looks, func(l look) float64 { return l.oldest.Seconds() })}),
	}
	if !one {
		return ps
	}
	return append(ps,
		plot("in flight and waiting", "", looks, line{"in flight", number(func(l look) int64 { return l.inFlight })}, line{"waiting", number(func(l look) int64 { return l.waiting })}),
		plot("retries a second", "/s", looks, line{"", ratesOf(looks, func(l look) int64 { return l.retries })}),
		plot("dead letters kept here", "", looks, line{"", number(func(l look) int64 { return l.dead })}),
		plot("spool"+filling(looks), " B", looks, line{"", number(func(l look) int64 { return l.bytes })}))
}

func filling(looks []look) string {
	if left := untilFull(looks); left > 0 {
		return ", full in about " + ago(left) + " at this rate"
	}
	return ""
}

// ago writes a span of time in its greatest units.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}

// short writes a number in few characters: 12, 3.4k, 5.6M.
func short(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if v >= u.size {
			if u.size == 1e4 {
				u.size = 1e3
			}
			return strconv.FormatFloat(v/u.size, 'f', 1, 64) + u.name
		}
	}
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}
