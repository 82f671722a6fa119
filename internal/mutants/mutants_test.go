package mutants

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A mutant is a build tag that plants a bug, the tests that must find it, and what they must call it.
type mutant struct {
	tag, folder, tests string
	finding            string // expression
	args               []string
}

const (
	spoolTests = "Crash|Error|Fault|Tail|Flip"
	spoolLost  = `lost:`
	laneLost   = `: lost [[0-9]`
)

// planted are the seven bugs of the design; torn has two sides.
var planted = []mutant{
	{"mutant_nofsync", "spool", spoolTests, spoolLost, []string{"-seeds", "2000"}},
	{"mutant_nodirsync", "spool", spoolTests, spoolLost, []string{"-seeds", "2000"}},
	{"mutant_unlinkfirst", "spool", spoolTests, spoolLost, []string{"-seeds", "2000"}},
	{"mutant_fsyncretry", "spool", spoolTests, spoolLost, []string{"-seeds", "2000"}},
	{"mutant_torn", "spool", "TestTailTornOrDamaged", `want damage`, nil},
	{"mutant_corrupt", "spool", spoolTests, `taken for damage`, []string{"-seeds", "2000"}},
	{"mutant_ackfirst", "repeater", "TestLedger", laneLost, nil},
	{"mutant_highwater", "repeater", "TestLedger", laneLost, nil},
}

// patience ends a suite that a planted bug makes hang.
const patience = 3 * time.Minute

// TestMutants: every planted bug is found, by its name.
func TestMutants(t *testing.T) {
	for _, m := range planted {
		t.Run(m.tag, func(t *testing.T) {
			t.Parallel()
			m.mustBeFound(t)
		})
	}
}

func (m mutant) mustBeFound(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	folder := filepath.Join("..", "..", m.folder)
	binary := filepath.Join(t.TempDir(), "tests")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-tags", m.tag, "-o", binary, ".")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := exec.CommandContext(ctx, binary, append([]string{"-test.failfast", "-test.run", m.tests}, m.args...)...)
	run.Dir = folder
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("NOT FOUND: %s of %s are green", m.tests, m.folder)
	}
	line := found(out, regexp.MustCompile(m.finding))
	if line == "" {
		t.Fatalf("red, but not by %q: %v\n%s", m.finding, err, head(out))
	}
	t.Logf("found: %s", line)
}

// found returns the first line of a log that the expression matches.
func found(out []byte, finding *regexp.Regexp) string {
	for line := range bytes.Lines(out) {
		if finding.Match(line) {
			return strings.TrimSpace(string(line[:min(len(line), 160)]))
		}
	}
	return ""
}

// head is the beginning of a log.
func head(out []byte) []byte { return out[:min(len(out), 4000)] }

func TestFoundBites(t *testing.T) {
	out := []byte("--- FAIL: TestX\n    x_test.go:1: b: lost [3 4]\nFAIL\n")
	if got := found(out, regexp.MustCompile(laneLost)); got != "x_test.go:1: b: lost [3 4]" {
		t.Errorf("found %q", got)
	}
	if got := found(out, regexp.MustCompile(spoolLost)); got != "" {
		t.Errorf("another finding is taken for it: %q", got)
	}
}
