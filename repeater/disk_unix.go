//go:build unix

package repeater

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// diskFree is the free space of dir's disk for this process, in bytes; -1 if it is not known.
func diskFree(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// inode tells directories of one disk apart; 0 if it is not known.
func inode(dir string) uint64 {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
