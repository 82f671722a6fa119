package spool_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

var updateFlag = flag.Bool("update", false, "write the golden segment of the present format version")

const golden = "testdata/golden-v1.seg.gz"

// TestGoldenSegment reads a segment that an earlier build has written. It is made anew only with a new format version.
func TestGoldenSegment(t *testing.T) {
	if *updateFlag {
		d, file, _ := small(t)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(d.Bytes(file)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(z.Close(), os.WriteFile(golden, b.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d := spooltest.NewDisk()
	d.SetBytes("00000000.seg", unzip(t, golden))
	s, report := open(t, d, spool.Options{})
	clean(t, report)
	a, b := drain(t, lane(t, s, "a")), drain(t, lane(t, s, "b"))
	if !slices.Equal(a, []uint64{1, 3, 4}) || !slices.Equal(b, []uint64{1, 2}) || report.Torn != 0 {
		t.Errorf("version 1 is read as %v and %v: %+v", a, b, report)
	}
	add(t, lane(t, s, "a"), 5, 6, 10)
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A journal of a later format is refused, and nothing in it is touched.
func TestNewerFormatIsRefused(t *testing.T) {
	d := spooltest.NewDisk()
	b := unzip(t, golden)
	for _, at := range []int{0, block} {
		h := b[at : at+512]
		binary.LittleEndian.PutUint32(h[8:], 2)
		binary.LittleEndian.PutUint32(h[508:], crc32.Checksum(h[:508], crc32.MakeTable(crc32.Castagnoli)))
	}
	d.SetBytes("00000000.seg", b)
	if _, _, err := spool.Open(t.Context(), options(d)); !errors.Is(err, spool.ErrVersion) {
		t.Errorf("open: %v", err)
	}
	if _, err := spool.Verify(t.Context(), d); !errors.Is(err, spool.ErrVersion) {
		t.Errorf("verify: %v", err)
	}
	if !bytes.Equal(d.Bytes("00000000.seg"), b) || len(d.Names()) != 1 {
		t.Error("the journal was changed")
	}
}

// The segment size may change from one life to the next; old segments are read, and removed when they are done.
func TestSegmentSizeMayChange(t *testing.T) {
	d := spooltest.NewDisk()
	n := uint64(0)
	for _, size := range []int64{32 << 10, 128 << 10, 64 << 10} {
		s, report := open(t, d, spool.Options{SegmentSize: size})
		clean(t, report)
		l := lane(t, s, "a")
		add(t, l, n+1, n+40, 2000)
		n += 40
		if got := drain(t, l); !slices.Equal(got, seqs(1, n)) {
			t.Fatalf("read %v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := open(t, d, spool.Options{SegmentSize: 64 << 10})
	lane(t, s, "a").Purge()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range d.Names() {
		if len(d.Bytes(name)) != 64<<10 {
			t.Errorf("%s of another size is left", name)
		}
	}
}
