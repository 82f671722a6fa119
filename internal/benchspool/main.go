//go:build linux

// Command benchspool measures the journal against the disk it lies on, a log library and a broker, all in one run, and
// prints each figure with the goal beside it. Only the ratios mean something: disks differ, and what else runs on a
// machine differs from minute to minute. So what is compared is measured in turns, and the median of the turns counts.
//
//	make bench-spool                                     some minutes, some gigabytes
//	go run ./internal/benchspool -quick                  half a minute; says whether it works, not how well
//	go run ./internal/benchspool -dir DIR -markdown      on the disk of DIR; prints the table of docs/benchmarks.md
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A bench is one run.
type bench struct {
	dir      string        // for everything it writes; removed at the end
	span     time.Duration // of one measurement
	turns    int           // how often each is taken
	records  int           // of 1 KiB in a backlog
	many     int           // small ones in a backlog
	wide     int64         // bytes of the backlog in 1,000 lanes
	figures  figures
	progress *progress
}

type options struct {
	quick, markdown, large bool
	dir, only              string
	turns                  int
}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "short turns and small backlogs: to try it out")
	flag.BoolVar(&o.markdown, "markdown", false, "print the table as markdown")
	flag.BoolVar(&o.large, "large", false, "a backlog of 40 GB in 1,000 lanes instead of 4 GB")
	flag.StringVar(&o.dir, "dir", "", "measure on the disk of this directory (default: the one for temporary files)")
	flag.IntVar(&o.turns, "turns", 5, "how often each measurement is taken")
	flag.StringVar(&o.only, "only", "", "take only measurements whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchspool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{span: 2 * time.Second, turns: max(o.turns, 1), records: 1_000_000, many: 10_000_000, wide: 4 << 30, progress: newProgress(os.Stderr)}
	if o.quick {
		b.span, b.turns, b.records, b.many, b.wide = 300*time.Millisecond, 1, 50_000, 200_000, 64<<20
	} else if o.large {
		b.wide = 40 << 30
	}
	if b.dir, err = os.MkdirTemp(o.dir, "posthouse-benchspool-"); err != nil {
		return err
	}
	defer func() { err = joinErr(err, os.RemoveAll(b.dir)) }()
	if err := checkRoom(b.dir, 2*b.wide+8<<30); err != nil && !o.quick {
		return err
	}
	began := time.Now()
	err = b.measure(ctx, o.only)
	b.progress.clear()
	if err == nil || len(b.figures.list) > 0 { // what an interrupted run has measured is worth something
		err = joinErr(err, b.figures.print(os.Stdout, o.markdown))
		fmt.Printf("\n%s\n", about(b, time.Since(began)))
	}
	return err
}

// A measurement takes one or more figures.
type measurement struct {
	name string
	run  func(b *bench, ctx context.Context) error
}

var measurements = []measurement{
	{"one writer", (*bench).oneWriter},
	{"64 writers", (*bench).someWriters},
	{"1024 writers", (*bench).manyWriters},
	{"asynchronous", (*bench).asynchronous},
	{"lanes", (*bench).acrossLanes},
	{"large records", (*bench).largeRecords},
	{"drain", (*bench).drain},
	{"append while draining", (*bench).appendWhileDraining},
	{"open", (*bench).open},
	{"open many lanes", (*bench).openWide},
	{"memory of a backlog", (*bench).memory},
	{"memory of idle lanes", (*bench).idleLanes},
}

func (b *bench) measure(ctx context.Context, only string) error {
	if !slices.ContainsFunc(measurements, func(m measurement) bool { return strings.Contains(m.name, only) }) {
		return fmt.Errorf("no measurement has %q in its name", only)
	}
	for i, m := range measurements {
		if !strings.Contains(m.name, only) {
			continue
		}
		b.progress.begin(i+1, len(measurements), m.name)
		if err := m.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// inTurns calls f once for each turn, in a fresh folder that is gone afterwards.
func (b *bench) inTurns(ctx context.Context, f func(dir string) error) error {
	for turn := range b.turns {
		b.progress.step(fmt.Sprintf("turn %d of %d", turn+1, b.turns))
		if err := b.inFolder(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) inFolder(ctx context.Context, f func(dir string) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "turn")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer func() { err = joinErr(err, os.RemoveAll(dir)) }()
	return f(dir)
}
