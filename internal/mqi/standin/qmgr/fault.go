package qmgr

import (
	"errors"
	"slices"
	"time"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// A When says whether a fault comes before the call had its effect or after.
type When string

// Before is what an empty When means.
const (
	Before When = "before"
	After  When = "after"
)

// A Fault makes one call end otherwise than it should. With Cut the connection breaks and the client gets no answer, which
// its library reports as 2009.
type Fault struct {
	Verb       string        `json:"verb"`                 // MQPUT
	Queue      string        `json:"queue,omitempty"`      // calls that name it or, for MQCMIT and MQBACK, connections that have it open; empty: all
	Nth        int           `json:"nth,omitempty"`        // which call from now on, 1 is the next; 0 too
	Times      int           `json:"times,omitempty"`      // how many calls in a row, 1; -1 for all until Heal
	When       When          `json:"when,omitempty"`       //
	Cut        bool          `json:"cut,omitempty"`        //
	Reason     int32         `json:"reason,omitempty"`     // what the call returns
	Completion int32         `json:"completion,omitempty"` // 2 if there is a reason
	Delay      time.Duration `json:"delay,omitempty"`      // before anything else (nanoseconds)
}

// Fired is a fault that came.
type Fired struct {
	Fault Fault  `json:"fault"`
	Appl  string `json:"appl"` // the application's name
}

type armed struct {
	Fault
	seen, hits int
}

// Inject arms a fault.
func (m *Manager) Inject(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &armed{Fault: f})
}

// Heal takes back every fault that has not come yet.
func (m *Manager) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// Fired returns the faults that came, in their order.
func (m *Manager) Fired() []Fired {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.fired)
}

// due returns the fault that a call meets, nil if none.
func (m *Manager) due(c *conn, verb int, in *request) *Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.faults) == 0 || verb <= 0 || verb >= len(verbNames) {
		return nil
	}
	for _, a := range m.faults {
		if a.Verb == verbNames[verb] && c.concerns(verb, in, a.Queue) && a.count() {
			m.fired = append(m.fired, Fired{a.Fault, c.appl})
			m.turn(m.state) // for AwaitFired
			return &a.Fault
		}
	}
	return nil
}

// count counts a call that a is for, and reports whether it is one of those that fail.
func (a *armed) count() bool {
	a.seen++
	if a.seen < a.Nth || a.Times >= 0 && a.hits >= max(a.Times, 1) {
		return false
	}
	a.hits++
	return true
}

// concerns says whether a call is about a queue.
func (c *conn) concerns(verb int, in *request, name string) bool {
	if name == "" {
		return true
	}
	look := request{in.b}
	switch verb {
	case verbOpen, verbPut1:
		od, _ := readObject(&look)
		return od.name == name
	case verbPut, verbGet, verbClose, verbInquire:
		h := c.objects[look.long()]
		return h != nil && h.q != nil && (h.q.def.Name == name || h.def.Name == name)
	}
	for _, h := range c.objects {
		if h.q != nil && h.q.def.Name == name {
			return true
		}
	}
	return false
}

// AwaitFired returns when at least n faults have come, or with an error when done ends. A call that meets a fault may be
// still on its way then.
func (m *Manager) AwaitFired(n int, done <-chan struct{}) error {
	return m.await(done, func() bool { return len(m.fired) >= n })
}

// await returns when ok says so, which is asked under the lock whenever the state turns, or with an error when done ends.
func (m *Manager) await(done <-chan struct{}, ok func() bool) error {
	for {
		m.mu.Lock()
		yes, turned := ok(), m.turned
		m.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-turned:
		case <-done:
			return errors.New("the queue manager did not come to that")
		}
	}
}

// pause waits for a fault's delay, or until the queue manager stops.
func (m *Manager) pause(d time.Duration) {
	if d == 0 {
		return
	}
	over := make(chan struct{})
	defer time.AfterFunc(d, func() { close(over) }).Stop()
	_ = m.await(over, func() bool { return m.state == stopping }) // either way the call goes on
}

// turn changes the state and lets everybody who waits look again. The lock is held.
func (m *Manager) turn(state int) {
	m.state = state
	close(m.turned)
	m.turned = make(chan struct{})
}

// Quiesce lets nobody connect and ends calls that say MQ..._FAIL_IF_QUIESCING with 2161; units of work may be committed.
func (m *Manager) Quiesce() { m.set(quiescing) }

// Resume ends Quiesce.
func (m *Manager) Resume() { m.set(running) }

func (m *Manager) set(state int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(state)
}

// Cut breaks the connection of every client.
func (m *Manager) Cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		_ = c.sock.Close()
	}
}

// Release ends now what LockedFor would hold on to: locks of clients that are gone. It returns when they are free.
func (m *Manager) Release() {
	m.mu.Lock()
	m.releases++
	m.turn(m.state)
	var gone []*conn
	for c := range m.conns {
		if c.dead {
			gone = append(gone, c)
		}
	}
	m.mu.Unlock()
	for _, c := range gone {
		<-c.ended
	}
}

// Stop ends waiting calls with 2162, breaks every connection and rolls back every unit of work. Nobody can connect until
// Start. It returns when all that is done.
func (m *Manager) Stop() {
	m.set(stopping)
	_ = m.listener.Close()
	m.Cut()
	m.serving.Wait()
}

// Start lets clients in again after Stop, at the same address, as a queue manager that was started anew: messages that are
// not persistent are gone.
func (m *Manager) Start() error {
	m.mu.Lock()
	for _, q := range m.queues {
		for _, msg := range slices.Clone(q.msgs) {
			if msg.MD.Persistence != mqc.PER_PERSISTENT {
				q.remove(msg)
			}
		}
		q.wake()
	}
	m.turn(running)
	m.mu.Unlock()
	return m.listen(m.Addr())
}

// Close stops the queue manager for good.
func (m *Manager) Close() error {
	m.Stop()
	if m.journal == nil {
		return nil
	}
	return m.journal.Close()
}
