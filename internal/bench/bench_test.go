package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeSide delivers a message every pace, and then err.
type fakeSide struct {
	side
	count int
	pace  time.Duration
	err   error
}

func (s *fakeSide) watch(_ context.Context, n int, each func([]byte)) error {
	for range min(n, s.count) {
		<-time.After(s.pace)
		each(nil)
	}
	return s.err
}

func TestArrivalsCountsFromTheFirstToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []int
		rate, err := arrivalsIn(t.Context(), &fakeSide{count: 5, pace: 20 * time.Millisecond}, 5, func(n int) { seen = append(seen, n) })
		if err != nil || rate < 49.9 || rate > 50.1 {
			t.Errorf("%v messages a second, %v; want 50: four intervals of 20 ms", rate, err)
		}
		if len(seen) != 5 || seen[0] != 1 || seen[4] != 5 {
			t.Errorf("counts were %v", seen)
		}
	})
}

func TestArrivalsSaysHowManyAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("link lost")
		_, err := arrivals(t.Context(), &fakeSide{count: 3, pace: time.Millisecond, err: lost}, 7)
		if !errors.Is(err, lost) || !strings.Contains(err.Error(), "3 of 7") {
			t.Errorf("got %v", err)
		}
	})
}

func TestVerdictFailsForMissedGoalsOnly(t *testing.T) {
	b := &bench{}
	b.atLeast("a ratio", 0.9, 0.9)
	b.below("an amount", 99, 100)
	b.atMost("a growth", 1.25, 1.25)
	b.report("a figure without a goal", 0)
	if err := b.verdict(); err != nil {
		t.Errorf("all reached: %v", err)
	}
	b.atLeast("too little", 0.89, 0.9)
	b.below("too much", 100, 100)
	b.atMost("too steep", 1.26, 1.25)
	if err := b.verdict(); err == nil || !strings.Contains(err.Error(), "3 figures") {
		t.Errorf("three missed: %v", err)
	}
}

func TestMemoryFiguresSeeGrowth(t *testing.T) {
	flat, steep := [quarters]float64{33, 33, 34, 34}, [quarters]float64{33, 45, 58, 70}
	b := &bench{}
	b.memoryFigures(30, flat, flat)
	if err := b.verdict(); err != nil {
		t.Errorf("flat memory: %v", err)
	}
	b.memoryFigures(30, flat, steep)
	if err := b.verdict(); err == nil {
		t.Error("memory that grows with the backlog was not noticed")
	}
}

func TestALaneHoldsOnlyWhenItSpools(t *testing.T) {
	for _, c := range []struct {
		l             laneStatus
		holds, passes bool
	}{
		{laneStatus{State: "spooling", Spooled: 10}, true, false},
		{laneStatus{State: "spooling", Spooled: 9}, false, false},
		{laneStatus{State: "draining", Spooled: 10}, false, false},
		{laneStatus{State: "pass-through"}, false, true},
	} {
		if holds(10)(c.l) != c.holds || passes(c.l) != c.passes {
			t.Errorf("%+v: holds %v, passes %v", c.l, holds(10)(c.l), passes(c.l))
		}
	}
}
