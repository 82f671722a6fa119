package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A change is a topology with something else in it, and at how many places a daemon that takes it may die: for each part that
// is exchanged, and at the end.
type change struct {
	text   string
	places int
}

// changes are how a topology changes in the middle of a round. Each is made of the first text, so the next one takes it back.
var changes = []func(s *storm, n int) change{
	func(s *storm, n int) change { // every route
		parts := len(s.lanes) + 1
		if s.asking != nil {
			parts++
		}
		return change{strings.Replace(s.text, fmt.Sprintf(", in_flight: %d,", s.g.window), fmt.Sprintf(", in_flight: %d,", s.window(n)), 1), parts}
	},
	func(s *storm, n int) change { return change{s.with(n, fmt.Sprintf(" in_flight: %d,", s.window(n))), 2} },
	func(s *storm, n int) change { // its mode too, where it has one
		text := s.with(n, fmt.Sprintf(" in_flight: %d,", s.window(n)))
		l := s.lanes[n%len(s.lanes)]
		return change{inRoute(text, l.name, "mode: auto", "mode: always"), 2}
	},
	func(s *storm, n int) change { // the bridge
		if s.asking == nil {
			return change{s.with(n, fmt.Sprintf(" prefetch: %d,", s.window(n))), 2}
		}
		return change{strings.Replace(s.text, "timeout: 30m", fmt.Sprintf("timeout: 30m\n    max_outstanding: %d", 5000+n), 1), 2}
	},
}

// window is a little less than that of the ground, and different for n that follow each other.
func (s *storm) window(n int) int { return s.g.window - 1 - n%50 }

// with is the topology with another key in the n-th of the routes.
func (s *storm) with(n int, key string) string {
	l := s.lanes[n%len(s.lanes)]
	return strings.Replace(s.text, "{ name: "+l.name+",", "{ name: "+l.name+","+key, 1)
}

// without is the topology without the n-th of the routes.
func (s *storm) without(n int) string {
	lines := strings.SplitAfter(s.text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
		return strings.Contains(line, "{ name: "+s.lanes[n%len(s.lanes)].name+",")
	}), "")
}

// inRoute replaces old in the line of a route.
func inRoute(text, route, old, new string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(text, "\n") {
		if strings.Contains(line, "{ name: "+route+",") {
			line = strings.Replace(line, old, new, 1)
		}
		b.WriteString(line)
	}
	return b.String()
}

// write puts a text in the place of the file at once, as an operator would.
func (s *storm) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		s.t.Fatal(err)
	}
}

// next is the next change.
func (s *storm) next() change {
	s.changed++
	return changes[s.rng.IntN(len(changes))](s, s.changed)
}

// reloadKilled kills a daemon while it takes a changed file. The next one runs what is in the file.
func (s *storm) reloadKilled(e event) {
	s.t.Helper()
	c := s.next()
	s.kill()
	before := s.log.hit("C16")
	s.launch(fmt.Sprintf("POSTHOUSE_FAILPOINT=C16:%d", 1+e.n%c.places))
	s.running()
	<-time.After(e.pass)
	s.write(c.text)
	s.d.child.SignalGroup(syscall.SIGHUP)
	select {
	case <-s.d.child.Done():
	case <-time.After(patience):
		s.void("the daemon has not come to C16 (%d of %d)", 1+e.n%c.places, c.places)
	}
	if s.log.hit("C16") != before+1 {
		s.ended()
	}
	s.died()
}

// reloads lets a daemon take one changed file after the other under load. In between a route goes and comes back.
func (s *storm) reloads(e event) {
	s.t.Helper()
	s.running()
	for i := range 4 {
		text := s.next().text
		if i == 2 {
			text = s.without(e.n)
		}
		s.reload(text)
	}
	s.progress()
}

// reload lets the daemon take a text, and waits until it runs.
func (s *storm) reload(text string) {
	s.t.Helper()
	var before uint64
	s.wait(stuck, "the daemon answers", func(st status) bool {
		before = st.Config.Generation
		return before > 0
	})
	s.write(text)
	s.d.child.SignalGroup(syscall.SIGHUP)
	s.wait(stuck, "the changed file runs", func(st status) bool {
		if c := st.Config; c.Last != nil && !c.Last.OK && c.Generation == before && c.Differs {
			s.t.Fatalf("the daemon has refused the file: %s\n%s", c.Last.Error, text)
		}
		return st.Config.Generation > before
	})
	s.faults["reloads"]++
}
