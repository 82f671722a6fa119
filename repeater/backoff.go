package repeater

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// stable is how long a link must have worked before its backoff starts from the beginning: a flapping peer must not
// get a storm of connections.
const stable = 30 * time.Second

// A backoff grows by factor from delay to max and adds jitter, a share of the delay (0.2 = ±20 %). It never gives up.
type backoff struct {
	delay, max time.Duration
	factor     float64 // 0 = 2: it doubles
	jitter     float64
	failures   int
}

// retrying is the backoff of a route.
func retrying(r routes.Retry) backoff {
	b := backoff{jitter: 0.2}
	b.follow(r)
	return b
}

// follow goes by other settings from the next failure on.
func (b *backoff) follow(r routes.Retry) { b.delay, b.max, b.factor = r.Delay, r.MaxDelay, r.Factor }

// next counts a failure and returns how long to wait before the next try.
func (b *backoff) next() time.Duration {
	factor := b.factor
	if factor == 0 {
		factor = 2
	}
	d := float64(b.delay) * math.Pow(factor, float64(b.failures))
	b.failures++
	if d >= float64(b.max) {
		return b.longest()
	}
	return jittered(time.Duration(d), b.jitter)
}

// longest is the longest pause.
func (b *backoff) longest() time.Duration { return jittered(b.max, b.jitter) }

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
