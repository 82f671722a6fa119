package faults

import (
	"context"
	"sync"
	"testing"
	"time"
)

// rate is how many messages a load sends in a second.
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
	ctl  chan bool     // go on, or pause
	end  chan struct{} // closed: no more
	done sync.WaitGroup

	open  sync.WaitGroup // sent without an answer
	mu    sync.Mutex
	sends []outcome
}

// startLoad begins to send; the load ends with the test.
func startLoad(t *testing.T, o oracle, lane string, to sender) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{ctx: ctx, o: o, lane: lane, to: to, ctl: make(chan bool), end: make(chan struct{})}
	l.done.Go(l.run)
	t.Cleanup(func() { cancel(); l.stop() })
	return l
}

const beat = 10 * time.Millisecond

func (l *load) run() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for running := true; ; {
		select {
		case running = <-l.ctl:
		case <-l.end:
			return
		case <-tick.C:
			if running {
				l.some(int(rate * beat / time.Second))
			}
		}
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
	select {
	case l.ctl <- false:
	case <-l.end:
	}
	l.open.Wait()
	return l.count(taken)
}

func (l *load) resume() {
	select {
	case l.ctl <- true:
	case <-l.end:
	}
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
