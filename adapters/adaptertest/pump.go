package adaptertest

import (
	"io"
	"net"
	"sync"
	"time"
)

// chunkSize is how much is read at once.
const chunkSize = 64 << 10

// queueSize bounds what is under way in one direction, in bytes: 64 MiB are 10 Gbit/s for 50 ms.
const queueSize = 64 << 20

// A chunk is bytes on their way.
type chunk struct {
	data []byte
	due  time.Time
}

// A queue is one direction of a pair: bytes that were read and have not arrived.
type queue struct {
	mu     sync.Mutex
	chunks []chunk
	bytes  int
	ended  bool          // the sender has closed its side, or the pair has ended
	more   chan struct{} // holds a token when there is something to look at
	room   chan struct{} // holds a token when something was taken out
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1), room: make(chan struct{}, 1)} }

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pump relays from src to dst in two goroutines: one reads and stamps, one waits and writes.
func (p *Proxy) pump(wg *sync.WaitGroup, pr *pair, src, dst *net.TCPConn, reply bool) {
	q := newQueue()
	wg.Go(func() { p.read(pr, q, src, reply) })
	wg.Go(func() { p.write(pr, q, dst, reply) })
}

// read fills q until src ends.
func (p *Proxy) read(pr *pair, q *queue, src *net.TCPConn, reply bool) {
	defer q.finish()
	buf := make([]byte, chunkSize)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if !reply {
				p.request()
			}
			p.mu.Lock()
			due := time.Now().Add(p.latency)
			p.mu.Unlock()
			if !q.put(pr, chunk{append([]byte(nil), buf[:n]...), due}) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// request lights the fuse of HoldReplies.
func (p *Proxy) request() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == HoldReplies && p.fuse == nil {
		p.fuse = time.AfterFunc(holdTime, p.burn)
	}
}

// burn is the end of the fuse. A mode that was set meanwhile has taken the fuse out.
func (p *Proxy) burn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == HoldReplies && p.fuse != nil {
		p.cut()
	}
}

// put appends c, waiting for room. It reports false when the pair has ended.
func (q *queue) put(pr *pair, c chunk) bool {
	for {
		q.mu.Lock()
		if q.bytes < queueSize {
			q.chunks = append(q.chunks, c)
			q.bytes += len(c.data)
			q.mu.Unlock()
			token(q.more)
			return true
		}
		q.mu.Unlock()
		select {
		case <-q.room:
		case <-pr.end:
			return false
		}
	}
}

func (q *queue) finish() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	token(q.more)
}

// head returns the first chunk, and whether the queue has ended empty.
func (q *queue) head() (c chunk, ok, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.chunks) == 0 {
		return chunk{}, false, q.ended
	}
	return q.chunks[0], true, false
}

func (q *queue) pop() {
	q.mu.Lock()
	q.bytes -= len(q.chunks[0].data)
	q.chunks[0] = chunk{}
	q.chunks = q.chunks[1:]
	q.mu.Unlock()
	token(q.room)
}

// write empties q into dst; when the other side has closed it closes this one in its turn.
func (p *Proxy) write(pr *pair, q *queue, dst *net.TCPConn, reply bool) {
	for {
		c, ok, ended := q.head()
		switch {
		case ended:
			_ = dst.CloseWrite()
			return
		case !ok:
			select {
			case <-q.more:
			case <-pr.end:
				return
			}
			continue
		}
		if !pr.waitUntil(c.due) || p.deliver(pr, dst, c.data, reply) != nil {
			pr.reset()
			return
		}
		q.pop()
	}
}

// waitUntil reports false when the pair ended first.
func (pr *pair) waitUntil(due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-pr.end:
		return false
	}
}

// deliver writes data as the mode allows.
func (p *Proxy) deliver(pr *pair, dst io.Writer, data []byte, reply bool) error {
	for len(data) > 0 {
		p.mu.Lock()
		mode, changed := p.mode, p.changed
		p.mu.Unlock()
		if mode == Stall || mode == HoldReplies && reply {
			select {
			case <-changed:
			case <-pr.end:
				return net.ErrClosed
			}
			continue
		}
		n := len(data)
		if mode == Dribble {
			n = 1
		}
		if _, err := dst.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
