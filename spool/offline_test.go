package spool_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

// flip changes one byte behind the first place where text stands, durably.
func flip(t testing.TB, d *spooltest.Disk, text string) (file string, place int) {
	t.Helper()
	file, place = find(t, d, text)
	b := d.Bytes(file)
	b[place] ^= 1
	d.SetBytes(file, b)
	return file, place
}

// backlogOf makes a closed journal over several segments: records of two lanes, every third of "a" done.
func backlogOf(t testing.TB, d *spooltest.Disk) (live []uint64) {
	t.Helper()
	s, _ := open(t, d, spool.Options{Sparse: -1})
	a, b := lane(t, s, "a"), lane(t, s, "b")
	for seq := uint64(1); seq <= 90; seq++ {
		add(t, a, seq, seq, 1000)
		add(t, b, seq, seq, 10)
		if seq%3 > 0 {
			live = append(live, seq)
		} else if err := a.Done(seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return live
}

// unchanged fails if f changed any file.
func unchanged(t *testing.T, d *spooltest.Disk, f func()) {
	t.Helper()
	before := make(map[string]string)
	for _, name := range d.Names() {
		before[name] = string(d.Bytes(name))
	}
	f()
	for _, name := range d.Names() {
		if before[name] != string(d.Bytes(name)) {
			t.Errorf("%s was changed", name)
		}
	}
	if len(d.Names()) != len(before) {
		t.Errorf("%d files became %d", len(before), len(d.Names()))
	}
}

func TestInspectSaysWhatOpenWould(t *testing.T) {
	d := spooltest.NewDisk()
	live := backlogOf(t, d)
	unchanged(t, d, func() {
		lanes, stats, report, err := spool.Inspect(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, report)
		if stats.State != 0 || stats.Epoch == 0 || stats.Segments < 3 || stats.Bytes != d.Used() {
			t.Errorf("stats: %+v, %d bytes on the disk", stats, d.Used())
		}
		if len(lanes) != 2 || lanes[0].Name != "a" || lanes[0].Live != uint64(len(live)) || lanes[0].Next != 91 || lanes[1].Live != 90 {
			t.Errorf("lanes: %+v", lanes)
		}
	})
	s, _ := open(t, d, spool.Options{})
	var held *vfs.HeldError
	if _, _, _, err := spool.Inspect(t.Context(), d); !errors.As(err, &held) {
		t.Errorf("inspect a journal in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestExportHandsOutWhatIsLive(t *testing.T) {
	d := spooltest.NewDisk()
	live := backlogOf(t, d)
	var got []uint64
	take := func(item spool.Item) error {
		if !same(item.Record, rec("a", item.Seq, 1000)) {
			t.Errorf("record %d is not what was appended", item.Seq)
		}
		got = append(got, item.Seq)
		return nil
	}
	unchanged(t, d, func() {
		if err := spool.Export(t.Context(), d, "a", take); err != nil || !slices.Equal(got, live) {
			t.Errorf("exported %v, %v", got, err)
		}
	})
	if err := spool.Export(t.Context(), d, "c", take); !errors.Is(err, spool.ErrNoLane) {
		t.Errorf("export a lane that is not there: %v", err)
	}
	stop := errors.New("enough")
	if err := spool.Export(t.Context(), d, "a", func(spool.Item) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("export that is stopped: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := spool.Export(ctx, d, "a", take); !errors.Is(err, context.Canceled) {
		t.Errorf("export with a context that has ended: %v", err)
	}
	s, _ := open(t, d, spool.Options{}) // none of them kept the lock
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDumpShowsEveryRecord(t *testing.T) {
	d := spooltest.NewDisk()
	live := backlogOf(t, d)
	file, place := flip(t, d, "a/31") // live
	types, states := make(map[string]int), make(map[spool.Status]int)
	type at struct {
		file string
		off  int64
	}
	ends := make(map[string]int64)
	var hurt []at
	unchanged(t, d, func() {
		err := spool.Dump(t.Context(), d, func(r spool.DumpRecord) error {
			if r.Offset < ends[r.File] {
				t.Errorf("%s: record at %d behind one that ends at %d", r.File, r.Offset, ends[r.File])
			}
			ends[r.File] = r.Offset + r.Size
			types[r.Type]++
			states[r.Status]++
			if r.Status == spool.StatusDamaged {
				hurt = append(hurt, at{r.File, r.Offset})
				if r.Lane != "a" || r.Seq != 31 || r.What == "" {
					t.Errorf("damage: %+v", r)
				}
			} else if r.Type == "DATA" && string(r.ID) != fmt.Sprintf("%s/%d", r.Lane, r.Seq) {
				t.Errorf("%s %d has id %q", r.Lane, r.Seq, r.ID)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if len(hurt) != 1 || hurt[0].file != file || hurt[0].off > int64(place) {
		t.Errorf("damage at %v, made in %s at %d", hurt, file, place)
	}
	if n := len(live) + 90 - 1; states[spool.StatusLive] != n {
		t.Errorf("%d live records, want %d", states[spool.StatusLive], n)
	}
	for _, typ := range []string{"DATA", "DONE", "LANE", "SEGMENTS", "CHECKPOINT", "PAD", "CLOSED"} {
		if types[typ] == 0 {
			t.Errorf("no record of type %s: %v", typ, types)
		}
	}
}

func TestSalvageBringsOverWhatCanBeRead(t *testing.T) {
	from, to := spooltest.NewDisk(), spooltest.NewDisk()
	live := backlogOf(t, from)
	flip(t, from, "a/31")
	badFile, badPlace := find(t, from, "a/61")
	unchanged(t, from, func() {
		report, err := spool.Salvage(t.Context(), unreadable{from, badFile, int64(badPlace)}, to)
		if err != nil {
			t.Fatal(err)
		}
		if report.Lanes != 2 || report.Records != uint64(len(live)+90-2) || report.Bytes < 58_000 {
			t.Errorf("report: %+v", report)
		}
		if len(report.Recovery.Damage) != 2 || len(report.Recovery.Missing) != 2 {
			t.Errorf("damage %v, missing %v", report.Recovery.Damage, report.Recovery.Missing)
		}
	})
	got := make(map[string]bool)
	if err := spool.Export(t.Context(), to, "a", func(item spool.Item) error {
		got[string(item.ID)] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, seq := range live {
		id := fmt.Sprintf("a/%d", seq)
		if !got[id] && seq != 31 && seq != 61 {
			t.Errorf("%s is lost", id)
		}
		delete(got, id)
	}
	if len(got) > 0 {
		t.Errorf("these are done or were never there: %v", slices.Collect(maps.Keys(got)))
	}
	clean(t, verify(t, to))
	if _, err := spool.Salvage(t.Context(), from, to); !errors.Is(err, spool.ErrNotEmpty) {
		t.Errorf("salvage over a journal: %v", err)
	}
}

// unreadable is a disk with one bad sector.
type unreadable struct {
	*spooltest.Disk
	file  string
	place int64
}

func (u unreadable) Open(name string) (vfs.File, error) {
	f, err := u.Disk.Open(name)
	if name == u.file && err == nil {
		f = badSector{f, u.place}
	}
	return f, err
}

type badSector struct {
	vfs.File
	place int64
}

func (b badSector) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.place && b.place < off+int64(len(p)) {
		return 0, syscall.EIO
	}
	return b.File.ReadAt(p, off)
}

func TestAcknowledgeMovesEvidence(t *testing.T) {
	d := spooltest.NewDisk()
	backlogOf(t, d)
	if moved, err := spool.Acknowledge(t.Context(), d); err != nil || len(moved) != 0 {
		t.Errorf("nothing is damaged, and yet: %v, %v", moved, err)
	}
	file, _ := flip(t, d, "a/31")
	unchanged(t, d, func() {
		moved, err := spool.Acknowledge(t.Context(), d)
		if !errors.Is(err, spool.ErrStillNeeded) || !strings.Contains(err.Error(), `lane "b"`) || len(moved) != 0 {
			t.Errorf("a damaged segment with live records: %v, %v", moved, err)
		}
	})
	s, _ := open(t, d, spool.Options{Sparse: -1})
	a := lane(t, s, "a")
	if _, damaged := readAll(t, a); damaged != 1 { // a sealed segment is not read before somebody needs it
		t.Fatalf("void: %d damaged", damaged)
	}
	if err := a.Done(seqs(1, 60)...); err != nil {
		t.Fatal(err)
	}
	if err := lane(t, s, "b").Done(seqs(1, 60)...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	moved, err := spool.Acknowledge(t.Context(), d)
	if err != nil || !slices.Equal(moved, []string{"evidence/" + file}) {
		t.Fatalf("moved %v, %v", moved, err)
	}
	s, report := open(t, d, spool.Options{})
	clean(t, report)
	if st := s.Stats(); st.Damaged != 0 {
		t.Errorf("after it: %+v", st)
	}
	want := slices.DeleteFunc(seqs(61, 90), func(seq uint64) bool { return seq%3 == 0 })
	if got := drain(t, lane(t, s, "a")); !slices.Equal(got, want) {
		t.Errorf("lane a has %v", got)
	}
	if got := drain(t, lane(t, s, "b")); !slices.Equal(got, seqs(61, 90)) {
		t.Errorf("lane b has %v", got)
	}
}

// The damage is in the newest segment, whose done marks stand nowhere else: they must outlive it. The power fails at every
// operation of it.
func TestAcknowledgeKeepsDoneMarks(t *testing.T) {
	for n := 0; ; n++ {
		d := spooltest.NewDisk()
		s, _ := open(t, d, spool.Options{})
		l := lane(t, s, "a")
		var recs []spool.Record
		for seq := range uint64(20) {
			recs = append(recs, rec("a", seq+1, 100))
		}
		if _, err := l.Append(t.Context(), recs...); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Done(seqs(1, 20)...), s.Sync(t.Context())); err != nil {
			t.Fatal(err)
		}
		d = unlocked(d) // not closed: a closed journal repeats the marks
		flip(t, d, "a/7")
		d.CrashAfter(d.Ops() + n)
		moved, err := spool.Acknowledge(t.Context(), d)
		crashed := d.Crashed()
		if err != nil && !errors.Is(err, spooltest.ErrCrashed) || err == nil && len(moved) != 1 {
			t.Fatalf("operation %d: moved %v, %v", n, moved, err)
		}
		for _, keep := range []int{0, 50, 100} {
			s, _ := open(t, powerFailure(d, keep), spool.Options{})
			if st := lane(t, s, "a").Stats(); st.Next != 21 || st.Live != 0 {
				t.Fatalf("operation %d, %d%% kept: lost: %+v", n, keep, st)
			}
			if st := s.Stats(); !crashed && st.Damaged != 0 {
				t.Fatalf("still damaged: %+v", st)
			}
		}
		if !crashed {
			if n < 20 {
				t.Fatalf("void: %d operations", n)
			}
			return
		}
	}
}

func TestSetAsideOnARealDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	d, err := vfs.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, want := range []error{nil, fs.ErrExist} {
		f, err := d.Create("a")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.SetAside("a", "evidence", "b"); !errors.Is(err, want) {
			t.Errorf("move %d: %v", i, err)
		}
		if list, err := d.List(); err != nil || len(list) != i {
			t.Errorf("move %d: left: %v, %v", i, list, err)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "evidence", "b")); err != nil {
		t.Error(err)
	}
}

// Records in chunks are one record to every tool but the dump, and segments with an index are read too.
func TestOfflineToolsKnowLargeRecords(t *testing.T) {
	from, to := spooltest.NewDisk(), spooltest.NewDisk()
	s, _ := open(t, from, spool.Options{})
	l := lane(t, s, "a")
	sizes := []int{10, 3*segment + 17, 0, chunk + 1, 100}
	for i, size := range sizes {
		add(t, l, uint64(i+1), uint64(i+1), size)
	}
	if err := errors.Join(l.Done(3), s.Close()); err != nil {
		t.Fatal(err)
	}
	types := make(map[string]int)
	unchanged(t, from, func() {
		lanes, _, report, err := spool.Inspect(t.Context(), from)
		if err != nil || len(lanes) != 1 || lanes[0].Live != 4 {
			t.Fatalf("lanes %+v, %v", lanes, err)
		}
		clean(t, report)
		if err := spool.Dump(t.Context(), from, func(r spool.DumpRecord) error {
			types[r.Type]++
			if r.Lane != "" && r.Lane != "a" {
				t.Errorf("a record of lane %q", r.Lane)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if report, err := spool.Salvage(t.Context(), from, to); err != nil || report.Records != 4 {
			t.Fatalf("salvage: %+v, %v", report, err)
		}
	})
	if types["LARGE"] != 2 || types["CHUNK"] < 24 || types["INDEX"] == 0 || types["FOOTER"] == 0 || types["DATA"] != 3 {
		t.Errorf("dumped %v", types)
	}
	for _, d := range []*spooltest.Disk{from, to} {
		var got []string
		if err := spool.Export(t.Context(), d, "a", func(item spool.Item) error {
			got = append(got, fmt.Sprint(string(item.ID), " ", len(item.Body)))
			var n uint64
			if _, err := fmt.Sscanf(string(item.ID), "a/%d", &n); err != nil || !same(item.Record, rec("a", n, sizes[n-1])) {
				t.Errorf("%s is not what was appended", item.ID)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := []string{"a/1 10", fmt.Sprint("a/2 ", 3*segment+17), fmt.Sprint("a/4 ", chunk+1), "a/5 100"}; !slices.Equal(got, want) {
			t.Errorf("exported %v, want %v", got, want)
		}
	}
}
