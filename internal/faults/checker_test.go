package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sound is a history in which everything went well: n messages were taken and came in order.
func sound(n int) *history {
	h := &history{lane: "orders", window: 4, unsettled: 4, sends: make([]outcome, n)}
	for i := range n {
		h.sends[i] = taken
		h.arrivals = append(h.arrivals, one(i))
	}
	h.figures = []figure{exactly("received", n, n), nothing("source", 0), bite("messages", n, n)}
	return h
}

func one(n int) arrival { return arrival{number: n, id: fmt.Sprintf("id.%04d", n)} }

func again(n int) arrival { return arrival{number: n, id: fmt.Sprintf("id.%04d", n), flagged: true} }

func renewed(n int) arrival { return arrival{number: n, id: fmt.Sprintf("other.%04d", n)} }

// TestCheckerNamesWhatIsWrong: each fabricated history has one fault and is red by exactly that name.
func TestCheckerNamesWhatIsWrong(t *testing.T) {
	put := func(as ...arrival) func(*history) {
		return func(h *history) { h.arrivals = append(h.arrivals, as...) }
	}
	for name, c := range map[string]struct {
		wreck func(*history)
		want  string
	}{
		"sound":                   {func(*history) {}, ""},
		"one lost":                {func(h *history) { h.arrivals = slices.Delete(h.arrivals, 3, 4) }, lost},
		"the last lost":           {func(h *history) { h.arrivals = h.arrivals[:9] }, lost},
		"all lost":                {func(h *history) { h.arrivals = nil }, lost},
		"unknown send, not there": {func(h *history) { h.sends[9], h.arrivals = unknown, h.arrivals[:9] }, ""},
		"unknown send, there":     {func(h *history) { h.sends[9] = unknown }, ""},
		"refused send, there":     {func(h *history) { h.sends[9] = failed }, foreign},
		"refused send, not there": {func(h *history) { h.sends[9], h.arrivals = failed, h.arrivals[:9] }, ""},
		"never sent":              {put(one(10)), foreign},
		"not one of ours":         {put(arrival{number: -1, wrong: foreign, detail: "somebody's"}), foreign},
		"corrupt":                 {func(h *history) { h.arrivals[2].wrong = corrupt }, corrupt + " " + lost},
		"corrupt copy":            {put(arrival{number: 2, wrong: corrupt}), corrupt},
		"misrouted":               {put(arrival{number: 2, wrong: misrouted}), misrouted},
		"swapped":                 {func(h *history) { h.arrivals[2], h.arrivals[3] = h.arrivals[3], h.arrivals[2] }, reorder},
		"dead letters, which have no order": {func(h *history) {
			h.arrivals[2], h.arrivals[3] = h.arrivals[3], h.arrivals[2]
			h.arrivals[3].tries = 1
		}, ""},
		"late":                         {func(h *history) { h.arrivals = append(slices.Delete(h.arrivals, 0, 1), one(0)) }, reorder},
		"ids in the wrong order":       {func(h *history) { h.arrivals[2].id, h.arrivals[3].id = h.arrivals[3].id, h.arrivals[2].id }, reorder},
		"given out in the wrong order": {func(h *history) { givenLate(h) }, reorder},
		"given out again because its record was damaged": {func(h *history) { givenLate(h); h.reported = 1 }, ""},
		"given out in the wrong order after a kill":      {func(h *history) { givenLate(h); h.kills, h.requeues = 1, true }, ""},
		"given out in the wrong order by a log":          {func(h *history) { givenLate(h); h.kills = 1 }, reorder},
		"swapped after a kill": {func(h *history) {
			h.arrivals[2], h.arrivals[3] = h.arrivals[3], h.arrivals[2]
			h.kills, h.requeues = 1, true
		}, reorder},
		"unflagged repeat":             {func(h *history) { h.breaks = 1; put(one(9))(h) }, duplicate},
		"flagged repeat, no fault":     {put(again(9)), duplicate},
		"flagged repeats after a cut":  {func(h *history) { h.breaks = 1; put(again(6), again(7), again(8), again(9))(h) }, ""},
		"flagged repeats after a kill": {func(h *history) { h.kills = 1; put(again(9))(h) }, ""},
		"more than a window":           {func(h *history) { h.breaks = 1; put(again(5), again(6), again(7), again(8), again(9))(h) }, duplicate},
		"two windows after two cuts":   {func(h *history) { h.breaks = 2; put(again(5), again(6), again(7), again(8), again(9))(h) }, ""},
		"repeat where ids are dropped": {func(h *history) { h.breaks, h.absorbs = 1, true; put(again(9))(h) }, duplicate},
		"new id, no kill":              {func(h *history) { h.breaks, h.regives = 1, true; put(renewed(9))(h) }, duplicate},
		"new id after a kill":          {func(h *history) { h.kills, h.regives, h.absorbs = 1, true, true; put(renewed(9))(h) }, ""},
		"new id, source keeps ids":     {func(h *history) { h.kills = 1; put(renewed(9))(h) }, duplicate},
		"new ids beyond a window": {func(h *history) {
			h.kills, h.regives = 1, true
			put(renewed(5), renewed(6), renewed(7), renewed(8), renewed(9))(h)
		}, duplicate},
		"miscounted":       {func(h *history) { h.figures[0].got-- }, miscount},
		"out of bounds":    {func(h *history) { h.figures = append(h.figures, within("flagged", 5, 1, 4)) }, miscount},
		"in bounds":        {func(h *history) { h.figures = append(h.figures, within("flagged", 4, 1, 4)) }, ""},
		"source not empty": {func(h *history) { h.figures[1].got = 1 }, leftover},
		"disk grown":       {func(h *history) { h.figures = append(h.figures, atMost("bytes", 9, 8)) }, leftover},
		"too few":          {func(h *history) { h.figures[2].min++ }, void},
	} {
		h := sound(10)
		c.wreck(h)
		found := check(h)
		var names []string
		for _, f := range found {
			names = append(names, f.name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: found %q, want %q: %v", name, got, c.want, found)
		}
	}
}

// givenLate moves message 2 behind message 3, as their source gave them out.
func givenLate(h *history) {
	h.arrivals[2].number, h.arrivals[3].number = 3, 2
}

func TestCheckerListsFew(t *testing.T) {
	h := sound(100)
	slices.Reverse(h.arrivals)
	if found := check(h); len(found) != most {
		t.Errorf("%d findings, want %d", len(found), most)
	}
	h.arrivals = nil
	if found := check(h); len(found) != 1 || !strings.Contains(found[0].detail, "100 of 100 messages: 0-99") {
		t.Errorf("%v", found)
	}
}

func TestRanges(t *testing.T) {
	for want, ns := range map[string][]int{"": nil, "1": {1}, "1-3 7": {1, 2, 3, 7}, "1 3-4": {1, 3, 4}} {
		if got := ranges(ns); got != want {
			t.Errorf("ranges(%v) = %q, want %q", ns, got, want)
		}
	}
}

func TestDistinct(t *testing.T) {
	ids, flagged := distinct([]arrival{one(1), again(1), one(2), again(3), again(3)})
	if ids != 3 || flagged != 2 {
		t.Errorf("%d ids, %d flagged, want 3 and 2", ids, flagged)
	}
}
