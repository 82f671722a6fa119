package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/repeater"
)

// A supervised daemon is a process of its own that talks to a service manager's socket.
type supervised struct {
	conn *net.UnixConn
	cmd  *exec.Cmd
}

// supervise starts one with a watchdog of that time.
func supervise(t *testing.T, file string, watchdog time.Duration) *supervised {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &supervised{conn, exec.Command(self, "run", "-c", file)}
	s.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path, "GOTRACEBACK=crash", "WATCHDOG_USEC="+strings.TrimSuffix(watchdog.String(), "s")+"000000")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended, mostly
		_ = s.cmd.Wait()
		_ = conn.Close()
	})
	return s
}

// until reads what the daemon says up to a datagram that begins so, and returns all of it.
func (s *supervised) until(t *testing.T, begin string) []string {
	t.Helper()
	var all []string
	buf := make([]byte, 4096)
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			t.Fatalf("no %s after %q: %v", begin, all, err)
		}
		all = append(all, string(buf[:n]))
		if strings.HasPrefix(all[len(all)-1], begin) {
			return all
		}
	}
}

// TestServiceManager: what a daemon says to systemd from its start to its end, reloads among it, the refused one too.
func TestServiceManager(t *testing.T) {
	file, addr := away(t, "orders")
	s := supervise(t, file, 3*time.Second)
	said := append(s.until(t, "READY=1"), s.until(t, "WATCHDOG=1")...)
	if !slices.ContainsFunc(said, func(d string) bool { return strings.HasPrefix(d, "STATUS=1 route: 1 ") }) {
		t.Errorf("no line of status in %q", said)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"taken": "# changed\n", "refused": "nonsense: 1\n"} {
		if err := os.WriteFile(file, append(text, more...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.until(t, "RELOADING=1\nMONOTONIC_USEC=")
		s.until(t, "READY=1")
		var v view
		if err := ask(t.Context(), addr, "/api/v1/status", &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.until(t, "STOPPING=1")
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestAbortIsASignal: what the watchdog sends must not look like exit 2, the code of a refused file, which keeps systemd
// from starting the daemon again. A Go program ends so unless GOTRACEBACK is crash, as the unit has it.
func TestAbortIsASignal(t *testing.T) {
	file, _ := away(t, "orders")
	s := supervise(t, file, 3*time.Second)
	s.until(t, "READY=1")
	if err := s.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // that it failed is looked at below
	if st := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !st.Signaled() || st.Signal() != syscall.SIGABRT {
		t.Errorf("ended with %v", s.cmd.ProcessState)
	}
}

func TestStuck(t *testing.T) {
	const limit = 10 * time.Second
	for want, s := range map[string]*repeater.SpoolStatus{
		"":                    {State: "ok", Busy: 9},
		"makes no progress":   {State: "ok", Busy: 11},
		"journal has failed:": {State: "failed", Error: "EIO"},
	} {
		err := stuck(s, limit)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
	if err := stuck(nil, limit); err != nil {
		t.Errorf("without a spool: %v", err)
	}
	for _, state := range []string{"opening", "full", "closed"} {
		if err := stuck(&repeater.SpoolStatus{State: state}, limit); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
}

func TestSummary(t *testing.T) {
	s := repeater.Status{Routes: []repeater.RouteStatus{{State: "spooling"}, {State: "pass-through"}, {State: "spooling"}},
		Spool: &repeater.SpoolStatus{State: "ok", Messages: 1}}
	if got := summary(s); got != "3 routes: 1 pass-through, 2 spooling; spool ok, 1 message" {
		t.Error(got)
	}
}
