package repeater

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// What operators do with orphans, the lanes of the journal that no route of the file has. A reload that brings such a lane back
// waits meanwhile.

// ErrNoOrphan: no lane of that name is without a route, and has messages.
var ErrNoOrphan = errors.New("no orphan of that name is in the spool")

// An OrphanAsk says what is to be done with an orphan.
type OrphanAsk struct {
	Name   string // ROUTE/TARGET
	Expect *int   // as many messages must be there; nil: any number
	DryRun bool   // count only
	By     string
	Why    string
}

// Purge gives up the messages of an orphan and returns how many they are. Its errors are ErrNoSpool, ErrNotYet, ErrNoOrphan, ErrCount,
// and one that says that it is not on the disk.
func (r *Repeater) Purge(ctx context.Context, a OrphanAsk) (int, error) {
	r.exchanging.Lock()
	defer r.exchanging.Unlock()
	j, n, err := r.orphan(a)
	if err != nil || a.DryRun {
		return n, err
	}
	j.Purge()
	if err := r.journal.open().Sync(ctx); err != nil {
		return n, fmt.Errorf("purge %s: %w", a.Name, err)
	}
	r.opts.Log.Warn(msgPurged, "lane", a.Name, "messages", n, "by", a.By, "reason", a.Why)
	return n, nil
}

// orphan finds one, and how many messages it has.
func (r *Repeater) orphan(a OrphanAsk) (*spool.Lane, int, error) {
	if r.journal == nil {
		return nil, 0, ErrNoSpool
	}
	s := r.journal.open()
	if s == nil {
		return nil, 0, ErrNotYet
	}
	list := r.journal.orphans()
	i := slices.IndexFunc(list, func(o Orphan) bool { return o.Name == a.Name })
	if i < 0 {
		return nil, 0, fmt.Errorf("%q: %w", a.Name, ErrNoOrphan)
	}
	n := int(list[i].Messages)
	if a.Expect != nil && *a.Expect != n {
		return nil, n, fmt.Errorf("%w: %d are there, not %d", ErrCount, n, *a.Expect)
	}
	j, err := s.Lane(a.Name)
	return j, n, err
}

// Adopt sends the messages of an orphan through a route, as if its source had just given them. It goes on until all have an
// answer, or ctx ends: then Pending ones are in the orphan and may be on their way. Its errors are those of Purge, ErrNoRoute and
// ErrRequests.
func (r *Repeater) Adopt(ctx context.Context, a OrphanAsk, route string) (DeadDone, error) {
	out := DeadDone{Route: route, Action: "adopt", DryRun: a.DryRun, Failures: []Failure{}}
	r.exchanging.Lock()
	defer r.exchanging.Unlock()
	j, n, err := r.orphan(a)
	out.Selected = n
	if err != nil {
		return out, err
	}
	_, run := r.runOf(route)
	switch {
	case run == nil || run.route.Name != route:
		return out, fmt.Errorf("%q: %w", route, ErrNoRoute)
	case run.route.Asks != nil || run.route.Answers != nil || run.route.Delivery == routes.AtMostOnce:
		return out, fmt.Errorf("route %s: %w", route, ErrRequests)
	case a.DryRun:
		return out, nil
	}
	var batch []*letter
	give := func() bool {
		run.retry(ctx, batch, &out)
		batch = nil
		return ctx.Err() == nil
	}
	s := scan{j: j}
	err = s.each(ctx, 1, func(f record) bool {
		batch = append(batch, &letter{record: f, done: func(seq uint64) error { return j.Done(seq) }})
		return len(batch) < deadBatch || give()
	})
	give()
	r.opts.Log.Warn(msgAdopted, "lane", a.Name, "route", route, "messages", out.Done, "failed", out.Failed, "by", a.By, "reason", a.Why)
	sync, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := r.journal.open().Sync(sync); err != nil {
		return out, fmt.Errorf("what was done is not noted in the journal: %w", err)
	}
	return out, err
}
