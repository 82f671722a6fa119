package demo

import (
	"strings"
	"testing"
	"time"
)

func TestReportIsOnlyOKWhenNothingIsMissing(t *testing.T) {
	whole := []Arrivals{{Site: "paris", Delivered: 3}, {Site: "madrid", Delivered: 3, Duplicated: 1, OutOfOrder: 1}} // admitted, shown, no loss
	for _, c := range []struct {
		r         Report
		ok        bool
		delivered int
	}{
		{Report{Sent: 3, Sites: whole}, true, 3},
		{Report{Sent: 3, Sites: whole, Requests: Requests{Asked: 2, Answered: 2, Repeated: 1}}, true, 3},
		{Report{Sent: 3, Sites: []Arrivals{whole[0], {Delivered: 2, Lost: 1}}}, false, 2},
		{Report{Sent: 3, Sites: []Arrivals{{Delivered: 3, Corrupted: 1}}}, false, 3},
		{Report{Sent: 3, Sites: whole, Requests: Requests{Asked: 2, Answered: 1, Unanswered: 1}}, false, 3},
		{Report{Sent: 3, Sites: whole, Requests: Requests{Asked: 2, Answered: 2, Wrong: 1}}, false, 3},
		{Report{Sent: 3}, false, 3},
		{Report{}, false, 0},
	} {
		if c.r.OK() != c.ok || c.r.Delivered() != c.delivered {
			t.Errorf("%+v: OK = %v, delivered %d, want %v, %d", c.r, c.r.OK(), c.r.Delivered(), c.ok, c.delivered)
		}
	}
}

func TestReportText(t *testing.T) {
	var b strings.Builder
	Report{
		Sent: 12345, Seconds: 2, Rate: 6172,
		Sites:    []Arrivals{{Site: "paris", Delivered: 12345}, {Site: "madrid", Delivered: 12344, Lost: 1, Duplicated: 7, Flagged: 2, Redelivered: 5}},
		Requests: Requests{Asked: 400, Answered: 399, Unanswered: 1, Repeated: 2, Wrong: 3, P50: 0.0021, P99: 0.5},
		Outages:  []Outage{{Seconds: 6, Spooled: 6100, SpooledBytes: 3 << 20, Oldest: 7.25, Drained: 9000, DrainSeconds: 3, DrainRate: 3000}},
		Kill: &Kill{Spooled: 1500, Answers: 0.25, Delivers: 0.5, Journal: recovery{
			Messages: 1501, ScannedBytes: 1 << 20, TornBytes: 12, TookSeconds: 0.004, Damage: []string{"one"}, Missing: []string{"two"}}},
	}.Text(&b)
	for _, want := range []string{
		"sent           12,345 at berlin\n", "at paris       delivered 12,345, lost 0, corrupted 0, out of order 0, duplicated 0\n",
		"at madrid      delivered 12,344, lost 1, corrupted 0, out of order 0, duplicated 7 (marked as possible duplicates 2, as given out before by their source 5)\n",
		"duplicates     at least once: expected after a kill\n",
		"400 asked at paris, 399 answered at berlin, unanswered 1, answered twice 2, replies of no request 3; round trip p50 2.1 ms, p99 500.0 ms\n",
		"6.0 s; at most 6,100 messages (3.0 MiB) spooled, the oldest for 7.2 s; then 3000 messages/s for 3.0 s\n",
		"1,500 messages spooled; started again, it answered after 0.25 s and delivered after 0.50 s; " +
			"journal: 1,501 messages in 1.0 MiB, read in 4 ms, torn end 12 B; damaged: one; missing: two\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	b.Reset()
	Report{Sent: 3, Sites: []Arrivals{{Delivered: 3, Duplicated: 2}}}.Text(&b)
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
	s.row(row{1234, 1233, 1200, 7}, lane{State: passThrough}, "")
	s.row(row{12345, 12345, 1200, 1001}, lane{State: "draining", Spooled: 1500, Oldest: time.Now().Add(-90 * time.Second)}, bar(1, 2))
	s.remark("%d things", 3)
	lines := strings.Split(b.String(), "\n")
	if lines[0] != "   0.0s    1,234     1,233     1,200        0       -        7  pass-through" {
		t.Errorf("row %q", lines[0])
	}
	if lines[1] != "   0.0s   12,345    12,345     1,200    1,500   90.0s    1,001  draining [##########..........]" {
		t.Errorf("row %q", lines[1])
	}
	if lines[2] != "   0.0s -- 3 things" {
		t.Errorf("remark %q", lines[2])
	}
	if strings.Index(heading, "lane to") != strings.Index(lines[0], "pass-through") {
		t.Errorf("heading and row do not match:\n%s\n%s", heading, lines[0])
	}
}
