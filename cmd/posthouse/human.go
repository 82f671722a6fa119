package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// bytesText writes a size in at most seven characters: 512B, 64KiB, 1.2GiB.
func bytesText(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	if n < 1<<10 {
		return fmt.Sprintf("%dB", n)
	}
	x := float64(n)
	for i, u := range units {
		if x /= 1 << 10; x < 999.5 || i == len(units)-1 {
			return short(x) + u
		}
	}
	return ""
}

// countText writes a number in at most six characters: 123456, 1.2M.
func countText(n int64) string {
	if n < 1e6 {
		return strconv.FormatInt(n, 10)
	}
	x := float64(n) / 1e6
	if x < 999.5 {
		return short(x) + "M"
	}
	return short(x/1e3) + "G"
}

// short has one digit behind the point below ten, unless it is 0.
func short(x float64) string {
	if x < 9.95 {
		return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// ageText writes how long ago t was in at most five characters: 5s, 12m, 3h, 4d; "-" for no time.
func ageText(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := max(now.Sub(t), 0)
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if d >= u.d {
			return fmt.Sprintf("%d%s", d/u.d, u.name)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// cut shortens s to width characters; the last says that there is more.
func cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:max(width-1, 0)]) + "~"
}

// tail shortens s to its last width characters: the cause of an error stands at its end.
func tail(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return "~" + string(r[len(r)-max(width-1, 0):])
}

// clean takes out what a terminal would act upon, and line breaks.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}

// messages is "1 message" or "3 messages".
func messages(n int64) string { return plural(n, "message") }

func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// A table is rows of cells under a head. Columns of numbers are to the right.
type table struct {
	head    []string
	numbers map[int]bool
	rows    [][]string
	gap     int // spaces between columns; 0 means 2
}

// width is that of the widest cell of a column.
func (t *table) width(i int) int {
	w := len([]rune(t.head[i]))
	for _, row := range t.rows {
		w = max(w, len([]rune(row[i])))
	}
	return w
}

// text writes the table, without spaces at the end of a line.
func (t *table) text(b *strings.Builder) {
	gap, widths := strings.Repeat(" ", cmp.Or(t.gap, 2)), make([]int, len(t.head))
	for i := range widths {
		widths[i] = t.width(i)
	}
	for _, row := range append([][]string{t.head}, t.rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if t.numbers[i] {
				cells[i] += cell
			} else {
				cells[i] = cell + cells[i]
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, gap), " ") + "\n")
	}
}
