package nats

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Whoever asks while an answer is awaited gets one to a later question, together with all others; none is older than its
// question.
func TestInquiriesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q inquiries
		var mu sync.Mutex
		var wg sync.WaitGroup
		asked := 0
		ask := func() {
			since := time.Now()
			info, err := q.ask(t.Context(), "in", func() (*jetstream.StreamInfo, error) {
				mu.Lock()
				asked++
				mu.Unlock()
				at := time.Now()
				<-time.After(time.Second)
				return &jetstream.StreamInfo{TimeStamp: at}, nil
			})
			if err != nil || info.TimeStamp.Before(since) {
				t.Errorf("asked at %v, answer of %v, %v", since, info.TimeStamp, err)
			}
		}
		for i := range 100 {
			<-time.After(time.Duration(i%10) * 50 * time.Millisecond)
			wg.Go(ask)
		}
		wg.Wait()
		if asked < 2 || asked > 25 { // the last comes after 22.5 s
			t.Errorf("%d questions for 100 who asked within 22.5 s of one second each", asked)
		}
		if len(q.last) > 0 {
			t.Errorf("%d questions are left", len(q.last))
		}
	})
}

// An error and the end of a context are the business of whoever asked.
func TestInquiriesFailAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q inquiries
		ctx, cancel := context.WithCancelCause(t.Context())
		own := errors.New("stopped")
		first := make(chan error, 1)
		go func() {
			_, err := q.ask(ctx, "in", func() (*jetstream.StreamInfo, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			})
			first <- err
		}()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				info, err := q.ask(t.Context(), "in", func() (*jetstream.StreamInfo, error) { return new(jetstream.StreamInfo), nil })
				if info == nil || err != nil {
					t.Errorf("another one: %v %v", info, err)
				}
			})
			wg.Go(func() {
				gone, end := context.WithCancelCause(t.Context())
				end(own)
				if _, err := q.ask(gone, "in", func() (*jetstream.StreamInfo, error) { return nil, context.Cause(gone) }); err != own {
					t.Errorf("one that has been stopped: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel(own)
		if err := <-first; err != own {
			t.Errorf("the first: %v", err)
		}
		wg.Wait()
	})
}
