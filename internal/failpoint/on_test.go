//go:build failpoints

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	ps, err := parse("C03:7,sync=EIO:5,write=ENOSPC:9-40")
	if err != nil || len(ps) != 3 || ps["C03"].first != 7 || ps["C03"].last != 7 || ps["C03"].err != nil ||
		ps["sync"].err != syscall.EIO || ps["write"].err != syscall.ENOSPC || ps["write"].last != 40 {
		t.Errorf("%v, %v", ps, err)
	}
	for _, bad := range []string{"C03", "C03:0", "C03:x", "C03:5-3", "sync=EWHAT:1", "sync=:1"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestDue(t *testing.T) {
	ps, _ := parse("a=EIO:2-3")
	var got []bool
	for range 4 {
		got = append(got, ps["a"].due())
	}
	if got[0] || !got[1] || !got[2] || got[3] || ps["b"].due() {
		t.Errorf("due %v", got)
	}
}

// TestDies runs this test binary as the process that dies.
func TestDies(t *testing.T) {
	if file := os.Getenv("FAILPOINT_TEST_FILE"); file != "" {
		victim(file)
		return
	}
	for name, want := range map[string]string{"hit": "ab", "torn": "abcd", "soon": "ab"} {
		file := filepath.Join(t.TempDir(), "f")
		cmd := exec.Command(os.Args[0], "-test.run=^TestDies$")
		cmd.Env = append(os.Environ(), "FAILPOINT_TEST_FILE="+file, envPoints+"="+name+":2", envClock+"=1h")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s: ended with %v\n%s", name, err, out)
		}
		if !strings.Contains(string(out), "failpoint "+name+"\n") {
			t.Errorf("%s: said %q", name, out)
		}
		if b, _ := os.ReadFile(file); !strings.HasPrefix(string(b), want) || name == "torn" && string(b) != want {
			t.Errorf("%s: the file has %q, want %q", name, b, want)
		}
	}
}

func victim(file string) {
	if d := time.Until(Now()); d < 59*time.Minute || d > time.Hour {
		die(errors.New("the clock is right"))
	}
	f, err := os.Create(file)
	if err != nil {
		die(err)
	}
	HitIf(false, "hit")
	Hit("hit")
	Torn(true, "torn", f, []byte("xxxx"), 0)
	Soon("soon")
	_, _ = f.WriteAt([]byte("ab"), 0)
	Hit("hit")
	Torn(true, "torn", f, []byte("cdef"), 2)
	Soon("soon")
	<-time.After(time.Minute)
}
