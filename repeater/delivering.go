package repeater

import (
	"context"
	"errors"

	"github.com/posthouse/posthouse/adapters"
)

// A duty is what a lane's goroutine does, or the one that takes over from it.
type duty struct {
	stop, work context.Context
	t          adapters.Target // the one that is open; nil: none is
	home       <-chan struct{} // closed when it shall be closed and opened again elsewhere
	free       func()          // ends what watches it
	end        func()
}

// run keeps a target open and sends, and keeps the journal, until stop ends; what is under way then may finish until work
// ends. It returns at once, and calls ended when nothing more will be done.
func (l *lane) run(stop, work context.Context, ended func()) {
	end := l.keep(work)
	d := &duty{stop: stop, work: work, end: func() { end(); ended() }}
	switch {
	case l.local:
		go func() {
			l.replies.watch(stop)
			d.end()
		}()
		return
	case l.turns != nil:
		l.turns.begin(d)
	}
	go l.deliver(d)
}

// deliver keeps a target open and sends.
func (l *lane) deliver(d *duty) {
	for d.stop.Err() == nil && (d.t != nil || l.open(d)) {
		l.work(l.streak == 0 || l.idle())
		s := newSending(l, d.t, l.streak > 0)
		s.home = d.home
		if !s.run(d.stop, d.work, func() { l.leave(d, s); l.deliver(d) }) {
			return
		}
		l.leave(d, s)
	}
	d.end()
}

// open opens a target, and reports whether it is open: if not, stop has ended.
func (l *lane) open(d *duty) bool {
	d.free = func() {}
	if l.turns != nil {
		return l.turns.next(l, d)
	}
	var t adapters.Target
	home, err := l.gate.open(d.stop, l.end, func(ctx context.Context, addresses []string) (_ any, err error) {
		t, err = l.attach(ctx, addresses)
		return t, err
	})
	if err != nil {
		return false
	}
	d.t, d.home = t, home
	return true
}

// leave ends the use of a target, and closes it unless it can be used again.
func (l *lane) leave(d *duty, s *sending) {
	if l.used(d.stop, s) {
		return
	}
	d.free()
	closeBounded(d.t)
	d.t = nil
	if l.isFenced() {
		<-d.stop.Done()
	}
}

// used notes how the use of a target has ended, and waits as the failure's fate says. It reports whether the target can be used
// again.
func (l *lane) used(stop context.Context, s *sending) bool {
	err := s.failure()
	l.work(false)
	if err == nil || stop.Err() != nil {
		return false
	}
	if errors.Is(err, adapters.ErrFenced) {
		l.end.failed(LinkBlocked, err)
		l.fence(err)
		return false
	}
	kind := adapters.KindOf(err)
	if link := fateOf(kind).link; link != LinkUp {
		l.linkIs(link) // what has not been sent may go elsewhere, before it goes to the journal
	}
	if !kind.Definite() || kind == adapters.Permanent && l.keyed() { // X1
		l.spill(err)
	}
	if kind == adapters.Other {
		l.count.unclassified.Add(1)
		l.log.Error(msgUnclass, "err", err)
	}
	if s.confirmed() {
		l.streak = 0
		l.back.reset()
	}
	l.streak++
	f := fateOf(kind)
	if kind == adapters.Permanent && l.isStuck() {
		f.pause, f.reopen = pauseSlow, true // what a target takes is partly known from the attach: a new one may take more
	}
	l.end.failed(l.linkAfter(f), err)
	if kind == adapters.Lost {
		l.gateNow().lost(err)
	}
	l.rest(stop, f.pause)
	return !f.reopen && stop.Err() == nil
}
