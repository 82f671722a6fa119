package demo

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestTallyTellsLostDuplicatedAndDisordered(t *testing.T) {
	tl := newTally()
	for _, n := range []uint64{0, 2, 1, 2, 4} {
		tl.add(body(n, minSize), marks{})
	}
	tl.add(body(4, minSize), marks{flagged: true})
	tl.add(body(4, minSize), marks{redelivered: true})
	tl.add(body(6, minSize), marks{true, true}) // a first arrival, whatever it is marked as
	tl.add([]byte("rubbish"), marks{})
	tl.add(body(maxNumber, minSize), marks{})
	c := tl.now()
	if c.arrived != 5 || c.dup != 3 || c.flagged != 1 || c.redelivered != 1 || c.disordered != 1 || c.corrupted != 2 || c.highest != 6 {
		t.Errorf("%+v, want 5 arrived (3 and 5 are lost), 3 dup, 1 flagged, 1 redelivered, 1 disordered, 2 corrupted, highest 6", c)
	}
	if a := tl.arrivals("x", 5, 6); a.Delivered != 4 || a.Lost != 1 || a.Corrupted != 3 || a.Duplicated != 3 || a.Site != "x" {
		t.Errorf("of the first five: %+v, want 4 delivered, 1 lost, and the seventh, which was never sent, among the corrupted", a)
	}
}

func TestTallyReaches(t *testing.T) {
	tl := newTally()
	two, none := tl.reaches(2), tl.reaches(0)
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	if !closed(none) {
		t.Error("none have arrived, but the mark is not reached")
	}
	tl.add(body(7, minSize), marks{})
	tl.add(body(7, minSize), marks{}) // the same again
	if closed(two) {
		t.Error("a duplicate counts as another message")
	}
	tl.add(body(3, minSize), marks{})
	if !closed(two) {
		t.Error("two have arrived, but the mark is not reached")
	}
}

// A headed is a message of which only the headers matter.
type headed struct {
	jetstream.Msg
	h nats.Header
}

func (m headed) Headers() nats.Header { return m.h }

func TestMarksOfAMessage(t *testing.T) {
	for _, c := range []struct {
		h    nats.Header
		want marks
	}{
		{nil, marks{}},
		{nats.Header{"posthouse-id": {"x"}}, marks{}},
		{nats.Header{"posthouse-possible-duplicate": {"true"}}, marks{flagged: true}},
		{nats.Header{"posthouse-deliveries": {"1"}}, marks{redelivered: true}},
	} {
		if got := marksOf(headed{h: c.h}); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.h, got, c.want)
		}
	}
}
