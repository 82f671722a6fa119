package demo

import (
	"context"
	"fmt"
	"time"
)

// calm looks on for d.
func (p *play) calm(ctx context.Context, d time.Duration) error {
	over, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.until(ctx, "the time", over.Done())
}

// passing looks on until the lane sends straight to its target.
func (p *play) passing(ctx context.Context) error {
	return p.poll(ctx, "pass-through", nil, func() (bool, error) {
		err := p.look(ctx)
		return p.lane.State == passThrough && p.lane.Spooled == 0, err
	})
}

// until looks on until event is closed.
func (p *play) until(ctx context.Context, what string, event <-chan struct{}) error {
	return p.poll(ctx, what, event, func() (bool, error) { return false, p.look(ctx) })
}

// poll calls done again and again until it says so, event is closed, or something ends that should not. What does not
// come about within the time that every act may take is an errLate.
func (p *play) poll(ctx context.Context, what string, event <-chan struct{}, done func() (bool, error)) error {
	limit := patience + p.o.Outage + p.o.Duration
	tick, late := time.NewTicker(glance), time.NewTimer(limit)
	defer tick.Stop()
	defer late.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return p.because(ctx, err)
		}
		select {
		case <-tick.C:
		case <-event:
			return nil
		case <-p.child.ended:
			return p.because(ctx, p.child.unexpected())
		case <-p.sending():
			return p.because(ctx, p.send.err)
		case <-p.asking():
			return p.because(ctx, p.ask.finish())
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("%w: %s did not come within %v; the lane is %s with %d messages spooled and %d waiting: %s",
				errLate, what, limit, p.lane.State, p.lane.Spooled, p.lane.Waiting, p.lane.LastError)
		}
	}
}

// because finds the reason of a failure: the end of ctx, or of the repeater that did not answer any more.
func (p *play) because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	soon := time.NewTimer(time.Second) // an answer breaks off a moment before its process is known to be gone
	defer soon.Stop()
	select {
	case <-p.child.ended:
		err = p.child.unexpected()
	case <-ctx.Done():
	case <-soon.C:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// sending is closed when the sender has failed; nil while there is none.
func (p *play) sending() <-chan struct{} {
	if p.send == nil {
		return nil
	}
	return p.send.failed
}

// asking is closed when requests or replies cannot be sent; nil while there are none.
func (p *play) asking() <-chan struct{} {
	if p.ask == nil {
		return nil
	}
	return p.ask.failed
}

// look reads the repeater's status, notes the most that was spooled, and prints a row each second.
func (p *play) look(ctx context.Context) error {
	st, err := readStatus(ctx, p.admin)
	if err != nil {
		return err
	}
	p.state, p.lane = st, st.cut()
	if len(p.rep.Outages) > 0 {
		p.this().note(p.lane)
	}
	if p.send != nil && !time.Now().Before(p.row) {
		p.print()
	}
	return nil
}

// note keeps the greatest of what l shows.
func (o *Outage) note(l lane) {
	if l.Spooled > o.Spooled {
		o.Spooled, o.SpooledBytes = l.Spooled, l.SpooledBytes
	}
	o.Oldest = max(o.Oldest, l.age().Seconds())
}

// print prints a row; the next is due with the next full second.
func (p *play) print() {
	c, extra := p.madrid.now(), ""
	if p.whole > 0 {
		extra = fmt.Sprintf("%s %.0f/s", bar(p.whole-p.lane.Spooled, p.whole), per(c.arrived-p.since.arrived, time.Since(p.since.at)))
	}
	p.out.row(row{sent: int(p.send.confirmed.Load()), paris: p.paris.now().arrived, madrid: c.arrived, answered: p.ask.count().Answered}, p.lane, extra)
	p.row = p.out.begin.Add(time.Since(p.out.begin).Truncate(time.Second) + time.Second)
}
