package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A screen prints a table that grows, with remarks between its rows: plain lines, the same on a terminal and in a pipe.
type screen struct {
	w     io.Writer
	begin time.Time
}

const heading = "   time     sent  at paris at madrid  spooled  oldest answered  lane to madrid"

// A row is what was counted outside of the repeater.
type row struct{ sent, paris, madrid, answered int }

// remark prints what happens now.
func (s screen) remark(format string, args ...any) {
	fmt.Fprintf(s.w, "%6.1fs -- %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

// row prints one line of the table. extra stands behind the state.
func (s screen) row(r row, l lane, extra string) {
	oldest := "-"
	if age := l.age(); age > 0 {
		oldest = fmt.Sprintf("%.1fs", age.Seconds())
	}
	line := fmt.Sprintf("%6.1fs %8s %9s %9s %8s %7s %8s  %s %s", time.Since(s.begin).Seconds(), thousands(r.sent), thousands(r.paris),
		thousands(r.madrid), thousands(l.Spooled), oldest, thousands(r.answered), l.State, extra)
	fmt.Fprintln(s.w, strings.TrimRight(line, " "))
}

// bar draws how much of a whole is done.
func bar(done, whole int) string {
	const width = 20
	done = min(max(done, 0), whole)
	n := 0
	if whole > 0 {
		n = done * width / whole
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

// thousands writes n with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1000<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1000<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// per is n in d, per second; 0 for no time at all.
func per(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
