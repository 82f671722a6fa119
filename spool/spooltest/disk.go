// Package spooltest holds a disk that forgets: a vfs.FS in memory that keeps for every file and for the directory what is
// synced and what is not, and makes of that the images a power failure may leave. It fails where it is told to, and it can
// be full. It implements exactly the assumptions of spool/FORMAT.md.
package spooltest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/posthouse/posthouse/spool/vfs"
)

// Sector is the number of bytes that a write brings to the disk wholly or not at all.
const Sector = 512

// ErrCrashed is the answer of a disk whose power has failed.
var ErrCrashed = errors.New("the disk has lost its power")

// Kind names an operation of a disk.
type Kind string

// The operations of a disk.
const (
	List    Kind = "list"
	Open    Kind = "open"
	Create  Kind = "create"
	Remove  Kind = "remove"
	Rename  Kind = "rename"
	SyncDir Kind = "syncdir"
	Read    Kind = "read"
	Write   Kind = "write"
	Sync    Kind = "sync"
)

// An Op is one operation, counted from 0.
type Op struct {
	N     int
	Kind  Kind
	Name  string // of the file
	Grows bool   // it needs room on the disk that was not taken before
}

func (o Op) String() string { return fmt.Sprintf("operation %d: %s %s", o.N, o.Kind, o.Name) }

// Changes reports whether the operation changes the disk.
func (o Op) Changes() bool { return !slices.Contains([]Kind{List, Open, Read}, o.Kind) }

// A Disk is a directory of files in memory. Its methods may be called at the same time.
type Disk struct {
	mu       sync.Mutex
	names    map[string]*node // as programs see them
	durable  map[string]*node // as of the last SyncDir
	changes  []change         // since then
	ops      int
	inject   func(Op) error
	after    func(Op)
	capacity int64
	dead     bool
	locked   bool
}

type change struct {
	name string
	node *node  // nil: removed
	from string // the name it had before; empty: none
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{names: make(map[string]*node), durable: make(map[string]*node)}
}

// Inject sets what decides whether an operation fails; nil is never. A write that fails has written a part of its bytes.
// A sync that fails has lost what was not synced: reading still shows it, a later sync returns nil, a crash forgets it.
// f must not call the disk.
func (d *Disk) Inject(f func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inject = f
}

// SetCapacity bounds the bytes of all files; writes beyond it get ENOSPC. 0 is no bound.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}

// Used returns the bytes of all files.
func (d *Disk) Used() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() (n int64) {
	for _, f := range d.names {
		n += int64(f.cur.size)
	}
	return n
}

// Ops returns how many operations there have been.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// CrashAfter lets the power fail right after operation n: that one is done, all later ones get ErrCrashed.
func (d *Disk) CrashAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after = func(o Op) { d.dead = d.dead || o.N >= n }
}

// Fail lets the power fail now, and returns the disk as the next process finds it, see Image. No operation is between the
// two: one that is under way is in the image, or gets ErrCrashed.
func (d *Disk) Fail(keep int, rnd *rand.Rand) *Disk {
	d.mu.Lock()
	d.dead = true
	d.mu.Unlock()
	return d.Image(keep, rnd)
}

// Crashed reports whether the power has failed.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Image returns the disk as it may be after a power failure now: what is synced, and of what is not, each sector and each
// change of a name with a chance of keep percent, drawn from rnd.
func (d *Disk) Image(keep int, rnd *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := func() bool { return keep > 0 && rnd.IntN(100) < keep }
	img := NewDisk()
	names := maps.Clone(d.durable)
	for _, c := range d.changes {
		if !kept() {
			continue
		}
		if c.node == nil {
			delete(names, c.name)
		} else {
			names[c.name] = c.node
			delete(names, c.from)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) { // in order, so that a seed says all
		n := names[name].image(kept)
		img.names[name], img.durable[name] = n, n
	}
	return img
}

// Killed returns the disk as the next process finds it when this one has died and the power has not failed: all that was
// written is there, synced or not.
func (d *Disk) Killed() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	nodes := make(map[*node]*node)
	copied := func(n *node) *node {
		if n != nil && nodes[n] == nil {
			nodes[n] = &node{cur: n.cur.clone(), disk: n.disk.clone(), dirty: slices.Clone(n.dirty)}
		}
		return nodes[n]
	}
	next := NewDisk()
	for name, n := range d.names {
		next.names[name] = copied(n)
	}
	for name, n := range d.durable {
		next.durable[name] = copied(n)
	}
	for _, c := range d.changes {
		next.changes = append(next.changes, change{c.name, copied(c.node), c.from})
	}
	return next
}

// Bytes returns a copy of a file, nil if there is none.
func (d *Disk) Bytes(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.names[name]; n != nil {
		return n.cur.bytes()
	}
	return nil
}

// SetBytes puts b into a file, durably, behind the back of whoever has it open.
func (d *Disk) SetBytes(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		n = &node{}
		d.names[name], d.durable[name] = n, n
	}
	*n = *nodeOf(b)
}

// Flip changes the bits of mask in the byte at place of a file, durably, behind the back of whoever has it open.
func (d *Disk) Flip(name string, place int, mask byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	for _, c := range []*content{&n.cur, &n.disk} {
		var b [1]byte
		c.read(b[:], int64(place))
		b[0] ^= mask
		c.write(b[:], place)
	}
}

// Names returns the names of all files, sorted.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// do runs one operation: f, unless the power is off or a fault is due. partial is what a failing operation does all the same.
func (d *Disk) do(kind Kind, name string, f func() error, partial func()) error {
	return d.doing(Op{Kind: kind, Name: name}, f, partial)
}

func (d *Disk) doing(o Op, f func() error, partial func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return fmt.Errorf("%s %s: %w", o.Kind, o.Name, ErrCrashed)
	}
	o.N, o.Grows = d.ops, o.Grows || o.Kind == Create
	d.ops++
	if d.after != nil {
		defer d.after(o)
	}
	if d.inject != nil {
		if err := d.inject(o); err != nil {
			if partial != nil {
				partial()
			}
			return &fs.PathError{Op: string(o.Kind), Path: o.Name, Err: err}
		}
	}
	return f()
}

// List returns the files.
func (d *Disk) List() (list []vfs.Info, err error) {
	err = d.do(List, "", func() error {
		for _, name := range slices.Sorted(maps.Keys(d.names)) {
			if strings.Contains(name, "/") {
				continue // put aside
			}
			list = append(list, vfs.Info{Name: name, Size: int64(d.names[name].cur.size)})
		}
		return nil
	}, nil)
	return list, err
}

// Create makes a file.
func (d *Disk) Create(name string) (f vfs.File, err error) {
	err = d.do(Create, name, func() error {
		if d.names[name] != nil {
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		n := &node{}
		d.names[name] = n
		d.changes = append(d.changes, change{name: name, node: n})
		f = &file{d, n, name}
		return nil
	}, nil)
	return f, err
}

// Open opens a file.
func (d *Disk) Open(name string) (f vfs.File, err error) {
	err = d.do(Open, name, func() error {
		n := d.names[name]
		if n == nil {
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		f = &file{d, n, name}
		return nil
	}, nil)
	return f, err
}

// Remove takes a name away.
func (d *Disk) Remove(name string) error {
	return d.do(Remove, name, func() error {
		if d.names[name] == nil {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		delete(d.names, name)
		d.changes = append(d.changes, change{name: name})
		return nil
	}, nil)
}

// SetAside moves a file: one change of names, then a sync of the directory.
func (d *Disk) SetAside(name, folder, as string) error {
	as = folder + "/" + as
	err := d.do(Rename, name, func() error {
		n := d.names[name]
		switch {
		case n == nil:
			return &fs.PathError{Op: "rename", Path: name, Err: fs.ErrNotExist}
		case d.names[as] != nil:
			return &fs.PathError{Op: "rename", Path: as, Err: fs.ErrExist}
		}
		delete(d.names, name)
		d.names[as] = n
		d.changes = append(d.changes, change{as, n, name})
		return nil
	}, nil)
	if err != nil {
		return err
	}
	return d.SyncDir()
}

// SyncDir makes names durable. When it fails, nothing is known about them: they stay as they were, not durable.
func (d *Disk) SyncDir() error {
	return d.do(SyncDir, "", func() error {
		d.durable, d.changes = maps.Clone(d.names), nil
		return nil
	}, nil)
}

// Lock keeps a second user out.
func (d *Disk) Lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, &vfs.HeldError{Holder: "another user of this disk"}
	}
	d.locked = true
	return &held{d}, nil
}

type held struct{ disk *Disk }

func (h *held) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.disk.locked = false
	return nil
}

type file struct {
	disk *Disk
	node *node
	name string
}

func (f *file) Close() error { return nil }

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.disk.do(Read, f.name, func() error {
		if n = f.node.cur.read(p, off); n < len(p) {
			return io.EOF
		}
		return nil
	}, nil)
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	f.disk.mu.Lock()
	grows := off+int64(len(p)) > int64(f.node.cur.size)
	f.disk.mu.Unlock()
	err = f.disk.doing(Op{Kind: Write, Name: f.name, Grows: grows}, func() error {
		room := len(p)
		if d := f.disk; d.capacity > 0 {
			grow := max(off+int64(len(p))-int64(f.node.cur.size), 0)
			room = len(p) - int(min(max(d.used()+grow-d.capacity, 0), int64(len(p))))
		}
		if n = f.node.write(p[:room], off); n < len(p) {
			return &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
		}
		return nil
	}, func() { n = f.node.write(p[:len(p)/2], off) })
	return n, err
}

// Sync makes the bytes durable. When it fails they are taken for clean all the same, as Linux does.
func (f *file) Sync() error {
	n := f.node
	return f.disk.do(Sync, f.name, func() error {
		n.sync()
		return nil
	}, func() { clear(n.dirty) })
}
