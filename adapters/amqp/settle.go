package amqp

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/posthouse/posthouse/adapters"
)

// Delivery states (part 3, section 3.4).
const (
	stateAccepted = 0x24
	stateRejected = 0x25
	stateReleased = 0x26
	stateModified = 0x27
)

func stateOf(o adapters.Outcome) byte {
	switch o {
	case adapters.Rejected:
		return stateRejected
	case adapters.Released:
		return stateReleased
	}
	return stateAccepted
}

// settle writes the outcome of the deliveries ids, one frame for each run of consecutive ones. ids is sorted by it.
// With settled false the deliveries stay open until the peer has settled them, see await.
func (w *wire) settle(ids []uint32, state byte, settled bool) error {
	slices.Sort(ids)
	var frames []byte
	for i := 0; i < len(ids); {
		n := runEnd(ids, i)
		frames = w.appendDisposition(frames, ids[i], ids[n-1], state, settled)
		i = n
	}
	return w.send(frames)
}

// runEnd is the index behind the ids that follow each other from i on.
func runEnd(ids []uint32, i int) int {
	for i++; i < len(ids) && ids[i]-ids[i-1] <= 1; {
		i++
	}
	return i
}

// appendDisposition writes a disposition of the receiver (part 2, section 2.7.6).
func (w *wire) appendDisposition(b []byte, first, last uint32, state byte, settled bool) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 2, frameAMQP, 0, 0, codeDescribed, codeUlong8, perfDisposition)
	binary.BigEndian.PutUint16(b[at+6:], uint16(w.channel.Load()))
	b = appendCompound(b, codeList32, 5, func(b []byte) []byte {
		b = appendUint(appendUint(append(b, codeTrue), first), last)
		b = appendBool(b, settled)
		return append(b, codeDescribed, codeUlong8, state, codeList0)
	})
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

// An answer waits until the peer has settled a set of deliveries.
type answer struct {
	once sync.Once
	left int  // guarded by wire.mu
	lost bool // read when done is closed
	done chan struct{}
}

func (a *answer) fail() {
	a.once.Do(func() {
		a.lost = true
		close(a.done)
	})
}

// expect registers ids before their outcome is sent, so that no confirmation can come too early. A delivery that waits
// already, because an earlier Settle ended with its context, waits for this answer from now on.
func (w *wire) expect(ids []uint32) *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &answer{done: make(chan struct{})}
	if w.cause != nil {
		a.fail()
		return a
	}
	for _, id := range ids {
		w.waiting[id] = a
	}
	a.left = len(ids)
	return a
}

// confirm reads a disposition of the sending peer: what it has settled is recorded there.
func (w *wire) confirm(body []byte) {
	var role, settled bool
	var first, last uint32
	d := &decoder{b: body}
	d.fields(func(i int) {
		if i > 3 {
			d.skip(0)
			return
		}
		switch v := d.value(0); i {
		case 0:
			role = v.Bool()
		case 1:
			first = uint32(v.Uint())
			last = first
		case 2:
			last = uint32(v.Uint())
		case 3:
			settled = v.Bool()
		}
	})
	if d.err != nil || role || !settled {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := last - first; n < uint32(len(w.waiting)) { // serial numbers wrap (part 2, section 2.8.10)
		for i := range n + 1 {
			w.answered(first + i)
		}
		return
	}
	for id := range w.waiting {
		if id-first <= last-first {
			w.answered(id)
		}
	}
}

// answered takes one delivery off what is waited for; mu is held.
func (w *wire) answered(id uint32) {
	a, ok := w.waiting[id]
	if !ok {
		return
	}
	delete(w.waiting, id)
	if a.left--; a.left == 0 {
		a.once.Do(func() { close(a.done) })
	}
}
