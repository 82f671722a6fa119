package spool

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/spool/vfs"
)

// recovery collects what the files say. It changes nothing on disk.
type recovery struct {
	fs       vfs.FS
	all      []*found
	lanes    map[uint32]*Lane
	segs     []*segment
	free     []*slot
	last     segEnd
	ends     map[uint64]int64 // where segments end, as later ones say
	hurt     []hurtRecord
	loose    []looseEnd
	epoch    uint32
	owner    uint64
	nextSlot uint32
	win      window // used by one after the other
	pieces   map[uint32][]piece
	larges   map[uint32]map[uint64]span // chunks of large records, by lane and sequence
	chunkOf  map[uint32]uint32          // lanes of lanes of chunks; 0 if that is not known
	fast     bool                       // trust the indexes of sealed segments
	progress func(done, total int64)
	total    int64
	report   RecoveryReport
}

// looseEnd is the part of a segment that nothing promises: it may have been written and not synced.
type looseEnd struct {
	seg  *segment
	from int64
}

// hurtRecord is a damage whose lane has no name yet.
type hurtRecord struct {
	damage int // index in the report
	lane   uint32
}

// found is a slot and what its header says.
type found struct {
	slot  *slot
	head  segHeader
	state headerState
}

// recoverFrom reads everything that counts and checks each checksum.
func recoverFrom(ctx context.Context, fsys vfs.FS, progress func(done, total int64)) (*recovery, error) {
	r := newRecovery(fsys, progress)
	return r, r.run(ctx)
}

func newRecovery(fsys vfs.FS, progress func(done, total int64)) *recovery {
	return &recovery{
		fs: fsys, lanes: make(map[uint32]*Lane), ends: make(map[uint64]int64), pieces: make(map[uint32][]piece),
		larges: make(map[uint32]map[uint64]span), chunkOf: make(map[uint32]uint32), progress: progress,
	}
}

func (r *recovery) run(ctx context.Context) error {
	if err := r.findSlots(); err != nil {
		return err
	}
	count, err := r.choose()
	if err != nil {
		return err
	}
	for _, f := range count {
		r.total += f.slot.size
	}
	for i, f := range count {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.scan(f, i == len(count)-1); err != nil {
			return err
		}
		failpoint.Hit("C23")
	}
	r.report.Clean = r.report.Clean || len(count) == 0
	r.settle()
	return nil
}

func (r *recovery) close() error {
	var errs []error
	for _, f := range r.all {
		errs = append(errs, f.slot.file.Close())
	}
	return errors.Join(errs...)
}

// findSlots opens every slot and reads its header.
func (r *recovery) findSlots() error {
	list, err := r.fs.List()
	if err != nil {
		return err
	}
	for _, info := range list {
		id, ok := slotID(info.Name)
		if !ok {
			continue
		}
		r.nextSlot = max(r.nextSlot, id+1)
		if err := r.findSlot(id, info); err != nil {
			return err
		}
	}
	slices.SortFunc(r.all, func(a, b *found) int {
		return cmp.Or(cmp.Compare(a.head.num, b.head.num), cmp.Compare(a.slot.id, b.slot.id))
	})
	return nil
}

func (r *recovery) findSlot(id uint32, info vfs.Info) error {
	file, err := r.fs.Open(info.Name)
	if err != nil {
		return err
	}
	f := &found{slot: &slot{id: id, file: file, size: info.Size}}
	r.all = append(r.all, f)
	b, err := r.window(f.slot, info.Size, start).bytes(0, start)
	if err != nil {
		return err
	}
	f.head, f.state = decodeHeader(b)
	if f.head.version > version {
		return fmt.Errorf("%w: %s has version %d, this program reads %d: use the newer program", ErrVersion, info.Name, f.head.version, version)
	}
	d := Damage{File: info.Name, Segment: f.head.num, Length: start}
	switch {
	case f.state == headerDamaged:
		d.What = "both headers are damaged: nothing in this file can be read"
	case f.state == headerHurt:
		d.What = "one of the two headers is damaged"
	case info.Size < f.head.size:
		f.state = headerHurt
		d.Offset, d.Length, d.What = info.Size, f.head.size-info.Size, "the file was cut short"
	default:
		return nil
	}
	r.report.Damage = append(r.report.Damage, d)
	return nil
}

// choose finds the newest complete checkpoint and with it the segments that count. It returns those to be scanned,
// oldest first.
func (r *recovery) choose() ([]*found, error) {
	var used []*found
	for _, f := range r.all {
		switch {
		case f.state == headerNone || f.state != headerDamaged && f.head.num == 0:
			r.spare(f)
		case f.state == headerDamaged:
			r.segs = append(r.segs, &segment{slot: f.slot, hurt: true, once: true})
		default:
			used = append(used, f)
		}
	}
	for _, f := range used {
		r.ends[f.head.prev.num] = f.head.prev.end
		r.epoch, r.owner = f.head.epoch, f.head.owner // the newest comes last
		r.report.Made = time.Unix(0, f.head.made)
	}
	base, listed, err := r.checkpoint(used)
	if err != nil {
		return nil, err
	}
	var scan []*found
	for _, f := range used {
		at, ok := listed[f.head.num]
		if !ok && f.head.num < base {
			r.spare(f)
			continue
		}
		if r.fast && ok && at.table != 0 && f.state == headerGood {
			if done, err := r.byIndex(f, at); done || err != nil {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		scan = append(scan, f)
	}
	return scan, nil
}

// spare is a slot that holds nothing. One without any header may be filled in part only, so it is made anew.
func (r *recovery) spare(f *found) {
	if f.state == headerNone || f.head.num == 0 && f.state != headerGood {
		f.slot.size = 0
	}
	r.free = append(r.free, f.slot)
}

// checkpoint returns the number of the newest segment with a complete checkpoint, and the segments it lists.
func (r *recovery) checkpoint(used []*found) (base uint64, listed map[uint64]listing, err error) {
	for _, f := range slices.Backward(used) {
		listed, complete := make(map[uint64]listing), false
		at, err := r.scanner(f).tail(start, func(_ int64, h head, payload []byte) error {
			switch h.kind {
			case kindSegments:
				return eachListing(payload, func(num uint64, at listing) { listed[num] = at })
			case kindCheckpoint:
				complete = true
				return errStop
			case kindLane, kindPad:
			default:
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return 0, nil, err
		}
		if end, ok := r.ends[f.head.num]; ok && end <= at {
			continue // its write failed, says the segment behind it: nothing in it counts
		}
		if complete {
			for num, at := range listed {
				r.ends[num] = at.end
			}
			return f.head.num, listed, nil
		}
	}
	return 0, nil, nil
}

var errStop = errors.New("stop")

func (r *recovery) scanner(f *found) *scanner {
	return &scanner{r.window(f.slot, min(f.slot.size, f.head.size), windowSize), newCodec(f.head.salt)}
}

// window gives the one window there is another file: recovery reads one after the other.
func (r *recovery) window(f *slot, size, step int64) *window {
	r.win = window{file: f.file, name: f.name(), size: size, step: step, buf: r.win.buf[:0]}
	return &r.win
}

// scan reads one segment. Where it ends is known from a later one; if not, the segment's own promises decide what is
// damage and what a torn write.
func (r *recovery) scan(f *found, newest bool) error {
	sc := r.scanner(f)
	g := &segment{slot: f.slot, num: f.head.num, codec: sc.codec, hurt: f.state == headerHurt, once: f.slot.size != f.head.size}
	r.segs = append(r.segs, g)
	end, known := r.ends[g.num]
	last := end
	if !known || newest {
		var err error
		if end, last, err = sc.promised(); err != nil {
			return err
		}
		switch known = false; {
		case mutantTorn:
			end = start
		case mutantCorrupt:
			end = last
		}
	}
	r.report.Clean = false
	visit := func(place int64, h head, payload []byte) error { return r.visit(g, place, h, payload) }
	err := sc.walk(start, end, visit, func(gap hole) { r.damaged(g, gap) })
	if err == nil && !known {
		r.loose = append(r.loose, looseEnd{g, end})
		end, err = sc.tail(end, visit)
		r.report.Torn += max(last-end, 0)
	}
	g.end = end
	r.last = segEnd{g.num, g.end}
	r.report.Scanned += g.end
	r.report.Segments++
	if r.progress != nil {
		r.progress(r.report.Scanned, r.total)
	}
	return err
}

func (r *recovery) damaged(g *segment, gap hole) {
	g.hurt = true
	d := Damage{File: g.slot.name(), Segment: g.num, Offset: gap.from, Length: gap.to - gap.from, What: "bytes have changed since they were written"}
	if gap.head != nil && gap.head.kind.data() {
		l := r.lane(gap.head.lane)
		l.next = max(l.next, gap.head.seq+1) // it was there
	}
	if gap.head != nil && gap.head.kind.data() && gap.head.kind != kindChunk {
		d.Seq = gap.head.seq
		r.hurt = append(r.hurt, hurtRecord{len(r.report.Damage), gap.head.lane})
	}
	r.report.Damage = append(r.report.Damage, d)
}

func (r *recovery) lane(num uint32) *Lane {
	l := r.lanes[num]
	if l == nil {
		l = &Lane{num: num, next: 1}
		r.lanes[num] = l
	}
	return l
}

// visit takes in one good record. All of it is true whenever it was written, so the order does not matter but for records.
func (r *recovery) visit(g *segment, place int64, h head, payload []byte) error {
	ok := true
	if h.kind != kindPad {
		r.report.Clean = h.kind == kindClosed && h.flags&closedUnsure == 0
	}
	switch h.kind {
	case kindData:
		ok = r.record(g, place, h)
	case kindLarge:
		var chunks span
		var num uint32
		if _, num, chunks, _, ok = splitLarge(payload); ok && r.record(g, place, h) {
			r.large(h.lane, num, large{h.seq, chunks})
		}
	case kindChunk:
		ok = r.record(g, place, h)
		r.isChunks(h.lane)
	case kindDone:
		ok = eachPair(payload, func(first, last uint64) { r.lane(h.lane).done.add(span{first, last}) })
	case kindLane:
		var name, rest []byte
		if name, rest, ok = splitName(payload); ok {
			l := r.lane(h.lane)
			if l.next = max(l.next, h.seq); h.flags&laneOfChunks == 0 {
				l.name = string(name)
			} else if len(name) == 4 {
				r.chunkOf[h.lane] = binary.LittleEndian.Uint32(name)
			}
			ok = eachPair(rest, func(first, last uint64) { l.done.add(span{first, last}) })
		}
	}
	if !ok { // intact, yet not what this program writes
		g.hurt = true
		r.report.Damage = append(r.report.Damage, Damage{File: g.slot.name(), Segment: g.num, Offset: place, Length: h.size(),
			What: fmt.Sprintf("record of type %d makes no sense here", h.kind)})
	}
	return nil
}

// settle checks for every lane that each sequence is done, present or missing, and counts what is live.
func (r *recovery) settle() {
	r.linkChunks()
	for num, l := range r.lanes {
		if l.of != nil {
			continue
		}
		if l.name == "" {
			l.name = fmt.Sprintf("lost-%d", num)
		}
		r.settleChunks(l)
		for ; l != nil; l = l.chunks {
			if n := len(l.done); n > 0 {
				l.next = max(l.next, l.done[n-1].last+1)
			}
			r.settleLane(l)
		}
	}
	r.pieces = nil
	for _, h := range r.hurt {
		r.report.Damage[h.damage].Lane = r.lane(h.lane).name
	}
	slices.SortFunc(r.report.Missing, func(a, b Missing) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.First, b.First))
	})
	slices.SortFunc(r.segs, func(a, b *segment) int { return cmp.Compare(a.num, b.num) })
}

func (r *recovery) settleLane(l *Lane) {
	known := l.adopt(r.pieces[l.num])
	for _, d := range l.done {
		known.add(d)
	}
	if l.of == nil {
		r.report.Records += l.live
	}
	if l.next == 1 || l.of != nil {
		return
	}
	for _, gap := range known.missing(span{1, l.next - 1}) {
		r.report.Missing = append(r.report.Missing, Missing{l.name, gap.first, gap.last})
		l.done.add(gap)
	}
}

// Verify reads a journal that nobody has open and reports what Open would. It writes nothing. An error on reading is
// returned as in Open.
func Verify(ctx context.Context, fsys vfs.FS) (*RecoveryReport, error) {
	if l, ok := fsys.(vfs.Locker); ok {
		lock, err := l.Lock()
		if err != nil {
			return nil, fmt.Errorf("verify journal: %w", err)
		}
		defer lock.Close()
	}
	r, err := recoverFrom(ctx, fsys, nil)
	if err = errors.Join(err, r.close()); err != nil {
		return nil, fmt.Errorf("verify journal: %w", err)
	}
	r.report.Epoch = r.epoch
	return &r.report, nil
}
