package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A daemon is a running `posthouse run`, a child of this process that dies with it.
type daemon struct {
	t     *testing.T
	child *broker.Child
	admin string // HOST:PORT
	log   *daemonLog
}

// startDaemon starts the real binary and waits until it serves its status.
func startDaemon(t *testing.T, file string, log *daemonLog) *daemon {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d, admin := launch(t, path, log, nil, "-c", file, "--grace", "20s")
	t.Cleanup(d.kill)
	select {
	case d.admin = <-admin:
	case <-d.child.Done():
		t.Fatalf("posthouse run ended by itself, exit code %d\n%s", d.child.ExitCode(), log)
	case <-time.After(patience):
		t.Fatalf("posthouse run did not start\n%s", log)
	}
	return d
}

// launch starts the program and does not wait; the channel gets its admin address. Who launches it kills it.
func launch(t *testing.T, path string, log *daemonLog, env []string, args ...string) (*daemon, <-chan string) {
	t.Helper()
	cmd := exec.Command(path, append([]string{"run"}, args...)...)
	cmd.Env = append(append(os.Environ(), "PW="+broker.Password), env...)
	d := &daemon{t: t, log: log}
	admin := log.begin()
	cmd.Stderr = log
	var err error
	if d.child, err = broker.StartChild(cmd); err != nil {
		t.Fatal(err)
	}
	return d, admin
}

// kill ends the daemon by SIGKILL and waits until it is gone.
func (d *daemon) kill() {
	d.child.SignalGroup(syscall.SIGKILL)
	<-d.child.Done()
}

// stop ends it in order.
func (d *daemon) stop() {
	d.t.Helper()
	d.child.SignalGroup(syscall.SIGTERM)
	select {
	case <-d.child.Done():
	case <-time.After(patience):
		d.t.Errorf("posthouse run did not end on SIGTERM")
		d.kill()
	}
	if code := d.child.ExitCode(); code != 0 {
		d.t.Errorf("posthouse run ended with exit code %d", code)
	}
}

// gone reports whether the process has ended.
func (d *daemon) gone() bool {
	select {
	case <-d.child.Done():
		return true
	default:
		return false
	}
}

// get reads a page of the daemon's admin interface.
func (d *daemon) get(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return b, err
}

// A daemonLog keeps what a daemon and its successors write. It is an io.Writer for one process at a time.
type daemonLog struct {
	mu    sync.Mutex
	rest  []byte // of an unfinished line
	lines []string
	admin chan string    // gets the address of the admin interface
	hits  map[string]int // lines of failpoints, by name, and of damaged records, by route
	file  *os.File       // gets it all, if there is one
}

// restart begins a file for all that is written from now on.
func (l *daemonLog) restart(t *testing.T, path string) {
	t.Helper()
	l.end()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = f
}

// end ends that file.
func (l *daemonLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // what is missing in it is missed by a reader
		l.file = nil
	}
}

// msgDamaged is what a daemon logs of each record that it cannot read.
const msgDamaged = "a record of the spool is damaged: its message is lost"

// keptLines is enough for every run that ends well; of a longer log the end is kept.
const keptLines = 1000

// begin prepares for a new process; the channel gets its admin address once.
func (l *daemonLog) begin() <-chan string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest, l.admin = nil, make(chan string, 1)
	l.lines = append(l.lines, "--- posthouse run")
	return l.admin
}

func (l *daemonLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_, _ = l.file.Write(p) // the daemon must not suffer from it
	}
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.rest = rest
		l.line(string(line))
	}
}

func (l *daemonLog) line(s string) {
	if l.lines = append(l.lines, s); len(l.lines) > keptLines {
		l.lines = l.lines[1:]
	}
	if l.hits == nil {
		l.hits = map[string]int{}
	}
	if name, ok := strings.CutPrefix(s, "failpoint "); ok {
		l.hits[name]++
		return
	}
	var running struct{ Admin, Msg, Route string }
	if json.Unmarshal([]byte(s), &running) != nil {
		return
	}
	if running.Msg == msgDamaged {
		l.hits[msgDamaged+running.Route]++
	}
	if running.Admin != "" {
		select {
		case l.admin <- running.Admin:
		default:
		}
	}
}

// hit is how often daemons have said that they came to a failpoint.
func (l *daemonLog) hit(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hits[name]
}

func (l *daemonLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// until polls a state of another process, which sends no event, until it is there or ctx ends.
func until(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}
