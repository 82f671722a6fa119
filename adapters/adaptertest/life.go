package adaptertest

import (
	"context"
	"time"

	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters"
)

// A Leaker is a Harness whose client library leaves goroutines behind, by a bug of its own.
type Leaker interface {
	// Leaks names their top functions; the author writes the library's issue beside each.
	Leaks() []string
}

func lifeChecks() []Check {
	const g = "Life"
	return []Check{
		{Group: g, Name: "OpenClose", run: openClose},
		{Group: g, Name: "CloseTwice", run: closeTwice},
		{Group: g, Name: "CloseUnblocksReceive", run: closeUnblocksReceive},
		{Group: g, Name: "NoGoroutineLeft", run: noGoroutineLeft, wired: true, serial: true},
		{Group: g, Name: "ReceiveCancel", run: receiveCancel},
		{Group: g, Name: "StallIsNoticed", run: stallIsNoticed, wired: true},
		{Group: g, Name: "Dribble", run: dribble, wired: true},
	}
}

// openClose opens and closes both ends ten times.
func openClose(e *env) {
	p := e.h.Place(e)
	for range 10 {
		s, g := e.source(p), e.target(p)
		for _, c := range []closer{s, g} {
			if err := c.Close(); err != nil {
				e.Errorf("close: %v", err)
			}
		}
	}
}

// closeTwice: a second Close is harmless, and what follows is an error of kind Lost.
func closeTwice(e *env) {
	p := e.h.Place(e)
	s, g := e.source(p), e.target(p)
	for range 2 {
		e.close("source", s)
		e.close("target", g)
	}
	_, err := s.Receive(e.soon(), 1)
	e.wantKind("Receive after Close", err, adapters.Lost)
	_, err = g.Send(e.soon(), e.messages("late", 1))
	e.wantKind("Send after Close", err, adapters.Lost)
}

// closeUnblocksReceive: Close from another goroutine ends Receive.
func closeUnblocksReceive(e *env) {
	p := e.h.Place(e)
	s := e.source(p)
	e.h.Put(e, p, native("first"))
	e.settle(s, adapters.Accepted, e.receive(s, 1)...) // now Receive has been at work and will block
	started := make(chan struct{})
	err, ok := await(e, func() error {
		go func() {
			<-started
			_ = s.Close()
		}()
		close(started)
		_, err := s.Receive(e.ctx, 1)
		return err
	})
	if !ok {
		e.Fatalf("Receive still blocks %v after Close", patience)
	}
	e.wantKind("Receive ended by Close", err, adapters.Lost)
}

// noGoroutineLeft: none stays behind after Close, and after Cut, reopen and Close.
func noGoroutineLeft(e *env) {
	p := e.h.Place(e)
	use := func(cut bool) {
		s, g := e.source(p), e.target(p)
		e.send(g, e.messages("m", 1)...)
		e.settle(s, adapters.Accepted, e.receive(s, 1)...)
		if cut {
			e.wire.Cut()
			e.awaitLost(s)
		}
		e.close("source", s)
		e.close("target", g)
	}
	use(false) // starts what a library or the proxy keeps for good
	opts := []goleak.Option{goleak.IgnoreCurrent()}
	if l, ok := e.h.(Leaker); ok {
		for _, f := range l.Leaks() {
			opts = append(opts, goleak.IgnoreAnyFunction(f))
		}
	}
	for _, cut := range []bool{false, true, false} {
		use(cut)
	}
	deadline := time.Now().Add(patience)
	err := goleak.Find(opts...)
	for err != nil && time.Now().Before(deadline) { // Find itself waits a while
		err = goleak.Find(opts...)
	}
	if err != nil {
		e.Errorf("goroutines left: %v", err)
	}
}

// receiveCancel: when ctx ends, what Receive had taken is returned or comes with the next call.
func receiveCancel(e *env) {
	const n = 12
	p := e.h.Place(e)
	s := e.source(p)
	e.h.Put(e, p, natives("m", n)...)
	var got []string
	keep := func(ds []adapters.Delivery) {
		e.settle(s, adapters.Accepted, ds...)
		got = append(got, bodiesOf(ds)...)
	}
	for i := range n / 2 {
		ctx, cancel := context.WithCancel(e.ctx)
		if i%2 == 0 {
			cancel()
		} else {
			go cancel()
		}
		ds, _ := e.receiveSome(ctx, s, 1)
		cancel()
		if len(ds) > 0 {
			keep(ds)
		}
	}
	for len(first(got)) < n {
		ds, err := e.receiveSome(e.soon(), s, n)
		if err != nil {
			e.Fatalf("only %d of %d messages came after Receives that were cancelled: %v", len(got), n, err)
		}
		keep(ds)
	}
}

// stallIsNoticed: a peer that has gone silent is Lost, Close does not hang, and afterwards the way is open again.
func stallIsNoticed(e *env) {
	p := e.h.Place(e)
	s, g := e.source(p), e.target(p)
	e.send(g, e.messages("before", 1)...)
	e.settle(s, adapters.Accepted, e.receive(s, 1)...)
	e.wire.Set(Stall)
	_, err := g.Send(e.soon(), e.messages("lost", 1))
	e.wantKind("Send over a stalled connection", err, adapters.Lost)
	e.awaitLost(s)
	e.close("source", s)
	e.close("target", g)
	e.wire.Cut() // the stalled bytes are gone
	e.send(e.target(p), e.messages("after", 1)...)
	e.upTo(e.source(p), "after-0")
}

// dribble: everything works byte by byte.
func dribble(e *env) {
	e.wire.Set(Dribble)
	p := e.h.Place(e)
	s, g := e.source(p), e.target(p)
	e.send(g, e.messages("m", 3)...)
	ds := e.receive(s, 3)
	e.settle(s, adapters.Accepted, ds...)
	e.wantBodies("byte by byte", bodiesOf(ds), "m-0", "m-1", "m-2")
}
