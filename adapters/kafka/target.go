package kafka

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/semaphore"

	"github.com/posthouse/posthouse/adapters"
)

// A target sends to one topic through an idempotent producer of its own.
//
// Order under faults rests on three things. The producer has one request in flight per broker and keeps a partition shut
// while it repeats a batch. The first answer that is neither a refusal of the message itself nor a reason to repeat cuts
// all connections for good, and it does so where the answer is read, before the producer learns of it: the producer would
// send what is behind the failed batch at once. And so does the last repetition, before the producer gives up. So nothing
// behind an unknown message reaches the topic before the owner has opened a new target and sent the unknown one again.
type target struct {
	sender
	producer sarama.AsyncProducer
	spread   *spread

	window  *semaphore.Weighted // messages
	room    *semaphore.Weighted // bytes, only where the topic's limit is unknown
	closing sync.Once
	loops   sync.WaitGroup
	passing atomic.Int32 // the last error code that made the producer repeat a batch
}

var (
	_ adapters.Poster    = (*target)(nil)
	_ adapters.Prober    = (*target)(nil)
	_ adapters.Described = (*target)(nil)
)

func openTarget(ctx context.Context, c adapters.Config, a adapters.Address) (*target, error) {
	n := newNetwork(c, 16<<20)
	f, err := connect(ctx, c, n, a)
	if err != nil {
		n.cut()
		return nil, err
	}
	t := newTarget(c, a, f, n)
	if err := t.dial(ctx, c); err != nil {
		t.fail(err)
		return nil, err
	}
	t.loops.Go(t.collect)
	t.loops.Go(t.watch)
	return t, nil
}

func newTarget(c adapters.Config, a adapters.Address, f facts, n *network) *target {
	t := &target{spread: &spread{}, window: semaphore.NewWeighted(int64(c.Limits.InFlight))}
	t.begin(c, a, f, n)
	n.answers = t.judgeAnswers
	if f.maxBatch == 0 {
		t.room = semaphore.NewWeighted(defaultBatch)
	}
	return t
}

// producerSettings are the safe ones; see the type.
func (t *target) producerSettings(c adapters.Config) *sarama.Config {
	k := settings(c, t.net)
	k.Net.MaxOpenRequests = 1
	p := &k.Producer
	p.Idempotent, p.RequiredAcks = true, sarama.WaitForAll
	p.Return.Successes, p.Return.Errors = true, true
	p.MaxMessageBytes = int(t.maxSize)
	p.Timeout = min(c.Limits.Confirm/2, 10*time.Second).Truncate(time.Millisecond)
	p.Compression, _ = compression(c.Options) // Check has looked at it
	p.Partitioner = func(topic string) sarama.Partitioner { return &partitioner{keyed: sarama.NewMurmur2Partitioner(topic)} }
	p.Retry.Max = repeats + 5 // never reached: backoff ends the target before
	p.Retry.BackoffFunc = t.backoff
	k.Metadata.Retry.BackoffFunc = func(int, int) time.Duration { return t.unless(100 * time.Millisecond) }
	return k
}

// repeats is how often a batch is sent again while a leader moves: about four seconds in all, then the lane decides.
const repeats = 10

// backoff is called in the producer, between an attempt that failed and the next one.
func (t *target) backoff(retries, _ int) time.Duration {
	if retries > repeats {
		t.fail(fmt.Errorf("given up after %d attempts: %w", repeats, t.lastCode()))
	}
	return t.unless(min(25*time.Millisecond<<min(retries, 10), 500*time.Millisecond))
}

// judgeAnswers sees the error codes of every answer first.
func (t *target) judgeAnswers(codes []sarama.KError) {
	for _, code := range codes {
		switch {
		case repeated(code):
			t.passing.Store(int32(code))
		case code != sarama.ErrDuplicateSequenceNumber && verdictOf(code).kind != adapters.Permanent:
			t.fail(code)
		}
	}
}

func (t *target) lastCode() error {
	if code := sarama.KError(t.passing.Load()); code != sarama.ErrNoError {
		return code
	}
	return sarama.ErrNotConnected
}

func (t *target) dial(ctx context.Context, c adapters.Config) error {
	type both struct {
		client   sarama.Client
		producer sarama.AsyncProducer
	}
	b, err := within(ctx, t.net, func() (both, error) {
		client, err := sarama.NewClient([]string{t.facts.peer.Address}, t.producerSettings(c))
		if err != nil {
			return both{}, err
		}
		producer, err := sarama.NewAsyncProducerFromClient(client)
		if err != nil {
			_ = client.Close()
			return both{}, err
		}
		return both{client, producer}, nil
	})
	if err != nil {
		return classify("attach", t.addr, withCause(err, t.net))
	}
	t.client, t.producer = b.client, b.producer
	return nil
}

// collect takes the producer's answers until it has ended. It never waits for anybody else, so the producer never does.
func (t *target) collect() {
	oks, errs := t.producer.Successes(), t.producer.Errors()
	for oks != nil || errs != nil {
		select {
		case p, ok := <-oks:
			if !ok {
				oks = nil
				continue
			}
			t.answered(p, nil)
		case e, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			t.answered(e.Msg, t.verdict(e))
		}
	}
}

func (t *target) answered(p *sarama.ProducerMessage, err error) {
	l, ok := p.Metadata.(*letter)
	if !ok {
		return
	}
	t.leave(l)
	if s, yes := err.(suspect); yes && l.alone {
		err = s.error
	}
	l.batch.settle(l.index, err)
}

// verdict classifies the error of one message and spends the target unless it is a refusal of just that message.
func (t *target) verdict(e *sarama.ProducerError) error {
	err := classify("send", t.addr, withCause(e.Err, t.net))
	if err.Kind != adapters.Permanent {
		t.fail(err)
		return err
	}
	return suspect{err}
}

// Close ends the producer; what is still in flight is unknown. It waits a bounded time for the client library.
func (t *target) Close() error {
	t.fail(errClosed)
	ended := make(chan struct{})
	t.closing.Do(func() {
		go func() {
			t.producer.AsyncClose()
			t.loops.Wait()
			_ = t.client.Close()
			close(ended)
		}()
		waitFor(ended, 5*time.Second)
	})
	return nil
}
