package demo

import (
	"context"
	"encoding/json"
	"fmt"
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

// workshop is the folder of the program of these tests, made by the first that asks and removed by TestMain.
var workshop string

var build = sync.OnceValue(func() (err error) {
	if workshop, err = os.MkdirTemp("", "posthouse-demo-test-"); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", workshop, "../../cmd/posthouse").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build posthouse: %w\n%s", err, out)
	}
	return nil
})

// posthouse is the command of the repeater. Tests ask for it before they move their temporary folder.
func posthouse(t *testing.T) []string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return []string{filepath.Join(workshop, "posthouse"), "run"}
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

// The README's first command, in small: nothing is lost, and every figure is of this run. On a busy machine a backlog
// may have drained before the kill comes; so it is played until one was hit.
func TestDemoLosesNothing(t *testing.T) {
	command := posthouse(t)
	for range 5 {
		t.Setenv("TMPDIR", t.TempDir())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out := &transcript{}
		rep, err := Run(ctx, Options{
			Rate: 400, Size: 300, Duration: time.Second, Outage: time.Second, Keep: true, Command: command, Out: out,
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, out.text.String())
		}
		checkReport(t, rep)
		checkText(t, out.text.String())
		checkKept(t, rep)
		if t.Failed() || rep.Kill.Journal.Messages > 0 && rep.Kill.Spooled > 0 {
			return
		}
	}
	t.Error("no kill hit a backlog")
}

func checkReport(t *testing.T, rep Report) {
	t.Helper()
	if !rep.OK() || rep.Delivered() != rep.Sent || rep.Sent < 400 || rep.Left != 0 || rep.Rate <= 0 || rep.Seconds < 1 || len(rep.Sites) != 2 {
		t.Errorf("report: %+v", rep)
	}
	for _, a := range rep.Sites {
		if a.Delivered != rep.Sent || a.OutOfOrder > 0 {
			t.Errorf("arrivals: %+v", a)
		}
	}
	if r := rep.Requests; r.Asked == 0 || r.Answered != r.Asked || r.P50 <= 0 || r.P99 < r.P50 {
		t.Errorf("requests: %+v", r)
	}
	if len(rep.Outages) != 2 || rep.Kill == nil {
		t.Fatalf("report: %+v", rep)
	}
	for i, o := range rep.Outages {
		if o.Seconds < 1/float64(1+i) || o.Spooled == 0 || o.SpooledBytes < int64(300*o.Spooled) || o.Oldest <= 0 {
			t.Errorf("outage %d: %+v", i, o)
		}
	}
	if o := rep.Outages[0]; o.Drained == 0 || o.DrainRate <= 0 {
		t.Errorf("it did not drain: %+v", o)
	}
	if k := rep.Kill; k.Answers <= 0 || k.Delivers <= 0 || k.Journal.Clean || len(k.Journal.Damage)+len(k.Journal.Missing) > 0 {
		t.Errorf("kill: %+v", k)
	}
}

// checkText: the acts in their order, no control characters, and states that only the repeater can have said.
func checkText(t *testing.T, text string) {
	t.Helper()
	rest := text
	for _, want := range []string{"kind: hub-and-spoke", "messages go in", "is cut for 1s", " spooling", "the line is back",
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
			if rep.Delivered() > rep.Sent || moment == "SIGKILL to" && rep.Delivered() == 0 {
				t.Errorf("report: %+v", rep)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// The largest messages that the command takes fit into the spool's segments: a quarter of one each.
func TestSegmentsHoldTheMessages(t *testing.T) {
	for size, want := range map[int]string{64: "1MiB", 100 << 10: "1MiB", 128 << 10: "2MiB", 512 << 10: "5MiB"} {
		if got := (Options{Size: size}).segment(); got != want {
			t.Errorf("messages of %d bytes: segments of %s, want %s", size, got, want)
		}
	}
}

func TestDemoSaysWhyItsRepeaterEnded(t *testing.T) {
	command, dir := append(posthouse(t), "--repeater", "A B"), t.TempDir()
	t.Setenv("TMPDIR", dir)
	_, err := Run(t.Context(), Options{Command: command})
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), `--repeater "A B"`) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
