package spooltest_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

func create(t *testing.T, d *spooltest.Disk, name string, body []byte) vfs.File {
	t.Helper()
	f, err := d.Create(name)
	if err == nil {
		_, err = f.WriteAt(body, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func rnd(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestWhatIsSyncedSurvives(t *testing.T) {
	d := spooltest.NewDisk()
	f := create(t, d, "a", bytes.Repeat([]byte{1}, 2000))
	if names := d.Image(0, rnd(1)).Names(); len(names) != 0 {
		t.Errorf("names that were not synced: %v", names)
	}
	if err := d.SyncDir(); err != nil {
		t.Fatal(err)
	}
	if b := d.Image(0, rnd(1)).Bytes("a"); len(b) != 0 {
		t.Errorf("%d bytes that were not synced", len(b))
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if b := d.Image(0, rnd(1)).Bytes("a"); !bytes.Equal(b, bytes.Repeat([]byte{1}, 2000)) {
		t.Errorf("%d of 2000 synced bytes survive", len(b))
	}
	if err := d.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if names := d.Image(0, rnd(1)).Names(); len(names) != 1 {
		t.Errorf("a removal that was not synced is kept: %v", names)
	}
}

func TestUnsyncedSectorsAreTornOneByOne(t *testing.T) {
	d := spooltest.NewDisk()
	f := create(t, d, "a", make([]byte, 8*spooltest.Sector))
	if err := errors.Join(f.Sync(), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, 8*spooltest.Sector), 0); err != nil {
		t.Fatal(err)
	}
	shapes := make(map[string]bool)
	for seed := range uint64(200) {
		b := d.Image(50, rnd(seed)).Bytes("a")
		for i := 0; i < len(b); i += spooltest.Sector {
			if s := b[i : i+spooltest.Sector]; bytes.Count(s, s[:1]) != len(s) {
				t.Fatal("a sector is a mixture")
			}
		}
		shapes[string(b)] = true
	}
	if len(shapes) < 50 {
		t.Errorf("200 seeds made %d images", len(shapes))
	}
	if b := d.Image(100, rnd(1)).Bytes("a"); bytes.Count(b, []byte{1}) != len(b) {
		t.Error("100 percent is not all")
	}
}

func TestFailedSyncForgets(t *testing.T) {
	d := spooltest.NewDisk()
	f := create(t, d, "a", []byte("hello"))
	if err := d.SyncDir(); err != nil {
		t.Fatal(err)
	}
	d.Inject(func(o spooltest.Op) error {
		if o.Kind == spooltest.Sync {
			return syscall.EIO
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	d.Inject(nil)
	if err := f.Sync(); err != nil {
		t.Errorf("second sync: %v", err)
	}
	if b := d.Bytes("a"); string(b) != "hello" {
		t.Errorf("reading shows %q", b)
	}
	if b := d.Image(100, rnd(1)).Bytes("a"); len(b) != 0 {
		t.Errorf("%q survives a failed sync", b)
	}
}

func TestFullDiskTakesAPartAndOverwrites(t *testing.T) {
	d := spooltest.NewDisk()
	d.SetCapacity(1000)
	f := create(t, d, "a", make([]byte, 900))
	n, err := f.WriteAt(make([]byte, 200), 900)
	if n != 100 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write beyond the end: %d, %v", n, err)
	}
	if n, err := f.WriteAt(make([]byte, 1000), 0); n != 1000 || err != nil {
		t.Errorf("overwrite: %d, %v", n, err)
	}
}

func TestPowerFails(t *testing.T) {
	d := spooltest.NewDisk()
	d.CrashAfter(1)
	f := create(t, d, "a", []byte("x")) // operations 0 and 1
	if err := f.Sync(); !errors.Is(err, spooltest.ErrCrashed) || !d.Crashed() || d.Ops() != 2 {
		t.Errorf("sync without power: %v", err)
	}
}

func TestPowerFailsNow(t *testing.T) {
	d := spooltest.NewDisk()
	f := create(t, d, "a", []byte("hello"))
	if err := errors.Join(f.Sync(), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("later"), 0); err != nil {
		t.Fatal(err)
	}
	img, ops := d.Fail(0, nil), d.Ops()
	if err := f.Sync(); !errors.Is(err, spooltest.ErrCrashed) || d.Ops() != ops {
		t.Errorf("a sync that the image knows nothing of: %v", err)
	}
	if got := img.Bytes("a"); string(got) != "hello" || img.Crashed() {
		t.Errorf("the next process finds %q", got)
	}
}

func TestFlipIsDurable(t *testing.T) {
	d := spooltest.NewDisk()
	body := make([]byte, 3*spooltest.Sector)
	d.SetBytes("a", body)
	d.Flip("a", 600, 0x81)
	body[600] = 0x81
	if !bytes.Equal(d.Bytes("a"), body) || !bytes.Equal(d.Image(0, rnd(1)).Bytes("a"), body) {
		t.Error("the flip is not on the disk")
	}
	d.Flip("a", 600, 0x81)
	if b := d.Bytes("a"); !bytes.Equal(b, make([]byte, len(b))) {
		t.Error("the second flip does not undo the first")
	}
}

func TestSetAsideIsAtomic(t *testing.T) {
	d := spooltest.NewDisk()
	d.SetBytes("a", []byte("x"))
	d.CrashAfter(0) // the names have changed, and are not synced
	if err := d.SetAside("a", "evidence", "b"); !errors.Is(err, spooltest.ErrCrashed) {
		t.Fatalf("moved without power: %v", err)
	}
	for seed := range uint64(50) {
		if names := d.Image(50, rnd(seed)).Names(); len(names) != 1 {
			t.Fatalf("names after a crash: %v", names)
		}
	}
}

func TestGrowsSaysWhatNeedsRoom(t *testing.T) {
	d := spooltest.NewDisk()
	var grows []bool
	d.Inject(func(o spooltest.Op) error {
		grows = append(grows, o.Grows)
		return nil
	})
	f := create(t, d, "a", make([]byte, 100))
	for _, off := range []int64{0, 60} {
		if _, err := f.WriteAt(make([]byte, 50), off); err != nil {
			t.Fatal(err)
		}
	}
	if want := []bool{true, true, false, true}; !slices.Equal(grows, want) {
		t.Errorf("got %v, want %v", grows, want)
	}
}

func TestKilledKeepsWhatWasWritten(t *testing.T) {
	d := spooltest.NewDisk()
	create(t, d, "a", []byte("hello"))
	d.CrashAfter(0)
	if err := d.SyncDir(); err != nil {
		t.Fatal(err)
	}
	next := d.Killed()
	if b := next.Bytes("a"); string(b) != "hello" || next.Crashed() {
		t.Errorf("the next process finds %q", b)
	}
	if b := next.Image(0, rnd(1)).Bytes("a"); len(b) != 0 {
		t.Errorf("%q was never synced and survives the power", b)
	}
	f, err := next.Open("a")
	if err == nil {
		err = f.Sync()
	}
	if b := next.Image(0, rnd(1)).Bytes("a"); err != nil || string(b) != "hello" {
		t.Errorf("%q after a sync of the next process, %v", b, err)
	}
}
