package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// datagrams are all that was sent to conn so far.
func datagrams(t *testing.T, conn *net.UnixConn) []string {
	t.Helper()
	const end = "END"
	mark, err := net.DialUnix("unixgram", nil, conn.LocalAddr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mark.Close() }()
	if _, err := mark.Write([]byte(end)); err != nil {
		t.Fatal(err)
	}
	var all []string
	for {
		d := received(t, conn)
		if d == end {
			return all
		}
		all = append(all, d)
	}
}

// TestAttend: the watchdog of 30 s is fed every 10 s, not while the daemon is stuck, and the line of status comes when it changes.
func TestAttend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := listen(t, path)
	synctest.Test(t, func(t *testing.T) {
		n, err := Open(env("NOTIFY_SOCKET="+path, "WATCHDOG_USEC=30000000"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		type said struct {
			text  string
			stuck error
		}
		var says atomic.Pointer[said]
		says.Store(&said{"first", nil})
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		done := make(chan struct{})
		go func() {
			n.Attend(ctx, func() (string, error) { s := says.Load(); return s.text, s.stuck }, slog.New(slog.NewTextHandler(&log, nil)))
			close(done)
		}()
		pass := func(d time.Duration, want ...string) {
			t.Helper()
			timer := time.NewTimer(d)
			<-timer.C
			synctest.Wait()
			if got := datagrams(t, conn); !slices.Equal(got, want) {
				t.Errorf("after %v: %q, want %q", d, got, want)
			}
		}
		pass(5*time.Second, "STATUS=first", "WATCHDOG=1")
		pass(20*time.Second, "WATCHDOG=1", "WATCHDOG=1")
		says.Store(&said{"second", errors.New("the disk hangs")})
		pass(10*time.Second, "STATUS=second")
		pass(40 * time.Second)
		says.Store(&said{"second", nil})
		pass(10*time.Second, "WATCHDOG=1")
		cancel()
		<-done
		if got := datagrams(t, conn); len(got) != 0 {
			t.Errorf("after the end: %q", got)
		}
		for _, want := range []string{"the disk hangs", "going on"} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("not one line with %q in\n%s", want, &log)
			}
		}
	})
}

// TestAttendWithoutWatchdog: only the line of status, and that only when it changes.
func TestAttendWithoutWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := listen(t, path)
	synctest.Test(t, func(t *testing.T) {
		n, err := Open(env("NOTIFY_SOCKET=" + path))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		looks := 0
		n.Attend(ctx, func() (string, error) { looks++; return fmt.Sprint(looks / 2), nil }, slog.New(slog.DiscardHandler))
		if got := datagrams(t, conn); !slices.Equal(got, []string{"STATUS=0", "STATUS=1", "STATUS=2"}) {
			t.Errorf("%q", got)
		}
	})
	(*Notifier)(nil).Attend(t.Context(), nil, nil) // comes back at once
}
