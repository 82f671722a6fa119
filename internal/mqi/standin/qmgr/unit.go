package qmgr

import "github.com/posthouse/posthouse/internal/mqi/standin/mqc"

// commitCall is MQCMIT.
func (c *conn) commitCall(*request, *reply) code { return c.commit() }

// backCall is MQBACK.
func (c *conn) backCall(*request, *reply) code {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.rollback()
	return done
}

// commit makes the unit of work true: on disk first, then for everybody.
func (c *conn) commit() code {
	c.m.mu.Lock()
	r := c.unit.record()
	wait, err := nothing, error(nil)
	if !r.empty() {
		wait, err = c.m.log(r)
	}
	c.m.mu.Unlock()
	if err != nil || wait() != nil {
		return failed(mqc.RC_RESOURCE_PROBLEM)
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for _, msg := range c.unit.puts {
		if msg.state == putting { // not if the same unit has got it, which it cannot
			msg.state, msg.logged = available, msg.MD.Persistence == mqc.PER_PERSISTENT
			msg.queue.wake()
		}
	}
	for _, msg := range c.unit.gets {
		msg.queue.remove(msg)
		msg.queue.wake()
	}
	c.unit = unit{}
	return done
}

// record is what the journal must know of a unit: persistent messages put, and logged ones got.
func (u *unit) record() *record {
	r := &record{}
	for _, msg := range u.puts {
		if msg.MD.Persistence == mqc.PER_PERSISTENT {
			r.Puts = append(r.Puts, msg.stored())
		}
	}
	r.Gets = refs(u.gets)
	return r
}

// refs names those messages that the journal knows.
func refs(msgs []*message) []ref {
	var rs []ref
	for _, msg := range msgs {
		if msg.logged {
			rs = append(rs, ref{msg.queue.def.Name, msg.seq})
		}
	}
	return rs
}

// rollback undoes the unit of work: what was put is gone, what was got is back in its old place with one more in its backout
// count. The lock is held.
func (c *conn) rollback() {
	for _, msg := range c.unit.puts {
		msg.queue.remove(msg)
		msg.queue.wake()
	}
	for _, msg := range c.unit.gets {
		msg.queue.unlock(msg)
		msg.MD.BackoutCount++
		msg.queue.wake()
	}
	if r := (record{Backouts: refs(c.unit.gets)}); !r.empty() {
		_, _ = c.m.log(&r) // a count that a power failure forgets is one too few, nothing worse
	}
	c.unit = unit{}
}
