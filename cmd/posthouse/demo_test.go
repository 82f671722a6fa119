package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/internal/demo"
)

// loseSpool, when it is set, makes the repeater of a demo find an empty disk when it is started again after a kill.
const loseSpool = "POSTHOUSE_TEST_LOSE_SPOOL"

// asPosthouse makes the test's own program a posthouse when its arguments are not those of a test: the demo starts
// itself as its repeater.
func asPosthouse() (code int, is bool) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-test.") {
		return 0, false
	}
	if i := slices.Index(os.Args, "-c"); os.Getenv(loseSpool) != "" && os.Args[1] == "run" && i > 0 {
		_ = os.RemoveAll(filepath.Join(filepath.Dir(os.Args[i+1]), "spool")) // there is none at the first start
	}
	return execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr), true
}

// small is a demo with everything in it, as short as it can be.
var small = []string{"demo", "--rate", "1500", "--size", "200", "--duration", "1s", "--outage", "1s"}

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := posthouse(t, append(small, "-o", "json")...)
	r.want(t, 0)
	var rep demo.Report
	if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
		t.Fatalf("%v:\n%s", err, r.out)
	}
	if !rep.OK() || rep.Sent < 1500 || rep.Kill == nil || len(rep.Outages) != 2 || rep.Outages[0].Spooled == 0 {
		t.Errorf("report: %+v", rep)
	}
	wantEmpty(t, dir)
}

func TestDemoWithoutKill(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := posthouse(t, append(small, "--no-kill", "--outage", "100ms", "--keep")...)
	r.want(t, 0, "\nlost           0\n", "\nduplicated     0\n", "cannot show a power cut", "\nnext: posthouse ")
	if strings.Contains(r.out, "SIGKILL") {
		t.Errorf("it kills:\n%s", r.out)
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "posthouse-demo-*", "topology.yaml"))
	if len(kept) != 1 || !strings.Contains(r.out, "kept: "+filepath.Dir(kept[0])) {
		t.Errorf("kept: %v\n%s", kept, r.out)
	}
}

// A real loss: the disk with the spool is gone when the repeater comes back.
func TestDemoThatLosesExits1(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv(loseSpool, "1")
	r := posthouse(t, append(small, "-o", "json")...)
	r.want(t, 1, "messages were lost or damaged")
	var rep demo.Report
	if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
		t.Fatalf("%v:\n%s", err, r.out)
	}
	if rep.Kill == nil || len(rep.Outages) != 2 {
		t.Fatalf("report: %+v", rep)
	}
	if rep.OK() || rep.Lost == 0 || rep.Lost > rep.Outages[1].Spooled || rep.Delivered+rep.Lost != rep.Sent || rep.Kill.Journal.Messages > 0 {
		t.Errorf("report: %+v, %+v", rep, rep.Kill)
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
