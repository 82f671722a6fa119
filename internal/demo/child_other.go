//go:build !linux

package demo

import "syscall"

// dieWithParent does nothing here: a demo that is killed leaves its repeater to be stopped by hand.
func dieWithParent() *syscall.SysProcAttr { return nil }
