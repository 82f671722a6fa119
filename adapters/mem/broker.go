package mem

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Options are what a broker is for its whole life.
type Options struct {
	Window   bool   // a Track.ID that was taken before is confirmed and dropped: T-window
	Tx       bool   // it has transactions (OpenTx): T-tx, also where Window is set
	MaxSize  int64  // bytes of one message as Message.Size counts them; 0 = no limit
	Password string // "" = everybody may come in
}

// Rules are how one queue behaves now.
type Rules struct {
	Missing bool                         // it does not exist: NotFound
	Denied  bool                         // nobody may use it: Denied
	Room    int                          // messages it holds, unsettled ones included, before it is Full; 0 = no limit
	Refuse  func(*adapters.Message) bool // messages it never takes: Permanent; must not call the broker

	// Judged, where set, is told of every message that arrives from a Target and of the answer to it, nil when it was
	// taken, in the order of arrival and before the answer travels. It must not call the broker.
	Judged func(*adapters.Message, error)
}

// A Broker keeps queues in memory. Queues come into being when they are first named. Safe for concurrent use.
type Broker struct {
	name string
	opts Options
	link *Link

	mu     sync.Mutex
	places map[string]*place
	lanes  map[string]*lane // by name: what transactions have left, for good
	links  []*Link
	down   bool
}

// NewBroker makes a broker with no queues.
func NewBroker(name string, o Options) *Broker {
	b := &Broker{name: name, opts: o, places: make(map[string]*place), lanes: make(map[string]*lane)}
	b.link = b.NewLink()
	return b
}

// Link is the way that ends without Config.Dial go.
func (b *Broker) Link() *Link { return b.link }

// NewLink makes another way to the broker, for Config.Dial.
func (b *Broker) NewLink() *Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &Link{b: b, ends: make(map[*end]struct{}), changed: make(chan struct{})}
	b.links = append(b.links, l)
	return l
}

// Kill ends the broker as SIGKILL would: all connections are lost and so is every message whose receipt was not waited
// for. Nobody gets in before Start.
func (b *Broker) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = true
	why := errors.New("connection reset")
	for _, l := range b.links { // sources first: what they hold and nobody synced has to be back in its queue to be forgotten
		for e := range l.ends {
			if _, ok := e.user.(*Source); ok {
				e.lose(why, true)
			}
		}
	}
	for _, l := range b.links {
		for e := range l.ends {
			e.lose(why, true)
		}
	}
}

// Start brings a killed broker back with what it had confirmed.
func (b *Broker) Start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = false
}

// SetRules replaces the rules of a queue. Ends that are attached stay attached.
func (b *Broker) SetRules(queue string, r Rules) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.place(queue).rules = r
}

// Put appends copies of ms to a queue, whatever its rules.
func (b *Broker) Put(queue string, ms ...*adapters.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.place(queue)
	for _, m := range ms {
		p.push(clone(m), nil)
	}
	p.dispatch()
}

// Take removes the first n messages of a queue, waiting for them until ctx ends. What it has taken by then it returns
// beside the error.
func (b *Broker) Take(ctx context.Context, queue string, n int) ([]*adapters.Message, error) {
	var ms []*adapters.Message
	for {
		b.mu.Lock()
		p := b.place(queue)
		for len(ms) < n && len(p.ready) > 0 {
			ms = append(ms, p.ready[0].msg)
			p.ready = p.ready[1:]
		}
		changed := p.changed
		b.mu.Unlock()
		if len(ms) == n {
			return ms, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ms, ctx.Err()
		}
	}
}

// Len is the number of messages in a queue: those that wait, and those handed to a source and not settled.
func (b *Broker) Len(queue string) (waiting, unsettled int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.place(queue)
	return len(p.ready), p.unsettled()
}

// Aside is what sources of a queue have rejected, oldest first.
func (b *Broker) Aside(queue string) []*adapters.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.place(queue).aside)
}

// place returns the queue called name. b.mu is held.
func (b *Broker) place(name string) *place {
	p := b.places[name]
	if p == nil {
		p = &place{b: b, name: name, changed: make(chan struct{}), seen: make(map[string]struct{})}
		b.places[name] = p
	}
	return p
}

// A place is one queue. Broker.mu guards all of it.
type place struct {
	b       *Broker
	name    string
	rules   Rules
	ready   []*item // sorted by seq
	aside   []*adapters.Message
	sources []*Source
	next    int // of sources, to serve them in turn
	seq     uint64
	seen    map[string]struct{} // Track.IDs taken, where the broker has a window
	changed chan struct{}       // closed and replaced when ready has grown
}

// An item is one message in a queue or with a source.
type item struct {
	msg      *adapters.Message
	seq      uint64
	attempts int     // times that Receive handed it out
	volatile *Target // sent by it, not yet synced
	dropped  bool    // by a kill, while it was volatile
}

// push appends m. The caller dispatches.
func (p *place) push(m *adapters.Message, by *Target) *item {
	p.seq++
	it := &item{msg: m, seq: p.seq, volatile: by}
	p.ready = append(p.ready, it)
	p.wake()
	return it
}

// putBack returns items to where they belong in the order.
func (p *place) putBack(its ...*item) {
	if len(its) == 0 {
		return
	}
	p.ready = append(p.ready, its...)
	slices.SortFunc(p.ready, func(a, b *item) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	p.wake()
}

func (p *place) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// synced makes what t sent survive from now on.
func (p *place) synced(t *Target) {
	for _, it := range p.ready {
		if it.volatile == t {
			it.volatile = nil
		}
	}
}

// forget drops what t sent and nobody synced.
func (p *place) forget(t *Target) {
	p.ready = slices.DeleteFunc(p.ready, func(it *item) bool {
		if it.volatile != t {
			return false
		}
		it.dropped = true
		delete(p.seen, it.msg.Track.ID)
		return true
	})
}

func (p *place) unsettled() (n int) {
	for _, s := range p.sources {
		n += len(s.arrived) + len(s.open)
	}
	return n
}

// dispatch sends what waits to the sources that have room, in turn.
func (p *place) dispatch() {
	for idle := 0; len(p.ready) > 0 && idle < len(p.sources); {
		p.next = (p.next + 1) % len(p.sources)
		s := p.sources[p.next]
		if !s.room() {
			idle++
			continue
		}
		idle = 0
		s.take(p.ready[0], time.Now())
		p.ready = p.ready[1:]
	}
}

// accept judges one message that has arrived and keeps it; the error has a definite Kind.
func (p *place) accept(m *adapters.Message, by *Target) (*item, error) {
	it, err := p.judge(m, by)
	if p.rules.Judged != nil {
		p.rules.Judged(m, err)
	}
	return it, err
}

func (p *place) judge(m *adapters.Message, by *Target) (*item, error) {
	if err := p.refusal(m, by); err != nil {
		return nil, err
	}
	if id := m.Track.ID; p.b.opts.Window && id != "" {
		if _, dup := p.seen[id]; dup {
			return nil, nil
		}
	}
	if err := p.overflow(1, by); err != nil {
		return nil, err
	}
	if p.b.opts.Window {
		p.seen[m.Track.ID] = struct{}{}
	}
	return p.push(m, by), nil
}

// refusal is what the rules say against m, room left aside.
func (p *place) refusal(m *adapters.Message, by *Target) error {
	switch {
	case p.rules.Missing && m.Dest != "", p.rules.Denied && m.Dest != "":
		return &adapters.Error{Op: "send", Addr: by.at, Kind: adapters.Permanent, Err: adapters.ErrGone}
	case p.rules.Missing:
		return by.refusal(adapters.NotFound, "no such queue")
	case p.rules.Denied:
		return by.refusal(adapters.Denied, "user may not use this queue")
	case p.rules.Refuse != nil && p.rules.Refuse(m):
		return by.refusal(adapters.Permanent, "refused by the queue")
	}
	return nil
}

// overflow refuses n more messages where there is no room for them.
func (p *place) overflow(n int, by *Target) error {
	if p.rules.Room > 0 && len(p.ready)+p.unsettled()+n > p.rules.Room {
		return by.refusal(adapters.Full, "the queue is full")
	}
	return nil
}

func (t *Target) refusal(k adapters.Kind, why string) error {
	return &adapters.Error{Op: "send", Addr: t.at, Kind: k, Err: errors.New(why)}
}
