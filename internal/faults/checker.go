package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Names of findings: one for each promise.
const (
	lost      = "lost"      // sent and taken, and nowhere
	duplicate = "duplicate" // twice where that is not allowed, not flagged, or too often
	reorder   = "reorder"   // a first arrival behind a later message of its lane
	corrupt   = "corrupt"   // body or headers differ from what was sent
	foreign   = "foreign"   // never sent
	misrouted = "misrouted" // at the target of another lane
	leftover  = "leftover"  // something that should be gone is still there
	miscount  = "miscount"  // status or metrics differ from what was counted
	void      = "void"      // the run did not do its work
	stuck     = "stuck"     // a fresh message does not get through
)

// A finding is a promise that was not kept.
type finding struct{ name, detail string }

func (f finding) String() string { return f.name + ": " + f.detail }

// check returns what is wrong with a history, by name; nothing if all promises were kept and the run did its work.
func check(h *history) []finding {
	found, _ := examine(h)
	return found
}

// A count says in numbers what became of a history.
type count struct {
	messages    int // sent to the source
	explained   int // duplicates, and what a damage has cost, that were to be expected
	unexplained int // duplicates that nothing allows
	lost        int // and not reported by the daemon as lost
	reported    int // lost, as the daemon has reported
}

// examine is check with the numbers.
func examine(h *history) ([]finding, count) {
	c := checker{h: h, seen: make([][]arrival, len(h.sends)), ids: map[string]string{}}
	for _, a := range h.arrivals {
		c.arrived(a)
	}
	c.losses()
	c.order()
	c.repeats()
	for _, f := range h.figures {
		if f.wrong() {
			c.add(f.finding, "%s is %d, want %s", f.name, f.got, f.bounds())
		}
	}
	slices.SortStableFunc(c.found, func(a, b finding) int { return cmp.Compare(a.name, b.name) })
	c.count.messages = len(h.sends)
	c.count.explained = c.repeat + c.renewed - c.count.unexplained
	return c.found, c.count
}

func (f figure) bounds() string {
	switch {
	case f.min == f.max:
		return fmt.Sprint(f.min)
	case f.max == int(^uint(0)>>1):
		return fmt.Sprintf("at least %d", f.min)
	}
	return fmt.Sprintf("%d to %d", f.min, f.max)
}

// A checker reads one history.
type checker struct {
	h       *history
	seen    [][]arrival // by number, in order of arrival
	highest int         // of first arrivals, plus one
	found   []finding
	ids     map[string]string // highest posthouse-id of first arrivals, by what stands before its sequence
	late    []string          // first arrivals behind a later message, which the daemon was given in this order
	repeat  int               // copies with an id that came before
	renewed int               // copies with a new id
	count   count
}

// most is how many findings of a name are listed one by one.
const most = 5

func (c *checker) add(name, format string, args ...any) {
	n := 0
	for _, f := range c.found {
		if f.name == name {
			n++
		}
	}
	if n < most {
		c.found = append(c.found, finding{name, c.h.lane + ": " + fmt.Sprintf(format, args...)})
	}
}

// arrived looks at one message at the target.
func (c *checker) arrived(a arrival) {
	switch {
	case a.wrong != "":
		c.add(a.wrong, "%s", a.detail)
		return
	case a.number < 0 || a.number >= len(c.h.sends):
		c.add(foreign, "message %d was never sent: %d were", a.number, len(c.h.sends))
		return
	case c.h.sends[a.number] == failed:
		c.add(foreign, "message %d came, and its send was refused", a.number)
		return
	}
	before := c.seen[a.number]
	c.seen[a.number] = append(before, a)
	if len(before) == 0 {
		c.first(a)
		return
	}
	c.again(a, before)
}

// first looks at the order. Ids are given in the order in which the daemon got the messages: who falls behind a higher one
// was overtaken in the daemon or at the target. A dead letter that had no place at first, on a full disk say, is made
// again with its message, perhaps by the next daemon: there is no order among them.
func (c *checker) first(a arrival) {
	if a.tries > 0 {
		return
	}
	i := strings.LastIndexByte(a.id, '.') + 1
	if a.id < c.ids[a.id[:i]] {
		c.add(reorder, "message %d (id %s, flagged %t) came first behind the id %s", a.number, a.id, a.flagged, c.ids[a.id[:i]])
	} else if a.number < c.highest {
		over := c.seen[c.highest-1][0]
		c.late = append(c.late, fmt.Sprintf("message %d (id %s) came first behind message %d (id %s)", a.number, a.id, over.number, over.id))
	}
	c.ids[a.id[:i]] = max(c.ids[a.id[:i]], a.id)
	c.highest = max(c.highest, a.number+1)
}

// order looks at what came late, but in the order in which the daemon got it. A message whose record was changed on the disk, and
// reported, may still be with its source: then it comes again, behind those that had been received after it.
func (c *checker) order() {
	limit := c.h.reported
	if c.h.requeues {
		limit += c.h.unsettled * (c.h.kills + c.h.losses)
	}
	if len(c.late) > limit {
		for _, text := range c.late {
			c.add(reorder, "%s", text)
		}
	}
}

// again looks at a message that came before. The same id says that it was sent twice by one taking over from its
// source; another one that the source gave it out twice.
func (c *checker) again(a arrival, before []arrival) {
	if !slices.ContainsFunc(before, func(b arrival) bool { return b.id == a.id }) {
		c.renewed++
		return
	}
	c.repeat++
	switch {
	case c.h.absorbs:
		c.count.unexplained++
		c.add(duplicate, "message %d came twice with the id %s: the target drops a repeated id, so this is another message to it",
			a.number, a.id)
	case !a.flagged:
		c.count.unexplained++
		c.add(duplicate, "message %d came again with the id %s and without the flag", a.number, a.id)
	}
}

// losses looks for what was taken and is nowhere.
func (c *checker) losses() {
	var gone []int
	for n, s := range c.h.sends {
		if s == taken && len(c.seen[n]) == 0 {
			gone = append(gone, n)
		}
	}
	if c.count.reported = min(len(gone), c.h.reported); c.count.reported == len(gone) {
		return
	}
	c.count.lost = len(gone) - c.count.reported
	if len(gone) > 0 {
		c.add(lost, "%d of %d messages: %s", len(gone), len(c.h.sends), ranges(gone))
	}
}

// repeats looks at how much came twice (delivery.md, section 1): at most a window for each lost link and each kill, and what was not
// settled at its source when the daemon was killed.
func (c *checker) repeats() {
	if limit := c.h.window * (c.h.breaks + c.h.kills); c.repeat > limit {
		c.count.unexplained = max(c.count.unexplained, c.repeat-limit)
		c.add(duplicate, "%d came again with the same id, at most %d may: a window of %d for each of %d lost links and %d kills",
			c.repeat, limit, c.h.window, c.h.breaks, c.h.kills)
	}
	limit := 0
	if c.h.regives {
		limit = c.h.unsettled * (c.h.kills + c.h.losses)
	}
	if c.renewed > limit {
		c.count.unexplained += c.renewed - limit
		c.add(duplicate, "%d came again under a new id, at most %d may", c.renewed, limit)
	}
}

// ranges writes ascending numbers in short: 1-3 7.
func ranges(ns []int) string {
	var parts []string
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(ns[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", ns[i], ns[j]))
		}
		i = j + 1
	}
	if len(parts) > 20 {
		parts = append(parts[:20], "...")
	}
	return strings.Join(parts, " ")
}

// distinct counts the ids among the arrivals, and those of them that came flagged at least once.
func distinct(as []arrival) (ids, flagged int) {
	all := map[string]bool{}
	for _, a := range as {
		all[a.id] = all[a.id] || a.flagged
	}
	for _, f := range all {
		if f {
			flagged++
		}
	}
	return len(all), flagged
}
