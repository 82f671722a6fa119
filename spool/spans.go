package spool

import "slices"

// A span is a run of sequences, both ends included.
type span struct{ first, last uint64 }

// spans is a set of sequences: sorted runs that neither touch nor overlap. What is done in a lane is such a set and never
// a single high-water mark, since records are confirmed out of order.
type spans []span

// search returns the index of the first run that ends at or after seq.
func (s spans) search(seq uint64) int {
	i, _ := slices.BinarySearchFunc(s, seq, func(r span, seq uint64) int {
		if r.last < seq {
			return -1
		}
		return 1
	})
	return i
}

func (s spans) has(seq uint64) bool {
	i := s.search(seq)
	return i < len(s) && s[i].first <= seq
}

// next returns the first sequence from seq on that is not in the set.
func (s spans) next(seq uint64) uint64 {
	if i := s.search(seq); i < len(s) && s[i].first <= seq {
		return s[i].last + 1
	}
	return seq
}

// highest returns the last sequence of the set, 0 if it is empty.
func (s spans) highest() uint64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].last
}

// add puts a run into the set, joining what it touches. A run that is empty or starts at zero is ignored.
func (s *spans) add(r span) {
	if r.first == 0 || r.first > r.last || r.last == ^uint64(0) {
		return
	}
	i := s.search(r.first - 1) // the first run that could touch r
	j := i
	for j < len(*s) && (*s)[j].first <= r.last+1 {
		r.first, r.last = min(r.first, (*s)[j].first), max(r.last, (*s)[j].last)
		j++
	}
	*s = slices.Replace(*s, i, j, r)
}

// count returns how many sequences of r are in the set.
func (s spans) count(r span) (n uint64) {
	for i := s.search(r.first); i < len(s) && s[i].first <= r.last; i++ {
		n += min(s[i].last, r.last) - max(s[i].first, r.first) + 1
	}
	return n
}

// missing returns the parts of r that are not in the set.
func (s spans) missing(r span) (gaps []span) {
	for at := r.first; at <= r.last; {
		if at = s.next(at); at > r.last {
			break
		}
		end := r.last
		if i := s.search(at); i < len(s) && s[i].first <= r.last {
			end = s[i].first - 1
		}
		gaps = append(gaps, span{at, end})
		at = end + 1
	}
	return gaps
}
