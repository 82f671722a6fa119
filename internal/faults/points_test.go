package faults

import (
	"fmt"
	"strings"
	"testing"
)

// visitsDue is how often the tests come to each crash point at least.
const visitsDue = 10

// TestEveryCrashPoint: the short forms of the storm between NATS servers and of TestC22 come to each crash point of the design
// often enough, by their schedules. That they were there indeed is what visited demands at their end.
func TestEveryCrashPoint(t *testing.T) {
	nats, kafka := newStorm(t), newStorm(t)
	nats.wanted, kafka.wanted = "", c22Only
	due := map[string]int{refused[:3]: natsRules().visits}
	for _, e := range append(nats.everyOne(natsRules()), kafka.everyOne(fakeRules())...) {
		if point, _, _ := strings.Cut(e.kind, " "); len(point) == 3 {
			due[point]++
		}
	}
	for n := 1; n <= 24; n++ {
		if point := fmt.Sprintf("C%02d", n); due[point] < visitsDue {
			t.Errorf("%s is visited %d times, want %d", point, due[point], visitsDue)
		}
	}
}

// TestVoidEventIsRepeated: an event that was void comes again, until it does its work or has been void too often.
func TestVoidEventIsRepeated(t *testing.T) {
	for times, want := range map[int]string{0: "", 1: "busy"} {
		s := &storm{t: t, faults: map[string]int{}, log: &daemonLog{}}
		tries := 0
		e := event{kind: "some", run: func(s *storm, _ event) {
			if tries++; tries <= times {
				s.void("busy")
			}
		}}
		if why := s.tried(e); string(why) != want {
			t.Errorf("void %d times: the first try says %q", times, why)
		}
		tries = 0
		s.doing(e)
		if s.voids != times || tries != times+1 || s.faults["some"] != 2-times {
			t.Errorf("void %d times: %d tries, %d counted as void, %d as done", times, tries, s.voids, s.faults["some"])
		}
	}
}

// TestWrongAnswer: an answer belongs to the requester whose id it has, of those that the responder has copied.
func TestWrongAnswer(t *testing.T) {
	for _, c := range []struct{ habit, id, want string }{
		{headerCorrID, "c2/1", ""}, {headerMessageID, "requester-2-1", ""},
		{headerCorrID, "c1/1", misrouted}, {headerCorrID, "requester-2-1", misrouted}, {headerMessageID, "c2/1", misrouted}, {"", "", misrouted},
	} {
		m := message{headers: map[string]string{headerHabit: c.habit, headerCorrID: c.id}}
		if got, why := wrongAnswer(5, m); got != c.want {
			t.Errorf("answer with the id %q (%s) to request 5: %q %s", c.id, c.habit, got, why)
		}
	}
}
