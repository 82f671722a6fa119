//go:build !unix

package repeater

// diskFree is the free space of dir's disk in bytes; -1: it is not known here.
func diskFree(string) int64 { return -1 }

// inode tells directories of one disk apart; 0: it is not known here.
func inode(string) uint64 { return 0 }
