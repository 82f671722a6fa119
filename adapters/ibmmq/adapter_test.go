//go:build cgo && ibmmq

package ibmmq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

// withoutLibrary makes this program print what it says on a machine without IBM's library, in place of the tests.
const withoutLibrary = "POSTHOUSE_TEST_WITHOUT_LIBRARY"

// sayWithoutLibrary is that program.
func sayWithoutLibrary() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := adapters.Config{Name: "mq", Addresses: []string{"127.0.0.1:1"}, Options: adapters.Options{keyChannel: "C"}}
	_, err := New().OpenSource(ctx, c, adapters.Address{Broker: "mq", Form: adapters.Queue, Name: "Q"})
	fmt.Printf("%v: %v\n", adapters.KindOf(err), err)
}

// TestWithoutLibrary: what is shown in place of a number.
func TestWithoutLibrary(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), withoutLibrary+"=1", "POSTHOUSE_MQ_LIB=/nonexistent/libmqm_r.so")
	out, err := cmd.CombinedOutput()
	for _, words := range []string{"denied: connect mq: IBM MQ client library not found: install IBM's MQ client or set POSTHOUSE_MQ_LIB", "/nonexistent/libmqm_r.so"} {
		if err != nil || !strings.Contains(string(out), words) {
			t.Errorf("%v: %s lacks %q", err, out, words)
		}
	}
}

// TestTooLargeAtTheBroker: MAXMSGL of the queue is met at the put: Permanent, about that message alone.
func TestTooLargeAtTheBroker(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{MaxMsgLength: 100})
	n, err := b.target(q, nil).Send(b.ctx(), messages("small", strings.Repeat("x", 101), "next"))
	wantKind(t, "a message above MAXMSGL", err, adapters.Permanent)
	if n != 1 || !errors.Is(err, adapters.ErrTooLarge) || !strings.Contains(err.Error(), "MAXMSGL") {
		t.Errorf("%d taken, %v", n, err)
	}
	b.holds(q, "small")
}

// TestPropertiesOfAnySize go there and back; the binding alone has room for 1,024 bytes. No message handle is left.
func TestPropertiesOfAnySize(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	for _, control := range []int32{0, 3} { // in the handle, and forced into an MQRFH2
		q := b.queue(t, qmgr.Queue{PropertyControl: control})
		m := message("body")
		long := strings.Repeat("ö", 50<<10)
		m.Props = []adapters.Prop{{Name: "long", V: adapters.String(long)}, {Name: "i8", V: adapters.Int(adapters.TI8, -56)}, {Name: "none", V: adapters.Null()}}
		if _, err := b.target(q, nil).Send(b.ctx(), []*adapters.Message{m}); err != nil {
			t.Fatal(err)
		}
		s := b.source(q, nil)
		got := b.receive(s, 1)[0].Message
		if v, _ := got.Prop("long"); v.Str() != long || string(got.Body.Data) != "body" {
			t.Errorf("control %d: a property of %d bytes came as %d, body %q", control, len(long), len(v.Str()), got.Body.Data)
		}
		if v, _ := got.Prop("i8"); !v.Equal(adapters.Int(adapters.TI8, -56)) {
			t.Errorf("control %d: %#v", control, v)
		}
		if v, ok := got.Prop("none"); !ok || v.Type() != adapters.TNull {
			t.Errorf("control %d: null came as %#v, %t", control, v, ok)
		}
		_ = s.Close()
	}
	if use := b.manager.Use(); use.MessageHandles > 0 {
		t.Errorf("%d message handles are left", use.MessageHandles)
	}
}

// TestDeadLetterHasItsHeader: what bridge marks as a dead letter gets an MQDLH, and comes out of MQ without it.
func TestDeadLetterHasItsHeader(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	m := message("hello")
	m.Body.Format, m.Body.CCSID = FormatString, 819
	m.Props = []adapters.Prop{{Name: "posthouse_dead_reason", V: adapters.String("too-large")}, {Name: "posthouse_dead_source", V: adapters.String("paris/ORDERS")}}
	if _, err := b.target(q, nil).Send(b.ctx(), []*adapters.Message{m}); err != nil {
		t.Fatal(err)
	}
	ms, _ := b.manager.Messages(q)
	d, body, err := ParseDLH(ms[0].Body, ms[0].MD.Encoding)
	if err != nil || d.Reason != 65538 || d.Queue != "ORDERS" || d.Manager != "QM1" || d.Format != FormatString || d.CCSID != 819 || string(body) != "hello" {
		t.Errorf("%+v, body %q, %v", d, body, err)
	}
	if time.Since(d.Put).Abs() > time.Hour {
		t.Errorf("put at %v", d.Put)
	}
	got := b.receive(b.source(q, nil), 1)[0].Message
	if v, _ := got.Prop("dead_letter_reason_name"); v.Str() != "posthouse too-large" || string(got.Body.Data) != "hello" || got.Body.Format != FormatString {
		t.Errorf("%q, body %q of format %s", v.Str(), got.Body.Data, got.Body.Format)
	}
}

// TestReplyQueueManager: the queue manager's own name beside a reply queue says nothing; another's stays, and is gone to.
func TestReplyQueueManager(t *testing.T) {
	b := newBench(t, qmgr.Options{})
	q := b.queue(t, qmgr.Queue{})
	for _, manager := range []string{"QM1", "QM2"} {
		if err := b.manager.Put(q, qmgr.Message{MD: qmgr.Descriptor{MsgType: 1, ReplyToQ: "REPLIES", ReplyToQMgr: manager}}); err != nil {
			t.Fatal(err)
		}
	}
	ds := b.receive(b.source(q, nil), 2)
	for i, want := range []adapters.Addr{{Name: "REPLIES", Form: adapters.AddrQueue}, {Name: "REPLIES", Form: adapters.AddrQueue, Scope: "QM2"}} {
		if got := ds[i].Message.ReplyTo; got != want {
			t.Errorf("reply address %+v, want %+v", got, want)
		}
	}
	m := message("reply")
	m.Dest, m.To = "REPLIES", adapters.Addr{Name: "REPLIES", Scope: "QM2"}
	_, err := b.target(q, nil).Send(b.ctx(), []*adapters.Message{m})
	if !errors.Is(err, adapters.ErrGone) { // there is no way to QM2
		t.Errorf("a reply to a queue manager without a way: %v", err)
	}
}
