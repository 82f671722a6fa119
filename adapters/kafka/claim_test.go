package kafka

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPrefixNeverPassesAGap: whatever order the records of a partition are accepted in, the position is the offset behind
// the longest accepted front, and the places that became free are those in front of it.
func TestPrefixNeverPassesAGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offsets := rapid.SliceOfNDistinct(rapid.Int64Range(0, 1000), 1, 40, rapid.ID[int64]).Draw(t, "offsets")
		slices.Sort(offsets) // with holes, as compaction and transactions leave them
		c := &claim{next: -1, committed: -1}
		for _, o := range offsets {
			c.open = append(c.open, &record{claim: c, offset: o, size: o + 1, state: out})
		}
		all := slices.Clone(c.open)
		order := rapid.Permutation(all).Draw(t, "order")
		freed, bytes := 0, int64(0)
		for _, r := range order {
			r.state = taken
			n, b := c.pass()
			freed, bytes = freed+n, bytes+b
			front, next, sum := 0, int64(-1), int64(0)
			for front < len(all) && all[front].state == taken {
				next, sum = all[front].offset+1, sum+all[front].size
				front++
			}
			if c.next != next || freed != front || bytes != sum || len(c.open) != len(all)-front {
				t.Fatalf("after offset %d: position %d with %d records, %d bytes freed; want %d with %d, %d", r.offset, c.next, freed, bytes, next, front, sum)
			}
		}
		if !c.due() {
			t.Fatal("a position that nobody has recorded is not due")
		}
		if c.committed = c.next; c.due() {
			t.Fatal("a recorded position is still due")
		}
	})
}

// TestQueueOrder: against a plain list: released records first, by partition and offset, then fresh ones as they came.
func TestQueueOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var back, fresh, handed []*record
		claims := []*claim{{partition: 0}, {partition: 1}, {partition: 2}}
		next := []int64{0, 0, 0}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 3).Draw(t, "step"); {
			case step == 0 && len(handed) > 0:
				i := rapid.IntRange(0, len(handed)-1).Draw(t, "released")
				r := handed[i]
				handed = slices.Delete(handed, i, i+1)
				q.giveBack(r)
				back = append(back, r)
				slices.SortFunc(back, func(a, b *record) int {
					if d := int(a.claim.partition - b.claim.partition); d != 0 {
						return d
					}
					return int(a.offset - b.offset)
				})
			case step == 1 && q.len() > 0:
				got := q.pop()
				want := fresh
				if len(back) > 0 {
					want = back
				}
				if got != want[0] {
					t.Fatalf("got partition %d offset %d, want %d %d", got.claim.partition, got.offset, want[0].claim.partition, want[0].offset)
				}
				if len(back) > 0 {
					back = back[1:]
				} else {
					fresh = fresh[1:]
				}
				handed = append(handed, got)
			default:
				p := rapid.IntRange(0, 2).Draw(t, "partition")
				r := &record{claim: claims[p], offset: next[p]}
				next[p]++
				q.push(r)
				fresh = append(fresh, r)
			}
			if q.len() != len(back)+len(fresh) {
				t.Fatalf("length: got %d, want %d", q.len(), len(back)+len(fresh))
			}
		}
	})
}
