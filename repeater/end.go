package repeater

import (
	"log/slog"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// LinkState is the state of the connection of one end of a route.
type LinkState uint8

// The states. Up is a fact: attached, and heard of within the last heartbeats; never "the TCP connection exists".
const (
	LinkStarting LinkState = iota
	LinkUp
	LinkDown    // cannot be reached, or was lost: retried with backoff, for ever
	LinkBlocked // reached, and refused with a reason that an operator has to mend
	LinkPaused  // not wanted now: an operator has paused all routes that read it
)

func (s LinkState) String() string {
	return [...]string{"starting", "up", "down", "blocked", "paused"}[min(int(s), 4)]
}

// logEvery is how often an unchanged trouble is logged again.
const logEvery = time.Minute

// An end is what is known of one attached or wanted Source or Target.
type end struct {
	log     *slog.Logger                 // has route, broker and target
	changed func(s LinkState, why error) // called after each change, or nil

	mu     sync.Mutex
	state  LinkState
	since  time.Time
	err    error // the last one, kept for status when the end is up again
	errAt  time.Time
	logged time.Time
	muted  int  // repeats since the last line
	doubt  bool // it was blocked while attached: to attach again proves nothing
	peer   adapters.Peer
}

func newEnd(log *slog.Logger) *end { return &end{log: log, since: time.Now()} }

// up notes that the end has attached.
func (e *end) up() {
	e.mu.Lock()
	doubt := e.doubt
	e.mu.Unlock()
	if !doubt {
		e.set(LinkUp, nil)
	}
}

// failed notes a trouble of an attached end. Blocked it stays until something works, however often it attaches.
func (e *end) failed(s LinkState, err error) {
	e.mu.Lock()
	e.doubt = s == LinkBlocked
	e.mu.Unlock()
	e.set(s, err)
}

// works notes that something has succeeded through the attached end.
func (e *end) works() {
	e.mu.Lock()
	e.doubt = false
	e.mu.Unlock()
	e.set(LinkUp, nil)
}

// anew notes that the end has attached to another target: what was said of the one before does not hold for it.
func (e *end) anew() {
	e.mu.Lock()
	e.doubt = false
	e.mu.Unlock()
	e.set(LinkUp, nil)
}

// becomes notes a state that nobody has to be told of.
func (e *end) becomes(s LinkState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s != e.state {
		e.state, e.since, e.doubt = s, time.Now(), false
	}
}

// set notes the state and the error that led to it. A change is logged at once, a repeat once a minute.
func (e *end) set(s LinkState, err error) {
	if e.note(s, err) && e.changed != nil {
		e.changed(s, err)
	}
}

// note is set, and reports whether the state has changed.
func (e *end) note(s LinkState, err error) (changed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if changed = s != e.state; changed {
		e.state, e.since = s, now
	}
	if err != nil {
		e.err, e.errAt = err, now
	}
	if !changed && (s == LinkUp || now.Sub(e.logged) < logEvery) {
		e.muted++
		return changed
	}
	e.line(s, err)
	e.logged, e.muted = now, 0
	return changed
}

func (e *end) line(s LinkState, err error) {
	if s == LinkUp {
		e.log.Info(msgLinkUp)
		return
	}
	attrs := []any{"state", s.String(), "err", err, "kind", adapters.KindOf(err).String()}
	if e.muted > 0 {
		attrs = append(attrs, "repeats", e.muted)
	}
	e.log.Warn(msgLinkTrouble, attrs...)
}

// attached notes what the broker told about itself.
func (e *end) attached(v any) adapters.Peer {
	p := peerOf(v)
	e.mu.Lock()
	e.peer = p
	e.mu.Unlock()
	return p
}

// EndStatus is what is known of one end of a route.
type EndStatus struct {
	Address string        `json:"address"` // BROKER/NAME
	State   string        `json:"state"`   // starting, up, down, blocked, paused
	Since   time.Time     `json:"since"`
	Error   string        `json:"last_error,omitempty"` // in the broker's words; kept after recovery
	ErrorAt *time.Time    `json:"last_error_at,omitempty"`
	Peer    adapters.Peer `json:"peer"`
}

func (e *end) status(a adapters.Address) EndStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := EndStatus{Address: a.String(), State: e.state.String(), Since: e.since, Peer: e.peer}
	if e.err != nil {
		at := e.errAt
		s.Error, s.ErrorAt = e.err.Error(), &at
	}
	return s
}

// current returns the state alone.
func (e *end) current() LinkState {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}
