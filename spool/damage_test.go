package spool_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// start and block are places of FORMAT.md.
const (
	block = 4096
	start = 2 * block
)

// small makes a journal of one segment with records, closed cleanly: two lanes, records of several sizes, some done. The
// segment that was begun to close it is there too.
func small(t testing.TB) (d *spooltest.Disk, file string, end int) {
	t.Helper()
	d = spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	if _, err := a.Append(t.Context(), rec("a", 1, 300), rec("a", 2, 300), rec("a", 3, 300), rec("a", 4, 0)); err != nil {
		t.Fatal(err)
	}
	add(t, b, 1, 2, 20)
	if err := errors.Join(a.Done(2), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range d.Names() {
		if binary.LittleEndian.Uint64(d.Bytes(name)[16:]) == 0 { // never used
			if err := d.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.SyncDir(); err != nil {
		t.Fatal(err)
	}
	file, _ = find(t, d, "a/1")
	if end = used(d, file); end < start+5*block || len(d.Names()) != 2 {
		t.Fatalf("void: the journal ends at %d of %v", end, d.Names())
	}
	return d, file, end
}

// used is where the last batch of a file ends.
func used(d *spooltest.Disk, file string) int {
	b := d.Bytes(file)
	end := len(b)
	for ; b[end-1] == 0; end-- {
	}
	return (end + block - 1) / block * block
}

func verify(t testing.TB, d *spooltest.Disk) *spool.RecoveryReport {
	t.Helper()
	r, err := spool.Verify(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// survivors opens the journal and returns how many records come out, each of which must be genuine. What is damaged in a
// segment that was opened by its index is found only now.
func survivors(t testing.TB, d *spooltest.Disk) (n int) {
	t.Helper()
	s, _ := open(t, d, spool.Options{})
	for _, st := range s.Lanes() {
		good, _ := readAll(t, lane(t, s, st.Name))
		n += len(good)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// readAll reads all that is there now and counts what is damaged.
func readAll(t testing.TB, l *spool.Lane) (good []uint64, damaged int) {
	t.Helper()
	for r := l.Reader(1); ; {
		item, wait, err := r.TryNext()
		var corrupt *spool.CorruptError
		switch {
		case errors.As(err, &corrupt):
			damaged++
		case err != nil:
			t.Fatal(err)
		case wait != nil:
			return good, damaged
		case !same(item.Record, rec(l.Name(), item.Seq, len(item.Body))):
			t.Fatalf("record %d of lane %s is not what was appended: %.60q", item.Seq, l.Name(), item.ID)
		default:
			good = append(good, item.Seq)
		}
	}
}

func TestFlipOfEveryByte(t *testing.T) {
	d, file, _ := small(t)
	for _, name := range d.Names() {
		promised := used(d, name)
		if name != file {
			promised -= block // nothing stands behind the mark that the journal was closed
		}
		flipAll(t, d, name, promised)
	}
}

// flipAll flips each byte of a file in turn. Up to a place they are promised to be there.
func flipAll(t *testing.T, d *spooltest.Disk, file string, promised int) {
	if r := verify(t, d); len(r.Damage) != 0 || r.Records != 5 || r.Torn != 0 {
		t.Fatalf("before: %+v", r)
	}
	for i := range len(d.Bytes(file)) {
		if i >= promised+block && i%97 != 0 {
			continue
		}
		for j, mask := range []byte{0x01, 0x80, 0xff} {
			if raceDetector && j != i%3 {
				continue
			}
			d.Flip(file, i, mask)
			flipped(t, d, file, promised, i)
			d.Flip(file, i, mask)
		}
	}
}

// flipped checks what is reported of a journal whose byte i of a file has changed: one record at most is lost, and the
// damage is found where it is.
func flipped(t *testing.T, d *spooltest.Disk, file string, promised, i int) {
	t.Helper()
	r := verify(t, d)
	lost := len(r.Missing)
	inHeader := i < 512 || i >= block && i < block+512
	inBatches := i >= start && i < promised
	switch {
	case lost > 1 || lost == 1 && r.Missing[0].First != r.Missing[0].Last:
		t.Fatalf("byte %d: one flip loses %v", i, r.Missing)
	case inHeader || inBatches:
		if len(r.Damage) != 1 || !holds(r.Damage[0], file, i) {
			t.Fatalf("byte %d: damage %v", i, r.Damage)
		}
	case len(r.Damage)+lost > 0:
		t.Fatalf("byte %d holds no record, and yet: damage %v, missing %v", i, r.Damage, r.Missing)
	}
	if r.Records < 4 || r.Records == 4 && len(r.Damage) == 0 {
		t.Fatalf("byte %d: %d live of 5, %d missing", i, r.Records, lost)
	}
	if i%41 == 0 {
		if n := survivors(t, d.Image(0, rand.New(rand.NewPCG(1, 1)))); n != int(r.Records) {
			t.Fatalf("byte %d: %d records come out, %d were reported", i, n, r.Records)
		}
	}
}

func holds(d spool.Damage, file string, place int) bool {
	return d.File == file && int64(place) >= d.Offset && int64(place) < d.Offset+d.Length
}

func TestTruncationAtEveryOffset(t *testing.T) {
	d, file, end := small(t)
	whole := d.Bytes(file)
	for n := 0; n < len(whole); n++ {
		if n > end && n%97 != 0 {
			continue
		}
		d.SetBytes(file, whole[:n])
		r := verify(t, d)
		if n > 0 && len(r.Damage) == 0 {
			t.Fatalf("cut at %d: no damage reported", n)
		}
		if n >= end-block && r.Records != 5 {
			t.Fatalf("cut at %d, behind the last record: %d records", n, r.Records)
		}
		if n%61 == 0 {
			if got := survivors(t, d.Image(0, rand.New(rand.NewPCG(1, 1)))); got != int(r.Records) {
				t.Fatalf("cut at %d: %d records come out, %d were reported", n, got, r.Records)
			}
		}
	}
}

// A torn write is cut and reported in bytes; the same bytes below a promise are damage (C2, C15).
func TestTailTornOrDamaged(t *testing.T) {
	for _, promised := range []bool{false, true} {
		d := spooltest.NewDisk()
		s, _ := open(t, d, spool.Options{})
		l := lane(t, s, "a")
		recs := make([]spool.Record, 3)
		for i := range recs {
			recs[i] = rec("a", uint64(i+1), 400)
		}
		if _, err := l.Append(t.Context(), recs...); err != nil {
			t.Fatal(err)
		}
		if promised {
			add(t, l, 4, 4, 10) // its batch says that the one before is on disk
		}
		img := d.Image(0, rand.New(rand.NewPCG(1, 1)))
		file, place := find(t, img, "a/2")
		b := img.Bytes(file)
		b[place] ^= 1
		img.SetBytes(file, b)
		r := verify(t, img)
		switch {
		case promised && (len(r.Damage) != 1 || len(r.Missing) != 1 || r.Records != 3 || r.Torn != 0):
			t.Errorf("promised batch: %+v: want damage and three records", r)
		case promised && (r.Damage[0].Lane != "a" || r.Damage[0].Seq != 2 || !strings.Contains(r.Damage[0].String(), file)):
			t.Errorf("damage: %v", r.Damage[0])
		case !promised && (len(r.Damage)+len(r.Missing) != 0 || r.Records != 1 || r.Torn == 0):
			t.Errorf("last batch: taken for damage or not reported: lost: %+v", r)
		}
	}
}

// find returns the place of a text in the journal.
func find(t testing.TB, d *spooltest.Disk, text string) (file string, place int) {
	t.Helper()
	for _, name := range d.Names() {
		if i := strings.Index(string(d.Bytes(name)), text); i >= 0 {
			return name, i
		}
	}
	t.Fatalf("%q is nowhere", text)
	return "", 0
}

// A reader meets damage that came after Open: it says so, passes it, and the file is kept as evidence.
func TestReaderPassesDamage(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{})
	l := lane(t, s, "a")
	add(t, l, 1, 3, 100)
	file, place := find(t, d, "a/2")
	b := d.Bytes(file)
	b[place] ^= 1
	d.SetBytes(file, b)
	r := l.Reader(1)
	var got []uint64
	for range 3 {
		item, err := r.Next(t.Context())
		var corrupt *spool.CorruptError
		if errors.As(err, &corrupt) {
			if corrupt.Seq != 2 || corrupt.File != file || !holds(corrupt.Damage, file, place) {
				t.Errorf("damage: %+v", corrupt.Damage)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, item.Seq)
	}
	if !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("read %v", got)
	}
	l.Purge()
	add(t, l, 4, 100, 1000) // into other segments
	l.Purge()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Damaged != 1 || !slices.Contains(d.Names(), file) {
		t.Errorf("evidence is gone: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the alarm stays
		s, report := open(t, d, spool.Options{})
		if len(report.Damage) != 1 || report.Damage[0].File != file {
			t.Errorf("at the next start: %v", report.Damage)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A segment file that vanishes is reported by lane and sequence, once.
func TestVanishedFileIsReported(t *testing.T) {
	d := spooltest.NewDisk()
	s, _ := open(t, d, spool.Options{Sparse: -1})
	add(t, lane(t, s, "a"), 1, 100, 1000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, _ := find(t, d, "a/30")
	if err := errors.Join(d.Remove(file), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	s, r := open(t, d, spool.Options{})
	if len(r.Missing) != 1 || r.Missing[0].First > 30 || r.Missing[0].Last < 30 {
		t.Fatalf("missing: %v", r.Missing)
	}
	gone := r.Missing[0]
	want := append(seqs(1, gone.First-1), seqs(gone.Last+1, 100)...)
	if got := drain(t, lane(t, s, "a")); !slices.Equal(got, want) {
		t.Errorf("read %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, d); len(r.Missing) != 0 || int(r.Records) != len(want) {
		t.Errorf("the second time: %+v", r)
	}
}

func FuzzRecovery(f *testing.F) {
	d, file, end := small(f)
	whole := d.Bytes(file)
	f.Add(uint16(start), whole[start:start+64], uint16(100), false)
	f.Add(uint16(0), make([]byte, start), uint16(0), true)
	f.Add(uint16(end-block), []byte("x"), uint16(end), true)
	f.Fuzz(func(t *testing.T, at uint16, patch []byte, cut uint16, doCut bool) {
		b := slices.Clone(whole)
		if int(at) < len(b) {
			copy(b[at:], patch)
		}
		if doCut && int(cut) < len(b) {
			b = b[:cut]
		}
		d := spooltest.NewDisk()
		d.SetBytes(file, b)
		r := verify(t, d)
		if n := survivors(t, d); n != int(r.Records) || n > 6 {
			t.Errorf("%d records come out, %d were reported", n, r.Records)
		}
	})
}
