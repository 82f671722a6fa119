package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

func (b *bench) spoolCases() []benchCase {
	return append(b.onceCases(), []benchCase{
		{"drain", b.drain},
		{"far drain", b.farDrain},
		{"lanes", b.lanes},
		{"memory", b.memory},
	}...)
}

// spoolHead is the top of a topology with a spool in a folder of its own. A cut link is tried again soon, so that the
// benchmark does not wait for nothing.
func (b *bench) spoolHead(sync string) (head, dir string, err error) {
	if dir, err = os.MkdirTemp(b.dir, "spool-"); err != nil {
		return "", "", err
	}
	head = fmt.Sprintf("spool: { dir: %q, sync: %s }\ndefaults: { broker: { reconnect: { delay: 50ms, max_delay: 500ms } } }\n", dir, sync)
	return head, dir, nil
}

// spooled starts a daemon with one route, bench, from src to dst, and a spool; end stops it and removes the spool. more is
// of the route.
func (b *bench) spooled(ctx context.Context, src, dst side, mode, sync, more string) (d *daemon, end func() error, err error) {
	head, dir, err := b.spoolHead(sync)
	if err != nil {
		return nil, nil, err
	}
	topology := b.topology(src, dst, fmt.Sprintf("    spool: { mode: %s }\n%s", mode, more)) + head
	if d, err = b.daemon(ctx, topology); err != nil {
		return nil, nil, err
	}
	return d, func() error {
		err := d.stop()
		_ = os.RemoveAll(dir) // at the latest with the folder of the run
		return err
	}, nil
}

// onlyLane is the lane of the topology of one route.
const onlyLane = "bench/b"

// A drained turn is the rates of one turn, in messages per second, and what the first two cost in seconds of processor
// time of the daemon per million messages.
type drained struct {
	pass, drain, always, alwaysNever float64
	passCPU, drainCPU                float64
}

// drain compares the rate at which a backlog leaves the spool with that of a loaded source whose messages pass, and with
// a route that spools always. All have the same length, and all go through the same relay.
func (b *bench) drain(ctx context.Context) error {
	var turns []drained
	for turn := range b.turns + 1 {
		t, err := b.drainTurn(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("drain, turn %d: pass %.0f msg/s (%.0f CPU s/M), drain %.0f (%.0f), always %.0f, always with sync: never %.0f\n",
			turn, t.pass, t.passCPU, t.drain, t.drainCPU, t.always, t.alwaysNever)
		if turn > 0 {
			turns = append(turns, t)
		}
	}
	of := func(f func(drained) float64) float64 { return medianOf(turns, f) }
	name := func(s string) string { return fmt.Sprintf("amqp-amqp, 1 KiB: %s, median of %d", s, b.turns) }
	b.atLeast(name("drain / pass-through"), of(func(t drained) float64 { return t.drain / t.pass }), 0.9)
	b.report(name("mode always / pass-through"), of(func(t drained) float64 { return t.always / t.pass }))
	b.report(name("mode always, sync never / pass-through"), of(func(t drained) float64 { return t.alwaysNever / t.pass }))
	b.report(name("CPU of the daemon, drain / pass-through"), of(func(t drained) float64 { return t.drainCPU / t.passCPU }))
	return nil
}

func medianOf[T any](turns []T, f func(T) float64) float64 {
	fs := make([]float64, len(turns))
	for i, t := range turns {
		fs[i] = f(t)
	}
	return median(fs)
}

func (b *bench) drainTurn(ctx context.Context) (t drained, err error) {
	if err = b.passAndDrain(ctx, &t, 0, ""); err != nil {
		return t, err
	}
	if t.always, err = b.always(ctx, "always"); err != nil {
		return t, err
	}
	t.alwaysNever, err = b.always(ctx, "never")
	return t, err
}

// farDrain is drain over a long link, where the window and not a processor decides.
func (b *bench) farDrain(ctx context.Context) error {
	var ratios []float64
	for turn := range b.turns + 1 {
		var t drained
		if err := b.passAndDrain(ctx, &t, roundTrip, farSettings); err != nil {
			return err
		}
		fmt.Printf("drain 50 ms away, turn %d: pass %.0f msg/s (%.0f CPU s/M), drain %.0f (%.0f)\n", turn, t.pass, t.passCPU, t.drain, t.drainCPU)
		if turn > 0 {
			ratios = append(ratios, t.drain/t.pass)
		}
	}
	b.atLeast(fmt.Sprintf("amqp-amqp, 50 ms round trip: drain / pass-through, median of %d", b.turns), median(ratios), 0.9)
	return nil
}

// relayed opens two brokers, the second behind a proxy.
func (b *bench) relayed(ctx context.Context) (src, dst *amqpSide, proxy *adaptertest.Proxy, closeAll func(), err error) {
	if proxy, err = adaptertest.OpenProxy(); err != nil {
		return nil, nil, nil, nil, err
	}
	if src, dst, err = b.sites(ctx); err == nil {
		err = dst.through(proxy)
	}
	if err != nil {
		_ = proxy.Close()
		return nil, nil, nil, nil, err
	}
	return src, dst, proxy, func() {
		_ = proxy.Close()
		src.close()
		dst.close()
	}, nil
}

// passAndDrain measures messages that pass, and the same number that has been spooled while the link was cut, in one life
// of a daemon. The target is as far away as given.
func (b *bench) passAndDrain(ctx context.Context, t *drained, distance time.Duration, settings string) (err error) {
	src, dst, proxy, closeAll, err := b.relayed(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	proxy.SetLatency(distance / 2)
	if err := src.load(ctx, b.count, plainKiB, 0); err != nil {
		return err
	}
	d, end, err := b.spooled(ctx, src, dst, "auto", "always", settings)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, end()) }()
	if t.pass, t.passCPU, err = d.arrive(ctx, dst, b.count); err != nil {
		return err
	}
	proxy.Refuse()
	proxy.Cut()
	if err := src.load(ctx, b.count, plainKiB, 0); err != nil {
		return err
	}
	if err := d.until(ctx, onlyLane, "has spooled all", holds(b.count)); err != nil {
		return err
	}
	proxy.Allow()
	if t.drain, t.drainCPU, err = d.arrive(ctx, dst, b.count); err != nil {
		return err
	}
	return d.until(ctx, onlyLane, "passes", passes)
}

// arrive is arrivals, and also returns the daemon's CPU seconds per million messages.
func (d *daemon) arrive(ctx context.Context, dst side, n int) (rate, cpu float64, err error) {
	before, err := d.cpu()
	if err != nil {
		return 0, 0, err
	}
	if rate, err = arrivals(ctx, dst, n); err != nil {
		return 0, 0, err
	}
	after, err := d.cpu()
	return rate, (after - before) / float64(n) * 1e6, err
}

// always measures a loaded source whose messages all take the way over the disk.
func (b *bench) always(ctx context.Context, sync string) (rate float64, err error) {
	src, dst, _, closeAll, err := b.relayed(ctx)
	if err != nil {
		return 0, err
	}
	defer closeAll()
	if err := src.load(ctx, b.count, plainKiB, 0); err != nil {
		return 0, err
	}
	d, end, err := b.spooled(ctx, src, dst, "always", sync, "")
	if err != nil {
		return 0, err
	}
	defer func() { err = firstOf(err, end()) }()
	if rate, err = arrivals(ctx, dst, b.count); err != nil {
		return 0, err
	}
	ls, err := d.lanes(ctx)
	if err == nil && ls[onlyLane].Total != b.count {
		err = fmt.Errorf("mode always: %d of %d messages went over the disk", ls[onlyLane].Total, b.count)
	}
	return rate, err
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
