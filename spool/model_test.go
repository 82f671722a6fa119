package spool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// world is the model: what the journal has promised, kept where no crash reaches it. Its lanes live through many lives
// of the journal.
type world struct {
	lanes   []*modelLane
	weights weights
	slow    bool   // the first lane has few records that stay long, so that segments become sparse
	failed  int    // acts that a fault of the disk has ended
	copied  uint64 // records copied forward
}

// weights say how often an act is chosen.
type weights struct{ append, done, sync, read, rename, purge int }

var (
	crashWeights = weights{append: 14, done: 11, sync: 3, read: 2, rename: 1, purge: 1}
	modelWeights = weights{append: 10, done: 8, sync: 6, read: 10, rename: 1, purge: 1}
)

type modelLane struct {
	base   string      // what its records are made of
	names  []string    // it may have: more than one after a rename with unknown outcome
	lane   *spool.Lane // in this life
	acked  uint64      // highest sequence whose append returned nil
	sent   uint64      // highest sequence that may be on disk
	floor  uint64      // all up to here are done, and their marks were synced
	done   map[uint64]bool
	synced map[uint64]bool  // and the mark was synced
	size   map[uint64][]int // sizes a sequence may have: an append with unknown outcome gives its sequence to another one
}

func newWorld(lanes int) *world {
	w := &world{weights: crashWeights}
	for i := range lanes {
		name := string(rune('a' + i))
		w.lanes = append(w.lanes, &modelLane{
			base: name, names: []string{name}, done: make(map[uint64]bool), synced: make(map[uint64]bool), size: make(map[uint64][]int),
		})
	}
	return w
}

// clone lets one world go on in two ways.
func (w *world) clone() *world {
	c := *w
	c.lanes = nil
	for _, m := range w.lanes {
		l := *m
		l.names, l.done, l.synced, l.size = slices.Clone(m.names), maps.Clone(m.done), maps.Clone(m.synced), maps.Clone(m.size)
		c.lanes = append(c.lanes, &l)
	}
	return &c
}

// act does one random thing. It returns the error of the journal; what it promised is in the model.
func (w *world) act(s *spool.Spool, rnd *rand.Rand) error {
	m, p := w.pick(rnd), w.weights
	n := rnd.IntN(p.append + p.done + p.sync + p.read + p.rename + p.purge)
	for _, c := range []struct {
		weight int
		act    func() error
	}{
		{p.append, func() error { return m.append(rnd) }},
		{p.done, func() error { return m.markDone(rnd) }},
		{p.sync, func() error { return w.sync(s) }},
		{p.read, m.read},
		{p.rename, func() error { return m.rename(s, rnd) }},
		{p.purge, m.purge},
	} {
		if n -= c.weight; n < 0 {
			return c.act()
		}
	}
	return nil
}

func (w *world) pick(rnd *rand.Rand) *modelLane {
	if w.slow && len(w.lanes) > 1 && rnd.IntN(8) > 0 {
		return w.lanes[1+rnd.IntN(len(w.lanes)-1)]
	}
	return w.lanes[rnd.IntN(len(w.lanes))]
}

func (m *modelLane) append(rnd *rand.Rand) error {
	recs := make([]spool.Record, 0, 4)
	for i := range 1 + rnd.IntN(4) {
		size := []int{0, 1, 30, 500, 1500}[rnd.IntN(5)]
		if rnd.IntN(24) == 0 {
			size = 4000 + rnd.IntN(12_000) // several chunks
		}
		seq := m.acked + 1 + uint64(i)
		recs = append(recs, rec(m.base, seq, size))
		m.size[seq] = append(m.size[seq], size)
		m.sent = max(m.sent, seq)
	}
	first, err := m.lane.Append(context.Background(), recs...)
	if err != nil {
		m.acked = max(m.acked, m.lane.Stats().Next-1) // large appends take several batches: some of it may be there
		return err
	}
	if first != m.acked+1 {
		return fmt.Errorf("lost: lane %s gave sequence %d after %d", m.base, first, m.acked)
	}
	m.acked += uint64(len(recs))
	return nil
}

func (m *modelLane) markDone(rnd *rand.Rand) error {
	if m.acked == m.floor {
		return nil
	}
	low := m.floor + 1
	for low < m.acked && m.done[low] {
		low++
	}
	for range 1 + rnd.IntN(4) {
		seq := min(low+uint64(rnd.IntN(6)), m.acked)
		if err := m.lane.Done(seq); err != nil {
			return err
		}
		m.done[seq] = true
	}
	return nil
}

func (m *modelLane) purge() error {
	m.lane.Purge()
	for seq := m.floor + 1; seq <= m.acked; seq++ {
		m.done[seq] = true
	}
	return nil
}

func (w *world) sync(s *spool.Spool) error {
	if err := s.Sync(context.Background()); err != nil {
		return err
	}
	for _, m := range w.lanes {
		for seq := range m.done {
			m.synced[seq] = true
		}
		for m.synced[m.floor+1] {
			m.floor++
			delete(m.done, m.floor)
			delete(m.synced, m.floor)
		}
	}
	return nil
}

func (m *modelLane) rename(s *spool.Spool, rnd *rand.Rand) error {
	name := fmt.Sprintf("%s-%d", m.base, rnd.Uint64())
	m.names = append(m.names, name)
	if err := s.Rename(context.Background(), m.lane.Name(), name); err != nil {
		return err
	}
	m.names = []string{name}
	return nil
}

// isDone reports whether the owner has marked seq done.
func (m *modelLane) isDone(seq uint64) bool { return seq <= m.floor || m.done[seq] }

// read checks what a reader sees while the journal runs: everything acknowledged and not done, nothing else.
func (m *modelLane) read() error {
	want := uint64(1)
	for r := m.lane.Reader(1); ; want++ {
		item, wait, err := r.TryNext()
		if err != nil {
			return err
		}
		for want <= m.acked && m.isDone(want) {
			want++
		}
		switch {
		case wait != nil && want > m.acked:
			return nil
		case wait != nil || item.Seq != want:
			return fmt.Errorf("lost: lane %s: reader has %d, want %d of %d", m.base, item.Seq, want, m.acked)
		case !m.genuine(item):
			return fmt.Errorf("corrupt: lane %s: record %d is not what was appended", m.base, item.Seq)
		}
	}
}

func (m *modelLane) genuine(item spool.Item) bool {
	return slices.Contains(m.size[item.Seq], len(item.Body)) && same(item.Record, rec(m.base, item.Seq, len(item.Body)))
}

// check compares an opened journal with every promise, and takes over what was unknown.
func (w *world) check(s *spool.Spool, report *spool.RecoveryReport) error {
	if len(report.Damage)+len(report.Missing) > 0 {
		return fmt.Errorf("lost: a crash is taken for damage: %v, missing %v", report.Damage, report.Missing)
	}
	if err := w.findLanes(s); err != nil {
		return err
	}
	for _, m := range w.lanes {
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// findLanes finds each lane under one of the names it may have.
func (w *world) findLanes(s *spool.Spool) error {
	there := s.Lanes()
	for _, m := range w.lanes {
		var found []string
		there = slices.DeleteFunc(there, func(st spool.LaneStats) bool {
			is := slices.Contains(m.names, st.Name)
			if is {
				found = append(found, st.Name)
			}
			return is
		})
		if len(found) > 1 || len(found) == 0 && m.acked > 0 {
			return fmt.Errorf("lost: lane %s has the names %v, possible are %v", m.base, found, m.names)
		}
		if len(found) == 1 {
			m.names = found
		} else {
			m.names = m.names[:1]
		}
		var err error
		if m.lane, err = s.Lane(m.names[0]); err != nil {
			return err
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("foreign: lanes %v", there)
	}
	return nil
}

func (m *modelLane) check() error {
	have := make(map[uint64]bool)
	last := uint64(0)
	for r := m.lane.Reader(1); ; {
		item, wait, err := r.TryNext()
		if err != nil {
			return err
		}
		if wait != nil {
			break
		}
		switch {
		case item.Seq <= last:
			return fmt.Errorf("reorder: lane %s: %d after %d", m.base, item.Seq, last)
		case item.Seq > m.sent:
			return fmt.Errorf("foreign: lane %s: %d was never appended", m.base, item.Seq)
		case !m.genuine(item):
			return fmt.Errorf("corrupt: lane %s: record %d is not what was appended", m.base, item.Seq)
		case item.Seq <= m.floor || m.synced[item.Seq]:
			return fmt.Errorf("duplicate: lane %s: %d comes back though its done mark was synced", m.base, item.Seq)
		}
		have[item.Seq], last = true, item.Seq
	}
	for seq := m.floor + 1; seq <= m.acked; seq++ {
		if !have[seq] && !m.done[seq] {
			return fmt.Errorf("lost: lane %s: %d of %d", m.base, seq, m.acked)
		}
	}
	next := m.lane.Stats().Next
	if next <= m.acked || next > m.sent+1 {
		return fmt.Errorf("lost: lane %s goes on with %d after %d acknowledged and %d sent", m.base, next, m.acked, m.sent)
	}
	for seq := m.acked + 1; seq < next; seq++ {
		if !have[seq] {
			return fmt.Errorf("lost: lane %s: %d is neither there nor to be given again, the next is %d", m.base, seq, next)
		}
	}
	m.acked = next - 1
	m.adopt(have)
	return nil
}

// adopt takes over what is done: a mark that was not synced may be gone.
func (m *modelLane) adopt(have map[uint64]bool) {
	for seq := m.floor + 1; seq <= m.acked; seq++ {
		if have[seq] {
			delete(m.done, seq)
		} else {
			m.done[seq] = true
		}
	}
}

func options(d *spooltest.Disk) spool.Options {
	return spool.Options{FS: d, SegmentSize: segment, Pool: 1, Retry: -1, Sparse: 1, CopyRate: -1}
}

// live runs one life of a journal: opens, checks, acts. The error is nil if nothing but the disk's power failed.
func (w *world) live(d *spooltest.Disk, rnd *rand.Rand, acts int) error {
	return w.endure(d, rnd, acts, 0)
}

// endure is live on a disk that fails up to so many times: the journal says so, and its owner goes on.
func (w *world) endure(d *spooltest.Disk, rnd *rand.Rand, acts, faults int) error {
	s, report, err := spool.Open(context.Background(), options(d))
	for ; err != nil && diskError(err) && faults > 0; faults-- {
		s, report, err = spool.Open(context.Background(), options(d))
	}
	if err != nil {
		return powerOnly(d, err)
	}
	defer func() {
		w.copied += s.Stats().Copied
		s.Close()
	}()
	if err := w.check(s, report); err != nil {
		if diskError(err) && faults > 0 {
			return nil // a reader's; the next life checks
		}
		return powerOnly(d, err)
	}
	for range acts {
		err := w.act(s, rnd)
		if err == nil {
			continue
		}
		switch known := errors.Is(err, spool.ErrUnknown) || errors.Is(err, spool.ErrFull) || diskError(err); {
		case !known || faults == 0:
			return powerOnly(d, err)
		case d.Crashed() || errors.Is(err, spool.ErrFailed):
			return nil // it says so; the next life must have everything
		}
		w.failed++
		faults--
	}
	return nil
}

func diskError(err error) bool {
	return slices.ContainsFunc(diskErrors, func(e error) bool { return errors.Is(err, e) })
}

var diskErrors = []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

func powerOnly(d *spooltest.Disk, err error) error {
	if d.Crashed() && errors.Is(err, spooltest.ErrCrashed) {
		return nil
	}
	return err
}
