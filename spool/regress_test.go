package spool_test

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// Bugs that the crash seeds have found, each by the shortest way to it.

// After a failed sync the system shows what is not on the disk, and takes it for clean. The next Open must not promise it:
// the power fails after each of its operations.
func TestReopenAfterFailedSyncPromisesNothing(t *testing.T) {
	for n := 1; ; n++ {
		hit := false
		for k := range 30 {
			d := spooltest.NewDisk()
			failed, _ := failing(d, syscall.EIO, func(i int) bool { return i == n })
			if s, _, err := spool.Open(t.Context(), options(d)); err == nil {
				s.Close() // may be what fails
			}
			hit = hit || failed.Load() != nil
			d.Inject(nil)
			w := newWorld(1)
			d.CrashAfter(d.Ops() + k)
			if err := w.live(d, rand.New(rand.NewPCG(1, 1)), 20); err != nil {
				t.Fatalf("sync %d failed, crash %d later: %v", n, k, err)
			}
			if err := w.live(powerFailure(d, 50), rand.New(rand.NewPCG(1, 1)), 0); err != nil {
				t.Fatalf("sync %d failed, crash %d later: %v", n, k, err)
			}
		}
		if !hit {
			if n < 5 {
				t.Fatalf("void: %d syncs", n)
			}
			return
		}
	}
}

// A lane without a record keeps the name it was given last, though older segments know it under another one.
func TestRenameOfAnEmptyLaneLasts(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	lane(t, s, "x")
	a := lane(t, s, "a")
	names := []string{"x", "y", "z"}
	for i := range 2 {
		if err := s.Rename(t.Context(), names[i], names[i+1]); err != nil {
			t.Fatal(err)
		}
		add(t, a, uint64(i)*50+1, uint64(i)*50+50, 1000) // into other segments, and all stay
	}
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, _ = open(t, d, spool.Options{})
		if st := s.Lanes(); len(st) != 2 || st[1].Name != "z" {
			t.Fatalf("lanes %+v, want a and z", st)
		}
	}
}

// The disk is full for one operation, and soon after it the power fails: a segment whose head could not be written decides
// nothing.
func TestCrashSoonAfterFault(t *testing.T) {
	for n := 0; ; n++ {
		hit := false
		for k := range 8 {
			w, d := newWorld(2), spooltest.NewDisk()
			d.CrashAfter(n + 1 + k)
			d.Inject(func(o spooltest.Op) error {
				if o.N == n {
					hit = true
					return syscall.EFBIG
				}
				return nil
			})
			if err := w.endure(d, rand.New(rand.NewPCG(7, 7)), 60, 3); err != nil {
				t.Fatalf("operation %d, crash %d later: %v", n, k, err)
			}
			for _, keep := range []int{0, 100} {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(k)))
				if err := w.clone().live(d.Image(keep, rnd), rnd, 5); err != nil {
					t.Fatalf("operation %d, crash %d later, %d%% kept: %v", n, k, keep, err)
				}
			}
		}
		if !hit {
			if n < 60 {
				t.Fatalf("void: %d operations", n)
			}
			return
		}
	}
}

// The process dies after each operation that makes a slot for later, the next one uses that slot, and then the power fails:
// the name of the slot must have been made to last.
func TestSlotOfADeadProcessIsThere(t *testing.T) {
	for n := 0; n < 25; n++ {
		first, d := newWorld(1), spooltest.NewDisk()
		d.CrashAfter(n)
		if err := first.live(d, rand.New(rand.NewPCG(3, 3)), 10); err != nil {
			t.Fatal(err)
		}
		if !d.Crashed() {
			t.Fatalf("void: %d operations", n)
		}
		for k := range 50 {
			w, next := first.clone(), d.Killed()
			next.CrashAfter(k)
			if err := w.live(next, rand.New(rand.NewPCG(4, 4)), 60); err != nil {
				t.Fatalf("operation %d, the next process: %v", n, err)
			}
			if err := w.live(powerFailure(next, 0), rand.New(rand.NewPCG(5, 5)), 0); err != nil {
				t.Fatalf("operation %d, power failure %d later: %v", n, k, err)
			}
		}
	}
}
