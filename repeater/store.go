package repeater

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// A store is a lane's part of the journal. It says which way a message takes:
//
//	passing   push -> lane.queue -> sending                                  no disk is touched
//	stored    push -> incoming -> journal (spooling.go) -> lane.queue (draining.go) -> sending -> done mark
//
// The transitions are those of delivery.md, section 3. In mode auto a lane is stored from the first failure of its
// target (spill, X1) until nothing of it is left in the journal (tryPass, X3). In mode always it is stored for ever. In
// mode never it is stored only while there are records of an earlier life (X7).
//
// What is guarded by lane.mu says so; no method that holds it waits or touches the disk.
type store struct {
	l       *lane
	j       *spool.Lane
	journal *spool.Spool
	mode    routes.SpoolMode
	reject  bool          // when full, messages go back to a place of the source's own
	quota   int64         // bytes in the journal, 0 = no bound
	maxAge  time.Duration // 0 = no bound
	rate    *rate.Limiter // of draining, nil = no bound; guarded by lane.mu
	first   uint64        // records before it are of an earlier life

	writes sync.WaitGroup // appends that have not come back

	head  atomic.Pointer[age] // of the oldest record, as status saw it last
	fold  fold                // of lines about troubles that go on
	grow  *worker             // there may be something to append
	marks *worker             // there may be done marks to write
	room  chan struct{}       // there may be room for another record in the lane's queue, or none left to be read
	space chan struct{}       // there may be room in the journal

	// Guarded by lane.mu.
	stored    bool
	feeder    *worker                   // of the target in use
	incoming  []*item                   // received, not in the journal, in order
	appending int                       // in the append that runs
	single    bool                      // the last append was too large: one at a time
	records   int64                     // in the journal, their done mark is not on disk; below 0 while one is done before its append has come back
	unmarked  int                       // of them: the target has them
	top       uint64                    // the highest record that was marked
	marked    uint64                    // the highest whose mark is on disk
	fed       sparse[uint64, bool]      // of them: in the lane's queue or in flight, by sequence
	fedBytes  int64                     // of these
	working   bool                      // a target is open, and the last thing sent did not fail
	eager     bool                      // what has just been spilled has to be appended before the lane may pass again
	yielding  bool                      // too slow: nothing more is sent, and with the last answer the lane is stored
	full      error                     // why nothing can be appended now
	failed    error                     // why nothing will ever be appended
	held      sparse[uint64, time.Time] // refused by the target, and when they are tried again
	refused   sparse[uint64, refusal]   // what is known of them, and of those under way again
	unsure    sparse[uint64, bool]      // sent with unknown outcome
	elsewhere sparse[uint64, bool]      // sent with unknown outcome to a place that the lane had before a reload
	firsts    sparse[uint64, time.Time] // of these: when they were first sent, in this life
	sent      uint64                    // records up to here may have been sent in an earlier life
	doubtful  int                       // and so many behind them
	appended  int64                     // since the start
	seen      sparse[string, uint64]    // records of an earlier life whose settle may not have got to the source, by its own id
	lines     lines                     // keys that are held
	kept      int                       // of the records: the target has them, and only their settle is waited for
	settling  sparse[uint64, bool]      // records whose settle is not confirmed: whether the target has them (exactly-once)
	at        adapters.Position         // of the target, where the lane sends transactions
	claimed   map[uint64]bool           // dead letters that an operator does something with; nil: none
	reading   uint64                    // the record set aside that was read again last
	peeks     int                       // records in order that are being read: of more than one feed where a target was abandoned
	ended     sparse[uint64, bool]      // meanwhile these were done
	passed    uint64                    // the reader in order of the target in use is behind this record
	tried     uint64                    // the highest record of a transaction that was begun
	copied    uint64                    // records before this one came with a copied journal: the daemon of the original may have sent them
	certain   bool                      // a second send is recognised, or there is none: nothing is flagged
	taken     bool                      // a store that came after this one has its records
	torn      bool                      // an append was under way when the work ended: its messages are with their source, and may be here
	exact     bool                      // a record is marked done only when its settle is confirmed
}

// A sparse map is made with its first entry: most lanes never have one.
type sparse[K comparable, V any] map[K]V

func (m *sparse[K, V]) set(k K, v V) {
	if *m == nil {
		*m = make(sparse[K, V])
	}
	(*m)[k] = v
}

// maxHeld is how many refused messages a lane sets aside before it stops at them.
const maxHeld = 256

var errSlow = errors.New("the target is too slow for the source")

// newStore makes the store of l over j. clean says that the journal's last user has closed it: then no record has been
// sent with unknown outcome.
func newStore(l *lane, journal *spool.Spool, j *spool.Lane, clean bool) *store {
	route, st := l.of.route, j.Stats()
	b := &store{
		l: l, j: j, journal: journal, mode: route.Spool.Mode, reject: route.Spool.WhenFull == routes.FullReject,
		quota: route.Spool.MaxSize, maxAge: route.Spool.MaxAge, first: st.Next, records: int64(st.Live), marked: st.Done,
		stored: st.Live > 0 || route.Spool.Mode == routes.SpoolAlways,
		grow:   newWorker(nil), marks: newWorker(nil), room: make(chan struct{}, 1), space: make(chan struct{}, 1),
		exact:   route.Delivery == routes.ExactlyOnce,
		certain: certain(route.Delivery),
	}
	b.drainAt(l.limits().DrainRate)
	if !clean { // what was sent and not marked lies before the last mark, or within a window behind it
		b.sent, b.doubtful = st.Done, b.inDoubtAfterACrash()
	}
	j.SetQuota(b.quota)
	return b
}

// takes reports whether new messages go to the journal. lane.mu is held.
func (b *store) takes() bool { return b != nil && b.stored }

// spill is X1: what waits goes to the journal, in its order, before everything that comes later. Nothing is in flight,
// and lane.mu is held.
func (b *store) spill() {
	if b == nil || b.mode != routes.SpoolAuto || b.stored || b.l.closed {
		return
	}
	b.stored, b.eager, b.yielding = true, true, false
	b.incoming = append(b.incoming, b.l.recall()...)
	b.grow.kick()
	b.feeder.kick()
}

// tryPass is X3: the lane passes its messages on again when nothing of it is in the journal, on the way there, or on the
// way out, and the last done mark is on disk. Refused records do not hinder it: they have left their place. lane.mu is held.
func (b *store) tryPass() {
	l := b.l
	if !b.stored || b.mode == routes.SpoolAlways || !b.works() || b.eager || b.failed != nil || b.appending > 0 || !b.lines.empty() ||
		l.flying > 0 || len(b.fed) > 0 || b.unmarked > 0 || b.waiting() > 0 {
		return
	}
	b.stored, b.full = false, nil
	signal(b.room) // the feeder may go
	l.queue = append(l.queue, b.incoming...)
	b.incoming = nil
	signal(l.wake)
}

// waiting is how many records still have to be delivered, without those set aside. lane.mu is held.
func (b *store) waiting() uint64 { return uint64(max(0, b.records-int64(len(b.held)+b.kept))) }

// backlog is how many records are not known to be with the target. lane.mu is held.
func (b *store) backlog() uint64 { return uint64(max(0, b.records-int64(b.kept))) }

// uncertain is how many records a crash now would leave in doubt, besides those in flight: what the target has and the
// journal does not know, and what it has refused behind the last mark. They count as in flight, so that after a crash a
// window behind the last mark holds everything that may have been sent. lane.mu is held.
func (b *store) uncertain() int { return b.unmarked + b.asideBehind() }

// asideBehind is how much of the window is taken by what was refused behind the last mark. lane.mu is held.
func (b *store) asideBehind() int {
	if b.l.keyed() {
		return max(0, b.heldBehind()+b.parkedBehind()-mostPassed)
	}
	return b.heldBehind()
}

// shut reports whether what is set aside takes the whole window, so that nothing else can be sent before it is tried again.
// Transactions have no such window. lane.mu is held.
func (b *store) shut() bool { return !b.l.tx && b.asideBehind() >= b.l.window() }

// inDoubtAfterACrash is how many records behind the last mark may have been sent when the repeater dies.
func (b *store) inDoubtAfterACrash() int {
	if b.l.keyed() {
		return b.l.window() + mostPassed
	}
	return b.l.window()
}

// heldBehind is how many of the records set aside lie behind the last mark. lane.mu is held.
func (b *store) heldBehind() (n int) {
	for seq := range b.held {
		if seq > b.marked {
			n++
		}
	}
	return n
}

// stopped reports whether the lane stops at what is set aside. lane.mu is held.
func (b *store) stopped() bool {
	if b.l.keyed() {
		return b.lines.full() || b.heldBehind()+b.parkedBehind() >= mostPassed
	}
	return len(b.held) >= maxHeld || b.heldBehind() >= b.l.window()
}

// works reports whether what is appended may soon be sent. lane.mu is held.
func (b *store) works() bool { return b.working && b.l.told == nil }

// pauses reports whether what was received waits in memory, and so at its source, instead of being appended: the way
// back to pass-through must end under a steady inflow (X4), and mode never appends nothing. lane.mu is held.
func (b *store) pauses() bool {
	switch b.mode {
	case routes.SpoolNever:
		return true
	case routes.SpoolAuto:
		return b.works() && !b.eager && b.lines.empty() && b.waiting() <= uint64(b.l.window())
	}
	return false
}

// slow is X1 for a target that does not keep up.
func (l *lane) slow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.store
	if b == nil || b.stored || b.mode != routes.SpoolAuto {
		return
	}
	if b.yielding = true; l.flying == 0 {
		b.spill()
	}
	l.note(errSlow)
}

// work notes whether a target is open and takes messages.
func (l *lane) work(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.store
	if b == nil || b.working == yes {
		return
	}
	b.working = yes
	b.grow.kick()
	b.tryPass()
	l.note(nil)
}

// spill notes that the target is away.
func (l *lane) spill(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store.spill()
	l.note(why)
}

// linkChanged takes in what the lane's end has found: a target that cannot be reached makes the lane spool.
func (l *lane) linkChanged(s LinkState, why error) {
	l.turns.linkIs(s)
	l.linkIs(s)
	if s != LinkDown {
		why = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == LinkDown && l.flying == 0 {
		l.store.spill()
	}
	l.note(why)
}

// recall empties the lane's queue: records stay in the journal, the others are returned. lane.mu is held.
func (l *lane) recall() []*item {
	its := l.parcels(l.queue)
	l.queue = nil
	return its
}

// parcels returns what of its does not come from the journal; the rest is read again. lane.mu is held.
func (l *lane) parcels(its []*item) []*item {
	return slices.DeleteFunc(slices.Clone(its), func(it *item) bool {
		if !it.record() {
			return false
		}
		l.store.unfeed(it)
		if it.maybe {
			l.store.unsure.set(it.seq, true)
			if !it.tried.IsZero() {
				l.store.firsts.set(it.seq, it.tried)
			}
		}
		if it.refused.times > 0 {
			l.store.refused.set(it.seq, it.refused)
		}
		return true
	})
}

// unfeed notes that it is neither in the queue nor in flight any more. lane.mu is held.
func (b *store) unfeed(it *item) {
	delete(b.fed, it.seq)
	b.fedBytes -= it.size
	signal(b.room)
}

// answered notes what the target did with a record.
func (b *store) answered(it *item, st itemState) {
	if st == itemConfirmed && !b.keeps(it.seq) {
		b.done(it.seq)
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.unfeed(it)
	if st == itemRefused {
		b.refused.set(it.seq, it.refused)
		b.held.set(it.seq, time.Now().Add(b.l.aside(it)))
		b.l.note(nil)
	}
}

// complain logs a trouble that is tried again and again: one line a minute.
func (b *store) complain(msg string, err error) {
	if more, ok := b.fold.line(time.Now()); ok {
		b.l.log.Error(msg, "err", err, "repeats", more)
	}
}

// done marks a record: it is never handed out again, and its room is free when the mark is on disk.
func (b *store) done(seq uint64) {
	if mutantHighWater {
		b.doneUpTo(seq)
	}
	if err := b.j.Done(seq); err != nil {
		b.l.log.Error(msgMark, "seq", seq, "err", err)
		return
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.unmarked++
	b.top = max(b.top, seq)
	if b.peeks > 0 {
		b.ended.set(seq, true)
	}
	b.freeKey(seq)
	b.closeHole(seq)
	delete(b.unsure, seq)
	delete(b.elsewhere, seq)
	delete(b.firsts, seq)
	delete(b.refused, seq)
	b.marks.kick()
}

// doneUpTo is a planted bug: a high-water mark in place of a set. What was refused and waits to be tried again counts as
// done with the first one behind it.
func (b *store) doneUpTo(seq uint64) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	for n := range b.held {
		if n < seq && b.j.Done(n) == nil {
			delete(b.held, n)
			b.unmarked++
		}
	}
}
