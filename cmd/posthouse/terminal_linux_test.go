package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A screen is a terminal: what was written to it, so far.
type screen struct {
	tty, keys *os.File
	mu        sync.Mutex
	text      bytes.Buffer
}

// terminalOf opens a pseudo terminal without echo.
func terminalOf(t *testing.T) *screen {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{tty: tty, keys: keys}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(s, keys) }() // ends with an error when the other side is closed
	t.Cleanup(func() { _ = tty.Close(); <-done; _ = keys.Close() })
	return s
}

// Write notes what a program has written.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// shows waits until the terminal has shown a text.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the terminal shows %q", text), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.text.String(), text)
	})
}

// TestPurgeAfterAYes: the question is asked on the terminal and the answer counts.
func TestPurgeAfterAYes(t *testing.T) {
	for answer, left := range map[string]int{"n\n": 2, "\n": 2, "y\n": 0, "YES\n": 0} {
		file, dir := kept(t)
		fill(t, dir, "", 2, "old/berlin")
		s := terminalOf(t)
		code := make(chan int, 1)
		var out bytes.Buffer
		go func() {
			code <- execute([]string{"spool", "purge", "-c", file, "old/berlin", "--reason", "x"}, s.tty, &out, s.tty)
		}()
		s.shows(t, "2 messages of lane old/berlin (")
		s.shows(t, "will be given up for good. Do it? [y/N] ")
		if _, err := io.WriteString(s.keys, answer); err != nil {
			t.Fatal(err)
		}
		want := map[int]int{0: 0, 2: exitConfig}[left]
		if got := <-code; got != want || live(t, file, "old/berlin") != left {
			t.Errorf("%q: exit %d, want %d; %d messages left, want %d: %s", answer, got, want, live(t, file, "old/berlin"), left, out.String())
		}
	}
}

// TestProgressOnATerminal: reading a journal shows how far it is, and takes the line away; elsewhere nothing is shown.
func TestProgressOnATerminal(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 20, "orders/b", "old/berlin")
	s := terminalOf(t)
	var out bytes.Buffer
	if code := execute([]string{"spool", "verify", "-c", file}, strings.NewReader(""), &out, s.tty); code != 0 || !strings.HasSuffix(out.String(), ": ok\n") {
		t.Errorf("exit %d: %s", code, out.String())
	}
	s.shows(t, "\rreading "+dir+": ")
	s.shows(t, "% of ")
	s.shows(t, "\r"+strings.Repeat(" ", 79)+"\r")
	if r := posthouse(t, "spool", "verify", "-c", file); r.errs != "" {
		t.Errorf("progress without a terminal: %q", r.errs)
	}
}

// TestDiscardAfterAYes: the question is asked on the terminal and the answer counts.
func TestDiscardAfterAYes(t *testing.T) {
	p := newBurying(t, 1)
	for _, c := range []struct {
		answer string
		code   int
		left   uint64
	}{{"n\n", exitConfig, 1}, {"y\n", 0, 0}} {
		s := terminalOf(t)
		code := make(chan int, 1)
		var out bytes.Buffer
		go func() {
			code <- execute([]string{"dlq", "discard", "-c", p.file, "orders", "--all", "--why", "x"}, s.tty, &out, s.tty)
		}()
		s.shows(t, "1 dead letter of route orders will be given up for good. Do it? [y/N] ")
		if _, err := io.WriteString(s.keys, c.answer); err != nil {
			t.Fatal(err)
		}
		if got := <-code; got != c.code {
			t.Errorf("%q: exit %d, want %d: %s", c.answer, got, c.code, out.String())
		}
		eventually(t, fmt.Sprintf("after %q %d dead letters are left", c.answer, c.left), func() bool { return p.deadNow() == c.left })
	}
}

// TestRollbackAfterAYes: on a terminal what would change is shown, and done when the answer is yes.
func TestRollbackAfterAYes(t *testing.T) {
	c := newChanging(t)
	start(t, c.file, c.addr)
	eventually(t, "the daemon has its first generation", func() bool { return c.config().Generation == 1 })
	c.write(c.text(8, ""))
	posthouse(t, "reload", "-c", c.file).want(t, 0, "generation 2 runs")
	for answer, want := range map[string]int{"n\n": exitConfig, "y\n": 0} {
		s, code := terminalOf(t), make(chan int, 1)
		go func() {
			code <- execute([]string{"config", "rollback", "1", "-c", c.file}, s.tty, io.Discard, s.tty)
		}()
		s.shows(t, "the daemon will run generation 1 again. Do it? [y/N] ")
		if _, err := io.WriteString(s.keys, answer); err != nil {
			t.Fatal(err)
		}
		if got := <-code; got != want {
			t.Errorf("%q: exit %d, want %d", answer, got, want)
		}
	}
	if v := c.config(); v.Generation != 3 {
		t.Errorf("generation %d runs, want 3: one no, one yes", v.Generation)
	}
}

// TestWatchOnATerminal: the status is redrawn in place.
func TestWatchOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := terminalOf(t)
	root := rootCommand()
	root.SetArgs([]string{"status", "-w", "--interval", "1ms", "--admin", daemon(t, sick)})
	root.SetOut(s.tty)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	s.shows(t, "\x1b[J\x1b[Hrepeater paris, up ")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
