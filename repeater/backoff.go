package repeater

import (
	"context"
	"math/rand/v2"
	"time"
)

// stable is how long a link must have worked before its backoff starts from the beginning: a flapping peer must not
// get a storm of connections.
const stable = 30 * time.Second

// A backoff doubles from delay to max and adds jitter, a share of the delay (0.2 = ±20 %). It never gives up.
type backoff struct {
	delay, max time.Duration
	jitter     float64
	failures   int
}

// next counts a failure and returns how long to wait before the next try.
func (b *backoff) next() time.Duration {
	d := b.delay
	for i := 0; i < b.failures && d < b.max; i++ {
		d *= 2
	}
	b.failures++
	return jittered(min(d, b.max), b.jitter)
}

func (b *backoff) reset() { b.failures = 0 }

func jittered(d time.Duration, share float64) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*share*float64(d))
}

// wait blocks for d or until ctx ends, and reports whether the time passed.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
