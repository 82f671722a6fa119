//go:build unix

package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse/posthouse/internal/failpoint"
)

// lockName is not a name a journal gives to its files, and List does not show it.
const lockName = "lock"

// Dir is a directory of the operating system. Nothing it opens lies outside of the directory, whatever links it holds.
type Dir struct {
	root *os.Root
	path string
}

// OpenDir opens the directory path, which it makes (mode 0700) if it is missing; the parent must exist.
// A path that others may write to is refused. Close releases it.
func OpenDir(path string) (*Dir, error) {
	if err := os.Mkdir(path, 0o700); err == nil {
		if err := syncParent(path); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open directory", Path: path, Err: syscall.ENOTDIR}
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s can be written to by others (mode %04o): chmod 700 it", path, info.Mode().Perm())
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root, path}, nil
}

// syncParent makes the name of a directory just made durable.
func syncParent(path string) error {
	parent, err := os.Open(parentOf(path))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

func parentOf(path string) string {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	switch {
	case i < 0:
		return "."
	case i == 0:
		return "/"
	}
	return path[:i]
}

// Path returns the path the directory was opened with.
func (d *Dir) Path() string { return d.path }

// Close releases the directory; its open files stay open.
func (d *Dir) Close() error { return d.root.Close() }

// List returns the regular files of the directory, without the lock file.
func (d *Dir) List() ([]Info, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == lockName {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		list = append(list, Info{e.Name(), info.Size()})
	}
	return list, nil
}

// Create makes a new file of mode 0600. An existing name, link or not, is fs.ErrExist.
func (d *Dir) Create(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open opens a regular file. A symbolic link, a device or a pipe of that name is refused.
func (d *Dir) Open(name string) (File, error) {
	f, err := d.open(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// open refuses what is not a regular file before it opens it (a pipe would block) and checks afterwards that it got the
// file it looked at, since os.Root itself resolves links that stay inside the directory.
func (d *Dir) open(name string, flag int) (*os.File, error) {
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("not a regular file (%v)", before.Mode().Type())}
	}
	f, err := d.root.OpenFile(name, flag|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("replaced while it was opened")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Remove takes a name away.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// SyncDir syncs the directory itself.
func (d *Dir) SyncDir() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SetAside moves a file into a folder below the directory.
func (d *Dir) SetAside(name, folder, as string) error {
	if err := d.root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	to, err := d.root.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := to.Lstat(as); !errors.Is(err, fs.ErrNotExist) {
		return cmp.Or(err, error(&fs.PathError{Op: "rename", Path: folder + "/" + as, Err: fs.ErrExist}))
	}
	if err := d.root.Rename(name, folder+"/"+as); err != nil {
		return err
	}
	return errors.Join((&Dir{root: to}).SyncDir(), d.SyncDir())
}

// Lock takes an advisory lock on the file "lock" and writes this process's id and the present time into it.
// The operating system frees the lock when the process ends, however it ends; the file stays.
func (d *Dir) Lock() (io.Closer, error) {
	f, err := d.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrExist) {
		f, err = d.open(lockName, os.O_RDWR)
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldError{holder(f)}
		}
		return nil, &fs.PathError{Op: "lock", Path: lockName, Err: err}
	}
	who := fmt.Sprintf("process %d since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(who), 0); err != nil && !full(err) { // a full disk must not keep a journal from draining
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

func holder(f *os.File) string {
	b := make([]byte, 128)
	n, _ := f.ReadAt(b, 0)
	return strings.TrimSpace(string(b[:n]))
}

type osFile struct{ *os.File }

// Sync makes bytes and length durable, not the times.
func (f osFile) Sync() error {
	if err := failpoint.Fault("sync"); err != nil {
		return err
	}
	return datasync(f.File)
}

// WriteAt is that of the file.
func (f osFile) WriteAt(b []byte, at int64) (int, error) {
	if err := failpoint.Fault("write"); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}
