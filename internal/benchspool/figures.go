//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A figure is one line of the table: what was taken in each turn, and the goal.
type figure struct {
	what    string
	goal    float64
	atMost  bool // the goal is an upper bound
	unit    string
	samples []float64
	detail  []float64 // the absolute amount of each turn
	of      string    // its unit
}

// figures keeps the lines in the order in which they first came.
type figures struct{ list []*figure }

// add takes one sample of f, whose samples so far are found by what it measures.
func (fs *figures) add(f figure, sample, detail float64) {
	i := slices.IndexFunc(fs.list, func(o *figure) bool { return o.what == f.what })
	if i < 0 {
		i = len(fs.list)
		fs.list = append(fs.list, &f)
	}
	fs.list[i].samples = append(fs.list[i].samples, sample)
	fs.list[i].detail = append(fs.list[i].detail, detail)
}

// atLeast and atMost make figures; of is the unit of the absolute amount beside it.
func atLeast(what string, goal float64, unit, of string) figure {
	return figure{what: what, goal: goal, unit: unit, of: of}
}

func atMost(what string, goal float64, unit, of string) figure {
	return figure{what: what, goal: goal, unit: unit, of: of, atMost: true}
}

// plain is a figure without a goal, which is not judged.
func plain(what, of string) figure { return figure{what: what, of: of} }

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}

func (f *figure) reached() bool {
	got := median(f.samples)
	return f.unit == "" || f.atMost && got <= f.goal || !f.atMost && got >= f.goal
}

// row returns the columns: what, goal, got, range of the turns, absolute amount, verdict.
func (f *figure) row() []string {
	amount := number(median(f.detail)) + " " + f.of
	if f.unit == "" {
		return []string{f.what, "", "", "", amount, ""}
	}
	sign, verdict := "≥ ", "reached"
	if f.atMost {
		sign = "≤ "
	}
	if !f.reached() {
		verdict = "MISSED"
	}
	spread := ""
	if len(f.samples) > 1 {
		spread = number(slices.Min(f.samples)) + " to " + number(slices.Max(f.samples))
	}
	return []string{f.what, sign + number(f.goal) + f.unit, number(median(f.samples)) + f.unit, spread, amount, verdict}
}

// number writes three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return thousands(fmt.Sprintf("%.0f", v))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(s string) string {
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

var columns = []string{"Figure", "Goal", "Median", "Turns", "Amount", ""}

func (fs *figures) print(w io.Writer, markdown bool) error {
	if markdown {
		return fs.markdown(w)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns, "\t"))
	for _, f := range fs.list {
		fmt.Fprintln(t, strings.Join(f.row(), "\t"))
	}
	return t.Flush()
}

func (fs *figures) markdown(w io.Writer) error {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(columns)
	b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
	for _, f := range fs.list {
		line(f.row())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// about says under what conditions the figures came to be, and how many goals were missed.
func about(b *bench, took time.Duration) string {
	missed, judged := 0, 0
	for _, f := range b.figures.list {
		if f.unit != "" {
			judged++
		}
		if !f.reached() {
			missed++
		}
	}
	return fmt.Sprintf("%d of %d goals reached. %d processors, %s, %d turns of %v each, %v in all.",
		judged-missed, judged, runtime.NumCPU(), runtime.Version(), b.turns, b.span, took.Round(time.Second))
}

func joinErr(a, b error) error {
	if a == nil || b == nil {
		return errors.Join(a, b)
	}
	return fmt.Errorf("%w; %w", a, b)
}

// progress shows one line on a terminal, and nothing anywhere else.
type progress struct {
	out      *os.File // nil: no terminal
	headline string
}

func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{out: f}
}

func (p *progress) begin(n, of int, name string) {
	p.headline = fmt.Sprintf("%d of %d: %s", n, of, name)
	p.step("")
}

func (p *progress) step(what string) {
	if p.out != nil {
		fmt.Fprintf(p.out, "\r\x1b[K%s  %s", p.headline, what)
	}
}

func (p *progress) clear() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
