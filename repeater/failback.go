package repeater

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// addresses are where a broker can be reached (delivery.md, section 9). The ends of a broker stay at the address that
// they have found, so that they stay together; when the first has been healthy for the stated time all of them go back to
// it, each after its own confirms and settles.
type addresses struct {
	list     []string
	tries    int           // of one address, before the next one is tried
	failback time.Duration // how long the first must be healthy; 0 = never
	log      *slog.Logger

	mu     sync.Mutex
	at     int    // the one in use
	next   int    // the one that is tried next
	failed int    // tries of that one in a row, where several are made
	id     string // of the broker that was reached first
	home   chan struct{}
}

func newAddresses(b *routes.Broker, log *slog.Logger) *addresses {
	return &addresses{list: b.Config.Addresses, tries: max(b.Tries, 1), failback: b.Failback, log: log, home: make(chan struct{})}
}

// order is what one attempt to connect tries: all addresses, beginning with the one in use; where each has several
// tries, one address.
func (a *addresses) order() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) < 2 {
		return a.list
	}
	if a.tries > 1 {
		return a.list[a.next : a.next+1]
	}
	return slices.Concat(a.list[a.next:], a.list[:a.next])
}

// missed notes that an attempt has failed, and reports whether the next one is made without a pause, because it is that of
// another address.
func (a *addresses) missed() (atOnce bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed++; a.failed < a.tries || len(a.list) == 0 {
		return false
	}
	a.failed = 0
	if a.tries > 1 {
		a.next = (a.next + 1) % len(a.list)
		return a.next != a.at
	}
	a.next = 0
	return false
}

// reached notes where an end has attached, and returns what is closed when it shall go back to the first address; nil if
// it is there.
func (a *addresses) reached(p adapters.Peer) (home <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.id == "" {
		a.id = p.ID
	}
	i := slices.Index(a.list, p.Address)
	if i < 0 {
		return nil
	}
	if i != a.at {
		a.log.Warn(msgAddress, "from", a.list[a.at], "to", p.Address)
	}
	a.at, a.next, a.failed = i, i, 0
	if i == 0 {
		return nil
	}
	return a.home
}

// foreign says that p is not the broker that was reached before. Under exactly-once that is an error: another broker has
// another state and another window, and takes for new what the first has.
func (a *addresses) foreign(p adapters.Peer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.id == "" || p.ID == "" || p.ID == a.id {
		return nil
	}
	return fmt.Errorf("the broker at %s is %q, and the one that was reached before is %q: delivery: exactly-once does not go from one broker to another, "+
		"for the second does not know what the first has (take the address off the list; after a change on purpose restart the daemon)", p.Address, p.ID, a.id)
}

// away reports whether some end is at another address than the first.
func (a *addresses) away() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at != 0
}

// back makes the first address the one to use, and tells the ends at all others.
func (a *addresses) back() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log.Info(msgFailback, "from", a.list[a.at], "to", a.list[0], "healthy_for", a.failback)
	a.at, a.next, a.failed = 0, 0, 0
	close(a.home)
	a.home = make(chan struct{})
}

// watch asks the first address for a sign of life in every heartbeat while another one is in use, and goes back when it
// has answered for long enough without a failure. once says whether exactly-once is promised at this broker.
func (a *addresses) watch(ctx context.Context, heartbeat time.Duration, once func() bool, ping func(context.Context) (adapters.Peer, error)) {
	if a.failback == 0 || len(a.list) < 2 {
		return
	}
	var since time.Time
	warned := false
	for wait(ctx, heartbeat) {
		if !a.away() {
			since, warned = time.Time{}, false
			continue
		}
		now := time.Now()
		p, err := ping(ctx)
		if err == nil && once() {
			if err = a.foreign(p); err != nil && !warned {
				a.log.Error(msgForeign, "err", err)
				warned = true
			}
		}
		switch {
		case err != nil:
			since = time.Time{}
		case since.IsZero():
			since = now
		case now.Sub(since) >= a.failback:
			a.back()
			since = time.Time{}
		}
	}
}

// pingFirst is one sign of life of the first address of c, bounded.
func pingFirst(p adapters.Pinger, c adapters.Config) func(context.Context) (adapters.Peer, error) {
	c.Addresses = c.Addresses[:1]
	return func(ctx context.Context) (peer adapters.Peer, err error) {
		ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
		defer cancel()
		if !bounded(ctx, func() { peer, err = p.Ping(ctx, c) }) {
			return adapters.Peer{}, errNoAnswer
		}
		return peer, err
	}
}

// watchAddresses serves the brokers that have several addresses, until ctx ends. Gates that are watched already stay so; a
// broker that has another gate gets another watch.
func (r *Repeater) watchAddresses(ctx context.Context, wg *sync.WaitGroup) {
	w := r.now.Load()
	for name, g := range w.gates {
		b := w.table.Brokers[name]
		p, ok := w.kinds[b.Kind].(adapters.Pinger)
		if !ok || len(b.Config.Addresses) < 2 || r.watches[name] != nil {
			continue
		}
		cfg := w.configs[name]
		own, stop := context.WithCancel(ctx)
		r.watches[name] = stop
		wg.Go(func() {
			g.where.watch(own, cfg.Heartbeat, func() bool { return r.promisesOnce(name) }, pingFirst(p, cfg))
		})
	}
}

// promisesOnce reports whether a lane to the broker promises exactly-once.
func (r *Repeater) promisesOnce(broker string) bool {
	for _, f := range r.flows() {
		for _, l := range f.lanes() {
			if l.target.Addr.Broker == broker && l.cfg.Once {
				return true
			}
		}
	}
	return false
}

// peerOf is what an open end tells of its broker.
func peerOf(v any) adapters.Peer {
	if d, ok := v.(adapters.Described); ok {
		return d.Peer()
	}
	return adapters.Peer{}
}
