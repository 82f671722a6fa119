package spool_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

// reads counts the bytes that are read.
type reads struct {
	*spooltest.Disk
	bytes atomic.Int64
}

type readFile struct {
	vfs.File
	of *reads
}

func (r *reads) Create(name string) (vfs.File, error) {
	f, err := r.Disk.Create(name)
	return readFile{f, r}, err
}

func (r *reads) Open(name string) (vfs.File, error) {
	f, err := r.Disk.Open(name)
	return readFile{f, r}, err
}

func (f readFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.of.bytes.Add(int64(n))
	return n, err
}

// crowded is a closed journal of one lane with a record here and there, and one with very many. Some are done.
func crowded(t *testing.T) *reads {
	t.Helper()
	d := &reads{Disk: spooltest.NewDisk()}
	s, _ := open(t, d, spool.Options{SegmentSize: 1 << 20})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	for i := uint64(1); i <= 30; i++ {
		add(t, a, i, i, 300)
		recs := make([]spool.Record, 200)
		for j := range recs {
			recs[j] = rec("b", (i-1)*200+uint64(j)+1, 900)
		}
		if _, err := b.Append(t.Context(), recs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Done(3, 4, 20); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

func crowdedLeft() []uint64 {
	return slices.DeleteFunc(seqs(1, 30), func(n uint64) bool { return n == 3 || n == 4 || n == 20 })
}

// Neither opening nor reading a small lane reads what others have stored.
func TestCostFollowsTheLane(t *testing.T) {
	d := crowded(t)
	stored := d.Used()
	d.bytes.Store(0)
	s, report := open(t, d, spool.Options{SegmentSize: 1 << 20})
	clean(t, report)
	// A window of 1 MiB at the head of the last segment, for its checkpoint and again for what follows, and the indexes.
	if opened := d.bytes.Swap(0); report.Indexed < 5 || report.Records != 6027 || opened > stored/3 {
		t.Errorf("opening read %d of %d bytes: %+v", opened, stored, report)
	}
	if got := drain(t, lane(t, s, "a")); !slices.Equal(got, crowdedLeft()) {
		t.Errorf("read %v", got)
	}
	if n := d.bytes.Swap(0); n > 30*2*block {
		t.Errorf("30 records cost %d bytes", n)
	}
	if got := drain(t, lane(t, s, "b")); !slices.Equal(got, seqs(1, 6000)) {
		t.Errorf("lane b: %d records", len(got))
	}
	if n := d.bytes.Load(); n > 2*stored {
		t.Errorf("6000 records cost %d bytes, %d are stored", n, stored)
	}
}

// A damaged byte of an index costs a scan of its segment, seen in Progress, and no record.
func TestDamagedIndexIsScanned(t *testing.T) {
	whole := crowded(t).Disk
	for _, kind := range []byte{8, 9} { // INDEX, FOOTER
		d := unlocked(whole)
		file, place := indexRecord(t, d, kind)
		b := d.Bytes(file)
		b[place+32] ^= 4
		d.SetBytes(file, b)
		var scanned int64
		s, report := open(t, d, spool.Options{SegmentSize: 1 << 20, Progress: func(done, total int64) {
			if scanned = done; done > total {
				t.Errorf("progress %d of %d", done, total)
			}
		}})
		if report.Records != 6027 || len(report.Missing) != 0 {
			t.Errorf("type %d: %+v", kind, report)
		}
		if atOpen := kind == 9; atOpen != (len(report.Damage) == 1) || atOpen != (scanned > 1<<19) {
			t.Errorf("type %d: damage %v, %d bytes scanned", kind, report.Damage, scanned)
		}
		a, damaged := readAll(t, lane(t, s, "a"))
		if !slices.Equal(a, crowdedLeft()) || damaged != 0 {
			t.Errorf("type %d: lane a has %v", kind, a)
		}
		if b, damaged := readAll(t, lane(t, s, "b")); len(b) != 6000 || damaged != 0 {
			t.Errorf("type %d: lane b has %d", kind, len(b))
		}
		if st := s.Stats(); st.Damaged != 1 {
			t.Errorf("type %d: %+v", kind, st)
		}
	}
}

// indexRecord finds a record of a type that a segment with live records of lane a ends with.
func indexRecord(t *testing.T, d *spooltest.Disk, kind byte) (file string, place int) {
	t.Helper()
	file, from := find(t, d, "a/10")
	b := d.Bytes(file)
	for place = from / 32 * 32; place < len(b); place += 32 {
		h := b[place : place+32]
		if h[12] == kind && bytes.Equal(h[13:14], []byte{0}) && binary.LittleEndian.Uint32(h[8:]) > 0 && (kind == 9 || binary.LittleEndian.Uint32(h[16:]) == 1) {
			return file, place
		}
	}
	t.Fatalf("no record of type %d in %s", kind, file)
	return "", 0
}

// Readers get along with a segment that is sealed under them, and with lanes whose records lie in many segments.
func TestReadersAcrossSeals(t *testing.T) {
	s, _ := open(t, spooltest.NewDisk(), spool.Options{})
	var readers []*spool.Reader
	for i := range 5 {
		readers = append(readers, lane(t, s, fmt.Sprint(i)).Reader(1))
	}
	for seq := uint64(1); seq <= 60; seq++ {
		for i, r := range readers {
			l := lane(t, s, fmt.Sprint(i))
			add(t, l, seq, seq, 50*i)
			if seq%3 != 0 {
				continue // read in threes: across the ends of segments
			}
			for want := seq - 2; want <= seq; want++ {
				item, wait, err := r.TryNext()
				if err != nil || wait != nil || item.Seq != want || !same(item.Record, rec(l.Name(), want, 50*i)) {
					t.Fatalf("lane %d: read %d, want %d: %v", i, item.Seq, want, err)
				}
			}
		}
	}
}

// Slots that were filled for later are there for the next life.
func TestOpenKeepsItsReserve(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := d.Names()
	s, _ = open(t, d, spool.Options{})
	if got := d.Names(); !slices.Equal(got, before) || s.Stats().Free != 2 {
		t.Errorf("files %v, before %v: %+v", got, before, s.Stats())
	}
}
