package broker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperVariable makes this test binary play the part of a program that starts a child.
const helperVariable = "BROKER_TEST_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperVariable); mode != "" {
		helper(mode)
		return
	}
	os.Exit(m.Run())
}

// helper starts a child, prints its number, and waits to be killed. The isolated child has a child
// of its own in the background.
func helper(mode string) {
	l := launch{path: "/bin/sh", args: []string{"-c", "sleep 600 & wait"}, log: os.DevNull, isolated: mode == "isolated"}
	if mode == "plain" {
		l.path, l.args = "sleep", []string{"600"}
	}
	p, err := l.start()
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println(p.id.Pid)
	<-p.Done()
}

// sleeper is a child of the test that ends by itself only after ten minutes.
func sleeper(t *testing.T) *Child {
	t.Helper()
	p, err := launch{path: "sleep", args: []string{"600"}, log: os.DevNull}.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func TestChildDiesWithItsParent(t *testing.T) {
	for _, mode := range []string{"plain", "isolated"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "isolated" && os.Geteuid() != 0 {
				t.Skip("namespaces need root")
			}
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), helperVariable+"="+mode)
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatalf("helper said %q", line)
			}
			family := []Identity{Identify(pid)}
			if mode == "isolated" {
				eventually(t, func() string {
					if kids := children(pid); len(kids) == 1 {
						family = append(family, Identify(kids[0]))
						return ""
					}
					return "no grandchild yet"
				})
			}
			for _, id := range family {
				if !id.Alive() {
					t.Fatalf("process %d does not run", id.Pid)
				}
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait() // it was killed
			eventually(t, func() string {
				for _, id := range family {
					if id.Alive() {
						return fmt.Sprintf("process %d still runs", id.Pid)
					}
				}
				return ""
			})
		})
	}
}

// children lists the children of a process.
func children(pid int) []int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var all []int
	for _, f := range strings.Fields(string(raw)) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

func TestIdentityDoesNotTouchAnotherProcess(t *testing.T) {
	p := sleeper(t)
	if !p.id.Alive() {
		t.Fatal("does not run")
	}
	recycled := Identity{p.id.Pid, p.id.Start + 1} // same number, another start
	if recycled.Alive() {
		t.Error("takes another process for its own")
	}
	for _, id := range []Identity{recycled, {}, {Pid: p.id.Pid}, {Pid: 1 << 22, Start: 1}, {Pid: -1, Start: 1}} {
		if err := id.End(deadline(t), time.Second); err != nil {
			t.Errorf("%v: %v", id, err)
		}
	}
	if !p.id.Alive() {
		t.Fatal("another process was ended")
	}
	if err := p.id.End(deadline(t), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.id.Alive() || p.alive() {
		t.Error("still alive")
	}
	if code := p.ExitCode(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("got exit code %d, want that of SIGTERM", code)
	}
}

func TestEndKillsWhatDoesNotListen(t *testing.T) {
	dir := t.TempDir()
	p, err := launch{path: "/bin/sh", args: []string{"-c", "trap '' TERM; echo set; while :; do sleep 600; done"}, log: filepath.Join(dir, "log")}.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.SignalGroup(syscall.SIGKILL); p.kill() })
	eventually(t, func() string {
		if raw, _ := os.ReadFile(filepath.Join(dir, "log")); len(raw) == 0 {
			return "the trap is not set yet"
		}
		return ""
	})
	if err := p.id.End(deadline(t), 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("got exit code %d, want that of SIGKILL", code)
	}
	p.SignalGroup(syscall.SIGKILL) // harmless when it is gone
	if err := p.id.End(deadline(t), time.Second); err != nil {
		t.Errorf("ending it again: %v", err)
	}
}

func TestStopEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	p, err := launch{path: "/bin/sh", args: []string{"-c", "trap '' TERM; echo set; read x </dev/zero"}, log: filepath.Join(dir, "log")}.start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.stop(ctx, time.Hour)
	if p.alive() {
		t.Error("alive after stop")
	}
}

func TestStartErrors(t *testing.T) {
	if _, err := (launch{path: "no-such-program", log: os.DevNull}).start(); err == nil {
		t.Error("started a program that is not there")
	}
	if _, err := (launch{path: "sleep", log: filepath.Join(t.TempDir(), "no", "dir")}).start(); err == nil {
		t.Error("started without a log")
	}
}

func TestAwaitReportsEarlyEnd(t *testing.T) {
	p, err := launch{path: "/bin/sh", args: []string{"-c", "exit 3"}, log: os.DevNull}.start()
	if err != nil {
		t.Fatal(err)
	}
	never := func(context.Context) error { return fmt.Errorf("not yet") }
	err = await(deadline(t), p, never)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want the exit status", err)
	}
}
