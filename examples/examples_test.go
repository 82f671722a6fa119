// Package examples runs every topology of this folder end to end: the real binary, real brokers, real messages in and
// out through the brokers' own clients.
package examples

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the posthouse under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "posthouse-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "posthouse")
	if out, err := exec.Command("go", "build", "-o", binary, "-tags", strings.Join(mqTags, ","), "../cmd/posthouse").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build posthouse: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds every wait. It decides nothing but when a broken test gives up.
const patience = 60 * time.Second

// testContext ends with the test, or when patience does.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// unique is a suffix for names at shared brokers.
func unique() string { return fmt.Sprintf("-%x", time.Now().UnixNano()) }

// topology writes an example with other words in it, and returns the new file. Each word must be there.
func topology(t *testing.T, name string, words ...string) string {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(text, words[i]) {
			t.Fatalf("%s no longer holds %q", name, words[i])
		}
		text = strings.ReplaceAll(text, words[i], words[i+1])
	}
	dir := t.TempDir()
	text = strings.ReplaceAll(text, "dir: /var/lib/posthouse/spool", "segment_size: 4MiB, dir: "+filepath.Join(dir, "spool"))
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text+"\nadmin: { listen: 127.0.0.1:0 }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A daemon is a running `posthouse run`.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	admin string
	log   *tail
	eof   chan struct{} // closed when the log has ended: the process is gone
}

// run starts the daemon and waits until all its routes are up.
func run(t *testing.T, file string, env ...string) *daemon {
	t.Helper()
	d := start(t, []string{"-c", file}, env...)
	d.awaitUp()
	return d
}

// start starts the daemon and waits until it serves its status.
func start(t *testing.T, args []string, env ...string) *daemon {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"run"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, cmd: cmd, log: &tail{}, eof: make(chan struct{})}
	admin := make(chan string, 1)
	go d.readLog(stderr, admin)
	t.Cleanup(d.kill)
	select {
	case d.admin = <-admin:
	case <-d.eof:
		t.Fatalf("posthouse run ended:\n%s", d.log)
	case <-time.After(patience):
		t.Fatalf("posthouse run did not start:\n%s", d.log)
	}
	return d
}

func (d *daemon) awaitUp() {
	d.t.Helper()
	d.await("all routes are up", func() bool { return strings.HasPrefix(d.get("/readyz?verbose"), "ok") })
}

func (d *daemon) readLog(r io.Reader, admin chan<- string) {
	defer close(d.eof)
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		d.log.add(sc.Text())
		var line struct{ Msg, Admin string }
		if json.Unmarshal(sc.Bytes(), &line) == nil && line.Admin != "" {
			admin <- line.Admin
		}
	}
}

func (d *daemon) get(path string) string {
	resp, err := http.Get("http://" + d.admin + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// await polls for a state of another process, which sends no event.
func (d *daemon) await(what string, ok func() bool) {
	d.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			d.t.Fatalf("not in %v: %s\n%s\n%s", patience, what, d.get("/readyz?verbose"), d.log)
		}
	}
}

// stop ends the daemon with SIGTERM; it must end in order.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if err := d.wait(); err != nil {
		d.t.Errorf("posthouse run ended with %v\n%s", err, d.log)
	}
}

func (d *daemon) wait() error {
	select {
	case <-d.eof:
	case <-time.After(patience):
		d.t.Errorf("posthouse run did not end\n%s", d.log)
		_ = d.cmd.Process.Kill()
		<-d.eof
	}
	return d.cmd.Wait()
}

func (d *daemon) kill() {
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Kill()
		<-d.eof
		_ = d.cmd.Wait()
	}
	if d.t.Failed() {
		d.t.Logf("log of posthouse run:\n%s", d.log)
	}
}

// command runs another posthouse command and returns what it printed.
func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), binary, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("posthouse %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestEveryExampleIsCheckedAndHasATest(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	var src []byte
	for _, f := range []string{"routes_test.go", "topology_test.go", "bridges_test.go", "ibmmq_test.go"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		src = append(src, text...)
	}
	for _, f := range files {
		if out := command(t, nil, "check", "--strict", f); !strings.HasPrefix(out, f+": ok (") {
			t.Errorf("check %s:\n%s", f, out)
		}
		if !strings.Contains(string(src), `"`+f+`"`) {
			t.Errorf("%s is not run by any test", f)
		}
	}
}
