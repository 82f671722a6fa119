//go:build failpoints

package failpoint

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// On says whether the program was built with the tag failpoints.
const On = true

const (
	envPoints = "POSTHOUSE_FAILPOINT"
	envClock  = "POSTHOUSE_FAILPOINT_CLOCK"
)

// soonMost bounds how long Soon waits.
const soonMost = 800 * time.Microsecond

// A point is one entry of the list. It is due from its first to its last hit.
type point struct {
	first, last int64
	err         error // nil: the process dies
	hits        atomic.Int64
	said        atomic.Bool
}

func (p *point) due() bool {
	if p == nil {
		return false
	}
	n := p.hits.Add(1)
	return n >= p.first && n <= p.last
}

var points = sync.OnceValue(func() map[string]*point {
	ps, err := parse(os.Getenv(envPoints))
	if err != nil {
		die(err)
	}
	return ps
})

var skew = sync.OnceValue(func() time.Duration {
	text := os.Getenv(envClock)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		die(fmt.Errorf("%s: %w", envClock, err))
	}
	return d
})

// die ends a process whose environment makes no sense: a test would prove nothing with it.
func die(err error) {
	fmt.Fprintln(os.Stderr, "failpoint:", err)
	os.Exit(97)
}

// parse reads a list of points.
func parse(list string) (map[string]*point, error) {
	ps := map[string]*point{}
	for word := range strings.SplitSeq(list, ",") {
		if word == "" {
			continue
		}
		what, when, ok := strings.Cut(word, ":")
		name, errno, fault := strings.Cut(what, "=")
		from, to, several := strings.Cut(when, "-")
		if !several {
			to = from
		}
		p := new(point)
		var err1, err2 error
		p.first, err1 = strconv.ParseInt(from, 10, 64)
		p.last, err2 = strconv.ParseInt(to, 10, 64)
		if fault {
			p.err = errnos[errno]
		}
		if !ok || err1 != nil || err2 != nil || p.first < 1 || p.last < p.first || fault && p.err == nil {
			return nil, fmt.Errorf("%s: %q: write NAME:N or NAME=EIO:N or NAME=ENOSPC:N-M", envPoints, word)
		}
		ps[name] = p
	}
	return ps, nil
}

var errnos = map[string]error{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC}

// Hit ends the process here, if the environment says so.
func Hit(name string) {
	if points()[name].due() {
		kill(name)
	}
}

// HitIf is Hit where the place counts only under a condition.
func HitIf(cond bool, name string) {
	if cond {
		Hit(name)
	}
}

// Soon ends the process within the next moments: while the call that follows is under way.
func Soon(name string) {
	if points()[name].due() {
		go func() {
			<-time.After(rand.N(soonMost))
			kill(name)
		}()
	}
}

// Torn ends the process in the middle of a write: the first half of b is at place at of w.
func Torn(cond bool, name string, w io.WriterAt, b []byte, at int64) {
	if cond && points()[name].due() {
		_, _ = w.WriteAt(b[:len(b)/2], at) // it dies either way
		kill(name)
	}
}

// Fault is the error that the environment gives to a call instead of its own work, nil for none.
func Fault(name string) error {
	p := points()[name]
	if !p.due() {
		return nil
	}
	if !p.said.Swap(true) {
		_, _ = os.Stderr.WriteString("failpoint " + name + "\n")
	}
	return p.err
}

// Now is the time of day, wrong by as much as the environment says.
func Now() time.Time { return time.Now().Add(skew()) }

// kill does not return.
func kill(name string) {
	_, _ = os.Stderr.WriteString("failpoint " + name + "\n")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
