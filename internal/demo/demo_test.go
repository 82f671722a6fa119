package demo

import (
	"bytes"
	"strings"
	"testing"
)

func TestBodyCarriesNumberAndChecksum(t *testing.T) {
	for _, n := range []uint64{0, 1, 255, 1 << 40} {
		b := body(n, 100)
		if got, whole := number(b); got != n || !whole {
			t.Errorf("number(body(%d)) = %d, %v", n, got, whole)
		}
		for i := range b {
			c := bytes.Clone(b)
			c[i] ^= 1
			if _, whole := number(c); whole {
				t.Fatalf("a flipped bit in byte %d of message %d was not seen", i, n)
			}
		}
	}
	if _, whole := number([]byte("short")); whole {
		t.Error("a short body counts as whole")
	}
}

func TestTallyTellsLostDuplicatedAndDisordered(t *testing.T) {
	tl := newTally(5)
	for _, n := range []uint64{0, 2, 1, 2, 4} {
		tl.add(body(n, minSize))
	}
	tl.add([]byte("rubbish"))
	tl.add(body(99, minSize)) // never sent
	if got := tl.arrived.Load(); got != 4 {
		t.Errorf("arrived = %d, want 4 (number 3 is lost)", got)
	}
	if tl.dup != 1 || tl.disordered != 1 || tl.corrupted != 2 || tl.total != 7 {
		t.Errorf("dup %d disordered %d corrupted %d total %d, want 1 1 2 7", tl.dup, tl.disordered, tl.corrupted, tl.total)
	}
}

func TestReportIsOnlyOKWhenNothingIsMissing(t *testing.T) {
	for _, c := range []struct {
		r  Report
		ok bool
	}{
		{Report{Sent: 3, Delivered: 3}, true},
		{Report{Sent: 3, Delivered: 3, Duplicated: 1, OutOfOrder: 1}, true}, // admitted, shown, no loss
		{Report{Sent: 3, Delivered: 2, Lost: 1}, false},
		{Report{Sent: 3, Delivered: 3, Corrupted: 1}, false},
		{Report{}, false},
	} {
		if c.r.OK() != c.ok {
			t.Errorf("%+v: OK = %v, want %v", c.r, c.r.OK(), c.ok)
		}
	}
	var b strings.Builder
	Report{Sent: 3, Delivered: 2, Lost: 1}.Text(&b)
	if !strings.Contains(b.String(), "lost           1\n") {
		t.Errorf("report:\n%s", b.String())
	}
}
