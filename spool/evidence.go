package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/spool/vfs"
)

// ErrStillNeeded: a damaged segment cannot be moved away without losing something.
var ErrStillNeeded = errors.New("a damaged segment is still needed")

// evidence is the folder below the journal's that damaged segments are moved into.
const evidence = "evidence"

// Acknowledge moves the damaged segments of a journal into its folder "evidence", after which the journal counts none. It
// returns where they are now, below the journal's directory. The journal must not be open (*vfs.HeldError).
//
// Nothing live is lost by it: when a damaged segment holds live records that can be read, or the journal has no room to
// state elsewhere what stands in it, nothing is moved and the error is ErrStillNeeded. Records that the damage has taken
// are reported missing by Inspect before; afterwards once more at most, by the next Open.
func Acknowledge(ctx context.Context, fsys vfs.FS) ([]string, error) {
	shelf, ok := fsys.(vfs.Shelf)
	if !ok {
		return nil, errors.New("acknowledge damage: this file system cannot move files aside")
	}
	needed, err := restate(ctx, fsys)
	if err != nil || !needed {
		return nil, wrapAcknowledge(err)
	}
	moved, err := setAside(ctx, fsys, shelf)
	return moved, wrapAcknowledge(err)
}

func wrapAcknowledge(err error) error {
	if err != nil {
		err = fmt.Errorf("acknowledge damage: %w", err)
	}
	return err
}

// restate sees to it that a new segment states all that is known from damaged ones. It is false if none is damaged.
func restate(ctx context.Context, fsys vfs.FS) (needed bool, err error) {
	o, err := look(ctx, fsys)
	if err != nil {
		return false, err
	}
	size := o.segmentSize()
	damaged := o.damaged()
	if err := errors.Join(o.stillNeeded(damaged), o.close()); err != nil || len(damaged) == 0 {
		return false, err
	}
	s, _, err := Open(ctx, Options{FS: fsys, SegmentSize: size})
	if err != nil {
		return false, err
	}
	return true, s.Close()
}

func (o *offline) damaged() (list []*segment) {
	for _, g := range o.Spool.segs {
		if g.hurt {
			list = append(list, g)
		}
	}
	return list
}

// stillNeeded says which live records that can be read lie in damaged segments.
func (o *offline) stillNeeded(damaged []*segment) error {
	var held []string
	for _, st := range o.Lanes() {
		n := uint64(0)
		for _, e := range o.Spool.lanes[st.Name].extents {
			if slices.Contains(damaged, e.seg) {
				n += e.live
			}
		}
		if n > 0 {
			held = append(held, fmt.Sprintf("%d of lane %q", n, st.Name))
		}
	}
	if len(held) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it holds live records that can be read (%s): let them drain, or salvage the journal, then try again",
		ErrStillNeeded, strings.Join(held, ", "))
}

// setAside moves what is damaged, if a whole segment behind it repeats what it states.
func setAside(ctx context.Context, fsys vfs.FS, shelf vfs.Shelf) (moved []string, err error) {
	o, err := look(ctx, fsys)
	if err != nil {
		return nil, err
	}
	damaged := o.damaged()
	if err = o.stillNeeded(damaged); err == nil {
		err = o.restated(damaged)
	}
	for _, g := range damaged {
		if err != nil {
			break
		}
		var name string
		if name, err = putAside(shelf, g.slot.name()); err == nil {
			moved = append(moved, name)
		}
	}
	return moved, errors.Join(err, o.close())
}

// restated is nil if the newest complete checkpoint lies behind every damaged segment.
func (o *offline) restated(damaged []*segment) error {
	used := slices.DeleteFunc(slices.Clone(o.all), func(f *found) bool { return f.state == headerNone || f.state == headerDamaged })
	base, _, err := o.recovery.checkpoint(used)
	if err == nil && slices.ContainsFunc(damaged, func(g *segment) bool { return g.num >= base }) {
		err = fmt.Errorf("%w: there was no room for a new one that states what it states: free some space, then try again", ErrStillNeeded)
	}
	return err
}

// putAside moves one file; a slot of the same name may be there from an earlier time.
func putAside(shelf vfs.Shelf, name string) (string, error) {
	for n := 1; ; n++ {
		as := name
		if n > 1 {
			as = fmt.Sprintf("%s.%d", name, n)
		}
		if err := shelf.SetAside(name, evidence, as); !errors.Is(err, fs.ErrExist) {
			return evidence + "/" + as, err
		}
	}
}
