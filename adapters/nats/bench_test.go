package nats

import (
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// BenchmarkForward moves 1 KiB messages from a queue to another, batch by batch with several on their way, against a
// server in this process that does not sync.
func BenchmarkForward(b *testing.B) {
	w := newBench(b)
	w.c.Limits = adapters.Limits{Prefetch: 1024, InFlight: 1024}
	in := openTarget(b, w.ad, w.c, subjectEnd("in", keys{KeyCreate: true}))
	out := openTarget(b, w.ad, w.c, subjectEnd("out", keys{KeyCreate: true}))
	body := make([]byte, 1024)
	const batch = 128
	var ms []*adapters.Message
	for range batch {
		ms = append(ms, &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: body}})
	}
	for i := 0; i < b.N; i += batch {
		if _, err := in.Send(b.Context(), ms); err != nil {
			b.Fatal(err)
		}
	}
	s := openSource(b, w.ad, w.c, streamEnd("in", nil))
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		ds, err := s.Receive(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		ms = ms[:0]
		for _, d := range ds {
			ms = append(ms, d.Message)
		}
		if _, err := out.Send(b.Context(), ms); err != nil {
			b.Fatal(err)
		}
		if err := s.Settle(b.Context(), adapters.Accepted, ds...); err != nil {
			b.Fatal(err)
		}
		n += len(ds)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
