package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthouse/posthouse/spool/vfs"
)

// offline is a journal that nobody has open, as recovery finds it: readers work on it, nothing writes. It holds the lock.
type offline struct {
	*Spool
	*recovery
}

// look reads the journal on fsys and changes nothing. The caller closes what it gets.
func look(ctx context.Context, fsys vfs.FS) (*offline, error) {
	s := &Spool{fs: fsys, lanes: make(map[string]*Lane)}
	if err := s.lock(); err != nil {
		return nil, err
	}
	r, err := recoverFrom(ctx, fsys, nil)
	if err != nil {
		return nil, errors.Join(err, r.close(), s.release())
	}
	s.adopt(r)
	r.report.Epoch = r.epoch
	return &offline{s, r}, nil
}

// close closes every file, then the lock.
func (o *offline) close() error { return o.release() }

// segmentSize is the size the journal was last used with; 0 if it holds no segment.
func (o *offline) segmentSize() int64 {
	for _, f := range slices.Backward(o.all) {
		if f.head.size != 0 {
			return f.head.size
		}
	}
	return 0
}

// Inspect reads a journal that nobody has open and says what its lanes hold, what there is in all, and what Open would
// report. The state is 0: only an open journal has one. A journal in use is a *vfs.HeldError. It writes nothing but the
// lock.
func Inspect(ctx context.Context, fsys vfs.FS) ([]LaneStats, Stats, *RecoveryReport, error) {
	o, err := look(ctx, fsys)
	if err != nil {
		return nil, Stats{}, nil, fmt.Errorf("inspect journal: %w", err)
	}
	stats := o.Stats()
	stats.Epoch = o.report.Epoch
	stats.Bytes, err = slotBytes(fsys)
	if err = errors.Join(err, o.close()); err != nil {
		return nil, Stats{}, nil, fmt.Errorf("inspect journal: %w", err)
	}
	return o.Lanes(), stats, &o.report, nil
}

// slotBytes counts slots too that were never used, and those that were not filled to the end.
func slotBytes(fsys vfs.FS) (n int64, err error) {
	list, err := fsys.List()
	for _, info := range list {
		if _, is := slotID(info.Name); is {
			n += info.Size
		}
	}
	return n, err
}

// ErrNoLane: the journal has no lane of that name.
var ErrNoLane = errors.New("no such lane")

// Export calls fn for each record of the lane that is not done, in sequence; an error of fn ends it and is returned. The
// journal must not be open (*vfs.HeldError) and is not changed. Damaged records are passed: when all others have been
// handed out, the error holds a *CorruptError of the first one met. What recovery has found missing is in the report of
// Inspect only. A lane that is not there is ErrNoLane.
func Export(ctx context.Context, fsys vfs.FS, lane string, fn func(Item) error) error {
	o, err := look(ctx, fsys)
	if err == nil {
		err = errors.Join(o.export(ctx, lane, fn), o.close())
	}
	if err != nil {
		return fmt.Errorf("export lane %q: %w", lane, err)
	}
	return nil
}

func (o *offline) export(ctx context.Context, lane string, fn func(Item) error) error {
	l := o.Spool.lanes[lane]
	if l == nil {
		return ErrNoLane
	}
	n, first, err := l.each(ctx, fn)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d records are damaged, the first: %w", n, first)
	}
	return err
}

// each calls fn for the live records of l. It returns how many it could not read, and why the first of them.
func (l *Lane) each(ctx context.Context, fn func(Item) error) (damaged int, first, err error) {
	for r := l.Reader(1); ; {
		if err := ctx.Err(); err != nil {
			return damaged, first, err
		}
		item, wait, err := r.TryNext()
		var corrupt *CorruptError
		switch {
		case errors.As(err, &corrupt):
			if damaged++; first == nil {
				first = err
			}
			continue
		case err != nil:
			return damaged, first, err
		case wait != nil:
			return damaged, first, nil
		}
		if err := fn(item); err != nil {
			return damaged, first, err
		}
	}
}
