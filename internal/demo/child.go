package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A child is the repeater, a process of its own.
type child struct {
	cmd   *exec.Cmd
	log   string        // the file with what it writes
	ended chan struct{} // closed when the process is gone
	err   error         // how it ended; read it after ended
}

// startChild runs command with the topology file, and appends what it writes to the file log. Whoever starts it kills
// or stops it.
func startChild(command []string, file, log string) (*child, error) {
	w, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c := &child{log: log, ended: make(chan struct{})}
	c.cmd = exec.Command(command[0], append(command[1:len(command):len(command)], "-c", file)...)
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = w, w, dieWithParent()
	started := make(chan error)
	go func() {
		defer w.Close()
		runtime.LockOSThread() // dieWithParent means this thread
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the repeater: %w", err)
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the process as a crash does, with SIGKILL, and waits until it is gone.
func (c *child) kill() error {
	err := c.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if err == nil {
		<-c.ended
	}
	return err
}

// grace is how long an orderly stop of the repeater may take.
const grace = 20 * time.Second

// stop ends the process in an orderly way, and kills it when that takes too long. It fails unless the process ended
// well.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return c.kill() // a system without this signal
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-c.ended:
	case <-late.C:
		return errors.Join(fmt.Errorf("the repeater did not stop within %v, it was killed", grace), c.kill())
	}
	if c.err != nil {
		return c.unexpected()
	}
	return nil
}

// unexpected tells how a process ended that should not have, with its last words.
func (c *child) unexpected() error {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("the repeater (process %d) ended by itself: %s; its last words:\n%s", c.pid(), how, tail(c.log, 8))
}

// tail returns the last lines of a file, indented.
func tail(file string, n int) string {
	src, err := os.ReadFile(file)
	if err != nil {
		return "  " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(src), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}
