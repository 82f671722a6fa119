package faults

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// mountSmall mounts a file system in memory of that many bytes at dir, and reports whether it may.
func mountSmall(t *testing.T, dir string, bytes int) bool {
	t.Helper()
	if err := unix.Mount("posthouse-faults", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		return false
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return true
}
