//go:build !unix

package vfs

import (
	"errors"
	"io"
)

// Dir is a directory of the operating system. On this system there is none that keeps the promises of FS.
type Dir struct{ FS }

// OpenDir always fails here: locks and directory syncs work otherwise than the journal needs.
func OpenDir(string) (*Dir, error) {
	return nil, errors.New("a journal on disk is supported on Unix systems only")
}

// Close does nothing.
func (d *Dir) Close() error { return nil }

// Path returns nothing.
func (d *Dir) Path() string { return "" }

// Lock always fails here.
func (d *Dir) Lock() (io.Closer, error) { return nil, errors.ErrUnsupported }

// SetAside always fails here.
func (d *Dir) SetAside(name, folder, as string) error { return errors.ErrUnsupported }
