package repeater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool/vfs"
)

// Options are the settings of a Repeater that are not in the file. The zero value is useful.
type Options struct {
	Name     string                // of this daemon, in paths, consumer groups and metrics; "" = "posthouse"
	Log      *slog.Logger          // nil = discard
	Now      func() time.Time      // wall time that decides about expiry; nil = time.Now
	Grace    time.Duration         // how long a stop waits for what is in flight; 0 = 60 s
	Slow     time.Duration         // retry of what an operator has to mend; 0 = 1 minute
	Metrics  prometheus.Registerer // nil = nowhere
	Families prometheus.Registerer // gets what WriteFamilies writes: most of the series; nil = Metrics
	Version  string                // of the program, for metrics
	Tracer   trace.Tracer          // nil = no tracing
	Getenv   func(string) string   // source of {env: NAME} secrets; nil = none is set

	AcceptEpoch bool   // take a spool that was copied from elsewhere
	SpoolFS     vfs.FS // the spool's directory in place of the file's spool.dir; nil = that one
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "posthouse"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Grace == 0 {
		o.Grace = time.Minute
	}
	if o.Slow == 0 {
		o.Slow = time.Minute
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Families == nil {
		o.Families = o.Metrics
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	return o
}

// A Repeater runs the routes of one table, and of another one after Reload. It is safe for concurrent use; Run is called
// once.
type Repeater struct {
	now     atomic.Pointer[world] // what runs
	config  atomic.Pointer[ConfigStatus]
	opts    Options
	journal *journal // nil: the file has no spool
	metrics *metrics
	clock   *clock
	orders  *orders // that operators have given
	started time.Time

	readouts []readout // what WriteFamilies writes

	exchanging sync.Mutex                    // held while flows are exchanged, and while orphans change
	reloads    chan *reload                  // for the goroutine that serves
	serving    chan struct{}                 // closed when the spool is open and the flows are about to begin
	over       chan struct{}                 // closed when nothing runs any more
	gone       []*flow                       // that run no more, and have left something
	watches    map[string]context.CancelFunc // of addresses, by broker
}

// A wiring is a table with what its flows are made with. It never changes.
type wiring struct {
	table   *routes.Table
	kinds   routes.Kinds
	opts    Options
	configs map[string]adapters.Config
	gates   map[string]*gate // by broker
	metrics *metrics
	clock   *clock
	ids     *identity
	key     adapters.Secret // seals paths; zero: there is none

	nowhere  *reach              // of the lanes whose dead letters stay in the journal
	tables   map[string]*replies // of bridges, by name
	bridging *bridgeMetrics
	known    *identities // of brokers
}

// A routeRun is one route while it runs.
type routeRun struct {
	route   *routes.Route
	hop     string // REPEATER/ROUTE, the entry in posthouse-path
	from    string // BROKER/NAME
	lanes   []*lane
	replies *replies                  // of its bridge; nil: it belongs to none that keeps a table
	told    *atomic.Pointer[Standing] // by an operator; holds nil while it is to run
	dead    *lane                     // for dead letters; nil: refused messages go back to their source after a pause
	count   *routeCounts
	log     *slog.Logger
	fold    *fold // of lines about refused messages
	tracing *tracing

	chooser *chooser
	strays  map[string]*lane // values that a lane still has and that belong to another one now (strays.go)
	names   *names
}

// New wires t. It reads the secrets, so its error may be a *routes.SecretError; nothing is connected.
func New(t *routes.Table, kinds routes.Kinds, o Options) (*Repeater, error) {
	o = o.withDefaults()
	r := new(Repeater)
	o.Log = slog.New(stamped{o.Log.Handler(), &r.config})
	r.opts, r.clock, r.started = o, newClock(o.Now, o.Log), time.Now()
	r.reloads, r.over, r.serving, r.watches = make(chan *reload), make(chan struct{}), make(chan struct{}), map[string]context.CancelFunc{}
	named := func(reg prometheus.Registerer) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"repeater": o.Name}, reg)
	}
	r.metrics = newMetrics(named(o.Metrics))
	r.readouts = []readout{r.metrics.readout(), newGauges(r)}
	w := &wiring{table: t, kinds: kinds, opts: o, metrics: r.metrics, clock: r.clock, ids: newIdentity(), tables: map[string]*replies{}, known: newIdentities(r)}
	w.bridging = newBridgeMetrics(named(o.Metrics))
	if err := w.resolve(); err != nil {
		return nil, err
	}
	w.open(nil)
	var fs []*flow
	for _, rs := range t.Flows() {
		fs = append(fs, w.flow(rs, w.gates, w.metrics, w.ids))
	}
	r.now.Store(newWorld(w, fs))
	r.orders = newOrders(o.Log)
	r.config.Store(&ConfigStatus{Hash: t.Hash, File: t.File, Since: r.started})
	if t.Spool != nil {
		r.journal = &journal{dir: spoolDir(t.Spool, o.Name), cfg: t.Spool, log: o.Log, known: lanesOf(t)}
		if o.SpoolFS == nil {
			r.orders.path = filepath.Join(r.journal.dir, ordersFile)
		}
	}
	for _, o := range r.readouts {
		if err := named(r.opts.Families).Register(o); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Requests counts the requests to the admin listener, by method and code.
func (r *Repeater) Requests() *prometheus.CounterVec { return r.metrics.requests }

// resolve reads the secrets of the table.
func (r *wiring) resolve() error {
	r.configs = map[string]adapters.Config{}
	for name, b := range r.table.Brokers {
		c, err := b.Resolve(r.opts.Getenv)
		if err != nil {
			return err
		}
		c.Now, c.Log, c.Share = r.clock.now, r.opts.Log.With("broker", name), adapters.NewShare()
		c.Heartbeat = c.WithDefaults().Heartbeat
		r.configs[name] = c
	}
	var err error
	r.key, err = r.table.Key(r.opts.Getenv)
	return err
}

// open makes the gates of the brokers; those of keep stay as they are.
func (r *wiring) open(keep map[string]*gate) {
	r.nowhere = &reach{target: routes.Target{Name: deadLane}}
	r.gates = map[string]*gate{}
	for name, b := range r.table.Brokers {
		if r.gates[name] = keep[name]; keep[name] == nil {
			r.gates[name] = newGate(b, r.opts.Slow, r.configs[name].Log)
			r.gates[name].name, r.gates[name].known = name, r.known
		}
	}
}

// lanesOf are the names of all lanes of t, those of disabled routes too.
func lanesOf(t *routes.Table) map[string]bool {
	known := make(map[string]bool, 2*len(t.Routes))
	for _, route := range t.Routes {
		for _, name := range lanesOfRoute(route) {
			known[route.Name+"/"+name] = true
		}
	}
	return known
}

// lanesOfRoute are the names that the lanes of a route have within it.
func lanesOfRoute(r *routes.Route) (names []string) {
	for _, t := range r.Lanes() {
		names = append(names, t.Name)
	}
	if names = append(names, deadLane); r.Asks != nil {
		names = append(names, repliesLane)
	}
	return names
}

// flow wires the enabled routes of one source; nil if there is none.
func (r *wiring) flow(rs []*routes.Route, gates map[string]*gate, m *metrics, ids *identity) *flow {
	var f *flow
	for _, route := range rs {
		if !route.Enabled {
			continue
		}
		if f == nil {
			f = r.newFlow(route, gates, m, ids)
		}
		f.limits.Prefetch = max(f.limits.Prefetch, route.Prefetch)
		f.limits.PrefetchBytes = max(f.limits.PrefetchBytes, route.PrefetchSize)
		f.limits.MaxSize = max(f.limits.MaxSize, route.MaxMessageSize)
		f.cfg.Limits = f.limits
		f.routes = append(f.routes, r.newRoute(route, gates, m, ids))
		f.table = append(f.table, route)
		f.filters = f.filters || route.Filter != nil
	}
	if f != nil {
		f.unsettled = newUnsettled(f.caps, f.source, f.limits.Prefetch)
		f.share()
	}
	return f
}

func (r *wiring) newFlow(first *routes.Route, gates map[string]*gate, m *metrics, ids *identity) *flow {
	b := r.table.Brokers[first.From.Broker]
	cfg := r.configs[b.Name]
	cfg.Client = r.opts.Name + "." + first.Name
	if first.Shared() {
		cfg.Group = first.Name
	}
	cfg.Copies = first.Repeat != nil && first.Repeat.Mutual && first.From.Form != adapters.Queue
	log := r.opts.Log.With("route", first.Name, "broker", b.Name)
	return &flow{
		source: first.From, adapter: r.kinds[b.Kind], cfg: cfg, caps: r.kinds[b.Kind].Capabilities(cfg),
		trust: bridge.Options{Trusted: b.Trusted, TrustValues: b.TrustValues, Key: r.key, ConvertText: first.ConvertsText()}, gate: gates[b.Name], end: newEnd(log.With("end", "source")), ids: ids, clock: r.clock,
		tracing: newTracing(r.opts.Tracer), grace: r.opts.Grace, log: log, limits: adapters.Limits{Confirm: first.ConfirmTimeout},
		owed: newDebt(), ended: make(chan struct{}),
		count: m.source(first.Name),
	}
}

func (r *wiring) newRoute(route *routes.Route, gates map[string]*gate, m *metrics, ids *identity) *routeRun {
	run := &routeRun{
		route: route, hop: r.opts.Name + "/" + route.Name, from: route.From.String(), count: m.route(route.Name),
		log: r.opts.Log.With("route", route.Name), fold: new(fold), tracing: newTracing(r.opts.Tracer), chooser: newChooser(), strays: map[string]*lane{}, names: new(names),
		told: new(atomic.Pointer[Standing]),
	}
	if route.FailsOver() {
		run.lanes = []*lane{r.newFailover(run, gates, m, ids)}
	} else {
		for _, t := range route.To {
			run.lanes = append(run.lanes, r.newLane(run, t, gates, m, ids))
		}
	}
	run.dead = r.newDead(run, gates, m, ids)
	run.replies = r.repliesOf(run, ids)
	return run
}

// newDead makes the lane for dead letters; nil if they have no place: no target, and no journal to keep them in.
func (r *wiring) newDead(run *routeRun, gates map[string]*gate, m *metrics, ids *identity) *lane {
	target := run.route.DeadLetter
	if target == nil && r.table.Spool == nil {
		return nil
	}
	own := *run.route
	own.Spool, own.DrainRate, own.MaxRate, own.Order, own.Expired = routes.RouteSpool{Mode: routes.SpoolAlways}, 0, 0, routes.OrderSource, routes.ExpiredDeliver
	own.Delivery, own.Sharing = routes.AtLeastOnce, routes.Sharing{}
	of := *run
	of.route, of.lanes = &own, nil
	if target != nil {
		t := *target
		t.Name = deadLane
		return r.newLane(&of, t, gates, m, ids)
	}
	return &lane{
		name: run.route.Name + "/" + deadLane, of: &of, reach: r.nowhere, local: true,
		end: newEnd(run.log), ids: ids.lane(), clock: r.clock, log: run.log.With("target", deadLane), count: m.lane(run.route.Name, deadLane),
		wake: make(chan struct{}, 1), nudge: make(chan struct{}, 1), shown: stateStarting, since: time.Now(),
	}
}

func (r *wiring) newLane(run *routeRun, t routes.Target, gates map[string]*gate, m *metrics, ids *identity) *lane {
	route, b := run.route, r.table.Brokers[t.Addr.Broker]
	cfg := r.configs[b.Name]
	cfg.Client = r.opts.Name + "." + route.Name
	cfg.Limits = adapters.Limits{
		InFlight: route.Window(&t), MaxSize: route.MaxMessageSize, Confirm: route.ConfirmTimeout,
	}.WithDefaults()
	cfg.Once = route.Delivery == routes.ExactlyOnce
	log := run.log.With("target", t.Name, "broker", b.Name)
	l := &lane{
		name: route.Name + "/" + t.Name, of: run,
		reach: &reach{target: t, adapter: r.kinds[b.Kind], cfg: cfg, caps: r.kinds[b.Kind].Capabilities(cfg), fitting: b.Fit, gate: gates[b.Name]}, end: newEnd(log.With("end", "target")),
		ids: ids.lane(), clock: r.clock, log: log, count: m.lane(route.Name, t.Name),
		key: r.key, back: retrying(route.Retry), pace: newPace(route.MaxRate),
		wake: make(chan struct{}, 1), nudge: make(chan struct{}, 1), shown: stateStarting, since: time.Now(),
	}
	l.outage = outageOf(l)
	l.tx = route.Delivery == routes.ExactlyOnce && l.caps.Target == adapters.ClassTx
	l.end.changed = l.linkChanged
	return l
}

// Run serves all routes until ctx ends, then stops receiving, settles what is confirmed, returns the rest to the
// sources, and comes back within the grace period. Its error says which embedded broker could not be started; a broker
// that is away is no error. The spool is opened first and closed last.
func (r *Repeater) Run(ctx context.Context) error {
	defer close(r.over)
	if err := r.openJournal(ctx); err != nil {
		return err
	}
	err := r.orders.read()
	if err == nil {
		err = r.serve(ctx)
	}
	if cerr := r.journal.close(r.unsure()); cerr != nil {
		r.opts.Log.Error(msgSpoolClose, "err", cerr)
		err = errors.Join(err, cerr)
	}
	r.opts.Log.Info(msgStopped)
	return err
}

// serve runs all routes until ctx ends.
func (r *Repeater) serve(ctx context.Context) error {
	hosts, err := r.now.Load().startHosts(ctx)
	defer func() {
		for _, h := range hosts {
			closeBounded(h)
		}
	}()
	if err != nil {
		return err
	}
	said := make(chan struct{})
	silence := context.AfterFunc(ctx, func() { r.opts.Log.Info(msgStopping); close(said) })
	defer func() {
		if !silence() {
			<-said // or it would be said after "stopped"
		}
	}()
	watch, over := context.WithCancel(ctx)
	var watches sync.WaitGroup
	r.watchAddresses(watch, &watches)
	watches.Go(func() { r.clock.watch(watch) })
	for _, f := range r.flows() {
		r.orders.obeyed(f)
		f.launch(ctx)
	}
	watches.Go(func() { r.orders.watch(watch, r) })
	close(r.serving)
	r.takeReloads(ctx, watch, &watches)
	for _, f := range r.flows() {
		<-f.ended
	}
	over()
	watches.Wait()
	return nil
}

// startHosts starts what the file embeds.
func (r *wiring) startHosts(ctx context.Context) (hosts []io.Closer, err error) {
	for name, b := range r.table.Brokers {
		h, ok := r.kinds[b.Kind].(adapters.Host)
		if !ok {
			continue
		}
		c, err := h.Start(ctx, r.configs[name])
		if err != nil {
			return hosts, fmt.Errorf("start embedded broker %q: %w", name, err)
		}
		if c != nil {
			hosts = append(hosts, c)
		}
	}
	return hosts, nil
}

// Status returns a snapshot in file order of the sources.
func (r *Repeater) Status() Status {
	w := r.now.Load()
	s := Status{Repeater: r.opts.Name, Hash: w.table.Hash, Config: *r.config.Load(), Started: r.started, Clock: r.clock.status(), Spool: r.journal.status()}
	for _, f := range w.flows() {
		s.Routes = append(s.Routes, f.status()...)
	}
	if s.Spool != nil {
		s.Spool.Messages -= min(s.Spool.Messages, r.awaiting()+r.entries()+r.journal.delivered())
	}
	s.Bridges = r.bridges()
	s.findOldest()
	return s
}

// refused counts and logs that a message was set aside on this route: the first in full, then one a minute.
func (r *routeRun) refused(id, reason string, times int, err error) {
	r.count.refused(reason)
	if more, ok := r.fold.line(time.Now()); ok {
		r.log.Warn(msgRefused, "reason", reason, "msg_id", id, "attempt", times, "err", err, "repeats", more)
	}
}

// A fold lets one log line a minute through and counts the others.
type fold struct {
	mu    sync.Mutex
	last  time.Time
	muted int
}

// line reports whether a line may be written now, and how many were not written before it.
func (f *fold) line(now time.Time) (muted int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.last.IsZero() && now.Sub(f.last) < logEvery {
		f.muted++
		return 0, false
	}
	muted, f.muted, f.last = f.muted, 0, now
	return muted, true
}

// pause is how long a refused message waits before it goes back.
func (f *flow) pause() time.Duration {
	var d time.Duration
	for _, r := range f.routes {
		d = max(d, r.lanes[0].limits().Retry.MaxDelay)
	}
	return jittered(d, 0.2)
}
