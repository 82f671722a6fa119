package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// listen makes the socket of a service manager.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// env is an environment.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if v, ok := strings.CutPrefix(p, name+"="); ok {
				return v
			}
		}
		return ""
	}
}

func received(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	for _, name := range []string{path, "@posthouse-test-" + strconv.Itoa(os.Getpid())} {
		conn := listen(t, name)
		n, err := Open(env("NOTIFY_SOCKET=" + name))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			tell func() error
			want string
		}{
			{n.Ready, "READY=1"}, {n.Stopping, "STOPPING=1"}, {n.Alive, "WATCHDOG=1"},
			{func() error { return n.Status("two\nlines") }, "STATUS=two lines"},
		} {
			if err := c.tell(); err != nil {
				t.Fatal(err)
			}
			if got := received(t, conn); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if n.Ready() == nil {
			t.Error("a closed notifier says nothing of it")
		}
	}
}

// TestReloadingHasTheTime: systemd takes a RELOADING only with a time of its own clock that is not before its request.
func TestReloadingHasTheTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := listen(t, path)
	n, err := Open(env("NOTIFY_SOCKET=" + path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	before := monotonic()
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	after := monotonic()
	text, ok := strings.CutPrefix(received(t, conn), "RELOADING=1\nMONOTONIC_USEC=")
	usec, err := strconv.ParseInt(text, 10, 64)
	if at := time.Duration(usec) * time.Microsecond; !ok || err != nil || at < before.Truncate(time.Microsecond) || at > after {
		t.Errorf("%q, want a time from %d to %d us", text, before.Microseconds(), after.Microseconds())
	}
}

func TestWatchdogOfTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	listen(t, path)
	for vars, want := range map[string]time.Duration{
		"": 0, "WATCHDOG_USEC=x": 0, "WATCHDOG_USEC=-1": 0,
		"WATCHDOG_USEC=30000000": 30 * time.Second,
		"WATCHDOG_USEC=30000000 WATCHDOG_PID=" + strconv.Itoa(os.Getpid()):   30 * time.Second,
		"WATCHDOG_USEC=30000000 WATCHDOG_PID=" + strconv.Itoa(os.Getpid()+1): 0,
	} {
		n, err := Open(env(append(strings.Fields(vars), "NOTIFY_SOCKET="+path)...))
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Watchdog(); got != want {
			t.Errorf("%q: %v, want %v", vars, got, want)
		}
		_ = n.Close() // a socket that was written to by nobody
	}
}

func TestNobodyManages(t *testing.T) {
	n, err := Open(env())
	if n != nil || err != nil {
		t.Fatal(n, err)
	}
	for _, tell := range []func() error{n.Ready, n.Reloading, n.Stopping, n.Alive, n.Close} {
		if err := tell(); err != nil {
			t.Error(err)
		}
	}
	if n.Watchdog() != 0 {
		t.Error("a watchdog of nobody")
	}
	if _, err := Open(env("NOTIFY_SOCKET=" + filepath.Join(t.TempDir(), "absent"))); err == nil {
		t.Error("no error for a socket that is not there")
	}
}
