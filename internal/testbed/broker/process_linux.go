package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sysProcAttr gives a broker a process group of its own, so that an interrupt typed at the terminal
// reaches it only by way of us, and ties its life to ours unless it is detached.
func sysProcAttr(detached, isolated bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if detached {
		attr.Setsid = true
	} else {
		attr.Setpgid = true
		attr.Pdeathsig = syscall.SIGKILL
	}
	if isolated {
		attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
	return attr
}

// Identity names a process for good: a process number comes back after a while, together with its
// start time it does not.
type Identity struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks between boot and the start of the process
}

// Identify returns the Identity of the running process pid; Start is 0 if there is none.
func Identify(pid int) Identity {
	start, _ := startTime(pid)
	return Identity{pid, start}
}

// startTime reads field 22 of /proc/PID/stat (proc_pid_stat(5)). Field 2, the name, may hold spaces
// and parentheses, so counting starts behind its last ")". A zombie counts as gone.
func startTime(pid int) (uint64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	i := bytes.LastIndexByte(raw, ')')
	fields := bytes.Fields(raw[i+1:])
	if i < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("read /proc/%d/stat: unknown form %q", pid, raw)
	}
	if fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, os.ErrNotExist
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// Alive says whether this very process still runs.
func (id Identity) Alive() bool {
	start, err := startTime(id.Pid)
	return err == nil && id.Pid > 0 && id.Start != 0 && start == id.Start
}

// End asks the process to end, kills it after grace or when ctx ends, and waits until it is gone.
// It does nothing to another process that has got the same number. The error says that the process
// could not be signalled.
func (id Identity) End(ctx context.Context, grace time.Duration) error {
	if id.Pid <= 0 || id.Start == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", id.Pid, err)
	}
	defer unix.Close(fd)
	// From here on fd means one process for good; is it ours?
	if !id.Alive() {
		return nil
	}
	if err := signalFD(fd, unix.SIGTERM); err != nil {
		return fmt.Errorf("end process %d: %w", id.Pid, err)
	}
	if waitFD(ctx, fd, grace) {
		return nil
	}
	if err := signalFD(fd, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", id.Pid, err)
	}
	if !waitFD(context.WithoutCancel(ctx), fd, 10*time.Second) {
		return fmt.Errorf("kill process %d: still there after 10 s", id.Pid)
	}
	return nil
}

func signalFD(fd int, sig unix.Signal) error {
	err := unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// waitFD waits until the process of fd has ended, and says whether it did in time.
func waitFD(ctx context.Context, fd int, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return err == nil
		}
	}
	return false
}

// ParentGone returns a channel that is closed when the parent of this process ends, and nil if
// that cannot be watched (kernels before 5.3).
func ParentGone() <-chan struct{} {
	parent := os.Getppid()
	fd, err := unix.PidfdOpen(parent, 0)
	if err != nil || os.Getppid() != parent {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer unix.Close(fd)
		for !waitFD(context.Background(), fd, time.Hour) {
		}
	}()
	return gone
}
