package picture

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/posthouse/posthouse/routes"
)

// Dot is the graph for Graphviz: https://graphviz.org/doc/info/lang.html.
func (g Graph) Dot() string {
	var b strings.Builder
	b.WriteString("digraph posthouse {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n")
	for _, n := range g.Brokers {
		fmt.Fprintf(&b, "  %s [label=%s];\n", dotText(n.Name), dotText(n.Name+"\n"+n.title()))
	}
	for _, l := range g.links() {
		style := ""
		if l.generated {
			style = ", style=dashed"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%s%s];\n", dotText(g.Brokers[l.from].Name), dotText(g.Brokers[l.to].Name), dotText(strings.Join(l.label(), "\n")), style)
	}
	b.WriteString("}\n")
	return b.String()
}

// dotText is a quoted text; in it only quotes, backslashes and line breaks mean something.
func dotText(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(line))
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}

// Mermaid is the graph as a flow chart: https://mermaid.js.org/syntax/flowchart.html.
func (g Graph) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, n := range g.Brokers {
		fmt.Fprintf(&b, "  b%d[\"%s<br/>%s\"]\n", i, mermaidText(n.Name), mermaidText(n.title()))
	}
	for _, l := range g.links() {
		arrow := "-->"
		if l.generated {
			arrow = "-.->"
		}
		var names []string
		for _, name := range l.label() {
			names = append(names, mermaidText(name))
		}
		fmt.Fprintf(&b, "  b%d %s|\"%s\"| b%d\n", l.from, arrow, strings.Join(names, "<br/>"), l.to)
	}
	return b.String()
}

// mermaidText is a text within quotes: entities take the place of what means something there.
func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;").Replace(clean(s))
}

// The measures of the picture, in pixels.
const (
	boxWidth, boxHeight = 170, 46
	picturePad          = 30
	lineHeight          = 14
	mostLetters         = 40 // of a name beside an arrow
)

// A point is a place in the picture.
type point struct{ x, y float64 }

// places puts a hub into the middle and its spokes around it, a bus on a line, and everything else on a circle. Brokers that
// take no part in the topology stand on a line below.
func (g Graph) places() []point {
	n := g.members
	if n == 0 {
		n = len(g.Brokers)
	}
	out := make([]point, len(g.Brokers))
	round := n
	if g.Kind == routes.HubAndSpoke {
		round--
	}
	radius := math.Max(190, float64(round)*70)
	low := radius
	for i := range n {
		switch {
		case g.Kind == routes.Bus:
			out[i], low = point{float64(i) * 330, 0}, 0
		case g.Kind == routes.HubAndSpoke && i == 0 || n == 1:
		default:
			k := i - (n - round)
			angle := 2*math.Pi*float64(k)/float64(max(round, 1)) - math.Pi/2
			out[i] = point{radius * 1.5 * math.Cos(angle), radius * math.Sin(angle)}
		}
	}
	for i := n; i < len(out); i++ {
		out[i] = point{float64(i-n) * 230, low + 170}
	}
	return out
}

// A Look is how a link is drawn.
type Look struct {
	Color string  // as CSS has it; empty = dark blue
	Width float64 // in pixels; 0 = 1
	Title string  // instead of the names of the routes
}

// SVG draws the graph; look says how each link looks, nil = all alike. What is not between two brokers of the picture does not exist, so nothing is left out but names
// of routes, which stand in the titles of the arrows.
func (g Graph) SVG(look func(Link) Look) string {
	b, tip := &strings.Builder{}, "context-stroke" // as the line of the arrow, which not every program can
	if look == nil {
		look, tip = func(Link) Look { return Look{} }, "#345"
	}
	at := g.places()
	low, high := bounds(at)
	side := g.side()
	w, h := high.x-low.x+boxWidth+2*side, high.y-low.y+boxHeight+2*picturePad
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="%s %s %s %s" font-family="sans-serif" font-size="12">`+"\n", px(w), px(h),
		px(low.x-boxWidth/2-side), px(low.y-boxHeight/2-picturePad), px(w), px(h))
	fmt.Fprintf(b, `<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="%s"/></marker></defs>`+"\n", tip)
	for _, l := range g.links() {
		svgLink(b, l, look(l), at[l.from], at[l.to])
	}
	for i, n := range g.Brokers {
		svgBox(b, n, at[i], g.Kind == routes.HubAndSpoke && i == 0)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// side is the room at the left and the right, where names may stand beside an arrow.
func (g Graph) side() float64 {
	longest := 0
	for _, l := range g.links() {
		for _, name := range l.label() {
			longest = max(longest, min(len(name), mostLetters))
		}
	}
	return math.Max(picturePad, float64(longest)*6-boxWidth/3)
}

func bounds(ps []point) (low, high point) {
	for i, p := range ps {
		if i == 0 {
			low, high = p, p
		}
		low = point{math.Min(low.x, p.x), math.Min(low.y, p.y)}
		high = point{math.Max(high.x, p.x), math.Max(high.y, p.y)}
	}
	return low, high
}

func svgBox(b *strings.Builder, n Broker, p point, hub bool) {
	fill := "#eef3f8"
	if hub {
		fill = "#d5e4f2"
	}
	fmt.Fprintf(b, `<rect x="%s" y="%s" width="%d" height="%d" rx="6" fill="%s" stroke="#345"/>`+"\n", px(p.x-boxWidth/2), px(p.y-boxHeight/2), boxWidth, boxHeight, fill)
	fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="middle" font-weight="bold">%s</text>`+"\n", px(p.x), px(p.y-3), svgText(cut(n.Name, 24)))
	fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="middle" fill="#567">%s</text>`+"\n", px(p.x), px(p.y+13), svgText(cut(n.title(), 28)))
}

// svgLink draws an arrow that bends to its right, so that two that go there and back are apart, with the names beside it.
func svgLink(b *strings.Builder, l Link, look Look, from, to point) {
	title := look.Title
	if title == "" {
		title = l.From + " -> " + l.To + ": " + strings.Join(l.Routes, ", ")
	}
	arrow := func(format string, args ...any) {
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s"%s%s marker-end="url(#arrow)"><title>%s</title></path>`+"\n",
			fmt.Sprintf(format, args...), svgText(cmp.Or(look.Color, "#345")), thick(look.Width), dashed(l), svgText(title))
	}
	if l.from == l.to {
		x, y := from.x+boxWidth/2, from.y
		arrow("M%s %s c 40 -30 40 30 0 10", px(x), px(y-5))
		svgNames(b, l.label(), point{x + 30, y - 14}, "start")
		return
	}
	dx, dy := to.x-from.x, to.y-from.y
	length := math.Hypot(dx, dy)
	mid := point{(from.x+to.x)/2 - dy/length*26, (from.y+to.y)/2 + dx/length*26}
	a, z := edgeOf(from, mid), edgeOf(to, mid)
	arrow("M%s %s Q%s %s %s %s", px(a.x), px(a.y), px(mid.x), px(mid.y), px(z.x), px(z.y))
	anchor := "middle"
	if math.Abs(dy) > math.Abs(dx) {
		anchor = map[bool]string{true: "end", false: "start"}[dy > 0]
	}
	svgNames(b, l.label(), mid, anchor)
}

func thick(width float64) string {
	if width == 0 {
		return ""
	}
	return ` stroke-width="` + px(width) + `"`
}

// dashed marks what a topology has generated.
func dashed(l Link) string {
	if !l.generated {
		return ""
	}
	return ` stroke-dasharray="6 3"`
}

func svgNames(b *strings.Builder, names []string, at point, anchor string) {
	for i, name := range names {
		fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="%s" font-size="10" fill="#345">%s</text>`+"\n", px(at.x), px(at.y+float64(i*lineHeight)), anchor, svgText(cut(name, mostLetters)))
	}
}

// edgeOf is where the line from the middle of a box towards p leaves the box.
func edgeOf(box, p point) point {
	dx, dy := p.x-box.x, p.y-box.y
	scale := math.Min(boxWidth/2/math.Max(math.Abs(dx), 1e-9), boxHeight/2/math.Max(math.Abs(dy), 1e-9))
	return point{box.x + dx*scale, box.y + dy*scale}
}

func svgText(s string) string { return html.EscapeString(clean(s)) }

// px writes a measure with one digit behind the point at most.
func px(x float64) string { return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64) }

// clean takes out control characters and what turns the direction of a text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

// cut shortens s to width characters; the last says that there is more.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:max(width-1, 0)]) + "~"
	}
	return s
}
