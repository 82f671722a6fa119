package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCachedFillsOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new")
	var fills atomic.Int32
	fill := func(dir string) error {
		fills.Add(1)
		return os.WriteFile(filepath.Join(dir, "f"), []byte("whole"), 0o644)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := cached(deadline(t), root, "x", io.Discard, fill)
			if err != nil {
				t.Error(err)
				return
			}
			if raw, err := os.ReadFile(filepath.Join(dir, "f")); string(raw) != "whole" {
				t.Errorf("got %q, %v", raw, err)
			}
		})
	}
	wg.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times, want 1", n)
	}
}

func TestCachedKeepsNothingBroken(t *testing.T) {
	root := t.TempDir()
	stale := filepath.Join(root, "x.part-123") // of a process that was killed
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("line cut")
	_, err := cached(deadline(t), root, "x", io.Discard, func(dir string) error {
		_ = os.WriteFile(filepath.Join(dir, "half"), nil, 0o644)
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v, want the reason", err)
	}
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("%s is left", e.Name())
		}
	}
	if _, err := cached(deadline(t), root, "x", io.Discard, func(string) error { return nil }); err != nil {
		t.Errorf("second try: %v", err)
	}
}

func TestLockWaitsAndSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	unlock, err := Lock(deadline(t), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var said bytes.Buffer
	if _, err := Lock(ctx, path, &said); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if !strings.Contains(said.String(), path) {
		t.Errorf("said %q, want the lock's name", said.String())
	}
	unlock()
	again, err := Lock(deadline(t), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestCacheDirFromEnvironment(t *testing.T) {
	want := t.TempDir()
	t.Setenv(EnvCache, want)
	if got, err := CacheDir(); got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestFreePortsAreFreeAndDiffer(t *testing.T) {
	ports, err := freePorts(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p < lowestPort || p >= highestPort {
			t.Errorf("port %d twice or out of range", p)
		}
		seen[p] = true
		l, err := net.Listen("tcp4", addr(p))
		if err != nil {
			t.Errorf("port %d: %v", p, err)
			continue
		}
		l.Close()
	}
}

func TestStartRefusesUnknown(t *testing.T) {
	if _, err := Start(deadline(t), "activemq5", t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "artemis, artemis2") {
		t.Errorf("got %v, want the known names", err)
	}
	if err := Fetch(deadline(t), "activemq5", Options{}); err == nil {
		t.Error("fetched it")
	}
	if _, err := rabbitSuite(5); err == nil {
		t.Error("found RabbitMQ 5")
	}
	for _, name := range All() {
		if fix := Fix(name); !strings.Contains(fix, Variable(name)+"=") || !strings.Contains(fix, "make brokers") {
			t.Errorf("%s: fix %q", name, fix)
		}
	}
}
