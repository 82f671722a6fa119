//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// makeBacklog appends records of size bytes in turn to the lanes of s, some at a time.
func (b *bench) makeBacklog(ctx context.Context, s *spool.Spool, lanes, records, size int) error {
	list, err := lanesOf(s, lanes)
	if err != nil {
		return err
	}
	const burst = 64
	recs := make([]spool.Record, burst)
	for i := range recs {
		recs[i].Body = aligned(size)
	}
	f := &inFlight{slots: make(chan struct{}, 64)}
	for n := 0; n < records && ctx.Err() == nil; n += burst {
		f.slots <- struct{}{}
		if n%(burst<<8) == 0 {
			b.progress.step(fmt.Sprintf("backlog %d %%", 100*n/records))
		}
		if err := list[n/burst%lanes].AppendAsync(ctx, recs[:min(burst, records-n)], f.answer); err != nil {
			return err
		}
	}
	if err := s.Sync(ctx); err != nil {
		return err
	}
	_, err = f.take(nil)
	return err
}

// withBacklog makes a backlog, closes its journal, opens it again, forgets what the system has in memory, and runs f.
func (b *bench) withBacklog(ctx context.Context, dir string, lanes int, f func(*spool.Spool) error) error {
	err := withJournal(ctx, dir, func(s *spool.Spool) error { return b.makeBacklog(ctx, s, lanes, b.records, kib) })
	if err != nil {
		return err
	}
	return withJournal(ctx, dir, func(s *spool.Spool) error {
		return errors.Join(forget(journalIn(dir)), f(s))
	})
}

// readAll reads n records from each lane, all lanes at a time, and returns the bytes per second of their bodies.
func readAll(ctx context.Context, s *spool.Spool) (bytesPerSecond float64, err error) {
	var bytes atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for _, st := range s.Lanes() {
		l, err := s.Lane(st.Name)
		if err != nil {
			return 0, err
		}
		g.Go(func() error {
			n := int64(0)
			defer func() { bytes.Add(n) }()
			for r := l.Reader(1); ; {
				item, wait, err := r.TryNext()
				if err != nil || wait != nil {
					return err
				}
				if n += int64(len(item.Body)); ctx.Err() != nil {
					return ctx.Err()
				}
			}
		})
	}
	err = g.Wait()
	return float64(bytes.Load()) / time.Since(began).Seconds(), err
}

func (b *bench) drain(ctx context.Context) error {
	one, turns := 0.0, max(b.turns/2, 1)
	for range turns {
		err := b.inFolder(ctx, func(dir string) error {
			return b.withBacklog(ctx, dir, 1, func(s *spool.Spool) error {
				rate, err := readAll(ctx, s)
				if err != nil {
					return err
				}
				cold, err := readCold(ctx, journalIn(dir))
				one = rate
				b.figures.add(plain("disk: sequential cold read", "MB/s"), 0, cold/1e6)
				b.figures.add(atLeast("drain of 1 lane, cold, checksums checked: of the cold read", 80, " %", "MB/s"), 100*rate/cold, rate/1e6)
				return err
			})
		})
		if err != nil {
			return err
		}
		err = b.inFolder(ctx, func(dir string) error {
			return b.withBacklog(ctx, dir, 100, func(s *spool.Spool) error {
				rate, err := readAll(ctx, s)
				b.figures.add(atLeast("drain of 100 interleaved lanes, cold, in sum: of the rate of 1 lane", 50, " %", "MB/s"), 100*rate/one, rate/1e6)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) appendWhileDraining(ctx context.Context) error {
	return b.inFolder(ctx, func(dir string) error {
		return b.withBacklog(ctx, dir, 2, func(s *spool.Spool) error {
			for range b.turns {
				alone, err := b.appending(ctx, s, 64, 1, kib)
				if err != nil {
					return err
				}
				beside, drained, err := b.besideDrain(ctx, dir, s)
				if err != nil {
					return err
				}
				b.figures.add(atLeast("64 writers while a cold backlog drains: of their rate alone", 60, " %", "records/s"), 100*beside.ops/alone.ops, beside.ops)
				b.figures.add(plain("the drain beside it", "MB/s"), 0, drained/1e6)
			}
			return nil
		})
	})
}

// besideDrain appends while another goroutine reads the second lane again and again, cold each time.
func (b *bench) besideDrain(ctx context.Context, dir string, s *spool.Spool) (r result, drained float64, err error) {
	l, err := s.Lane("orders/target-1")
	if err != nil {
		return r, 0, err
	}
	draining, stop := context.WithCancel(ctx)
	defer stop()
	var bytes atomic.Int64
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- drainAgain(draining, dir, l, &bytes) }()
	r, err = b.appending(ctx, s, 64, 1, kib)
	took := time.Since(began)
	stop()
	return r, float64(bytes.Load()) / took.Seconds(), errors.Join(err, <-ended)
}

func drainAgain(ctx context.Context, dir string, l *spool.Lane, bytes *atomic.Int64) error {
	for ctx.Err() == nil {
		if err := forget(journalIn(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for r := l.Reader(1); ctx.Err() == nil; {
			item, wait, err := r.TryNext()
			if err != nil {
				return err
			}
			if wait != nil {
				break
			}
			bytes.Add(int64(len(item.Body)))
		}
	}
	return nil
}

// scanned reads all of a journal cold, every checksum, as opening without an index would.
func scanned(ctx context.Context, dir string) (took time.Duration, report *spool.RecoveryReport, err error) {
	if err := forget(journalIn(dir)); err != nil {
		return 0, nil, err
	}
	d, err := vfs.OpenDir(journalIn(dir))
	if err != nil {
		return 0, nil, err
	}
	defer d.Close()
	began := time.Now()
	report, err = spool.Verify(ctx, d)
	return time.Since(began), report, err
}

// reopened opens the journal in dir cold, and returns how long that took.
func (b *bench) reopened(ctx context.Context, dir string) (took time.Duration, report *spool.RecoveryReport, err error) {
	if err := forget(journalIn(dir)); err != nil {
		return 0, nil, err
	}
	began := time.Now()
	s, report, err := spool.Open(ctx, spool.Options{Dir: journalIn(dir)})
	if err != nil {
		return 0, nil, err
	}
	took = time.Since(began)
	return took, report, s.Close()
}

func (b *bench) open(ctx context.Context) error {
	return b.inFolder(ctx, func(dir string) error {
		err := withJournal(ctx, dir, func(s *spool.Spool) error { return b.makeBacklog(ctx, s, 1, b.records, kib) })
		if err != nil {
			return err
		}
		for range b.turns {
			took, report, err := b.reopened(ctx, dir)
			if err != nil {
				return err
			}
			b.addOpen("open a cold backlog of 1 M records of 1 KiB", 100, took, report, b.records, 1_000_000)
			if took, report, err = scanned(ctx, dir); err != nil {
				return err
			}
			b.addOpen("the same by a scan of everything (verify)", 1500, took, report, b.records, 1_000_000)
		}
		return nil
	})
}

// addOpen adds a figure; where the backlog was smaller than it is meant to be, its name says so.
func (b *bench) addOpen(what string, goal float64, took time.Duration, report *spool.RecoveryReport, have, want int) {
	if have != want {
		what += fmt.Sprintf(" (%.1f %% of that)", 100*float64(have)/float64(want))
	}
	b.figures.add(atMost(what, goal, " ms", "MB scanned"), took.Seconds()*1e3, float64(report.Scanned)/1e6)
}

func (b *bench) openWide(ctx context.Context) error {
	return b.inFolder(ctx, func(dir string) error {
		records := int(b.wide / (16 * kib))
		err := withJournal(ctx, dir, func(s *spool.Spool) error { return b.makeBacklog(ctx, s, 1000, records, 16*kib) })
		if err != nil {
			return err
		}
		for range b.turns {
			took, report, err := b.reopened(ctx, dir)
			if err != nil {
				return err
			}
			b.addOpen("open a cold backlog of 40 GB in 1,000 lanes", 300, took, report, int(b.wide>>20), 40<<10)
		}
		return nil
	})
}

// heap is what the program holds after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

// memory measures what a backlog of many small records costs: after it was written, after opening, and while it drains.
func (b *bench) memory(ctx context.Context) error {
	const size = 100
	return b.inFolder(ctx, func(dir string) error {
		base, peak := heap(), 0.0
		note := func() { peak = max(peak, heap()-base) }
		err := withJournal(ctx, dir, func(s *spool.Spool) error {
			defer note()
			return b.makeBacklog(ctx, s, 10, b.many, size)
		})
		if err != nil {
			return err
		}
		err = withJournal(ctx, dir, func(s *spool.Spool) error {
			note()
			return b.drainHalf(ctx, s, note)
		})
		b.figures.add(atMost(fmt.Sprintf("memory for a backlog of %s records: written, opened, draining", thousands(fmt.Sprint(b.many))), 64, " MiB", "MB on disk"),
			peak/(1<<20), float64(b.many)*size/1e6)
		return err
	})
}

// drainHalf reads and marks done half of every lane, in batches, and calls note now and then.
func (b *bench) drainHalf(ctx context.Context, s *spool.Spool, note func()) error {
	for _, st := range s.Lanes() {
		l, err := s.Lane(st.Name)
		if err != nil {
			return err
		}
		var seqs []uint64
		r := l.Reader(1)
		for range st.Live / 2 {
			item, err := r.Next(ctx)
			if err != nil {
				return err
			}
			if seqs = append(seqs, item.Seq); len(seqs) == 1000 {
				if err := l.Done(seqs...); err != nil {
					return err
				}
				seqs = seqs[:0]
			}
		}
		note()
		b.progress.step("drain " + st.Name)
	}
	return nil
}

// idleLanes measures what a lane costs that has had a record and has none now.
func (b *bench) idleLanes(ctx context.Context) error {
	const lanes = 10_000
	return b.inFolder(ctx, func(dir string) error {
		return withJournal(ctx, dir, func(s *spool.Spool) error {
			base, goroutines, descriptors := heap(), runtime.NumGoroutine(), openFiles()
			if err := b.makeBacklog(ctx, s, lanes, lanes*64, 10); err != nil {
				return err
			}
			for _, st := range s.Lanes() {
				l, err := s.Lane(st.Name)
				if err != nil {
					return err
				}
				l.Purge()
			}
			if err := s.Sync(ctx); err != nil {
				return err
			}
			b.figures.add(atMost("an idle lane of 10,000: memory", 2, " KiB", "lanes"), (heap()-base)/lanes/kib, lanes)
			b.figures.add(atMost("10,000 idle lanes: goroutines", 0, " more", "goroutines"), float64(runtime.NumGoroutine()-goroutines), float64(runtime.NumGoroutine()))
			b.figures.add(atMost("10,000 idle lanes: open files", 2, " more", "files"), float64(openFiles()-descriptors), float64(openFiles()))
			return nil
		})
	})
}

func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// inFolderOf gives f a folder of its own in dir.
func (b *bench) inFolderOf(dir string, n int, f func(dir string) error) error {
	sub := filepath.Join(dir, fmt.Sprint(n, "-lanes"))
	if err := os.Mkdir(sub, 0o700); err != nil {
		return err
	}
	return errors.Join(f(sub), os.RemoveAll(sub))
}
