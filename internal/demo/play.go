package demo

import (
	"context"
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
	paris  *site
	berlin *site
	child  *child // nil before the first start
	send   *sender
	tally  *tally
	rep    Report
	lane   lane      // as last seen
	row    time.Time // when the next row of the table is due
	whole  int       // what drains: the most messages that were spooled; 0 = nothing does
	since  struct {  // draining began
		at      time.Time
		arrived int
	}
}

// stage starts everything but the messages.
func (p *play) stage(ctx context.Context) (err error) {
	if p.paris, err = startSite(p.dir, "paris", p.o.lineSpeed()); err != nil {
		return err
	}
	if p.berlin, err = startSite(p.dir, "berlin", p.o.lineSpeed()); err != nil {
		return err
	}
	if p.admin, err = freePort(); err != nil {
		return err
	}
	p.file = filepath.Join(p.dir, "topology.yaml")
	src := topology(p.paris.url(), p.berlin.url(), p.admin, p.dir, p.o.segment())
	if err := os.WriteFile(p.file, src, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(p.o.Out, `paris     %s   a JetStream server in this process
berlin    %s   another; its line carries %s/s and can be cut
repeater  a process of its own; to look at it: posthouse status --admin %s
log       %s
topology  %s

%s
`, p.paris.url(), p.berlin.url(), size(int64(p.o.lineSpeed())), p.admin, p.logFile(), p.file, src)
	return p.start(ctx)
}

func (p *play) logFile() string { return filepath.Join(p.dir, "posthouse.log") }

// start starts the repeater and waits until it answers.
func (p *play) start(ctx context.Context) (err error) {
	begin := time.Now()
	if p.child, err = startChild(p.o.Command, p.file, p.logFile()); err != nil {
		return err
	}
	err = p.poll(ctx, "the repeater's first answer", nil, func() (bool, error) {
		_, l, err := readStatus(ctx, p.admin)
		p.lane = l
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
	for _, s := range []*site{p.paris, p.berlin} {
		if s != nil {
			err = errors.Join(err, s.stop())
		}
	}
	return err
}

// perform sends, lets the acts happen, waits for the rest and counts.
func (p *play) perform(ctx context.Context) error {
	stop, err := p.tally.watch(ctx, p.berlin)
	if err != nil {
		return err
	}
	defer stop()
	if err := p.passing(ctx); err != nil {
		return err
	}
	fmt.Fprintf(p.o.Out, "\n%s\n", heading)
	p.out.remark("messages go in at paris: %s a second, %s each", thousands(p.o.Rate), size(int64(p.o.Size)))
	p.send = startSender(ctx, p.paris, p.o.Rate, p.o.Size)
	err = p.acts(ctx)
	if serr := p.send.finish(); err == nil {
		err = serr
	}
	if err == nil {
		err = p.collect(ctx)
	}
	p.count()
	return err
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

// outage cuts the line to berlin for d, restores it, and waits until the lane passes messages through again. With kill
// the repeater is killed and started again when half of what had gathered is delivered.
func (p *play) outage(ctx context.Context, d time.Duration, kill bool) error {
	p.out.remark("the line to berlin is cut for %v; messages keep coming", d)
	p.rep.Outages = append(p.rep.Outages, Outage{})
	cut := time.Now()
	p.berlin.line.cut()
	if err := p.calm(ctx, d); err != nil {
		return err
	}
	o := p.this()
	o.Seconds = time.Since(cut).Seconds()
	before := p.tally.now().arrived
	behind := int(p.send.confirmed.Load()) - before
	first := p.tally.reaches(before + 1)
	p.berlin.line.restore()
	p.out.remark("the line is back; berlin is %s messages behind", thousands(behind))
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
// again; so it is as good when three quarters of what berlin is behind have arrived, for new messages join the queue.
func (p *play) half(ctx context.Context) error {
	arrived := p.tally.now().arrived
	behind := int(p.send.confirmed.Load()) - arrived
	return p.poll(ctx, "the first half of the backlog", p.tally.reaches(arrived+behind*3/4), func() (bool, error) {
		err := p.look(ctx)
		return 2*p.lane.Spooled <= p.this().Spooled, err
	})
}

// this is the outage that goes on.
func (p *play) this() *Outage { return &p.rep.Outages[len(p.rep.Outages)-1] }

// drain waits for pass-through and measures how fast it comes.
func (p *play) drain(ctx context.Context) error {
	o := p.this()
	p.whole, p.since.at, p.since.arrived = max(o.Spooled, 1), time.Now(), p.tally.now().arrived
	defer func() { p.whole = 0 }()
	if err := p.passing(ctx); err != nil {
		return err
	}
	took := time.Since(p.since.at)
	o.Drained = p.tally.now().arrived - p.since.arrived
	o.DrainSeconds, o.DrainRate = took.Seconds(), per(o.Drained, took)
	p.out.remark("pass-through again: %s messages in %.1f s, %.0f a second", thousands(o.Drained), o.DrainSeconds, o.DrainRate)
	return nil
}

// kill ends the repeater with SIGKILL, starts it again, and notes what it recovered.
func (p *play) kill(ctx context.Context) error {
	if err := p.child.kill(); err != nil {
		return fmt.Errorf("kill the repeater: %w", err)
	}
	k := &Kill{Spooled: p.lane.Spooled}
	p.rep.Kill = k
	p.out.remark("SIGKILL to process %d with %s messages in its spool", p.child.pid(), thousands(k.Spooled))
	if err := p.through(ctx); err != nil {
		return err
	}
	next, begin := p.tally.reaches(p.tally.now().arrived+1), time.Now()
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

// through waits until what the dead repeater had sent is through the line and counted, so that it is not taken for the
// first deliveries of the next.
func (p *play) through(ctx context.Context) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.berlin.line.idle():
		return p.read(ctx)
	case <-late.C:
		return errors.New("the line to berlin still has connections of a repeater that is dead")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recovery waits until the journal is open, and returns what was found in it.
func (p *play) recovery(ctx context.Context) (r recovery, err error) {
	err = p.poll(ctx, "the recovery of the spool", nil, func() (bool, error) {
		st, _, err := readStatus(ctx, p.admin)
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
	sent := int(p.send.confirmed.Load())
	p.out.remark("%s messages are sent; waiting for the last of them", thousands(sent))
	err := p.poll(ctx, "the last message", p.tally.reaches(sent), func() (bool, error) {
		if err := p.look(ctx); err != nil || !p.lane.empty() || p.lane.State != passThrough {
			return false, err
		}
		return p.paris.settled(ctx)
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
	p.rep.Left = p.lane.Spooled
	if err := p.child.stop(); err != nil {
		return err
	}
	return p.read(ctx)
}

// read waits until everything that berlin holds is counted: the duplicates that came last, too.
func (p *play) read(ctx context.Context) error {
	held, err := p.berlin.held(ctx)
	if err != nil {
		return err
	}
	tick, late := time.NewTicker(glance), time.NewTimer(patience)
	defer tick.Stop()
	defer late.Stop()
	for p.tally.now().seq < held {
		select {
		case <-tick.C:
		case <-late.C:
			return fmt.Errorf("berlin holds %d messages, but gave out only %d", held, p.tally.now().seq)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// count fills in the report.
func (p *play) count() {
	r, c := &p.rep, p.tally.now()
	r.Sent = int(p.send.confirmed.Load())
	arrived, strange := p.tally.among(int(p.send.offered.Load()))
	r.Delivered = min(arrived, r.Sent) // more only if it was interrupted before paris confirmed
	r.Lost = r.Sent - r.Delivered
	r.Corrupted = c.corrupted + strange
	r.Duplicated, r.Flagged, r.Redelivered, r.OutOfOrder = c.dup, c.flagged, c.redelivered, c.disordered
	if took := c.last.Sub(p.send.begun); took > 0 {
		r.Seconds, r.Rate = took.Seconds(), per(r.Delivered, took)
	}
}
