package nats

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/adapters"
)

// A credit keeps account of what was asked for and has not arrived. Several pull requests may wait at the server; it
// answers them in order and says at the end of each what it did not use (ADR-37), so sums are enough. Guarded by the
// source's mutex.
type credit struct {
	most      int   // deliveries, asked for and held
	mostBytes int64 // bytes of them
	single    int64 // bytes of the largest message that is ever fetched

	msgs     int   // asked for and not yet arrived
	bytes    int64 // bytes granted and not yet used
	tight    bool  // the next message did not fit into what was left: wait until something is settled
	oversize bool  // the next message is larger than any that is fetched
	again    int   // given back by an earlier connection and not yet asked for: these come one to a pull
}

func newCredit(l adapters.Limits) credit {
	return credit{most: l.Prefetch, mostBytes: l.PrefetchBytes, single: l.MaxSize + sizeSlack}
}

// request is one pull.
type request struct {
	batch int
	bytes int64
}

// ask says what to pull for now, with held deliveries of heldBytes unsettled. Small amounts wait until a quarter of the
// prefetch is free, so that a pull costs little per message. No pull admits a message above the limit: the server
// compares the next message with what is left of the pull before it sends it. One that is given out again and does not fit
// into what is left it puts behind the others; so these come one to a pull, each with room for the largest.
func (c *credit) ask(held int, heldBytes int64) (request, bool) {
	room, bytes := c.most-held-c.msgs, c.mostBytes-heldBytes-c.bytes
	switch {
	case c.oversize:
		return request{}, false
	case held == 0 && c.msgs == 0 && c.tight: // an empty prefetch is too small for it: let this one pass
		room, bytes = 1, c.single
	case c.again > 0 && room > 0: // they have fitted in before
		c.again--
		room, bytes = 1, c.single
	case room <= 0 || bytes <= 0 || c.tight:
		return request{}, false
	case c.msgs > 0 && room < (c.most+3)/4:
		return request{}, false
	}
	r := request{batch: room, bytes: min(bytes, c.single)}
	c.tight = false
	c.msgs += r.batch
	c.bytes += r.bytes
	return r, true
}

// tooBig: the server ended a pull because the next message is larger than the left bytes of it.
func (c *credit) tooBig(left, heldBytes int64) {
	c.oversize = left >= c.single
	c.tight = c.mostBytes-heldBytes-c.bytes < c.single
}

// arrived takes one message off the account.
func (c *credit) arrived(size int64) {
	c.msgs = max(c.msgs-1, 0)
	c.bytes = max(c.bytes-size, 0)
	if c.msgs == 0 {
		c.bytes = 0
	}
}

// ended takes off what the server says it did not use of a pull.
func (c *credit) ended(msgs int, bytes int64) {
	c.msgs = max(c.msgs-msgs, 0)
	c.bytes = max(c.bytes-bytes, 0)
	if c.msgs == 0 {
		c.bytes = 0
	}
}

// forgotten: the server has dropped all waiting pulls.
func (c *credit) forgotten() { c.msgs, c.bytes = 0, 0 }

// encode is the body of a pull request (ADR-13): it expires after a while, so that the account is set right even if the
// end of a pull was missed, and the server sends a heartbeat when it has nothing else to say.
func (r request) encode(heartbeat time.Duration) []byte {
	b := make([]byte, 0, 96)
	b = append(b, `{"batch":`...)
	b = strconv.AppendInt(b, int64(r.batch), 10)
	b = append(b, `,"max_bytes":`...)
	b = strconv.AppendInt(b, r.bytes, 10)
	b = append(b, `,"expires":`...)
	b = strconv.AppendInt(b, int64(max(30*time.Second, 4*heartbeat)), 10)
	b = append(b, `,"idle_heartbeat":`...)
	b = strconv.AppendInt(b, int64(min(heartbeat, 10*time.Second)), 10)
	return append(b, '}')
}

// onMsg runs on the subscription's goroutine, for deliveries, for answers to acks, and for what the server says about
// pulls. Deliveries keep the subject they were published to; the other two come on ours.
func (s *source) onMsg(m *natsgo.Msg) {
	s.heard.Store(time.Now().UnixNano())
	switch {
	case strings.HasPrefix(m.Reply, ackMark):
		s.onDelivery(m)
	case strings.HasPrefix(m.Subject, s.inbox+"a"):
		s.onAcked(m)
	default:
		s.onStatus(m)
	}
}

func (s *source) onDelivery(m *natsgo.Msg) {
	pos, ok := parseAck(m.Reply)
	if !ok {
		s.spend(lost("receive", s.c.at, fmt.Errorf("an ack subject that cannot be read: %q", m.Reply)))
		return
	}
	it := &item{msg: decode(m.Header, m.Data)}
	it.msg.To = adapters.Addr{Name: m.Subject, Form: adapters.AddrTopic}
	it.msg.Received = s.c.cfg.Now().UnixMilli()
	it.msg.Deliveries = uint32(pos.delivered - 1)
	it.tag = tag{source: s, reply: m.Reply, size: int64(m.Size()), since: s.heard.Load()}
	d := adapters.Delivery{Message: &it.msg, Tag: &it.tag, Attempt: int(pos.delivered),
		SourceID: s.id + strconv.FormatUint(pos.seq, 10)}
	s.mu.Lock()
	if err := s.owes(pos); err != nil {
		s.mu.Unlock()
		s.spend(err)
		return
	}
	s.held.add(&it.tag)
	s.keepAlive()
	s.credit.arrived(it.tag.size)
	if s.head > 0 && len(s.buf) == cap(s.buf) { // make room at the front before growing
		n := copy(s.buf, s.buf[s.head:])
		clear(s.buf[n:])
		s.buf, s.head = s.buf[:n], 0
	}
	s.buf = append(s.buf, d)
	s.mu.Unlock()
	s.signal()
}

// owes looks at a delivery of a source that has taken back what former connections held. A new message before all of that has
// come means that the server has given it to a connection that is dead, which it has not noticed: then this one is lost, too,
// and the next takes it back again. s.mu is held.
func (s *source) owes(pos position) error {
	switch {
	case s.owed == 0 || s.err != nil:
		return nil
	case pos.delivered > 1:
		s.owed--
		return nil
	}
	return lost("receive", s.c.at, fmt.Errorf("a new message came before %d that were given out earlier, to a connection of which the server "+
		"does not know yet that it is gone, or to something else that reads as consumer %s", s.owed, s.consumer))
}

// item is a message and its tag in one allocation.
type item struct {
	msg adapters.Message
	tag tag
}

// onStatus reads what the server says about a pull: heartbeats, and why a pull has ended (ADR-37).
func (s *source) onStatus(m *natsgo.Msg) {
	status, words := m.Header.Get("Status"), m.Header.Get("Description")
	if status == "100" {
		return
	}
	lower := strings.ToLower(words)
	s.mu.Lock()
	var end error
	switch {
	case status == "503":
		end = errors.New("the consumer or its stream is gone")
	case strings.Contains(lower, "consumer deleted"), strings.Contains(lower, "server shutdown"), status == "400",
		strings.Contains(lower, "push based"), strings.HasPrefix(lower, "exceeded"):
		end = fmt.Errorf("the server ends the pull: %s %s", status, words)
	case strings.Contains(lower, "leadership change"):
		s.credit.forgotten()
	default:
		msgs, _ := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		bytes, _ := strconv.ParseInt(m.Header.Get("Nats-Pending-Bytes"), 10, 64)
		s.credit.ended(msgs, bytes)
		if strings.Contains(lower, "exceeds maxbytes") {
			s.credit.tooBig(bytes, s.held.bytes)
		}
	}
	s.topUp()
	s.mu.Unlock()
	if end != nil {
		s.spend(lost("receive", s.c.at, end))
	}
	s.signal()
}

// pullName ends the subject on which pulls are answered.
const pullName = "p"

// ackMark begins every ack subject.
const ackMark = "$JS.ACK."

// position is what an ack subject tells about a delivery.
type position struct {
	delivered, seq uint64
}

// parseAck reads $JS.ACK.STREAM.CONSUMER.DELIVERED.SEQ.… or, with two tokens more, $JS.ACK.DOMAIN.ACCOUNT.STREAM.…
// (ADR-15).
func parseAck(subject string) (position, bool) {
	tokens := 1 + strings.Count(subject, ".")
	skip := 4
	switch {
	case tokens == 9:
	case tokens >= 11:
		skip = 6
	default:
		return position{}, false
	}
	rest := subject
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	first, rest, _ := strings.Cut(rest, ".")
	second, _, _ := strings.Cut(rest, ".")
	delivered, err1 := strconv.ParseUint(first, 10, 32)
	seq, err2 := strconv.ParseUint(second, 10, 64)
	return position{delivered: max(delivered, 1), seq: seq}, err1 == nil && err2 == nil && delivered > 0
}
