package demo

import "syscall"

// dieWithParent makes the system kill the child when the thread that starts it ends: not even a kill of the demo
// leaves a repeater behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
