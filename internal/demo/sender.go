package demo

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// priceSubject is where messages go in.
const priceSubject = "prices"

// window is how many messages the sender has out without a confirmation.
const window = 512

// A sender publishes numbered messages at a steady rate until it is told to stop.
type sender struct {
	site      *site
	rate      int // messages per second
	size      int // bytes of each body
	begun     time.Time
	offered   atomic.Int64 // handed to the broker
	confirmed atomic.Int64
	quit      context.CancelFunc
	failed    chan struct{} // closed when it could not send
	ended     chan struct{}
	err       error // read it after failed or ended
}

// startSender starts to send. Whoever starts it calls finish, also after ctx has ended.
func startSender(ctx context.Context, to *site, rate, size int) *sender {
	s := &sender{site: to, rate: rate, size: size, begun: time.Now(), failed: make(chan struct{}), ended: make(chan struct{})}
	stop, quit := context.WithCancel(context.Background())
	s.quit = quit
	go func() {
		defer close(s.ended)
		if s.err = s.run(ctx, stop); s.err != nil {
			close(s.failed)
		}
	}()
	return s
}

// finish stops sending and waits until all that was sent is confirmed.
func (s *sender) finish() error {
	s.quit()
	<-s.ended
	return s.err
}

// run sends until stop ends, and waits for the broker's confirmation of each message. It fails when one is not
// confirmed, and when ctx ends.
func (s *sender) run(ctx, stop context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	futures := make(chan jetstream.PubAckFuture, window)
	done := make(chan error, 1)
	go func() {
		err := s.confirmAll(ctx, futures)
		cancel() // nobody takes futures any more
		done <- err
	}()
	err := s.publish(ctx, stop, futures)
	close(futures)
	if cerr := <-done; cerr != nil {
		return cerr
	}
	return err
}

// publish sends what is due every few milliseconds. A broker that confirms slowly slows it down.
func (s *sender) publish(ctx, stop context.Context, futures chan<- jetstream.PubAckFuture) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := uint64(0); ; {
		for ; n < s.due() && stop.Err() == nil; n++ {
			s.offered.Store(int64(n) + 1)
			f, err := s.site.js.PublishAsync(priceSubject, body(n, s.size))
			if err != nil {
				return fmt.Errorf("send message %d at %s: %w", n, s.site.name, err)
			}
			select {
			case futures <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-tick.C:
		case <-stop.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *sender) due() uint64 {
	return uint64(time.Since(s.begun).Seconds() * float64(s.rate))
}

func (s *sender) confirmAll(ctx context.Context, futures <-chan jetstream.PubAckFuture) error {
	for f := range futures {
		select {
		case <-f.Ok():
			s.confirmed.Add(1)
		case err := <-f.Err():
			return fmt.Errorf("site %s did not confirm message %d: %w", s.site.name, s.confirmed.Load(), err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
