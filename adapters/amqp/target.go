package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// A target is a sender that has many messages on their way. No goroutine belongs to it: outcomes are collected, oldest
// first, by whoever waits, or by Post itself when the window is full. One timer watches the oldest message.
type target struct {
	*link
	s      *amqp.Sender
	most   int64 // bytes of one message
	closed atomic.Bool

	// Owned by Post.
	buf  []byte
	msg  amqp.Message
	many senders

	collecting chan struct{} // holds a token while nobody collects
	watch      *time.Timer

	mu      sync.Mutex
	flight  []sent // on their way, oldest first
	head    int
	suspect place // the oldest when overdue last found somebody collecting
}

// tries is how often a receipt is asked. When its answer and the end of the AMQP link, or of the context, are both there,
// the library picks one at random: so an answer that is there is overlooked once in 2^24 times, which makes it unknown.
const tries = 24

// sent is one message without an outcome.
type sent struct {
	receipt amqp.SendReceipt
	at      time.Time
	on      *directed // nil: the target's own sender
	place
}

// A place is one message of a batch.
type place struct {
	b *batch
	i int
}

// A batch is what one Post took; it is its own Receipt.
type batch struct {
	t    *target
	errs []error
	left int // without an outcome; guarded by target.mu
}

func (a *Adapter) openTarget(ctx context.Context, cfg adapters.Config, at adapters.Address) (*target, error) {
	l, err := connect(ctx, cfg, at)
	if err != nil {
		return nil, err
	}
	if err := l.keepsPromise(); err != nil {
		_ = l.close()
		return nil, err
	}
	t := &target{link: l, collecting: make(chan struct{}, 1)}
	t.collecting <- struct{}{}
	actx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	t.s, err = l.session.NewSender(actx, l.p.address(at, false), l.senderOptions())
	if err != nil {
		err = l.attachError(actx, err)
		_ = l.close()
		return nil, err
	}
	t.most = cfg.Limits.MaxSize
	if n := t.s.MaxMessageSize(); n > 0 && n < uint64(1)<<62 {
		t.peer.MaxSize = int64(n)
		t.most = min(t.most, int64(n))
	}
	t.watch = time.AfterFunc(time.Hour, t.overdue)
	t.watch.Stop()
	return t, nil
}

// keepsPromise: exactly-once rests on duplicate ids, which a broker that is no Artemis takes for any property.
func (l *link) keepsPromise() error {
	if product := l.peer.Product; l.cfg.Once && (!l.p.dupID || product != "" && !detect(product, l.peer.Version, "").dupID) {
		return &adapters.Error{Op: "attach", Addr: l.at, Kind: adapters.Denied, Err: fmt.Errorf(
			"delivery: exactly-once rests on the duplicate detection of Artemis, and this broker says that it is %q (use delivery: at-least-once)", product)}
	}
	return nil
}

func (l *link) senderOptions() *amqp.SenderOptions {
	o := &amqp.SenderOptions{SettlementMode: amqp.SenderSettleModeUnsettled.Ptr()}
	if kind := l.nodeKind(); kind != "" {
		o.TargetCapabilities = []string{kind}
	}
	if l.p.durableNode {
		o.TargetDurability = amqp.DurabilityUnsettledState
	}
	return o
}

// nodeKind is the capability by which the broker makes the right kind of node, empty where it needs none.
func (l *link) nodeKind() string {
	if l.at.Form == adapters.Topic {
		return l.p.topic
	}
	return l.p.queue
}

// Send is Post and Wait.
func (t *target) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	r, err := t.Post(ctx, ms)
	if err != nil {
		return 0, err
	}
	return r.Wait(ctx)
}

// Post writes ms and returns when the last is written. It holds while the broker gives no credit, at most
// Limits.Confirm: then the messages that were not written are refused as Full.
func (t *target) Post(ctx context.Context, ms []*adapters.Message) (adapters.Receipt, error) {
	if t.closed.Load() || t.w.why() != nil {
		return nil, t.lost("send", nil)
	}
	b := &batch{t: t, errs: make([]error, len(ms))}
	wait := newCreditWait(ctx, t.cfg.Limits.Confirm)
	defer wait.stop()
	for i, m := range ms {
		err := t.room(ctx)
		if err == nil {
			err = t.postTo(ctx, wait, b, i, m)
		}
		if err == nil {
			continue
		}
		if k := adapters.KindOf(err); k == adapters.Permanent {
			b.errs[i] = err
			continue
		} else if i == 0 {
			return nil, err
		}
		for ; i < len(ms); i++ {
			b.errs[i] = err
		}
		break
	}
	return b, nil
}

// postTo is post to the destination of the message. One whose sender the broker has detached gets another, once.
func (t *target) postTo(ctx context.Context, wait *creditWait, b *batch, i int, m *adapters.Message) error {
	for try := 0; ; try++ {
		d, err := t.senderFor(ctx, m)
		if err != nil {
			return err
		}
		if err = t.post(wait, d, b, i, m); err != errDetached {
			return err
		} else if try > 0 {
			return t.fail(adapters.Permanent, fmt.Errorf("%w: the broker detaches it again and again", adapters.ErrGone))
		}
	}
}

// errDetached says that nothing was sent, for the destination's sender was gone.
var errDetached = errors.New("detached")

// post encodes and writes one message. An error of Kind Permanent is about this message alone.
func (t *target) post(wait *creditWait, d *directed, b *batch, i int, m *adapters.Message) error {
	s := t.s
	if d != nil {
		s = d.s
	}
	if err := t.load(m); err != nil {
		return t.fail(adapters.Permanent, err)
	}
	receipt, err := s.SendWithReceipt(wait, &t.msg, nil)
	t.msg.Data = nil
	if cap(t.buf) > 1<<20 { // one large message must not be paid for for ever
		t.buf = nil
	}
	if err != nil && !wait.ended() && t.detached(d, err) {
		return errDetached
	}
	if err != nil {
		return t.sendError(wait, err)
	}
	wait.extend()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.flight) == t.head {
		t.watch.Reset(t.cfg.Limits.Confirm)
	}
	t.flight = append(t.flight, sent{receipt, time.Now(), d, place{b, i}})
	b.left++
	if d != nil {
		d.flying++
	}
	return nil
}

func (t *target) taker() string {
	if t.most == t.peer.MaxSize {
		return "the broker"
	}
	return "max_message_size"
}

func (t *target) fail(k adapters.Kind, err error) error {
	return &adapters.Error{Op: "send", Addr: t.at, Kind: k, Err: err}
}

// sendError says why a message was not written. Only the wait for credit leaves the AMQP link as it was.
func (t *target) sendError(wait *creditWait, err error) error {
	var e *amqp.Error
	switch {
	case t.w.why() != nil || t.w.midway.Load():
	case wait.ended() && wait.ctx.Err() != nil:
		return t.fail(adapters.Transient, fmt.Errorf("waiting for credit: %w", wait.ctx.Err()))
	case wait.ended():
		return t.fail(adapters.Full, fmt.Errorf("the broker has given no credit for %v", t.cfg.Limits.Confirm))
	case errors.As(err, &e) && e.Condition == amqp.ErrCondMessageSizeExceeded:
		return t.fail(adapters.Permanent, fmt.Errorf("%w: %w", adapters.ErrTooLarge, err))
	}
	t.w.cut(err)
	return t.lost("send", err)
}

// room waits until there is room in the window, collecting outcomes meanwhile.
func (t *target) room(ctx context.Context) error {
	for t.full() {
		if err := t.collect(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.flight)-t.head >= t.cfg.Limits.InFlight
}

// Wait collects outcomes until those of the batch are there.
func (b *batch) Wait(ctx context.Context) (int, error) {
	for {
		if b.answered() {
			return adapters.Result(b.errs)
		}
		if err := b.t.collect(ctx); err != nil {
			return b.unfinished(err)
		}
	}
}

func (b *batch) answered() bool {
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	return b.left == 0
}

// unfinished is what can be said when ctx ends before all outcomes are there. The open ones stay in flight; their
// outcome goes into a copy that nobody reads.
func (b *batch) unfinished(err error) (int, error) {
	t := b.t
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := append([]error(nil), b.errs...)
	for _, f := range t.flight[t.head:] {
		if f.b == b {
			errs[f.i] = err
		}
	}
	return adapters.Result(errs)
}

// collect takes the outcome of the oldest message in flight, or waits until somebody else has done so.
func (t *target) collect(ctx context.Context) error {
	select {
	case <-t.collecting:
		defer func() { t.collecting <- struct{}{} }()
	case <-ctx.Done():
		return t.fail(adapters.Transient, fmt.Errorf("waiting for the broker's answer: %w", ctx.Err()))
	}
	t.mu.Lock()
	if t.head == len(t.flight) {
		t.mu.Unlock()
		return nil
	}
	f := t.flight[t.head]
	t.mu.Unlock()
	state, err := f.receipt.Wait(ctx)
	for try := 1; err != nil && ctx.Err() == nil && try < tries; try++ {
		state, err = f.receipt.Wait(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return t.fail(adapters.Transient, fmt.Errorf("waiting for the broker's answer: %w", ctx.Err()))
	}
	if err != nil {
		err = t.unanswered(f, err)
	} else {
		err = t.fate(state)
	}
	t.record(f, err)
	return nil
}

func (t *target) record(f sent, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.b.errs[f.i] = err
	f.b.left--
	if f.on != nil {
		f.on.flying--
	}
	t.flight[t.head] = sent{}
	t.head++
	if t.head == len(t.flight) {
		t.flight, t.head = t.flight[:0], 0
		t.watch.Stop()
	} else if t.head > 1024 && t.head > len(t.flight)/2 {
		n := copy(t.flight, t.flight[t.head:])
		clear(t.flight[n:])
		t.flight, t.head = t.flight[:n], 0
	}
}

// fate says what the broker's outcome means (part 3, section 3.4).
func (t *target) fate(state amqp.DeliveryState) error {
	switch s := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateRejected:
		if s.Error == nil && t.p.rejectFull {
			return t.fail(adapters.Full, errors.New("the queue refused the message: it is full or not available"))
		}
		if s.Error == nil {
			return t.fail(adapters.Permanent, errors.New("the broker rejected the message and gave no reason"))
		}
		return t.fail(rejectKind(s.Error), fmt.Errorf("the broker rejected the message: %w", s.Error))
	case *amqp.StateReleased:
		if t.p.rejectFull {
			return t.fail(adapters.NotFound, errors.New("no queue takes what is sent to this address"))
		}
		return t.fail(adapters.Transient, errors.New("the broker released the message: it has no place for it now"))
	case *amqp.StateModified:
		return t.fail(adapters.Transient, errors.New("the broker could not take the message (modified)"))
	}
	return t.fail(adapters.Transient, fmt.Errorf("the broker settled without a final outcome (%T)", state))
}

// overdue runs when the oldest message may have waited too long: an answer that late never comes. Answers that are there
// but that nobody has collected, because Post waits for credit, do not count.
func (t *target) overdue() {
	select {
	case <-t.collecting:
		for t.collectAnswered() {
		}
		t.collecting <- struct{}{}
	default: // somebody waits for the oldest, or is just taking answers that are there
		if t.firstLook() {
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head == len(t.flight) {
		return
	}
	if left := t.cfg.Limits.Confirm - time.Since(t.flight[t.head].at); left > 0 {
		t.watch.Reset(left)
		return
	}
	t.w.cut(fmt.Errorf("the broker has not answered for a message within %v", t.cfg.Limits.Confirm))
}

// firstLook reports whether the oldest message was not the oldest when overdue last found somebody collecting. Then that
// one may be at work on answers that have come, and is given a moment.
func (t *target) firstLook() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head == len(t.flight) {
		return false
	}
	oldest := t.flight[t.head].place
	if oldest == t.suspect {
		return false
	}
	t.suspect = oldest
	t.watch.Reset(t.cfg.Limits.Confirm / 8)
	return true
}

// collectAnswered takes the outcome of the oldest message in flight if it is there.
func (t *target) collectAnswered() bool {
	t.mu.Lock()
	if t.head == len(t.flight) {
		t.mu.Unlock()
		return false
	}
	f := t.flight[t.head]
	t.mu.Unlock()
	past, cancel := context.WithCancel(context.Background())
	cancel()
	for range tries {
		if state, err := f.receipt.Wait(past); err == nil {
			t.record(f, t.fate(state))
			return true
		}
	}
	return false
}

// Probe tells whether the AMQP link is attached and the broker was heard within the heartbeat.
func (t *target) Probe(ctx context.Context) error { return t.alive(ctx) }

// Peer tells what the target is attached to.
func (t *target) Peer() adapters.Peer { return t.peer }

// Close ends the session and the connection.
func (t *target) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.watch.Stop()
	err := t.close()
	t.many.closes.Wait()
	return err
}

// A creditWait is the context of a send that waits for credit. It never reports an error and has no deadline, because
// the library looks at these two again when the message has left its hands: it would then skip a delivery id, which
// breaks the session. Only its channel closes, and the library looks at that only before.
type creditWait struct {
	ctx   context.Context
	done  chan struct{}
	once  sync.Once
	timer *time.Timer
	limit time.Duration
	off   func() bool
}

func newCreditWait(ctx context.Context, limit time.Duration) *creditWait {
	w := &creditWait{ctx: ctx, done: make(chan struct{}), limit: limit}
	w.timer = time.AfterFunc(limit, w.end)
	w.off = context.AfterFunc(ctx, w.end)
	return w
}

func (w *creditWait) end()    { w.once.Do(func() { close(w.done) }) }
func (w *creditWait) extend() { w.timer.Reset(w.limit) }
func (w *creditWait) stop()   { w.timer.Stop(); w.off() }

func (w *creditWait) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Deadline, Done, Err and Value make it a context.
func (w *creditWait) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done closes when there is no more waiting for credit.
func (w *creditWait) Done() <-chan struct{} { return w.done }

// Err is always nil, see creditWait.
func (w *creditWait) Err() error { return nil }

// Value has nothing to give.
func (w *creditWait) Value(any) any { return nil }
