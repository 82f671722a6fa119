package spool_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// uneven is a world of a slow lane beside a fast one.
func uneven() *world {
	w := newWorld(2)
	w.slow = true
	w.weights.done = 20
	return w
}

// TestCrashWhileCopying lets the power fail after each operation of lives that copy records forward.
func TestCrashWhileCopying(t *testing.T) {
	total := uint64(0)
	for n := 0; ; n++ {
		crashed := false
		for _, keep := range []int{0, 50, 100} {
			w, d := uneven(), spooltest.NewDisk()
			d.CrashAfter(n)
			if err := w.live(d, rand.New(rand.NewPCG(5, uint64(n%7))), 100); err != nil {
				t.Fatalf("operation %d, %d%% kept: %v", n, keep, err)
			}
			crashed = crashed || d.Crashed()
			rnd := rand.New(rand.NewPCG(uint64(n), uint64(keep)))
			img := d.Image(keep, rnd)
			for depth := range 3 { // in recovery, and in the copying that follows it
				img.CrashAfter([]int{n % 9, n % 17, n % 61}[depth])
				if err := w.live(img, rnd, 40); err != nil {
					t.Fatalf("operation %d, %d%% kept, recovery %d: %v", n, keep, depth, err)
				}
				img = img.Image(keep, rnd)
			}
			if err := w.live(img, rnd, 20); err != nil {
				t.Fatalf("operation %d, %d%% kept, at the end: %v", n, keep, err)
			}
			total += w.copied
		}
		if !crashed {
			if n < 150 || total < 1000 {
				t.Fatalf("void: %d operations, %d records copied", n, total)
			}
			return
		}
	}
}

// TestErrorWhileCopying lets each operation of a life that copies fail once.
func TestErrorWhileCopying(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		total := uint64(0)
		for n := 0; ; n++ {
			w, d := uneven(), spooltest.NewDisk()
			hit := false
			d.Inject(func(o spooltest.Op) error {
				if o.N == n {
					hit = true
					return fault
				}
				return nil
			})
			if err := w.endure(d, rand.New(rand.NewPCG(7, 7)), 100, 2); err != nil {
				t.Fatalf("%v at operation %d: %v", fault, n, err)
			}
			if total += w.copied; !hit {
				if n < 150 || total < 1000 {
					t.Fatalf("void: %d operations, %d records copied", n, total)
				}
				break
			}
			img := d.Image([]int{0, 50, 100}[n%3], rand.New(rand.NewPCG(uint64(n), 0)))
			if err := w.live(img, rand.New(rand.NewPCG(1, 1)), 30); err != nil {
				t.Fatalf("%v at operation %d, after a crash: %v", fault, n, err)
			}
		}
	}
}

// fastAndSlow appends to a slow lane one small record beside fast ones that are done at once.
func fastAndSlow(t *testing.T, s *spool.Spool, from, to uint64) {
	t.Helper()
	slow, fast := lane(t, s, "slow"), lane(t, s, "fast")
	for i := from; i <= to; i++ {
		add(t, slow, i, i, 60)
		add(t, fast, 2*i-1, 2*i, 3000)
		if err := fast.Done(2*i-1, 2*i); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for something that a goroutine of the journal does.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still not: %s", what)
		}
	}
}

// A lane that nobody reads does not keep the segments it shares, and its records stay as they are.
func TestSlowLanePinsNoDisk(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{CopyRate: -1, Pool: 1})
	slow := lane(t, s, "slow")
	half := slow.Reader(1)
	fastAndSlow(t, s, 1, 100)
	for seq := uint64(1); seq <= 50; seq++ {
		if item, err := half.Next(t.Context()); err != nil || item.Seq != seq {
			t.Fatalf("read %d, want %d: %v", item.Seq, seq, err)
		}
	}
	if err := slow.Done(7, 8, 9, 30); err != nil {
		t.Fatal(err)
	}
	fastAndSlow(t, s, 101, 400)
	until(t, "few segments", func() bool { return s.Stats().Segments <= 8 })
	if st := s.Stats(); st.Copied < 300 || d.Used() > 15*segment {
		t.Errorf("after 300 segments' worth: %+v, %d bytes", st, d.Used())
	}
	for seq := uint64(51); seq <= 400; seq++ { // a reader that has begun before
		if item, err := half.Next(t.Context()); err != nil || item.Seq != seq || !same(item.Record, rec("slow", seq, 60)) {
			t.Fatalf("read %d, want %d: %v", item.Seq, seq, err)
		}
	}
	want := slices.DeleteFunc(seqs(1, 400), func(n uint64) bool { return n >= 7 && n <= 9 || n == 30 })
	if got := drain(t, slow); !slices.Equal(got, want) {
		t.Errorf("read %v", got)
	}
	before := slow.Stats()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, report := open(t, d, spool.Options{Pool: 1})
	clean(t, report)
	if got := drain(t, lane(t, s, "slow")); !slices.Equal(got, want) {
		t.Errorf("read %v after opening", got)
	}
	if st := lane(t, s, "slow").Stats(); st.Live != before.Live || st.Bytes != before.Bytes {
		t.Errorf("%+v, before %+v", st, before)
	}
}

// What is copied while its lane is read, appended to and marked done comes out once, in order.
func TestCopyingUnderReaders(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{Sparse: 1, CopyRate: -1, Pool: 1})
	const records = 300
	done := make(chan error, 1)
	go func() {
		r := lane(t, s, "slow").Reader(1)
		for seq := uint64(1); seq <= records; seq++ {
			item, err := r.Next(t.Context())
			if err != nil || item.Seq != seq || !same(item.Record, rec("slow", seq, 60)) {
				done <- fmt.Errorf("read %d, want %d: %w", item.Seq, seq, err)
				return
			}
			if seq%5 == 0 {
				if err := lane(t, s, "slow").Done(seq - 3); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	fastAndSlow(t, s, 1, records)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(seqs(1, records), func(n uint64) bool { return n%5 == 2 })
	if got := drain(t, lane(t, s, "slow")); !slices.Equal(got, want) {
		t.Errorf("read %v", got)
	}
	if s.Stats().Copied == 0 {
		t.Error("void: nothing was copied")
	}
}

// A slow lane in every segment of a full journal makes room for the others.
func TestCopyingFreesAFullJournal(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{MaxBytes: 10 * segment, CopyRate: -1, Sparse: 1, Retry: -1})
	slow, fast := lane(t, s, "slow"), lane(t, s, "fast")
	for i := uint64(1); i <= 200; i++ {
		for _, l := range []*spool.Lane{slow, fast} {
			seq := l.Stats().Next
			until(t, "room for a record", func() bool {
				_, err := l.Append(t.Context(), rec(l.Name(), seq, 30))
				if err != nil && !errors.Is(err, spool.ErrFull) {
					t.Fatal(err)
				}
				return err == nil
			})
		}
		if err := fast.Done(i); err != nil {
			t.Fatal(err)
		}
	}
	if got := drain(t, slow); !slices.Equal(got, seqs(1, 200)) {
		t.Errorf("read %v", got)
	}
	if d.Used() > 10*segment {
		t.Errorf("%d bytes are used", d.Used())
	}
}

// Done marks always find room on a full disk, one by one, whatever is copied meanwhile: it empties, and takes records again.
func TestCopyingLeavesRoomForMarks(t *testing.T) {
	for _, size := range []int{30, 300, 900} {
		s, _ := open(t, spooltest.NewDisk(), spool.Options{MaxBytes: 16 * segment, CopyRate: -1, Sparse: 1, Retry: -1})
		l := lane(t, s, "slow")
		var last uint64
		for err := error(nil); err == nil; {
			if _, err = l.Append(t.Context(), rec("slow", last+1, size)); err == nil {
				last++
			} else if !errors.Is(err, spool.ErrFull) {
				t.Fatal(err)
			}
		}
		for seq := last; seq > 0; seq-- {
			if err := errors.Join(l.Done(1+seq*7919%last), s.Sync(t.Context())); err != nil {
				t.Fatalf("%d of %d records left, %d copied: %v", seq, last, s.Stats().Copied, err)
			}
		}
		if n := s.Stats().Copied; n == 0 {
			t.Error("void: nothing was copied")
		}
		if _, err := l.Append(t.Context(), rec("slow", last+1, size)); err != nil {
			t.Error(err)
		}
	}
}

// Copying keeps to its rate.
func TestCopyingIsLimited(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{Sparse: 1, CopyRate: 1, Pool: 1})
	fastAndSlow(t, s, 1, 200)
	if st := s.Stats(); st.Copied > 100 || st.Segments < 30 {
		t.Errorf("at a byte per second: %+v", st)
	}
	off, _ := open(t, spooltest.NewDisk(), spool.Options{Sparse: -1, Pool: 1})
	fastAndSlow(t, off, 1, 50)
	if st := off.Stats(); st.Copied != 0 {
		t.Errorf("switched off: %+v", st)
	}
}
