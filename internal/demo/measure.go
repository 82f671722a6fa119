package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// minSize holds the sequence number and the checksum.
const minSize = 64

// body makes message number n: everything in it follows from n, and a checksum covers it.
func body(n uint64, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, n)
	for i := 12; i < size; i++ {
		b[i] = byte(n>>(i%8)) ^ byte(i)
	}
	binary.BigEndian.PutUint32(b[8:], checksum(b))
	return b
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:8]), crc32.IEEETable, b[12:])
}

// number returns the sequence number of b, and whether b is whole.
func number(b []byte) (uint64, bool) {
	if len(b) < minSize {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]) == checksum(b)
}

// A tally counts arrivals by number. It is used by one goroutine; arrived may be read by others.
type tally struct {
	seen                       []bool
	highest                    int
	total                      uint64 // arrivals of any kind
	dup, disordered, corrupted int
	arrived                    atomic.Int64 // different messages
}

func newTally(n int) *tally { return &tally{seen: make([]bool, n), highest: -1} }

// add counts one arrival.
func (t *tally) add(b []byte) {
	n, whole := number(b)
	t.total++
	switch {
	case !whole || n >= uint64(len(t.seen)):
		t.corrupted++
		return
	case t.seen[n]:
		t.dup++
		return
	case int(n) < t.highest:
		t.disordered++
	}
	t.highest = max(t.highest, int(n))
	t.seen[n] = true
	t.arrived.Add(1)
}

// measure sends at one site, counts at the other, stops the repeater, counts what is left, and fills in rep.
func measure(ctx context.Context, o Options, from, to *site, stop func() error, rep Report) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := newTally(o.Messages)
	arrivals, err := consume(ctx, to)
	if err != nil {
		return rep, errors.Join(err, stop())
	}
	begin := time.Now()
	sent := make(chan error, 1)
	var confirmed atomic.Int64
	cctx, failed := context.WithCancel(ctx)
	defer failed()
	go func() {
		err := send(ctx, from, o, &confirmed)
		if err != nil {
			failed() // what was not sent need not be waited for
		}
		sent <- err
	}()
	last, err := count(cctx, arrivals, t, o.Out, &confirmed)
	if serr := <-sent; serr != nil {
		err = serr
	}
	err = errors.Join(err, stop())
	if err == nil {
		err = countRest(ctx, to, arrivals, t)
	}
	if err != nil {
		return rep, err
	}
	rep.Sent, rep.Delivered = int(confirmed.Load()), int(t.arrived.Load())
	rep.Lost = rep.Sent - rep.Delivered
	rep.Duplicated, rep.OutOfOrder, rep.Corrupted = t.dup, t.disordered, t.corrupted
	rep.Elapsed = last.Sub(begin)
	rep.Rate = float64(rep.Delivered) / rep.Elapsed.Seconds()
	return rep, nil
}

// window is how many messages the sender has out without a confirmation.
const window = 512

// send publishes all messages in order and waits for the broker's confirmation of each.
func send(ctx context.Context, s *site, o Options, confirmed *atomic.Int64) error {
	futures := make(chan jetstream.PubAckFuture, window)
	done := make(chan error, 1)
	go func() { done <- confirmAll(ctx, futures, confirmed) }()
	for n := range o.Messages {
		f, err := s.js.PublishAsync("orders", body(uint64(n), o.Size))
		if err != nil {
			close(futures)
			<-done
			return fmt.Errorf("send message %d: %w", n, err)
		}
		futures <- f
	}
	close(futures)
	return <-done
}

func confirmAll(ctx context.Context, futures <-chan jetstream.PubAckFuture, confirmed *atomic.Int64) error {
	var failed error
	for f := range futures {
		select {
		case <-f.Ok():
			confirmed.Add(1)
		case err := <-f.Err():
			failed = err
		case <-ctx.Done():
			failed = ctx.Err()
		}
	}
	return failed
}

// consume delivers every body that arrives at s, in order, until ctx ends.
func consume(ctx context.Context, s *site) (<-chan []byte, error) {
	consumer, err := s.js.OrderedConsumer(ctx, "ORDERS", jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("count at the second site: %w", err)
	}
	arrivals := make(chan []byte, 4096)
	cc, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case arrivals <- m.Data():
		case <-ctx.Done():
		}
	})
	if err != nil {
		return nil, fmt.Errorf("count at the second site: %w", err)
	}
	context.AfterFunc(ctx, cc.Stop)
	return arrivals, nil
}

// count tallies until as many different messages as were wanted have arrived, or nothing came for a while. It returns
// when the last one came.
func count(ctx context.Context, arrivals <-chan []byte, t *tally, out io.Writer, confirmed *atomic.Int64) (last time.Time, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last = time.Now()
	for int(t.arrived.Load()) < len(t.seen) {
		select {
		case b := <-arrivals:
			t.add(b)
			last = time.Now()
		case <-tick.C:
			fmt.Fprintf(out, "sent %d, delivered %d\n", confirmed.Load(), t.arrived.Load())
			if time.Since(last) > stall {
				return last, nil
			}
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
	return last, nil
}

// countRest tallies what the stream holds beyond what was counted: the duplicates that came last.
func countRest(ctx context.Context, s *site, arrivals <-chan []byte, t *tally) error {
	stream, err := s.js.Stream(ctx, "ORDERS")
	if err != nil {
		return fmt.Errorf("look at the second site: %w", err)
	}
	held := stream.CachedInfo().State.Msgs
	late := time.NewTimer(stall)
	defer late.Stop()
	for t.total < held {
		select {
		case b := <-arrivals:
			t.add(b)
		case <-late.C:
			return fmt.Errorf("the second site holds %d messages, but gave out only %d", held, t.total)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
