package faults

import (
	"fmt"
	"time"
)

// mostVoids is how often an event is tried that proves nothing, because this machine is too busy.
const mostVoids = 3

// A voidEvent ends one try of an event: the fault did not do its work. It says nothing of the daemon, so the event is
// repeated; a promise that was not kept is another matter.
type voidEvent string

// void ends the event that is under way.
func (s *storm) void(format string, args ...any) { panic(voidEvent(fmt.Sprintf(format, args...))) }

// doing lets e happen, once more where it was void.
func (s *storm) doing(e event) {
	s.t.Helper()
	for try := 1; ; try++ {
		why := s.tried(e)
		if why == "" {
			return
		}
		if try == mostVoids {
			s.t.Fatalf("%s: %s: %s, %d times\nlog:\n%s", void, e.kind, why, try, s.log)
		}
		s.voids++
		s.story = append(s.story, fmt.Sprintf("%7.2f s %s: %s: %s", time.Since(s.began).Seconds(), void, e.kind, why))
		s.t.Logf("%s, once more: %s: %s", void, e.kind, why)
		s.heal()
		s.kill() // it may still wait for a failpoint
	}
}

// tried says why e was void, nothing if it was not.
func (s *storm) tried(e event) (why voidEvent) {
	defer func() {
		if p := recover(); p != nil {
			v, ok := p.(voidEvent)
			if !ok {
				panic(p)
			}
			why = v
		}
	}()
	e.do(s)
	return ""
}

// ended is red: a daemon ended by itself.
func (s *storm) ended() {
	s.t.Helper()
	what := fmt.Sprintf("the daemon ended by itself, exit code %d", s.d.child.ExitCode())
	s.red = append(s.red, finding{stuck, what})
	s.t.Fatalf("%s\nlog:\n%s", what, s.log)
}
