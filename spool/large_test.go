package spool_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// chunk is the size of a chunk in segments of the size the tests use.
const chunk = segment / 8

func TestLargeRecords(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	for i, size := range []int{chunk, chunk + 1, 0, 10 * chunk, 100_000, 3*segment + 17} {
		add(t, a, uint64(i+1), uint64(i+1), size)
		add(t, b, uint64(i+1), uint64(i+1), 10)
	}
	if st := a.Stats(); st.Live != 6 || st.Bytes < 100_000+12*chunk+3*segment {
		t.Errorf("%+v", st)
	}
	for range 2 {
		if got := drain(t, a); !slices.Equal(got, seqs(1, 6)) {
			t.Errorf("read %v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var report *spool.RecoveryReport
		s, report = open(t, d, spool.Options{})
		clean(t, report)
		if a = lane(t, s, "a"); report.Records != 12 || len(s.Lanes()) != 2 {
			t.Errorf("%+v, lanes %+v", report, s.Lanes())
		}
	}
	if r := verify(t, unlocked(d)); r.Records != 12 || len(r.Damage)+len(r.Missing) != 0 {
		t.Errorf("scanned: %+v", r)
	}
	if err := errors.Join(a.Done(seqs(1, 6)...), lane(t, s, "b").Done(seqs(1, 6)...), s.Sync(t.Context())); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments > 2 || a.Stats().Bytes != 0 {
		t.Errorf("after all are done: %+v, %+v", st, a.Stats())
	}
}

// The largest record, on a real disk with segments of its own size.
func TestLargestRecord(t *testing.T) {
	o := spool.Options{Dir: filepath.Join(t.TempDir(), "journal"), SegmentSize: 16 << 20}
	s, _, err := spool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	body := make([]byte, spool.MaxBody)
	for i := 0; i < len(body); i += 1000 {
		body[i] = byte(i / 1000)
	}
	l := lane(t, s, "a")
	if _, err := l.Append(t.Context(), spool.Record{ID: []byte("x"), Body: body, Flags: 7}); err != nil {
		t.Fatal(err)
	}
	item, err := l.Reader(1).Next(t.Context())
	if err != nil || !bytes.Equal(item.Body, body) || string(item.ID) != "x" || item.Flags != 7 {
		t.Errorf("%d bytes come back, flags %d: %v", len(item.Body), item.Flags, err)
	}
}

// One append of very many records is cut too: they get sequences without a gap, and later ones come behind them.
func TestManyRecordsInOneAppend(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{})
	l := lane(t, s, "a")
	var recs []spool.Record
	for seq := uint64(1); seq <= 300; seq++ {
		recs = append(recs, rec("a", seq, int(seq%9)*100))
	}
	recs[100] = rec("a", 101, 3*chunk)
	answers := make(chan error, 1)
	err := l.AppendAsync(t.Context(), recs, func(first uint64, err error) {
		if first != 1 {
			err = errors.Join(err, errors.New("wrong sequence"))
		}
		answers <- err
	})
	if err != nil {
		t.Fatal(err)
	}
	add(t, l, 301, 302, 10)
	if err := <-answers; err != nil {
		t.Fatal(err)
	}
	if got := drain(t, l); !slices.Equal(got, seqs(1, 302)) {
		t.Errorf("read %v", got)
	}
}

// A small record waits for a chunk, not for the whole of a large record; Sync waits for all given before it.
func TestSmallRecordsPassLargeOnes(t *testing.T) {
	var batches atomic.Int64
	third, enqueued := make(chan struct{}), make(chan struct{})
	s, _ := open(t, spooltest.NewDisk(), spool.Options{Observe: func(_ time.Duration, _, _ int) {
		if batches.Add(1) == 3 {
			close(third)
			<-enqueued
		}
	}})
	var largeAt, smallAt, nextAt atomic.Int64
	answers := make(chan error, 3)
	send := func(l *spool.Lane, seq uint64, size int, at *atomic.Int64) {
		err := l.AppendAsync(t.Context(), []spool.Record{rec(l.Name(), seq, size)}, func(first uint64, err error) {
			if first != seq {
				err = errors.Join(err, errors.New("wrong sequence"))
			}
			at.Store(batches.Load())
			answers <- err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b := lane(t, s, "a"), lane(t, s, "b")
	send(a, 1, 100*chunk, &largeAt)
	<-third
	send(b, 1, 10, &smallAt)
	send(a, 2, 10, &nextAt)
	close(enqueued)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case err := <-answers:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("sync did not wait for an append given before it")
		}
	}
	if smallAt.Load() > 5 || largeAt.Load() < 100 || nextAt.Load() < largeAt.Load() {
		t.Errorf("answered after %d batches: small, %d: large, %d: the next of its lane", smallAt.Load(), largeAt.Load(), nextAt.Load())
	}
	if got := drain(t, a); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("read %v", got)
	}
}

// TestCrashInLargeRecord lets the power fail after each operation of an append of a large record: it is there or not, and
// half of one takes no room.
func TestCrashInLargeRecord(t *testing.T) {
	for n := 0; ; n++ {
		d := spooltest.NewDisk()
		s, _ := open(t, d, spool.Options{})
		l := lane(t, s, "a")
		add(t, l, 1, 1, 100)
		d.CrashAfter(d.Ops() + n)
		_, err := l.Append(t.Context(), rec("a", 2, 12*chunk))
		for _, keep := range []int{0, 50, 100} {
			img := powerFailure(d, keep)
			s, report := open(t, img, spool.Options{})
			clean(t, report)
			l := lane(t, s, "a")
			got := drain(t, l)
			if whole := slices.Equal(got, []uint64{1, 2}); !whole && (err == nil || !slices.Equal(got, []uint64{1})) {
				t.Fatalf("operation %d, %d%% kept: lost: %v, the append said %v", n, keep, got, err)
			}
			if err := errors.Join(l.Done(got...), s.Sync(t.Context())); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Segments > 1 {
				t.Fatalf("operation %d, %d%% kept: half a record keeps %+v", n, keep, st)
			}
			add(t, l, l.Stats().Next, l.Stats().Next, 3*chunk)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !d.Crashed() {
			if n < 30 {
				t.Fatalf("void: %d operations", n)
			}
			return
		}
	}
}

// A large record that meets a full disk on its way leaves nothing behind.
func TestLargeRecordOnFullDisk(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{MaxBytes: 8 * segment, Retry: -1})
	l := lane(t, s, "a")
	add(t, l, 1, 2, 100)
	for range 3 {
		if _, err := l.Append(t.Context(), rec("a", 3, 100*chunk)); !errors.Is(err, spool.ErrFull) || errors.Is(err, spool.ErrUnknown) {
			t.Fatalf("append: %v", err)
		}
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		add(t, l, l.Stats().Next, l.Stats().Next, 100) // it goes on
	}
	if got := drain(t, l); !slices.Equal(got, seqs(1, 5)) {
		t.Errorf("read %v", got)
	}
}

// Chunks and their records are copied forward, and found after it.
func TestLargeRecordsAreCopied(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{Sparse: 1, CopyRate: -1, Pool: 1})
	slow, fast := lane(t, s, "slow"), lane(t, s, "fast")
	for i := uint64(1); i <= 40; i++ {
		if i%8 == 1 {
			add(t, slow, i/8+1, i/8+1, chunk+chunk/2)
		}
		add(t, fast, 4*i-3, 4*i, 2500)
		if err := fast.Done(seqs(4*i-3, 4*i)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(slow.Done(2), s.Sync(t.Context())); err != nil {
		t.Fatal(err)
	}
	until(t, "few segments", func() bool { return s.Stats().Segments <= 6 })
	want := []uint64{1, 3, 4, 5}
	if got := drain(t, slow); !slices.Equal(got, want) || s.Stats().Copied == 0 {
		t.Errorf("read %v: %+v", got, s.Stats())
	}
	img := powerFailure(d, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*spooltest.Disk{d, img} {
		s, report := open(t, d, spool.Options{})
		clean(t, report)
		if got := drain(t, lane(t, s, "slow")); !slices.Equal(got, want) {
			t.Errorf("read %v after opening", got)
		}
	}
}

// A damaged or missing chunk costs its record, which is named.
func TestDamagedChunk(t *testing.T) {
	whole := spooltest.NewDisk()
	s, _ := open(t, whole, spool.Options{})
	add(t, lane(t, s, "a"), 1, 1, 10)
	add(t, lane(t, s, "a"), 2, 2, 20*chunk)
	add(t, lane(t, s, "a"), 3, 3, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := rec("a", 2, 20*chunk).Body
	file, place := find(t, whole, string(b[10*chunk:10*chunk+300]))
	flipped := whole.Image(0, rand.New(rand.NewPCG(1, 1)))
	bytes := flipped.Bytes(file)
	bytes[place] ^= 1
	flipped.SetBytes(file, bytes)
	s, report := open(t, flipped, spool.Options{})
	clean(t, report)
	if good, damaged := readAll(t, lane(t, s, "a")); !slices.Equal(good, []uint64{1, 3}) || damaged != 1 {
		t.Errorf("read %v, %d damaged", good, damaged)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, flipped); len(r.Damage) != 1 || !slices.Equal(r.Missing, []spool.Missing{{Lane: "a", First: 2, Last: 2}}) {
		t.Errorf("verify: %+v", r)
	}
	gone := whole.Image(0, rand.New(rand.NewPCG(1, 1)))
	if err := errors.Join(gone.Remove(file), gone.SyncDir()); err != nil {
		t.Fatal(err)
	}
	s, report = open(t, gone, spool.Options{})
	if !slices.Equal(report.Missing, []spool.Missing{{Lane: "a", First: 2, Last: 2}}) {
		t.Errorf("missing: %v", report.Missing)
	}
	if got := drain(t, lane(t, s, "a")); !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("read %v", got)
	}
}
