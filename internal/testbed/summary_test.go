package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// feed writes text to a summary in pieces of random size, as a pipe does.
func feed(t *testing.T, text string) (*summary, string) {
	t.Helper()
	var out bytes.Buffer
	s := newSummary(&out)
	for len(text) > 0 {
		n := min(len(text), 1+rand.IntN(40))
		if _, err := s.Write([]byte(text[:n])); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	s.finish()
	return s, out.String()
}

func lines(t *testing.T, events ...event) string {
	t.Helper()
	var b strings.Builder
	for _, e := range events {
		if e.Package == "" {
			e.Package = "p"
		}
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", raw)
	}
	return b.String()
}

func TestSummaryCounts(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []event
		want   string
	}{
		{"nothing", nil, "0 passed, 0 failed, 0 skipped"},
		{"plain", []event{{Action: "pass", Test: "A"}, {Action: "skip", Test: "B"}, {Action: "pass"}}, "1 passed, 0 failed, 1 skipped"},
		{"subtests count, not their parent", []event{{Action: "run", Test: "A"}, {Action: "run", Test: "A/x"}, {Action: "pass", Test: "A/x"},
			{Action: "run", Test: "A/y"}, {Action: "pass", Test: "A/y"}, {Action: "pass", Test: "A"}, {Action: "pass"}}, "2 passed, 0 failed, 0 skipped"},
		{"failing subtest counts once", []event{{Action: "run", Test: "A"}, {Action: "fail", Test: "A/x"}, {Action: "fail", Test: "A"},
			{Action: "fail"}}, "0 passed, 1 failed, 0 skipped"},
		{"parent that fails alone", []event{{Action: "run", Test: "A"}, {Action: "pass", Test: "A/x"}, {Action: "fail", Test: "A"},
			{Action: "fail"}}, "1 passed, 1 failed, 0 skipped"},
		{"cut off by a panic", []event{{Action: "run", Test: "A"}, {Action: "output", Test: "A", Output: "panic: oh\n"}, {Action: "fail"}},
			"0 passed, 1 failed, 0 skipped"},
		{"did not build", []event{{Action: "build-output", Output: "x.go:1: bad\n"}, {Action: "build-fail"},
			{Action: "output", Output: "FAIL\tp [build failed]\n"}, {Action: "fail"}}, "0 passed, 1 failed, 0 skipped"},
		{"stream cut off", []event{{Action: "run", Test: "A"}}, "0 passed, 1 failed, 0 skipped"},
		{"similar names", []event{{Action: "pass", Test: "A"}, {Action: "pass", Test: "AB/x"}, {Action: "pass", Test: "AB"}, {Action: "pass"}},
			"2 passed, 0 failed, 0 skipped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, out := feed(t, lines(t, c.events...))
			if got := strings.TrimSpace(lastLine(out)); got != c.want {
				t.Errorf("got %q, want %q in\n%s", got, c.want, out)
			}
		})
	}
}

func TestSummaryShowsWhatFailedAndNoMore(t *testing.T) {
	_, out := feed(t, "not json\n"+lines(t,
		event{Action: "output", Test: "Good", Output: "=== RUN   Good\n"},
		event{Action: "output", Test: "Good", Output: "    chatter\n"},
		event{Action: "pass", Test: "Good"},
		event{Action: "output", Test: "Bad", Output: "=== RUN   Bad\n"},
		event{Action: "output", Test: "Bad", Output: "    x_test.go:1: got 1, want 2\n"},
		event{Action: "output", Test: "Bad", Output: "--- FAIL: Bad (0.00s)\n"},
		event{Action: "fail", Test: "Bad"},
		event{Action: "output", Output: "FAIL\n"},
		event{Action: "output", Output: "FAIL\tp\t0.1s\n"},
		event{Action: "fail"},
		event{Action: "output", Package: "q", Output: "PASS\n"},
		event{Action: "output", Package: "q", Output: "ok  \tq\t0.2s\n"},
		event{Action: "pass", Package: "q"}))
	want := "not json\n    x_test.go:1: got 1, want 2\n--- FAIL: Bad (0.00s)\nFAIL\nFAIL\tp\t0.1s\nok  \tq\t0.2s\n1 passed, 1 failed, 0 skipped\n"
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestSummaryCountsMissedBrokers(t *testing.T) {
	s, _ := feed(t, lines(t,
		event{Action: "output", Test: "A", Output: `    need.go:1: broker=kafka reason="x" fix="y"` + "\n"}, event{Action: "skip", Test: "A"},
		event{Action: "output", Test: "B", Output: "    broker=kafka\n"}, event{Action: "skip", Test: "B"},
		event{Action: "output", Test: "C", Output: "    slow\n"}, event{Action: "skip", Test: "C"},
		event{Action: "pass"}))
	if s.missed["kafka"] != 2 || len(s.missed) != 1 || s.skipped != 3 {
		t.Errorf("got %v of %d skipped, want kafka: 2 of 3", s.missed, s.skipped)
	}
}

// TestSummaryOfRealGoTest feeds what go test really writes for a module made here.
func TestSummaryOfRealGoTest(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module m\n\ngo 1.26\n",
		"a/a_test.go":      "package a\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) { t.Run(\"x\", func(*testing.T) {}) }\n\nfunc TestBad(t *testing.T) { t.Error(\"the reason\") }\n",
		"b/b_test.go":      "package b\n\nimport \"testing\"\n\nfunc TestSkip(t *testing.T) { t.Skip(\"broker=artemis\") }\n",
		"c/c_test.go":      "package c\n\nfunc broken( {\n",
		"d/d_test.go":      "package d\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestExit(*testing.T) { os.Exit(7) }\n",
		"e/without_any.go": "package e\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-json", "./...")
	cmd.Dir = dir
	raw, err := cmd.Output()
	if err == nil {
		t.Fatal("go test succeeded")
	}
	s, out := feed(t, string(raw))
	if got := strings.TrimSpace(lastLine(out)); got != "1 passed, 3 failed, 1 skipped" || s.missed["artemis"] != 1 {
		t.Errorf("got %q, missed %v, in\n%s", got, s.missed, out)
	}
	for _, want := range []string{"the reason", "[no test files]", "ok  \tm/b", "FAIL\tm/a"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestParseTargets(t *testing.T) {
	got := parseTargets(strings.NewReader("FuzzA\nFuzzB\nok  \tm/a\t0.01s\nok  \tm/b\t0.01s\n?   \tm/c\t[no test files]\nFuzzC\nok  \tm/d\t(cached)\n"))
	want := []fuzzTarget{{"m/a", "FuzzA"}, {"m/a", "FuzzB"}, {"m/d", "FuzzC"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
