// Package qmgr is a queue manager for tests: the part of IBM MQ's behaviour that the adapter relies on, written from IBM's
// public reference. It is a stand-in and no proof of how IBM MQ behaves. Its clients are the library in ../client, over
// loopback TCP; tests in the same process also look at queues, and inject faults, through Manager's methods.
package qmgr

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// Options of a Manager. The zero value is a queue manager QM1 that lets everybody in and keeps nothing on disk.
type Options struct {
	Name            string            `json:"name,omitempty"`              // QM1
	Dir             string            `json:"dir,omitempty"`               // where persistent messages survive a kill; empty: nothing does
	NoSync          bool              `json:"no_sync,omitempty"`           // leave out fsync: enough for a kill, not for a power failure
	Listen          string            `json:"listen,omitempty"`            // 127.0.0.1:0
	CCSID           int32             `json:"ccsid,omitempty"`             // 1208
	MaxMsgLength    int32             `json:"max_msg_length,omitempty"`    // bytes, 4 MiB
	MaxUncommitted  int32             `json:"max_uncommitted,omitempty"`   // MAXUMSGS, 10000
	DeadLetterQueue string            `json:"dead_letter_queue,omitempty"` // its name; it is not created
	Heartbeat       int32             `json:"heartbeat,omitempty"`         // seconds, 5; a client waits twice that for an answer
	LockedFor       time.Duration     `json:"locked_for,omitempty"`        // how long a dead client's unit of work and handles stay (nanoseconds)
	Users           map[string]string `json:"users,omitempty"`             // passwords; nil: everybody may connect
	Channels        []Channel         `json:"channels,omitempty"`          // nil: every name is a channel without TLS
	Queues          []Queue           `json:"queues,omitempty"`            // defined at the start unless they are there
	Now             func() time.Time  `json:"-"`                           // time.Now
}

// A Channel is a server-connection channel.
type Channel struct {
	Name         string `json:"name"`
	Cipher       string `json:"cipher,omitempty"`         // SSLCIPH: a client must name the same one, and a key repository that exists
	MaxMsgLength int32  `json:"max_msg_length,omitempty"` // bytes; 0: the client's own limit counts
	Blocked      bool   `json:"blocked,omitempty"`        // 2577
}

// states of a Manager.
const (
	running = iota
	quiescing
	stopping
)

// A Manager is a running queue manager. Its methods may be called at any time, by any goroutine.
type Manager struct {
	opts Options
	id   string // QMID

	mu       sync.Mutex // of everything below, of queues, connections, units and handles
	queues   map[string]*queue
	subs     map[string]*subscription
	conns    map[*conn]struct{}
	state    int
	turned   chan struct{} // closed and replaced when state changes, and when a fault comes
	releases int           // how often Release was called
	journal  *journal      // nil without a directory
	seq      uint64
	ids      uint64 // of message ids and connections
	handles  int    // message handles that are not deleted
	shift    time.Duration
	faults   []*armed
	fired    []Fired

	listener net.Listener
	serving  sync.WaitGroup
}

// Open starts a queue manager, with the messages and definitions that its directory has.
func Open(o Options) (*Manager, error) {
	o.Name, o.Listen = cmp.Or(o.Name, "QM1"), cmp.Or(o.Listen, "127.0.0.1:0")
	o.CCSID, o.MaxMsgLength, o.MaxUncommitted = or(o.CCSID, 1208), or(o.MaxMsgLength, defaultLength), or(o.MaxUncommitted, 10000)
	o.Heartbeat = or(o.Heartbeat, 5)
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Manager{opts: o, id: o.Name + "_standin", queues: map[string]*queue{}, subs: map[string]*subscription{},
		conns: map[*conn]struct{}{}, turned: make(chan struct{}), seq: 1, ids: uint64(o.Now().UnixNano())}
	if err := m.recover(); err != nil {
		return nil, err
	}
	for _, q := range o.Queues {
		if _, known := m.queues[q.Name]; !known {
			m.queues[q.Name] = newQueue(q)
		}
	}
	if err := m.begin(); err != nil {
		return nil, err
	}
	return m, m.listen(o.Listen)
}

// recover reads the directory.
func (m *Manager) recover() error {
	if m.opts.Dir == "" {
		return nil
	}
	return replay(m.opts.Dir, m.apply)
}

// apply does again what a record says.
func (m *Manager) apply(r record) {
	if r.Define != nil {
		m.define(*r.Define)
	}
	if r.Sub != nil {
		m.subs[r.Sub.Name] = r.Sub
	}
	delete(m.subs, r.Unsub)
	for _, s := range r.Puts {
		m.queueFor(s.Queue).insert(&message{Message: s.Message, seq: s.Seq, expires: s.Expires, logged: true})
		m.seq = max(m.seq, s.Seq)
	}
	for _, g := range r.Gets {
		if msg := m.stored(g); msg != nil {
			msg.queue.remove(msg)
		}
	}
	for _, b := range r.Backouts {
		if msg := m.stored(b); msg != nil {
			msg.MD.BackoutCount++
		}
	}
}

func (m *Manager) queueFor(name string) *queue {
	if m.queues[name] == nil {
		m.queues[name] = newQueue(Queue{Name: name})
	}
	return m.queues[name]
}

func (m *Manager) stored(r ref) *message {
	q := m.queueFor(r.Queue)
	i := slices.IndexFunc(q.msgs, func(msg *message) bool { return msg.seq == r.Seq })
	if i < 0 {
		return nil
	}
	return q.msgs[i]
}

// begin starts the journal with what is true now.
func (m *Manager) begin() error {
	if m.opts.Dir == "" {
		return nil
	}
	var now []record
	for _, name := range slices.Sorted(maps.Keys(m.queues)) {
		q := m.queues[name]
		r := record{Define: &q.def}
		for _, msg := range q.msgs {
			r.Puts = append(r.Puts, msg.stored())
		}
		now = append(now, r)
	}
	for _, s := range m.subs {
		now = append(now, record{Sub: s})
	}
	j, err := createJournal(m.opts.Dir, now, !m.opts.NoSync)
	m.journal = j
	return err
}

func (m *message) stored() stored {
	return stored{Queue: m.queue.def.Name, Seq: m.seq, Expires: m.expires, Message: m.Message}
}

// log appends r and returns a function that waits, without the lock, until it is on disk.
func (m *Manager) log(r *record) (func() error, error) {
	if m.journal == nil {
		return func() error { return nil }, nil
	}
	n, err := m.journal.append(r)
	j := m.journal
	return func() error {
		return j.wait(n, func() int64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			return j.written
		})
	}, err
}

// Name is the queue manager's name.
func (m *Manager) Name() string { return m.opts.Name }

// Addr is host:port of the listener.
func (m *Manager) Addr() string { return m.listener.Addr().String() }

// ConnName is the listener's address as a CONNAME: host(port).
func (m *Manager) ConnName() string {
	host, port, _ := net.SplitHostPort(m.Addr())
	return fmt.Sprintf("%s(%s)", host, port)
}

// Define makes a queue, or changes one that is there; its messages stay.
func (m *Manager) Define(def Queue) error {
	if def.Name == "" || len(def.Name) > 48 {
		return fmt.Errorf("queue name %q: 1 to 48 characters", def.Name)
	}
	m.mu.Lock()
	m.define(def)
	wait, err := m.log(&record{Define: &def})
	m.mu.Unlock()
	return errors.Join(err, wait())
}

func (m *Manager) define(def Queue) {
	q := m.queueFor(def.Name)
	q.def = def
	q.wake()
}

// Alter changes attributes of a queue that is there; an error says that it is not.
func (m *Manager) Alter(name string, change func(*Queue)) error {
	m.mu.Lock()
	q := m.queues[name]
	if q == nil {
		m.mu.Unlock()
		return fmt.Errorf("no queue %s", name)
	}
	def := q.def
	m.mu.Unlock()
	change(&def)
	return m.Define(def)
}

// now is the time on the queue manager's clock.
func (m *Manager) now() time.Time { return m.opts.Now().Add(m.shift).UTC() }

// ErrNoQueue says that a queue does not exist.
var ErrNoQueue = errors.New("no such queue")

// Put puts a message as an application without a unit of work does. What is zero in the descriptor gets MQ's default.
func (m *Manager) Put(name string, msg Message) error {
	m.mu.Lock()
	q := m.queues[name]
	if q == nil {
		m.mu.Unlock()
		return fmt.Errorf("%w: %s", ErrNoQueue, name)
	}
	m.complete(&msg.MD)
	wait, err := m.store(&message{Message: msg, queue: q, expires: m.expiry(msg.MD.Expiry)})
	m.mu.Unlock()
	return errors.Join(err, wait())
}

// complete fills a descriptor that a test gave.
func (m *Manager) complete(md *Descriptor) {
	md.Version = 2
	md.MsgType, md.Expiry = or(md.MsgType, mqc.MT_DATAGRAM), or(md.Expiry, mqc.EI_UNLIMITED)
	md.Encoding, md.CCSID = or(md.Encoding, mqc.ENC_NATIVE), or(md.CCSID, m.opts.CCSID)
	md.MsgSeqNumber, md.OriginalLength = or(md.MsgSeqNumber, 1), or(md.OriginalLength, mqc.OL_UNDEFINED)
	if md.MsgID == [24]byte{} {
		md.MsgID = m.newID()
	}
	if md.PutDate == "" {
		md.PutDate, md.PutTime = stamp(m.now())
	}
}

// store puts msg on its queue, at once available.
func (m *Manager) store(msg *message) (func() error, error) {
	m.seq++
	msg.seq = m.seq
	msg.queue.insert(msg)
	msg.queue.wake()
	if msg.MD.Persistence != mqc.PER_PERSISTENT {
		return func() error { return nil }, nil
	}
	msg.logged = true
	return m.log(&record{Puts: []stored{msg.stored()}})
}

// Messages returns the messages of a queue in the order in which they are got: those that are available, and those that a
// unit of work has got or put and not yet committed.
func (m *Manager) Messages(name string) (available, uncommitted []Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.queues[name]; q != nil {
		m.expire(q)
		for _, msg := range q.msgs {
			if msg.state == 0 {
				available = append(available, msg.Message)
			} else {
				uncommitted = append(uncommitted, msg.Message)
			}
		}
	}
	return available, uncommitted
}

// Await returns when the queue has at least n available messages, or with an error when done ends.
func (m *Manager) Await(name string, n int, done <-chan struct{}) ([]Message, error) {
	for {
		m.mu.Lock()
		changed := m.queueFor(name).changed
		m.mu.Unlock()
		got, _ := m.Messages(name)
		if len(got) >= n {
			return got, nil
		}
		select {
		case <-changed:
		case <-done:
			return got, fmt.Errorf("%s has %d messages, waited for %d", name, len(got), n)
		}
	}
}

// Clear removes the messages of a queue that no unit of work holds, and returns how many those were.
func (m *Manager) Clear(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[name]
	if q == nil {
		return 0
	}
	var gone []*message
	for _, msg := range q.msgs {
		if msg.state == available {
			gone = append(gone, msg)
		}
	}
	m.discard(gone)
	return len(gone)
}

// discard removes messages for good; a kill may bring them back.
func (m *Manager) discard(gone []*message) {
	var r record
	for _, msg := range gone {
		msg.queue.remove(msg)
		if msg.logged {
			r.Gets = append(r.Gets, ref{msg.queue.def.Name, msg.seq})
		}
	}
	if !r.empty() {
		_, _ = m.log(&r) // a message that is not there anymore and comes back after a kill has expired then, too
	}
}

// expire removes what has expired, as the queue manager does when it comes across it.
func (m *Manager) expire(q *queue) {
	if q.mortal == 0 {
		return
	}
	now := m.now()
	var gone []*message
	for _, msg := range q.msgs {
		if msg.state == available && !msg.expires.IsZero() && !now.Before(msg.expires) {
			gone = append(gone, msg)
		}
	}
	m.discard(gone)
}

// SetBackoutCount presets the backout count of all messages that are available on a queue.
func (m *Manager) SetBackoutCount(name string, n int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.queues[name]; q != nil {
		for _, msg := range q.msgs {
			msg.MD.BackoutCount = n
		}
	}
}

// Shift moves the queue manager's clock against the machine's, for expiry and put times.
func (m *Manager) Shift(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shift += by
	for _, q := range m.queues {
		q.wake()
	}
}

// Use is what clients hold at a moment.
type Use struct {
	Connections    int `json:"connections"`     // also those whose client is dead and whose locks are still held
	Objects        int `json:"objects"`         // open objects
	MessageHandles int `json:"message_handles"` // created and not deleted
	Uncommitted    int `json:"uncommitted"`     // gets and puts in units of work
}

// Use says what clients hold now.
func (m *Manager) Use() Use {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := Use{Connections: len(m.conns), MessageHandles: m.handles}
	for c := range m.conns {
		u.Objects += len(c.objects)
		u.Uncommitted += c.unit.size()
	}
	return u
}

// stamp writes t as put date and put time.
func stamp(t time.Time) (date, clock string) {
	return t.Format("20060102"), t.Format("150405") + fmt.Sprintf("%02d", t.Nanosecond()/10_000_000)
}

// newID makes a message id: AMQ, the queue manager's name and a number that is not repeated.
func (m *Manager) newID() (id [24]byte) {
	m.ids++
	copy(id[:], fmt.Sprintf("AMQ %-12.12s", m.opts.Name))
	for i := range 8 {
		id[16+i] = byte(m.ids >> (56 - 8*i))
	}
	return id
}

// expiry is when a message put now with the given Expiry (tenths of a second) expires.
func (m *Manager) expiry(tenths int32) time.Time {
	if tenths == mqc.EI_UNLIMITED {
		return time.Time{}
	}
	return m.now().Add(time.Duration(tenths) * 100 * time.Millisecond)
}
