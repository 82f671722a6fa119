package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lieEnv makes the oracle claim that one message more was taken by every source than was sent: a red run without a bug.
const lieEnv = "POSTHOUSE_FAULTS_LIE"

func (s *storm) lie(h *history) {
	if os.Getenv(lieEnv) != "" {
		h.sends = append(h.sends, taken)
	}
}

// leave keeps all that is known of a round that has failed in a directory, and says where it is; of a green one nothing
// stays.
func (s *storm) leave() {
	s.log.end()
	if !s.t.Failed() {
		return
	}
	dir, err := os.MkdirTemp("", "posthouse-red-")
	if err == nil {
		err = s.leaveIn(dir)
	}
	s.t.Logf("what is left of this round: %s (%v)", dir, err)
}

// leaveIn writes what testing.md, section 11, asks for.
func (s *storm) leaveIn(dir string) error {
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil { // topology, spool, log of the daemons
		return err
	}
	path, err := stormProgram()
	if err != nil {
		return err
	}
	version, err := exec.Command(path, "version").CombinedOutput()
	if err != nil {
		version = fmt.Appendf(version, "%v\n", err)
	}
	var report strings.Builder
	fmt.Fprintf(&report, "%s\nfindings\n", s.table(s.t))
	for _, f := range s.red {
		fmt.Fprintf(&report, "  %s\n", f)
	}
	fmt.Fprintf(&report, "\nwhat happened in round %d\n%s\n", s.n, strings.Join(s.story, "\n"))
	for name, text := range map[string]string{
		"seed": fmt.Sprintln(s.seed), "version": string(version), "report": report.String(), "again": s.command(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return s.leaveOracle(filepath.Join(dir, "oracle.jsonl"))
}

// command repeats the schedule.
func (s *storm) command() string {
	cmd := fmt.Sprintf("go test ./internal/faults -count=1 -v -timeout 0 -run '^%s$' -args -seed %d", s.top.Name(), s.seed)
	if *duration > 0 {
		cmd += " -duration " + duration.String()
	}
	if *only != "" {
		cmd += fmt.Sprintf(" -only '%s'", *only)
	}
	return cmd + "\n"
}

// A line of the oracle's log: a message of a lane, what its source said of it, and how it arrived.
type oracleLine struct {
	Lane     string         `json:"lane"`
	Number   int            `json:"number"`
	Sent     string         `json:"sent"`
	Arrivals []oracleArrive `json:"arrivals,omitempty"`
}

type oracleArrive struct {
	Place   int    `json:"place"` // among all that arrived
	ID      string `json:"posthouse_id"`
	Flagged bool   `json:"flagged,omitempty"`
	Wrong   string `json:"wrong,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Tries   int    `json:"dead_attempts,omitempty"`
}

// leaveOracle writes what each lane was sent and what came. A round that ended early has only what was sent.
func (s *storm) leaveOracle(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	hs := s.judged
	if len(hs) == 0 {
		for _, l := range s.lanes {
			h := l.h
			if l.load != nil {
				h.sends = l.load.outcomes()
			}
			hs = append(hs, &h)
		}
	}
	w := json.NewEncoder(f)
	for _, h := range hs {
		for _, line := range h.lines() {
			if err := w.Encode(line); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}

func (h *history) lines() (ls []oracleLine) {
	for n, o := range h.sends {
		ls = append(ls, oracleLine{Lane: h.lane, Number: n, Sent: [...]string{"unknown", "taken", "failed"}[o]})
	}
	for i, a := range h.arrivals {
		as := oracleArrive{i, a.id, a.flagged, a.wrong, a.detail, a.tries}
		if a.number >= 0 && a.number < len(h.sends) {
			ls[a.number].Arrivals = append(ls[a.number].Arrivals, as)
			continue
		}
		ls = append(ls, oracleLine{h.lane, a.number, "never", []oracleArrive{as}})
	}
	return ls
}

// TestRedRunLeavesEverything runs a storm whose oracle lies, and looks at what it leaves; then one whose oracle does not,
// which leaves nothing.
func TestRedRunLeavesEverything(t *testing.T) {
	if os.Getenv(lieEnv) != "" {
		t.Skip("this is the run that lies")
	}
	t.Parallel()
	red, out := smallStorm(t, lieEnv+"=1")
	dirs, _ := filepath.Glob(filepath.Join(red, "posthouse-red-*"))
	if len(dirs) != 1 || !strings.Contains(out, dirs[0]) {
		t.Fatalf("it has left %q\n%s", dirs, out)
	}
	for name, want := range map[string]string{
		"seed": "4711\n", "version": "posthouse", "topology.yaml": "level: debug", "report": "lost: ", "daemon.log": "failpoint C0",
		"again": "-run '^TestStorm$' -args -seed 4711", "oracle.jsonl": `"sent":"taken","arrivals":[{"place":`,
	} {
		if b, err := os.ReadFile(filepath.Join(dirs[0], name)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, no %q in %.500s", name, err, want, b)
		}
	}
	if segments, _ := filepath.Glob(filepath.Join(dirs[0], "spool", "*", "*.seg")); len(segments) == 0 {
		t.Error("no copy of the spool")
	}
	green, out := smallStorm(t)
	if dirs, _ := filepath.Glob(filepath.Join(green, "posthouse-red-*")); len(dirs) > 0 || !strings.Contains(out, "storm: green") {
		t.Errorf("a green run has left %q\n%s", dirs, out)
	}
}

// smallStorm runs a storm of few faults in a process of its own, and returns its directory for temporary files.
func smallStorm(t *testing.T, env ...string) (tmp, out string) {
	t.Helper()
	tmp = t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStorm$", "-test.v", "-seed", "4711", "-only", "^C03 ")
	cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp), env...)
	b, err := cmd.CombinedOutput()
	if (err == nil) != (len(env) == 0) {
		t.Fatalf("the storm ended with %v\n%s", err, b)
	}
	return tmp, string(b)
}
