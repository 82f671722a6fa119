//go:build !failpoints

package failpoint

import (
	"testing"
	"time"
)

// TestOff: without the tag the environment changes nothing.
func TestOff(t *testing.T) {
	t.Setenv("POSTHOUSE_FAILPOINT", "C03:1,sync=EIO:1")
	t.Setenv("POSTHOUSE_FAILPOINT_CLOCK", "1h")
	Hit("C03")
	HitIf(true, "C03")
	Soon("C03")
	Torn(true, "C03", nil, nil, 0)
	if err := Fault("sync"); err != nil || On || time.Until(Now()) > time.Minute {
		t.Errorf("%v, on: %t", err, On)
	}
}
