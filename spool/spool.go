// Package spool keeps records (bytes) of many lanes on disk until they are done. It knows no messages.
//
// All lanes share one journal: one writer goroutine turns whatever waits into one write and one sync. Readers follow a
// lane in sequence order while others append. Records are marked done in any order; a segment without a live record is
// used again. Limits, layout and recovery are in FORMAT.md.
//
// Two answers are never given in error: an append that returned nil is on disk, and a sequence below a lane's next one is
// either done, or readable, or reported as damaged or missing.
package spool

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/spool/vfs"
)

// Options says where the journal is and how large it may grow.
type Options struct {
	// Dir is the directory of the journal, made if missing (its parent must exist). Only one of Dir and FS is given.
	Dir string
	// FS is the directory for a journal that is not on the disk of this system. Open locks it if it is a vfs.Locker.
	FS vfs.FS

	SegmentSize int64 // bytes of a segment, a multiple of 4096 from 32 KiB to 1 GiB; 0 means 64 MiB
	MaxBytes    int64 // bytes of all segments with pool and reserve; 0 means no bound but the disk's
	Reserve     int   // segments kept for done marks on a full disk; 0 means 2, the least that is safe
	Pool        int   // segments kept for use again beyond the reserve; 0 means 4
	Sparse      int   // segments less than 30 % live that may stay before records of the oldest are copied forward; 0 means 4, less than 0: no copying
	CopyRate    int64 // bytes per second of records copied forward; 0 means 32 MiB, less than 0: no bound
	MaxQueue    int64 // bytes of records that may wait for the writer before appends block; 0 means 8 MiB; as much again for large ones

	// Owner names the host and purpose the journal belongs to. A journal of another owner (a copy, a restored
	// backup) is refused. AcceptEpoch takes it, and begins a new epoch in any case. Empty: not checked.
	Owner       string
	AcceptEpoch bool

	// SyncEvery is how long a batch waits for more records, so that they share one sync; answers come after the sync
	// as ever. 0 means no wait. Sync, Close, a full queue and many done marks end the wait.
	SyncEvery time.Duration
	// NoSync lets appends be answered when they are written, before any sync. They survive the death of the process; a
	// power failure loses what was appended since the last sync, of which there is one at the end of each segment, at
	// Sync, Rename and Close, and for done marks that are to make room. What survives is the first part, without gaps.
	NoSync bool

	// Observe is called for each batch that is written, with the time its sync took (0 without one), its records and
	// its bytes with all headers. It runs in the writer's goroutine: it must not block nor call the journal.
	Observe func(sync time.Duration, records, bytes int)

	// Retry is how long the journal waits on a full disk before it tries again to make a segment. 0 means 1 s,
	// less than 0 means no wait.
	Retry time.Duration
	// Progress is called while Open scans: bytes scanned and bytes to scan in all. It must not block.
	Progress func(done, total int64)
}

// Errors that a caller acts on; they are wrapped with the cause.
// Format is the version of the format that a journal is written in. Older ones are read, newer ones refused (ErrVersion).
const Format = version

var (
	// ErrFull: no room for records. The append was not done. Done marks still work and make room.
	ErrFull = errors.New("journal is full")
	// ErrLaneFull: the lane's own quota is used up. The append was not done.
	ErrLaneFull = errors.New("lane is full")
	// ErrTooLarge: a record has a body of more than MaxBody bytes, or too long an id. The append was not done.
	ErrTooLarge = errors.New("record is too large for the journal")
	// ErrTooManyLanes: the state of all lanes no longer fits into the head of a segment.
	ErrTooManyLanes = errors.New("too many lanes for the size of a segment")
	// ErrTooSmall: MaxBytes is too little for the reserve and two segments.
	ErrTooSmall = errors.New("journal is too small")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrUnknown: a write or sync failed. Whether the records of the append are on disk is unknown until the next Open.
	ErrUnknown = errors.New("outcome of the write is unknown")
	// ErrFailed: the journal takes nothing more until it is opened again.
	ErrFailed = errors.New("journal has failed")
	// ErrVersion: the journal was written by a newer program.
	ErrVersion = errors.New("journal has a newer format")
	// ErrOwner: the journal belongs to another owner; it may be a copy.
	ErrOwner = errors.New("journal belongs to another owner")
)

// batchMax is the most bytes of records in one write.
const batchMax = 4 << 20

// A Spool is an open journal. Its methods may be called at the same time.
type Spool struct {
	opts   Options
	fs     vfs.FS
	unlock []func() error // closes lock and directory
	epoch  uint32
	owner  uint64

	kick    chan struct{} // something waits for the writer
	closed  chan struct{} // Close was called
	ended   chan struct{} // the writer has ended
	unsure  atomic.Bool   // Close does not call the journal clean
	made    time.Time     // when the clock of turn began
	turn    atomic.Int64  // when the writer took up what it is at, in nanoseconds since made; 0 while it waits for work
	reading sync.WaitGroup

	mu         sync.Mutex
	lanes      map[string]*Lane
	reserved   map[string]bool // names that lanes are about to get
	nextLane   uint32
	stateSize  int64 // bytes of all LANE records without ranges
	queue      []*op
	queued     int64         // bytes of those in the queue that are not long
	long       []*long       // begun and not ended, in turn
	longQueued int64         // bytes of long ops
	ops        uint64        // given to the writer
	room       chan struct{} // closed when the queue was taken; nil when nobody waits for room
	dirty      []*Lane       // lanes with done marks that no batch has taken
	marks      int           // done marks that no batch has taken
	flush      bool          // write marks even if no record waits
	drained    bool          // closing, and the last marks have had their batch
	closing    bool
	failed     error
	segs       []*segment // oldest first, the one in use last
	active     *segment   // nil on a full disk without a free slot
	free       []*slot
	state      State
	cause      error
	appends    uint64   // records since Open
	syncs      uint64   // since Open
	copied     uint64   // records copied forward since Open
	copying    *segment // that records are copied from

	// Only the writer uses these.
	lastSeg  segEnd // the segment begun last, and its end
	nextSlot uint32
	bytes    int64       // of all files made, in use or free, the one being filled at its full size
	held     []laneMarks // written but not synced
	moves    []move      // for the next batch
	copyFrom []*Lane     // with records in copying
	copyAt   time.Time   // not before
	whole    bool        // moves are all of a segment, and may take a slot of the reserve
	filling  *slot       // being filled with zeros; its size says how far
	buf      []byte
	fillErr  error
	refused  bool // records found no room, and none has been made since
	fillAt   time.Time
	faults   []time.Time
	closeErr error
}

func (o Options) withDefaults() (Options, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 20
	}
	if o.SegmentSize%block != 0 || o.SegmentSize < 32<<10 || o.SegmentSize > 1<<30 {
		return o, fmt.Errorf("segment size %d: give a multiple of %d from 32 KiB to 1 GiB", o.SegmentSize, block)
	}
	for _, d := range []struct {
		value *int
		def   int
	}{{&o.Reserve, 2}, {&o.Pool, 4}, {&o.Sparse, 4}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 8 << 20
	}
	if o.CopyRate == 0 {
		o.CopyRate = 32 << 20
	}
	if o.Retry == 0 {
		o.Retry = time.Second
	}
	if o.Reserve < 2 || o.Pool < 0 || o.MaxQueue < 0 || o.MaxBytes < 0 || o.SyncEvery < 0 {
		return o, errors.New("reserve is at least 2 segments; pool, queue, size and time between syncs are not negative")
	}
	if least := int64(o.Reserve+2) * o.SegmentSize; o.MaxBytes != 0 && o.MaxBytes < least {
		return o, fmt.Errorf("%w: %d bytes in all are less than %d segments of %d bytes, of which %d are the reserve: give at least %d, or smaller segments",
			ErrTooSmall, o.MaxBytes, o.Reserve+2, o.SegmentSize, o.Reserve, least)
	}
	if (o.Dir == "") == (o.FS == nil) {
		return o, errors.New("give either a directory or a file system")
	}
	return o, nil
}

// Open opens the journal, recovers it, and says what it found. The report is never nil when the error is nil: damage is
// reported, not refused. It is refused when it is in use (*vfs.HeldError), of a newer format (ErrVersion), of another
// owner (ErrOwner), or when the disk gives an error on reading. Open ends early with ctx. Until it has read everything
// it writes nothing. Close frees what it holds.
func Open(ctx context.Context, o Options) (*Spool, *RecoveryReport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	s := &Spool{
		opts: o, fs: o.FS, owner: ownerHash(o.Owner), lanes: make(map[string]*Lane), reserved: make(map[string]bool),
		made: time.Now(),
		kick: make(chan struct{}, 1), closed: make(chan struct{}), ended: make(chan struct{}),
	}
	report, err := s.open(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", errors.Join(err, s.release()))
	}
	go s.write()
	return s, report, nil
}

func (s *Spool) open(ctx context.Context) (*RecoveryReport, error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	r := newRecovery(s.fs, s.opts.Progress)
	r.fast = true
	if err := r.run(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	s.adopt(r)
	if err := s.checkOwner(r); err != nil {
		return nil, err
	}
	r.report.Epoch = s.epoch
	if err := s.syncTails(r); err != nil {
		return nil, err
	}
	return &r.report, s.begin()
}

func (s *Spool) lock() error {
	if s.fs == nil {
		dir, err := vfs.OpenDir(s.opts.Dir)
		if err != nil {
			return err
		}
		s.fs = dir
		s.unlock = append(s.unlock, dir.Close)
	}
	if l, ok := s.fs.(vfs.Locker); ok {
		lock, err := l.Lock()
		if err != nil {
			return err
		}
		s.unlock = append(s.unlock, lock.Close)
	}
	return nil
}

func ownerHash(name string) uint64 {
	if name == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	return max(h.Sum64(), 1)
}

// adopt takes over what recovery found.
func (s *Spool) adopt(r *recovery) {
	s.segs, s.free, s.lastSeg = r.segs, r.free, r.last
	s.nextSlot = r.nextSlot
	for _, f := range r.all {
		s.bytes += f.slot.size
	}
	s.epoch, s.nextLane = r.epoch, 1
	if s.epoch == 0 {
		s.epoch = newEpoch(0)
	}
	for num, l := range r.lanes {
		l.s, l.tail, l.named = s, l.next, true
		s.nextLane = max(s.nextLane, num+1)
		s.stateSize += laneSize(l.name)
		if l.of != nil {
			continue
		}
		for s.lanes[l.name] != nil { // only damage makes two lanes of one name: neither may hide the other
			l.name = fmt.Sprintf("%s-%d", l.name, num)
		}
		s.lanes[l.name] = l
	}
}

// newEpoch is random: a count would come to the same value in the original and in a copy of it.
func newEpoch(not uint32) uint32 {
	var b [4]byte
	for {
		rand.Read(b[:]) // never fails
		if e := binary.LittleEndian.Uint32(b[:]); e != 0 && e != not {
			return e
		}
	}
}

func (s *Spool) checkOwner(r *recovery) error {
	if s.owner == 0 {
		s.owner = r.owner // keep what it says
	}
	switch {
	case s.opts.AcceptEpoch && r.epoch != 0:
		s.epoch = newEpoch(s.epoch)
	case r.owner != 0 && r.owner != s.owner:
		return fmt.Errorf("%w: it may be a copy or a restored backup, whose records another one has sent already; "+
			"open it with a new epoch to accept that", ErrOwner)
	}
	return nil
}

// syncTails makes sure of the batches that the process before may have written and not synced. They count from here on: the
// next segment will promise them.
func (s *Spool) syncTails(r *recovery) error {
	for _, l := range r.loose {
		if err := s.rewrite(r, l); err != nil {
			return err
		}
	}
	if len(s.free) == 0 {
		return nil
	}
	return s.syncDir() // it may have died before it had made the name of a new slot last
}

// rewrite writes what may not be on disk once more, the same bytes to the same place, and syncs it. A sync alone would not
// do: if one has failed in the process before, the system takes the bytes for clean, shows them, and will not write them.
func (s *Spool) rewrite(r *recovery, l looseEnd) error {
	from := l.from
	if from == start {
		from = 0 // nothing promises the header either
	}
	f := l.seg.slot
	b, err := r.window(f, l.seg.end, windowSize).bytes(from, l.seg.end-from)
	if err != nil {
		return err
	}
	if _, err := f.file.WriteAt(b, from); err != nil {
		return fmt.Errorf("write %s at %d: %w", f.name(), from, err)
	}
	failpoint.Hit("C23")
	return s.sync(f)
}

// begin makes the reserve and the first segment. A full disk is no error: what is there must be able to drain.
func (s *Spool) begin() error {
	s.dropForeign()
	if err := s.roll(false); err != nil && !noSpace(err) {
		return err
	}
	failpoint.Hit("C23")
	s.reclaim()
	for len(s.free) < s.opts.Reserve {
		if err := s.grow(); noSpace(err) {
			break
		} else if err != nil {
			return err
		}
	}
	s.setState()
	return s.closeErr
}

// Close writes what waits, then every done mark, then a mark that the journal is whole, and frees the directory. Appends
// and readers that come later get ErrClosed. Close waits for the readers inside.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.ended
		return nil
	}
	s.closing = true
	close(s.closed)
	s.mu.Unlock()
	s.wakeWriter()
	<-s.ended
	s.reading.Wait()
	return errors.Join(s.closeErr, s.release())
}

// release closes every file, then the lock.
func (s *Spool) release() error {
	var errs []error
	for _, g := range s.segs {
		errs = append(errs, g.slot.file.Close())
	}
	for _, f := range s.free {
		errs = append(errs, f.file.Close())
	}
	if s.filling != nil {
		errs = append(errs, s.filling.file.Close())
	}
	for i := len(s.unlock) - 1; i >= 0; i-- {
		errs = append(errs, s.unlock[i]())
	}
	return errors.Join(errs...)
}
