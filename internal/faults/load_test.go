package faults

import (
	"context"
	"sync"
	"testing"
	"time"
)

// rate is how many messages a load sends in a second, at its best.
const rate = 400

// A sender sends to a source in order, through the client of the broker's vendor. It may send many before it answers
// for the first; it answers for each.
type sender interface {
	send(ctx context.Context, m message, done func(outcome))
}

// A load sends a lane's messages at a steady rate and notes what became of each.
type load struct {
	ctx  context.Context
	o    oracle
	lane string
	to   sender
	ctl  chan int      // messages in a second from now on, 0 to pause
	end  chan struct{} // closed: no more
	done sync.WaitGroup

	open  sync.WaitGroup // sent without an answer
	mu    sync.Mutex
	sends []outcome
}

// startLoad begins to send; the load ends with the test.
func startLoad(t *testing.T, o oracle, lane string, to sender) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{ctx: ctx, o: o, lane: lane, to: to, ctl: make(chan int), end: make(chan struct{})}
	l.done.Go(l.run)
	t.Cleanup(func() { cancel(); l.stop() })
	return l
}

const beat = 10 * time.Millisecond

func (l *load) run() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for speed, due := rate, 0.0; ; {
		select {
		case speed = <-l.ctl:
		case <-l.end:
			return
		case <-tick.C:
			due += float64(speed) * beat.Seconds()
			l.some(int(due))
			due -= float64(int(due))
		}
	}
}

// speed sets how many messages are sent in a second from now on.
func (l *load) speed(n int) {
	select {
	case l.ctl <- n:
	case <-l.end:
	}
}

func (l *load) some(n int) {
	for range n {
		l.one()
	}
}

// one sends the next message and returns its number.
func (l *load) one() int {
	l.mu.Lock()
	n := len(l.sends)
	l.sends = append(l.sends, unknown)
	l.mu.Unlock()
	l.open.Add(1)
	l.to.send(l.ctx, l.o.make(l.lane, n), func(o outcome) {
		l.mu.Lock()
		l.sends[n] = o
		l.mu.Unlock()
		l.open.Done()
	})
	return n
}

// pause stops the sending and returns how many messages the source has taken, once each send has its answer.
func (l *load) pause() int {
	l.speed(0)
	l.open.Wait()
	return l.count(taken)
}

// stop ends the load for good and returns like pause. Messages can still be sent one by one.
func (l *load) stop() int {
	l.mu.Lock()
	select {
	case <-l.end:
	default:
		close(l.end)
	}
	l.mu.Unlock()
	l.done.Wait()
	l.open.Wait()
	return l.count(taken)
}

func (l *load) count(o outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.sends {
		if s == o {
			n++
		}
	}
	return n
}

// outcomes is what became of every message so far, by number.
func (l *load) outcomes() []outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]outcome(nil), l.sends...)
}

// sent is how many messages the source was given.
func (l *load) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sends)
}
