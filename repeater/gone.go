package repeater

// What a route that was taken away leaves of an exactly-once lane: its source was lost before it noted what was settled last,
// so the records of that stay in the journal although the target has them. If the route comes back they are recognised, also
// in another process (C24). They are no backlog, and this process does not show them as messages that wait.

// leaves notes what the flows that have ended, and that nobody has followed, leave of such records.
func (j *journal) leaves(gone []*flow) {
	if j.open() == nil {
		return
	}
	there := map[string]uint64{}
	for _, f := range gone {
		for _, l := range f.all() {
			if b := l.store; b != nil && !b.taken && b.kept > 0 {
				there[l.name] = uint64(b.kept)
			}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.there = there
}

// delivered is how many of such records there are.
func (j *journal) delivered() (n uint64) {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, there := range j.there {
		n += there
	}
	return n
}
