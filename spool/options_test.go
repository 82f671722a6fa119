package spool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

// killed is the disk as the next process finds it after the death of the one before: nothing written is gone, and nobody
// holds the lock.
type killed struct{ vfs.FS }

func TestReportSaysWhetherClean(t *testing.T) {
	d := spooltest.NewDisk()
	s, report := open(t, d, spool.Options{})
	if !report.Clean {
		t.Error("a new journal is clean")
	}
	add(t, lane(t, s, "a"), 1, 5, 100)
	if r := verify(t, unlocked(d)); r.Clean {
		t.Error("a journal in use is not clean")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, d); !r.Clean {
		t.Error("a closed journal is clean")
	}
	_, report = open(t, d, spool.Options{})
	if !report.Clean {
		t.Errorf("report: %+v", report)
	}
	if r := verify(t, unlocked(d)); r.Clean {
		t.Error("a journal opened again is not clean")
	}
}

func TestRename(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	add(t, a, 1, 3, 100)
	add(t, b, 1, 1, 100)
	for from, to := range map[string]string{"a": "b", "x": "y", "b": ""} {
		if err := s.Rename(t.Context(), from, to); err == nil {
			t.Errorf("%q was renamed to %q", from, to)
		}
	}
	if err := s.Rename(t.Context(), "b", "a"); !errors.Is(err, spool.ErrLaneExists) {
		t.Errorf("to a name in use: %v", err)
	}
	if err := s.Rename(t.Context(), "c", "d"); !errors.Is(err, spool.ErrNoLane) {
		t.Errorf("of a lane that is not there: %v", err)
	}
	if err := s.Rename(t.Context(), "a", "alpha"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), rec("a", 4, 10)); err != nil || a.Name() != "alpha" || lane(t, s, "alpha") != a {
		t.Errorf("lane %q after renaming: %v", a.Name(), err)
	}
	add(t, b, 2, 90, 1000) // several segments later
	for _, img := range []*spooltest.Disk{powerFailure(d, 0), powerFailure(d, 50)} {
		s, report := open(t, img, spool.Options{})
		clean(t, report)
		var names []string
		for _, st := range s.Lanes() {
			names = append(names, st.Name)
		}
		if !slices.Equal(names, []string{"alpha", "b"}) || lane(t, s, "alpha").Stats().Live != 4 {
			t.Errorf("after a power failure: lanes %v", names)
		}
	}
}

// Nil means durable at each step of a rename, and a failed one leaves a lane of one of both names.
func TestRenameCrash(t *testing.T) {
	for n := 0; ; n++ {
		d := spooltest.NewDisk()
		s, _ := open(t, d, spool.Options{})
		add(t, lane(t, s, "a"), 1, 3, 100)
		d.CrashAfter(d.Ops() + n)
		renamed := s.Rename(t.Context(), "a", "b")
		if renamed == nil {
			_, renamed = lane(t, s, "b").Append(t.Context(), rec("b", 4, 5))
		}
		for _, keep := range []int{0, 50, 100} {
			s, report := open(t, powerFailure(d, keep), spool.Options{})
			clean(t, report)
			list := s.Lanes()
			if len(list) != 1 || list[0].Live < 3 || renamed == nil && list[0].Name != "b" {
				t.Fatalf("operation %d, %d%% kept: lost: %+v, rename said %v", n, keep, list, renamed)
			}
		}
		if !d.Crashed() {
			if n < 4 {
				t.Fatalf("void: %d operations", n)
			}
			return
		}
	}
}

// SyncEvery makes records of a while share a sync, and Sync does not wait for it.
func TestSyncEveryGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := spool.Open(t.Context(), spool.Options{FS: spooltest.NewDisk(), SegmentSize: segment, SyncEvery: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		synctest.Wait() // what Open leaves to the writer is done
		l, before, began := lane(t, s, "a"), s.Stats().Syncs, time.Now()
		answers := make(chan error, 3)
		for i := range uint64(3) {
			time.AfterFunc(time.Duration(i)*300*time.Millisecond, func() {
				_, err := l.Append(context.Background(), rec("a", i+1, 10))
				answers <- err
			})
		}
		for range 3 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if n, took := s.Stats().Syncs-before, time.Since(began); n != 1 || took != time.Second {
			t.Errorf("%d syncs, answers after %v: want 1 after 1s", n, took)
		}
		began = time.Now()
		if err := errors.Join(l.Done(1, 2, 3), s.Sync(t.Context())); err != nil || time.Since(began) != 0 {
			t.Errorf("sync took %v: %v", time.Since(began), err)
		}
	})
}

// Many who mark and sync while a sync runs share the next one, and a Sync with nothing to do costs none.
func TestSyncIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := spooltest.NewDisk()
		s, _, err := spool.Open(t.Context(), spool.Options{FS: d, SegmentSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		const lanes = 200
		var list []*spool.Lane
		for i := range lanes {
			list = append(list, lane(t, s, fmt.Sprint("lane ", i)))
			add(t, list[i], 1, 2, 10)
		}
		release := make(chan struct{})
		d.Inject(func(o spooltest.Op) error {
			if o.Kind == spooltest.Sync {
				<-release
			}
			return nil
		})
		before := s.Stats().Syncs
		var wg sync.WaitGroup
		mark := func(l *spool.Lane) {
			if err := errors.Join(l.Done(1), s.Sync(t.Context())); err != nil {
				t.Error(err)
			}
		}
		wg.Go(func() { mark(list[0]) })
		synctest.Wait() // in its sync
		for _, l := range list[1:] {
			wg.Go(func() { mark(l) })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := s.Stats().Syncs - before; n != 2 {
			t.Errorf("%d lanes took %d syncs, want 2", lanes, n)
		}
		if err := s.Sync(t.Context()); err != nil || s.Stats().Syncs-before != 2 {
			t.Errorf("nothing to do took %d syncs: %v", s.Stats().Syncs-before-2, err)
		}
	})
}

func TestObserveSeesEveryBatch(t *testing.T) {
	var records, size, syncs atomic.Int64
	s, _ := open(t, spooltest.NewDisk(), spool.Options{Observe: func(took time.Duration, n, bytes int) {
		records.Add(int64(n))
		size.Add(int64(bytes))
		if took > 0 {
			syncs.Add(1)
		}
	}})
	l := lane(t, s, "a")
	add(t, l, 1, 20, 1000)
	if _, err := l.Append(t.Context(), rec("a", 21, 1), rec("a", 22, 1)); err != nil {
		t.Fatal(err)
	}
	if records.Load() != 22 || size.Load() < 20_000 || size.Load() > 22*block || syncs.Load() != 21 {
		t.Errorf("observed %d records, %d bytes, %d syncs", records.Load(), size.Load(), syncs.Load())
	}
	if st := s.Stats(); st.Appends != 22 || st.Syncs < 21 {
		t.Errorf("%+v", st)
	}
}

// Without syncs a dead process loses nothing, a power failure only the end, and neither a segment that is used again.
func TestNoSync(t *testing.T) {
	d := spooltest.NewDisk()
	o := spool.Options{NoSync: true, Pool: 1}
	s, _ := open(t, d, o)
	l := lane(t, s, "a")
	before := s.Stats().Syncs
	add(t, l, 1, 3, 100)
	if n := s.Stats().Syncs - before; n != 0 {
		t.Errorf("3 appends took %d syncs", n)
	}
	again, report := open(t, killed{d}, o)
	clean(t, report)
	if got := drain(t, lane(t, again, "a")); !slices.Equal(got, seqs(1, 3)) {
		t.Errorf("after the death of the process: %v", got)
	}
	if got := drain(t, lane(t, first(open(t, powerFailure(d, 0), o)), "a")); !slices.Equal(got, seqs(1, 3)) {
		t.Errorf("what was found is not kept: %v", got)
	}
}

func first(s *spool.Spool, _ *spool.RecoveryReport) *spool.Spool { return s }

func TestNoSyncLosesOnlyTheEnd(t *testing.T) {
	d := spooltest.NewDisk()
	o := spool.Options{NoSync: true, Pool: 1}
	s, _ := open(t, d, o)
	l := lane(t, s, "a")
	for i := uint64(1); i <= 300; i++ {
		add(t, l, i, i, 700)
		if i%3 != 0 {
			if err := l.Done(i); err != nil {
				t.Fatal(err)
			}
		}
		if i == 200 {
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if i%7 > 0 {
			continue
		}
		for _, keep := range []int{0, 50, 100} {
			s, report := open(t, powerFailure(d, keep), o)
			clean(t, report)
			l := lane(t, s, "a")
			next := l.Stats().Next
			if keep == 100 && next != i+1 || i >= 200 && next <= 200 {
				t.Fatalf("lost: %d%% kept of %d: goes on with %d", keep, i, next)
			}
			got := drain(t, l)
			for seq := uint64(3); seq < next; seq += 3 {
				if !slices.Contains(got, seq) {
					t.Fatalf("lost: %d%% kept of %d: no %d, though next is %d", keep, i, seq, next)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A failed sync at the end of a segment without syncs: the journal goes on, in another one.
func TestNoSyncFault(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{NoSync: true, Retry: -1})
	l := lane(t, s, "a")
	add(t, l, 1, 5, 1000)
	failed, syncs := failing(d, syscall.EIO, func(n int) bool { return n == 1 })
	for next, tries := uint64(6), 0; next <= 100; tries++ {
		switch _, err := l.Append(t.Context(), rec("a", next, 1000)); {
		case err == nil:
			next++
		case !errors.Is(err, spool.ErrFull) || tries > 200: // full for a moment: the fault has hit a segment made for later
			t.Fatalf("append %d: %v", next, err)
		}
	}
	if failed.Load() == nil || syncs.Load() != 0 {
		t.Errorf("%v was synced %d times after a failed sync", failed.Load(), syncs.Load())
	}
	if got := drain(t, l); !slices.Equal(got, seqs(1, 100)) {
		t.Errorf("read %v", got)
	}
}

func TestTooSmallForItsReserve(t *testing.T) {
	_, _, err := spool.Open(t.Context(), spool.Options{FS: spooltest.NewDisk(), SegmentSize: segment, MaxBytes: 4*segment - 1})
	if !errors.Is(err, spool.ErrTooSmall) {
		t.Errorf("%v", err)
	}
	open(t, spooltest.NewDisk(), spool.Options{MaxBytes: 4 * segment})
}

// Segments of an earlier size count in MaxBytes with the size they have.
func TestMaxBytesCountsOldSizes(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{SegmentSize: 8 * segment})
	add(t, lane(t, s, "a"), 1, 200, 3000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	limit := d.Used() + 3*segment
	s, report := open(t, d, spool.Options{MaxBytes: limit, Retry: -1, Sparse: -1}) // copying would make room again
	clean(t, report)
	fillUp(t, lane(t, s, "a"))
	if d.Used() > limit || s.Stats().State != spool.Full {
		t.Errorf("%d bytes of %d: %+v", d.Used(), limit, s.Stats())
	}
}
