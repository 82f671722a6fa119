package repeater

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/internal/failpoint"
)

// A sending is the use of one open target until something fails. It posts batches without waiting for the last one's
// receipt; receipts are waited for in order.
//
// Every item taken from the lane is in flights until it has an answer or is pending, and what is in flights is decided
// under mu. So a target that never answers can be abandoned together with the goroutines that hang in it: what they
// bring later finds its flight gone.
type sending struct {
	l       *lane
	t       adapters.Target
	probing bool // after a failure: one message until one is taken
	ok      atomic.Int64
	cancel  context.CancelFunc // ends the posting
	more    *worker            // takes the receipts, once the head of flights has one
	home    <-chan struct{}    // closed: nothing more is posted here, the target is opened again elsewhere

	mu        sync.Mutex
	err       error     // the first failure
	flights   []*flight // oldest first
	pending   []*item   // to be sent again, in order
	closed    bool      // nothing more will be posted
	abandoned bool
	again     uint64 // what t had counted of repeated messages when it was looked at
}

// A flight is one batch, from the moment it is taken from the lane.
type flight struct {
	its     []*item
	at      time.Time        // handed over
	due     time.Time        // an answer that is not there by then never comes; zero while Post may block
	r       adapters.Receipt // nil until handed over
	untaken error            // Post failed, and nothing was taken
}

// postGrace is how long a Post that waits for room may go on after a stop.
const postGrace = 2 * time.Second

// patience is how many times the confirm timeout an answer may take before the engine gives the target up. An adapter
// gives up by itself after one: this is for a sick one, which must not hold its lane for ever.
const patience = 3

var errSilent = errors.New("no answer in three times confirm_timeout: target abandoned")

func newSending(l *lane, t adapters.Target, probing bool) *sending {
	return &sending{l: l, t: t, probing: probing, more: newWorker(nil), again: duplicates(t)}
}

// run posts until stop ends or something fails, then waits for every receipt, until work ends. What got no answer is back at the
// head of the lane then. When the target never answers it is abandoned, with the goroutine that hangs in it: mine is false
// then, and another goroutine calls instead.
func (s *sending) run(stop, work context.Context, instead func()) (mine bool) {
	post, cancel := context.WithCancel(work)
	s.cancel = cancel
	halt := context.AfterFunc(stop, func() {
		if !s.l.shared && wait(post, postGrace) {
			cancel()
		}
	})
	over := func() {
		halt()
		cancel()
		s.l.again(s.pending)
		s.l.landed(len(s.pending))
	}
	r := newRelay(func() {
		s.abandon()
		over()
		instead()
	})
	unguard := every(work, s.l.cfg.Limits.Confirm, func() (more bool) {
		if s.overdue(time.Now()) {
			r.abandon()
			return false
		}
		return true
	})
	if mine = r.run(work, func() { s.exchange(stop, post, work) }); mine {
		unguard()
		over()
	}
	return mine
}

// exchange is all traffic with the target; it returns when there is none any more.
func (s *sending) exchange(stop, post, work context.Context) {
	s.more.start(func() bool { return s.collect(work) })
	b := s.l.store
	fed := b.feeding(post)
	endProbe := probeIdle(post, s.l.cfg.Heartbeat, s.t, s.ok.Load, s.l.end.works, s.fail)
	s.postAll(stop, post)
	s.cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.more.kick()
	if adapters.KindOf(s.failure()) == adapters.Lost {
		closeBounded(s.t) // so that the receipts end now and not with their watchdogs
	}
	<-s.more.over()
	fed()
	endProbe()
}

func (s *sending) overdue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.flights) > 0 && !s.flights[0].due.IsZero() && now.After(s.flights[0].due)
}

// abandon takes everything without an answer back: what was handed over may have arrived.
func (s *sending) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.failLocked(&adapters.Error{Op: "send", Addr: s.l.address(), Kind: adapters.Lost, Err: errSilent})
	for _, f := range s.flights {
		for _, it := range f.its {
			it.endSpan(errSilent)
			if !f.at.IsZero() && s.l.unrepeated(it, adapters.Lost) {
				s.l.landed(1)
				continue
			}
			it.maybe = it.maybe || !f.at.IsZero()
			s.pending = append(s.pending, it)
		}
	}
	s.flights = nil
	s.l.count.abandoned.Inc()
	s.l.log.Error(msgAbandoned, "messages", len(s.pending))
	s.more.kick()
}

// postAll is step 4 of the flow.
func (s *sending) postAll(stop, post context.Context) {
	for {
		f := s.take(stop, post)
		if f == nil {
			return
		}
		if !s.spare(f) {
			continue
		}
		if err := s.markFirst(post, f.its); err != nil {
			s.unmarked(f, err)
			return
		}
		ms := s.load(f, s.l.convert(f.its))
		if len(ms) == 0 {
			continue
		}
		failpoint.Soon("C07")
		if !s.posted(f, s.hand(post, f.its, ms)) {
			return
		}
	}
}

// take blocks until there is room in the window and something to send, and makes a flight of it; nil when nothing more is
// to be posted here. After stop it takes only what some lane has begun to send.
func (s *sending) take(stop, post context.Context) *flight {
	halt := stop.Done()
	if stop.Err() != nil {
		halt = nil
	}
	for post.Err() == nil && s.failure() == nil && !(halt != nil && s.leaving()) {
		f, more := s.tryTake(halt == nil)
		if f != nil || halt == nil && !more {
			return f
		}
		s.l.vacant(more)
		select {
		case <-s.l.wake:
		case <-s.l.due():
		case <-s.home:
		case <-halt:
			halt = nil
		case <-post.Done():
		}
	}
	signal(s.l.wake) // it may have been for the next sending
	return nil
}

// leaving reports whether the lane shall go to another address.
func (s *sending) leaving() bool {
	select {
	case <-s.home:
		return true
	default:
		return false
	}
}

func (s *sending) tryTake(stopping bool) (f *flight, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned || s.err != nil {
		return nil, false
	}
	its, more := s.l.cut(s.probing && s.ok.Load() == 0, stopping, s.busyKeys())
	if len(its) == 0 {
		return nil, more
	}
	f = &flight{its: its}
	s.flights = append(s.flights, f)
	return f, more
}

// spare takes out of f what an operator has given up or says has arrived, and reports whether anything is left.
func (s *sending) spare(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return false
	}
	if f.its = slices.DeleteFunc(f.its, s.l.ruled); len(f.its) == 0 {
		s.remove(f)
	}
	return len(f.its) > 0
}

// unmarked puts f back: its records could not be marked done, so they must not be sent now.
func (s *sending) unmarked(f *flight, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return
	}
	s.pending = append(s.pending, f.its...)
	s.remove(f)
	s.failLocked(&adapters.Error{Op: "mark", Addr: s.l.address(), Kind: adapters.Transient, Err: err})
}

// load answers for what cannot be converted and returns what is to be handed over, which is f's from now on; nothing if
// there is none left.
func (s *sending) load(f *flight, fs []fitted) []*adapters.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return nil
	}
	if s.stuck(f, fs) {
		return nil
	}
	ms, its := make([]*adapters.Message, 0, len(fs)), f.its[:0:len(fs)]
	for i, it := range f.its {
		if s.l.fitted(it, fs[i]) {
			ms, its = append(ms, fs[i].m), append(its, it)
		}
	}
	if f.its = its; len(its) == 0 {
		s.remove(f)
		return nil
	}
	f.at = time.Now()
	s.l.tries(f.its, f.at)
	for _, it := range its {
		it.handed.Store(true)
	}
	if _, ok := s.t.(adapters.Poster); !ok {
		f.due = f.at.Add(patience * s.l.cfg.Limits.Confirm)
	}
	return ms
}

// stuck puts f back if one of its messages cannot be sent and the lane stops at it. s.mu is held.
func (s *sending) stuck(f *flight, fs []fitted) bool {
	for i, it := range f.its {
		if err := fs[i].err; err != nil && !errors.Is(err, bridge.ErrExpired) && s.l.stopsAt(it, unsendable(err), err) {
			for _, f := range fs {
				endSpan(f.span, err)
			}
			s.pending = append(s.pending, f.its...)
			s.remove(f)
			s.failLocked(&adapters.Error{Op: "convert", Addr: s.l.address(), Kind: adapters.Permanent, Err: err})
			return true
		}
	}
	return false
}

// A handed batch has a receipt, or was not taken.
type handed struct {
	r   adapters.Receipt
	err error
}

// hand posts ms, which are its, or sends them where the target can do no more than one batch at a time.
func (s *sending) hand(ctx context.Context, its []*item, ms []*adapters.Message) handed {
	switch t := s.t.(type) {
	case adapters.TxTarget:
		n, err := adapters.Result(s.l.sendTx(ctx, t, its, ms))
		return handed{sent{n, err}, nil}
	case adapters.Poster:
		r, err := t.Post(ctx, ms)
		return handed{r, err}
	}
	n, err := s.t.Send(ctx, ms)
	return handed{sent{n, err}, nil}
}

type sent struct {
	n   int
	err error
}

func (s sent) Wait(context.Context) (int, error) { return s.n, s.err }

// posted notes how the handing over ended and reports whether more may be posted. An error of Post other than Lost says
// that nothing was taken (adapters.Poster).
func (s *sending) posted(f *flight, h handed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return false
	}
	f.due = time.Now().Add(patience * s.l.cfg.Limits.Confirm)
	if f.r = h.r; h.err != nil {
		f.r = sent{0, h.err}
		if adapters.KindOf(h.err) != adapters.Lost {
			f.untaken = h.err
		}
	}
	s.more.kick()
	return h.err == nil
}

// collect waits for the receipts that there are, in order, and answers for every item. It reports whether there will be no
// more.
func (s *sending) collect(work context.Context) (over bool) {
	for {
		f, over := s.head()
		if f == nil {
			return over
		}
		failpoint.Hit("C08")
		n, err := f.r.Wait(work)
		failpoint.Hit("C09")
		s.land(f, adapters.Fates(len(f.its), n, err))
	}
}

// head returns the oldest flight if it has been handed over.
func (s *sending) head() (f *flight, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned || s.closed && len(s.flights) == 0 {
		return nil, true
	}
	if len(s.flights) > 0 && s.flights[0].r != nil {
		return s.flights[0], false
	}
	return nil, false
}

func (s *sending) land(f *flight, fates []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return
	}
	s.remove(f)
	n := duplicates(s.t)
	s.l.count.absorbed.Add(int64(n - s.again))
	s.again = n
	var again []*item
	for i, it := range f.its {
		if s.settle(f, it, fates[i]) {
			again = append(again, it)
		}
	}
	if f.untaken != nil {
		s.failLocked(f.untaken)
	}
	s.pending = append(s.pending, again...)
	s.l.landed(len(f.its) - len(again))
}

// duplicates is how many messages the broker of t had already, as far as it tells.
func duplicates(t adapters.Target) uint64 {
	if d, ok := t.(adapters.Deduplicator); ok {
		return d.Duplicates()
	}
	return 0
}

// settle decides what becomes of one item and reports whether it is sent again. s.mu is held.
func (s *sending) settle(f *flight, it *item, err error) (again bool) {
	it.endSpan(err)
	kind := adapters.KindOf(err)
	switch {
	case err == nil:
		if s.ok.Add(1) == 1 {
			s.l.end.works()
			s.l.work(true)
		}
		s.l.confirmed(it, f.at)
		return false
	case fateOf(kind).again:
		if f.untaken == nil {
			if s.failLocked(err); s.l.unrepeated(it, kind) {
				return false
			}
			it.maybe = it.maybe || !kind.Definite()
			s.l.count.retry(kind)
		}
		return true
	}
	if s.l.stopsAt(it, refusalOf(err), err) {
		s.failLocked(err)
		return true
	}
	if s.l.holdsKey(it, refusalOf(err), err) {
		s.failLocked(err)
		return true
	}
	s.l.refuse(it, refusalOf(err), err)
	s.l.end.works() // it has answered; there may be nothing else to send that shows it
	s.l.work(true)
	return false
}

// remove takes f, which is the oldest or the newest, out of the flights. s.mu is held.
func (s *sending) remove(f *flight) {
	if s.flights[0] == f {
		s.flights[0] = nil
		s.flights = s.flights[1:]
	} else {
		s.flights = s.flights[:len(s.flights)-1]
	}
	s.more.kick()
}

// fail notes the first failure and ends the posting.
func (s *sending) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *sending) failLocked(err error) {
	if s.err == nil {
		s.err = err
		for _, f := range s.flights { // a Post that waits for room has to end now
			if f.due.IsZero() {
				f.due = time.Now().Add(patience * s.l.cfg.Limits.Confirm)
			}
		}
	}
	if s.l.keyed() && adapters.KindOf(err) == adapters.Permanent { // the target is well, and other keys may pass: what is being handed over
		signal(s.l.wake) // to it shall not be in doubt
		return
	}
	s.cancel()
}

func (s *sending) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sending) confirmed() bool { return s.ok.Load() > 0 }
