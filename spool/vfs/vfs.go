// Package vfs is the seam between the journal and the disk: one flat directory of files, written at given places and
// synced on demand. Everything the journal does to a disk passes here, so a test can put a disk behind it that forgets,
// fails or is full.
//
// What an implementation promises, and nothing more: after Sync returned nil, the bytes written to the file before survive
// a power failure; after SyncDir returned nil, the names created and removed before do. What was not synced may survive
// wholly, in part (units of 512 bytes, in any order), or not at all. Names are plain file names without a separator.
package vfs

import "io"

// A Reader looks at a directory and changes nothing in it.
type Reader interface {
	// List returns the regular files of the directory in no certain order.
	List() ([]Info, error)
	// Open opens an existing file for reading and writing. It follows no symbolic link. A missing file is fs.ErrNotExist.
	Open(name string) (File, error)
}

// FS is one directory of files. Its methods may be called at the same time.
type FS interface {
	Reader
	// Create makes a new empty file, readable and writable by its owner only. An existing one is fs.ErrExist.
	// The name survives a power failure only after SyncDir.
	Create(name string) (File, error)
	// Remove takes a name away; the removal survives a power failure only after SyncDir.
	Remove(name string) error
	// SyncDir makes the names created and removed so far durable.
	SyncDir() error
}

// A File is an open file. ReadAt may run beside every other method; WriteAt and Sync are called by one goroutine at a time.
// After an error of WriteAt or Sync nothing is known about what was written since the last Sync that returned nil,
// and a later Sync that returns nil proves nothing about it.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the bytes and the length durable. It is called once for each set of writes and never again after an error.
	Sync() error
	io.Closer
}

// Info describes a file of the directory.
type Info struct {
	Name string // without a path
	Size int64  // bytes
}

// A Locker can keep a second user out of the directory. An FS that is one is locked while a journal is open on it.
type Locker interface {
	// Lock takes the directory for this process until the closer is closed. A directory in use is a *HeldError.
	Lock() (io.Closer, error)
}

// A Shelf can put files aside, into a folder of its own below the directory.
type Shelf interface {
	// SetAside moves a file into folder, made if it is missing, under the name as. After it returned nil the move survives
	// a power failure; after an error, or a power failure before, the file is in one of both places. List does not show
	// what was put aside. A name that is taken there is fs.ErrExist, and nothing was moved.
	SetAside(name, folder, as string) error
}

// A HeldError says who has the directory.
type HeldError struct {
	Holder string // what the lock file says: process id and start time; empty if it could not be read
}

func (e *HeldError) Error() string {
	if e.Holder == "" {
		return "directory is in use by another process"
	}
	return "directory is in use by " + e.Holder
}
