package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
)

// BenchmarkTransactions sends messages of 1 KiB, first by Post with several batches under way, then as many in
// transactions one after the other; of-plain is the rate of the second as a part of the first.
func BenchmarkTransactions(b *testing.B) {
	for _, size := range []int{1, 256, 1024, 4096} {
		run := func(b *testing.B, h *harness) { compare(b, h.Config(b, nil), h.Place(b), h.Place(b), size) }
		b.Run(fmt.Sprintf("kfake/size=%d", size), func(b *testing.B) {
			_, h := startFake(b)
			run(b, h)
		})
		b.Run(fmt.Sprintf("kafka/size=%d", size), func(b *testing.B) { run(b, realKafka(b)) })
		b.Run(fmt.Sprintf("kafka-10ms/size=%d", size), func(b *testing.B) {
			h := realKafka(b)
			proxy := adaptertest.NewProxy(b)
			proxy.SetLatency(5 * time.Millisecond)
			compare(b, h.Config(b, proxy.Dial), h.Place(b), h.Place(b), size)
		})
	}
}

func compare(b *testing.B, c adapters.Config, plain, tx adaptertest.Place, size int) {
	c.Limits.InFlight = 16384
	body := adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 1024)}
	ms := make([]*adapters.Message, size)
	for i := range ms {
		ms[i] = &adapters.Message{Body: body, Created: 1}
	}
	tg, x := mustTarget(b, c, plain.Target), mustTx(b, c, tx)
	mustSendTx(b, x, ms, upTo(1))
	b.ResetTimer()
	began := time.Now()
	postAll(b, tg, ms, b.N)
	posted := time.Since(began)
	for n := 0; n < b.N; n += size {
		if err := x.SendTx(b.Context(), ms, upTo(uint64(n))); err != nil {
			b.Fatal(err)
		}
	}
	sent := b.Elapsed() - posted
	b.ReportMetric(float64(b.N)/posted.Seconds(), "plain-messages/s")
	b.ReportMetric(float64(b.N)/sent.Seconds(), "tx-messages/s")
	b.ReportMetric(sent.Seconds()*1000/float64((b.N+size-1)/size), "ms/tx")
	b.ReportMetric(posted.Seconds()/sent.Seconds(), "of-plain")
}

func postAll(b *testing.B, tg *target, ms []*adapters.Message, n int) {
	under := make(chan adapters.Receipt, 64)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for r := range under {
			if _, err := r.Wait(b.Context()); err != nil {
				failed <- err
				return
			}
		}
	}()
	for ; n > 0; n -= len(ms) {
		r, err := tg.Post(b.Context(), ms)
		if err != nil {
			b.Fatal(err)
		}
		under <- r
	}
	close(under)
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
}
