package repeater

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// Reload. What changes is found by comparing two tables (routes.Compare); the unit that is exchanged is the flow, with all
// that shares a source or a route's name with it. Everything that can be refused is refused before anything is touched:
//
//  1. plan      which flows stay, which end, which begin
//  2. prepare   secrets, names in the journal. A broker that is away does not hinder
//  3. exchange  the old flows of a part end as at a stop: nothing more is received, what is in flight is confirmed or
//     spooled, the rest goes back to its source; then the new ones get the old ones' places in the journal and what was
//     known of unknown outcomes and unconfirmed settles (handover.go); then they begin. So no lane ever has two senders, and
//     no source two readers
//  4. after it  series of what is gone are dropped, orphans are named
//
// A part waits for nobody else; flows that do the same as before are not touched.

// ErrOver: the repeater has stopped, or is about to.
var ErrOver = errors.New("the repeater has stopped")

// A ProcessError says which keys of a new table a running daemon cannot take.
type ProcessError struct{ Keys []string }

func (e *ProcessError) Error() string {
	return strings.Join(e.Keys, ", ") + ": changed, and only a restart of the daemon can take that [C001]"
}

// A Reloading is what a reload does, or would do.
type Reloading struct {
	*routes.Diff
	Orphans []Orphan `json:"orphans"` // lanes that lose their route while they have messages; never nil
}

// A reload is one request to the goroutine that serves.
type reload struct {
	table *routes.Table // nil: what runs, with these routes begun again
	again []string
	dry   bool
	done  chan struct{}
	out   Reloading
	err   error
}

// Reload makes the repeater run t in place of the table that it runs now, and says what that changes. With dry it only
// says. Its errors refuse it as a whole: *ProcessError, *routes.SecretError, ErrOver, or one that says which spool is in
// the way. It returns when all new flows have begun; that may take the grace period. When ctx ends before it goes on, and
// Reload returns ctx's error.
func (r *Repeater) Reload(ctx context.Context, t *routes.Table, dry bool) (Reloading, error) {
	return r.demand(ctx, &reload{table: t, dry: dry, done: make(chan struct{})})
}

// demand hands q to the goroutine that serves, and waits for what comes of it.
func (r *Repeater) demand(ctx context.Context, q *reload) (Reloading, error) {
	select {
	case r.reloads <- q:
	case <-r.over:
		return Reloading{}, ErrOver
	case <-ctx.Done():
		return Reloading{}, ctx.Err()
	}
	select {
	case <-q.done:
		return q.out, q.err
	case <-ctx.Done():
		return Reloading{}, ctx.Err()
	}
}

// Table is what runs, or is about to.
func (r *Repeater) Table() *routes.Table { return r.now.Load().table }

// takeReloads does one reload after the other until ctx ends. watch is for what belongs to no flow.
func (r *Repeater) takeReloads(ctx, watch context.Context, watches *sync.WaitGroup) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-r.reloads:
			var p *prepared
			if p, q.out, q.err = r.prepare(q); q.err == nil && !q.dry {
				r.exchange(ctx, p, q.out.Diff)
				r.rewatch(watch, watches, q.out.Diff)
			}
			close(q.done)
		}
	}
}

// prepared is what the exchange needs.
type prepared struct {
	*wiring
	has map[string]spool.LaneStats // of the journal
}

// prepare is steps 1 and 2.
func (r *Repeater) prepare(q *reload) (*prepared, Reloading, error) {
	now, t := r.now.Load(), q.table
	if t == nil {
		return r.prepareAgain(now.wiring, q.again)
	}
	w := &wiring{
		table: t, kinds: now.kinds, opts: now.opts, metrics: now.metrics, clock: now.clock, ids: now.ids,
		tables: map[string]*replies{}, bridging: now.bridging, known: now.known,
	}
	if err := w.resolve(); err != nil {
		return nil, Reloading{}, err
	}
	out := Reloading{Diff: t.Compare(now.table, rotated(now.wiring, w)...)}
	out.Orphans = r.orphaned(now.table, t)
	if len(out.Process) > 0 {
		return nil, out, &ProcessError{out.Process}
	}
	keep := map[string]*gate{}
	for name, g := range now.gates {
		if !slices.ContainsFunc(out.Brokers, func(b routes.Change) bool { return b.Name == name }) {
			keep[name], w.configs[name] = g, now.configs[name]
		}
	}
	w.open(keep)
	has, err := r.reserve(t)
	return &prepared{w, has}, out, err
}

// rotated are the brokers whose secrets are not what they were: all, when it is the key of the paths.
func rotated(old, new *wiring) (names []string) {
	for name, c := range new.configs {
		if was, ok := old.configs[name]; ok && (was.Credentials != c.Credentials || old.key != new.key) {
			names = append(names, name)
		}
	}
	return names
}

// orphaned are the lanes with messages that old has and new has not.
func (r *Repeater) orphaned(old, new *routes.Table) []Orphan {
	out := []Orphan{}
	s := r.journal.open()
	if s == nil {
		return out
	}
	before, after := lanesOf(old), lanesOf(new)
	for _, route := range new.Routes {
		for name := range heirlooms(route) {
			after[name] = true
		}
	}
	for _, st := range s.Lanes() {
		if st.Live > 0 && before[st.Name] && !after[st.Name] {
			out = append(out, Orphan{Name: st.Name, Messages: st.Live, Bytes: st.Bytes})
		}
	}
	return out
}

// heirlooms are the lanes that a route takes from the name that it had before, with their names now.
func heirlooms(r *routes.Route) map[string]string {
	if r.RenamedFrom == "" {
		return nil
	}
	out := map[string]string{}
	for _, name := range lanesOfRoute(r) {
		out[r.RenamedFrom+"/"+name] = r.Name + "/" + name
	}
	return out
}

// reserve makes sure that every lane of t has a name in the journal, or can get one.
func (r *Repeater) reserve(t *routes.Table) (has map[string]spool.LaneStats, err error) {
	s := r.journal.open()
	if s == nil {
		return nil, nil
	}
	has = laneStats(s)
	running := lanesOf(r.Table())
	inherited := map[string]bool{}
	for _, route := range t.Routes {
		for from, to := range heirlooms(route) {
			take, err := takesAlong(route, has, from, to, running[from])
			if err != nil {
				return nil, err
			}
			inherited[to] = take
		}
	}
	for _, route := range t.Routes {
		for _, name := range spooledBy(route) {
			if _, ok := has[name]; ok || inherited[name] {
				continue
			}
			if _, err := s.Lane(name); err != nil {
				return nil, fmt.Errorf("spool %s: %w", r.journal.dir, err)
			}
		}
	}
	return has, nil
}

// spooledBy are the lanes of a route that need a place in the journal from the start.
func spooledBy(r *routes.Route) (names []string) {
	if !r.Enabled {
		return nil
	}
	for _, name := range lanesOfRoute(r) {
		if r.Spool.Mode != routes.SpoolNever || name == deadLane || name == repliesLane {
			names = append(names, r.Name+"/"+name)
		}
	}
	return names
}

func laneStats(s *spool.Spool) map[string]spool.LaneStats {
	has := map[string]spool.LaneStats{}
	for _, st := range s.Lanes() {
		has[st.Name] = st
	}
	return has
}

// A part is what is exchanged together: flows with a source or a route in common, before and after.
type part struct {
	old, new []*flow
	gone     []*flow // that ended with an earlier reload
	slot     *slot
}

// exchange is steps 3 and 4. It returns when all parts have been exchanged, even if ctx has ended: then the new flows end
// as soon as they begin.
func (r *Repeater) exchange(ctx context.Context, do *prepared, d *routes.Diff) {
	r.exchanging.Lock() // orphans may get a route
	defer r.exchanging.Unlock()
	before, w := r.now.Load(), do.wiring
	kept, parts := r.parts(w, d)
	for _, f := range kept {
		for _, run := range f.routes {
			if run.replies != nil {
				w.tables[run.replies.bridge.Name] = run.replies
			}
		}
	}
	next := &world{wiring: w}
	for _, f := range kept {
		next.slots = append(next.slots, newSlot(f))
	}
	for _, p := range parts {
		p.slot = newSlot(p.old...)
		next.slots = append(next.slots, p.slot)
	}
	r.now.Store(next)
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() { r.turn(ctx, do.has, p) })
	}
	wg.Wait()
	failpoint.Hit("C16")
	r.now.Store(newWorld(w, inOrder(w.table, next.flows())))
	for _, p := range parts {
		r.gone = append(r.gone, p.left()...)
	}
	r.journal.leaves(r.gone)
	r.forget(before.table, w.table)
}

// parts says which flows stay, gives them their limits, and says what is exchanged. The new flows are made, and not begun. What of r.gone is concerned goes
// into a part.
func (r *Repeater) parts(w *wiring, d *routes.Diff) (kept []*flow, parts []*part) {
	running := map[string]*flow{}
	for _, f := range r.flows() {
		running[f.routes[0].route.Name] = f
	}
	u := newUnion()
	for i, g := range d.Groups {
		if g.Same {
			f := running[g.Old[0].Name]
			f.adopt(g.New)
			kept = append(kept, f)
		} else {
			u.joinGroup(i, g)
		}
	}
	for i, f := range r.gone {
		u.joinGone(-1-i, f)
	}
	byRoot := map[int]*part{}
	for i, g := range d.Groups {
		if g.Same {
			continue
		}
		p := byRoot[u.root(i)]
		if p == nil {
			p = new(part)
			byRoot[u.root(i)] = p
			parts = append(parts, p)
		}
		if g.Old != nil {
			p.old = append(p.old, running[g.Old[0].Name])
		}
		if g.New != nil {
			p.new = append(p.new, w.flow(g.New, w.gates, w.metrics, w.ids))
		}
	}
	var gone []*flow
	for i, f := range r.gone {
		if p := byRoot[u.root(-1-i)]; p != nil {
			p.gone = append(p.gone, f)
		} else {
			gone = append(gone, f)
		}
	}
	r.gone = gone
	return kept, parts
}

// joinGroup joins g with all that has a route or a source in common with it.
func (u *union) joinGroup(i int, g routes.Group) {
	for _, name := range g.Bridges() {
		u.join(i, "bridge "+name)
	}
	for _, route := range slices.Concat(g.Old, g.New) {
		u.join(i, route.Name)
		u.join(i, sourceName(route))
		if route.RenamedFrom != "" {
			u.join(i, route.RenamedFrom)
		}
	}
}

// sourceName is no name of a route.
func sourceName(r *routes.Route) string { return "from " + r.Reader() }

// joinGone is joinGroup for a flow that runs no more.
func (u *union) joinGone(i int, f *flow) {
	u.join(i, sourceName(f.table[0]))
	for _, r := range f.routes {
		u.join(i, r.route.Name)
	}
}

// left are the flows of p that nobody has followed, and that have left something.
func (p *part) left() (fs []*flow) {
	for _, f := range slices.Concat(p.gone, p.old) {
		if sameSource(f, p.new) == nil && f.leaves() {
			fs = append(fs, f)
		}
	}
	return fs
}

// A union finds which groups have a name in common.
type union struct {
	parent map[int]int
	first  map[string]int // group that had a name first
}

func newUnion() *union { return &union{map[int]int{}, map[string]int{}} }

func (u *union) root(i int) int {
	for {
		p, ok := u.parent[i]
		if !ok || p == i {
			return i
		}
		if q, ok := u.parent[p]; ok {
			u.parent[i] = q
		}
		i = p
	}
}

func (u *union) join(i int, name string) {
	j, ok := u.first[name]
	if !ok {
		u.first[name] = i
		return
	}
	if a, b := u.root(i), u.root(j); a != b {
		u.parent[a] = b
	}
}

// turn exchanges one part.
func (r *Repeater) turn(ctx context.Context, has map[string]spool.LaneStats, p *part) {
	for _, f := range p.old {
		f.stop()
	}
	for _, f := range p.old {
		<-f.ended
	}
	failpoint.Hit("C16")
	r.handOver(ctx, has, slices.Concat(p.gone, p.old), p.new)
	p.slot.flows.Store(&p.new)
	for _, f := range p.new {
		r.orders.obeyed(f)
		f.launch(ctx)
	}
}

// inOrder sorts flows as their routes stand in the file.
func inOrder(t *routes.Table, fs []*flow) []*flow {
	by := make(map[string]*flow, len(fs))
	for _, f := range fs {
		by[f.routes[0].route.Name] = f
	}
	var out []*flow
	for _, r := range t.Routes {
		if f := by[r.Name]; f != nil {
			out = append(out, f)
		}
	}
	return out
}

// forget drops what is shown of routes and lanes that are not there any more, and names what they leave in the journal.
func (r *Repeater) forget(old, now *routes.Table) {
	after := map[string]bool{}
	for _, route := range now.Routes {
		after[route.Name] = true
	}
	lanes := lanesOf(now)
	for _, route := range old.Routes {
		if !after[route.Name] {
			r.metrics.forgetRoute(route.Name, lanesOfRoute(route))
			continue
		}
		for _, name := range lanesOfRoute(route) {
			if !lanes[route.Name+"/"+name] {
				r.metrics.forgetLane(route.Name, name)
			}
		}
	}
	r.journal.knows(lanes)
}

// rewatch watches the addresses of the brokers that are new, or not what they were.
func (r *Repeater) rewatch(ctx context.Context, wg *sync.WaitGroup, d *routes.Diff) {
	for _, b := range d.Brokers {
		if stop := r.watches[b.Name]; stop != nil {
			stop()
			delete(r.watches, b.Name)
		}
	}
	r.watchAddresses(ctx, wg)
}
