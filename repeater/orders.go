package repeater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// What operators tell routes and lanes to do (delivery.md, the life of a lane). An order to pause or drain stands until
// another one is given: over reloads, and with a spool over starts, where it is kept beside the journal before it is obeyed.
//
// A paused lane sends nothing. What is in flight is waited for; what comes goes to its part of the journal, or, without one,
// waits at the source. The source of a route is read as long as one of the routes that share it is to run. When none is, its
// session ends as at a stop: what no lane has begun to send goes back, the rest is confirmed or spooled and then settled.
// So nothing is lost, and nothing is sent twice for it.

// An Order is what an operator tells a route, or one of its lanes, to do.
type Order string

// The orders.
const (
	Pause   Order = "pause"   // receive nothing, send nothing
	Drain   Order = "drain"   // receive nothing, send what is there, then pause; routes only
	Resume  Order = "resume"  // go on
	Restart Order = "restart" // end as at a stop of the daemon, and begin again; routes only
)

// Orders lists them.
func Orders() []Order { return []Order{Pause, Drain, Resume, Restart} }

// Why an order was not taken.
var (
	ErrNoRoute  = errors.New("no route of that name runs here")
	ErrNoOrder  = errors.New("no such order")
	ErrShared   = errors.New("other routes read the same source, and it cannot stop for this one alone")
	ErrLaneOnly = errors.New("a lane can only be paused and resumed: its source is that of its route")
)

// A Standing is an order that holds until another one is given.
type Standing struct {
	Order  Order     `json:"order"` // pause or drain
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Ended  bool      `json:"drained,omitempty"` // it was an order to drain, and that is done
}

// A Command is an order for one route or lane.
type Command struct {
	Name   string // ROUTE or ROUTE/TARGET
	Order  Order
	By     string // who gives it
	Reason string // may be empty
	DryRun bool   // only say what it would do
}

// An Obeyed says what became of a command. The status shows how far it is carried out.
type Obeyed struct {
	Name    string    `json:"name"`
	Order   Order     `json:"order"`
	DryRun  bool      `json:"dry_run"`
	Changed bool      `json:"changed"` // false: it had been told so before
	Stands  *Standing `json:"stands"`  // null: it runs
	Shares  []string  `json:"shares"`  // routes that read the same source and keep it going: messages are spooled, or hold them up
	Begun   []string  `json:"begun"`   // routes that were ended and begun again, for restart
}

// ordersFile is in the journal's directory; the journal itself does not look at it.
const ordersFile = "orders.json"

// drainLook is how often a route that drains is looked at.
const drainLook = 250 * time.Millisecond

// orders are those that stand. They are safe for concurrent use.
type orders struct {
	path string // "" = in memory only
	log  *slog.Logger
	wake chan struct{} // some route is to drain

	mu    sync.Mutex
	given standings
}

// standings are orders that stand, by ROUTE or ROUTE/TARGET.
type standings map[string]Standing

func newOrders(log *slog.Logger) *orders {
	return &orders{log: log, wake: make(chan struct{}, 1), given: standings{}}
}

// read takes in what an earlier life has kept. A file that cannot be read ends the start: a route that somebody has paused
// must not run.
func (o *orders) read() error {
	if o.path == "" {
		return nil
	}
	text, err := os.ReadFile(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &o.given)
	}
	if err != nil {
		return fmt.Errorf("%s says which routes are paused, and cannot be read: mend it, or remove it to let all routes run: %w", o.path, err)
	}
	signal(o.wake)
	return nil
}

// keep makes given what stands, on the disk first. mu is held.
func (o *orders) keep(given standings) error {
	if o.path != "" {
		text, err := json.MarshalIndent(given, "", " ")
		if err == nil {
			err = writeDurably(o.path, text)
		}
		if err != nil {
			return fmt.Errorf("the order could not be kept, and is not obeyed: %w", err)
		}
	}
	o.given = given
	return nil
}

// of is what a route or lane has been told; nil if it is to run. One that has another name now is still meant.
func (o standings) of(name, before string) *Standing {
	s, ok := o[name]
	if !ok && before != "" {
		s, ok = o[before]
	}
	if !ok {
		return nil
	}
	return &s
}

// ofRoute is what a route has been told.
func (o standings) ofRoute(r *routes.Route) *Standing { return o.of(r.Name, r.RenamedFrom) }

// with is o with s for name, whatever stood there under the name before; without it, if s is nil.
func (o standings) with(name, before string, s *Standing) standings {
	out := maps.Clone(o)
	delete(out, before)
	delete(out, name)
	if s != nil {
		out[name] = *s
	}
	return out
}

// obeyed makes f do what was told, before it begins.
func (o *orders) obeyed(f *flow) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.obey(f)
}

// obey makes f do what its routes and lanes have been told. mu is held.
func (o *orders) obey(f *flow) {
	still := true
	for _, r := range f.routes {
		still = still && o.given.ofRoute(r.route) != nil
	}
	f.valve.set(still)
	for _, r := range f.routes {
		told := o.given.ofRoute(r.route)
		r.told.Store(told)
		for _, l := range r.lanes {
			own := o.given.of(l.name, l.was())
			if own == nil && told != nil && told.Order == Pause {
				own = told
			}
			l.tell(own, still)
		}
	}
}

// tell pauses l, or lets it go on for nil. still says that its source is not read.
func (l *lane) tell(s *Standing, still bool) {
	l.mu.Lock()
	l.told, l.ebbs = s, s != nil && still
	if s == nil {
		l.store.goesOn()
		l.goesOn()
	} else {
		l.stand()
	}
	l.mu.Unlock()
	l.idles.Store(s != nil)
	if s != nil && !still {
		l.forsake()
	}
}

// stand makes what waits in l go where it can wait. l.mu is held.
func (l *lane) stand() {
	if l.ebbs {
		l.ebb()
	}
	if b := l.store; b != nil && !b.stored && b.mode == routes.SpoolAuto {
		if b.yielding = true; l.flying == 0 {
			b.spill()
		}
	}
	l.note(nil)
	signal(l.wake)
	if l.store != nil {
		l.store.grow.kick() // what has waited in memory to be sent without the journal waits there
	}
}

// ebb gives back what no lane has begun to send. l.mu is held.
func (l *lane) ebb() {
	back := func(it *item) bool { return !it.record() && l.giveBack(it, it.renounce()) }
	l.queue = slices.DeleteFunc(l.queue, back)
	if b := l.store; b != nil {
		b.incoming = slices.DeleteFunc(b.incoming, back)
	}
}

// goesOn lets a lane pass again that has spooled only because it was paused. lane.mu is held.
func (b *store) goesOn() {
	if b != nil {
		b.grow.kick()
		b.tryPass()
	}
}

// stands reports whether nothing is sent before an operator says so. l.mu is held.
func (l *lane) stands() bool { return l.alarm != nil || l.told != nil }

// Command gives an order. It returns when the order stands, not when it is carried out: status shows that; but of a restart
// it waits for the end. Its errors are ErrNoRoute, ErrNoLane, ErrNoOrder, ErrShared, ErrLaneOnly, ErrOver, that of ctx, or one that
// says why the order could not be kept. Then nothing has changed.
func (r *Repeater) Command(ctx context.Context, c Command) (Obeyed, error) {
	out := Obeyed{Name: c.Name, Order: c.Order, DryRun: c.DryRun, Shares: []string{}, Begun: []string{}}
	f, run := r.runOf(c.Name)
	switch {
	case !slices.Contains(Orders(), c.Order):
		return out, fmt.Errorf("%w: %q", ErrNoOrder, c.Order)
	case run == nil && strings.Contains(c.Name, "/"):
		return out, fmt.Errorf("%q: %w", c.Name, ErrNoLane)
	case run == nil:
		return out, fmt.Errorf("%q: %w", c.Name, ErrNoRoute)
	case run.route.Name != c.Name && (c.Order == Drain || c.Order == Restart):
		return out, fmt.Errorf("%s: %w", c.Name, ErrLaneOnly)
	case c.Order == Restart:
		return r.restart(ctx, c, out)
	}
	return r.orders.give(r, c, f, run, out)
}

// runOf finds a route, or that of a lane, by its name; nil if there is none.
func (r *Repeater) runOf(name string) (*flow, *routeRun) {
	for _, f := range r.flows() {
		for _, run := range f.routes {
			if run.route.Name == name || slices.ContainsFunc(run.lanes, func(l *lane) bool { return l.name == name }) {
				return f, run
			}
		}
	}
	return nil, nil
}

// give makes c stand, and the flows obey.
func (o *orders) give(r *Repeater, c Command, f *flow, run *routeRun, out Obeyed) (Obeyed, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := run.named(c.Name)
	before := o.given.of(c.Name, name)
	switch {
	case c.Order == Resume:
	case before != nil && before.Order == c.Order:
		out.Stands = before
	default:
		out.Stands = &Standing{Order: c.Order, Since: time.Now(), By: c.By, Reason: c.Reason}
	}
	out.Changed = before != out.Stands
	running, draining := o.given.sharing(f, run)
	switch {
	case c.Order == Pause:
		out.Shares = running
	case c.Order == Drain && len(running) > 0:
		return out, fmt.Errorf("%s: %w: %s", c.Name, ErrShared, strings.Join(running, ", "))
	case c.Order == Resume && run.route.Name == c.Name && len(draining) > 0:
		return out, fmt.Errorf("%s: %w: %s drains", c.Name, ErrShared, strings.Join(draining, ", "))
	}
	if c.DryRun || !out.Changed {
		return out, nil
	}
	if err := o.keep(o.given.with(c.Name, name, out.Stands)); err != nil {
		return out, err
	}
	o.log.Warn(msgTold, "name", c.Name, "order", string(c.Order), "by", c.By, "reason", c.Reason)
	for _, f := range r.flows() {
		o.obey(f)
	}
	signal(o.wake)
	return out, nil
}

// named is the name that a route or lane of r had before; "" for none.
func (r *routeRun) named(name string) string {
	if r.route.RenamedFrom == "" {
		return ""
	}
	return r.route.RenamedFrom + strings.TrimPrefix(name, r.route.Name)
}

// sharing are the routes of f, besides not, that are to run and that are to drain.
func (o standings) sharing(f *flow, not *routeRun) (running, draining []string) {
	running = []string{}
	for _, r := range f.routes {
		switch s := o.ofRoute(r.route); {
		case r == not:
		case s == nil:
			running = append(running, r.route.Name)
		case s.Order == Drain:
			draining = append(draining, r.route.Name)
		}
	}
	return running, draining
}

// watch pauses routes that are drained, until ctx ends.
func (o *orders) watch(ctx context.Context, r *Repeater) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		for o.drains() && wait(ctx, drainLook) {
			o.look(r)
		}
	}
}

func (o *orders) drains() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.given {
		if s.Order == Drain {
			return true
		}
	}
	return false
}

// look pauses the routes that are drained now.
func (o *orders) look(r *Repeater) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range r.flows() {
		for _, run := range f.routes {
			told := o.given.ofRoute(run.route)
			if told == nil || told.Order != Drain || !f.rests() || !run.delivered() {
				continue
			}
			ended := &Standing{Order: Pause, Since: time.Now(), By: told.By, Reason: told.Reason, Ended: true}
			given := o.given.with(run.route.Name, run.route.RenamedFrom, ended)
			if err := o.keep(given); err != nil {
				run.log.Error(msgOrders, "err", err)
				o.given = given
			}
			run.log.Info(msgDrained)
			o.obey(f)
		}
	}
}

// delivered reports whether everything that the lanes of r have got is with their targets.
func (r *routeRun) delivered() bool {
	return !slices.ContainsFunc(r.lanes, func(l *lane) bool { return !l.delivered() })
}

// asTold puts into s what the route does of what an operator has told it. A lane that has failed is worse.
func (r *routeRun) asTold(f *flow, s *RouteStatus) {
	s.Told = r.told.Load()
	if s.Told == nil || s.State == stateFailed {
		return
	}
	busy := func(l LaneStatus) bool { return l.State != statePaused }
	switch {
	case s.Told.Order == Drain:
		s.State = stateDraining
	case slices.ContainsFunc(s.Lanes, busy), s.Source.State != LinkPaused.String() && f.halt() == nil && f.alone(r):
		s.State = statePausing
	default:
		s.State = statePaused
	}
}

// alone reports whether no other route of f is to run.
func (f *flow) alone(r *routeRun) bool {
	return !slices.ContainsFunc(f.routes, func(o *routeRun) bool { return o != r && o.told.Load() == nil })
}

// restart ends a route, with what shares its source or its bridge, and begins it again.
func (r *Repeater) restart(ctx context.Context, c Command, out Obeyed) (Obeyed, error) {
	done, err := r.demand(ctx, &reload{again: []string{c.Name}, dry: c.DryRun, done: make(chan struct{})})
	if err != nil {
		return out, err
	}
	r.orders.mu.Lock()
	out.Stands = r.orders.given.of(c.Name, "")
	r.orders.mu.Unlock()
	out.Begun, out.Changed = done.Restarted, true
	if !c.DryRun {
		r.orders.log.Warn(msgTold, "name", c.Name, "order", string(c.Order), "by", c.By, "reason", c.Reason, "begun", strings.Join(out.Begun, " "))
	}
	return out, nil
}

// Reconnect ends all routes that have an end at a broker, with what shares a source or a bridge with them, and begins them again.
// It returns their names. Its errors are ErrNoBroker, ErrOver and that of ctx.
func (r *Repeater) Reconnect(ctx context.Context, broker string, dry bool) ([]string, error) {
	t := r.Table()
	if t.Brokers[broker] == nil {
		return nil, fmt.Errorf("%q: %w", broker, ErrNoBroker)
	}
	at := func(a adapters.Address) bool { return a.Broker == broker }
	var names []string
	for _, route := range t.Routes {
		if route.Enabled && (at(route.From) || slices.ContainsFunc(route.Ends(), at)) {
			names = append(names, route.Name)
		}
	}
	done, err := r.demand(ctx, &reload{again: names, dry: dry, done: make(chan struct{})})
	return done.Restarted, err
}

// ErrNoBroker: the file has no broker of that name.
var ErrNoBroker = errors.New("no broker of that name is in the file")

// prepareAgain is prepare for routes that are begun again as they are.
func (r *Repeater) prepareAgain(now *wiring, names []string) (*prepared, Reloading, error) {
	w := *now
	w.tables = map[string]*replies{}
	out := Reloading{Diff: now.table.Again(names...), Orphans: []Orphan{}}
	has, err := r.reserve(now.table)
	return &prepared{&w, has}, out, err
}
