package spool_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// BenchmarkAppend appends records of 1 KiB, each caller waiting for the disk, and marks them done.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, _, err := spool.Open(b.Context(), spool.Options{Dir: filepath.Join(b.TempDir(), "journal")})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			l := lane(b, s, "a")
			r := rec("a", 1, 1024)
			b.SetParallelism(max(writers/2, 1))
			b.SetBytes(1024)
			b.ResetTimer()
			if writers == 1 {
				for range b.N {
					appendDone(b, l, r)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					appendDone(b, l, r)
				}
			})
		})
	}
}

func appendDone(b *testing.B, l *spool.Lane, r spool.Record) {
	seq, err := l.Append(b.Context(), r)
	if err == nil {
		err = l.Done(seq)
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkBareLoop is the measure for BenchmarkAppend: one write over existing bytes and one sync, again and again.
func BenchmarkBareLoop(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, err := vfs.OpenDir(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			f, err := d.Create("a")
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			const total = 64 << 20
			if _, err := f.WriteAt(make([]byte, total), 0); err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			b.ResetTimer()
			for i := range b.N {
				if _, err := f.WriteAt(buf, int64(i)*int64(size)%total); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// backlog makes a closed journal of records of 1 KiB in interleaved lanes.
func backlog(b *testing.B, dir string, lanes, records int) {
	b.Helper()
	s, _, err := spool.Open(b.Context(), spool.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	var list []*spool.Lane
	for i := range lanes {
		list = append(list, lane(b, s, fmt.Sprint("lane ", i)))
	}
	r := rec("a", 1, 1024)
	for i := 0; i < records; i += 100 {
		recs := make([]spool.Record, 100)
		for j := range recs {
			recs[j] = r
		}
		if _, err := list[i/100%lanes].Append(b.Context(), recs...); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen opens a backlog of 200,000 records of 1 KiB; every checksum is checked.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "journal")
	backlog(b, dir, 1, 200_000)
	b.SetBytes(200_000 << 10)
	for b.Loop() {
		s, report, err := spool.Open(b.Context(), spool.Options{Dir: dir})
		if err != nil || report.Records != 200_000 {
			b.Fatal(report, err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDrain reads a backlog of 200,000 records of 1 KiB, lane after lane a hundred at a time.
func BenchmarkDrain(b *testing.B) {
	for _, lanes := range []int{1, 100} {
		b.Run(fmt.Sprint(lanes), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "journal")
			backlog(b, dir, lanes, 200_000)
			s, _, err := spool.Open(b.Context(), spool.Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.SetBytes(200_000 << 10)
			for b.Loop() {
				drainAll(b, s, lanes)
			}
		})
	}
}

func drainAll(b *testing.B, s *spool.Spool, lanes int) {
	readers := make([]*spool.Reader, lanes)
	for i := range readers {
		readers[i] = lane(b, s, fmt.Sprint("lane ", i)).Reader(1)
	}
	for i := range 200_000 {
		if _, err := readers[i/100%lanes].Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
