package spool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

func powerFailure(d *spooltest.Disk, keep int) *spooltest.Disk {
	return d.Image(keep, rand.New(rand.NewPCG(3, 3)))
}

// fillUp appends until there is no more room, and returns how many were taken.
func fillUp(t *testing.T, l *spool.Lane) uint64 {
	t.Helper()
	for from := l.Stats().Next; ; from++ {
		_, err := l.Append(t.Context(), rec(l.Name(), from, 1000))
		if errors.Is(err, spool.ErrFull) {
			return from - 1
		}
		if err != nil || from > 100_000 {
			t.Fatalf("append %d: %v", from, err)
		}
	}
}

// C14: more segments than a checkpoint can list are a full journal: nothing is too large for it, and it drains.
func TestTooManySegmentsAreFull(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{Pool: 1, CopyRate: -1})
	l := lane(t, s, "a")
	n := fillUp(t, l)
	if st := s.Stats(); st.State != spool.Full || int64(st.Segments)*24 < segment/2 || !strings.Contains(st.Cause.Error(), "segment_size") {
		t.Errorf("after %d records: %+v", n, st)
	}
	r := l.Reader(1)
	for want := uint64(1); want <= n; want++ {
		if it, err := r.Next(t.Context()); err != nil || it.Seq != want {
			t.Fatalf("read %d: %d, %v", want, it.Seq, err)
		}
		if err := l.Done(want); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), rec("a", n+1, 1000)); err != nil || s.Stats().State != spool.OK {
		t.Errorf("after draining: %v, %+v", err, s.Stats())
	}
}

// C14: on a full disk receiving stops, draining goes on, and it ends without a restart.
func TestFullDiskDrains(t *testing.T) {
	for name, bound := range map[string]struct {
		disk, max int64
	}{"disk": {disk: 7*segment + 5000}, "quota": {max: 7 * segment}} {
		t.Run(name, func(t *testing.T) {
			d := spooltest.NewDisk()
			d.SetCapacity(bound.disk)
			s, _ := open(t, d, spool.Options{MaxBytes: bound.max, Retry: -1})
			l := lane(t, s, "a")
			n := fillUp(t, l)
			if st := s.Stats(); st.State != spool.Full || st.Free != 2 || n < 20 {
				t.Fatalf("after %d records: %+v", n, st)
			}
			clean(t, verify(t, unlocked(d)))
			for range 3 { // a restart on a full disk drains too
				for i := uint64(1); i < n; i++ { // far more marks, each synced, than the reserve has blocks; the last record pins its segment
					if err := errors.Join(l.Done(i), s.Sync(t.Context())); err != nil {
						t.Fatalf("done %d of %d: %v", i, n, err)
					}
				}
				if st := s.Stats(); st.State != spool.OK {
					t.Fatalf("after draining: %+v", st)
				}
				n = fillUp(t, l)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				var report *spool.RecoveryReport
				s, report = open(t, d, spool.Options{MaxBytes: bound.max, Retry: -1})
				clean(t, report)
				l = lane(t, s, "a")
				if got := drain(t, l); got[len(got)-1] != n {
					t.Fatalf("read up to %d of %d", got[len(got)-1], n)
				}
			}
		})
	}
}

// Marks on a full disk make room without anybody asking, though one record is never done.
func TestFullDiskMakesRoomByItself(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{MaxBytes: 7 * segment, Retry: -1})
	l := lane(t, s, "a")
	n := fillUp(t, l)
	if err := l.Done(seqs(2, n)...); err != nil {
		t.Fatal(err)
	}
	tick, late := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for s.Stats().State != spool.OK {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still %+v", s.Stats())
		}
	}
	add(t, l, n+1, n+5, 1000)
}

// unlocked is the same disk to somebody who may look at it while it is in use.
func unlocked(d *spooltest.Disk) *spooltest.Disk { return powerFailure(d, 0) }

// TestFullAtEveryWrite lets the disk be full from each operation on that needs room, by each of the errors that say so. What
// is there drains, its marks reach the disk, and when there is room again the journal goes on without a restart.
func TestFullAtEveryWrite(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		for n := 0; ; n++ {
			d, full := spooltest.NewDisk(), false
			d.Inject(func(o spooltest.Op) error {
				if full = full || o.Grows && o.N >= n; full && o.Grows {
					return fault
				}
				return nil
			})
			if err := fullForAWhile(d); err != nil {
				t.Fatalf("%v from operation %d on: %v", fault, n, err)
			}
			if !full {
				if n < 60 {
					t.Fatalf("void: %d operations", n)
				}
				break
			}
		}
	}
}

// fullForAWhile acts while the disk gets full, drains all, and acts again when there is room.
func fullForAWhile(d *spooltest.Disk) error {
	w, rnd := newWorld(2), rand.New(rand.NewPCG(5, 5))
	s, report, err := spool.Open(context.Background(), options(d))
	if err != nil {
		return err
	}
	defer s.Close()
	if err := w.check(s, report); err != nil {
		return err
	}
	for range 60 {
		if err := w.act(s, rnd); err != nil && !errors.Is(err, spool.ErrFull) {
			return err
		}
	}
	for _, m := range w.lanes {
		if err := errors.Join(m.read(), m.purge()); err != nil {
			return fmt.Errorf("while it is full: %w", err)
		}
	}
	if err := w.sync(s); err != nil && !(s.Stats().Segments == 0 && errors.Is(err, spool.ErrFull)) { // it never had a segment
		return fmt.Errorf("marks while it is full: %w", err)
	}
	d.Inject(nil)
	for range 20 {
		if err := w.act(s, rnd); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if err := w.live(powerFailure(d, 0), rnd, 20); err != nil {
		return fmt.Errorf("after a crash: %w", err)
	}
	return nil
}

// TestFullAtEverySize lets the disk be full at every place in the life of a journal.
func TestFullAtEverySize(t *testing.T) {
	for size := int64(1); size < 9*segment; size += 1777 {
		d := spooltest.NewDisk()
		d.SetCapacity(size)
		w, rnd := newWorld(2), rand.New(rand.NewPCG(uint64(size), 0))
		s, report, err := spool.Open(t.Context(), options(d))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if err := w.check(s, report); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		for range 60 {
			if err := w.act(s, rnd); err != nil && !errors.Is(err, spool.ErrFull) {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		d.SetCapacity(0)
		for range 20 {
			if err := w.act(s, rnd); err != nil {
				t.Fatalf("%d bytes, then room: %v", size, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatalf("%d bytes: close: %v", size, err)
		}
		if err := w.live(powerFailure(d, 0), rnd, 20); err != nil {
			t.Fatalf("%d bytes, after a crash: %v", size, err)
		}
	}
}

func TestLaneQuota(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	a.SetQuota(10_000)
	n := uint64(0)
	for err := error(nil); !errors.Is(err, spool.ErrLaneFull); n++ {
		if _, err = a.Append(t.Context(), rec("a", n+1, 1000)); err != nil && !errors.Is(err, spool.ErrLaneFull) || n > 20 {
			t.Fatalf("append %d: %v", n, err)
		}
	}
	if n != 10 {
		t.Errorf("%d records fit into the quota, want 9", n-1)
	}
	add(t, b, 1, 50, 1000)
	if err := errors.Join(a.Done(1), s.Sync(t.Context())); err != nil {
		t.Fatal(err)
	}
	add(t, a, 10, 10, 900)
}

// failing lets the syncs go wrong that pick says, by their count.
func failing(d *spooltest.Disk, err error, pick func(n int) bool) (failed *atomic.Value, syncs *atomic.Int64) {
	failed, syncs = new(atomic.Value), new(atomic.Int64)
	n := 0
	d.Inject(func(o spooltest.Op) error {
		if o.Kind != spooltest.Sync {
			return nil
		}
		if name, ok := failed.Load().(string); ok && name == o.Name {
			syncs.Add(1)
		}
		n++
		if pick(n) {
			failed.Store(o.Name)
			return err
		}
		return nil
	})
	return failed, syncs
}

// C13: a failed sync ends its file. Nothing of the batch is acknowledged, the file is not synced again, the next append is
// in a new one, and a crash loses nothing that was acknowledged.
func TestFaultOfOneSync(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	l := lane(t, s, "a")
	add(t, l, 1, 3, 100)
	if err := l.Done(1); err != nil {
		t.Fatal(err)
	}
	failed, syncs := failing(d, syscall.EIO, func(n int) bool { return n == 1 })
	if _, err := l.Append(t.Context(), rec("a", 4, 100)); !errors.Is(err, spool.ErrUnknown) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("append while the sync fails: lost: %v", err)
	}
	if got := drain(t, l); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("read %v: an unconfirmed record is shown", got)
	}
	add(t, l, 4, 30, 2000) // sequence 4 is used again, for another record
	if n := syncs.Load(); n != 0 {
		t.Errorf("%s was synced %d times after a failed sync", failed.Load(), n)
	}
	for _, keep := range []int{0, 50, 100} {
		s, report := open(t, powerFailure(d, keep), spool.Options{})
		clean(t, report)
		if got := drain(t, lane(t, s, "a")); !slices.Equal(got, seqs(2, 30)) {
			t.Errorf("%d%% kept: lost: read %v", keep, got)
		}
	}
	if err := errors.Join(l.Done(seqs(2, 30)...), s.Sync(t.Context())); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(d.Names(), failed.Load().(string)) {
		t.Errorf("%s would be used again", failed.Load())
	}
}

func TestFaultsTooOftenAreFinal(t *testing.T) { synctest.Test(t, faultsTooOften) }

func faultsTooOften(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	l := lane(t, s, "a")
	add(t, l, 1, 2, 10)
	for i := range 3 {
		synctest.Wait()                                             // the writer fills segments for later; the fault is meant for the batch
		failing(d, syscall.EIO, func(n int) bool { return n == 1 }) // the batch fails, the new segment works
		_, err := l.Append(t.Context(), rec("a", 3, 10))
		if !errors.Is(err, spool.ErrUnknown) || errors.Is(err, spool.ErrFailed) != (i == 2) {
			t.Fatalf("fault %d: %v", i, err)
		}
	}
	d.Inject(nil)
	_, err := l.Append(t.Context(), rec("a", 3, 10))
	if st := s.Stats(); !errors.Is(err, spool.ErrFailed) || st.State != spool.Failed || !errors.Is(st.Cause, syscall.EIO) {
		t.Errorf("append to a failed journal: %v, %+v", err, st)
	}
	if got := drain(t, l); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("reading goes on: %v", got)
	}
	if err := s.Close(); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	s, report := open(t, powerFailure(d, 0), spool.Options{})
	clean(t, report)
	add(t, lane(t, s, "a"), 3, 4, 10)
}

func TestOwnerVersionAndLock(t *testing.T) {
	d := spooltest.NewDisk()
	s, report := open(t, d, spool.Options{Owner: "one"})
	add(t, lane(t, s, "a"), 1, 2, 10)
	epoch := report.Epoch
	if epoch == 0 {
		t.Error("no epoch")
	}
	var held *vfs.HeldError
	if _, _, err := spool.Open(t.Context(), options(d)); !errors.As(err, &held) {
		t.Errorf("open a journal in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := options(d)
	o.Owner = "two"
	if _, _, err := spool.Open(t.Context(), o); !errors.Is(err, spool.ErrOwner) {
		t.Fatalf("open another owner's journal: %v", err)
	}
	o.AcceptEpoch = true
	for i := range 3 { // accepted once and for all
		s, report = open(t, d, o)
		if (report.Epoch == epoch) == (i == 0) || report.Records != 2 {
			t.Errorf("%d: %+v, before it epoch %d", i, report, epoch)
		}
		epoch = report.Epoch
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		o.AcceptEpoch = false
	}
}

func TestOpenRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]spool.Options{
		"no place":       {},
		"two places":     {FS: spooltest.NewDisk(), Dir: "x"},
		"odd segment":    {FS: spooltest.NewDisk(), SegmentSize: 40_000},
		"small segment":  {FS: spooltest.NewDisk(), SegmentSize: 4096},
		"small in all":   {FS: spooltest.NewDisk(), SegmentSize: segment, MaxBytes: 3 * segment},
		"reserve of one": {FS: spooltest.NewDisk(), SegmentSize: segment, Reserve: 1},
	} {
		if s, _, err := spool.Open(t.Context(), o); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		}
	}
	s, _ := open(t, spooltest.NewDisk(), spool.Options{})
	if _, err := lane(t, s, "a").Append(t.Context(), spool.Record{Body: make([]byte, spool.MaxBody+1)}); !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("a record of more than the largest: %v", err)
	}
	if _, err := lane(t, s, "a").Append(t.Context(), spool.Record{ID: make([]byte, 1<<16)}); !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("an id of 64 KiB: %v", err)
	}
	if _, err := lane(t, s, "a").Append(t.Context()); err == nil {
		t.Error("appended nothing")
	}
}
