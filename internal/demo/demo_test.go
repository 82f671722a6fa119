package demo

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters/all"
	"github.com/posthouse/posthouse/routes"
)

// posthouse is the repeater of these tests, built once and removed with the first test that asked for it.
func posthouse(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "posthouse")
	if out, err := exec.Command("go", "build", "-o", file, "../../cmd/posthouse").CombinedOutput(); err != nil {
		t.Fatalf("build posthouse: %v\n%s", err, out)
	}
	return []string{file, "run"}
}

// A transcript keeps what a demo prints and calls react with each line of it.
type transcript struct {
	mu    sync.Mutex
	text  strings.Builder
	react func(line string)
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.react != nil {
		w.react(string(b))
	}
	return w.text.Write(b)
}

// The README's first command, in small: nothing is lost, and every figure is of this run.
func TestDemoLosesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out := &transcript{}
	rep, err := Run(ctx, Options{
		Rate: 1500, Size: 300, Duration: 2 * time.Second, Outage: time.Second, Keep: true, Command: posthouse(t), Out: out,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.text.String())
	}
	if !rep.OK() || rep.Delivered != rep.Sent || rep.Sent < 2*1500 || rep.OutOfOrder > 0 || rep.Left != 0 || rep.Marked > rep.Duplicated {
		t.Errorf("report: %+v", rep)
	}
	if len(rep.Outages) != 2 || rep.Kill == nil || rep.Rate <= 0 || rep.Seconds < 2 {
		t.Fatalf("report: %+v", rep)
	}
	for i, o := range rep.Outages {
		if o.Seconds < 1/float64(1+i) || o.Spooled == 0 || o.SpooledBytes < int64(300*o.Spooled) || o.Oldest <= 0 || o.Drained == 0 || o.DrainRate <= 0 {
			t.Errorf("outage %d: %+v", i, o)
		}
	}
	if k := rep.Kill; k.Answers <= 0 || k.Delivers < 0 || k.Spooled == 0 || k.Journal.Messages == 0 || k.Journal.Clean || len(k.Journal.Damage)+len(k.Journal.Missing) > 0 {
		t.Errorf("kill: %+v", k)
	}
	checkText(t, out.text.String())
	checkKept(t, rep)
}

// checkText: the acts in their order, no control characters, and states that only the repeater can have said.
func checkText(t *testing.T, text string) {
	t.Helper()
	rest := text
	for _, want := range []string{"from: { broker: paris, stream: ORDERS }", "messages go in", "is cut for 1s", " spooling", "the line is back",
		"pass-through again", "is cut for 500ms", "SIGKILL", "answers after", "recovered: ", "delivering again", "pass-through again", "are sent"} {
		at := strings.Index(rest, want)
		if at < 0 {
			t.Fatalf("no %q, or not at its place, in:\n%s", want, text)
		}
		rest = rest[at+len(want):]
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r > '~' }); i >= 0 {
		t.Errorf("not plain text at byte %d: %q", i, text[i])
	}
}

// checkKept: what Keep leaves is a topology without findings, a journal and a log of two lives.
func checkKept(t *testing.T, rep Report) {
	t.Helper()
	file := filepath.Join(rep.Dir, "topology.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kinds := routes.Kinds{}
	for _, a := range all.Adapters() {
		kinds[a.Kind()] = a
	}
	if _, findings := routes.Load(file, src, routes.Options{Kinds: kinds}); len(findings) > 0 {
		t.Errorf("the demo's own topology has findings: %v", findings)
	}
	log, err := os.ReadFile(filepath.Join(rep.Dir, "posthouse.log"))
	if n := strings.Count(string(log), `"msg":"running"`); err != nil || n != 2 {
		t.Errorf("the log tells of %d starts, %v:\n%s", n, err, log)
	}
	if entries, err := os.ReadDir(filepath.Join(rep.Dir, "spool")); err != nil || len(entries) == 0 {
		t.Errorf("the spool: %v, %v", entries, err)
	}
	if _, err := json.Marshal(rep); err != nil {
		t.Error(err)
	}
}

// Ctrl-C may come at any time: nothing is left, and the figures are what is certain until then.
func TestDemoEndsWithItsContext(t *testing.T) {
	command := posthouse(t)
	for _, moment := range []string{"repeater ", "messages go in", "is cut for", "SIGKILL to"} {
		t.Run(moment, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out := &transcript{react: func(line string) {
				if strings.Contains(line, moment) {
					cancel()
				}
			}}
			rep, err := Run(ctx, Options{Duration: time.Second, Outage: time.Second, Command: command, Out: out})
			if err == nil || context.Cause(ctx) != context.Canceled {
				t.Errorf("an interrupted demo reports %+v, %v", rep, err)
			}
			if rep.Delivered > rep.Sent || moment == "SIGKILL to" && rep.Delivered == 0 {
				t.Errorf("report: %+v", rep)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestDemoSaysWhyItsRepeaterEnded(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	_, err := Run(t.Context(), Options{Command: append(posthouse(t), "--repeater", "A B")})
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), `--repeater "A B"`) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
