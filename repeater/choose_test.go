package repeater

import (
	"fmt"
	"math"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// chooserOf makes a route whose targets have these weights and, where given, priorities.
func chooserOf(s routes.Sharing, weights []int, priorities ...int) *routeRun {
	r := &routeRun{route: &routes.Route{Name: "r", Sharing: s}, chooser: newChooser()}
	for i, w := range weights {
		to := routes.Target{Name: fmt.Sprint("t", i), Weight: w}
		if len(priorities) > 0 {
			to.Priority = priorities[i]
		}
		r.route.To = append(r.route.To, to)
		r.lanes = append(r.lanes, &lane{of: r, reach: &reach{target: to}})
	}
	return r
}

// After every sum of weights each target has exactly its weight, and at no moment is it a message further from its share
// than there are other targets.
func TestWeightedIsExact(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {3, 1}, {5, 1, 1}, {100, 7, 0, 13}, {0, 1}} {
		r := chooserOf(routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}, weights)
		sum, got := 0, map[*lane]int{}
		for _, w := range weights {
			sum += w
		}
		for n := 1; n <= 3*sum; n++ {
			ls, err := r.choose(&parcel{f: &flow{unsettled: &unsettled{}}}, &adapters.Message{})
			if err != nil || len(ls) != 1 {
				t.Fatalf("%v: %d lanes, %v", weights, len(ls), err)
			}
			got[ls[0]]++
			for i, l := range r.lanes {
				share := float64(n*weights[i]) / float64(sum)
				if off := math.Abs(float64(got[l]) - share); off >= float64(len(weights)) || n%sum == 0 && off != 0 {
					t.Fatalf("%v: target %d has %d of %d messages, its share is %v", weights, i, got[l], n, share)
				}
			}
		}
	}
}

// The weights hold over values, a value always has the same target, and a target that comes or goes moves no value but
// its own.
func TestRendezvousIsEvenAndStays(t *testing.T) {
	s := routes.Sharing{Distribute: routes.Affinity, WhenDown: routes.Wait}
	const values = 20_000
	three, two := chooserOf(s, []int{1, 2, 5}), chooserOf(s, []int{1, 2})
	count := map[string]int{}
	for i := range values {
		v := fmt.Sprint("value ", i)
		l := three.pick(v, nil)
		count[l.target.Name]++
		if again := three.pick(v, nil); again != l {
			t.Fatalf("%s: %s, then %s", v, l.target.Name, again.target.Name)
		}
		if o := two.pick(v, nil); l.target.Name != "t2" && o.target.Name != l.target.Name {
			t.Fatalf("%s: %s of three, %s of two", v, l.target.Name, o.target.Name)
		}
	}
	for i, w := range []float64{1, 2, 5} {
		if part := float64(count[fmt.Sprint("t", i)]) / values; math.Abs(part-w/8) > 0.015 {
			t.Errorf("target %d of weight %v has %.3f of the values", i, w, part)
		}
	}
	// Whoever changes the hash moves keys that have messages in somebody's spool.
	for v, want := range map[string]string{"": "t2", "a": "t1", "account-7": "t2", "\x00": "t1"} {
		if got := three.pick(v, nil).target.Name; got != want {
			t.Errorf("%q goes to %s, and went to %s", v, got, want)
		}
	}
}

// Of the groups only the best one gets messages of which a target is up; with none up, the best one.
func TestPriorityGroups(t *testing.T) {
	r := chooserOf(routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Move}, []int{1, 1, 1, 0}, 2, 1, 1, 0)
	got := func() string {
		seen := map[string]bool{}
		for range 10 {
			seen[r.pick("", nil).target.Name] = true
		}
		return fmt.Sprint(seen)
	}
	for _, step := range []struct {
		away []int
		want string
	}{{nil, "map[t1:true t2:true]"}, {[]int{1}, "map[t2:true]"}, {[]int{1, 2}, "map[t0:true]"}, {[]int{0, 1, 2}, "map[t1:true t2:true]"}, {[]int{3}, "map[t1:true t2:true]"}} {
		for i, l := range r.lanes {
			l.away.Store(false)
			for _, a := range step.away {
				if a == i {
					l.away.Store(true)
				}
			}
		}
		if g := got(); g != step.want {
			t.Errorf("down %v: %s, want %s", step.away, g, step.want)
		}
	}
	r.route.Sharing.WhenDown = routes.Wait
	r.lanes[1].away.Store(true)
	if g := got(); g != "map[t1:true t2:true]" {
		t.Errorf("with wait: %s", g)
	}
}
