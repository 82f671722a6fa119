package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/posthouse/posthouse/internal/failpoint"
)

// roll ends the segment in use and begins the next one with a checkpoint. Records may not take a slot of the reserve.
// After it the marks that waited are on disk. Without a slot the segment in use stays, or there is none as before.
func (s *Spool) roll(records bool) error {
	least := 1
	if records {
		least += s.opts.Reserve
		s.mu.Lock()
		err := s.crowded()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for len(s.free) < least {
		if err := s.grow(); err != nil {
			return err
		}
	}
	if err := errors.Join(s.seal(), s.syncHeld()); err != nil {
		return err
	}
	s.retire()
	s.mu.Lock()
	f := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.mu.Unlock()
	g, err := s.beginSegment(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.active = g
	s.mu.Unlock()
	return nil
}

// listEntry is what a segment takes in a checkpoint's list of segments.
const listEntry = 24

// crowded says when one more segment with records would take too much of a checkpoint. The list may take half of a
// segment: records stop there, and marks still find room, so that it can drain. Called with mu held.
func (s *Spool) crowded() error {
	if n := len(s.segs); int64(n)*listEntry > s.opts.SegmentSize/2 {
		return fmt.Errorf("%w: %d segments are as many as one of %d bytes can list: a larger backlog needs a larger segment_size",
			ErrFull, n, s.opts.SegmentSize)
	}
	return nil
}

// retire takes the segment in use out of use.
func (s *Spool) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.active
	if s.active = nil; g == nil {
		return
	}
	for _, p := range g.parts {
		p.lane.trimAll(p.span)
	}
	g.parts = nil
}

// beginSegment writes header and checkpoint and waits until both are on disk. Only then may records follow.
func (s *Spool) beginSegment(f *slot) (*segment, error) {
	var salt [8]byte
	rand.Read(salt[:]) // never fails
	h := segHeader{
		epoch: s.epoch, num: s.lastSeg.num + 1, salt: binary.LittleEndian.Uint64(salt[:]), made: time.Now().UnixNano(),
		size: f.size, prev: s.lastSeg, owner: s.owner,
	}
	g := &segment{slot: f, num: h.num, codec: newCodec(h.salt)}
	s.mu.Lock()
	marks := s.takeMarks()
	buf := s.checkpoint(g)
	s.segs = append(s.segs, g)
	s.mu.Unlock()
	err := s.storeHead(g, h, buf)
	s.mu.Lock()
	g.end, g.once = start, err != nil // after an error nothing in it counts
	if err == nil {
		g.end += int64(len(buf))
	}
	g.synced, g.head = g.end, g.end
	s.lastSeg = segEnd{g.num, g.end}
	s.mu.Unlock()
	if err != nil {
		s.requeue(marks)
		return nil, err
	}
	s.settle(marks)
	return g, nil
}

// storeHead writes the header, then the checkpoint. The header is synced first: were both torn in one write, the slot could
// keep its old header over new bytes, and a segment whose records are all done would come back as a damaged one.
func (s *Spool) storeHead(g *segment, h segHeader, checkpoint []byte) error {
	if start+int64(len(checkpoint)) > s.opts.SegmentSize {
		return fmt.Errorf("state of the lanes has %d bytes and does not fit into a segment", len(checkpoint))
	}
	if _, err := s.store(g, h.blocks(), true, nil); err != nil {
		return err
	}
	g.end = start // not in use yet: nobody else looks at it
	_, err := s.store(g, checkpoint, true, nil)
	return err
}

// checkpoint encodes the state: what a recovery needs to know of all segments before g. Called with mu held.
func (s *Spool) checkpoint(g *segment) (buf []byte) {
	for range 2 { // twice, so that one damaged byte takes no lane's name from its records
		for _, l := range s.lanes {
			if l.next > 1 || l.named {
				buf = l.state(g, buf)
			}
			if l.chunks != nil && l.chunks.next > 1 {
				buf = l.chunks.state(g, buf)
			}
		}
	}
	var list []byte
	for _, o := range s.segs {
		if o.num == 0 || o.live == 0 && !o.hurt {
			continue
		}
		table := o.table
		if o.hurt {
			table = 0 // the next Open scans it, and finds the damage again
		}
		for _, v := range []uint64{o.num, uint64(o.end), uint64(table)} {
			list = binary.LittleEndian.AppendUint64(list, v)
		}
	}
	buf = g.codec.append(buf, start, head{kind: kindSegments}, list)
	buf = g.codec.append(buf, start, head{kind: kindCheckpoint})
	return g.codec.pad(buf, start, 0)
}

// state adds what a checkpoint says of a lane.
func (l *Lane) state(g *segment, buf []byte) []byte {
	l.declared = g.num
	h := head{kind: kindLane, flags: l.laneFlags(), lane: l.num, seq: l.next}
	return g.codec.append(buf, start, h, dataPrefix([]byte(l.name)), appendSpans(nil, l.done))
}

// laneOfChunks is a flag of a LANE record: in place of a name it has the number of the lane whose chunks these are.
const laneOfChunks uint16 = 1

func (l *Lane) laneFlags() uint16 {
	if l.of != nil {
		return laneOfChunks
	}
	return 0
}

// errQuota: the journal has the size it is allowed.
var errQuota = errors.New("the journal has its maximal size")

// noSpace reports whether err says that the disk or the quota is used up, and nothing worse.
func noSpace(err error) bool {
	return errors.Is(err, errQuota) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// grow adds a slot to the free ones, or says why it cannot: always an ErrFull, for what is on disk can still drain.
func (s *Spool) grow() error {
	for n := len(s.free); len(s.free) == n; {
		if err := s.fill(int64(len(zeros))); err != nil {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return nil
}

// prepare fills part of the next slot in advance, twice as fast as batches use up the present one, so that no append
// waits for a whole slot.
func (s *Spool) prepare(b *batch) {
	if b.size > 0 && s.failed == nil && len(s.free) <= s.opts.Reserve {
		s.fill(2 * b.size)
	}
}

// fill writes up to n bytes of zeros into the slot to come. A slot full of zeros is synced with its name, so that later
// writes into it need no space. After an error it tries again when Retry has passed.
func (s *Spool) fill(n int64) error {
	if s.filling == nil {
		if err := s.createSlot(); err != nil {
			return err
		}
	}
	f := s.filling
	for ; n > 0 && f.size < s.opts.SegmentSize; n -= int64(len(zeros)) {
		part := zeros[:min(int64(len(zeros)), s.opts.SegmentSize-f.size)]
		if _, err := f.file.WriteAt(part, f.size); err != nil {
			return s.dropFilling(err)
		}
		f.size += int64(len(part))
	}
	if f.size < s.opts.SegmentSize {
		return nil
	}
	if err := f.file.Sync(); err != nil {
		return s.dropFilling(err)
	}
	if err := s.blank(f); err != nil {
		return s.dropFilling(err)
	}
	if err := s.syncDir(); err != nil {
		return s.dropFilling(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, f)
	s.filling, s.fillErr, s.refused = nil, nil, false
	return nil
}

// blank gives a slot that is filled and synced the header of no segment, so that the next Open need not fill it again.
func (s *Spool) blank(f *slot) error {
	if _, err := f.file.WriteAt(segHeader{size: f.size}.blocks(), 0); err != nil {
		return err
	}
	return f.file.Sync()
}

func (s *Spool) syncDir() error {
	if mutantNoDirSync {
		return nil
	}
	return s.fs.SyncDir()
}

func (s *Spool) createSlot() error {
	if s.fillErr != nil && time.Since(s.fillAt) < s.opts.Retry {
		return s.fillErr
	}
	if limit := s.opts.MaxBytes; limit > 0 && s.bytes+s.opts.SegmentSize > limit {
		return errQuota
	}
	f := &slot{id: s.nextSlot}
	s.nextSlot++
	file, err := s.fs.Create(f.name())
	if err != nil {
		s.fillErr, s.fillAt = err, time.Now()
		return err
	}
	f.file = file
	s.filling = f
	s.bytes += s.opts.SegmentSize
	return nil
}

// dropFilling gives back what a slot that could not be filled has taken. An error on the way is of no use: the next
// Open finds a slot that was never used and removes it.
func (s *Spool) dropFilling(cause error) error {
	f := s.filling
	s.filling = nil
	s.bytes -= s.opts.SegmentSize
	s.fillErr, s.fillAt = errors.Join(cause, f.file.Close(), s.fs.Remove(f.name()), s.syncDir()), time.Now()
	return s.fillErr
}

// dropForeign removes free slots that cannot be used: never filled to the end, or of another size.
func (s *Spool) dropForeign() {
	s.free = slices.DeleteFunc(s.free, func(f *slot) bool {
		if f.size != s.opts.SegmentSize {
			s.removeSlot(f)
			return true
		}
		return false
	})
}

func (s *Spool) removeSlot(f *slot) {
	s.bytes -= f.size
	s.closeErr = errors.Join(s.closeErr, f.file.Close(), s.fs.Remove(f.name()))
}

// reclaim frees the segments without a live record. That they have none is on disk: live is counted down only for marks
// that are synced, and the checkpoint of the segment in use repeats all that stand in those that go.
func (s *Spool) reclaim() {
	if s.active == nil {
		return // the newest checkpoint may be in a segment without live records
	}
	removed := false
	for _, g := range s.takeDead() {
		s.mu.Lock()
		keep := !g.once && g.slot.size == s.opts.SegmentSize && len(s.free) < s.opts.Reserve+s.opts.Pool
		if keep {
			s.free = append(s.free, g.slot)
		}
		s.refused = false
		s.mu.Unlock()
		if !keep {
			s.removeSlot(g.slot)
			removed = true
		}
		failpoint.Hit("C11")
	}
	if removed {
		s.closeErr = errors.Join(s.closeErr, s.syncDir())
	}
}

// takeDead takes the segments without live records and without readers out of the list. No extent points to them.
func (s *Spool) takeDead() (dead []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segs = slices.DeleteFunc(s.segs, func(g *segment) bool {
		is := g != s.active && g.live == 0 && g.refs == 0 && !g.hurt
		if is {
			dead = append(dead, g)
		}
		return is
	})
	return dead
}
