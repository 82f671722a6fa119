package repeater

import (
	"context"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A service is a flow while it runs: what its goroutine needs, or the one that takes over from it.
type service struct {
	ctx, work context.Context // work ends the grace period after ctx
	end       func()          // waits for ctx and for the lanes
}

// run serves the source until ctx ends, then finishes what is in flight, at most for the grace period. It returns at once, and
// calls ended when all its goroutines have ended.
func (f *flow) run(ctx context.Context, ended func()) {
	work, cut := afterGrace(ctx, f.grace)
	buried, closeDead := context.WithCancel(work)
	dead := f.deadLanes(func(l *lane, ended func()) { l.run(buried, work, ended) }, func(l *lane) (end func()) { return l.keep(work) })
	var lanes sync.WaitGroup
	halt, stopLanes := f.laneStop(ctx)
	for _, l := range f.lanes() {
		lanes.Add(1)
		l.run(halt, work, lanes.Done)
	}
	go f.loop(&service{ctx: ctx, work: work, end: func() {
		<-ctx.Done()
		stopLanes()
		lanes.Wait()
		closeDead() // the last to end: until here a message may become a dead letter
		dead()
		cut()
		ended()
	}})
}

// loop serves one session after the other.
func (f *flow) loop(sv *service) {
	for f.mayRead(sv.ctx) && f.halt() == nil {
		if v := f.attach(sv); v != nil && !f.serve(sv, v) {
			return
		}
	}
	sv.end()
}

// A visit is a session with what goes on beside it.
type visit struct {
	*session
	ctx    context.Context // of the receiving
	stop   func()          // ends it
	leave  func()          // the valve
	begin  time.Time
	work   context.Context // of the settling
	giveUp func()          // ends it
	looks  []func()        // each ends a look at the clock
	homing sync.WaitGroup
}

// attach opens the source; nil if ctx ends, or the valve is shut, before.
func (f *flow) attach(sv *service) *visit {
	cfg := f.cfg
	if f.short >= careful {
		cfg.Limits.Prefetch = 1
	}
	var src adapters.Source
	ctx, leave := f.valve.within(sv.ctx)
	home, err := f.gate.open(ctx, f.end, func(ctx context.Context, addresses []string) (_ any, err error) {
		own := cfg // an abandoned call may still read it
		own.Addresses = addresses
		src, err = openBounded(ctx, func() (adapters.Source, error) { return f.adapter.OpenSource(ctx, own, f.source) })
		return src, err
	})
	leave()
	if err != nil {
		return nil
	}
	return f.enter(sv, home, src, cfg.Limits)
}

// enter begins a session. It lasts until the source is lost or blocked, home is closed, the valve is shut, or ctx ends.
func (f *flow) enter(sv *service, home <-chan struct{}, src adapters.Source, limits adapters.Limits) *visit {
	v := &visit{session: newSession(src, limits, f.owed), begin: time.Now()}
	v.whole = f.caps.Settle == adapters.Batch
	if limits.Prefetch < f.limits.Prefetch {
		v.renew = time.Now().Add(stable)
	}
	v.work, v.giveUp = context.WithCancel(sv.work)
	v.ctx, v.stop = context.WithCancel(sv.ctx)
	v.leave = f.valve.enter(v.stop)
	v.stopping = func() bool { return sv.ctx.Err() != nil }
	v.settler = newWorker(func() (over bool) { return f.settleAll(v.work, v.session, v.stop) })
	v.looks = []func(){f.probe(v.ctx, v.session, v.stop), f.watchSlow(v.ctx, v.session), f.unsettled.calm(v.ctx, v.session)}
	if home != nil {
		v.homing.Go(func() { // what is in flight when home is closed is still settled here
			select {
			case <-home:
				v.stop()
			case <-v.ctx.Done():
			}
		})
	}
	return v
}

// serve receives, and ends the session. It reports false if the source did not come back: another goroutine has taken over.
func (f *flow) serve(sv *service, v *visit) (mine bool) {
	var err error
	mine = newRelay(func() {
		v.kill(errSilentSource)
		f.log.Error(msgSilent, "call", "receive")
		f.leave(sv, v, errSilentSource)
		f.loop(sv)
	}).run(v.ctx, func() { err = f.receiveAll(v.ctx, v.session) })
	if mine {
		f.leave(sv, v, err)
	}
	return mine
}

// leave ends a session whose receiving has ended with err, and waits where the source is blocked.
func (f *flow) leave(sv *service, v *visit, err error) {
	switch state := f.conclude(sv, v, err); {
	case state == LinkDown && time.Since(v.begin) < stable:
		f.short++
	case state == LinkBlocked:
		ctx, leave := f.valve.within(sv.ctx)
		wait(ctx, jittered(f.gate.slow, 0.2))
		leave()
	default:
		f.short = 0
	}
}

// conclude finishes what is in flight, and closes the source. It returns the state that it leaves the end in.
func (f *flow) conclude(sv *service, v *visit, err error) LinkState {
	defer v.giveUp()
	defer v.leave()
	s := v.session
	state := f.after(v.ctx, s, err)
	if state != LinkDown && sv.ctx.Err() == nil { // the connection is there: what is in flight can still be settled
		defer time.AfterFunc(f.gate.slow, v.giveUp).Stop()
	}
	v.stop()
	s.finish()
	select {
	case <-s.settler.over():
	case <-v.work.Done():
		s.settler.kick()
		<-s.settler.over()
	}
	for _, end := range v.looks {
		end()
	}
	v.homing.Wait()
	orderly := s.cause() == nil
	s.kill(errOver) // what is answered from now on is nobody's business
	s.parked.Wait()
	if closeBounded(s.src) && orderly {
		f.unsettled.confirmed()
	}
	f.unsettled.ended(s)
	for _, l := range f.all() {
		l.purge()
	}
	return state
}
