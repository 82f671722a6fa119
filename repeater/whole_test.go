package repeater

import (
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestSettlesWhole: where a source settles all at once, nothing is settled before everything is ready, whatever became of it.
func TestSettlesWhole(t *testing.T) {
	for _, whole := range []bool{true, false} {
		s := newSession(nil, adapters.Limits{}, newDebt())
		s.settler = newWorker(func() bool { return true })
		s.whole = whole
		ps := []*parcel{{size: 1}, {size: 1}, {size: 1}}
		for _, p := range ps {
			s.took(p)
		}
		s.ready(ps[0], adapters.Accepted)
		s.ready(ps[1], adapters.Released)
		if done, over := s.takeDone(); (done == nil) != whole || over {
			t.Fatalf("whole %t: with one open %v, %t", whole, done, over)
		}
		s.ready(ps[2], adapters.Rejected)
		done, over := s.takeDone()
		if n := len(done[adapters.Accepted]) + len(done[adapters.Released]); over || len(done[adapters.Rejected]) != 1 || whole && n != 2 {
			t.Errorf("whole %t: with none open %v, %t", whole, done, over)
		}
	}
}
