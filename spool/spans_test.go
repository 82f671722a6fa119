package spool

import (
	"math/rand/v2"
	"testing"
)

// TestSpansAgainstABitmap compares the set with the simplest one.
func TestSpansAgainstABitmap(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var s spans
		var bits [66]bool
		for range 60 {
			r := span{uint64(rnd.IntN(60)), 0}
			r.last = r.first + uint64(rnd.IntN(5))
			s.add(r)
			for i := r.first; i <= r.last && r.first > 0; i++ {
				bits[i] = true
			}
			compare(t, seed, s, bits[:])
		}
	}
}

func compare(t *testing.T, seed uint64, s spans, bits []bool) {
	t.Helper()
	n := uint64(0)
	for i, want := range bits {
		if want {
			n++
		}
		if s.has(uint64(i)) != want {
			t.Fatalf("seed %d: has(%d) = %v: %v", seed, i, !want, s)
		}
		next := i
		for next < len(bits) && bits[next] {
			next++
		}
		if got := s.next(uint64(i)); got != uint64(next) {
			t.Fatalf("seed %d: next(%d) = %d, want %d: %v", seed, i, got, next, s)
		}
	}
	all := span{1, uint64(len(bits) - 1)}
	gaps := uint64(0)
	for _, g := range s.missing(all) {
		gaps += g.last - g.first + 1
	}
	if s.count(all) != n || gaps != all.last-n {
		t.Fatalf("seed %d: count %d and gaps %d, want %d and %d: %v", seed, s.count(all), gaps, n, all.last-n, s)
	}
	for i := 1; i < len(s); i++ {
		if s[i].first <= s[i-1].last+1 {
			t.Fatalf("seed %d: runs touch: %v", seed, s)
		}
	}
}

func FuzzRecord(f *testing.F) {
	c := newCodec(42)
	f.Add(int64(start), c.append(nil, start, head{kind: kindData, seq: 1, lane: 1}, dataPrefix([]byte("id")), []byte("body")))
	f.Add(int64(0), make([]byte, headLen))
	f.Fuzz(func(t *testing.T, place int64, b []byte) {
		h, ok := c.head(place, b)
		if !ok || int64(len(b)) < h.size() {
			return
		}
		payload, ok := c.payload(h, b[headLen:h.size()])
		if !ok {
			return
		}
		again := c.append(nil, place, h, payload)
		if string(again) != string(b[:h.size()]) {
			t.Errorf("%x is read, and written back as %x", b[:h.size()], again)
		}
		splitName(payload)
		eachPair(payload, func(_, _ uint64) {})
	})
}
