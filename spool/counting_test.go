package spool_test

import (
	"sync/atomic"

	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

// counting counts the syncs of files.
type counting struct {
	*spooltest.Disk
	syncs atomic.Int64
}

func newCounting() *counting { return &counting{Disk: spooltest.NewDisk()} }

type countingFile struct {
	vfs.File
	of *counting
}

func (c *counting) Create(name string) (vfs.File, error) {
	f, err := c.Disk.Create(name)
	return countingFile{f, c}, err
}

func (f countingFile) Sync() error {
	f.of.syncs.Add(1)
	return f.File.Sync()
}
