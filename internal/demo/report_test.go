package demo

import (
	"strings"
	"testing"
	"time"
)

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
}

func TestReportText(t *testing.T) {
	var b strings.Builder
	Report{
		Sent: 12345, Delivered: 12344, Lost: 1, Duplicated: 7, Flagged: 2, Redelivered: 5, Seconds: 2, Rate: 6172,
		Outages: []Outage{{Seconds: 6, Spooled: 6100, SpooledBytes: 3 << 20, Oldest: 7.25, Drained: 9000, DrainSeconds: 3, DrainRate: 3000}},
		Kill: &Kill{Spooled: 1500, Answers: 0.25, Delivers: 0.5, Journal: recovery{
			Messages: 1501, ScannedBytes: 1 << 20, TornBytes: 12, TookSeconds: 0.004, Damage: []string{"one"}, Missing: []string{"two"}}},
	}.Text(&b)
	for _, want := range []string{
		"sent           12,345\n", "lost           1\n",
		"duplicated     7; marked as possible duplicates 2, as given out before by their source 5 (at least once: expected after a kill)\n",
		"6.0 s; at most 6,100 messages (3.0 MiB) spooled, the oldest for 7.2 s; then 3000 messages/s for 3.0 s\n",
		"1,500 messages spooled; started again, it answered after 0.25 s and delivered after 0.50 s; " +
			"journal: 1,501 messages in 1.0 MiB, read in 4 ms, torn end 12 B; damaged: one; missing: two\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	b.Reset()
	Report{Sent: 3, Delivered: 3, Duplicated: 2}.Text(&b)
	if strings.Contains(b.String(), "kill") {
		t.Errorf("duplicates without a kill are excused by one:\n%s", b.String())
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1010 << 10: "1.0 MiB", 5 << 20: "5.0 MiB", 3 << 29: "1.5 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for _, c := range []struct {
		done, whole int
		want        string
	}{
		{0, 10, "[....................]"}, {5, 10, "[##########..........]"}, {10, 10, "[####################]"},
		{-3, 10, "[....................]"}, {12, 10, "[####################]"}, {0, 0, "[....................]"},
	} {
		if got := bar(c.done, c.whole); got != c.want {
			t.Errorf("bar(%d, %d) = %s, want %s", c.done, c.whole, got, c.want)
		}
	}
	if got := per(10, 0); got != 0 {
		t.Errorf("10 in no time are %v a second", got)
	}
	if got := per(10, 4*time.Second); got != 2.5 {
		t.Errorf("10 in 4s are %v a second", got)
	}
}

func TestRowsStandUnderTheirHeading(t *testing.T) {
	var b strings.Builder
	s := screen{w: &b, begin: time.Now()}
	s.row(1234, 1200, lane{State: passThrough}, "")
	s.row(12345, 1200, lane{State: "draining", Spooled: 1500, SpooledBytes: 2 << 20, Oldest: time.Now().Add(-90 * time.Second)}, bar(1, 2))
	s.remark("%d things", 3)
	lines := strings.Split(b.String(), "\n")
	if lines[0] != "   0.0s     1,234     1,200         0         0 B       -  pass-through" {
		t.Errorf("row %q", lines[0])
	}
	if lines[1] != "   0.0s    12,345     1,200     1,500     2.0 MiB   90.0s  draining [##########..........]" {
		t.Errorf("row %q", lines[1])
	}
	if lines[2] != "   0.0s -- 3 things" {
		t.Errorf("remark %q", lines[2])
	}
	if strings.Index(heading, "state") != strings.Index(lines[0], "pass-through") {
		t.Errorf("heading and row do not match:\n%s\n%s", heading, lines[0])
	}
}
