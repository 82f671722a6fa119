package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// A step is one route × one target, as an edge of the graph in which a circle is looked for: a message that is written to
// its target can come to the source of every step behind it.
type step struct {
	route *Route
	to    adapters.Address
	next  []int
}

// A Circle is a way on which a message would come back to where it has been.
type Circle struct {
	Routes []*Route // in the order of the way; the first is the one that stands last in the file
	Text   string   // the places: "a/q -> b/q -> a/q"
}

// steps makes the graph of the enabled routes, those that may close a circle only with leave.
func (h homes) steps(rs []*Route, leave bool) []step {
	var out []step
	for _, r := range rs {
		for _, t := range r.To {
			if r.Enabled && (leave || !r.LoopOK) && r.From.Broker != "" && t.Addr.Broker != "" {
				out = append(out, step{route: r, to: t.Addr})
			}
		}
	}
	by := h.sinks(out)
	for i := range out {
		out[i].next = by.of(out[i].to)
	}
	return out
}

// sinks finds the steps that read what is written to an address: by the place itself, and for JetStream by the stream
// that a target makes, and by the subjects of a broker's sources.
type sinks struct {
	homes
	steps    []step
	places   map[spot][]int
	exact    map[spot][]int   // sources that read one subject, by that
	subjects map[string][]int // by broker: sources that read all subjects of a pattern
}

func (h homes) sinks(steps []step) sinks {
	r := sinks{homes: h, steps: steps, places: map[spot][]int{}, exact: map[spot][]int{}, subjects: map[string][]int{}}
	for i := range steps {
		from := steps[i].route.From
		at := h.spotOf(from)
		r.places[at] = append(r.places[at], i)
		switch subject := from.Options.String("subject", ""); {
		case from.Form != adapters.Stream || subject == "":
		case strings.ContainsAny(subject, "*>"):
			r.subjects[at.broker] = append(r.subjects[at.broker], i)
		default: // in a file of ten thousand routes most do, and are not compared with each other
			at = spot{at.broker, adapters.Subject, subject}
			r.exact[at] = append(r.exact[at], i)
		}
	}
	return r
}

func (r sinks) of(to adapters.Address) []int {
	at := r.spotOf(to)
	out := slices.Clone(r.places[at])
	if stream := to.Options.String("stream", ""); stream != "" {
		out = append(out, r.places[spot{at.broker, adapters.Stream, stream}]...)
	}
	if to.Form == adapters.Subject {
		out = append(out, r.exact[at]...)
		for _, i := range r.subjects[at.broker] {
			if covers(r.steps[i].route.From.Options.String("subject", ""), to.Name) {
				out = append(out, i)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// circles finds one circle for each group of steps that are on circles together. Routes of one entry of the topology know
// their echoes, so a circle of these alone is none.
func (h homes) circles(rs []*Route) []Circle {
	steps := h.steps(rs, false)
	var out []Circle
	for _, group := range components(steps) {
		if way := shortest(steps, group); way != nil {
			out = append(out, circleOf(steps, way))
		}
	}
	return out
}

// entry is equal for steps that know one another's echoes; "" for those of written routes.
func (s *step) entry() string {
	if s.route.Repeat == nil {
		return ""
	}
	return s.route.Repeat.Name
}

// shortest is the shortest closed way within a group of steps that is not of one entry alone; nil if there is none.
func shortest(steps []step, group []int) (best []int) {
	in := map[int]bool{}
	for _, i := range group {
		in[i] = true
	}
	for _, i := range group {
		if way := back(steps, in, i); way != nil && (best == nil || len(way) < len(best)) {
			best = way
		}
		if len(best) == 1 || len(best) > 0 && len(group) > 100 {
			break // short enough to be told, and a large group costs its square
		}
	}
	return best
}

// A stand is how far a search has come: at a step, with or without a step of another entry behind it.
type stand struct {
	step  int
	mixed bool
}

// back is the shortest way from step i to step i again, breadth first.
func back(steps []step, in map[int]bool, i int) []int {
	begin := stand{i, steps[i].entry() == ""}
	before, queue := map[stand]stand{}, []stand{begin}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, n := range steps[at.step].next {
			if n == i && at.mixed {
				return trail(before, at, begin)
			}
			to := stand{n, at.mixed || steps[n].entry() != steps[i].entry()}
			if _, seen := before[to]; !seen && in[n] && to != begin {
				before[to] = at
				queue = append(queue, to)
			}
		}
	}
	return nil
}

func trail(before map[stand]stand, at, begin stand) []int {
	way := []int{at.step}
	for at != begin {
		at = before[at]
		way = append(way, at.step)
	}
	slices.Reverse(way)
	return way
}

// circleOf turns a way so that the route that stands last in the file is first: what was added last closed it.
func circleOf(steps []step, way []int) Circle {
	last := 0
	for k, i := range way {
		if steps[i].route.Line > steps[way[last]].route.Line {
			last = k
		}
	}
	way = slices.Concat(way[last:], way[:last])
	var c Circle
	places := []string{steps[way[0]].route.From.String()}
	for _, i := range way {
		c.Routes = append(c.Routes, steps[i].route)
		places = append(places, steps[i].to.String())
	}
	c.Text = strings.Join(places, " -> ")
	return c
}

// components are the groups of steps that can reach one another, by Tarjan's algorithm without recursion: those of several
// steps, and those that reach themselves.
func components(steps []step) (out [][]int) {
	index, low := make([]int, len(steps)), make([]int, len(steps))
	on := make([]bool, len(steps))
	var stack []int
	count := 0
	type frame struct{ at, child int }
	for start := range steps {
		if index[start] != 0 {
			continue
		}
		for frames := []frame{{start, 0}}; len(frames) > 0; {
			f := &frames[len(frames)-1]
			if f.child == 0 {
				count++
				index[f.at], low[f.at], on[f.at] = count, count, true
				stack = append(stack, f.at)
			}
			if next := steps[f.at].next; f.child < len(next) {
				n := next[f.child]
				f.child++
				switch {
				case index[n] == 0:
					frames = append(frames, frame{n, 0})
				case on[n]:
					low[f.at] = min(low[f.at], index[n])
				}
				continue
			}
			at := f.at
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				parent := frames[len(frames)-1].at
				low[parent] = min(low[parent], low[at])
			}
			if low[at] == index[at] {
				k := slices.Index(stack, at)
				group := slices.Clone(stack[k:])
				stack = stack[:k]
				for _, i := range group {
					on[i] = false
				}
				if len(group) > 1 || slices.Contains(steps[at].next, at) {
					slices.Sort(group)
					out = append(out, group)
				}
			}
		}
	}
	return out
}

// markCircles notes which routes are on a circle that one of them closes with leave.
func (h homes) markCircles(rs []*Route) {
	if !slices.ContainsFunc(rs, func(r *Route) bool { return r.LoopOK }) {
		return
	}
	steps := h.steps(rs, true)
	for _, group := range components(steps) {
		leave := slices.ContainsFunc(group, func(i int) bool { return steps[i].route.LoopOK })
		for _, i := range group {
			steps[i].route.InCircle = leave
		}
	}
}

// checkLoops reports the circles that the file shows. A route that feeds itself has been reported (R006).
func (b *builder) checkLoops(t *Table) {
	b.homes.markCircles(t.Routes)
	for _, c := range b.homes.circles(t.Routes) {
		if len(c.Routes) == 1 && c.Routes[0].Repeat == nil {
			continue
		}
		at := b.origins[c.Routes[0]].get("name")
		if at == nil {
			continue
		}
		var names []string
		for _, r := range c.Routes {
			names = append(names, fmt.Sprintf("%s (line %d)", r.Name, r.Line))
		}
		b.at(at.node, at.path, Finding{Code: "R004", Message: "messages would go round in a circle: " + c.Text, Label: "closes it",
			Help: "break it, or write loop_ok: true in the route that may close it", Note: "by the routes " + strings.Join(names, ", ")})
	}
}
