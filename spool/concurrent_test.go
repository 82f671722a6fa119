package spool_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// Many lanes are appended to, read and marked done at the same time on a real disk, over several lives. Each record comes
// out once per life, in order, as it went in.
func TestManyLanesAtOnceOnDisk(t *testing.T) {
	const lanes, each = 8, 400
	o := spool.Options{Dir: filepath.Join(t.TempDir(), "journal"), SegmentSize: 256 << 10}
	for life := range uint64(3) {
		s, report, err := spool.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, report)
		var wg sync.WaitGroup
		errs := make(chan error, 2*lanes)
		for i := range lanes {
			l := lane(t, s, fmt.Sprint("lane ", i))
			from := life*each + 1
			wg.Go(func() { errs <- produce(t.Context(), l, from, from+each-1) })
			wg.Go(func() { errs <- consume(t.Context(), l, from, from+each-1) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		if err := s.Sync(t.Context()); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Segments != 1 || st.State != spool.OK {
			t.Errorf("at the end: %+v", st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// produce appends in windows, without waiting for each.
func produce(ctx context.Context, l *spool.Lane, from, to uint64) error {
	answers := make(chan error, to-from+1)
	for seq := from; seq <= to; seq++ {
		err := l.AppendAsync(ctx, []spool.Record{rec(l.Name(), seq, int(seq%7)*300)}, func(first uint64, err error) {
			if err == nil && first != seq {
				err = fmt.Errorf("%s: sequence %d for %d", l.Name(), first, seq)
			}
			answers <- err
		})
		if err != nil {
			return err
		}
	}
	var errs []error
	for range to - from + 1 {
		errs = append(errs, <-answers)
	}
	return errors.Join(errs...)
}

// consume reads everything and marks it done out of order.
func consume(ctx context.Context, l *spool.Lane, from, to uint64) error {
	r := l.Reader(1)
	for seq := from; seq <= to; seq++ {
		item, err := r.Next(ctx)
		if err != nil || item.Seq != seq || !same(item.Record, rec(l.Name(), seq, int(seq%7)*300)) {
			return fmt.Errorf("%s: read %d, want %d: %v", l.Name(), item.Seq, seq, err)
		}
		if seq%2 == 0 { // pairs, the second first
			if err := l.Done(seq, seq-1); err != nil {
				return err
			}
		}
	}
	return l.Done(to)
}

// Callers that come together share a sync: a thousand appends at once are far fewer writes.
func TestAppendsShareSyncs(t *testing.T) {
	d := newCounting()
	s, _ := open(t, d, spool.Options{SegmentSize: 4 << 20})
	l := lane(t, s, "a")
	before := d.syncs.Load()
	if err := produce(t.Context(), l, 1, 1000); err != nil {
		t.Fatal(err)
	}
	if n := d.syncs.Load() - before; n > 500 || n == 0 {
		t.Errorf("1000 appends took %d syncs", n)
	}
}

// A backlog costs no memory per record, however it is read: what a million records hold is far below a tenth of the 64 MiB
// that ten million may hold.
func TestBacklogCostsNoMemory(t *testing.T) {
	const lanes, records, bound = 10, 1_000_000, 3 << 20
	o := spool.Options{Dir: filepath.Join(t.TempDir(), "journal"), SegmentSize: 8 << 20}
	s, _, err := spool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	recs := make([]spool.Record, 1000)
	for i := range recs {
		recs[i] = spool.Record{Body: make([]byte, 32)}
	}
	for i := range records / len(recs) {
		if _, err := lane(t, s, fmt.Sprint(i%lanes)).Append(t.Context(), recs...); err != nil {
			t.Fatal(err)
		}
	}
	used := heap() - before
	if t.Logf("%d bytes after appending", used); used > bound {
		t.Errorf("appended: %d records of backlog hold %d bytes of memory", records, used)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, report, err := spool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	used = heap() - before
	if t.Logf("%d bytes after opening", used); used > bound || report.Records != records {
		t.Errorf("opened: %d records of backlog hold %d bytes of memory", report.Records, used)
	}
	var readers []*spool.Reader
	for i := range lanes {
		r := lane(t, s, fmt.Sprint(i)).Reader(1)
		for seq := uint64(1); seq < records/lanes; seq++ {
			if item, err := r.Next(t.Context()); err != nil || item.Seq != seq {
				t.Fatalf("read %d: %d, %v", seq, item.Seq, err)
			}
		}
		readers = append(readers, r)
	}
	// A reader may hold its window, 128 KiB, and the places of its lane in one segment.
	used = heap() - before
	if t.Logf("%d bytes with readers", used); used > bound+lanes*(256<<10) {
		t.Errorf("read: %d records of backlog hold %d bytes of memory", records, used)
	}
	runtime.KeepAlive(readers)
}

// Ten thousand lanes fit, come back after a restart, and an idle one costs less than 2 KiB.
func TestTenThousandLanes(t *testing.T) {
	const lanes = 10_000
	o := spool.Options{Dir: filepath.Join(t.TempDir(), "journal"), SegmentSize: 8 << 20}
	s, _, err := spool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	answers := make(chan error, lanes)
	for i := range lanes {
		l := lane(t, s, fmt.Sprintf("route %d to some target", i))
		err := l.AppendAsync(t.Context(), []spool.Record{rec(l.Name(), 1, 20)}, func(_ uint64, err error) { answers <- err })
		if err != nil {
			t.Fatal(err)
		}
	}
	for range lanes {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	if each := (heap() - before) / lanes; each > 2048 {
		t.Errorf("a lane costs %d bytes", each)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the checkpoint of the first
		s, report, err := spool.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, report)
		if n := len(s.Lanes()); n != lanes || report.Records != lanes {
			t.Errorf("%d lanes, %d records", n, report.Records)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLanesAreBounded(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{})
	for i := range 1000 {
		l, err := s.Lane(fmt.Sprint(i))
		if errors.Is(err, spool.ErrTooManyLanes) {
			if i < 50 {
				t.Errorf("only %d lanes", i)
			}
			add(t, lane(t, s, "0"), 2, 60, 1000) // the others go on
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, 1, 1, 10)
	}
	t.Error("no bound")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
