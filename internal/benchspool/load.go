//go:build linux

package main

import (
	"context"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A load is a number of writers, each of which appends one record after the other and waits for each.
type load struct {
	writers int
	size    int // of a record's body
	append  func(ctx context.Context, writer int) error
}

// A result is what a load reached.
type result struct {
	pace
	p99 time.Duration
	cpu time.Duration // of this process, for one record
}

// The phases of a load: only what is answered in the second counts.
const (
	warmUp int32 = iota
	counting
	over
)

// run lets the writers loose. It warms up for half of span, then counts for span.
func (l load) run(ctx context.Context, span time.Duration) (result, error) {
	var phase atomic.Int32
	times := make([][]time.Duration, l.writers)
	g, ctx := errgroup.WithContext(ctx)
	for w := range l.writers {
		g.Go(func() error {
			for phase.Load() != over {
				began := time.Now()
				if err := l.append(ctx, w); err != nil {
					return err
				}
				if phase.Load() == counting {
					times[w] = append(times[w], time.Since(began))
				}
			}
			return nil
		})
	}
	wait(ctx, span/2)
	began, cpu := time.Now(), cpuTime()
	phase.Store(counting)
	wait(ctx, span)
	phase.Store(over)
	took, used := time.Since(began), cpuTime()-cpu
	if err := g.Wait(); err != nil {
		return result{}, err
	}
	return l.result(slices.Concat(times...), took, used), nil
}

func (l load) result(times []time.Duration, took, cpu time.Duration) result {
	r := result{pace: paceOf(len(times), int64(l.size), took)}
	if len(times) > 0 {
		slices.Sort(times)
		r.p99 = times[len(times)*99/100]
		r.cpu = cpu / time.Duration(len(times))
	}
	return r
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// cpuTime is what this process has used of the processors, the system's part included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
