package kafka

import (
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
