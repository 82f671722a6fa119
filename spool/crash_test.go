package spool_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this crash seed only")
	seedsFlag = flag.Int("seeds", 0, "number of crash seeds; 0 means as many as fit into some seconds")
)

// world is the model: what the journal has promised, kept where no crash reaches it. Its lanes live through many lives
// of the journal.
type world struct {
	lanes map[string]*modelLane
}

type modelLane struct {
	name   string
	acked  uint64           // highest sequence whose append returned nil
	sent   uint64           // highest sequence that may be on disk
	done   map[uint64]bool  // marked done by us, ever
	synced map[uint64]bool  // and the mark was synced
	size   map[uint64][]int // sizes a sequence may have: an append with unknown outcome gives its sequence to another one
}

func newWorld(lanes int) *world {
	w := &world{make(map[string]*modelLane)}
	for i := range lanes {
		name := string(rune('a' + i))
		w.lanes[name] = &modelLane{name: name, done: make(map[uint64]bool), synced: make(map[uint64]bool), size: make(map[uint64][]int)}
	}
	return w
}

func (w *world) names() []string {
	var names []string
	for name := range w.lanes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// act does one random thing. It returns the error of the journal; what it promised is in the model.
func (w *world) act(s *spool.Spool, rnd *rand.Rand) error {
	names := w.names()
	m := w.lanes[names[rnd.IntN(len(names))]]
	l, err := s.Lane(m.name)
	if err != nil {
		return err
	}
	switch n := rnd.IntN(16); {
	case n < 8:
		return m.append(l, rnd)
	case n < 14:
		return m.markDone(l, rnd)
	case n < 15:
		return w.sync(s)
	default:
		return m.read(l)
	}
}

func (m *modelLane) append(l *spool.Lane, rnd *rand.Rand) error {
	var recs []spool.Record
	for i := range 1 + rnd.IntN(4) {
		size := []int{0, 1, 30, 500, 1500}[rnd.IntN(5)]
		seq := m.acked + 1 + uint64(i)
		recs = append(recs, rec(m.name, seq, size))
		m.size[seq] = append(m.size[seq], size)
		m.sent = max(m.sent, seq)
	}
	first, err := l.Append(context.Background(), recs...)
	if err != nil {
		return err
	}
	if first != m.acked+1 {
		return fmt.Errorf("lost: lane %s gave sequence %d after %d", m.name, first, m.acked)
	}
	m.acked += uint64(len(recs))
	return nil
}

func (m *modelLane) markDone(l *spool.Lane, rnd *rand.Rand) error {
	if m.acked == 0 {
		return nil
	}
	low := uint64(1)
	for low < m.acked && m.done[low] {
		low++
	}
	for range 1 + rnd.IntN(4) {
		seq := min(low+uint64(rnd.IntN(6)), m.acked)
		if err := l.Done(seq); err != nil {
			return err
		}
		m.done[seq] = true
	}
	return nil
}

func (w *world) sync(s *spool.Spool) error {
	if err := s.Sync(context.Background()); err != nil {
		return err
	}
	for _, m := range w.lanes {
		for seq, done := range m.done {
			m.synced[seq] = m.synced[seq] || done
		}
	}
	return nil
}

// read checks what a reader sees while the journal runs: everything acknowledged and not done, nothing else.
func (m *modelLane) read(l *spool.Lane) error {
	want := uint64(1)
	for r := l.Reader(1); ; want++ {
		item, wait, err := r.TryNext()
		if err != nil {
			return err
		}
		for want <= m.acked && m.done[want] {
			want++
		}
		switch {
		case wait != nil && want > m.acked:
			return nil
		case wait != nil || item.Seq != want:
			return fmt.Errorf("lost: lane %s: reader has %d, want %d of %d", m.name, item.Seq, want, m.acked)
		case !m.genuine(item):
			return fmt.Errorf("corrupt: lane %s: record %d is not what was appended", m.name, item.Seq)
		}
	}
}

func (m *modelLane) genuine(item spool.Item) bool {
	return slices.Contains(m.size[item.Seq], len(item.Body)) && same(item.Record, rec(m.name, item.Seq, len(item.Body)))
}

// check compares an opened journal with every promise, and takes over what was unknown.
func (w *world) check(s *spool.Spool, report *spool.RecoveryReport) error {
	if len(report.Damage)+len(report.Missing) > 0 {
		return fmt.Errorf("lost: a crash is taken for damage: %v, missing %v", report.Damage, report.Missing)
	}
	for _, st := range s.Lanes() {
		if w.lanes[st.Name] == nil {
			return fmt.Errorf("foreign: lane %q", st.Name)
		}
	}
	for _, name := range w.names() {
		l, err := s.Lane(name)
		if err != nil {
			return err
		}
		if err := w.lanes[name].check(l); err != nil {
			return err
		}
	}
	return nil
}

func (m *modelLane) check(l *spool.Lane) error {
	have := make(map[uint64]bool)
	last := uint64(0)
	for r := l.Reader(1); ; {
		item, wait, err := r.TryNext()
		if err != nil {
			return err
		}
		if wait != nil {
			break
		}
		switch {
		case item.Seq <= last:
			return fmt.Errorf("reorder: lane %s: %d after %d", m.name, item.Seq, last)
		case item.Seq > m.sent:
			return fmt.Errorf("foreign: lane %s: %d was never appended", m.name, item.Seq)
		case !m.genuine(item):
			return fmt.Errorf("corrupt: lane %s: record %d is not what was appended", m.name, item.Seq)
		case m.synced[item.Seq]:
			return fmt.Errorf("duplicate: lane %s: %d comes back though its done mark was synced", m.name, item.Seq)
		}
		have[item.Seq], last = true, item.Seq
	}
	for seq := uint64(1); seq <= m.acked; seq++ {
		if !have[seq] && !m.done[seq] {
			return fmt.Errorf("lost: lane %s: %d of %d", m.name, seq, m.acked)
		}
		m.done[seq] = !have[seq] // a mark that was not synced may be gone
	}
	if next := l.Stats().Next; next <= m.acked || next > m.sent+1 {
		return fmt.Errorf("lost: lane %s goes on with %d after %d acknowledged and %d sent", m.name, next, m.acked, m.sent)
	}
	m.acked = l.Stats().Next - 1
	return nil
}

func options(d *spooltest.Disk) spool.Options {
	return spool.Options{FS: d, SegmentSize: segment, Pool: 1, Retry: -1}
}

// live runs one life of a journal: opens, checks, acts. The error is nil if nothing but the disk's power failed.
func (w *world) live(d *spooltest.Disk, rnd *rand.Rand, acts int) error {
	s, report, err := spool.Open(context.Background(), options(d))
	if err != nil {
		return powerOnly(d, err)
	}
	defer s.Close()
	if err := w.check(s, report); err != nil {
		return powerOnly(d, err)
	}
	for range acts {
		if err := w.act(s, rnd); err != nil {
			return powerOnly(d, err)
		}
	}
	return nil
}

func powerOnly(d *spooltest.Disk, err error) error {
	if d.Crashed() && errors.Is(err, spooltest.ErrCrashed) {
		return nil
	}
	return err
}

// crashSeed lives several lives with a power failure at a random operation of each, recovery included.
func crashSeed(seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w, d := newWorld(1+rnd.IntN(3)), spooltest.NewDisk()
	for life := range 4 {
		limit := 12 // in recovery
		if rnd.IntN(3) > 0 {
			limit = 90
		}
		d.CrashAfter(d.Ops() + rnd.IntN(limit))
		if err := w.live(d, rnd, 40); err != nil {
			return fmt.Errorf("seed %d, life %d: %w", seed, life, err)
		}
		d = d.Image([]int{0, 50, 100, 10, 90}[rnd.IntN(5)], rnd)
	}
	if err := w.live(d, rnd, 0); err != nil {
		return fmt.Errorf("seed %d, last life: %w", seed, err)
	}
	return nil
}

func TestCrashSeeds(t *testing.T) {
	if *seedFlag != 0 {
		if err := crashSeed(*seedFlag); err != nil {
			t.Fatal(err)
		}
		return
	}
	first := uint64(time.Now().UnixNano())
	t.Logf("first seed %d", first)
	deadline := time.Now().Add(6 * time.Second)
	var (
		mu     sync.Mutex
		count  uint64
		failed error
		wg     sync.WaitGroup
	)
	next := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		enough := count >= uint64(*seedsFlag)
		if *seedsFlag == 0 {
			enough = time.Now().After(deadline) || count >= 20_000
		}
		count++
		return first + count - 1, !enough && failed == nil
	}
	for range 2 {
		wg.Go(func() {
			for seed, more := next(); more; seed, more = next() {
				if err := crashSeed(seed); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	began := time.Now()
	wg.Wait()
	t.Logf("%d seeds in %v", count, time.Since(began))
	if failed != nil {
		t.Fatalf("%v\nreplay with -run TestCrashSeeds -seed N", failed)
	}
	if count < 100 {
		t.Fatalf("void: only %d seeds", count)
	}
}

// script is a fixed life, the same at each call.
func script(w *world, d *spooltest.Disk) error {
	return w.live(d, rand.New(rand.NewPCG(7, 7)), 60)
}

// TestCrashAfterEveryOperation lets the power fail after each operation of a life, with 0, 50 and 100 percent kept, then
// after operations of the recovery, and of the recovery of that.
func TestCrashAfterEveryOperation(t *testing.T) {
	nested := 0
	for n := 0; ; n++ {
		crashed := false
		for _, keep := range []int{0, 50, 100} {
			w, d := newWorld(2), spooltest.NewDisk()
			d.CrashAfter(n)
			if err := script(w, d); err != nil {
				t.Fatalf("operation %d, %d%% kept: %v", n, keep, err)
			}
			crashed = crashed || d.Crashed()
			rnd := rand.New(rand.NewPCG(uint64(n), uint64(keep)))
			img := d.Image(keep, rnd)
			for depth := range 2 {
				img.CrashAfter((n*7 + depth*3) % 19)
				if err := w.live(img, rnd, 0); err != nil {
					t.Fatalf("operation %d, %d%% kept, recovery %d: %v", n, keep, depth, err)
				}
				if img.Crashed() {
					nested++
				}
				img = img.Image(keep, rnd)
			}
			if err := w.live(img, rnd, 20); err != nil {
				t.Fatalf("operation %d, %d%% kept, after recovery: %v", n, keep, err)
			}
		}
		if !crashed {
			if n < 60 || nested < 60 {
				t.Fatalf("void: %d operations, %d crashes in recovery", n, nested)
			}
			return
		}
	}
}

// TestErrorAtEveryOperation lets each operation of a life fail once, with an error of the disk and with a full disk. Nothing
// that was acknowledged is lost, in that life and in the next, which loses what was not synced.
func TestErrorAtEveryOperation(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		for n := 0; ; n++ {
			w, d := newWorld(2), spooltest.NewDisk()
			hit := false
			d.Inject(func(o spooltest.Op) error {
				if o.N == n {
					hit = true
					return fault
				}
				return nil
			})
			if err := endure(w, d); err != nil {
				t.Fatalf("%v at operation %d: %v", fault, n, err)
			}
			if !hit {
				if n < 60 {
					t.Fatalf("void: %d operations", n)
				}
				break
			}
			img := d.Image([]int{0, 50, 100}[n%3], rand.New(rand.NewPCG(uint64(n), 0)))
			if err := w.live(img, rand.New(rand.NewPCG(1, 1)), 10); err != nil {
				t.Fatalf("%v at operation %d, after a crash: %v", fault, n, err)
			}
		}
	}
}

func diskError(err error) bool {
	return slices.ContainsFunc([]error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, func(e error) bool { return errors.Is(err, e) })
}

// endure lives the script's life and goes on after errors, as an owner would.
func endure(w *world, d *spooltest.Disk) error {
	s, report, err := spool.Open(context.Background(), options(d))
	if diskError(err) {
		s, report, err = spool.Open(context.Background(), options(d)) // the fault was a single one
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if err := w.check(s, report); err != nil {
		return err
	}
	rnd, failures := rand.New(rand.NewPCG(7, 7)), 0
	for range 60 {
		err := w.act(s, rnd)
		if err == nil {
			continue
		}
		if s.Stats().State == spool.Failed && errors.Is(err, spool.ErrFailed) {
			return nil // it says so; the next life must have everything
		}
		failures++
		if known := errors.Is(err, spool.ErrUnknown) || errors.Is(err, spool.ErrFull) || diskError(err); !known || failures > 2 {
			return err
		}
	}
	return nil
}
