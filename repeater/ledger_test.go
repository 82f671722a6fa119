package repeater_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool/spooltest"
)

var (
	ledgerSeed  = flag.Uint64("seed", 0, "run the ledger with this seed only; 0 = the regression seeds and -seeds of them")
	ledgerSeeds = flag.Uint64("seeds", 200, "how many seeds the ledger runs, from 1")
)

// TestLedger keeps a ledger of every message under random faults: lost is none, what came twice is explained, first
// arrivals are in order, and when the faults stop everything drains. A failing seed goes into testdata/ledger.seeds.
func TestLedger(t *testing.T) {
	tally := &teeth{}
	for _, seed := range seedsToRun(t, 1) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newLedger(t, seed).run(tally) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedger -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 {
		tally.check(t)
	}
}

// TestLedgerOnce is the ledger of an exactly-once route: under the same faults nothing comes twice, and nothing is flagged.
func TestLedgerOnce(t *testing.T) {
	tally := &teeth{}
	for _, seed := range seedsToRun(t, 3) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newLedgerOnce(t, seed).run(tally) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedgerOnce -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 {
		tally.checkOnce(t)
	}
}

// TestLedgerAtMostOnce is the ledger of an at-most-once route: nothing comes twice, and what is lost is counted or was under
// way when a source or the repeater broke.
func TestLedgerAtMostOnce(t *testing.T) {
	tally := &teeth{}
	for _, seed := range seedsToRun(t, 3) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newLedgerAtMostOnce(t, seed).run(tally) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedgerAtMostOnce -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 && tally.lost == 0 {
		t.Error("void: the faults have hit nothing")
	}
}

// TestLedgerPerKey is the ledger of a route that keeps the order of keys: there not even a refused message leaves its place
// among those of its key, unless it becomes a dead letter.
func TestLedgerPerKey(t *testing.T) {
	tally := &teeth{}
	for _, seed := range seedsToRun(t, 3) {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newLedgerPerKey(t, seed).run(tally) })
		})
		if !ok {
			t.Logf("again: go test ./repeater/ -run TestLedgerPerKey -seed %d", seed)
		}
	}
	if *ledgerSeed == 0 {
		tally.check(t)
	}
}

// seedsToRun are the seed that was asked for, or the regression seeds and a share of -seeds.
func seedsToRun(t *testing.T, share uint64) []uint64 {
	if *ledgerSeed != 0 {
		return []uint64{*ledgerSeed}
	}
	file, err := os.ReadFile("testdata/ledger.seeds")
	if err != nil {
		t.Fatal(err)
	}
	var seeds []uint64
	for line := range strings.Lines(string(file)) {
		word, _, _ := strings.Cut(line, "#")
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			t.Fatalf("testdata/ledger.seeds: %v", err)
		}
		seeds = append(seeds, n)
	}
	for n := range *ledgerSeeds / share {
		seeds = append(seeds, n+1)
	}
	return seeds
}

// teeth proves that the faults have hit something: a ledger that saw no resend says nothing.
type teeth struct{ messages, resent, redelivered, refused, buried, recognised, absorbed, lost int }

func (k *teeth) checkOnce(t *testing.T) {
	t.Logf("%d messages, %d given out again and recognised, %d sent again and known to their target, %d refused, %d dead letters",
		k.messages, k.recognised, k.absorbed, k.refused, k.buried)
	if k.recognised == 0 || k.absorbed == 0 || k.refused == 0 || k.buried == 0 {
		t.Error("void: the faults have hit nothing")
	}
}

func (k *teeth) check(t *testing.T) {
	t.Logf("%d messages, %d resent, %d given out again by their source, %d refused, %d dead letters", k.messages, k.resent, k.redelivered, k.refused, k.buried)
	if k.resent == 0 || k.redelivered == 0 || k.refused == 0 || k.buried == 0 {
		t.Error("void: the faults have hit nothing")
	}
}

// A ledger is one run: source -> flow -> one to three targets, with messages coming in steadily.
type ledger struct {
	*world
	rng     *rand.Rand
	route   *routes.Route
	targets []string
	total   int // messages of the run
	put     int

	story  []string       // the faults, for the report
	breaks map[string]int // faults that may have ended a connection to a target

	keys   int           // order: per-key, and so many of them
	once   bool          // delivery: exactly-once
	source *patient      // that confirms no settle; nil: it does
	atMost bool          // delivery: at-most-once
	change func() string // a reload, among the faults; nil: none
	regs   []*prometheus.Registry
	hold   *holding // something is held most of the time (ledgerhold_test.go)

	silentWait, silentSettle atomic.Bool // the next such call does not return before the test does

	disk *spooltest.Disk // of the spool; nil: the file has none
	lag  time.Duration   // of its syncs

	begin  func()                                              // called before each start; may be nil
	judged func(broker string, m *adapters.Message, err error) // also told of every answer of a target; may be nil

	mu      sync.Mutex
	refused map[string]map[int]bool // by target: messages that it has refused at least once; they leave their place
}

func newLedger(t *testing.T, seed uint64) *ledger {
	l := emptyLedger(t, rand.New(rand.NewPCG(seed, 1)))
	l.world = newWorld(t, append([]string{"a"}, l.targets...)...)
	l.build()
	l.spool()
	l.stretch()
	return l
}

// newLedgerOnce has targets with transactions or with a window of ids.
func newLedgerOnce(t *testing.T, seed uint64) *ledger {
	l := emptyLedger(t, rand.New(rand.NewPCG(seed, 2)))
	l.once = true
	tx := map[string]bool{}
	for _, b := range l.targets {
		tx[b] = l.rng.IntN(2) == 0
	}
	l.world = newWorldOf(t, func(name string) mem.Options { return mem.Options{Tx: tx[name], Window: name != "a" && !tx[name]} },
		append([]string{"a"}, l.targets...)...)
	l.build()
	l.journal(routes.SpoolAlways)
	l.route.Delivery = routes.ExactlyOnce
	if l.rng.IntN(2) == 0 {
		l.source = l.adapter.(*patient)
		l.source.mute = true
		l.story = append(l.story, "a source that confirms and tells nothing")
	}
	l.story = append(l.story, fmt.Sprint("transactions: ", tx))
	l.stretch()
	return l
}

func newLedgerPerKey(t *testing.T, seed uint64) *ledger {
	l := emptyLedger(t, rand.New(rand.NewPCG(seed, 4)))
	l.keys = 1 + l.rng.IntN(8)
	l.world = newWorld(t, append([]string{"a"}, l.targets...)...)
	l.build()
	l.journal([]routes.SpoolMode{routes.SpoolAuto, routes.SpoolAlways}[l.rng.IntN(2)])
	l.route.Order, l.route.OnPoison = routes.OrderPerKey, routes.PoisonDeadLetter
	l.stretch()
	return l
}

func newLedgerAtMostOnce(t *testing.T, seed uint64) *ledger {
	l := emptyLedger(t, rand.New(rand.NewPCG(seed, 3)))
	l.world = newWorld(t, append([]string{"a"}, l.targets...)...)
	l.build()
	l.spool()
	l.atMost, l.route.Delivery = true, routes.AtMostOnce
	l.stretch()
	return l
}

func emptyLedger(t *testing.T, rng *rand.Rand) *ledger {
	l := &ledger{rng: rng, breaks: map[string]int{}, refused: map[string]map[int]bool{}, targets: []string{"b", "c", "d"}}
	l.targets = l.targets[:1+l.rng.IntN(3)]
	return l
}

// build makes the route, with an adapter that can be made to hang.
func (l *ledger) build() {
	l.sicken()
	l.opts.Grace, l.opts.Slow = time.Minute, 30*time.Second
	var to [][2]string
	for _, b := range l.targets {
		to = append(to, [2]string{b, "out"})
		l.refused[b] = map[int]bool{}
		l.rules(b, mem.Rules{})
	}
	l.route = l.world.route("orders", [2]string{"a", "in"}, to...)
	l.route.Prefetch = 4 + l.rng.IntN(60)
	l.route.InFlight = 1 + l.rng.IntN(16)
	l.route.Batch.Count = 1 + l.rng.IntN(8)
	l.route.Retry.MaxDelay = 10 * time.Second
	l.total = 100 + l.rng.IntN(200)
}

// stretch puts half of the brokers far away: many messages are in flight when a fault comes.
func (l *ledger) stretch() {
	if l.rng.IntN(2) != 0 {
		return
	}
	for _, b := range l.brokers {
		b.Link().SetLatency(time.Duration(50+l.rng.IntN(950)) * time.Millisecond)
	}
}

// start is that of the world, with counters of its own.
func (l *ledger) start() {
	reg := prometheus.NewRegistry()
	l.regs = append(l.regs, reg)
	if l.begin != nil {
		l.begin()
	}
	l.opts.Metrics = reg
	l.world.start()
}

// counted is the sum of a counter over all runs and lanes.
func (l *ledger) counted(name string) (n int) {
	for _, reg := range l.regs {
		n += count(l.t, reg, name)
	}
	return n
}

// recognised is how many messages came again and were known.
func (l *ledger) recognised() (n int) {
	for _, reg := range l.regs {
		n += recognised(l.t, reg)
	}
	return n
}

// spool gives three of four seeds a journal on a disk that forgets.
func (l *ledger) spool() {
	mode := []routes.SpoolMode{"", routes.SpoolAuto, routes.SpoolAuto, routes.SpoolAlways, routes.SpoolNever}[l.rng.IntN(5)]
	if mode != "" {
		l.journal(mode)
	}
}

func (l *ledger) journal(mode routes.SpoolMode) {
	l.disk = spooltest.NewDisk()
	l.table.Spool = &routes.Spool{Dir: "spool", SegmentSize: 128 << 10}
	l.lag = time.Duration(l.rng.IntN(3)) * 15 * time.Millisecond
	l.opts.SpoolFS = slowDisk{l.disk, l.lag}
	l.route.Spool = routes.RouteSpool{Mode: mode, SlowAfter: 20 * time.Second}
	l.route.MaxAttempts = 1 + l.rng.IntN(3)
	if l.rng.IntN(2) == 0 {
		l.route.DeadLetter = &routes.Target{Addr: addr([2]string{"a", "dead"})}
	}
	l.story = append(l.story, fmt.Sprintf("spool %s, %d attempts, dead letters at a: %v", mode, l.route.MaxAttempts, l.route.DeadLetter != nil))
}

// sicken puts an adapter between engine and mem whose calls can be made to hang; for some seeds its targets cannot post.
func (l *ledger) sicken() {
	p := &patient{Adapter: l.adapter, cure: make(chan struct{}), plain: l.rng.IntN(5) == 0}
	l.t.Cleanup(func() { close(p.cure) })
	if p.plain {
		l.story = append(l.story, "targets cannot post")
	}
	once := func(silent *atomic.Bool) func() error {
		return func() error {
			if silent.CompareAndSwap(true, false) {
				return p.hang()
			}
			return nil
		}
	}
	p.wait, p.settle = once(&l.silentWait), once(&l.silentSettle)
	l.adapter = p
}

// rules sets rules at a target that also tell the ledger what was refused.
func (l *ledger) rules(broker string, r mem.Rules) {
	r.Judged = func(m *adapters.Message, err error) {
		if l.judged != nil {
			l.judged(broker, m, err)
		}
		if l.refusal(r, m, err) {
			l.mu.Lock()
			l.refused[broker][number(m)] = true
			l.mu.Unlock()
		}
	}
	l.brokers[broker].SetRules("out", r)
}

func number(m *adapters.Message) int {
	v, _ := m.Prop("n")
	return int(v.Int())
}

// run is the whole life of one seed: steady, impact, recovery, halt, and the books.
func (l *ledger) run(tally *teeth) {
	l.live(func() { l.audit(tally) })
}

// live is that with the books of audit.
func (l *ledger) live(audit func()) {
	defer func() {
		if l.t.Failed() {
			l.t.Logf("%d targets, prefetch %d, in flight %d, batch %d, %d messages\n%s", len(l.targets), l.route.Prefetch,
				l.route.InFlight, l.route.Batch.Count, l.total, strings.Join(l.story, "\n"))
		}
	}()
	l.start()
	begin := time.Now()
	for l.put < l.total {
		l.send()
		pass(time.Duration(l.rng.IntN(4000)) * time.Millisecond)
		l.bounded()
		if l.rng.IntN(4) == 0 {
			l.story = append(l.story, fmt.Sprintf("%8v put %3d: %s", time.Since(begin).Round(time.Millisecond), l.put, l.fault()))
		}
	}
	l.heal()
	l.drained()
	if took := l.halt(); took > 10*time.Second {
		l.t.Errorf("an idle repeater took %v to stop", took)
	}
	audit()
}

// send puts the next few messages into the source.
func (l *ledger) send() {
	n := min(1+l.rng.IntN(12), l.total-l.put) // none when all are sent
	ms := messages(l.put, n)
	for i, m := range ms {
		if l.keys > 0 {
			m.Key = fmt.Append(nil, (l.put+i)%l.keys)
		}
	}
	l.brokers["a"].Put("in", ms...)
	l.put += n
}

// fault does one thing to one broker and tells what.
func (l *ledger) fault() string {
	if l.hold != nil && l.hold.rng.IntN(2) == 0 {
		return l.holdFault()
	}
	if l.change != nil && l.rng.IntN(3) == 0 {
		return l.change()
	}
	switch l.rng.IntN(13) {
	case 0, 1, 2:
		return "a: " + l.linkFault("a")
	case 3:
		rules := []mem.Rules{{Denied: true}, {Missing: true}, {}, {}}[l.rng.IntN(4)]
		l.brokers["a"].SetRules("in", rules)
		return fmt.Sprintf("a: denied %v, missing %v", rules.Denied, rules.Missing)
	case 4:
		return l.restart()
	case 5:
		return l.silence()
	case 6:
		if l.disk != nil {
			return l.crash()
		}
		return l.restart()
	}
	if l.source != nil && l.rng.IntN(4) == 0 {
		return l.forgotten()
	}
	b := l.targets[l.rng.IntN(len(l.targets))]
	if l.rng.IntN(2) == 0 {
		return b + ": " + l.linkFault(b)
	}
	return b + ": " + l.queueFault(b)
}

// restart stops the repeater in an orderly way, whatever is broken at the moment, and starts another.
func (l *ledger) restart() string {
	took := l.halt()
	if took > l.opts.Grace+30*time.Second {
		l.t.Errorf("stopped after %v, grace %v", took, l.opts.Grace)
	}
	for name := range l.brokers {
		l.breaks[name]++
	}
	l.start()
	return fmt.Sprintf("restart, stopped after %v", took)
}

// crash ends the repeater at once. Its disk keeps all that was written (the process died), or what was synced and a part of
// the rest (the power failed).
func (l *ledger) crash() string {
	keep := []int{100, 100, 50, 0}[l.rng.IntN(4)]
	if l.lag > 0 { // in the middle of something
		l.send()
		pass(time.Duration(l.rng.Int64N(int64(3 * l.lag))))
	}
	image := l.disk.Fail(keep, l.rng)
	for name, b := range l.brokers {
		b.Link().Refuse()
		b.Link().Cut()
		l.breaks[name]++
	}
	l.stop()
	<-l.done // what it says of its disk is of no interest
	for _, b := range l.brokers {
		b.Start()
		b.Link().Allow()
	}
	l.disk, l.opts.SpoolFS = image, slowDisk{image, l.lag}
	l.start()
	return fmt.Sprintf("crash, %d %% of what was not synced is kept", keep)
}

// silence makes one call of the adapter hang.
func (l *ledger) silence() string {
	if l.rng.IntN(2) == 0 {
		l.breaks["a"]++
		l.silentSettle.Store(true)
		return "a: a settle that never returns"
	}
	for _, b := range l.targets {
		l.breaks[b]++ // it will be one of them
	}
	l.silentWait.Store(true)
	return "one of the targets: a receipt that never answers"
}

// forgotten loses the source when it has not taken note of what was settled last.
func (l *ledger) forgotten() string {
	l.source.forgets.Store(true)
	l.send()
	pass(2 * time.Second)
	l.brokers["a"].Link().Cut()
	l.source.forgets.Store(false)
	l.breaks["a"]++
	return "a: settles are lost, then it is cut"
}

func (l *ledger) linkFault(name string) string {
	b := l.brokers[name]
	link := b.Link()
	faults := []struct {
		name   string
		breaks bool
		do     func()
	}{
		{"cut", true, link.Cut},
		{"refuse and cut", true, func() { link.Refuse(); link.Cut() }},
		{"stall", true, link.Stall},
		{"hold replies", true, link.HoldReplies},
		{"hold replies, take more, cut", true, func() {
			link.HoldReplies()
			l.send()
			pass(2 * time.Second)
			link.Cut()
		}},
		{"kill", true, b.Kill},
		{"kill and start", true, func() { b.Kill(); b.Start() }},
		{"start and allow", false, func() { b.Start(); link.Allow() }},
		{"start and allow", false, func() { b.Start(); link.Allow() }},
		{"latency", false, func() { link.SetLatency(time.Duration(l.rng.IntN(800)) * time.Millisecond) }},
	}
	f := faults[l.rng.IntN(len(faults))]
	f.do()
	if f.breaks {
		l.breaks[name]++
	}
	return f.name
}

func (l *ledger) queueFault(name string) string {
	k := 2 + l.rng.IntN(9)
	waiting, _ := l.brokers[name].Len("out")
	faults := []struct {
		name  string
		rules mem.Rules
	}{
		{"full", mem.Rules{Room: waiting + l.rng.IntN(10) + 1}},
		{"denied", mem.Rules{Denied: true}},
		{"missing", mem.Rules{Missing: true}},
		{"refuse some", mem.Rules{Refuse: func(m *adapters.Message) bool { return number(m)%k == 0 }}},
		{"take everything", mem.Rules{}},
		{"take everything", mem.Rules{}},
	}
	f := faults[l.rng.IntN(len(faults))]
	l.rules(name, f.rules)
	if l.change != nil && (f.rules.Denied || f.rules.Missing || f.rules.Room > 0) {
		l.breaks[name]++ // what was in flight then may have got no answer
	}
	return f.name
}

// bounded checks what must hold at every moment: nothing is held beyond the prefetch, nothing sent beyond the window.
func (l *ledger) bounded() {
	synctest.Wait()
	if _, open := l.brokers["a"].Len("in"); open > l.route.Prefetch {
		l.t.Errorf("%d deliveries unsettled, prefetch %d", open, l.route.Prefetch)
	}
	ahead := l.route.Batch.Count
	if l.once || l.atMost {
		ahead = 4*l.route.InFlight + 8 // the next transaction, and what is tried again
	}
	for _, lane := range l.lanes() {
		if lane.InFlight > l.route.InFlight || lane.Waiting+lane.InFlight > l.route.Prefetch+l.route.InFlight+max(ahead, l.route.Batch.Count) {
			l.t.Errorf("%s: %d waiting, %d in flight", lane.Name, lane.Waiting, lane.InFlight)
		}
	}
}

// lanes are those that run now.
func (l *ledger) lanes() (out []repeater.LaneStatus) {
	for _, r := range l.rep.Status().Routes {
		out = append(out, r.Lanes...)
	}
	return out
}

func (l *ledger) heal() {
	for name, b := range l.brokers {
		b.Start()
		b.Link().Allow()
		b.Link().SetLatency(0)
		if name != "a" {
			l.rules(name, mem.Rules{})
		}
	}
	l.brokers["a"].SetRules("in", mem.Rules{})
	l.story = append(l.story, "healed")
}

// drained waits until the source is empty and every end is up with nothing in hand.
func (l *ledger) drained() {
	l.t.Helper()
	l.empty("a", "in")
	l.until("an empty spool", func() bool {
		r := l.rep.Status().Routes[0]
		return len(r.Lanes) > 0 && !slices.ContainsFunc(r.Lanes, func(s repeater.LaneStatus) bool { return s.Spooled > 0 }) &&
			(r.Dead == nil || r.Dead.State == "local" || r.Dead.Spooled == 0)
	})
	l.up()
	if l.atMost { // they are settled before they are sent
		l.until("all are sent", func() bool {
			return !slices.ContainsFunc(l.rep.Status().Routes[0].Lanes, func(s repeater.LaneStatus) bool { return s.Waiting+s.InFlight+int(s.Spooled) > 0 })
		})
	}
	for _, lane := range l.rep.Status().Routes[0].Lanes {
		if lane.Waiting != 0 || lane.InFlight != 0 {
			l.t.Errorf("%s: %d waiting and %d in flight after all was settled", lane.Name, lane.Waiting, lane.InFlight)
		}
	}
}

// audit compares what every target holds with what was put in.
func (l *ledger) audit(tally *teeth) {
	tally.messages += l.total
	tally.recognised += l.recognised()
	tally.absorbed += l.counted("posthouse_route_retries_total")
	dead := l.buried()
	for i, b := range l.targets {
		n, _ := l.brokers[b].Len("out")
		got := l.take(b, "out", n)
		buried := dead[fmt.Sprint("orders/", b, i)]
		for n := range dead[fmt.Sprint("deals/", b, i)] { // the route may have had that name
			buried = with(buried, n)
		}
		tally.buried += len(buried)
		missing := l.missing(got)
		for n := range buried {
			if !l.refused[b][n] {
				l.t.Errorf("%s: %d is a dead letter and was never refused", b, n)
			}
		}
		missing = slices.DeleteFunc(missing, func(n int) bool { return buried[n] })
		switch {
		case l.atMost:
			l.forgone(b, missing, tally)
		case len(missing) > 0:
			l.t.Errorf("%s: lost %v", b, missing)
		}
		if l.keys > 0 {
			l.orderedByKey(b, got, buried)
		} else if !l.atMost || len(l.regs) == 1 && l.change == nil { // a stop puts what was marked and not taken behind the others
			l.ordered(b, got)
		}
		if l.once || l.atMost {
			l.unrepeated(b, got, buried)
		} else {
			l.explained(b, got, tally)
		}
		tally.refused += len(l.refused[b])
	}
}

// with adds n to set, which may be nil.
func with(set map[int]bool, n int) map[int]bool {
	if set == nil {
		set = map[int]bool{}
	}
	set[n] = true
	return set
}

// unrepeated checks that nothing came twice, and that nothing is said to. A restart may give a message that has just become
// a dead letter another try (C12).
func (l *ledger) unrepeated(b string, got []*adapters.Message, buried map[int]bool) {
	seen := map[int]bool{}
	for i, n := range numbers(got) {
		if seen[n] || buried[n] && len(l.regs) == 1 {
			l.t.Errorf("%s: %d came twice (a dead letter: %v)", b, n, buried[n])
		}
		if flag, _ := got[i].Prop("posthouse-possible-duplicate"); flag.Str() == "true" {
			l.t.Errorf("%s: %d is flagged", b, n)
		}
		seen[n] = true
	}
}

// forgone checks what an at-most-once route has lost: a window for each break, or what its own count says.
func (l *ledger) forgone(b string, missing []int, tally *teeth) {
	tally.lost += len(missing)
	missing = slices.DeleteFunc(missing, func(n int) bool { return l.refused[b][n] }) // for good, at the first time
	breaks := l.breaks["a"] + l.breaks[b]
	if most := breaks * (l.route.InFlight + l.route.Prefetch); len(missing) > most {
		l.t.Errorf("%s: %d lost, at most %d explained by %d breaks", b, len(missing), most, breaks)
	}
	if len(l.regs) == 1 && l.change == nil && l.breaks["a"] == 0 && len(missing) > l.counted("posthouse_route_lost_messages_total") {
		l.t.Errorf("%s: %d lost, %d counted: %v", b, len(missing), l.counted("posthouse_route_lost_messages_total"), missing)
	}
}

// buried returns the dead letters by lane.
func (l *ledger) buried() map[string]map[int]bool {
	dead := map[string]map[int]bool{}
	note := func(lane string, n int) {
		if dead[lane] == nil {
			dead[lane] = map[int]bool{}
		}
		dead[lane][n] = true
	}
	n, _ := l.brokers["a"].Len("dead")
	for _, m := range l.take("a", "dead", n) {
		lane, _ := m.Prop("posthouse-dead-lane")
		note(lane.Str(), number(m))
	}
	if l.disk != nil {
		d := &depot{world: l.world, disk: l.disk}
		for _, b := range append(d.dug(), d.dugOf("deals")...) {
			note(b.why.Lane, b.n)
		}
	}
	return dead
}

func (l *ledger) missing(got []*adapters.Message) (lost []int) {
	there := map[int]bool{}
	for _, n := range numbers(got) {
		there[n] = true
	}
	for n := range l.total {
		if !there[n] {
			lost = append(lost, n)
		}
	}
	return lost
}

// ordered checks first arrivals; only what the target itself has refused may have left its place.
func (l *ledger) ordered(b string, got []*adapters.Message) {
	last := -1
	for _, n := range firstArrivals(numbers(got)) {
		if l.refused[b][n] {
			continue
		}
		if n < last {
			l.t.Errorf("%s: %d first came after %d: %v", b, n, last, numbers(got))
			return
		}
		last = n
	}
}

// orderedByKey checks first arrivals; a dead letter has left its place, and may be tried once more after a restart (C12).
func (l *ledger) orderedByKey(b string, got []*adapters.Message, buried map[int]bool) {
	last := map[int]int{}
	for _, n := range firstArrivals(numbers(got)) {
		if buried[n] {
			continue
		}
		if before := last[n%l.keys]; n < before {
			l.t.Errorf("%s: %d of key %d first came after %d: %v", b, n, n%l.keys, before, numbers(got))
			return
		}
		last[n%l.keys] = n
	}
}

// explained checks what came twice: sent again by us it has the same posthouse-id and says so, and there is at most a
// window of it for each break; under another id it was given out again by a source that had lost its session.
func (l *ledger) explained(b string, got []*adapters.Message, tally *teeth) {
	ids := map[int][]string{}
	resent, again := 0, 0
	for i, n := range numbers(got) {
		id, _ := got[i].Prop("posthouse-id")
		switch {
		case slices.Contains(ids[n], id.Str()):
			resent++
			if flag, _ := got[i].Prop("posthouse-possible-duplicate"); flag.Str() != "true" {
				l.t.Errorf("%s: %d came twice without the flag", b, n)
			}
		case len(ids[n]) > 0 && !l.refused[b][n]: // a refusal after an unknown outcome gives it back to the source, too
			again++
		}
		ids[n] = append(ids[n], id.Str())
	}
	if most := l.breaks[b] * l.route.InFlight; resent > most {
		l.t.Errorf("%s: %d resent and arrived twice, at most %d explained by %d breaks", b, resent, most, l.breaks[b])
	}
	if most := l.breaks["a"] * l.route.Prefetch; again > most {
		l.t.Errorf("%s: %d given out again by the source, at most %d explained by %d breaks", b, again, most, l.breaks["a"])
	}
	tally.resent += resent
	tally.redelivered += again
}
