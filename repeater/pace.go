package repeater

import (
	"time"

	"golang.org/x/time/rate"
)

// A pace holds a lane to max_rate. It is asked where a batch is cut, so what waits for it waits in the lane's queue, which
// the prefetch and the window bound. A nil pace holds nothing back. Its methods need lane.mu, and none of them waits.
type pace struct {
	limit   *rate.Limiter
	portion int       // what is gathered before it goes, so that a high rate is not one message at a time
	next    time.Time // when there will be enough for those that wait; zero: nobody waits for it
}

// paceTick is how long a portion gathers.
const paceTick = 10 * time.Millisecond

// newPace makes one for so many messages a second; nil for 0.
func newPace(perSecond int) *pace {
	if perSecond <= 0 {
		return nil
	}
	return &pace{limit: rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/10)), portion: max(1, int(float64(perSecond)*paceTick.Seconds()))}
}

// room is how many of n messages may go now; with none of them, next says when to ask again. While stopping all may: they
// were begun before the stop, so they are one window at most, and a stop is not held up.
func (p *pace) room(n int, stopping bool) int {
	if p == nil {
		return n
	}
	p.next = time.Time{}
	if stopping {
		return n
	}
	now := time.Now()
	have, want := p.limit.TokensAt(now), float64(min(n, p.portion))
	if have >= want {
		return min(n, int(have))
	}
	lacking := (want - have) / float64(p.limit.Limit())
	p.next = now.Add(time.Duration(lacking*float64(time.Second)) + time.Microsecond) // rounded up: at that time it is there
	return 0
}

// took notes that n of them go.
func (p *pace) took(n int) {
	if p != nil && n > 0 {
		p.limit.AllowN(time.Now(), n)
	}
}

// due sends when the next may go; nil, which never does, if it is not the pace that the lane waits for.
func (l *lane) due() <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pace == nil || l.pace.next.IsZero() {
		return nil
	}
	return time.After(time.Until(l.pace.next))
}
