package systemd

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is CLOCK_MONOTONIC, the clock of MONOTONIC_USEC. The one inside of time.Time begins elsewhere.
func monotonic() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0 // Linux has that clock
	}
	return time.Duration(ts.Nano())
}
