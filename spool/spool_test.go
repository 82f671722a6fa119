package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(2000) // thousands of small disks
	debug.SetMemoryLimit(256 << 20)
	goleak.VerifyTestMain(m)
}

const segment = 32 << 10

func open(t testing.TB, fs vfs.FS, o spool.Options) (*spool.Spool, *spool.RecoveryReport) {
	t.Helper()
	o.FS = fs
	if o.SegmentSize == 0 {
		o.SegmentSize = segment
	}
	s, report, err := spool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, report
}

func lane(t testing.TB, s *spool.Spool, name string) *spool.Lane {
	t.Helper()
	l, err := s.Lane(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pattern holds the body of every record as a part of it: byte i of a body is c + 7i for a c of the record's own, and that
// is the pattern from place 183c on, since 7 * 183 is 1 modulo 256.
var pattern = func() []byte {
	b := make([]byte, 256+64<<10)
	for i := range b {
		b[i] = byte(i) * 7
	}
	return b
}()

// rec is the record that stands for a sequence of a lane. Its body must not be changed.
func rec(lane string, seq uint64, size int) spool.Record {
	id := strconv.AppendUint(append(append(make([]byte, 0, 32), lane...), '/'), seq, 10)
	from := int((byte(seq) + lane[0]) * 183)
	if size > len(pattern)-256 {
		return spool.Record{ID: id, Body: bytes.Repeat(pattern[from:from+256], size/256+1)[:size], Flags: uint16(seq)}
	}
	return spool.Record{ID: id, Body: pattern[from : from+size], Flags: uint16(seq)}
}

func same(a, b spool.Record) bool {
	return string(a.ID) == string(b.ID) && string(a.Body) == string(b.Body) && a.Flags == b.Flags
}

func add(t testing.TB, l *spool.Lane, from, to uint64, size int) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		got, err := l.Append(t.Context(), rec(l.Name(), seq, size))
		if err != nil || got != seq {
			t.Fatalf("append %d: sequence %d, %v", seq, got, err)
		}
	}
}

// drain reads all that is there now.
func drain(t testing.TB, l *spool.Lane) (seqs []uint64) {
	t.Helper()
	for r := l.Reader(1); ; {
		item, wait, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if wait != nil {
			return seqs
		}
		if want := rec(l.Name(), item.Seq, len(item.Body)); !same(item.Record, want) {
			t.Fatalf("record %d of lane %s is not what was appended: %.60q", item.Seq, l.Name(), item.ID)
		}
		seqs = append(seqs, item.Seq)
	}
}

func seqs(from, to uint64) (list []uint64) {
	for ; from <= to; from++ {
		list = append(list, from)
	}
	return list
}

func clean(t testing.TB, r *spool.RecoveryReport) {
	t.Helper()
	if len(r.Damage)+len(r.Missing) > 0 {
		t.Errorf("report: damage %v, missing %v", r.Damage, r.Missing)
	}
}

func TestAppendReadDoneReopen(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	for i := uint64(1); i <= 100; i++ { // several segments
		add(t, a, i, i, 1000)
		add(t, b, i, i, 10)
	}
	if got := drain(t, a); !slices.Equal(got, seqs(1, 100)) {
		t.Fatalf("read %v", got)
	}
	if err := a.Done(2, 4, 4, 100); err != nil {
		t.Fatal(err)
	}
	if err := a.Done(101); !errors.Is(err, spool.ErrSequence) {
		t.Errorf("mark a sequence that never was: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), rec("a", 101, 1)); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}

	s, report := open(t, d, spool.Options{})
	clean(t, report)
	if report.Records != 197 || report.Torn != 0 {
		t.Errorf("report: %+v", report)
	}
	a, b = lane(t, s, "a"), lane(t, s, "b")
	want := append([]uint64{1, 3}, seqs(5, 99)...)
	if got := drain(t, a); !slices.Equal(got, want) {
		t.Errorf("read %v after reopening", got)
	}
	if got := drain(t, b); !slices.Equal(got, seqs(1, 100)) {
		t.Errorf("read %v after reopening", got)
	}
	add(t, a, 101, 103, 10)
	if st := a.Stats(); st.Live != 100 || st.First != 1 || st.Next != 104 {
		t.Errorf("stats: %+v", st)
	}
}

func TestSpaceIsUsedAgain(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{Pool: 1})
	l := lane(t, s, "a")
	for i := uint64(1); i <= 2000; i++ {
		add(t, l, i, i, 500)
		if err := l.Done(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments > 2 || st.Free > 3 || d.Used() > 6*segment {
		t.Errorf("after 1 MB through segments of 32 KiB: %+v, %d bytes on disk", st, d.Used())
	}
	if st := l.Stats(); st.Live != 0 || st.Bytes != 0 || st.First != 2001 {
		t.Errorf("lane: %+v", st)
	}
}

func TestReaderWaitsForAppends(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{})
	l := lane(t, s, "a")
	got := make(chan error, 1)
	go func() {
		r := l.Reader(1)
		for seq := uint64(1); seq <= 500; seq++ {
			item, err := r.Next(t.Context())
			if err != nil || item.Seq != seq || !same(item.Record, rec("a", seq, 300)) {
				got <- fmt.Errorf("read %d: %v, %v", seq, item.Seq, err)
				return
			}
			if err := l.Done(seq); err != nil {
				got <- err
				return
			}
		}
		_, err := r.Next(t.Context())
		got <- err
	}()
	add(t, l, 1, 500, 300)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.Stats().Live > 0 {
		select {
		case <-tick.C:
		case err := <-got:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatalf("not drained: %+v", l.Stats())
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, spool.ErrClosed) {
		t.Errorf("reader at close: %v", err)
	}
}
