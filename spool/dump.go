package spool

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/spool/vfs"
)

// Status says what a record of a dump is worth.
type Status string

// The states of a record on disk.
const (
	StatusLive    Status = "live"    // data that is not done
	StatusDone    Status = "done"    // data that is done
	StatusMoved   Status = "moved"   // data that another segment holds too, which counts instead
	StatusMeta    Status = "meta"    // not data: what the journal writes for itself
	StatusDamaged Status = "damaged" // bytes that have changed; What says more
)

// A DumpRecord is one record as it lies on the disk, or a stretch of damaged bytes.
type DumpRecord struct {
	File    string
	Offset  int64  // byte in File
	Size    int64  // bytes in File, with head and padding
	Segment uint64 // number of the segment; 0 if its header is damaged
	Type    string // as FORMAT.md names it; empty for damage without an intact head
	Status  Status
	Lane    string // empty for records of no lane
	Seq     uint64 // sequence in the lane of data, else a number of the type's own
	Flags   uint16 // the owner's, of data
	ID      []byte // of data; valid during the call
	Body    []byte // of data without the id, else the payload; valid during the call
	What    string // of damage
}

// Dump calls fn for every record of every type in every segment that counts, oldest segment first, in the order on the
// disk, damaged bytes among them. An error of fn ends it and is returned. The journal must not be open (*vfs.HeldError)
// and is not changed. What segments free for use again still hold is not shown.
func Dump(ctx context.Context, fsys vfs.FS, fn func(DumpRecord) error) error {
	o, err := look(ctx, fsys)
	if err == nil {
		err = errors.Join(o.dump(ctx, fn), o.close())
	}
	if err != nil {
		return fmt.Errorf("dump journal: %w", err)
	}
	return nil
}

func (o *offline) dump(ctx context.Context, fn func(DumpRecord) error) error {
	for _, d := range o.report.Damage {
		if d.Segment != 0 && d.Offset >= start {
			continue // found again below, where it lies
		}
		if err := fn(DumpRecord{File: d.File, Offset: d.Offset, Size: d.Length, Segment: d.Segment, Status: StatusDamaged, What: d.What}); err != nil {
			return err
		}
	}
	for _, g := range o.Spool.segs {
		if g.num == 0 {
			continue // nothing in it can be read
		}
		if err := o.dumpSegment(ctx, g, fn); err != nil {
			return err
		}
	}
	return nil
}

func (o *offline) dumpSegment(ctx context.Context, g *segment, fn func(DumpRecord) error) error {
	sc := &scanner{&window{file: g.slot.file, name: g.slot.name(), size: min(g.end, g.slot.size)}, g.codec}
	var failed error
	err := sc.walk(start, g.end, func(place int64, h head, payload []byte) error {
		if err := errors.Join(ctx.Err(), failed); err != nil {
			return err
		}
		return fn(o.describe(g, place, h, payload))
	}, func(gap hole) {
		if failed == nil {
			failed = fn(o.describeHole(g, gap))
		}
	})
	return errors.Join(err, failed)
}

func (o *offline) describe(g *segment, place int64, h head, payload []byte) DumpRecord {
	d := DumpRecord{
		File: g.slot.name(), Offset: place, Size: h.size(), Segment: g.num, Type: h.kind.String(), Status: StatusMeta,
		Seq: h.seq, Flags: h.flags, Body: payload, Lane: o.laneName(h.lane),
	}
	if h.kind.data() {
		if h.kind != kindChunk {
			d.ID, d.Body, _ = splitName(payload)
		}
		d.Status = o.recovery.lanes[h.lane].status(g, h.seq)
	}
	return d
}

func (o *offline) describeHole(g *segment, gap hole) DumpRecord {
	d := DumpRecord{
		File: g.slot.name(), Offset: gap.from, Size: gap.to - gap.from, Segment: g.num, Status: StatusDamaged,
		What: "bytes have changed since they were written",
	}
	if h := gap.head; h != nil {
		d.Type, d.Lane, d.Seq, d.Flags = h.kind.String(), o.laneName(h.lane), h.seq, h.flags
	}
	return d
}

func (o *offline) laneName(num uint32) string {
	if l := o.recovery.lanes[num]; l != nil && l.of != nil {
		return l.of.name
	} else if l != nil {
		return l.name
	}
	return ""
}

// status says what the record seq in g is worth.
func (l *Lane) status(g *segment, seq uint64) Status {
	if l.done.has(seq) {
		return StatusDone
	}
	if i := l.search(seq); i < len(l.extents) && l.extents[i].first <= seq && l.extents[i].seg != g {
		return StatusMoved
	}
	return StatusLive
}

var kindNames = map[kind]string{
	kindData: "DATA", kindDone: "DONE", kindLane: "LANE", kindSegments: "SEGMENTS", kindCheckpoint: "CHECKPOINT",
	kindPad: "PAD", kindClosed: "CLOSED", kindIndex: "INDEX", kindFooter: "FOOTER", kindLarge: "LARGE", kindChunk: "CHUNK",
}

func (k kind) String() string {
	if name := kindNames[k]; name != "" {
		return name
	}
	return fmt.Sprintf("type %d", uint8(k))
}
