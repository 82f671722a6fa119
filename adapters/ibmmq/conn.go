package ibmmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

var (
	errClosed = errors.New("closed")
	errSilent = errors.New("the queue manager does not answer")
	errBusy   = errors.New("an earlier call has not come back")
)

// A link is one connection and what the queue manager told of itself. Calls of the MQI cannot be cancelled: each runs in a
// goroutine of its own, one at a time, and one that does not come back in time is given up together with the connection. Its
// goroutine ends when IBM's client notices, by its heartbeat, that nobody is there.
type link struct {
	cfg   adapters.Config
	at    adapters.Address
	facts facts

	turn chan struct{} // holds a token while a call is running

	mu   sync.Mutex
	why  error // why the connection is gone; nil while it is there
	gone chan struct{}

	conn connection // used by whoever has the turn
}

// facts are what a queue manager says of itself.
type facts struct {
	address, id, name string
	level             int32 // command level, 940 for 9.4
	ccsid             int32
	maxSize           int64 // of a message in bytes
	maxUncommitted    int   // messages in one unit of work
	deadLetters       string
}

// dial tries the addresses of c in turn. The error is that of the first whose answer is definite, else all of them.
func dial(ctx context.Context, k connector, c adapters.Config, a adapters.Address) (*link, error) {
	var errs []error
	for _, name := range connNames(c) {
		l := &link{cfg: c, at: a, turn: make(chan struct{}, 1), gone: make(chan struct{})}
		f, err := run(ctx, l, c.Limits.Confirm, func() (facts, error) { return l.connect(k, name) })
		if err == nil {
			l.facts = f
			return l, nil
		}
		l.drop(err)
		failed := classify("connect", adapters.Address{Broker: c.Name}, err)
		if failed.Kind.Definite() {
			return nil, failed
		}
		errs = append(errs, failed)
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, &adapters.Error{Op: "connect", Addr: adapters.Address{Broker: c.Name}, Kind: adapters.Lost, Err: errors.Join(errs...)}
}

// connect gives the link its connection. Whoever calls it has the turn.
func (l *link) connect(k connector, name string) (facts, error) {
	conn, err := k.connect(settingsOf(l.cfg), name)
	if err != nil {
		return facts{}, err
	}
	l.conn = conn
	f, err := askManager(conn)
	f.address = name
	return f, err
}

// askManager reads what the adapter has to know of the queue manager.
func askManager(conn connection) (f facts, err error) {
	q, err := conn.open(objectName{}, mqooInquire)
	if err != nil {
		return f, err
	}
	got, err := q.inquire(mqiaMaxMsgLength, mqiaMaxUncommitted, mqiaCommandLevel, mqiaCCSID, mqcaManagerID, mqcaManagerName, mqcaDeadLetterQueue)
	if err != nil {
		return f, err
	}
	f = facts{
		id: text(got[mqcaManagerID]), name: text(got[mqcaManagerName]), deadLetters: text(got[mqcaDeadLetterQueue]),
		level: number(got[mqiaCommandLevel]), ccsid: number(got[mqiaCCSID]), maxSize: int64(number(got[mqiaMaxMsgLength])),
		maxUncommitted: int(number(got[mqiaMaxUncommitted])),
	}
	return f, q.close()
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int32 { n, _ := v.(int32); return n }

// unit is how many messages go into one unit of work.
func (f *facts) unit() int {
	if f.maxUncommitted <= 0 {
		return mostInUnit
	}
	return max(1, min(mostInUnit, f.maxUncommitted/2))
}

// Peer tells who is connected to.
func (l *link) Peer() adapters.Peer {
	version := ""
	if f := l.facts.level; f > 0 {
		version = fmt.Sprintf("%d.%d.%d", f/100, f/10%10, f%10)
	}
	return adapters.Peer{ID: l.facts.id, Unique: l.facts.id, Product: "IBM MQ", Version: version, Address: l.facts.address, MaxSize: l.largest()}
}

// largest is the largest message that can pass, in bytes.
func (l *link) largest() int64 {
	n := min(l.cfg.Limits.MaxSize, largest)
	if l.facts.maxSize > 0 {
		n = min(n, l.facts.maxSize)
	}
	return n
}

// run calls f, which calls the MQI, and waits for it: for at most limit, and no longer than ctx. Then the connection is given
// up, and the error has Kind Lost. f may still be running: what it makes it must return.
func run[T any](ctx context.Context, l *link, limit time.Duration, f func() (T, error)) (v T, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case l.turn <- struct{}{}:
	case <-timer.C:
		return v, l.giveUp(errBusy)
	case <-l.gone:
		return v, l.cause()
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.err = l.call(func() (err error) {
			r.v, err = f()
			return err
		})
		<-l.turn
		done <- r
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-timer.C:
		return v, l.giveUp(errSilent)
	case <-ctx.Done():
		return v, l.giveUp(ctx.Err())
	}
}

// call is f, unless the connection is gone. When it is gone afterwards nobody else will disconnect, and what f has brought is
// backed out.
func (l *link) call(f func() error) error {
	if err := l.cause(); err != nil {
		return err
	}
	err := f()
	if err != nil && kindOf(err) == adapters.Lost {
		l.lose(err)
	}
	if why := l.cause(); why != nil {
		l.end()
		if err == nil {
			err = why
		}
	}
	return err
}

func (l *link) giveUp(why error) error {
	l.lose(why)
	return l.cause()
}

// lose notes that the connection is gone. Only the first cause counts.
func (l *link) lose(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != nil {
		return
	}
	l.why = lost("receive", l.at, why)
	close(l.gone)
}

// cause is nil while the connection is there, else an error of Kind Lost.
func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// end leaves: what is open is backed out first, for MQDISC would commit it. Where the queue manager does not answer there is
// nothing more to do. Whoever calls it has the turn.
func (l *link) end() {
	if l.conn == nil {
		return
	}
	conn := l.conn
	l.conn = nil
	if conn.back() == nil {
		_ = conn.disconnect()
	}
}

// drop gives the connection up, and waits a while for a call that is running to come back and end it.
func (l *link) drop(why error) {
	l.lose(why)
	timer := time.NewTimer(min(l.cfg.Limits.Confirm, closeTime))
	defer timer.Stop()
	select {
	case l.turn <- struct{}{}:
	case <-timer.C:
		return // it ends the connection itself
	}
	ended := make(chan struct{})
	go func() {
		l.end()
		close(ended)
	}()
	select {
	case <-ended:
		<-l.turn
	case <-timer.C:
	}
}

// attachError is the error of an open that failed. What may pass is Lost: whoever opens tries again.
func attachError(a adapters.Address, err error) error {
	e := *classify("attach", a, err)
	if e.Op = "attach"; !e.Kind.Definite() {
		e.Kind = adapters.Lost
	}
	return &e
}

// closeTime bounds how long a Close waits for a call that is running: a get that waits comes back after waitSlice.
const closeTime = 5 * time.Second

// Close gives the connection up; what was not settled is backed out. A second Close is harmless.
func (l *link) Close() error {
	l.drop(errClosed)
	return nil
}

// op gives an error of l the name of the operation in which it was met.
func op(name string, err error) error {
	var e *adapters.Error
	if !errors.As(err, &e) || e.Op == name {
		return err
	}
	c := *e
	c.Op = name
	return &c
}

// Probe asks the queue manager for one of its attributes.
func (l *link) Probe(ctx context.Context) error {
	if l.busy() {
		return l.cause() // a call under way is bounded itself
	}
	_, err := run(context.WithoutCancel(ctx), l, 3*l.cfg.Heartbeat, func() (facts, error) { return askManager(l.conn) })
	if err != nil {
		return lost("receive", l.at, err)
	}
	return nil
}

func (l *link) busy() bool { return len(l.turn) > 0 }
