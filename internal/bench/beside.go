package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// paceBeside is the load of the lane beside the one that is measured: enough to be seen, and little enough that two
// processors are not what is measured.
const paceBeside = 4 * time.Millisecond

// beside is what the other lane does.
type beside int

const (
	besideNothing beside = iota
	besidePassing
	besideSpooling
)

// lanes measures a lane from a loaded source alone, beside a lane that passes messages, and beside one that spools the
// same load because its target is away. The two have sources and targets of their own.
func (b *bench) lanes(ctx context.Context) error {
	var turns [][3]float64
	for turn := range b.turns + 1 {
		var rates [3]float64
		for i := range rates {
			what := beside((i + turn) % 3) // none is always the first
			rate, err := b.laneBeside(ctx, what)
			if err != nil {
				return err
			}
			rates[what] = rate
		}
		fmt.Printf("lanes, turn %d: alone %.0f msg/s, beside one that passes %.0f, beside one that spools %.0f\n",
			turn, rates[besideNothing], rates[besidePassing], rates[besideSpooling])
		if turn > 0 {
			turns = append(turns, rates)
		}
	}
	over := func(x, y beside) float64 {
		return medianOf(turns, func(t [3]float64) float64 { return t[x] / t[y] })
	}
	b.atLeast(fmt.Sprintf("a lane beside one whose target is away / is up, 250 msg/s there, median of %d", b.turns),
		over(besideSpooling, besidePassing), 0.9)
	b.report(fmt.Sprintf("the same / alone, median of %d", b.turns), over(besideSpooling, besideNothing))
	b.report(fmt.Sprintf("a lane beside one that passes 250 msg/s / alone, median of %d", b.turns), over(besidePassing, besideNothing))
	return nil
}

// laneBeside returns the rate of the lane well/b.
func (b *bench) laneBeside(ctx context.Context, what beside) (rate float64, err error) {
	src, dst, err := b.sites(ctx)
	if err != nil {
		return 0, err
	}
	defer src.close()
	defer dst.close()
	other, away, proxy, closeAll, err := b.relayed(ctx)
	if err != nil {
		return 0, err
	}
	defer closeAll()
	if what == besideSpooling {
		proxy.Refuse()
	}
	if err := src.load(ctx, b.count, plainKiB, 0); err != nil {
		return 0, err
	}
	loading, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if what != besideNothing {
			_ = other.load(loading, 1<<30, plainKiB, paceBeside) // until it is stopped
		}
	}()
	defer func() { stop(); <-over }()
	d, end, err := b.two(ctx, src, dst, other, away)
	if err != nil {
		return 0, err
	}
	defer func() { err = firstOf(err, end()) }()
	if rate, err = arrivals(ctx, dst, b.count); err != nil {
		return 0, err
	}
	return rate, d.didBeside(ctx, what)
}

// didBeside fails if the other lane has not done what it was there for.
func (d *daemon) didBeside(ctx context.Context, what beside) error {
	ls, err := d.lanes(ctx)
	if err != nil {
		return err
	}
	if l := ls["beside/d"]; what == besideSpooling && (l.State != "spooling" || l.Total == 0) || what != besideSpooling && l.Total > 0 {
		return fmt.Errorf("the other lane is not as it should be: %+v", l)
	}
	return nil
}

// two starts a daemon with the routes well and beside.
func (b *bench) two(ctx context.Context, src, dst, other, away side) (*daemon, func() error, error) {
	head, dir, err := b.spoolHead("always")
	if err != nil {
		return nil, nil, err
	}
	s, from, _ := src.yaml()
	t, _, to := dst.yaml()
	o, otherFrom, _ := other.yaml()
	a, _, awayTo := away.yaml()
	topology := fmt.Sprintf("version: 1\n%sbrokers:\n  a: %s\n  b: %s\n  c: %s\n  d: %s\nroutes:\n"+
		"  - { name: well, from: { broker: a, %s }, to: { broker: b, %s } }\n"+
		"  - { name: beside, from: { broker: c, %s }, to: { broker: d, %s } }\n", head, s, t, o, a, from, to, otherFrom, awayTo)
	d, err := b.daemon(ctx, topology)
	if err != nil {
		return nil, nil, err
	}
	return d, func() error {
		err := d.stop()
		_ = os.RemoveAll(dir)
		return err
	}, nil
}
