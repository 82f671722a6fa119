package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// diskSize is what the spool's disk holds, and ballast how much of it somebody else uses at first.
const (
	diskSize = 18 * segment
	ballast  = 7 * segment
)

// diskFull: while the target is away the disk is full, is freed, is full again, and is freed by draining. Meanwhile messages
// wait at their source. Where the test may not mount a file system of its own, the spool's quota stands for the disk.
func diskFull(t *testing.T, r road) {
	dir, quota := t.TempDir(), ""
	mounted := mountSmall(t, dir, scaled(diskSize))
	file := filepath.Join(dir, "somebody-elses")
	if mounted {
		if err := os.WriteFile(file, make([]byte, scaled(ballast)), 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Log("no right to mount a file system: spool.max_size stands for the disk")
		quota = fmt.Sprintf(", max_size: %dMiB", scaled(12))
	}
	x := newTrial(t, r, filepath.Join(dir, "spool"), quota)
	x.steady()
	x.cut()
	x.filled()
	if mounted {
		st := x.await("the lane is full", func(s laneStatus) bool { return s.State == full })
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		x.spooled(st.Spooled + scaled(some))
		x.filled()
	}
	r.proxy.Allow()
	x.recovered()
	x.finish()
}

// filled waits until there is no room and messages pile up at the source.
func (x *trial) filled() {
	x.t.Helper()
	x.load.speed(rate)
	defer x.load.speed(rate / 4)
	x.awaitStatus("the disk is full and messages wait at their source", func(s status) bool {
		l := s.lane(x.name)
		return l.State == full && s.Spool.State == full && x.load.sent()-l.received >= some
	})
}
