// Command bench measures the daemon against itself and against the plainest loop that could do the same, on real
// brokers. Figures that matter are ratios within one run; absolute ones depend on the machine.
//
//	make bench                                        all cases; starts the brokers
//	go run ./internal/bench -only amqp-amqp           with brokers from the environment of internal/testbed
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
	want string
	ok   bool
}

type bench struct {
	binary  string
	dir     string
	count   int
	only    string
	targets []target
}

func main() {
	b := &bench{}
	flag.IntVar(&b.count, "messages", 60_000, "messages of each throughput run")
	flag.StringVar(&b.only, "only", "", "run only cases whose name contains this")
	flag.Parse()
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
	b.binary = filepath.Join(b.dir, "posthouse")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./cmd/posthouse").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	fmt.Printf("%-22s %9s %11s %10s %9s %9s %9s\n", "case", "msg/s", "CPU s/M msg", "allocs/msg", "peak MiB", "p50 ms", "p99 ms")
	for _, c := range b.cases() {
		if !strings.Contains(c.name, b.only) {
			continue
		}
		if err := c.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return b.verdict()
}

// verdict prints the figures to reach, and fails if one was not reached.
func (b *bench) verdict() error {
	missed := 0
	fmt.Println()
	for _, t := range b.targets {
		word := "reached"
		if !t.ok {
			word, missed = "MISSED", missed+1
		}
		fmt.Printf("%-7s  %-70s %8.2f  want %s\n", word, t.what, t.got, t.want)
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
