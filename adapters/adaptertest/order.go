package adaptertest

import (
	"fmt"
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

func orderChecks() []Check {
	const g = "Order"
	return []Check{
		{Group: g, Name: "OrderInBatches", run: orderInBatches},
		{Group: g, Name: "OrderAcrossReconnect", run: orderAcrossReconnect, wired: true},
		{Group: g, Name: "OrderAfterRefusal", run: orderAfterRefusal},
	}
}

// orderInBatches: the order holds over many batches, several of them on their way at once, at both ends.
func orderInBatches(e *env) {
	const n, batch = 400, 40
	in, out := e.h.Place(e), e.h.Place(e)
	put := natives("m", n)
	e.h.Put(e, in, put...)
	s := e.source(in)
	var got []string
	for size := 1; len(got) < n; size = size%37 + 3 {
		ds := e.receive(s, min(size, n-len(got)))
		e.settle(s, adapters.Accepted, ds...)
		got = append(got, bodiesOf(ds)...)
	}
	e.inOrder("received", got, bodiesOfNatives(put))
	ms := e.messages("m", n)
	e.post(e.target(out), slices.Collect(slices.Chunk(ms, batch)))
	e.wantBodies("sent", bodiesOfNatives(e.h.Take(e, out, n)), bodiesOfMessages(ms)...)
}

// post hands all batches over before it waits for the first, where g can do that.
func (e *env) post(g adapters.Target, batches [][]*adapters.Message) {
	e.Helper()
	p, ok := g.(adapters.Poster)
	if !ok {
		for _, b := range batches {
			e.send(g, b...)
		}
		return
	}
	ctx := e.soon()
	done := make(chan error, len(batches))
	receipts := make(chan adapters.Receipt, len(batches))
	go func() {
		i := 0
		for r := range receipts {
			n, err := r.Wait(ctx)
			if err == nil && n != len(batches[i]) {
				err = fmt.Errorf("%d of %d taken without an error", n, len(batches[i]))
			}
			done <- err
			i++
		}
		close(done)
	}()
	var failed error
	for _, b := range batches {
		r, err := p.Post(ctx, b)
		if err != nil {
			failed = err
			break
		}
		receipts <- r
	}
	close(receipts)
	for err := range done {
		if failed == nil {
			failed = err
		}
	}
	if failed != nil {
		e.Fatalf("post: %v", failed)
	}
}

// orderAcrossReconnect: a cut brings repetitions, no overtaking, at the source and at the target.
func orderAcrossReconnect(e *env) {
	const n = 30
	in, out := e.h.Place(e), e.h.Place(e)
	put := natives("m", n)
	e.h.Put(e, in, put...)
	s := e.source(in)
	ds := e.receive(s, 12)
	got := bodiesOf(ds)
	e.settle(s, adapters.Accepted, ds[:5]...)
	e.wire.Cut()
	got = append(got, bodiesOf(e.awaitLost(s))...)
	e.close("source", s)
	s = e.source(in)
	for len(first(got)) < n {
		ds := e.receive(s, 1)
		e.settle(s, adapters.Accepted, ds...)
		got = append(got, bodiesOf(ds)...)
	}
	e.inOrder("received across a cut, repetitions removed", first(got), bodiesOfNatives(put))
	e.sendAcrossCut(out, n)
}

// sendAcrossCut cuts in the middle and resends what is unknown, in order.
func (e *env) sendAcrossCut(p Place, n int) {
	e.Helper()
	ms := e.messages("m", n)
	g := e.target(p)
	e.send(g, ms[:10]...)
	e.wire.Cut()
	taken, err := g.Send(e.soon(), ms[10:20])
	if err != nil && taken == 10 {
		e.Errorf("Send took all and returned %v", err)
	}
	e.close("target", g)
	g = e.target(p)
	e.send(g, ms[10+taken:]...)
	e.send(g, e.message("end"))
	e.wantBodies("sent across a cut, repetitions removed", first(e.takeUpTo(p, "end")), bodiesOfMessages(ms)...)
}

// takeUpTo takes message by message until one has the body last, and returns the bodies before it.
func (e *env) takeUpTo(p Place, last string) (before []string) {
	e.Helper()
	for {
		body := string(e.h.Take(e, p, 1)[0].Body)
		if body == last {
			return before
		}
		before = append(before, body)
	}
}

// orderAfterRefusal: what stands behind a refused message waits, if that is claimed.
func orderAfterRefusal(e *env) {
	if !e.caps.RefusalStops {
		e.Skip("RefusalStops is not claimed: order after a refusal is the lane's work")
	}
	p := e.h.Place(e)
	g := e.target(p)
	ms := e.withTooBig(g)
	n, err := g.Send(e.soon(), ms)
	fates := adapters.Fates(len(ms), n, err)
	for i := 2; i < len(ms); i++ {
		if fates[i] == nil {
			e.Errorf("message %d was taken behind a refused one", i)
		}
	}
	g = e.reopenIfSpent(g, p)
	e.send(g, e.message("end"))
	e.wantBodies("at the broker", e.takeUpTo(p, "end"), "m-0")
}

// withTooBig is five messages of which the second is too big for g.
func (e *env) withTooBig(g adapters.Target) []*adapters.Message {
	ms := e.messages("m", 5)
	ms[1].Body.Data = noise(e.largest(g) + 1)
	return ms
}

// reopenIfSpent returns g, or another target where g is no longer usable.
func (e *env) reopenIfSpent(g adapters.Target, p Place) adapters.Target {
	e.Helper()
	if _, err := g.Send(e.soon(), nil); err == nil {
		return g
	}
	e.close("target", g)
	return e.target(p)
}
