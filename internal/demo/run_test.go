package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters/all"
	"github.com/posthouse/posthouse/routes"
)

func kinds() routes.Kinds {
	ks := routes.Kinds{}
	for _, a := range all.Adapters() {
		ks[a.Kind()] = a
	}
	return ks
}

// The README's first command: every message arrives, once and in order, and the figures are those of this run.
func TestDemoMovesEveryMessage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out strings.Builder
	rep, err := Run(ctx, Options{Messages: 1500, Size: 300, Out: &out, Kinds: kinds()})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !rep.OK() || rep.Sent != 1500 || rep.Delivered != 1500 || rep.Duplicated != 0 || rep.OutOfOrder != 0 {
		t.Errorf("report: %+v", rep)
	}
	if rep.Rate <= 0 || rep.Elapsed <= 0 || rep.Dir != "" {
		t.Errorf("not measured, or left behind: %+v", rep)
	}
	if !strings.Contains(out.String(), "from: { broker: paris, stream: ORDERS }") {
		t.Errorf("the topology is not shown:\n%s", out.String())
	}
}

func TestDemoKeepsItsDirectoryWhenAsked(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	rep, err := Run(ctx, Options{Messages: 10, Keep: true, Kinds: kinds()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(rep.Dir, "topology.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, findings := routes.Load("topology.yaml", src, routes.Options{Kinds: kinds()}); len(findings) > 0 {
		t.Errorf("the demo's own topology has findings: %v", findings)
	}
}

func TestDemoEndsWithItsContext(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if rep, err := Run(ctx, Options{Messages: 1_000_000, Kinds: kinds()}); err == nil || rep.OK() {
		t.Errorf("an interrupted demo reports %+v, %v", rep, err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
