//go:build !linux

package broker

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// sysProcAttr: without parent-death signals a broker may outlive a killed testbed here.
func sysProcAttr(bool, bool) *syscall.SysProcAttr { return nil }

// Identity names a process; without /proc only by its number, so it is never trusted.
type Identity struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// Identify returns the Identity of pid, which is not trusted here.
func Identify(pid int) Identity { return Identity{Pid: pid} }

// Alive is not known on this system.
func (id Identity) Alive() bool { return false }

// End ends nothing on this system: the number may belong to another process by now.
func (id Identity) End(context.Context, time.Duration) error {
	p, err := os.FindProcess(id.Pid)
	if err != nil {
		return nil
	}
	return fmt.Errorf("process %d cannot be told from others on this system: end it by hand", p.Pid)
}

// ParentGone cannot be watched on this system.
func ParentGone() <-chan struct{} { return nil }
