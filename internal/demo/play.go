package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	glance   = 50 * time.Millisecond // between two looks at the repeater
	patience = time.Minute           // for what the repeater should do by itself
)

// errLate is the cause when something did not come about in time.
var errLate = errors.New("too late")

// A play is one run of the demo.
type play struct {
	o      Options
	dir    string
	file   string // the topology
	admin  string // HOST:PORT of the repeater
	out    screen
	at     struct{ paris, berlin, madrid *site }
	child  *child // nil before the first start
	send   *sender
	ask    *asker
	paris  *tally // of what arrives there
	madrid *tally
	rep    Report
	state  status    // as last seen
	lane   lane      // of it, the one that is cut
	row    time.Time // when the next row of the table is due
	whole  int       // what drains: the most messages that were spooled; 0 = nothing does
	since  struct {  // draining began
		at      time.Time
		arrived int
	}
}

// stage starts everything but the messages.
func (p *play) stage(ctx context.Context) (err error) {
	for _, x := range []struct {
		site    **site
		name    string
		streams []string
	}{{&p.at.paris, "paris", []string{prices, sq1, tq2}}, {&p.at.berlin, "berlin", []string{prices, tq1, sq2}}, {&p.at.madrid, "madrid", []string{prices}}} {
		if *x.site, err = startSite(p.dir, x.name, p.o.lineSpeed(), x.streams...); err != nil {
			return err
		}
	}
	if p.admin, err = freePort(); err != nil {
		return err
	}
	p.file = filepath.Join(p.dir, "topology.yaml")
	src := topology(p.at.paris.url(), p.at.berlin.url(), p.at.madrid.url(), p.admin, p.dir, p.o.segment())
	if err := errors.Join(os.WriteFile(p.file, src, 0o600), os.WriteFile(keyFile(p.dir), []byte(rand.Text()), 0o600)); err != nil {
		return err
	}
	p.introduce(src)
	return p.start(ctx)
}

func (p *play) introduce(src []byte) {
	fmt.Fprintf(p.o.Out, `                    paris (hub)
                   /           \
 messages, quotes /             \ messages       three JetStream servers in this process;
                 /               \               each line carries %s/s
            berlin               madrid, whose line is cut

repeater  a process of its own; to look at it: posthouse status --admin %s
log       %s
topology  %s

%s
`, size(int64(p.o.lineSpeed())), p.admin, p.logFile(), p.file, src)
}

func (p *play) logFile() string { return filepath.Join(p.dir, "posthouse.log") }

// start starts the repeater and waits until it answers.
func (p *play) start(ctx context.Context) (err error) {
	begin := time.Now()
	if p.child, err = startChild(p.o.Command, p.file, p.logFile()); err != nil {
		return err
	}
	err = p.poll(ctx, "the repeater's first answer", nil, func() (bool, error) {
		st, err := readStatus(ctx, p.admin)
		p.state, p.lane = st, st.cut()
		return err == nil, nil // not yet
	})
	if err == nil {
		p.out.remark("the repeater, process %d, answers after %.2f s", p.child.pid(), time.Since(begin).Seconds())
	}
	return err
}

// strike ends what stage started.
func (p *play) strike() (err error) {
	if p.child != nil {
		err = p.child.kill() // it has ended, unless something failed
	}
	for _, s := range []*site{p.at.paris, p.at.berlin, p.at.madrid} {
		if s != nil {
			err = errors.Join(err, s.stop())
		}
	}
	return err
}

// perform sends, lets the acts happen, waits for the rest and counts.
func (p *play) perform(ctx context.Context) error {
	stop, err := p.audience(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := p.passing(ctx); err != nil {
		return err
	}
	fmt.Fprintf(p.o.Out, "\n%s\n", heading)
	p.out.remark("messages go in at berlin: %s a second, %s each; %d requests a second at paris", thousands(p.o.Rate), size(int64(p.o.Size)), p.o.asking())
	p.send = startSender(ctx, p.at.berlin, p.o.Rate, p.o.Size)
	var end func()
	if p.ask, end, err = startAsker(ctx, p.at.paris, p.at.berlin, p.o.asking()); err == nil {
		defer end()
		err = errors.Join(p.acts(ctx), p.ask.finish())
	}
	if serr := p.send.finish(); err == nil {
		err = serr
	}
	if err == nil {
		err = p.collect(ctx)
	}
	p.count()
	return err
}

// audience counts what arrives at paris and at madrid.
func (p *play) audience(ctx context.Context) (stop func(), err error) {
	p.paris, p.madrid = newTally(), newTally()
	stopParis, err := p.paris.watch(ctx, p.at.paris)
	if err != nil {
		return nil, err
	}
	stopMadrid, err := p.madrid.watch(ctx, p.at.madrid)
	if err != nil {
		stopParis()
		return nil, err
	}
	return func() { stopParis(); stopMadrid() }, nil
}

// acts is what happens while messages are sent.
func (p *play) acts(ctx context.Context) error {
	if err := p.calm(ctx, p.o.Duration/8); err != nil {
		return err
	}
	if err := p.outage(ctx, p.o.Outage, false); err != nil {
		return err
	}
	if !p.o.NoKill {
		if err := p.calm(ctx, p.o.Duration/8); err != nil {
			return err
		}
		if err := p.outage(ctx, p.o.Outage/2, true); err != nil {
			return err
		}
	}
	return p.calm(ctx, max(p.o.Duration-time.Since(p.send.begun), p.o.Duration/8))
}

// outage cuts the line to madrid for d, restores it, and waits until the lane passes messages through again. With kill
// the repeater is killed and started again when half of what had gathered is delivered.
func (p *play) outage(ctx context.Context, d time.Duration, kill bool) error {
	p.out.remark("the line to madrid is cut for %v; messages keep coming, paris and the bridge go on", d)
	if err := p.calm(ctx, p.o.Pause); err != nil {
		return err
	}
	p.rep.Outages = append(p.rep.Outages, Outage{})
	cut := time.Now()
	p.at.madrid.line.cut()
	if err := p.calm(ctx, d); err != nil {
		return err
	}
	o := p.this()
	o.Seconds = time.Since(cut).Seconds()
	before := p.madrid.now().arrived
	behind := int(p.send.confirmed.Load()) - before
	first := p.madrid.reaches(before + 1)
	p.at.madrid.line.restore()
	p.out.remark("the line is back; madrid is %s messages behind", thousands(behind))
	if err := p.until(ctx, "the first message after the outage", first); err != nil {
		return err
	}
	if kill {
		if err := p.half(ctx); err != nil {
			return err
		}
		if err := p.kill(ctx); err != nil {
			return err
		}
	}
	return p.drain(ctx)
}

// half waits until half of what was spooled is delivered. A small backlog may be gone before the repeater is looked at
// again; so it is as good when three quarters of what madrid is behind have arrived, for new messages join the queue.
func (p *play) half(ctx context.Context) error {
	arrived := p.madrid.now().arrived
	behind := int(p.send.confirmed.Load()) - arrived
	return p.poll(ctx, "the first half of the backlog", p.madrid.reaches(arrived+behind*3/4), func() (bool, error) {
		err := p.look(ctx)
		return 2*p.lane.Spooled <= p.this().Spooled, err
	})
}

// this is the outage that goes on.
func (p *play) this() *Outage { return &p.rep.Outages[len(p.rep.Outages)-1] }

// drain waits for pass-through and measures how fast it comes.
func (p *play) drain(ctx context.Context) error {
	o := p.this()
	p.whole, p.since.at, p.since.arrived = max(o.Spooled, 1), time.Now(), p.madrid.now().arrived
	defer func() { p.whole = 0 }()
	if err := p.passing(ctx); err != nil {
		return err
	}
	took := time.Since(p.since.at)
	o.Drained = p.madrid.now().arrived - p.since.arrived
	o.DrainSeconds, o.DrainRate = took.Seconds(), per(o.Drained, took)
	p.out.remark("pass-through again: %s messages in %.1f s, %.0f a second", thousands(o.Drained), o.DrainSeconds, o.DrainRate)
	return nil
}

// kill ends the repeater with SIGKILL, starts it again, and notes what it recovered.
func (p *play) kill(ctx context.Context) error {
	spooled := p.lane.Spooled
	if err := p.child.kill(); err != nil {
		return fmt.Errorf("kill the repeater: %w", err)
	}
	k := &Kill{Spooled: spooled}
	p.rep.Kill = k
	p.out.remark("SIGKILL to process %d with %s messages in its spool", p.child.pid(), thousands(k.Spooled))
	if err := p.through(ctx); err != nil {
		return err
	}
	next, begin := p.madrid.reaches(p.madrid.now().arrived+1), time.Now()
	err := p.start(ctx)
	if err != nil {
		return err
	}
	k.Answers = time.Since(begin).Seconds()
	if k.Journal, err = p.recovery(ctx); err != nil {
		return err
	}
	p.out.remark("recovered: %s", k.Journal)
	if err := p.until(ctx, "the first message after the kill", next); err != nil {
		return err
	}
	k.Delivers = time.Since(begin).Seconds()
	p.out.remark("delivering again, %.2f s after the start", k.Delivers)
	return nil
}

// through waits until what the dead repeater had sent is through the lines and counted, so that it is not taken for the
// first deliveries of the next.
func (p *play) through(ctx context.Context) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for _, line := range []*relay{p.at.paris.line, p.at.madrid.line} {
		select {
		case <-line.idle():
		case <-late.C:
			return errors.New("a line still has connections of a repeater that is dead")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.read(ctx)
}

// recovery waits until the journal is open, and returns what was found in it.
func (p *play) recovery(ctx context.Context) (r recovery, err error) {
	err = p.poll(ctx, "the recovery of the spool", nil, func() (bool, error) {
		st, err := readStatus(ctx, p.admin)
		if err == nil && st.Spool == nil {
			err = errors.New("the repeater that was started again has no spool")
		}
		if err != nil || st.Spool.Recovery == nil {
			return false, err
		}
		r = *st.Spool.Recovery
		return true, nil
	})
	return r, err
}

// collect waits until everything has arrived, or nothing more can come, and stops the repeater.
func (p *play) collect(ctx context.Context) error {
	p.out.remark("%s messages are sent and %d requests made; waiting for the last of them", thousands(int(p.send.confirmed.Load())), p.ask.count().Asked)
	err := p.poll(ctx, "the last message", nil, func() (bool, error) {
		if err := p.look(ctx); err != nil || !p.state.idle() {
			return false, err
		}
		return p.nothingLeft(ctx)
	})
	if errors.Is(err, errLate) {
		p.out.remark("%v", err) // what is missing counts as lost
		err = nil
	}
	if err == nil {
		err = p.look(ctx)
	}
	if err != nil {
		return err
	}
	p.rep.Left = p.state.spooled()
	if err := p.child.stop(); err != nil {
		return err
	}
	return p.read(ctx)
}

// nothingLeft reports whether nothing more can come: everything is read at its source, and no reply is outstanding.
func (p *play) nothingLeft(ctx context.Context) (done bool, err error) {
	if p.state.outstanding() > 0 && p.ask.count().Unanswered > 0 {
		return false, nil
	}
	for _, s := range []*site{p.at.paris, p.at.berlin, p.at.madrid} {
		if done, err = s.settled(ctx); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// read waits until everything that the sites hold is counted: the duplicates that came last, too.
func (p *play) read(ctx context.Context) error {
	return errors.Join(p.readAt(ctx, p.at.paris, p.paris), p.readAt(ctx, p.at.madrid, p.madrid))
}

func (p *play) readAt(ctx context.Context, s *site, t *tally) error {
	held, err := s.held(ctx)
	if err != nil {
		return err
	}
	tick, late := time.NewTicker(glance), time.NewTimer(patience)
	defer tick.Stop()
	defer late.Stop()
	for t.now().all < int(held) {
		select {
		case <-tick.C:
		case <-late.C:
			return fmt.Errorf("%s holds %d messages, but gave out only %d", s.name, held, t.now().all)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// count fills in the report.
func (p *play) count() {
	r := &p.rep
	r.Sent, r.Sites = int(p.send.confirmed.Load()), nil
	offered := int(p.send.offered.Load())
	for _, x := range []struct {
		site *site
		t    *tally
	}{{p.at.paris, p.paris}, {p.at.madrid, p.madrid}} {
		r.Sites = append(r.Sites, x.t.arrivals(x.site.name, r.Sent, offered))
	}
	if p.ask != nil {
		r.Requests = p.ask.count()
	}
	if took := p.madrid.now().last.Sub(p.send.begun); took > 0 {
		r.Seconds, r.Rate = took.Seconds(), per(r.Delivered(), took)
	}
}
