package kafka

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// The requests of a transaction, in their order: InitProducerId once, then for each AddPartitionsToTxn (enrol), Produce
// and EndTxn (finish). See KIP-98 and, for the versions, KIP-360, KIP-588 and KIP-890.

// pauses between two requests to a coordinator that asks for patience: it passes within a few ms.
func pause(attempt int) time.Duration {
	return min(time.Millisecond<<min(attempt, 7), 100*time.Millisecond)
}

// patient reports whether a coordinator that answers with code has done nothing and will do it later.
func patient(code sarama.KError) bool {
	switch code {
	case sarama.ErrConcurrentTransactions, sarama.ErrOffsetsLoadInProgress, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer:
		return true
	}
	return false
}

// ask puts a question to the coordinator until its answer is not one of patience.
func (x *txTarget) ask(ctx context.Context, client sarama.Client, question func(*sarama.Broker) (sarama.KError, error)) error {
	for attempt := 0; ; attempt++ {
		code, err := put(client, x.id, question)
		switch {
		case err != nil:
			return err
		case code == sarama.ErrNoError:
			return nil
		case !patient(code):
			return code
		case code == sarama.ErrConsumerCoordinatorNotAvailable || code == sarama.ErrNotCoordinatorForConsumer:
			_ = client.RefreshTransactionCoordinator(x.id)
		}
		if err := x.wait(ctx, pause(attempt)); err != nil {
			return fmt.Errorf("%w, the last answer: %w", err, code)
		}
	}
}

// put asks once. That there is no coordinator yet is an answer, too.
func put(client sarama.Client, id string, question func(*sarama.Broker) (sarama.KError, error)) (sarama.KError, error) {
	coordinator, err := client.TransactionCoordinator(id)
	if code, _ := codeOf(err); patient(code) {
		return code, nil
	}
	if err != nil {
		return 0, err
	}
	return question(coordinator)
}

// wait ends early with ctx or with the target.
func (x *txTarget) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-x.life.Done():
		return x.failure()
	}
}

// identify makes this target the only sender of the lane: the broker ends what the one before has left open, and takes
// nothing more from it.
func (x *txTarget) identify(ctx context.Context, client sarama.Client) (pid int64, epoch int16, err error) {
	ctx, cancel := context.WithTimeout(ctx, x.limits.Confirm)
	defer cancel()
	err = x.ask(ctx, client, func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.InitProducerID(&sarama.InitProducerIDRequest{Version: 4, TransactionalID: &x.id, TransactionTimeout: x.timeout,
			ProducerID: -1, ProducerEpoch: -1})
		if err != nil {
			return 0, err
		}
		pid, epoch = res.ProducerID, res.ProducerEpoch
		return res.Err, nil
	})
	return pid, epoch, err
}

// enrol tells the coordinator which partitions the transaction will touch. A refusal leaves none of them in it.
func (x *txTarget) enrol(lots []*lot) error {
	parts := make(map[string][]int32)
	for _, l := range lots {
		parts[l.topic] = append(parts[l.topic], l.partition)
	}
	err := x.ask(x.life, x.client, func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.AddPartitionsToTxn(&sarama.AddPartitionsToTxnRequest{Version: 3, TransactionalID: x.id, ProducerID: x.pid,
			ProducerEpoch: x.epoch, TopicPartitions: parts})
		if err != nil {
			return 0, err
		}
		return first(res.Errors), nil
	})
	if err != nil {
		return classify("send", x.addr, err)
	}
	x.watchdog.Reset(x.limits.Confirm)
	return nil
}

// first is the code that says why partitions were not added; that of the others is only that they were not tried.
func first(answers map[string][]*sarama.PartitionError) sarama.KError {
	code := sarama.ErrNoError
	for _, parts := range answers {
		for _, p := range parts {
			if p.Err != sarama.ErrNoError && (code == sarama.ErrNoError || code == sarama.ErrOperationNotAttempted) {
				code = p.Err
			}
		}
	}
	return code
}

// finish commits or aborts. Whatever is not success leaves the outcome unknown.
func (x *txTarget) finish(commit bool) error {
	coordinator, err := x.client.TransactionCoordinator(x.id)
	if err != nil {
		return err
	}
	res, err := coordinator.EndTxn(&sarama.EndTxnRequest{Version: 3, TransactionalID: x.id, ProducerID: x.pid, ProducerEpoch: x.epoch,
		TransactionResult: commit})
	switch {
	case err != nil:
		return fmt.Errorf("end of the transaction: %w", err)
	case res.Err != sarama.ErrNoError:
		return &adapters.Error{Op: "send", Addr: x.addr, Kind: adapters.Lost, Err: fmt.Errorf("end of the transaction: %w", res.Err)}
	}
	return nil
}

// A slot is one partition.
type slot struct {
	topic     string
	partition int32
}

// A lot is what one transaction sends to one partition.
type lot struct {
	slot
	batches []*sarama.RecordBatch
	size    int64 // of the last batch
	next    int32 // sequence
}

// load sorts the records of one transaction into lots and batches, in their order.
func (x *txTarget) load(ms []*adapters.Message, p adapters.Position) ([]*lot, error) {
	l := &loader{x: x, bySlot: make(map[slot]*lot), topics: make(map[string]*spreading)}
	var latest time.Time
	refused := make([]error, len(ms))
	for i, m := range ms {
		w, err := x.write(m)
		if adapters.KindOf(err) == adapters.Permanent {
			refused[i] = err // of the others all are looked at, or each would cost another attempt
			continue
		}
		if err == nil {
			err = l.message(w)
		}
		if err != nil {
			return nil, err
		}
		if w.time.After(latest) {
			latest = w.time
		}
	}
	if err := adapters.Refusal(refused); err != nil {
		return nil, err
	}
	value, err := encodePosition(p)
	if err != nil {
		return nil, &adapters.Error{Op: "send", Addr: x.addr, Kind: adapters.Permanent, Err: err}
	}
	l.add(slot{x.state, statePartition}, wire{key: []byte(x.lane), value: value, time: latest}) // of our clock only if they are: it may be wrong
	return l.lots, nil
}

// A loader makes the lots of one transaction.
type loader struct {
	x      *txTarget
	lots   []*lot
	bySlot map[slot]*lot
	topics map[string]*spreading
}

// A spreading is what one transaction knows of a topic.
type spreading struct {
	count   int32 // of all partitions
	keyless slot  // where messages without a key go
}

// topic looks at a topic, once for each transaction.
func (l *loader) topic(name string) (*spreading, error) {
	if s := l.topics[name]; s != nil {
		return s, nil
	}
	x := l.x
	all, err := x.client.Partitions(name)
	if err != nil {
		return nil, err
	}
	able, err := x.client.WritablePartitions(name)
	if err == nil && len(able) == 0 {
		err = sarama.ErrLeaderNotAvailable
	}
	if err != nil {
		return nil, err
	}
	l.topics[name] = &spreading{count: int32(len(all)), keyless: slot{name, able[int(x.spread.next())%len(able)]}}
	return l.topics[name], nil
}

// message chooses the partition as the partitioner of the plain target does.
func (l *loader) message(w wire) error {
	t, err := l.topic(w.topic)
	if err != nil {
		return err
	}
	switch {
	case w.chosen.made:
		l.add(slot{w.topic, w.chosen.partition}, w)
		return nil
	case w.key == nil:
		l.add(t.keyless, w)
		return nil
	}
	part, err := l.x.keyed.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(w.key)}, t.count)
	if err != nil {
		return err
	}
	l.add(slot{w.topic, part}, w)
	return nil
}

// add puts a record behind the others of its partition.
func (l *loader) add(to slot, w wire) {
	at := l.bySlot[to]
	if at == nil {
		at = &lot{slot: to, next: l.x.sequences[to]}
		l.bySlot[to] = at
		l.lots = append(l.lots, at)
	}
	if w.time.IsZero() {
		w.time = l.x.now()
	}
	w.time = w.time.Truncate(time.Millisecond)
	const frame = 128
	if size := w.size(); len(at.batches) == 0 || at.size+size > l.x.batchSize() {
		at.batches = append(at.batches, &sarama.RecordBatch{Version: 2, Codec: l.x.codec, CompressionLevel: sarama.CompressionLevelDefault,
			FirstTimestamp: w.time, MaxTimestamp: w.time, ProducerID: l.x.pid, ProducerEpoch: l.x.epoch, FirstSequence: at.next, IsTransactional: true})
		at.size = frame
	}
	at.size += w.size()
	at.next = following(at.next, 1)
	extend(at.batches[len(at.batches)-1], w)
}

// batchSize in bytes is what every batch is kept below, unless one message alone is larger.
func (x *txTarget) batchSize() int64 {
	if x.facts.maxBatch > 0 {
		return x.facts.maxBatch
	}
	return defaultBatch
}

// following is the sequence number n after s: they go up to 2^31-1 and begin again at 0.
func following(s int32, n int) int32 { return int32((int64(s) + int64(n)) & math.MaxInt32) }

func extend(b *sarama.RecordBatch, w wire) {
	r := &sarama.Record{Key: w.key, Value: w.value, TimestampDelta: w.time.Sub(b.FirstTimestamp), OffsetDelta: int64(len(b.Records))}
	for i := range w.headers {
		r.Headers = append(r.Headers, &w.headers[i])
	}
	b.Records = append(b.Records, r)
	b.LastOffsetDelta = int32(len(b.Records) - 1)
	if w.time.After(b.MaxTimestamp) {
		b.MaxTimestamp = w.time
	}
}
