package adaptertest_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// A recorder stands in for the test: it notes failure instead of reporting it.
type recorder struct {
	testing.TB
	mu      sync.Mutex
	failed  bool
	first   string
	cleanup []func()
}

// record runs one check against one sin and all its cleanups.
func record(t *testing.T, c adaptertest.Check, s sin, h memHarness) *recorder {
	r := &recorder{TB: t}
	h.adapter = s.wrap(r, h.adapter)
	r.apart(func() { c.Run(r, h) })
	for len(r.cleanup) > 0 {
		f := r.cleanup[len(r.cleanup)-1]
		r.cleanup = r.cleanup[:len(r.cleanup)-1]
		r.apart(f)
	}
	return r
}

// apart runs f in a goroutine of its own, which FailNow and SkipNow may end.
func (r *recorder) apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}
func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed {
		r.failed, r.first = true, text
	}
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanup = append(r.cleanup, f)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Helper()                   {}
func (r *recorder) Log(...any)                {}
func (r *recorder) Logf(string, ...any)       {}
func (r *recorder) Error(a ...any)            { r.note(fmt.Sprint(a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.note(fmt.Sprintf(f, a...)) }
func (r *recorder) Fail()                     { r.note("failed") }
func (r *recorder) FailNow()                  { r.note("failed"); runtime.Goexit() }
func (r *recorder) Fatal(a ...any)            { r.note(fmt.Sprint(a...)); runtime.Goexit() }
func (r *recorder) Fatalf(f string, a ...any) { r.note(fmt.Sprintf(f, a...)); runtime.Goexit() }
func (r *recorder) Skip(...any)               { runtime.Goexit() }
func (r *recorder) Skipf(string, ...any)      { runtime.Goexit() }
func (r *recorder) SkipNow()                  { runtime.Goexit() }
