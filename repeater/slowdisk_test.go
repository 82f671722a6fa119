package repeater_test

import (
	"time"

	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

// A slowDisk is a disk whose syncs take their time: so a crash can come while one is under way.
type slowDisk struct {
	*spooltest.Disk
	lag time.Duration
}

type slowFile struct {
	vfs.File
	lag time.Duration
}

func (d slowDisk) Create(name string) (vfs.File, error) {
	f, err := d.Disk.Create(name)
	return slowFile{f, d.lag}, err
}

func (d slowDisk) Open(name string) (vfs.File, error) {
	f, err := d.Disk.Open(name)
	return slowFile{f, d.lag}, err
}

func (d slowDisk) SyncDir() error {
	pass(d.lag)
	return d.Disk.SyncDir()
}

func (f slowFile) Sync() error {
	pass(f.lag)
	return f.File.Sync()
}
