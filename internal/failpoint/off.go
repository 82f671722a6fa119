//go:build !failpoints

package failpoint

import (
	"io"
	"time"
)

// On says whether the program was built with the tag failpoints.
const On = false

// Hit ends the process here, if the environment says so.
func Hit(string) {}

// HitIf is Hit where the place counts only under a condition.
func HitIf(bool, string) {}

// Soon ends the process within the next moments: while the call that follows is under way.
func Soon(string) {}

// Torn ends the process in the middle of a write: the first half of b is at place at of w.
func Torn(bool, string, io.WriterAt, []byte, int64) {}

// Fault is the error that the environment gives to a call instead of its own work, nil for none.
func Fault(string) error { return nil }

// Now is the time of day, wrong by as much as the environment says.
func Now() time.Time { return time.Now() }
