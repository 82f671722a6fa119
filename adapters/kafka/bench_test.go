package kafka

import (
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// BenchmarkForward moves durable messages of 1 KiB from one topic to another: receive, send, settle.
func BenchmarkForward(b *testing.B) {
	b.Run("kfake", func(b *testing.B) {
		_, h := startFake(b)
		forward(b, h)
	})
	b.Run("kafka", func(b *testing.B) { forward(b, realKafka(b)) })
}

func forward(b *testing.B, h *harness) {
	c := h.Config(b, nil)
	forwardTo(b, c, h.Place(b), c, h.Place(b).Target)
}

func forwardTo(b *testing.B, from adapters.Config, in adaptertest.Place, to adapters.Config, out adapters.Address) {
	from.Limits.Prefetch, to.Limits.InFlight = 32768, 16384
	fill := mustTarget(b, from, in.Target)
	body := adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 1024)}
	ms := make([]*adapters.Message, 256)
	for i := range ms {
		ms[i] = &adapters.Message{Body: body, Created: 1}
	}
	for n := 0; n < b.N; n += len(ms) {
		if _, err := fill.Send(b.Context(), ms); err != nil {
			b.Fatal(err)
		}
	}
	s, tg := mustSource(b, from, in.Source), mustTarget(b, to, out)
	type sent struct {
		ds []adapters.Delivery
		r  adapters.Receipt
	}
	under := make(chan sent, 128)
	failed := make(chan error, 1)
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		defer close(failed)
		for u := range under {
			ds := u.ds
			_, err := u.r.Wait(ctx)
			for more := true; more && err == nil; { // settle together what is confirmed: each Settle is a round trip
				select {
				case u, more = <-under:
					if more {
						ds = append(ds, u.ds...)
						_, err = u.r.Wait(ctx)
					}
				default:
					more = false
				}
			}
			if err == nil {
				err = s.Settle(ctx, adapters.Accepted, ds...)
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for n := 0; n < b.N; {
		ds, err := s.Receive(ctx, min(256, b.N-n))
		if err != nil {
			b.Fatal(err)
		}
		batch := make([]*adapters.Message, len(ds))
		for i := range ds {
			batch[i] = ds[i].Message
		}
		r, err := tg.Post(ctx, batch)
		if err != nil {
			b.Fatal(err)
		}
		under <- sent{ds, r}
		n += len(ds)
	}
	close(under)
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkForwardFar is the same with 50 ms of round trip in front of the target's broker, for topics that take batches
// of Kafka's default size and larger ones.
func BenchmarkForwardFar(b *testing.B) {
	run := func(b *testing.B, h *harness) {
		for _, batch := range []string{"1048588", "8388608"} {
			b.Run("batch="+batch, func(b *testing.B) {
				in, out := h.Place(b), h.at(h.topic(b, 1, map[string]*string{"max.message.bytes": &batch}))
				near := h.Config(b, nil)
				far := near
				proxy := adaptertest.NewProxy(b)
				proxy.SetLatency(25 * time.Millisecond)
				far.Dial = proxy.Dial
				forwardTo(b, near, in, far, out)
			})
		}
	}
	b.Run("kfake", func(b *testing.B) {
		_, h := startFake(b)
		run(b, h)
	})
	b.Run("kafka", func(b *testing.B) { run(b, realKafka(b)) })
}
