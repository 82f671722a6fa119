package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/internal/demo"
)

// loseAll, when it is set, makes a repeater that a demo starts for the second time lose what it has not delivered.
const loseAll = "POSTHOUSE_TEST_LOSE_ALL"

// asPosthouse makes the test's own program a posthouse when its arguments are not those of a test: the demo starts
// itself as its repeater.
func asPosthouse() (code int, is bool) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-test.") {
		return 0, false
	}
	if i := slices.Index(os.Args, "-c"); os.Getenv(loseAll) != "" && os.Args[1] == "run" && i > 0 {
		if err := lose(os.Args[i+1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1, true
		}
	}
	return execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr), true
}

// lose plays two broken disks, if there is a spool already: that one's, and the one with the first site's stream.
func lose(file string) error {
	dir := filepath.Join(filepath.Dir(file), "spool")
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(regexp.MustCompile(`nats://[^"]+`).FindString(string(src)))
	if err != nil {
		return err
	}
	defer nc.Close()
	_, err = nc.Request("$JS.API.STREAM.PURGE.PRICES", nil, patience)
	return errors.Join(err, os.RemoveAll(dir))
}

// small is a demo with everything in it, as short as it can be.
var small = []string{"demo", "--rate", "400", "--size", "200", "--duration", "1s", "--outage", "1s"}

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := posthouse(t, append(small, "-o", "json")...)
	r.want(t, 0)
	var rep demo.Report
	if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
		t.Fatalf("%v:\n%s", err, r.out)
	}
	if !rep.OK() || rep.Sent < 400 || rep.Kill == nil || len(rep.Outages) != 2 || rep.Outages[0].Spooled == 0 {
		t.Errorf("report: %+v", rep)
	}
	wantEmpty(t, dir)
}

func TestDemoWithoutKill(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := posthouse(t, append(small, "--no-kill", "--outage", "100ms", "--keep")...)
	r.want(t, 0, "\nat madrid      delivered ", "lost 0, corrupted 0, out of order 0, duplicated 0\n", "unanswered 0", "cannot show a power cut", "\nnext: posthouse ")
	if strings.Contains(r.out, "SIGKILL") {
		t.Errorf("it kills:\n%s", r.out)
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "posthouse-demo-*", "topology.yaml"))
	if len(kept) != 1 || !strings.Contains(r.out, "kept: "+filepath.Dir(kept[0])) {
		t.Errorf("kept: %v\n%s", kept, r.out)
	}
}

// A real loss: what was sent while the repeater was down is gone when it comes back, and its spool is empty.
func TestDemoThatLosesExits1(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv(loseAll, "1")
	r := posthouse(t, append(small, "-o", "json")...)
	r.want(t, 1, "messages were lost or damaged")
	var rep demo.Report
	if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
		t.Fatalf("%v:\n%s", err, r.out)
	}
	if len(rep.Sites) != 2 {
		t.Fatalf("report: %+v", rep)
	}
	if madrid := rep.Sites[1]; rep.OK() || madrid.Lost == 0 || madrid.Delivered+madrid.Lost != rep.Sent || rep.Kill == nil || rep.Kill.Journal.Messages > 0 {
		t.Errorf("report: %+v", rep)
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
