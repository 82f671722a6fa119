//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bareSize is the size of the file that bare loops overwrite.
const bareSize = 256 << 20

// A pace is what a loop reached.
type pace struct {
	ops   float64 // per second
	bytes float64 // per second
	mean  time.Duration
}

func paceOf(ops int, size int64, took time.Duration) pace {
	rate := float64(ops) / took.Seconds()
	return pace{rate, rate * float64(size), took / time.Duration(max(ops, 1))}
}

// overwrite is the measure of all synced appends: it writes size bytes over existing ones and calls fdatasync, again and
// again, for the time of one measurement.
func (b *bench) overwrite(ctx context.Context, dir string, size int) (pace, error) {
	return b.overwriting(ctx, dir, size, 0, func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) })
}

// sequential is the disk's bandwidth: it overwrites a file with O_DIRECT, a mebibyte at a time.
func (b *bench) sequential(ctx context.Context, dir string) (pace, error) {
	return b.overwriting(ctx, dir, 1<<20, unix.O_DIRECT, func(*os.File) error { return nil })
}

func (b *bench) overwriting(ctx context.Context, dir string, size, flag int, sync func(*os.File) error) (p pace, err error) {
	name := filepath.Join(dir, "bare")
	if err := fill(name, bareSize); err != nil {
		return p, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|flag, 0)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	buf, n, began := aligned(size), 0, time.Now()
	for time.Since(began) < b.span {
		if _, err := f.WriteAt(buf, int64(n)*int64(size)%bareSize); err != nil {
			return p, err
		}
		if err := errors.Join(sync(f), ctx.Err()); err != nil {
			return p, err
		}
		n++
	}
	return paceOf(n, int64(size), time.Since(began)), nil
}

// aligned returns bytes that are not zero, at an address O_DIRECT takes.
func aligned(size int) []byte {
	b := make([]byte, size+4096)
	skip := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	b = b[skip : skip+size]
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

// fill makes a file whose blocks are written and on the disk.
func fill(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := aligned(1 << 20)
	for at := int64(0); at < size && err == nil; at += int64(len(buf)) {
		_, err = f.WriteAt(buf, at)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// forget takes the files of dir out of the memory of the system, so that reading them is cold. They must be synced.
func forget(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
}

func eachFile(dir string, do func(*os.File) error) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		return errors.Join(err, fmt.Errorf("%d segments in %s", len(names), dir))
	}
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(do(f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// readCold reads all files of a journal front to back, cold: the measure of draining.
func readCold(ctx context.Context, dir string) (bytesPerSecond float64, err error) {
	if err := forget(dir); err != nil {
		return 0, err
	}
	buf, total, began := make([]byte, 1<<20), int64(0), time.Now()
	err = eachFile(dir, func(f *os.File) error {
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		total += n
		return errors.Join(err, ctx.Err())
	})
	return float64(total) / time.Since(began).Seconds(), err
}

const tmpfsMagic = 0x01021994

// checkRoom says why dir is no place to measure a disk: in memory, or too small.
func checkRoom(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	if st.Type == tmpfsMagic {
		return fmt.Errorf("%s lies in memory, not on a disk: give another one with -dir", dir)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("%s has %d MB free, %d are needed: give another one with -dir, or -quick", dir, free>>20, need>>20)
	}
	return nil
}
