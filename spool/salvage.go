package spool

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/posthouse/posthouse/spool/vfs"
)

// A SalvageReport says what Salvage has brought over, and what it could not.
type SalvageReport struct {
	Recovery RecoveryReport // of the old journal: what is damaged and missing
	Lanes    int            // with live records
	Records  uint64         // brought over
	Bytes    int64          // of their ids and bodies
	Damaged  uint64         // live records that could not be read
}

// salvageBatch is how many bytes of records Salvage appends at once.
const salvageBatch = 256 << 10

// Salvage copies every live record that can be read from one journal into a fresh one: to must hold no segment. It reads
// on where the disk of the old journal gives errors; what could not be read counts as damaged. Nobody may have either
// open (*vfs.HeldError); the old one is not changed. Order within a lane, ids, flags and bodies are kept; sequences
// start again at 1, and the new journal belongs to whoever opens it first. Of the two only one may be used from now on.
// The report is not nil even with an error, and says how far it came.
func Salvage(ctx context.Context, from, to vfs.FS) (*SalvageReport, error) {
	report := &SalvageReport{}
	if err := salvage(ctx, from, to, report); err != nil {
		return report, fmt.Errorf("salvage journal: %w", err)
	}
	return report, nil
}

func salvage(ctx context.Context, from, to vfs.FS, report *SalvageReport) error {
	if err := mustBeEmpty(to); err != nil {
		return err
	}
	old, err := look(ctx, forgiving{from})
	if err != nil {
		return err
	}
	report.Recovery = old.report
	fresh, _, err := Open(ctx, Options{FS: to, SegmentSize: old.segmentSize()})
	if err != nil {
		return errors.Join(err, old.close())
	}
	return errors.Join(old.copyLanes(ctx, fresh, report), fresh.Close(), old.close())
}

// ErrNotEmpty: the place for a fresh journal holds one already.
var ErrNotEmpty = errors.New("there is a journal already")

func mustBeEmpty(fsys vfs.FS) error {
	list, err := fsys.List()
	for _, info := range list {
		if _, is := slotID(info.Name); is {
			return fmt.Errorf("%w (%s): give an empty directory", ErrNotEmpty, info.Name)
		}
	}
	return err
}

func (o *offline) copyLanes(ctx context.Context, to *Spool, report *SalvageReport) error {
	for _, st := range o.Lanes() {
		if st.Live == 0 {
			continue
		}
		l, err := to.Lane(st.Name)
		if err != nil {
			return err
		}
		report.Lanes++
		c := copying{to: l, report: report}
		damaged, _, err := o.Spool.lanes[st.Name].each(ctx, func(item Item) error { return c.add(ctx, item.Record) })
		report.Damaged += uint64(damaged)
		if err = errors.Join(err, c.flush(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// copying gathers records for one append.
type copying struct {
	to     *Lane
	report *SalvageReport
	recs   []Record
	size   int64 // in the journal
	bytes  int64
}

func (c *copying) add(ctx context.Context, r Record) error {
	if c.size > 0 && c.size+r.size() > min(salvageBatch, c.to.s.opts.SegmentSize/8) {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	c.recs = append(c.recs, r)
	c.size += r.size()
	c.bytes += int64(len(r.ID) + len(r.Body))
	return nil
}

func (c *copying) flush(ctx context.Context) error {
	if len(c.recs) == 0 {
		return nil
	}
	if _, err := c.to.Append(ctx, c.recs...); err != nil {
		return err
	}
	c.report.Records += uint64(len(c.recs))
	c.report.Bytes += c.bytes
	c.recs, c.size, c.bytes = nil, 0, 0
	return nil
}

// forgiving is a directory on a disk that fails: what cannot be read shows as bytes that no segment holds, so that it is
// taken for damage.
type forgiving struct{ vfs.FS }

// Lock passes on to the directory, whose wrapper would hide it.
func (f forgiving) Lock() (io.Closer, error) {
	if l, ok := f.FS.(vfs.Locker); ok {
		return l.Lock()
	}
	return noLock{}, nil
}

type noLock struct{}

func (noLock) Close() error { return nil }

func (f forgiving) Open(name string) (vfs.File, error) {
	file, err := f.FS.Open(name)
	return forgivingFile{file}, err
}

type forgivingFile struct{ vfs.File }

// ReadAt reads sector by sector where reading at once fails.
func (f forgivingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	for n = 0; n < len(p); {
		part := p[n:min(len(p), n+sector)]
		got, err := f.File.ReadAt(part, off+int64(n))
		if errors.Is(err, io.EOF) {
			return n + got, err
		}
		if err != nil {
			for i := range part {
				part[i] = 0xff
			}
		}
		n += len(part)
	}
	return n, nil
}
