package amqp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxFrame is the largest frame that we ask for and accept, in bytes. A peer that sends a larger one breaks the
// protocol (part 2, section 2.7.1), and is cut off before the frame is in memory.
const maxFrame = 64 << 10

// Descriptors of the performatives that a wire looks at (part 2, section 2.7).
const (
	perfOpen        = 0x10
	perfBegin       = 0x11
	perfTransfer    = 0x14
	perfDisposition = 0x15
	perfDetach      = 0x16
	perfEnd         = 0x17
	perfClose       = 0x18
	saslInit        = 0x41
	saslOutcome     = 0x44
)

const (
	frameAMQP = 0
	frameSASL = 1
)

// A wire is the connection below the client library. It lets every frame pass but looks at each on its way, for four
// reasons.
//
// Size: the library lets a peer that states no max-message-size switch off ours. A wire adds up the transfer frames of
// each delivery and cuts the connection when Limits.MaxSize is exceeded; so no more than that is ever in memory.
//
// Content: the library cannot decode char and decimal values and closes the link on them, which would make such a
// message block its queue for ever; nor can it tell a priority of 4 from none. So a wire keeps the payload of every
// delivery and gives the library only a ticket with the delivery id; this package decodes the payload itself. On the way
// out it takes off the data section in which the library has put what this package encoded.
//
// Settling: the library writes one disposition frame for each message. A wire knows the delivery ids and writes one
// frame for each run of them.
//
// Liveness: it notes when the peer was last heard, and when the peer detaches, ends or closes.
type wire struct {
	net.Conn          // TLS, or the same as raw
	raw      net.Conn // below TLS: closed when there is nothing more to say
	in       *bufio.Reader
	maxSize  int64
	idle     time.Duration // without a byte for so long the peer is dead

	// Owned by the reading goroutine.
	out    []byte // of the current frame: to be handed to the library
	ticket []byte // space for a rewritten transfer
	cur    arrival
	part   bool // cur is not complete

	// Owned by the writing goroutine of the library.
	space   []byte      // for a rewritten frame
	midway  atomic.Bool // a delivery has begun to go out and is not complete
	channel atomic.Uint32

	wmu   sync.Mutex // one frame at a time on Conn
	heard atomic.Int64
	sasl  atomic.Int32 // 0 nothing, 1 we have shown our credentials, 2 the broker has answered
	gone  chan struct{}
	many  atomic.Bool // several AMQP links: the end of one is not the end of all

	mu      sync.Mutex
	arrived map[uint32]arrival
	count   uint64 // deliveries arrived so far
	cause   error  // why gone is closed
	peer    openFrame
	waiting map[uint32]*answer // deliveries whose settlement the peer has not confirmed
}

// An arrival is the payload of one delivery.
type arrival struct {
	id      uint32
	settled bool // by the sender, before it came
	raw     []byte
}

// An openFrame is what the library does not tell of the peer's open performative.
type openFrame struct{ container string }

var errOversize = errors.New("message is larger than max_message_size")

func newWire(conn, raw net.Conn, maxSize int64, idle time.Duration) *wire {
	w := &wire{Conn: conn, raw: raw, maxSize: maxSize, idle: idle, gone: make(chan struct{}),
		arrived: make(map[uint32]arrival), waiting: make(map[uint32]*answer)}
	w.in = bufio.NewReaderSize(deadlineReader{w}, 2*maxFrame)
	w.heard.Store(time.Now().UnixNano())
	return w
}

// deadlineReader sets the deadline before each read of the network and not once for each frame: a slow peer is alive
// as long as bytes come.
type deadlineReader struct{ w *wire }

func (r deadlineReader) Read(p []byte) (int, error) {
	_ = r.w.Conn.SetReadDeadline(time.Now().Add(r.w.idle))
	n, err := r.w.Conn.Read(p)
	if n > 0 {
		r.w.heard.Store(time.Now().UnixNano())
	}
	if timedOut(err) {
		err = fmt.Errorf("nothing heard from the broker for %v: %w", r.w.idle, err)
	}
	return n, err
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// SetReadDeadline does nothing: the wire has a rule of its own, see deadlineReader.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetDeadline sets the write deadline alone, for the same reason.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetWriteDeadline(t) }

// cut ends the connection at once, without a word to the peer, and notes why. The first cause stays.
func (w *wire) cut(cause error) {
	w.mark(cause)
	_ = w.raw.Close()
}

// mark notes that the link is of no more use: the peer has ended it, or we have.
func (w *wire) mark(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	w.cause = cause
	close(w.gone)
	w.failWaiting()
}

// failWaiting ends every wait for an answer, with w.mu held.
func (w *wire) failWaiting() {
	for id, a := range w.waiting {
		delete(w.waiting, id)
		a.fail()
	}
}

// why is the cause of the end, or nil while there is none.
func (w *wire) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// Close closes the connection; the library calls it when it has said goodbye.
func (w *wire) Close() error {
	w.mark(net.ErrClosed)
	return w.Conn.Close()
}

// Read gives the library the next bytes of a frame. On a failure the connection is cut at once, so that a writer that
// is stuck in the same dead connection comes free too.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if err := w.next(); err != nil {
			w.cut(err)
			return 0, err
		}
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

// next reads one whole frame. Its bytes stay in the reader's buffer until the following call.
func (w *wire) next() error {
	head, err := w.in.Peek(8)
	if err != nil {
		return ended(err)
	}
	size := int64(binary.BigEndian.Uint32(head))
	if string(head[:4]) == "AMQP" { // a protocol header (part 2, section 2.2)
		size = 8
	}
	if size < 8 || size > maxFrame {
		return fmt.Errorf("the peer breaks the protocol: a frame of %d bytes, %d are allowed", size, maxFrame)
	}
	frame, err := w.in.Peek(int(size))
	if err != nil {
		return ended(err)
	}
	_, _ = w.in.Discard(int(size)) // the bytes stay valid until the next Peek
	return w.inspect(frame)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the broker closed the connection")
	}
	return err
}

// performative is the descriptor code of the frame's body and where its fields begin, or 0.
func performative(frame []byte) (code byte, at int) {
	if len(frame) < 12 || int(frame[4])*4 > len(frame)-4 || string(frame[:4]) == "AMQP" {
		return 0, 0
	}
	at = int(frame[4]) * 4
	if frame[at] != codeDescribed || frame[at+1] != codeUlong8 {
		return 0, 0
	}
	return frame[at+2], at + 3
}

func (w *wire) inspect(frame []byte) error {
	w.out = frame
	code, at := performative(frame)
	if frame[5] == frameSASL {
		if code == saslOutcome {
			w.sasl.Store(2)
		}
		return nil
	}
	switch code {
	case perfTransfer:
		return w.arrive(frame, at)
	case perfDisposition:
		w.confirm(frame[at:])
	case perfOpen:
		d := &decoder{b: frame[at:]}
		d.fields(func(i int) {
			if v := d.value(0); i == 0 {
				w.mu.Lock()
				w.peer.container = v.Str()
				w.mu.Unlock()
			}
		})
	case perfDetach, perfEnd, perfClose:
		if code == perfDetach && w.many.Load() { // one of several: whoever uses it learns it from the library
			return nil
		}
		w.mark(remoteEnd(code, frame[at:]))
	}
	return nil
}

// remoteEnd reads the error of a detach, end or close.
func remoteEnd(code byte, body []byte) error {
	what, field := "detached the AMQP link", 2
	if code != perfDetach {
		what, field = "ended the session", 0
	}
	if code == perfClose {
		what = "closed the connection"
	}
	var condition, text string
	d := &decoder{b: body}
	d.fields(func(i int) {
		if i == field && d.peek() == codeDescribed {
			d.code()
			d.skip(0)
			d.fields(func(j int) {
				if v := d.value(0); j == 0 {
					condition = v.Str()
				} else if j == 1 {
					text = v.Str()
				}
			})
			return
		}
		d.skip(0)
	})
	return &endError{what: what, condition: condition, text: text}
}

// An endError is the peer's own detach, end or close.
type endError struct{ what, condition, text string }

func (e *endError) Error() string {
	s := "the broker " + e.what
	if e.condition != "" {
		s += ": " + e.condition
	}
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// A transfer is what a wire reads of a transfer performative (part 2, section 2.7.5).
type transfer struct {
	id                     uint32
	settled, more, aborted bool
	end                    int // of the performative in the frame
}

func readTransfer(frame []byte, at int) (t transfer, err error) {
	d := &decoder{b: frame, i: at}
	d.fields(func(i int) {
		switch i {
		case 1:
			t.id = uint32(d.value(0).Uint())
		case 4:
			t.settled = d.value(0).Bool()
		case 5:
			t.more = d.value(0).Bool()
		case 9:
			t.aborted = d.value(0).Bool()
		default:
			d.skip(0)
		}
	})
	t.end = d.i
	return t, d.err
}

// arrive keeps the payload of a transfer and hands the library a ticket.
func (w *wire) arrive(frame []byte, at int) error {
	t, err := readTransfer(frame, at)
	if err != nil {
		return fmt.Errorf("the peer breaks the protocol: transfer: %w", err)
	}
	payload := frame[t.end:]
	if !w.part {
		w.cur = arrival{id: t.id}
	}
	if size := int64(len(w.cur.raw) + len(payload)); size > w.maxSize {
		w.cur = arrival{}
		return fmt.Errorf("%w (%d bytes; this one has at least %d): it stays at the source", errOversize, w.maxSize, size)
	}
	w.cur.raw = append(roomFor(w.cur.raw, len(payload), w.maxSize), payload...)
	w.cur.settled = w.cur.settled || t.settled
	w.ticket = append(w.ticket[:0], frame[:t.end]...)
	if !w.part {
		w.ticket = append(w.ticket, codeDescribed, codeUlong8, secData, codeBin8, 4)
		w.ticket = binary.BigEndian.AppendUint32(w.ticket, t.id)
	}
	binary.BigEndian.PutUint32(w.ticket, uint32(len(w.ticket)))
	w.out = w.ticket
	w.part = t.more && !t.aborted
	if !w.part && !t.aborted {
		w.complete()
	}
	return nil
}

// largeDelivery is from where on a payload that arrives in parts gets twice the room each time, and not a quarter more: of
// a message of 64 MiB the library would leave five times as much behind it as garbage.
const largeDelivery = 1 << 20

// roomFor returns b with room for n bytes more.
func roomFor(b []byte, n int, maxSize int64) []byte {
	if len(b)+n <= cap(b) || len(b) < largeDelivery {
		return b
	}
	room := max(int(min(2*int64(len(b)), maxSize)), len(b)+n)
	return append(make([]byte, 0, room), b...)
}

func (w *wire) complete() {
	w.mu.Lock()
	w.arrived[w.cur.id] = w.cur
	w.count++
	w.mu.Unlock()
	w.cur = arrival{}
}

// take returns the payload that belongs to the library's ticket and forgets it.
func (w *wire) take(ticket []byte) (arrival, bool) {
	if len(ticket) != 4 {
		return arrival{}, false
	}
	id := binary.BigEndian.Uint32(ticket)
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.arrived[id]
	delete(w.arrived, id)
	return a, ok
}

// came is how many deliveries have arrived since the link was attached.
func (w *wire) came() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

func (w *wire) container() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peer.container
}

// Write takes one whole frame from the library.
func (w *wire) Write(p []byte) (int, error) {
	switch code, at := performative(p); {
	case code == perfTransfer && p[5] == frameAMQP:
		return len(p), w.send(w.unwrap(p, at))
	case code == saslInit && p[5] == frameSASL:
		w.sasl.Store(1)
	case code == perfBegin && p[5] == frameAMQP:
		w.channel.Store(uint32(binary.BigEndian.Uint16(p[6:])))
	}
	return len(p), w.send(p)
}

// unwrap takes the data section off the first transfer of a delivery: its content is a whole message.
func (w *wire) unwrap(p []byte, at int) []byte {
	t, err := readTransfer(p, at)
	if err != nil {
		return p
	}
	first := !w.midway.Load()
	w.midway.Store(t.more)
	if !first {
		return p
	}
	cut := 5 // descriptor, vbin8 and its size
	if p[t.end+3] == codeBin32 {
		cut = 8
	}
	w.space = append(append(w.space[:0], p[:t.end]...), p[t.end+cut:]...)
	binary.BigEndian.PutUint32(w.space, uint32(len(w.space)))
	return w.space
}

// send writes one frame. A frame that got out in part has ended the stream for good.
func (w *wire) send(p []byte) error {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	_ = w.Conn.SetWriteDeadline(time.Now().Add(w.idle))
	if _, err := w.Conn.Write(p); err != nil {
		w.cut(err)
		return err
	}
	return nil
}
