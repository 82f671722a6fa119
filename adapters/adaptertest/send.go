package adaptertest

import (
	"context"
	"net"
	"slices"
	"sync/atomic"

	"github.com/posthouse/posthouse/adapters"
)

func sendChecks() []Check {
	const g = "Send"
	return []Check{
		{Group: g, Name: "PrefixRule", run: prefixRule},
		{Group: g, Name: "PartialFates", run: partialFates},
		{Group: g, Name: "AcceptedIsDurable", run: acceptedIsDurable, serial: true},
		{Group: g, Name: "UnknownOutcomeIsNotSuccess", run: unknownOutcomeIsNotSuccess, wired: true},
		{Group: g, Name: "KeepsNothing", run: keepsNothing},
	}
}

// prefixRule: n < len exactly when err is not nil, and the first n are there.
func prefixRule(e *env) {
	p := e.h.Place(e)
	g := e.target(p)
	var want []string
	rule := func(ms []*adapters.Message) {
		n, err := g.Send(e.soon(), ms)
		if (n < len(ms)) != (err != nil) || n > len(ms) {
			e.Errorf("Send returned %d of %d and the error %v", n, len(ms), err)
		}
		want = append(want, bodiesOfMessages(ms[:min(n, len(ms))])...)
	}
	rule(nil)
	rule(e.messages("one", 1))
	rule(e.messages("many", 7))
	ms := e.messages("mixed", 3)
	ms[2].Body.Data = noise(e.largest(g) + 1)
	rule(ms)
	want = append(want, "end")
	g = e.reopenIfSpent(g, p)
	e.send(g, e.message("end"))
	e.wantBodies("at the broker", append(e.takeUpTo(p, "end"), "end"), want...)
}

// partialFates: one message refused among several: the fates in the error are what the broker holds.
func partialFates(e *env) {
	p := e.h.Place(e)
	g := e.target(p)
	ms := e.withTooBig(g)
	n, err := g.Send(e.soon(), ms)
	fates := adapters.Fates(len(ms), n, err)
	e.wantKind("fate of the message that is too big", fates[1], adapters.Permanent)
	g = e.reopenIfSpent(g, p)
	e.send(g, e.message("end"))
	held := e.takeUpTo(p, "end")
	for i, m := range ms {
		there := slices.Contains(held, string(m.Body.Data))
		if fates[i] == nil && !there {
			e.Errorf("message %d was taken, says the error, but is not at the broker", i)
		}
		if fates[i] != nil && adapters.KindOf(fates[i]).Definite() && there {
			e.Errorf("message %d was not taken, says the error (%v), but is at the broker", i, fates[i])
		}
	}
	if fates[0] != nil {
		e.Errorf("message 0, before the refused one: %v", fates[0])
	}
}

// acceptedIsDurable: the broker is killed right after Send returned, and the messages are there.
func acceptedIsDurable(e *env) {
	r, ok := e.h.(Restarter)
	switch {
	case !e.caps.Durable:
		e.Skip("Durable is not claimed")
	case !ok:
		e.Skip("the harness cannot kill its broker")
	}
	p := e.h.Place(e)
	g := e.target(p)
	ms := e.messages("m", 5)
	e.send(g, ms...)
	r.KillAndRestart(e)
	e.wantBodies("after the broker was killed", bodiesOfNatives(e.h.Take(e, p, len(ms))), bodiesOfMessages(ms)...)
	e.close("target", g)
}

// unknownOutcomeIsNotSuccess: the answer to a send is lost: neither success nor a definite failure; what is sent again
// is there, in order. A client that repeats a send by itself may have got its answer over a connection that it made
// afterwards; nothing is heard there before the old ones are cut. Then each message is there once.
func unknownOutcomeIsNotSuccess(e *env) {
	var late listener
	e.cfg.Dial = late.through(e.cfg.Dial)
	p := e.h.Place(e)
	g := e.target(p)
	e.send(g, e.message("begin"))
	ms := e.messages("m", 3)
	late.on.Store(true)
	e.wire.Set(HoldReplies)
	n, err := g.Send(e.soon(), ms)
	repeated := n == len(ms) && err == nil && late.heard.Load()
	if !repeated {
		e.wantKind("send without an answer", err, adapters.Transient, adapters.Lost)
		if n != 0 {
			e.Errorf("%d messages taken although no answer came", n)
		}
	}
	e.wire.Cut()
	e.close("target", g)
	g = e.target(p)
	if !repeated {
		e.send(g, ms...)
	}
	e.send(g, e.message("end"))
	got := e.takeUpTo(p, "end")
	if !repeated {
		got = first(got)
	}
	e.wantBodies("at the broker", got, "begin", "m-0", "m-1", "m-2")
}

// A listener notes whether the broker said anything over a TCP connection that was made after it was switched on.
type listener struct{ on, heard atomic.Bool }

func (l *listener) through(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if _, tcp := c.(*net.TCPConn); err == nil && tcp && l.on.Load() {
			c = overheard{c, l}
		}
		return c, err
	}
}

type overheard struct {
	net.Conn
	l *listener
}

func (c overheard) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.l.heard.Store(true)
	}
	return n, err
}

// keepsNothing: what the caller does to its messages after Send changes nothing.
func keepsNothing(e *env) {
	p := e.h.Place(e)
	g := e.target(p)
	var want []string
	for _, prefix := range []string{"a", "b", "c"} {
		ms := e.messages(prefix, 3)
		want = append(want, bodiesOfMessages(ms)...)
		e.send(g, ms...)
		for i, m := range ms {
			copy(m.Body.Data, "ZZZ")
			copy(m.Key, "X")
			*m = adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("scribbled")}}
			ms[i] = nil
		}
	}
	e.wantBodies("after scribbling", bodiesOfNatives(e.h.Take(e, p, len(want))), want...)
}
