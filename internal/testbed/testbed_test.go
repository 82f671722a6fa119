package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// selfVariable makes this test binary be the testbed.
const selfVariable = "TESTBED_TEST_SELF"

func TestMain(m *testing.M) {
	if os.Getenv(selfVariable) != "" {
		os.Exit(realMain(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// testbed prepares a run of the testbed without brokers and with a cache of its own.
func testbed(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), selfVariable+"=1", broker.EnvCache+"="+t.TempDir(), broker.EnvRequire+"=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

func TestRunPassesExitCodeAndEnvironment(t *testing.T) {
	for script, want := range map[string]int{
		"exit 0":        0,
		"exit 7":        7,
		"kill -KILL $$": 128 + 9,
		`test -f "$POSTHOUSE_TEST_TLS_DIR/ca.pem" && test "$POSTHOUSE_TEST_USER" = posthouse`: 0,
	} {
		cmd, out := testbed(t, "run", "-brokers", "none", "--", "/bin/sh", "-c", script)
		cmd.Env = append(cmd.Env, broker.EnvTLSDir+"=", broker.EnvUser+"=")
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: got exit code %d, want %d\n%s", script, got, want, out)
		}
	}
}

func TestRequiredBrokerIsAFailure(t *testing.T) {
	cmd, out := testbed(t, "run", "-brokers", "none", "--", "echo", "not reached")
	cmd.Env = append(cmd.Env, broker.EnvRequire+"=kafka")
	if err := cmd.Run(); err == nil || strings.Contains(out.String(), "not reached") {
		t.Errorf("got %v, want a failure before the command\n%s", err, out)
	}
	if !strings.Contains(out.String(), "kafka is required") {
		t.Errorf("the output does not say why:\n%s", out)
	}
}

func TestMissingBrokerIsOneLine(t *testing.T) {
	cmd, out := testbed(t, "run", "-brokers", "kafka", "--", "/bin/sh", "-c", `echo "reason: $POSTHOUSE_TEST_SKIP_KAFKA"`)
	cmd.Env = append(cmd.Env, "PATH="+t.TempDir(), broker.EnvKafka+"=")
	if os.Geteuid() == 0 {
		// root would try apt-get, which is not in this PATH either
		cmd.Env = append(cmd.Env, "DEBIAN_FRONTEND=noninteractive")
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"reason: mvn is not in PATH", "SKIP broker=kafka reason=\"mvn is not in PATH", "POSTHOUSE_TEST_KAFKA=host:port"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestGivenBrokerIsUsedAsItIs(t *testing.T) {
	cmd, out := testbed(t, "run", "-brokers", "kafka", "--", "/bin/sh", "-c", `test "$POSTHOUSE_TEST_KAFKA" = 127.0.0.1:1`)
	cmd.Env = append(cmd.Env, broker.EnvKafka+"=127.0.0.1:1", broker.EnvRequire+"=kafka")
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "BROKER kafka given by POSTHOUSE_TEST_KAFKA") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSignalReachesTheCommandFirst(t *testing.T) {
	dir := t.TempDir()
	ready, told := filepath.Join(dir, "ready"), filepath.Join(dir, "told")
	script := fmt.Sprintf(`trap 'echo told >%s; exit 5' TERM; mkfifo %s; echo >%s; read x <%s`, told, dir+"/never", ready, dir+"/never")
	cmd, out := testbed(t, "run", "-brokers", "none", "--", "/bin/sh", "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(ready); return err == nil })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Stat(told); err != nil || cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("exit code %d, want 5; told: %v\n%s", cmd.ProcessState.ExitCode(), err, out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"fly"}, {"run"}, {"up", "ibmmq"}, {"down", "x"}, {"run", "-brokers", "ibmmq", "--", "true"}, {"run", "-zzz"}} {
		cmd, out := testbed(t, args...)
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != exitUsage || out.Len() == 0 {
			t.Errorf("%q: got exit code %d and %q, want %d and a reason", args, got, out, exitUsage)
		}
	}
}

func TestStateRoundTrip(t *testing.T) {
	t.Setenv(broker.EnvCache, t.TempDir())
	s, err := openState(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.Dir) })
	mine := running{Identity: me(t), Version: "1", Env: map[string]string{"A": "b"}}
	recycled := mine
	recycled.Start++ // another process has our number
	s.Brokers["kafka"], s.Brokers["artemis"] = mine, recycled
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	s.unlock()

	again, err := openState(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer again.unlock()
	var table bytes.Buffer
	if again.table(&table, "") {
		t.Errorf("a dead broker does not show:\n%s", &table)
	}
	again.dropDead()
	if len(again.Brokers) != 1 || again.Brokers["kafka"].Env["A"] != "b" || again.Dir != s.Dir {
		t.Errorf("got %+v, want what was saved without the dead one", again.state)
	}
	var exports bytes.Buffer
	again.print(&exports)
	if !strings.Contains(exports.String(), "export A=b\n") {
		t.Errorf("no export in\n%s", &exports)
	}
}

func TestDownLeavesRecycledProcessAlone(t *testing.T) {
	t.Setenv(broker.EnvCache, t.TempDir())
	s, err := openState(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	id := me(t)
	id.Start++ // so this test process is not the one that was started
	s.Brokers["kafka"], s.Brokers["artemis"] = running{Identity: id}, running{Identity: id}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	s.unlock()
	if code, err := down(t.Context(), []string{"artemis"}, io.Discard, io.Discard); code != exitOK || err != nil {
		t.Fatalf("got %d, %v", code, err)
	}
	if _, err := os.Stat(s.Dir); err != nil {
		t.Fatalf("the data went while a broker was left: %v", err)
	}
	if code, err := down(t.Context(), nil, io.Discard, io.Discard); code != exitOK || err != nil {
		t.Fatalf("got %d, %v", code, err) // had it signalled us, we would not be here
	}
	for _, gone := range []string{s.Dir, s.path} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left (%v)", gone, err)
		}
	}
}

func TestBrokenStateIsExplained(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(broker.EnvCache, dir)
	if err := os.WriteFile(filepath.Join(dir, "up.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "up.json") {
		t.Errorf("got %v, want the file's name", err)
	}
}

func TestRequired(t *testing.T) {
	for value, want := range map[string]string{"": "[]", "all": fmt.Sprint(broker.All()), "kafka": "[kafka]", "kafka,artemis kafka": "[artemis kafka]"} {
		got, err := required(value)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: got %v, %v, want %s", value, got, err, want)
		}
	}
	if _, err := required("ibmmq"); err == nil {
		t.Error("took an unknown name")
	}
}

// me is the Identity of this process, as seen from a child.
func me(t *testing.T) broker.Identity {
	t.Helper()
	id := broker.Identify(os.Getpid())
	if !id.Alive() {
		t.Fatal("I am not alive")
	}
	return id
}

// waitFor waits until check holds.
func waitFor(t *testing.T, check func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-ctx.Done():
			t.Fatal("not in time")
		case <-tick.C:
		}
	}
}
