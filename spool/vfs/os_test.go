//go:build unix

package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse/posthouse/spool/vfs"
)

func open(t *testing.T, path string) *vfs.Dir {
	t.Helper()
	d, err := vfs.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDirMakesFilesForTheirOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	d := open(t, path)
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("hello"), 4096); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{f.Sync(), f.Close(), d.SyncDir()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]fs.FileMode{path: 0o700, filepath.Join(path, "a"): 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s: %v, %v, want %v", name, info.Mode().Perm(), err, want)
		}
	}
	list, err := d.List()
	if err != nil || len(list) != 1 || list[0] != (vfs.Info{Name: "a", Size: 4101}) {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, err := d.Create("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create again: %v, want fs.ErrExist", err)
	}
	if err := d.Remove("a"); err != nil {
		t.Error(err)
	}
	if _, err := d.Open("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open after removal: %v, want fs.ErrNotExist", err)
	}
}

func TestDirFollowsNoLinkAndOpensNoPipe(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "inside"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"out": outside, "in": "inside", "lock": "inside"} {
		if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	for _, name := range []string{"out", "in", "pipe", "../outside"} {
		if f, err := d.Open(name); err == nil {
			f.Close()
			t.Errorf("opened %q", name)
		}
		if f, err := d.Create(name); err == nil {
			f.Close()
			t.Errorf("created %q", name)
		}
	}
	if c, err := d.Lock(); err == nil {
		c.Close()
		t.Error("locked through a link")
	}
	if list, err := d.List(); err != nil || len(list) != 1 {
		t.Errorf("list shows links or pipes: %v, %v", list, err)
	}
}

func TestDirRefusesWhatOthersMayWrite(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := vfs.OpenDir(path); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("open a directory of mode 0777: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vfs.OpenDir(file); err == nil {
		t.Error("opened a file as a directory")
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	a, b := open(t, path), open(t, path)
	lock, err := a.Lock()
	if err != nil {
		t.Fatal(err)
	}
	var held *vfs.HeldError
	if _, err := b.Lock(); !errors.As(err, &held) || !strings.HasPrefix(held.Holder, "process ") {
		t.Fatalf("second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := b.Lock()
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	again.Close()
}
