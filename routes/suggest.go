package routes

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// suggest returns the name nearest to word: at most a third of its length away, and at least one edit is always
// permitted; ties go to the first in alphabetical order. "" when nothing is near.
func suggest(word string, names []string) string {
	sorted := slices.Sorted(slices.Values(names))
	best, dist := "", tooFar(word)
	for _, n := range sorted {
		if d := distance([]rune(word), []rune(n), dist); d < dist {
			best, dist = n, d
		}
	}
	return best
}

// tooFar is how many edits away from word nothing is suggested any more.
func tooFar(word string) int { return max(1, utf8.RuneCountInString(word)/3) + 1 }

// near reports whether suggest would take name for word.
func near(word, name string) bool {
	far := tooFar(word)
	if utf8.RuneCountInString(word)-len(name) >= far || len(name)-utf8.RuneCountInString(word) >= far {
		return false
	}
	return distance([]rune(word), []rune(name), far) < far
}

// didYouMean is the sentence for suggest's answer, or "".
func didYouMean(word string, names []string) string {
	if s := suggest(word, names); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	return ""
}

// distance counts insertions, deletions, replacements and transpositions of neighbours between a and b. It may answer
// limit when the distance is not below it.
func distance(a, b []rune, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 200 {
		return limit
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
