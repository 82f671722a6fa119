package repeater

// With when_down: move the messages of a lane that goes down, and have not been sent, go to others. What has been sent
// without an answer may have arrived, and a record is in the journal under this lane: both stay.

// isAway reports whether the lane's target is down or refuses everybody, or an operator has paused the lane. One that was never
// tried yet is not.
func (l *lane) isAway() bool { return l.away.Load() || l.idles.Load() }

// linkIs notes whether the lane's target is there. l.mu is not held.
func (l *lane) linkIs(s LinkState) {
	switch {
	case s == LinkUp:
		l.away.Store(false)
	case s != LinkStarting:
		l.away.Store(true)
		l.forsake()
	}
}

// vacant lets a lane get messages again whose target is open and refused something that nobody waits for any more: an
// attached target is all that can be known to work, for nothing else would ever be sent to it.
func (l *lane) vacant(more bool) {
	if !more && l.isAway() && l.of.route.Moves() && l.idle() {
		l.end.works()
	}
}

// forsake gives what has not been sent to the lanes that are up, if the route says so and there are any.
func (l *lane) forsake() {
	r := l.of
	if !r.route.Moves() || !r.otherUp(l) {
		return
	}
	l.mu.Lock()
	its := l.unsent()
	l.mu.Unlock()
	for len(its) > 0 {
		to, n := its[0].lane, 1
		for n < len(its) && its[n].lane == to {
			n++
		}
		if to.takeOver(its[:n:n]) {
			l.count.moved.Add(int64(n))
		} else { // it is stopping, and so are we
			for _, it := range its[:n] {
				it.moveTo(l)
			}
			l.push(its[:n:n])
		}
		its = its[n:]
	}
}

// otherUp reports whether another lane of the route is up and may get messages.
func (r *routeRun) otherUp(not *lane) bool {
	return len(r.bestGroup(func(l *lane) bool { return l != not && !l.isAway() })) > 0
}

// unsent takes what no target and no journal has seen out of the lane, in its order, as far as there is another lane for
// it, which it belongs to then. l.mu is held.
func (l *lane) unsent() (its []*item) {
	if l.closed {
		return nil
	}
	take := func(from []*item) (rest []*item) {
		for _, it := range from {
			if it.movable() && l.of.another(l, it) {
				its = append(its, it)
			} else {
				rest = append(rest, it)
			}
		}
		return rest
	}
	l.queue = take(l.queue)
	if b := l.store; b != nil {
		b.incoming = take(b.incoming)
		b.grow.kick()
	}
	return its
}

// movable reports whether it can be given to another lane: nobody but this one has ever seen it.
func (it *item) movable() bool {
	return it.p != nil && !it.record() && it.origin == nil && !it.handed.Load() && it.refused.times == 0 && !it.gone()
}

// another finds the lane that gets it in place of l, and reports whether there is one.
func (r *routeRun) another(l *lane, it *item) bool {
	value, err := r.valueOf(it.m)
	if err != nil { // it came here as one without a value
		value = ""
	}
	to := r.pick(value, l)
	if to == l || to.isAway() {
		return false
	}
	m, err := to.placed(it.m)
	if err == nil {
		it.m = m
		it.moveTo(to)
	}
	return err == nil
}

func (it *item) moveTo(l *lane) {
	it.p.mu.Lock()
	defer it.p.mu.Unlock()
	it.lane, it.key = l, l.keyOf(it.m)
}

// takeOver is push for what another lane has not sent, unless the lane is closed.
func (l *lane) takeOver(its []*item) bool {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if !closed {
		l.push(its)
	}
	return !closed
}
