package qmgr

import (
	"math"
	"slices"
	"time"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// A Queue is the attributes of a local queue, or an alias of one. What is zero has MQ's default.
type Queue struct {
	Name             string              `json:"name"`
	Alias            string              `json:"alias,omitempty"`             // the base queue; makes this an alias
	MaxDepth         int32               `json:"max_depth,omitempty"`         // messages, 5000
	MaxMsgLength     int32               `json:"max_msg_length,omitempty"`    // bytes, 4 MiB
	BackoutThreshold int32               `json:"backout_threshold,omitempty"` // BOTHRESH
	BackoutQueue     string              `json:"backout_queue,omitempty"`     // BOQNAME
	GetInhibited     bool                `json:"get_inhibited,omitempty"`     //
	PutInhibited     bool                `json:"put_inhibited,omitempty"`     //
	NoShare          bool                `json:"no_share,omitempty"`          // one input handle at a time
	OpenExclusive    bool                `json:"open_exclusive,omitempty"`    // DEFSOPT(EXCL)
	Persistent       bool                `json:"persistent,omitempty"`        // DEFPSIST(YES)
	Priority         int32               `json:"priority,omitempty"`          // DEFPRTY
	FIFO             bool                `json:"fifo,omitempty"`              // MSGDLVSQ(FIFO): order of arrival across priorities
	PropertyControl  int32               `json:"property_control,omitempty"`  // PROPCTL: 0 compatible, 1 none, 2 all, 3 always MQRFH2
	Authorities      map[string][]string `json:"authorities,omitempty"`       // by user: get browse put inq passid passall setid setall; nil lets everybody
}

// Limits of the queue manager that a queue without its own has.
const (
	defaultDepth  = 5000
	defaultLength = 4 << 20
)

func (q *Queue) maxDepth() int32     { return or(q.MaxDepth, defaultDepth) }
func (q *Queue) maxMsgLength() int32 { return or(q.MaxMsgLength, defaultLength) }

func or(v, instead int32) int32 {
	if v == 0 {
		return instead
	}
	return v
}

// A Message is one on a queue.
type Message struct {
	MD    Descriptor
	Props []Property
	Body  []byte
}

// States of a message on its queue.
const (
	available = iota
	putting   // put by a unit of work that is not committed
	getting   // got by a unit of work that is not committed
)

type message struct {
	Message
	queue   *queue
	seq     uint64 // order of arrival, of all queues
	state   int
	expires time.Time // zero: never
	logged  bool      // in the journal
}

// queue is a local queue. The manager's lock guards it.
type queue struct {
	def     Queue
	msgs    []*message // in the order in which they are got
	locked  int        // those in state getting
	mortal  int        // those that can expire
	inputs  int        // handles open for input
	sole    *handle    // the one that has it exclusively
	changed chan struct{}
}

func newQueue(def Queue) *queue { return &queue{def: def, changed: make(chan struct{})} }

// wake lets everybody who waits for q look again.
func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// depth counts as CURDEPTH does: uncommitted puts are in it, uncommitted gets are not.
func (q *queue) depth() int32 { return int32(len(q.msgs) - q.locked) }

// place is where a message stands on its queue.
type place struct {
	priority int32
	seq      uint64
}

func (q *queue) placeOf(m *message) place {
	if q.def.FIFO {
		return place{0, m.seq}
	}
	return place{m.MD.Priority, m.seq}
}

// before says whether a is got before b: higher priority first, then earlier arrival.
func (a place) before(b place) bool {
	return a.priority > b.priority || a.priority == b.priority && a.seq < b.seq
}

// start is before every message.
var start = place{priority: math.MaxInt32}

// insert puts m where it belongs.
func (q *queue) insert(m *message) {
	m.queue = q
	if !m.expires.IsZero() {
		q.mortal++
	}
	at := len(q.msgs)
	for at > 0 && q.placeOf(m).before(q.placeOf(q.msgs[at-1])) {
		at--
	}
	q.msgs = slices.Insert(q.msgs, at, m)
}

func (q *queue) remove(m *message) {
	i := slices.Index(q.msgs, m)
	if i < 0 {
		return
	}
	q.msgs = slices.Delete(q.msgs, i, i+1)
	if !m.expires.IsZero() {
		q.mortal--
	}
	q.unlock(m)
}

// lock keeps m for the unit of work that has got it.
func (q *queue) lock(m *message) {
	m.state = getting
	q.locked++
}

// unlock lets go of m, if it is locked.
func (q *queue) unlock(m *message) {
	if m.state == getting {
		m.state = available
		q.locked--
	}
}

// find returns the first available message behind a place that matches, or nil.
func (q *queue) find(behind place, match func(*message) bool) *message {
	for _, m := range q.msgs {
		if m.state == available && behind.before(q.placeOf(m)) && match(m) {
			return m
		}
	}
	return nil
}

// matcher says which messages an MQGET wants.
func matcher(g getOptions, md Descriptor) func(*message) bool {
	want := g.match
	if g.version < 2 {
		want = mqc.MO_MATCH_MSG_ID | mqc.MO_MATCH_CORREL_ID
	}
	byID := want&mqc.MO_MATCH_MSG_ID != 0 && md.MsgID != [24]byte{}
	byCorrel := want&mqc.MO_MATCH_CORREL_ID != 0 && md.CorrelID != [24]byte{}
	byGroup := want&mqc.MO_MATCH_GROUP_ID != 0 && md.GroupID != [24]byte{}
	bySeq := want&mqc.MO_MATCH_MSG_SEQ_NUMBER != 0
	return func(m *message) bool {
		return (!byID || m.MD.MsgID == md.MsgID) && (!byCorrel || m.MD.CorrelID == md.CorrelID) &&
			(!byGroup || m.MD.GroupID == md.GroupID) && (!bySeq || m.MD.MsgSeqNumber == md.MsgSeqNumber)
	}
}

// A unit is the unit of work of one connection.
type unit struct {
	puts, gets []*message
}

func (u *unit) size() int { return len(u.puts) + len(u.gets) }
