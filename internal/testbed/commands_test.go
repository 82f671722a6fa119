package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// module makes a Go module of the files and returns its directory.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example\n\ngo 1.25\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// finish runs a prepared testbed to its end and checks its exit code and what it says.
func finish(t *testing.T, cmd *exec.Cmd, out *bytes.Buffer, code int, wants ...string) {
	t.Helper()
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("%q: exit code %d, want %d", cmd.Args[1:], got, code)
	}
	for _, want := range wants {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q: no %q", cmd.Args[1:], want)
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s", out)
	}
}

func TestTestCommandSumsUp(t *testing.T) {
	dir := module(t, map[string]string{
		"good/good_test.go": "package good\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) {}\nfunc TestShy(t *testing.T) { t.Skip(`broker=kafka reason=\"not here\"`) }\n",
		"bad/bad_test.go":   "package bad\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Error(\"as planned\") }\n",
		"ugly/ugly.go":      "package ugly\n\nfunc f() { undefined() }\n",
	})
	for _, c := range []struct {
		args  []string
		code  int
		wants []string
	}{
		{[]string{"test", "-brokers", "none", "--", "./good"}, exitOK, []string{"1 passed, 0 failed, 1 skipped", "BROKER nats (version unknown) embedded", "BROKER ibmmq left out"}},
		{[]string{"test", "-brokers", "none", "./good", "./bad"}, exitFailed, []string{"1 passed, 1 failed, 1 skipped", "as planned"}},
		{[]string{"test", "-brokers", "none", "./ugly"}, exitFailed, []string{"undefined: undefined"}},
		{[]string{"test", "-brokers", "ibmmq", "./good"}, exitUsage, []string{"unknown broker \"ibmmq\""}},
	} {
		cmd, out := testbed(t, c.args...)
		cmd.Dir = dir
		finish(t, cmd, out, c.code, c.wants...)
	}
}

func TestFuzzRunsEveryTarget(t *testing.T) {
	const head = "package p\n\nimport \"testing\"\n\n"
	dir := module(t, map[string]string{
		"a/a_test.go": head + "func FuzzCalm(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }\n",
		"b/b_test.go": head + "func FuzzWild(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { t.Fatal(\"found it\") }) }\n",
	})
	for _, c := range []struct {
		args  []string
		code  int
		wants []string
	}{
		{[]string{"fuzz", "-time", "1x"}, exitUsage, []string{"-time"}},
		{[]string{"fuzz", "-time", "1ms"}, exitOK, []string{"fuzz example/a FuzzCalm for 1ms", "fuzz example/b FuzzWild for 1ms", "fuzzed 2 targets, 0 failed"}},
		{[]string{"fuzz", "-time", "1m", "./b"}, exitFailed, []string{"fuzz example/b FuzzWild: exit status 1", "found it", "fuzzed 1 targets, 1 failed"}},
		{[]string{"fuzz", "-time", "1ms", "./a"}, exitOK, []string{"fuzzed 1 targets, 0 failed"}},
		{[]string{"fuzz", "./nowhere"}, exitFailed, []string{"list the fuzz targets"}},
	} {
		cmd, out := testbed(t, c.args...)
		cmd.Dir = dir
		finish(t, cmd, out, c.code, c.wants...)
	}
}

// TestUpWithoutTools: what nobody asked for by name is only welcome.
func TestUpWithoutTools(t *testing.T) {
	for _, c := range []struct {
		args    []string
		require string
		code    int
		wants   []string
	}{
		{[]string{"up"}, "", exitOK, []string{"SKIP broker=kafka reason=\"mvn is not in PATH", "SKIP broker=rabbitmq4 reason=\"debootstrap is not in PATH", "export POSTHOUSE_TEST_USER="}},
		{[]string{"up", "kafka"}, "", exitFailed, []string{"kafka could not be started"}},
		{[]string{"up", "kafka", "artemis"}, "", exitFailed, []string{"kafka could not be started", "artemis could not be started"}},
		{[]string{"up"}, "artemis2", exitFailed, []string{"artemis2 could not be started"}},
		{[]string{"up"}, "ibmmq", exitUsage, []string{"read POSTHOUSE_REQUIRE"}},
		{[]string{"fetch", "kafka", "rabbitmq3"}, "", exitFailed, []string{"kafka: mvn is not in PATH", "rabbitmq3: debootstrap is not in PATH"}},
		{[]string{"fetch", "ibmmq"}, "", exitUsage, []string{"unknown broker"}},
	} {
		cmd, out := testbed(t, c.args...)
		cmd.Env = append(cmd.Env, "PATH="+t.TempDir(), broker.EnvRequire+"="+c.require, "TMPDIR="+t.TempDir())
		for _, name := range broker.All() {
			cmd.Env = append(cmd.Env, broker.Variable(name)+"=")
		}
		finish(t, cmd, out, c.code, c.wants...)
	}
}

// TestMavenIsAskedTwice: a first failure that Maven would remember is not the end.
func TestMavenIsAskedTwice(t *testing.T) {
	tools := t.TempDir()
	asked := filepath.Join(tools, "asked")
	script := "#!/bin/sh\nif [ -e " + asked + " ]; then exit 0; fi\n: >" + asked + "\necho no network >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(tools, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, out := testbed(t, "fetch", "kafka")
	cmd.Env = append(cmd.Env, "PATH="+tools)
	finish(t, cmd, out, exitOK, "Maven failed, trying once more", "kafka is in the cache")
}

// TestSignalWhileBrokersStart: an attempt that hangs ends with what it started.
func TestSignalWhileBrokersStart(t *testing.T) {
	tools := t.TempDir()
	begun, never := filepath.Join(tools, "begun"), filepath.Join(tools, "never")
	if err := syscall.Mkfifo(never, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tools, "mvn"), []byte("#!/bin/sh\necho $$ >"+begun+"\nread x <"+never+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, out := testbed(t, "run", "-brokers", "kafka", "--", "echo", "not reached")
	cmd.Env = append(cmd.Env, "PATH="+tools, broker.EnvKafka+"=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { pid, err := os.ReadFile(begun); return err == nil && len(pid) > 0 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 128+int(syscall.SIGTERM) || !strings.Contains(out.String(), "stopped by terminated") || strings.Contains(out.String(), "not reached") {
		t.Errorf("exit code %d\n%s", got, out)
	}
}

func TestSecondSignalKills(t *testing.T) {
	dir := t.TempDir()
	ready, never := filepath.Join(dir, "ready"), filepath.Join(dir, "never")
	if err := syscall.Mkfifo(never, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, _ := testbed(t, "run", "-brokers", "none", "--", "/bin/sh", "-c", "trap '' TERM; echo >"+ready+"; read x <"+never)
	passed := make(lineSignal, 1)
	cmd.Stderr = passed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(ready); return err == nil })
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return len(passed) > 0 }) // signals of one number that meet are one
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d, want that of SIGKILL", got)
	}
}

// lineSignal tells that something was written.
type lineSignal chan struct{}

func (s lineSignal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestStatus(t *testing.T) {
	t.Setenv(broker.EnvCache, t.TempDir())
	say := func() (string, int, error) {
		var out bytes.Buffer
		code, err := status(t.Context(), nil, &out, io.Discard)
		return out.String(), code, err
	}
	if text, code, err := say(); !strings.Contains(text, "no broker is up") || code != exitOK || err != nil {
		t.Errorf("nothing up: %q, %d, %v", text, code, err)
	}
	alive := running{Identity: me(t), Version: "4.1.2", Log: "kafka.log"}
	record(t, map[string]running{"kafka": alive})
	if text, code, err := say(); !strings.Contains(text, "kafka      4.1.2") || !strings.Contains(text, "up     kafka.log") || code != exitOK || err != nil {
		t.Errorf("one up: %q, %d, %v", text, code, err)
	}
	dead := alive
	dead.Start++
	record(t, map[string]running{"kafka": alive, "artemis": dead})
	if text, code, err := say(); !strings.Contains(text, "dead") || code != exitFailed || err == nil {
		t.Errorf("one dead: %q, %d, %v", text, code, err)
	}
}

// record writes a state as up does.
func record(t *testing.T, brokers map[string]running) {
	t.Helper()
	s, err := openState(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer s.unlock()
	s.Brokers = brokers
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
}

// TestDownEndsWhatRuns ends a process in order, so that it may choose its exit code.
func TestDownEndsWhatRuns(t *testing.T) {
	t.Setenv(broker.EnvCache, t.TempDir())
	cmd := exec.Command("/bin/sh", "-c", "trap 'exit 3' TERM; echo ready; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	record(t, map[string]running{"artemis": {Identity: broker.Identify(cmd.Process.Pid)}})
	var log bytes.Buffer
	if code, err := down(t.Context(), []string{"artemis"}, io.Discard, &log); code != exitOK || err != nil || !strings.Contains(log.String(), "ended 1 brokers") {
		t.Errorf("%d, %v, %s", code, err, &log)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 3 {
		t.Errorf("exit code %d, want the one of an end in order", got)
	}
}

// TestStateInTheWay: each place that cannot be used is named.
func TestStateInTheWay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(broker.EnvCache, filepath.Join(file, "cache"))
	for name, command := range map[string]func(context.Context, []string, io.Writer, io.Writer) (int, error){"up": up, "down": down, "status": status} {
		if code, err := command(t.Context(), nil, io.Discard, io.Discard); code != exitFailed || err == nil || !strings.Contains(err.Error(), broker.EnvCache) {
			t.Errorf("%s: %d, %v: does not name %s", name, code, err, broker.EnvCache)
		}
	}
	s := stateFile{path: filepath.Join(dir, "missing", "up.json")}
	if err := s.save(); err == nil || !strings.Contains(err.Error(), s.path) {
		t.Errorf("save: %v", err)
	}
}

func TestMissing(t *testing.T) {
	all := []outcome{{name: "kafka", given: true}, {name: "artemis", err: errors.New("no java\nand more")}}
	for _, c := range []struct {
		must []string
		want string
	}{
		{nil, ""},
		{[]string{"kafka"}, ""},
		{[]string{"kafka", "artemis"}, "artemis is required by POSTHOUSE_REQUIRE but missing: no java"},
		{[]string{"rabbitmq4"}, "rabbitmq4 is required by POSTHOUSE_REQUIRE but was not asked for"},
	} {
		err := missing(all, c.must)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%v: %v, want %q", c.must, err, c.want)
		}
	}
	var out strings.Builder
	report(&out, all, map[string]int{"artemis": 4})
	if !strings.Contains(out.String(), `SKIP broker=artemis checks=4 reason="no java" fix=`) || !strings.Contains(out.String(), "BROKER kafka given by") {
		t.Errorf("report:\n%s", &out)
	}
}

// TestCutOutput: a go test that dies in the middle leaves a package without a result, and maybe half a line.
func TestCutOutput(t *testing.T) {
	s, out := feed(t, lines(t, event{Action: "start", Package: "q"}, event{Action: "run", Package: "q", Test: "A"})+"half a li")
	if !strings.Contains(out, "half a li") || !strings.Contains(out, "FAIL\tq [no result]") || s.failed == 0 && !strings.Contains(out, "0 passed, 0 failed") {
		t.Errorf("got\n%s", out)
	}
}
