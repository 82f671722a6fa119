package vfs

import (
	"errors"
	"os"
	"syscall"
)

// datasync is fdatasync: it writes the length too when that is needed to find the bytes again. An interrupted call has
// reported nothing, so it alone may be repeated.
func datasync(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = syscall.Fdatasync(int(fd)); !errors.Is(failed, syscall.EINTR) {
				return
			}
		}
	})
	if failed != nil {
		failed = &os.PathError{Op: "fdatasync", Path: f.Name(), Err: failed}
	}
	return errors.Join(err, failed)
}
