//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// A run that is interrupted at any point leaves nothing behind.
func TestInterruptedRunCleansUp(t *testing.T) {
	for _, only := range []string{"one writer", "append while draining", "asynchronous", "memory of a backlog"} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		began := make(chan struct{})
		go func() {
			defer cancel()
			<-began
			for entries, err := os.ReadDir(dir); err == nil && len(entries) == 0; entries, err = os.ReadDir(dir) {
			}
		}()
		close(began)
		if err := run(ctx, options{quick: true, dir: dir, only: only}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", only, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: left behind: %v, %v", only, entries, err)
		}
	}
	if err := run(t.Context(), options{quick: true, dir: t.TempDir(), only: "no such"}); err == nil {
		t.Error("ran nothing without a word")
	}
}

func TestFiguresAreJudgedByTheirMedian(t *testing.T) {
	var fs figures
	for _, got := range []float64{40, 70, 66} {
		fs.add(atLeast("rate", 65, " %", "records/s"), got, 123_456)
		fs.add(atMost("time", 65, " ms", "MB"), got, 0.5)
		fs.add(plain("disk", "MB/s"), 0, 12.34)
	}
	want := [][]string{
		{"rate", "≥ 65 %", "66 %", "40 to 70", "123,456 records/s", "reached"},
		{"time", "≤ 65 ms", "66 ms", "40 to 70", "0.50 MB", "MISSED"},
		{"disk", "", "", "", "12.3 MB/s", ""},
	}
	for i, f := range fs.list {
		if got := f.row(); !slices.Equal(got, want[i]) {
			t.Errorf("got %q, want %q", got, want[i])
		}
	}
	var out strings.Builder
	if err := fs.print(&out, true); err != nil || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("markdown: %q, %v", out.String(), err)
	}
	if s := about(&bench{figures: fs, turns: 3}, 0); !strings.HasPrefix(s, "1 of 2 goals reached") {
		t.Errorf("about: %q", s)
	}
}

// The log library behind its front is a fair rival: every record is in its log.
func TestFrontAppendsEverything(t *testing.T) {
	f, err := openFront(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := f.append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	last, err := f.log.LastIndex()
	if err != nil || last != 5 {
		t.Errorf("%d of 5 records in the log, %v", last, err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}
