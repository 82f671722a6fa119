package repeater

import "github.com/posthouse/posthouse/routes"

// Where messages go by a value, and wait for their target, other weights or targets must not let a newer message of a value
// overtake an older one that another lane still has. So a lane that takes its part of the journal over looks which of the
// values in it belong elsewhere now: these strays stay with it, newer messages too, until it has delivered everything that it
// has. A lane that never comes to an end of its messages keeps its strays: the order is promised, the shares are not.

// findStrays notes the values of l's records that belong to another lane now.
func (l *lane) findStrays() error {
	r, b := l.of, l.store
	if b == nil || !r.route.ByValue() || r.route.Moves() || l.local || l.target.Name == deadLane {
		return nil
	}
	records := b.j.Reader(1)
	for {
		rec, ready, err := records.TryNext()
		switch {
		case err != nil && !b.unreadable(err):
			return err
		case ready != nil:
			return nil
		case err != nil:
			continue
		}
		m, err := DecodeRecord(rec.Body)
		if err != nil {
			continue // it is set aside when its turn comes
		}
		value, err := r.valueOf(m)
		if err != nil {
			value = "" // it came here as one without a value
		}
		if r.pick(value, nil) != l {
			r.strays[value] = l
		}
	}
}

// reunite lets strays go where they belong when the lane that had them has nothing left. Nothing of what was received before
// is between source and lane then.
func (f *flow) reunite(s *session) {
	for _, r := range f.routes {
		if len(r.strays) == 0 || r.route.Delivery == routes.AtMostOnce && !s.idle() {
			continue
		}
		ended := map[*lane]bool{}
		for value, l := range r.strays {
			if _, known := ended[l]; !known {
				ended[l] = l.delivered()
			}
			if ended[l] {
				delete(r.strays, value)
			}
		}
	}
}

// delivered reports whether everything that the lane has got is with its target.
func (l *lane) delivered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.store
	return len(l.queue) == 0 && l.flying == 0 && (b == nil || len(b.incoming) == 0 && b.appending == 0 && b.backlog() == 0)
}
