package broker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a broker may take to end in order before it is killed.
const stopGrace = 20 * time.Second

// launch says how to start a process.
type launch struct {
	path     string
	args     []string
	env      []string // added to the environment of this process
	dir      string   // working directory
	log      string   // file to which output is appended
	isolated bool     // in process and mount namespaces of its own (root only)
	detached bool     // outlives this process
}

// start starts the process.
func (l launch) start() (*Child, error) {
	out, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the broker's log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(l.path, l.args...)
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.dir, out, out
	cmd.SysProcAttr = sysProcAttr(l.detached, l.isolated)
	return startChild(cmd)
}

// Child is a child of this process.
type Child struct {
	cmd  *exec.Cmd
	id   Identity
	done chan struct{} // closed when the process has ended and was reaped
	err  error         // how it ended; read after done
}

// StartChild starts cmd in a process group of its own. It is killed when this process ends, in
// whatever way; its own children are not.
func StartChild(cmd *exec.Cmd) (*Child, error) {
	cmd.SysProcAttr = sysProcAttr(false, false)
	return startChild(cmd)
}

// startChild starts cmd and a goroutine that reaps it. The goroutine keeps its thread: the kernel
// sends the parent-death signal when the thread that made the child ends, not the process, and the
// Go runtime may end a thread at any time unless it is locked.
func startChild(cmd *exec.Cmd) (*Child, error) {
	p := &Child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.id = Identify(cmd.Process.Pid)
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Done is closed when the process has ended.
func (p *Child) Done() <-chan struct{} { return p.done }

// ExitCode waits for the end and returns the exit code; after a signal, 128 plus its number, as
// shells do.
func (p *Child) ExitCode() int {
	<-p.done
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// SignalGroup sends sig to the child and to those of its descendants that stayed in its process
// group. It does nothing after the child has ended, when the number may be another's.
func (p *Child) SignalGroup(sig syscall.Signal) {
	if p.alive() {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig) // an error means that it is gone already
	}
}

// kill ends the process at once and waits until it is gone.
func (p *Child) kill() {
	_ = p.cmd.Process.Kill() // an error means that it is gone already
	<-p.done
}

// stop asks the process to end, and kills it after grace or when ctx ends.
func (p *Child) stop(ctx context.Context, grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone already
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
	case <-ctx.Done():
		p.kill()
	}
}

// alive says whether the process runs.
func (p *Child) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// logTail is the last few lines of a log, for error texts.
func logTail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return lastLines(string(raw), 15)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
