package repeater

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// closeTimeout is how long a call of an adapter may outlive its context, and how long a close may take, before it is
// abandoned: libraries were seen to hang there (delivery.md, section 13).
const closeTimeout = 10 * time.Second

// bounded calls f and reports whether it came back before, or at most closeTimeout after, the end of ctx. If not, f's
// goroutine is left behind, and what f writes must not be read.
func bounded(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// A relay lets another goroutine go on where one hangs in a library. So a goroutine that waits there for days needs no second
// one that waits for it.
type relay struct {
	instead func()        // what the other one does
	taken   atomic.Bool   // one of them goes on
	decided chan struct{} // closed then
}

func newRelay(instead func()) *relay { return &relay{instead: instead, decided: make(chan struct{})} }

// take reports whether whoever asks is the one who goes on.
func (r *relay) take() bool {
	first := r.taken.CompareAndSwap(false, true)
	if first {
		close(r.decided)
	}
	return first
}

// run calls f. When f has not come back closeTimeout after the end of ctx, it is abandoned. mine is false then, and the caller
// has to return at once, for another goroutine does what it would do.
func (r *relay) run(ctx context.Context, f func()) (mine bool) {
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(closeTimeout)
		defer t.Stop()
		select {
		case <-r.decided:
		case <-t.C:
			r.abandon()
		}
	})
	f()
	stop()
	return r.take()
}

// abandon gives f up, unless it has come back.
func (r *relay) abandon() {
	if r.take() {
		go r.instead()
	}
}

// closeBounded closes c, or abandons it, and reports whether c closed without an error. The object is thrown away whatever
// it says.
func closeBounded(c io.Closer) (clean bool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var err error
	return bounded(ctx, func() { err = c.Close() }) && err == nil
}

// openBounded calls open, or abandons it: what it opens too late is closed.
func openBounded[T io.Closer](ctx context.Context, open func() (T, error)) (T, error) {
	var (
		claimed atomic.Bool
		v, none T
		err     error
	)
	back := bounded(ctx, func() {
		v, err = open()
		if !claimed.CompareAndSwap(false, true) && err == nil {
			_ = v.Close()
		}
	})
	if !back && claimed.CompareAndSwap(false, true) {
		return none, &adapters.Error{Op: "connect", Kind: adapters.Lost, Err: errNoAnswer}
	}
	return v, err
}

// settleBounded is Settle, unless the source does not come back from it.
func settleBounded(ctx context.Context, src adapters.Source, o adapters.Outcome, ds []adapters.Delivery) error {
	var err error
	if bounded(ctx, func() { err = src.Settle(ctx, o, ds...) }) {
		return err
	}
	return errSilentSource
}
