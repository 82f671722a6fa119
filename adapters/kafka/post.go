package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/posthouse/posthouse/adapters"
)

// Send is Post and Wait.
func (t *target) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	r, err := t.Post(ctx, ms)
	if err != nil {
		return 0, err
	}
	return r.Wait(ctx)
}

// A letter is one message on its way; it is what the producer gives back.
type letter struct {
	batch  *batch
	index  int
	size   int64
	sticky int32 // partition of messages without a key, modulo their number
	chosen choice
	alone  bool // has the whole window: see isolate
}

// A batch is one Post and its receipt.
type batch struct {
	t       *target
	ms      []*adapters.Message
	letters []letter
	posted  time.Time
	answer  chan struct{} // closed when nothing is open any more

	mu   sync.Mutex
	open int // not answered
	errs []error
}

// errOpen stands for "not answered yet".
var errOpen = errors.New("not answered")

// Post hands ms to the producer; see adapters.Poster. A message that is too large is refused at once and does not stop
// the others.
func (t *target) Post(ctx context.Context, ms []*adapters.Message) (adapters.Receipt, error) {
	if err := t.failure(); err != nil {
		return nil, asLost("send", t.addr, err)
	}
	b := &batch{t: t, ms: ms, letters: make([]letter, len(ms)), posted: time.Now(), answer: make(chan struct{}), open: len(ms), errs: make([]error, len(ms))}
	for i := range b.errs {
		b.errs[i] = errOpen
	}
	if len(ms) == 0 {
		close(b.answer)
		return b, nil
	}
	sticky := t.spread.next()
	for i, m := range ms {
		b.letters[i] = letter{batch: b, index: i, sticky: sticky}
		err := t.post(ctx, &b.letters[i], m)
		if err == nil {
			continue
		}
		if i == 0 && adapters.KindOf(err) != adapters.Permanent {
			return nil, err
		}
		b.settle(i, err)
		if adapters.KindOf(err) != adapters.Permanent {
			b.rest(i+1, err)
			break
		}
	}
	return b, nil
}

// post waits for room and hands one message to the producer.
func (t *target) post(ctx context.Context, l *letter, m *adapters.Message) error {
	w, err := t.write(m)
	if err != nil {
		return err
	}
	l.size = w.size()
	if err := t.enter(ctx, l); err != nil {
		return err
	}
	return t.hand(l, w)
}

// hand gives one record to the producer. The letter comes back through answered.
func (t *target) hand(l *letter, w wire) error {
	p := w.produced()
	p.Topic, p.Metadata, l.chosen = w.topic, l, w.chosen
	select {
	case t.producer.Input() <- p:
		return nil
	case <-t.life.Done():
		t.leave(l)
		return asLost("send", t.addr, t.failure())
	}
}

func (t *target) enter(ctx context.Context, l *letter) error {
	if err := t.acquire(ctx, t.window, 1); err != nil {
		return err
	}
	if t.room != nil {
		if err := t.acquire(ctx, t.room, min(l.size, defaultBatch)); err != nil {
			t.window.Release(1)
			return err
		}
	}
	return nil
}

// acquire waits for n places, until ctx ends, the target is spent, or the broker has not answered in time.
func (t *target) acquire(ctx context.Context, w *semaphore.Weighted, n int64) error {
	if w.TryAcquire(n) {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, t.limits.Confirm)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	switch err := w.Acquire(bounded, n); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case t.failure() == nil:
		t.fail(fmt.Errorf("no answer within %s", t.limits.Confirm))
	}
	return asLost("send", t.addr, t.failure())
}

func (t *target) leave(l *letter) {
	if l.alone {
		return
	}
	t.window.Release(1)
	if t.room != nil {
		t.room.Release(min(l.size, defaultBatch))
	}
}

// settle notes the fate of one message.
func (b *batch) settle(i int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.errs[i] != errOpen {
		return
	}
	b.errs[i] = err
	if b.open--; b.open == 0 {
		close(b.answer)
	}
}

// rest notes that nothing from i on was handed over.
func (b *batch) rest(i int, err error) {
	for ; i < len(b.errs); i++ {
		b.settle(i, err)
	}
}

// A suspect is a message of a record batch that the broker has refused as a whole. Kafka does not tell which message of
// it is to blame, and the innocent ones must not share its fate.
type suspect struct{ error }

func (s suspect) Unwrap() error { return s.error }

// Wait returns when all is answered; see adapters.Receipt. After Limits.Confirm the target is spent. Where a record batch
// was refused, its messages are sent again one by one first.
func (b *batch) Wait(ctx context.Context) (int, error) {
	open := b.wait(ctx)
	for i := 0; i < len(b.letters) && open == nil; i++ {
		if b.suspected(i) {
			open = b.isolate(ctx, i)
		}
	}
	return b.result(open)
}

func (b *batch) suspected(i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, yes := b.errs[i].(suspect)
	return yes
}

// isolate sends one message again with nothing else in flight, so that the answer is about nothing else. A batch that
// was refused has left nothing in the topic.
func (b *batch) isolate(ctx context.Context, i int) error {
	t := b.t
	all := int64(t.limits.InFlight)
	if err := t.acquire(ctx, t.window, all); err != nil {
		return err
	}
	defer t.window.Release(all)
	again := &batch{t: t, letters: []letter{{index: 0, sticky: b.letters[i].sticky, alone: true}}, posted: time.Now(),
		answer: make(chan struct{}), open: 1, errs: []error{errOpen}}
	again.letters[0].batch = again
	w, err := t.write(b.ms[i])
	if err != nil {
		return err
	}
	if err := t.hand(&again.letters[0], w); err != nil {
		return err
	}
	if err := again.wait(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs[i] = again.errs[0]
	return nil
}

// wait returns nil when all is answered, else what is to be said of the rest.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.answer:
		return nil
	default:
	}
	watchdog := time.NewTimer(time.Until(b.posted.Add(b.t.limits.Confirm)))
	defer watchdog.Stop()
	select {
	case <-b.answer:
		return nil
	case <-ctx.Done():
		return &adapters.Error{Op: "send", Addr: b.t.addr, Kind: adapters.Transient, Err: fmt.Errorf("not answered: %w", ctx.Err())}
	case <-watchdog.C:
		b.t.fail(fmt.Errorf("no answer within %s", b.t.limits.Confirm))
	case <-b.t.life.Done():
		if k := adapters.KindOf(b.t.failure()); k != adapters.Lost && waitFor(b.answer, time.Second) {
			return nil // the broker's answer, which ended the target, is on its way to the batch, too
		}
	}
	return asLost("send", b.t.addr, b.t.failure())
}

// result folds the fates; what has no answer gets open.
func (b *batch) result(open error) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := make([]error, len(b.errs))
	for i, err := range b.errs {
		errs[i] = err
		if _, yes := err.(suspect); err == errOpen || yes && open != nil {
			errs[i] = open
		}
		if s, yes := errs[i].(suspect); yes {
			errs[i] = s.error
		}
		errs[i] = b.t.blameClock(b.ms[i], errs[i])
	}
	return adapters.Result(errs)
}
