package kafka

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/posthouse/posthouse/adapters"
)

// A timestamp that the broker refuses is the message's fault only where its producer has set it. Ours comes from the clock of
// this machine: were the message refused for it, a wrong clock would make dead letters of everything.
func TestRefusedTimestamps(t *testing.T) {
	always := func(*kmsg.ProduceRequest) bool { return true }
	for name, c := range map[string]struct {
		created int64
		want    adapters.Kind
	}{
		"Ours":            {0, adapters.Denied},
		"TooFarAway":      {time.Now().Add(48 * time.Hour).UnixMilli(), adapters.Denied},
		"OfTheProducer":   {time.Now().Add(-48 * time.Hour).UnixMilli(), adapters.Permanent},
		"OfTheProducer/0": {time.Now().UnixMilli(), adapters.Permanent},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, h := startFake(t)
			p := h.Place(t)
			target, x := mustTarget(t, h.Config(t, nil), p.Target), mustTx(t, h.Config(t, nil), p)
			answer(cluster, sarama.ErrInvalidTimestamp, always)
			ms := some(1, 2)
			for _, m := range ms {
				m.Created = c.created
			}
			_, err := target.Send(limited(t), ms)
			wantKind(t, err, c.want)
			wantKind(t, x.SendTx(limited(t), ms[:1], upTo(1)), c.want)
		})
	}
}

// With a clock that is a year ahead a transaction of messages that bring their own time is taken: the record of the position
// must not be what Kafka refuses. Ours are held.
func TestTransactionsWithAWrongClock(t *testing.T) {
	t.Run("kfake", func(t *testing.T) {
		cluster, h := startFake(t)
		answer(cluster, sarama.ErrInvalidTimestamp, fromTheFuture)
		wrongClock(t, h)
	})
	t.Run("kafka", func(t *testing.T) { wrongClock(t, realKafka(t)) })
}

func wrongClock(t *testing.T, h *harness) {
	c := h.Config(t, nil)
	c.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
	p := h.Place(t)
	x := mustTx(t, c, p)
	ms := some(1, 2)
	for _, m := range ms {
		m.Created = time.Now().UnixMilli()
	}
	mustSendTx(t, x, ms, upTo(2))
	wantKind(t, x.SendTx(limited(t), some(3, 1), upTo(3)), adapters.Denied)
	wantOnce(t, h, p, bodiesOf(some(1, 2))...)
}

// fromTheFuture reports whether a batch has a record of more than an hour ahead, as a real broker does.
func fromTheFuture(req *kmsg.ProduceRequest) bool {
	const maxTimestamp = 35 // its place in a batch
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			if ms := int64(binary.BigEndian.Uint64(p.Records[maxTimestamp:])); ms > time.Now().Add(time.Hour).UnixMilli() {
				return true
			}
		}
	}
	return false
}
