package amqp

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// A peer is an AMQP broker of a few frames in this process, for what no real broker does on demand: it states no
// max-message-size, breaks the protocol, detaches, falls silent, answers with every outcome. Frames are written by hand.
type peer struct {
	t        testing.TB
	credit   uint32 // given to a sender
	silent   bool   // after the login nothing is answered
	product  string // what it says of itself
	saslCode int    // outcome of the login, -1 = no answer
	onSend   func(p *peer, id uint32, payload []byte)
	onCredit func(p *peer, credit uint32) // credit is what may still be sent
	onSettle func(p *peer, first, last uint32, settled bool, state byte)

	mu   sync.Mutex
	conn net.Conn
	next uint32 // delivery id
	wg   sync.WaitGroup
}

// config is a configuration whose connections end at p.
func (p *peer) config() adapters.Config {
	return adapters.Config{Name: "peer", Addresses: []string{"amqp://peer.invalid"}, Heartbeat: 200 * time.Millisecond,
		Limits: adapters.Limits{MaxSize: 10_000, Confirm: 300 * time.Millisecond},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			p.mu.Lock()
			p.conn = theirs
			p.mu.Unlock()
			p.wg.Add(1)
			go p.serve(theirs)
			return ours, nil
		}}
}

// newPeer returns a peer that ends with the test.
func newPeer(t testing.TB) *peer {
	p := &peer{t: t, credit: 100}
	t.Cleanup(func() {
		p.mu.Lock()
		if p.conn != nil {
			_ = p.conn.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *peer) serve(c net.Conn) {
	defer p.wg.Done()
	defer c.Close()
	r := bufio.NewReaderSize(c, 1<<20)
	for {
		head, err := r.Peek(8)
		if err != nil {
			return
		}
		if string(head[:4]) == "AMQP" {
			sasl := head[4] == 3
			_, _ = r.Discard(8)
			p.hello(sasl)
			continue
		}
		frame := make([]byte, binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		if !p.answer(frame) {
			return
		}
	}
}

func (p *peer) hello(sasl bool) {
	if !sasl {
		p.write([]byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0})
		return
	}
	p.write([]byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0})
	p.frame(frameSASL, 0x40, nil, symbol("ANONYMOUS"))
}

// field writes one field of a performative.
type field = func([]byte) []byte

func u32(n uint32) field { return func(b []byte) []byte { return appendUint(b, n) } }
func null(b []byte) []byte {
	return append(b, codeNull)
}
func flag(v bool) field     { return func(b []byte) []byte { return appendBool(b, v) } }
func text(s string) field   { return func(b []byte) []byte { return appendString(b, s) } }
func symbol(s string) field { return func(b []byte) []byte { return appendVariable(b, codeSym8, s) } }
func blob(s string) field   { return func(b []byte) []byte { return appendVariable(b, codeBin8, s) } }
func u8(n byte) field       { return func(b []byte) []byte { return append(b, codeUbyte, n) } }
func u16(n uint16) field {
	return func(b []byte) []byte { return append(b, codeUshort, byte(n>>8), byte(n)) }
}

// described writes a composite as a field.
func described(code byte, fs ...field) field {
	return func(b []byte) []byte {
		return appendCompound(append(b, codeDescribed, codeUlong8, code), codeList32, len(fs), func(b []byte) []byte {
			for _, f := range fs {
				b = f(b)
			}
			return b
		})
	}
}

// properties is a map of one entry; none is written without a value.
func properties(key, value string) field {
	if value == "" {
		return null
	}
	return func(b []byte) []byte {
		return appendCompound(b, codeMap32, 2, func(b []byte) []byte { return text(value)(symbol(key)(b)) })
	}
}

// frame writes one frame with a performative and a payload.
func (p *peer) frame(kind, code byte, payload []byte, fs ...field) {
	b := described(code, fs...)([]byte{0, 0, 0, 0, 2, kind, 0, 0})
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	p.write(b)
}

func (p *peer) write(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = p.conn.Write(b)
}

// fieldsOf reads the fields of a performative; those that are not there are null.
func fieldsOf(frame []byte, at int) (vs [12]adapters.Value, end int) {
	d := &decoder{b: frame, i: at, s: string(frame)}
	d.fields(func(i int) { vs[i] = d.value(0) })
	return vs, d.i
}

// answer does what the frame asks for; false ends the connection.
func (p *peer) answer(frame []byte) bool {
	code, at := performative(frame)
	if code == 0 || p.silent && code != saslInit && code != perfOpen && code != perfBegin && code != 0x12 {
		return true
	}
	vs, end := fieldsOf(frame, at)
	switch code {
	case saslInit:
		if p.saslCode >= 0 {
			p.frame(frameSASL, saslOutcome, nil, u8(byte(p.saslCode)))
		}
	case perfOpen:
		p.frame(frameAMQP, perfOpen, nil, text("peer"), null, null, null, null, null, null, null, null, properties("product", p.product))
	case perfBegin:
		p.frame(frameAMQP, perfBegin, nil, u16(0), u32(0), u32(5000), u32(5000))
	case 0x12:
		p.attach(vs)
	case 0x13:
		if p.onCredit != nil && vs[6].Type() != adapters.TNull {
			p.onCredit(p, uint32(vs[6].Uint()+vs[5].Uint())-p.next) // part 2, section 2.6.7
		}
	case perfTransfer:
		p.onSend(p, uint32(vs[1].Uint()), frame[end:])
	case perfDisposition:
		if p.onSettle != nil {
			d := &decoder{b: frame, i: at}
			state := byte(0)
			d.fields(func(i int) {
				if i == 4 {
					state = d.b[d.i+2]
				}
				d.skip(0)
			})
			p.onSettle(p, uint32(vs[1].Uint()), uint32(vs[2].Uint()), vs[3].Bool(), state)
		}
	case perfEnd:
		p.frame(frameAMQP, perfEnd, nil)
	case perfClose:
		p.frame(frameAMQP, perfClose, nil)
		return false
	}
	return true
}

// attach answers with the same link. It never states a max-message-size.
func (p *peer) attach(vs [12]adapters.Value) {
	sender := !vs[2].Bool() // role false: the client sends
	addr := text("x")
	p.frame(frameAMQP, 0x12, nil, text(vs[0].Str()), u32(0), flag(sender), u8(0), u8(0), described(0x28, addr), described(0x29, addr), null, null, u32(0))
	if sender && p.credit > 0 {
		p.giveCredit(p.credit)
	}
}

func (p *peer) giveCredit(n uint32) {
	p.frame(frameAMQP, 0x13, nil, u32(0), u32(5000), u32(0), u32(5000), u32(0), u32(0), u32(n))
}

// transfer sends part of a delivery.
func (p *peer) transfer(payload []byte, first, more bool) {
	if first {
		p.next++
	}
	p.frame(frameAMQP, perfTransfer, payload, u32(0), u32(p.next-1), blob("t"), u32(0), flag(false), flag(more))
}

// outcome settles delivery id with a state.
func (p *peer) outcome(id uint32, state field) {
	p.frame(frameAMQP, perfDisposition, nil, flag(true), u32(id), u32(id), flag(true), state)
}

// condition is an error with a condition and a text.
func condition(cond, why string) field { return described(0x1d, symbol(cond), text(why)) }

func (p *peer) detach(cond, why string) {
	p.frame(frameAMQP, perfDetach, nil, u32(0), flag(true), condition(cond, why))
}

var queue = adapters.Address{Broker: "peer", Form: adapters.Queue, Name: "q"}

// keepAlive sends empty frames until the connection ends.
func (p *peer) keepAlive() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		p.mu.Lock()
		_, err := p.conn.Write([]byte{0, 0, 0, 8, 2, 0, 0, 0})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}
