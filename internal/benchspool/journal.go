//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/posthouse/posthouse/spool"
)

const kib = 1024

// journalIn is where a journal lies in the folder of a turn.
func journalIn(dir string) string { return filepath.Join(dir, "journal") }

// withJournal opens a journal in dir, runs f, and closes it.
func withJournal(ctx context.Context, dir string, f func(*spool.Spool) error) error {
	s, _, err := spool.Open(ctx, spool.Options{Dir: journalIn(dir)})
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// appended is the rate of a journal under writers that wait for each record and mark it done, so that segments are
// used again, as in a repeater whose lanes keep up.
func (b *bench) appended(ctx context.Context, dir string, writers, lanes, size int) (r result, err error) {
	err = withJournal(ctx, dir, func(s *spool.Spool) error {
		r, err = b.appending(ctx, s, writers, lanes, size)
		return err
	})
	return r, err
}

func (b *bench) appending(ctx context.Context, s *spool.Spool, writers, lanes, size int) (result, error) {
	list, err := lanesOf(s, lanes)
	if err != nil {
		return result{}, err
	}
	body := aligned(size)
	return load{writers, size, func(ctx context.Context, w int) error {
		l := list[w%lanes]
		seq, err := l.Append(ctx, spool.Record{Body: body})
		if err != nil {
			return err
		}
		return l.Done(seq)
	}}.run(ctx, b.span)
}

func lanesOf(s *spool.Spool, n int) (list []*spool.Lane, err error) {
	for i := range n {
		l, err := s.Lane(fmt.Sprintf("orders/target-%d", i))
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

func (b *bench) oneWriter(ctx context.Context) error {
	return b.inTurns(ctx, func(dir string) error {
		bare, err := b.overwrite(ctx, dir, 4*kib)
		if err != nil {
			return err
		}
		r, err := b.appended(ctx, dir, 1, 1, kib)
		if err != nil {
			return err
		}
		b.figures.add(plain("bare loop: write 4 KiB, fdatasync", "ops/s"), 0, bare.ops)
		b.figures.add(atLeast("1 writer, 1 KiB, waiting for each: of the bare loop of 4 KiB", 65, " %", "records/s"), 100*r.ops/bare.ops, r.ops)
		return nil
	})
}

// The goals against a log library are stated for raft-wal behind a front (1.6 and 1.4 times). Its dependencies are too
// many and too old to carry here; where the goals come from, both were measured, and raft-wal had 113/95 and 479/323 of
// what tidwall/wal had. So these are the same goals.
const (
	goalSome = 1.6 * 113 / 95
	goalMany = 1.4 * 479 / 323
)

func (b *bench) someWriters(ctx context.Context) error {
	return b.inTurns(ctx, func(dir string) error {
		bare, err := b.overwrite(ctx, dir, 64*kib)
		if err != nil {
			return err
		}
		r, err := b.appended(ctx, dir, 64, 1, kib)
		if err != nil {
			return err
		}
		lib, err := b.library(ctx, dir, 64, kib)
		if err != nil {
			return err
		}
		b.figures.add(plain("bare loop: write 64 KiB, fdatasync", "MB/s"), 0, bare.bytes/1e6)
		b.figures.add(atLeast("64 writers, 1 KiB: of the bytes of the bare loop of 64 KiB", 50, " %", "records/s"), 100*r.bytes/bare.bytes, r.ops)
		b.figures.add(atLeast("64 writers: times tidwall/wal behind a front", goalSome, " ×", "records/s of it"), r.ops/lib.ops, lib.ops)
		b.figures.add(atMost("64 writers: p99, times the mean of the bare loop", 4, " ×", "ms"), float64(r.p99)/float64(bare.mean), r.p99.Seconds()*1e3)
		return nil
	})
}

func (b *bench) manyWriters(ctx context.Context) error {
	return b.inTurns(ctx, func(dir string) error {
		seq, err := b.sequential(ctx, dir)
		if err != nil {
			return err
		}
		r, err := b.appended(ctx, dir, 1024, 1, kib)
		if err != nil {
			return err
		}
		lib, err := b.library(ctx, dir, 1024, kib)
		if err != nil {
			return err
		}
		js, err := b.stream(ctx, dir, 1024, kib)
		if err != nil {
			return err
		}
		b.figures.add(plain("disk: sequential overwrite, O_DIRECT", "MB/s"), 0, seq.bytes/1e6)
		b.figures.add(atLeast("1,024 writers, 1 KiB: of the disk's bandwidth", 25, " %", "records/s"), 100*r.bytes/seq.bytes, r.ops)
		b.figures.add(atLeast("1,024 writers: times tidwall/wal behind a front", goalMany, " ×", "records/s of it"), r.ops/lib.ops, lib.ops)
		b.figures.add(atLeast("1,024 writers: times JetStream, sync always", 100, " ×", "messages/s of it"), r.ops/js.ops, js.ops)
		return nil
	})
}

func (b *bench) asynchronous(ctx context.Context) error {
	return b.inTurns(ctx, func(dir string) error {
		seq, err := b.sequential(ctx, dir)
		if err != nil {
			return err
		}
		var r result
		err = withJournal(ctx, dir, func(s *spool.Spool) error {
			r, err = b.appendAsync(ctx, s)
			return err
		})
		if err != nil {
			return err
		}
		b.figures.add(atLeast("asynchronous, 1,024 in flight, 1 KiB: of the disk's bandwidth", 40, " %", "records/s"), 100*r.bytes/seq.bytes, r.ops)
		b.figures.add(atMost("asynchronous: processor time for a record, done mark included", 1.4, " µs", "records/s"), r.cpu.Seconds()*1e6, r.ops)
		return nil
	})
}

// An inFlight bounds what an asynchronous writer has on the way, and gathers what has come back, to be marked done.
type inFlight struct {
	slots chan struct{}
	mu    sync.Mutex
	back  []uint64
	err   error
}

func (f *inFlight) answer(first uint64, err error) {
	f.mu.Lock()
	f.back = append(f.back, first)
	f.err = errors.Join(f.err, err)
	f.mu.Unlock()
	<-f.slots
}

// take returns what has come back since the last call.
func (f *inFlight) take(spare []uint64) ([]uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	back := f.back
	f.back = spare[:0]
	return back, f.err
}

// appendAsync has one goroutine append for one and a half spans, of which the last counts.
func (b *bench) appendAsync(ctx context.Context, s *spool.Spool) (r result, err error) {
	l, err := s.Lane("orders/target")
	if err != nil {
		return r, err
	}
	f := &inFlight{slots: make(chan struct{}, 1024)}
	body := aligned(kib)
	var (
		spare    []uint64
		counted  int
		from     time.Time
		cpu      time.Duration
		began    = time.Now()
		done     = func(first uint64, err error) { f.answer(first, err) }
		finished = func() bool { return !from.IsZero() && time.Since(from) >= b.span }
	)
	for n := 1; !finished() && ctx.Err() == nil; n++ {
		f.slots <- struct{}{}
		if err := l.AppendAsync(ctx, []spool.Record{{Body: body}}, done); err != nil {
			return r, err
		}
		counted++
		if n%256 > 0 {
			continue
		}
		if spare, err = f.take(spare); err == nil {
			err = l.Done(spare...)
		}
		if err != nil {
			return r, err
		}
		if from.IsZero() && time.Since(began) > b.span/2 {
			counted, from, cpu = 0, time.Now(), cpuTime()
		}
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	r = result{pace: paceOf(counted, kib, time.Since(from)), cpu: (cpuTime() - cpu) / time.Duration(counted)}
	return r, s.Sync(ctx)
}

func (b *bench) acrossLanes(ctx context.Context) error {
	return b.inTurns(ctx, func(dir string) error {
		var rates []float64
		for _, lanes := range []int{1, 16, 256} {
			err := b.inFolderOf(dir, lanes, func(dir string) error {
				r, err := b.appended(ctx, dir, 256, lanes, kib)
				rates = append(rates, r.ops)
				return err
			})
			if err != nil {
				return err
			}
		}
		b.figures.add(plain("256 writers, 1 lane", "records/s"), 0, rates[0])
		b.figures.add(atLeast("256 writers over 16 lanes: of the rate of 1 lane", 85, " %", "records/s"), 100*rates[1]/rates[0], rates[1])
		b.figures.add(atLeast("256 writers over 256 lanes: of the rate of 1 lane", 85, " %", "records/s"), 100*rates[2]/rates[0], rates[2])
		return nil
	})
}

func (b *bench) largeRecords(ctx context.Context) error {
	return b.inTurns(ctx, func(dir string) error {
		seq, err := b.sequential(ctx, dir)
		if err != nil {
			return err
		}
		r, err := b.appended(ctx, dir, 16, 1, 256*kib)
		if err != nil {
			return err
		}
		b.figures.add(atLeast("16 writers, 256 KiB: of the disk's bandwidth", 60, " %", "MB/s"), 100*r.bytes/seq.bytes, r.bytes/1e6)
		return nil
	})
}
