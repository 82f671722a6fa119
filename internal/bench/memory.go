package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// passedFirst is how many messages pass before the backlog, for the memory that it is compared with.
const passedFirst = 100_000

// quarters is in how many parts the memory of a growing backlog is taken.
const quarters = 4

// memory measures the daemon while a backlog grows and while it drains, NATS to NATS: an Artemis of the size of a test
// would page to its own disk, and be what is measured.
func (b *bench) memory(ctx context.Context) error {
	src, err := openNATS(ctx, filepath.Join(b.dir, "source"))
	if err != nil {
		return err
	}
	defer src.close()
	dst, err := openNATS(ctx, filepath.Join(b.dir, "target"))
	if err != nil {
		return err
	}
	defer dst.close()
	proxy, err := adaptertest.OpenProxy()
	if err != nil {
		return err
	}
	defer proxy.Close()
	if err := dst.through(proxy); err != nil {
		return err
	}
	return b.backlogOf(ctx, src, dst, proxy, b.backlog<<10)
}

// backlogOf lets n messages of 1 KiB pile up and drain.
func (b *bench) backlogOf(ctx context.Context, src, dst *natsSide, proxy *adaptertest.Proxy, n int) (err error) {
	d, end, err := b.spooled(ctx, src, dst, "auto", "always", "")
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, end()) }()
	if err := src.load(ctx, passedFirst, plainKiB, 0); err != nil {
		return err
	}
	pass, err := arrivals(ctx, dst, passedFirst)
	if err != nil {
		return err
	}
	base, err := d.peak()
	if err != nil {
		return err
	}
	proxy.Refuse()
	proxy.Cut()
	began := time.Now()
	loaded := make(chan error, 1)
	go func() { loaded <- src.load(ctx, n, plainKiB, 0) }()
	growing, err := d.peaks(func(part int) error {
		return d.until(ctx, onlyLane, "has spooled its part", holds(n*part/quarters))
	})
	if err = firstOf(err, <-loaded); err != nil {
		return err
	}
	spool := float64(n) / time.Since(began).Seconds()
	proxy.Allow()
	rate, draining, err := d.drainPeaks(ctx, dst, n)
	if err != nil {
		return err
	}
	fmt.Printf("memory, %d MiB in %d messages: pass-through %.0f msg/s, spool %.0f, drain %.0f; peak MiB %.0f, by quarters %.0f and %.0f\n",
		b.backlog, n, pass, spool, rate, base, growing, draining)
	b.memoryFigures(base, growing, draining)
	return d.until(ctx, onlyLane, "passes", passes)
}

// peaks calls wait for each quarter and returns the peak of the daemon's memory in MiB in each.
func (d *daemon) peaks(wait func(part int) error) (mib [quarters]float64, err error) {
	for i := range quarters {
		if err = wait(i + 1); err != nil {
			return mib, err
		}
		if mib[i], err = d.peak(); err != nil {
			return mib, err
		}
	}
	return mib, nil
}

// drainPeaks is arrivals, and also returns the peaks of the quarters.
func (d *daemon) drainPeaks(ctx context.Context, dst side, n int) (rate float64, mib [quarters]float64, err error) {
	parts := make(chan struct{}, quarters)
	type result struct {
		rate float64
		err  error
	}
	arrived := make(chan result, 1)
	go func() {
		rate, err := arrivalsIn(ctx, dst, n, func(count int) {
			if count%(n/quarters) == 0 && count <= n/quarters*quarters {
				parts <- struct{}{}
			}
		})
		close(parts)
		arrived <- result{rate, err}
	}()
	mib, err = d.peaks(func(int) error {
		<-parts // or it is closed, and the error below says why
		return nil
	})
	r := <-arrived
	return r.rate, mib, firstOf(r.err, err)
}

// spoolMemory is what a backlog may take, in MiB: the bound of the journal's own figures.
const spoolMemory = 64

// memoryFigures takes the peak of what passed, and of the quarters of growing and draining.
func (b *bench) memoryFigures(base float64, growing, draining [quarters]float64) {
	name := func(what, phase string) string {
		return fmt.Sprintf("nats-nats, %d MiB of backlog, %s: %s", b.backlog, phase, what)
	}
	for _, p := range []struct {
		phase string
		mib   [quarters]float64
	}{{"spooling", growing}, {"draining", draining}} {
		peak := slices.Max(p.mib[:])
		b.below(name("peak MiB of the daemon", p.phase), peak, base+spoolMemory)
		b.report(name("peak / peak of pass-through", p.phase), peak/base)
		b.atMost(name("peak of the last quarter / of the first", p.phase), p.mib[quarters-1]/p.mib[0], 1.25)
	}
}
