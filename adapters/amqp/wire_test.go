package amqp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// A script is a connection that gives what it was given, byte by byte, and keeps what is written.
type script struct {
	net.Conn
	in  bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)      { return iotest.OneByteReader(&s.in).Read(p) }
func (s *script) Write(p []byte) (int, error)     { return s.out.Write(p) }
func (s *script) Close() error                    { return nil }
func (s *script) SetReadDeadline(time.Time) error { return nil }
func (s *script) SetWriteDeadline(time.Time) error {
	return nil
}

func newScript(in ...[]byte) (*wire, *script) {
	s := &script{}
	s.in.Reset(bytes.Join(in, nil))
	return newWire(s, s, 100, time.Hour), s
}

func transferFrame(id uint32, more, aborted bool, payload string) []byte {
	b := described(perfTransfer, u32(0), u32(id), blob("tag"), u32(0), flag(false), flag(more), null, null, null, flag(aborted))([]byte{0, 0, 0, 0, 2, 0, 0, 0})
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func readAll(t *testing.T, w *wire) ([]byte, error) {
	t.Helper()
	var all []byte
	buf := make([]byte, 7)
	for {
		n, err := w.Read(buf)
		if all = append(all, buf[:n]...); err != nil {
			return all, err
		}
	}
}

// Deliveries in one or many frames, aborted ones between them: the payload is kept whole, the library gets tickets.
func TestWireKeepsPayloads(t *testing.T) {
	w, _ := newScript([]byte("AMQP\x00\x01\x00\x00"), []byte{0, 0, 0, 8, 2, 0, 0, 0},
		transferFrame(7, false, false, "one"), transferFrame(8, true, false, "tw"), transferFrame(8, true, false, ""), transferFrame(8, false, false, "o"),
		transferFrame(9, true, false, "never"), transferFrame(9, false, true, ""), transferFrame(10, false, false, "three"))
	tickets, err := readAll(t, w)
	if err == nil || err.Error() != "the broker closed the connection" {
		t.Errorf("end: %v", err)
	}
	if bytes.Contains(tickets, []byte("one")) || !bytes.HasPrefix(tickets, []byte("AMQP\x00\x01\x00\x00\x00\x00\x00\x08")) {
		t.Errorf("the library got % x", tickets)
	}
	for id, want := range map[uint32]string{7: "one", 8: "two", 10: "three"} {
		if a, ok := w.take(binary.BigEndian.AppendUint32(nil, id)); !ok || string(a.raw) != want {
			t.Errorf("delivery %d: %q %v, want %q", id, a.raw, ok, want)
		}
	}
	if _, ok := w.take([]byte{0, 0, 0, 9}); ok || w.came() != 3 {
		t.Errorf("the aborted delivery counts: %d", w.came())
	}
}

func TestWireCountsAllFramesOfADelivery(t *testing.T) {
	part := string(make([]byte, 34))
	w, _ := newScript(transferFrame(1, true, false, part), transferFrame(1, true, false, part), transferFrame(1, true, false, part))
	if _, err := readAll(t, w); !errors.Is(err, errOversize) {
		t.Errorf("%v", err)
	}
	w, _ = newScript(transferFrame(1, false, false, part), transferFrame(2, false, false, part), transferFrame(3, false, false, part))
	if _, err := readAll(t, w); errors.Is(err, errOversize) {
		t.Errorf("three small deliveries were taken for one: %v", err)
	}
}

// What the library writes as a data section goes out as the message in it, in as many frames.
func TestWireUnwrapsWhatIsSent(t *testing.T) {
	for _, size := range []int{0, 10, 255, 256, 5000} {
		w, s := newScript()
		data := bytes.Repeat([]byte{'x'}, size)
		section := appendVariable(appendSection(nil, secData), codeBin8, data)
		half := min(len(section), max(8, len(section)/2)) // the library fills frames of 512 bytes at least
		for _, f := range [][]byte{transferFrame(1, true, false, string(section[:half])), transferFrame(1, false, false, string(section[half:])),
			transferFrame(2, false, false, string(section))} {
			if n, err := w.Write(f); n != len(f) || err != nil {
				t.Fatal(n, err)
			}
		}
		var got [3]int
		for out, id := s.out.Bytes(), 0; len(out) > 0; {
			n := binary.BigEndian.Uint32(out)
			tr, err := readTransfer(out[:n], 11)
			if err != nil {
				t.Fatal(err)
			}
			id = int(tr.id)
			got[id] += int(n) - tr.end
			out = out[n:]
		}
		if got[1] != size || got[2] != size {
			t.Errorf("%d bytes became %v", size, got)
		}
		if w.midway.Load() {
			t.Error("a delivery is thought to be under way")
		}
	}
}

func TestConfirmationsOfRanges(t *testing.T) {
	disposition := func(first, last uint32, settled, fromReceiver bool) []byte {
		return described(perfDisposition, flag(fromReceiver), u32(first), u32(last), flag(settled))(nil)[3:]
	}
	w, _ := newScript()
	a := w.expect([]uint32{math.MaxUint32, 0, 1, 5})
	done := func() bool {
		select {
		case <-a.done:
			return true
		default:
			return false
		}
	}
	for _, d := range [][]byte{disposition(0, 9, false, false), disposition(0, 9, true, true), disposition(5, 5, true, false),
		disposition(math.MaxUint32, 0, true, false), {codeList8}} {
		if w.confirm(d); done() {
			t.Fatal("confirmed too early")
		}
	}
	if w.confirm(disposition(1, 1_000_000, true, false)); !done() || a.lost {
		t.Error("not confirmed")
	}
	b := w.expect([]uint32{2, 3})
	w.mark(errors.New("gone"))
	if <-b.done; !b.lost {
		t.Error("the end of the connection confirms nothing")
	}
	if c := w.expect([]uint32{4}); !c.lost {
		t.Error("nor afterwards")
	}
}

// Settling waits for the broker where the profile says so; a context that ends leaves it unknown, and asking again
// waits again.
func TestSettleWaitsForTheBroker(t *testing.T) {
	p := newPeer(t)
	outcomes := make(chan [2]uint32, 9)
	p.onSettle = func(_ *peer, first, last uint32, settled bool, _ byte) {
		if settled {
			t.Error("the receiver settled by itself")
		}
		outcomes <- [2]uint32{first, last}
	}
	p.onCredit = func(p *peer, _ uint32) {
		p.onCredit = nil
		p.transfer(encoded(t, body(1)), true, false)
	}
	c := p.config()
	c.Options = adapters.Options{"dialect": "rabbitmq"}
	c.Heartbeat, c.Limits.Confirm = 5*time.Second, 5*time.Second
	s := openSource(t, c)
	ds := receive(t, s, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-outcomes
		cancel()
	}()
	wantKind(t, s.Settle(ctx, adapters.Accepted, ds...), adapters.Transient)
	go func() {
		o := <-outcomes
		p.frame(frameAMQP, perfDisposition, nil, flag(false), u32(o[0]), u32(o[1]), flag(true), described(stateAccepted))
	}()
	if err := s.Settle(deadline(t), adapters.Accepted, ds...); err != nil {
		t.Error(err)
	}
	if err := s.Settle(deadline(t), adapters.Accepted, ds...); err != nil {
		t.Errorf("settled twice: %v", err)
	}
}

// Credit is bounded in messages and, once sizes are known, in bytes, whichever way it is given.
func TestCreditIsBounded(t *testing.T) {
	for _, dialect := range []string{"artemis", "generic"} {
		t.Run(dialect, func(t *testing.T) {
			p := newPeer(t)
			sent, most := 0, 0
			open := make(chan int, 100) // credit that the peer holds after each flow
			credit := 0
			p.onCredit = func(p *peer, n uint32) {
				credit = int(n)
				open <- credit
				for ; credit > 0 && sent < 40; credit-- {
					sent++
					p.transfer(encoded(t, body(1000)), true, false)
				}
			}
			c := p.config()
			c.Heartbeat = 5 * time.Second
			c.Options = adapters.Options{"dialect": dialect}
			c.Limits.Prefetch, c.Limits.PrefetchBytes = 10, 5_000
			s := openSource(t, c)
			for got := 0; got < 40; {
				ds, err := s.Receive(deadline(t), 100)
				if err != nil {
					t.Fatal(err)
				}
				got += len(ds)
				most = max(most, len(ds))
				if err := s.Settle(deadline(t), adapters.Accepted, ds...); err != nil {
					t.Fatal(err)
				}
			}
			if first := <-open; first != 1 {
				t.Errorf("first credit %d: nothing is known of the sizes yet", first)
			}
			if most > 4 {
				t.Errorf("%d messages of 1 kB at once, 5 kB are allowed", most)
			}
		})
	}
}

// A broken message is handed out as it came: it can be dead-lettered, and it does not block what is behind it.
func TestBrokenMessageIsHandedOut(t *testing.T) {
	p := newPeer(t)
	p.onCredit = func(p *peer, _ uint32) {
		p.onCredit = nil
		p.transfer([]byte("this is not AMQP"), true, false)
		p.transfer(encoded(t, body(3)), true, false)
	}
	c := p.config()
	c.Heartbeat = 5 * time.Second
	s := openSource(t, c)
	ds := receive(t, s, 1)
	if m := ds[0].Message; m.ContentType != rawType || string(m.Body.Data) != "this is not AMQP" {
		t.Errorf("%+v", m)
	}
	if err := s.Settle(deadline(t), adapters.Accepted, ds...); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, s, 1)[0].Message; len(m.Body.Data) != 3 {
		t.Errorf("%+v", m)
	}
}

func TestAttachErrorKinds(t *testing.T) {
	l := &link{at: queue, p: generic()}
	for _, c := range []struct {
		condition, text string
		want            adapters.Kind
	}{
		{"amqp:not-found", "", adapters.NotFound},
		{"amqp:unauthorized-access", "", adapters.Denied},
		{"amqp:internal-error", "AMQ229032: User: x does not have permission='CREATE_ADDRESS'", adapters.Denied},
		{"amqp:internal-error", "something else", adapters.Lost},
		{"amqp:resource-locked", "exclusive", adapters.Lost},
		{"amqp:not-implemented", "", adapters.Permanent},
		{"vendor:own", "", adapters.Lost},
	} {
		l.w, _ = newScript()
		err := l.attachError(context.Background(), &amqp.Error{Condition: amqp.ErrCond(c.condition), Description: c.text})
		wantKind(t, err, c.want, c.condition)
		l.w.mark(&endError{what: "ended the session", condition: c.condition, text: c.text})
		wantKind(t, l.attachError(context.Background(), errors.New("vague")), c.want, "ended the session")
	}
	l.w, _ = newScript()
	past, cancel := context.WithCancel(context.Background())
	cancel()
	wantKind(t, l.attachError(past, past.Err()), adapters.Lost, "did not answer")
}

func TestAddressesAreTriedInOrder(t *testing.T) {
	p := newPeer(t)
	c := p.config()
	dial := c.Dial
	var tried []string
	c.Addresses = []string{"amqp://down.invalid", "amqp://up.invalid:7"}
	c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if tried = append(tried, addr); addr == "down.invalid:5672" {
			return nil, errors.New("refused")
		}
		return dial(ctx, network, addr)
	}
	s := openSource(t, c)
	if got := fmt.Sprint(tried); got != "[down.invalid:5672 up.invalid:7]" || s.Peer().Address != "amqp://up.invalid:7" || s.Peer().ID != "peer" {
		t.Errorf("%s, %+v", got, s.Peer())
	}
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
	_, err := New().OpenTarget(deadline(t), c, queue)
	wantKind(t, err, adapters.Lost, "down.invalid", "up.invalid", "refused")
}
