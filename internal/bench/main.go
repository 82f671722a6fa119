// Command bench measures the daemon against itself and against the plainest loop that could do the same, on real
// brokers. Figures that matter are ratios within one run; absolute ones depend on the machine.
//
//	make bench                                        the cases without a spool; starts the brokers
//	make bench-spool                                  those with one, behind the figures of the journal alone
//	go run ./internal/bench -only amqp-amqp           with brokers from the environment of internal/testbed
//	go run ./internal/bench -spool -full              a backlog of 5 GB; some minutes, and 16 GB of disk
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// A target is a figure to reach, as a ratio or an amount of this run.
type target struct {
	what string
	got  float64
	want string // empty: it is only reported
	ok   bool
}

type bench struct {
	binary  string // of the daemon
	dir     string
	count   int
	only    string
	spool   bool // the cases with a spool instead of those without
	turns   int  // of each of them
	backlog int  // MiB
	trips   int  // round trips of each run of request-reply
	targets []target
}

func main() {
	b := &bench{}
	flag.IntVar(&b.count, "messages", 60_000, "messages of each throughput run")
	flag.StringVar(&b.only, "only", "", "run only cases whose name contains this")
	flag.BoolVar(&b.spool, "spool", false, "measure lanes that spool")
	flag.IntVar(&b.trips, "trips", 20_000, "round trips of each run of request-reply")
	flag.IntVar(&b.turns, "turns", 5, "with -spool: how often each figure is taken, behind one turn that does not count")
	flag.IntVar(&b.backlog, "backlog", 512, "with -spool: MiB of the backlog of which memory is measured")
	full := flag.Bool("full", false, "with -spool: a backlog of 5 GB")
	flag.StringVar(&b.binary, "posthouse", "", "measure this program instead of the one of this tree")
	flag.Parse()
	if *full {
		b.backlog = 5_000_000_000 >> 20
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "posthouse-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(ctx); err != nil {
		return err
	}
	cases := b.spoolCases()
	if !b.spool {
		cases = b.cases()
		fmt.Printf("%-22s %9s %11s %10s %9s %9s %9s\n", "case", "msg/s", "CPU s/M msg", "allocs/msg", "peak MiB", "p50 ms", "p99 ms")
	}
	for _, c := range cases {
		if !strings.Contains(c.name, b.only) {
			continue
		}
		if err := c.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return b.verdict()
}

func (b *bench) build(ctx context.Context) error {
	if b.binary != "" {
		return nil
	}
	b.binary = filepath.Join(b.dir, "posthouse")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./cmd/posthouse").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// verdict prints the figures to reach, and fails if one was not reached.
func (b *bench) verdict() error {
	missed := 0
	fmt.Println()
	for _, t := range b.targets {
		word, want := "reached", "want "+t.want
		switch {
		case t.want == "":
			word, want = "", ""
		case !t.ok:
			word, missed = "MISSED", missed+1
		}
		fmt.Printf("%-7s  %-82s %8.2f  %s\n", word, t.what, t.got, want)
	}
	if missed > 0 {
		return fmt.Errorf("%d figures were not reached", missed)
	}
	return nil
}

func (b *bench) atLeast(what string, got, want float64) {
	b.targets = append(b.targets, target{what, got, fmt.Sprintf(">= %.2f", want), got >= want})
}

func (b *bench) below(what string, got, want float64) {
	b.targets = append(b.targets, target{what, got, fmt.Sprintf("< %.0f", want), got < want})
}

func (b *bench) atMost(what string, got, want float64) {
	b.targets = append(b.targets, target{what, got, fmt.Sprintf("<= %.2f", want), got <= want})
}

// report notes a figure that nothing is wanted of.
func (b *bench) report(what string, got float64) {
	b.targets = append(b.targets, target{what: what, got: got, ok: true})
}
