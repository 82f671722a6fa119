package ibmmq

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// A state queue holds one message, which says how far a lane, or the reader of a queue, has come. It is got and put again in
// every unit of work, so it is true whenever it can be read: where the outcome of a commit is unknown it tells.

// A state is the body of that message.
type state struct {
	Version  int    `json:"version"`
	Owner    string `json:"owner"`  // the lane, or the queue that is read
	Holder   string `json:"holder"` // who opened it last: whoever finds another one is fenced
	Batch    uint64 `json:"batch"`  // units of work
	Count    int    `json:"count"`  // messages of the last one
	SHA256   string `json:"sha256"` // of its messages
	Repeater string `json:"repeater"`
	adapters.Position
}

const stateVersion = 1

// A states is a state queue. Its methods are called by whoever has the turn of the link.
type states struct {
	l     *link
	queue string
	owner string
	last  state
}

var (
	errNoState    = errors.New("it is empty, and held a state before: somebody has taken it. Put it back, or start the lane anew")
	errManyStates = errors.New("it holds more than one message: a state queue belongs to one lane alone")
)

// denied says what an operator has to mend.
func (s *states) denied(err error) error {
	return &adapters.Error{Op: "attach", Addr: s.l.at, Kind: adapters.Denied, Err: fmt.Errorf("state queue %s: %w", s.queue, err)}
}

// open opens the state queue for this connection alone.
func (s *states) open() (object, error) {
	q, err := s.l.conn.open(objectName{queue: s.queue}, mqooInputExclusive|mqooOutput|mqooInquire|mqooNoReadAhead)
	if codeOf(err) == mqrcUnknownObject {
		return nil, &adapters.Error{Op: "attach", Addr: s.l.at, Kind: adapters.NotFound,
			Err: fmt.Errorf("state queue %s: %w: DEFINE QLOCAL(%s) DEFPSIST(YES) SHARE DEFSOPT(EXCL)", s.queue, err, s.queue)}
	}
	return q, err
}

// take gets the state in the unit of work. found is false for an empty queue.
func (s *states) take(q object) (st state, found bool, err error) {
	w, err := q.get(getOptions{max: 4 << 20})
	if codeOf(err) == mqrcNoMessage {
		return state{Version: stateVersion, Owner: s.owner}, false, nil
	}
	if err != nil {
		return st, false, err
	}
	if err := json.Unmarshal(w.Body, &st); err != nil || st.Version != stateVersion {
		return st, false, s.denied(fmt.Errorf("its message is no state that this version reads: %.60q", w.Body))
	}
	if st.Owner != s.owner {
		return st, false, s.denied(fmt.Errorf("it belongs to %s and not to %s: give each lane and each source a queue of its own; "+
			"after a spool was made anew or accepted as a copy, look what has arrived, then clear the queue", st.Owner, s.owner))
	}
	return st, true, nil
}

// put puts st in the unit of work.
func (s *states) put(q object, st state) error {
	body, err := json.Marshal(st)
	if err != nil {
		return err
	}
	w := Wire{Body: body, MD: Descriptor{MsgType: MsgTypeDatagram, Expiry: unlimited, Encoding: x86Encoding, CCSID: utf8CCSID, Format: FormatString,
		Priority: queuePriority, Persistence: persistent, MsgSeqNumber: 1}}
	return q.put(w, putOptions{})
}

// claim opens the queue, looks at what it holds, and writes ourselves into it: from then on an earlier holder is fenced.
func (s *states) claim() (err error) {
	q, err := s.open()
	if err != nil {
		return err
	}
	st, _, err := s.take(q)
	if err == nil {
		err = s.alone(q)
	}
	if err == nil {
		st.Holder, st.Repeater = rand.Text(), s.l.cfg.Client
		err = s.put(q, st)
	}
	if err != nil {
		_ = s.l.conn.back()
		return err
	}
	if err := s.l.conn.commit(); err != nil {
		return err
	}
	s.last = st
	return q.close()
}

// alone refuses a second message.
func (s *states) alone(q object) error {
	_, err := q.get(getOptions{max: largest})
	switch {
	case codeOf(err) == mqrcNoMessage:
		return nil
	case err == nil:
		return s.denied(errManyStates)
	}
	return err
}

// replace is the step of a unit of work: the last state out, the next in. It leaves the queue open until the unit has ended.
func (s *states) replace(next func(*state)) (object, state, error) {
	q, err := s.open()
	if err != nil {
		return nil, state{}, err
	}
	st, found, err := s.take(q)
	switch {
	case err != nil:
		return q, st, err
	case !found:
		return q, st, s.denied(errNoState)
	case st.Holder != s.last.Holder:
		return q, st, &adapters.Error{Op: "send", Addr: s.l.at, Kind: adapters.Denied,
			Err: fmt.Errorf("%w: %s has opened state queue %s", adapters.ErrFenced, st.Repeater, s.queue)}
	}
	st.Batch++
	next(&st)
	return q, st, s.put(q, st)
}

// batches are the states of a source.
type batches struct{ states }

func openBatches(l *link, queue string) (*batches, error) {
	b := &batches{states{l: l, queue: queue, owner: "source " + l.at.Name}}
	return b, b.claim()
}

// next puts the state of the unit of work that holds tags.
func (b *batches) next(tags []*tag) error {
	h := sha256.New()
	for _, t := range tags {
		fmt.Fprintln(h, t.id)
	}
	q, st, err := b.replace(func(st *state) { st.Count, st.SHA256 = len(tags), hex.EncodeToString(h.Sum(nil)) })
	if q != nil {
		err = errors.Join(err, q.close())
	}
	if err == nil {
		b.last = st
	}
	return err
}
