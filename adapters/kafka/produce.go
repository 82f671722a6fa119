package kafka

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// maxRequest in bytes, of all partitions together; Kafka's default for socket.request.max.bytes is 100 MiB.
const maxRequest = 16 << 20

// A shipment is one produce request: at most one batch of each partition, all to one broker.
type shipment struct {
	to   *sarama.Broker
	lots []*lot
	nth  int // of their batches
	size int64
	res  *sarama.ProduceResponse
	err  error
}

// shipments are all requests of a transaction, in order: those to one broker go one after the other on one connection.
func (x *txTarget) shipments(lots []*lot) (all []*shipment, err error) {
	for nth, more := 0, true; more; nth++ {
		more = false
		open := make(map[*sarama.Broker]*shipment)
		for _, l := range lots {
			if nth >= len(l.batches) {
				continue
			}
			more = true
			leader, err := x.client.Leader(l.topic, l.partition)
			if err != nil {
				return nil, err
			}
			s := open[leader]
			if s == nil || s.size+x.batchSize() > maxRequest {
				s = &shipment{to: leader, nth: nth}
				open[leader] = s
				all = append(all, s)
			}
			s.lots = append(s.lots, l)
			s.size += x.batchSize()
		}
	}
	return all, nil
}

func (x *txTarget) request(s *shipment) *sarama.ProduceRequest {
	timeout := min(x.limits.Confirm/2, 10*time.Second)
	req := &sarama.ProduceRequest{Version: 9, TransactionalID: &x.id, RequiredAcks: sarama.WaitForAll, Timeout: int32(timeout / time.Millisecond)}
	for _, l := range s.lots {
		req.AddBatch(l.topic, l.partition, l.batches[s.nth])
	}
	return req
}

// produce sends all batches and waits for all answers. Several requests are on their way at once: a partition takes no
// batch behind one that it has refused. A definite error asks for the abort.
func (x *txTarget) produce(lots []*lot) error {
	all, err := x.shipments(lots)
	if err != nil {
		return err
	}
	answers := make(chan *shipment, len(all))
	for _, s := range all {
		err := s.to.AsyncProduce(x.request(s), func(res *sarama.ProduceResponse, err error) {
			s.res, s.err = res, err
			answers <- s
		})
		if err != nil {
			return err
		}
	}
	for range all {
		select {
		case s := <-answers:
			if s.err != nil {
				return s.err
			}
			x.watchdog.Reset(x.limits.Confirm)
		case <-x.life.Done():
			return x.failure()
		}
	}
	return x.judge(all)
}

// judge looks through the answers in the order of the requests and moves the sequences on by what was taken.
func (x *txTarget) judge(all []*shipment) (refusal error) {
	refused := make(map[slot]bool)
	for _, s := range all {
		for _, l := range s.lots {
			var err error = sarama.ErrIncompleteResponse
			if block := s.res.GetBlock(l.topic, l.partition); block != nil {
				err = block.Err
			}
			switch {
			case err == sarama.ErrNoError:
				x.sequences[l.slot] = following(l.batches[s.nth].FirstSequence, len(l.batches[s.nth].Records))
				continue
			case refused[l.slot]: // what is behind is out of sequence
				continue
			}
			e := classify("send", x.addr, fmt.Errorf("partition %d of %s: %w", l.partition, l.topic, err))
			if !e.Kind.Definite() {
				return e
			}
			refused[l.slot] = true
			if refusal == nil {
				refusal = e
			}
		}
	}
	return refusal
}
