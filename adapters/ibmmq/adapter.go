package ibmmq

import (
	"context"

	"github.com/posthouse/posthouse/adapters"
)

// Adapter opens queues of IBM MQ. It is safe for concurrent use.
type Adapter struct{ client connector }

var (
	_ adapters.TxAdapter = (*Adapter)(nil)
	_ adapters.Pinger    = (*Adapter)(nil)
	_ adapters.Optional  = (*Adapter)(nil)
)

// New returns the adapter. Whether it can do more than Check depends on how the program was built (Built) and on IBM's client
// library, which is looked for at every connection until it is found.
func New() *Adapter { return &Adapter{client: binding{}} }

// Kind is "ibmmq".
func (*Adapter) Kind() string { return "ibmmq" }

// Capabilities are the same for every configuration. A unit of work is settled as a whole; the parts that it is settled in cost
// a detour each (Settle).
func (*Adapter) Capabilities(adapters.Config) adapters.Capabilities {
	return adapters.Capabilities{
		Sources: []adapters.Form{adapters.Queue}, Targets: []adapters.Form{adapters.Queue, adapters.Topic},
		Settle: adapters.Batch, SettleConfirmed: true, Attempts: adapters.CountEach, RejectAside: true, Order: adapters.OrderPerAddress,
		RefusalStops: true, Directed: true, Durable: true, Target: adapters.ClassTx, Source: adapters.SourceID,
		MaxSize: largest, Headers: Headers(Options{}),
	}
}

// Check looks at options, addresses and credentials without touching network or files.
func (*Adapter) Check(c adapters.Config, as ...adapters.Address) error { return check(c, as) }

// Missing is an error in a program that was built without the tag ibmmq.
func (*Adapter) Missing() error {
	if Built {
		return nil
	}
	return errNotBuilt
}

// Library says where IBM's client library was loaded from, or in plain words why it was not and what to do.
func (a *Adapter) Library() (string, error) { return a.client.library() }

// OpenSource connects and opens the queue a. Besides the Kinds of the contract: Lost while another program has the queue, or
// the state queue, open for itself alone.
func (a *Adapter) OpenSource(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Source, error) {
	s, err := openSource(ctx, a.client, c.WithDefaults(), at)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenTarget connects and opens the queue or topic a.
func (a *Adapter) OpenTarget(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Target, error) {
	t, err := openTarget(ctx, a.client, c.WithDefaults(), at)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// OpenTx is OpenTarget with the lane's position in the state_queue of the end; see adapters.TxAdapter.
func (a *Adapter) OpenTx(ctx context.Context, c adapters.Config, at adapters.Address, lane string) (adapters.TxTarget, error) {
	if err := adapters.CheckLane(lane); err != nil {
		return nil, err
	}
	x, err := openTx(ctx, a.client, c.WithDefaults(), at, lane)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Ping connects to the first address that answers, looks whether the queues as are there, and disconnects.
func (a *Adapter) Ping(ctx context.Context, c adapters.Config, as ...adapters.Address) (adapters.Peer, error) {
	c = c.WithDefaults()
	l, err := dial(ctx, a.client, c, adapters.Address{Broker: c.Name})
	if err != nil {
		return adapters.Peer{}, err
	}
	defer func() { _ = l.Close() }()
	for _, at := range as {
		_, err := run(ctx, l, c.Limits.Confirm, func() (struct{}, error) { return struct{}{}, look(l, at) })
		if err != nil {
			return adapters.Peer{}, attachError(at, err)
		}
	}
	return l.Peer(), nil
}

// look opens a queue to inquire, and closes it.
func look(l *link, at adapters.Address) error {
	if at.Form != adapters.Queue || at.Dynamic {
		return nil
	}
	q, err := l.conn.open(objectName{queue: at.Name}, mqooInquire)
	if err != nil {
		return err
	}
	return q.close()
}
