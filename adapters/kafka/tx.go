package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/failpoint"
)

// txPrefix of transactional ids: what an operator grants rights to.
const txPrefix = "posthouse-"

// A txTarget sends transactions: the messages and, in the state topic, the lane's position.
//
// It speaks to the brokers itself and does not use sarama's transactional producer, for three reasons. That one repeats
// requests over new connections, where a first copy that arrives late may end the next transaction in place of its own;
// it takes a refusal by the coordinator for a bad connection; and it needs twice as many round trips. Here no request is
// ever repeated unless the broker has answered that it did nothing. Everything else spends the target, with all
// connections cut, and what is left open the next sender's InitProducerId ends.
type txTarget struct {
	sender
	positions
	lane, id string
	timeout  time.Duration // after which the broker aborts a transaction by itself; we have given up before
	codec    sarama.CompressionCodec
	keyed    sarama.Partitioner
	spread   spread
	pid      int64
	epoch    int16
	start    adapters.Position

	sequences map[slot]int32 // of the next record
	watchdog  *time.Timer    // of the transaction under way
	closing   sync.Once
	loops     sync.WaitGroup
}

// opened is what the brokers gave at the start.
type opened struct {
	client sarama.Client
	pid    int64
	epoch  int16
	start  adapters.Position
}

var (
	_ adapters.TxTarget  = (*txTarget)(nil)
	_ adapters.Prober    = (*txTarget)(nil)
	_ adapters.Described = (*txTarget)(nil)
)

// openTx follows the recipe: InitProducerId fences the sender before and ends its transaction; only then what the state
// topic says is final.
func openTx(ctx context.Context, c adapters.Config, a adapters.Address, lane string) (*txTarget, error) {
	n := newNetwork(c, 16<<20)
	f, err := connect(ctx, c, n, a)
	if err != nil {
		n.cut()
		return nil, err
	}
	x := &txTarget{lane: lane, id: txPrefix + lane, positions: positions{stateTopic(c.Options), "", f.peer.Address},
		timeout: txTimeout(c.Limits), keyed: sarama.NewMurmur2Partitioner(a.Name), sequences: make(map[slot]int32)}
	if !a.Dynamic {
		x.data = a.Name
	}
	x.codec, _ = compression(c.Options) // Check has looked at it
	x.begin(c, a, f, n)
	o, err := within(ctx, n, func() (opened, error) { return x.attach(ctx, c) })
	if err != nil {
		err = classify("attach", a, withCause(err, n))
		x.fail(err)
		return nil, err
	}
	x.client, x.pid, x.epoch, x.start = o.client, o.pid, o.epoch, o.start
	x.loops.Go(x.watch)
	return x, nil
}

func txTimeout(l adapters.Limits) time.Duration {
	return max(time.Minute, min(4*l.Confirm, 15*time.Minute)).Truncate(time.Millisecond)
}

func (x *txTarget) attach(ctx context.Context, c adapters.Config) (o opened, err error) {
	k := settings(c, x.net)
	k.Metadata.Retry.BackoffFunc = func(int, int) time.Duration { return x.unless(100 * time.Millisecond) }
	if o.client, err = sarama.NewClient([]string{x.facts.peer.Address}, k); err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			_ = o.client.Close()
		}
	}()
	if err := x.prepare(ctx, o.client); err != nil {
		return o, err
	}
	if o.pid, o.epoch, err = x.identify(ctx, o.client); err != nil {
		return o, err
	}
	o.start, err = x.read(o.client, x.lane)
	return o, err
}

// Position is what the state topic said when the target was opened.
func (x *txTarget) Position() adapters.Position { return x.start }

// Send is refused: what is sent here carries a position.
func (x *txTarget) Send(context.Context, []*adapters.Message) (int, error) {
	return 0, &adapters.Error{Op: "send", Addr: x.addr, Kind: adapters.Permanent, Err: errors.New("a target with transactions has SendTx only")}
}

// SendTx sends ms and p in one transaction; see adapters.TxTarget. What is too large is refused before there is one.
func (x *txTarget) SendTx(ctx context.Context, ms []*adapters.Message, p adapters.Position) error {
	began := time.Now()
	if x.failure() != nil {
		return x.lost(began)
	}
	ctx, cancel := context.WithTimeout(ctx, x.timeout*3/4)
	defer cancel()
	defer x.guard(ctx)()
	lots, err := x.load(ms, p)
	if err == nil {
		err = x.transact(lots)
	}
	if len(ms) == 1 {
		err = x.blameClock(ms[0], err)
	}
	if err == nil || adapters.KindOf(err).Definite() {
		return err
	}
	x.fail(withCause(err, x.net))
	return x.lost(began)
}

// transact sends lots as one transaction. An error of a definite kind says that nothing is left of it.
func (x *txTarget) transact(lots []*lot) error {
	if err := x.enrol(lots); err != nil {
		return err
	}
	if err := x.produce(lots); err != nil {
		if !adapters.KindOf(err).Definite() {
			return err
		}
		if failed := x.finish(false); failed != nil {
			return fmt.Errorf("%w; and the abort after: %w", failed, errors.New(err.Error()))
		}
		return err
	}
	failpoint.Hit("C22")
	failpoint.Soon("C22-end")
	return x.finish(true)
}

// guard cuts the connections when ctx ends, or when nothing is answered for Limits.Confirm. It returns what ends that.
func (x *txTarget) guard(ctx context.Context) (end func()) {
	x.watchdog = time.AfterFunc(x.limits.Confirm, func() { x.fail(fmt.Errorf("no answer within %s", x.limits.Confirm)) })
	stop := context.AfterFunc(ctx, func() { x.fail(fmt.Errorf("the transaction was not answered: %w", ctx.Err())) })
	return func() {
		stop()
		x.watchdog.Stop()
	}
}

// lost says why the target is spent. A broker that has aborted our transaction for its age tells the same as one where
// somebody has taken the lane over; ours is never that old unless this process stood still.
func (x *txTarget) lost(began time.Time) error {
	err := x.failure()
	code, _ := codeOf(err)
	if (code == sarama.ErrProducerFenced || code == sarama.ErrInvalidProducerEpoch) && time.Since(began) < x.timeout {
		return &adapters.Error{Op: "send", Addr: x.addr, Kind: adapters.Denied,
			Err: fmt.Errorf("%w: another process uses the transactional id %s: %w", adapters.ErrFenced, x.id, err)}
	}
	return asLost("send", x.addr, err)
}

// Close leaves an open transaction to the next sender.
func (x *txTarget) Close() error {
	x.fail(errClosed)
	ended := make(chan struct{})
	x.closing.Do(func() {
		go func() {
			x.loops.Wait()
			_ = x.client.Close()
			close(ended)
		}()
		waitFor(ended, 5*time.Second)
	})
	return nil
}
