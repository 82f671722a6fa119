package repeater

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// The states of the journal in SpoolStatus, besides those of package spool.
const (
	spoolOpening = "opening"
	spoolOK      = "ok"
	spoolClosed  = "closed"
)

// scanLine is how often a long reading of the journal is logged.
const scanLine = 5 * time.Second

// A journal is the spool of one repeater while it runs.
type journal struct {
	dir string
	cfg *routes.Spool
	log *slog.Logger

	mu       sync.Mutex
	s        *spool.Spool // nil before it is open
	closed   bool
	recovery *Recovery
	known    map[string]bool   // lanes of the file, those of disabled routes too
	copied   copies            // as found at the start
	there    map[string]uint64 // records of lanes without a route that their targets have (gone.go)
}

// openJournal opens the spool of the file and gives the lanes their part of it. Its errors are for an operator: the
// directory cannot be written, is in use, comes from elsewhere or from a newer program.
func (r *Repeater) openJournal(ctx context.Context) error {
	j := r.journal
	if j == nil {
		return nil
	}
	begin := time.Now()
	o, err := r.spoolOptions()
	if err != nil {
		return fmt.Errorf("spool %s: %w", j.dir, err)
	}
	s, rep, copied, err := r.openSpool(ctx, o)
	if err != nil {
		return fmt.Errorf("spool %s: %w", j.dir, err)
	}
	if st := s.Stats(); st.State == spool.Full && rep.Records == 0 { // with a backlog it can still be drained
		_ = s.Close() // it is empty
		return fmt.Errorf("spool %s: no room to begin: %w", j.dir, st.Cause)
	}
	j.copied = copied
	j.opened(s, rep, time.Since(begin))
	if err := r.giveLanes(ctx, s, rep.Clean); err != nil {
		_ = s.Close() // the first error says what is wrong
		return fmt.Errorf("spool %s: %w", j.dir, err)
	}
	r.noteTimes(rep.Made)
	for _, o := range j.orphans() {
		j.log.Warn(msgOrphan, "lane", o.Name, "messages", o.Messages, "bytes", o.Bytes)
	}
	return nil
}

// spoolOptions are those of the file; the directory is made.
func (r *Repeater) spoolOptions() (spool.Options, error) {
	j := r.journal
	o := spool.Options{
		MaxBytes: j.cfg.MaxSize, SegmentSize: j.cfg.SegmentSize, SyncEvery: j.cfg.Sync.Every, NoSync: j.cfg.Sync.Never,
		AcceptEpoch: r.opts.AcceptEpoch, Progress: j.progress(), FS: r.opts.SpoolFS,
		Observe: func(d time.Duration, _, _ int) { r.metrics.sync.Observe(d.Seconds()) },
	}
	if o.FS != nil {
		return o, nil
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return o, err
	}
	o.Dir = j.dir
	o.Owner = owner(r.opts.Name, j.dir)
	return o, nil
}

// owner names the host and the directory, so that a copy of it is noticed: a copy has another inode.
func owner(name, dir string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%s/%d", host, name, inode(dir))
}

// progress logs how far the reading of the journal is, when it takes long.
func (j *journal) progress() func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= scanLine {
			last = now
			j.log.Info(msgSpoolScan, "bytes", done, "of", total)
		}
	}
}

// opened notes and logs what was found.
func (j *journal) opened(s *spool.Spool, rep *spool.RecoveryReport, took time.Duration) {
	rec := &Recovery{
		Clean: rep.Clean, Records: rep.Records, Scanned: rep.Scanned, Torn: rep.Torn, Seconds: took.Seconds(),
		Damage: []string{}, Missing: []string{},
	}
	for _, d := range rep.Damage {
		j.log.Error(msgSpoolDamage, "damage", d.String())
		rec.Damage = append(rec.Damage, d.String())
	}
	for _, m := range rep.Missing {
		j.log.Error(msgSpoolLost, "lane", m.Lane, "first", m.First, "last", m.Last)
		rec.Missing = append(rec.Missing, fmt.Sprintf("%s %d-%d", m.Lane, m.First, m.Last))
	}
	j.log.Info(msgSpoolOpen, "dir", j.dir, "messages", rep.Records, "scanned", rep.Scanned, "torn", rep.Torn, "clean", rep.Clean, "took", took)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s, j.recovery = s, rec
}

// giveLanes gives every lane that needs it its part of the journal.
func (r *Repeater) giveLanes(ctx context.Context, s *spool.Spool, clean bool) error {
	has := laneStats(s)
	for _, f := range r.flows() {
		for _, l := range f.all() {
			if was := l.was(); was != "" {
				if err := r.rename(ctx, s, l.of.route, was, l.name); err != nil {
					return err
				}
			}
			if l.of.route.Spool.Mode == routes.SpoolNever && has[l.name].Live+has[l.was()].Live == 0 {
				continue
			}
			j, err := s.Lane(l.name)
			if err != nil {
				return err
			}
			b := newStore(l, s, j, clean)
			b.isCopy(r.journal.copied[j.Number()])
			if !clean && l.target.Name != deadLane && l.replies == nil {
				if err := f.remember(b); err != nil {
					return err
				}
			}
			l.mu.Lock()
			l.store = b
			l.mu.Unlock()
			if err := l.findStrays(); err != nil {
				return err
			}
		}
	}
	return r.readReplies(ctx)
}

// unsure reports whether some record has been sent and nobody knows whether it arrived.
func (r *Repeater) unsure() bool {
	for _, f := range append(r.flows(), r.gone...) {
		for _, l := range f.all() {
			if l.store.doubted() {
				return true
			}
		}
	}
	return false
}

// doubted reports whether some of its records may have been sent, or settled, and nobody knows.
func (b *store) doubted() bool {
	return b != nil && !b.taken && (len(b.unsure)+len(b.elsewhere) > 0 || b.doubtful > 0 && b.records > 0 || len(b.settling) > 0)
}

// orphans are the lanes with messages that are not in the file.
func (j *journal) orphans() []Orphan {
	j.mu.Lock()
	known, there := j.known, j.there
	j.mu.Unlock()
	out := []Orphan{}
	for _, st := range j.s.Lanes() {
		if live := st.Live - min(st.Live, there[st.Name]); live > 0 && !known[st.Name] {
			out = append(out, Orphan{Name: st.Name, Messages: live, Bytes: st.Bytes})
		}
	}
	return out
}

// open is the journal once it is open; nil before, and if there is none.
func (j *journal) open() *spool.Spool {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s
}

// knows notes which lanes the file has now, and logs what new orphans there are.
func (j *journal) knows(lanes map[string]bool) {
	if j.open() == nil {
		return
	}
	j.mu.Lock()
	before := j.known
	j.known = lanes
	j.mu.Unlock()
	for _, o := range j.orphans() {
		if before[o.Name] {
			j.log.Warn(msgOrphan, "lane", o.Name, "messages", o.Messages, "bytes", o.Bytes)
		}
	}
}

// close ends the journal: every done mark is written. unsure says that some record was sent with unknown outcome.
func (j *journal) close(unsure bool) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	s := j.s
	j.closed = true
	j.mu.Unlock()
	if s == nil {
		return nil
	}
	if unsure {
		s.Unsure()
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close spool %s: %w", j.dir, err)
	}
	return nil
}

// status is what the journal holds now; nil if there is none.
func (j *journal) status() *SpoolStatus {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	s, closed, rec := j.s, j.closed, j.recovery
	j.mu.Unlock()
	out := &SpoolStatus{Dir: j.dir, State: spoolOpening, Limit: j.cfg.MaxSize, DiskFree: diskFree(j.dir), Recovery: rec, Orphans: []Orphan{}}
	if s == nil {
		return out
	}
	st := s.Stats()
	out.Bytes, out.Segments, out.Free, out.Damaged, out.Orphans = st.Bytes, st.Segments, st.Free, st.Damaged, j.orphans()
	out.State, out.Busy = stateWord(st.State, closed), st.Busy.Seconds()
	if st.Cause != nil {
		out.Error = st.Cause.Error()
	}
	for _, l := range s.Lanes() {
		out.Messages += l.Live
	}
	return out
}

func stateWord(s spool.State, closed bool) string {
	switch {
	case closed:
		return spoolClosed
	case s == spool.OK:
		return spoolOK
	case s == spool.Full:
		return stateFull
	}
	return stateFailed
}

// spoolDir is where the repeater of that name keeps its journal.
func spoolDir(s *routes.Spool, name string) string { return filepath.Join(s.Dir, name) }
