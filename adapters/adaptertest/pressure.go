package adaptertest

import (
	"context"
	"errors"

	"github.com/posthouse/posthouse/adapters"
)

func pressureChecks() []Check {
	const g = "Pressure"
	return []Check{
		{Group: g, Name: "PrefetchBound", run: prefetchBound},
		{Group: g, Name: "SizeBoundHolds", run: sizeBoundHolds},
		{Group: g, Name: "FullHoldsBack", run: fullHoldsBack},
	}
}

// prefetchBound: with far more waiting, never more is handed out unsettled than Limits.Prefetch, nor more at once than
// asked for; settling makes room again.
func prefetchBound(e *env) {
	const waiting, prefetch = 2000, 20
	p := e.h.Place(e)
	e.h.Put(e, p, natives("m", waiting)...)
	e.cfg.Limits.Prefetch = prefetch
	s := e.source(p)
	open := e.receive(s, 7)
	for {
		ctx, cancel := context.WithTimeout(e.ctx, quiet)
		ds, err := e.receiveSome(ctx, s, 7)
		cancel()
		open = append(open, ds...)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			e.Fatalf("receive with %d unsettled: %v", len(open), err)
		}
		if len(open) > prefetch {
			e.Fatalf("%d deliveries unsettled, want at most %d", len(open), prefetch)
		}
	}
	e.settle(s, adapters.Accepted, open...)
	e.settle(s, adapters.Accepted, e.receive(s, prefetch)...)
}

// sizeBoundHolds: a message above Limits.MaxSize is not handed out and not lost: a source that may take it gets it.
func sizeBoundHolds(e *env) {
	const small = 32 << 10
	p := e.h.Place(e)
	n := native("")
	n.Body = noise(4 * small)
	e.h.Put(e, p, n)
	e.cfg.Limits.MaxSize = small
	s, err := e.h.Adapter().OpenSource(e.soon(), e.cfg, p.Source)
	if err == nil {
		ctx, cancel := context.WithTimeout(e.ctx, 10*quiet)
		ds, err := s.Receive(ctx, 1)
		cancel()
		if len(ds) > 0 {
			e.Errorf("a message of %d bytes was handed out, MaxSize is %d", len(ds[0].Message.Body.Data), small)
		} else if adapters.KindOf(err) == adapters.Other {
			e.Errorf("a message above MaxSize: %v is not classified", err)
		}
		e.close("source", s)
	}
	e.cfg.Limits.MaxSize = maxSize
	s = e.source(p)
	e.sameBody("received with a larger MaxSize", e.receive(s, 1)[0].Message.Body.Data, n.Body)
}

// fullHoldsBack: a full place answers Full; after room is made the same message is taken, by the same target unless that
// has said Lost.
func fullHoldsBack(e *env) {
	r, ok := e.h.(Refuser)
	if !ok {
		e.Skip("the harness is no Refuser")
	}
	const enough = 10_000
	p, makeRoom := r.FullPlace(e)
	g := e.target(p)
	for i := range enough {
		m := e.message("filler")
		if _, err := g.Send(e.soon(), []*adapters.Message{m}); err != nil {
			e.wantKind("send to a full place", err, adapters.Full)
			makeRoom()
			e.until("room", func() bool {
				g = e.reopenIfSpent(g, p)
				_, err := g.Send(e.soon(), []*adapters.Message{m})
				return err == nil
			})
			return
		}
		if i == enough-1 {
			e.Errorf("%d messages went into a full place", enough)
		}
	}
}
