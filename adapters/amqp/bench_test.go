package amqp

import (
	"context"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

const benchBatch = 256

// BenchmarkSend sends durable messages of 1 KiB to Artemis, many on their way.
func BenchmarkSend(b *testing.B) {
	h := artemisHarness(b)
	p := h.Place(b)
	to, err := New().OpenTarget(b.Context(), h.Config(b, nil), p.Target)
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	fill(b, to, b.N)
}

// BenchmarkSendLibrary is the same with the client library alone.
func BenchmarkSendLibrary(b *testing.B) {
	h := artemisHarness(b)
	s, err := h.client(b).NewSender(b.Context(), h.Place(b).Target.Name, nil)
	if err != nil {
		b.Fatal(err)
	}
	m := amqp.NewMessage(make([]byte, 1024))
	m.Header = &amqp.MessageHeader{Durable: true, Priority: 4}
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= benchBatch {
		receipts := make([]amqp.SendReceipt, min(left, benchBatch))
		for i := range receipts {
			if receipts[i], err = s.SendWithReceipt(b.Context(), m, nil); err != nil {
				b.Fatal(err)
			}
		}
		for i := range receipts {
			if _, err := receipts[i].Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func fill(b *testing.B, to adapters.Target, n int) {
	m := &adapters.Message{Durable: adapters.Yes, Body: adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 1024)}}
	ms := make([]*adapters.Message, benchBatch)
	for i := range ms {
		ms[i] = m
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.StartTimer()
	for left := n; left > 0; left -= benchBatch {
		if _, err := to.Send(context.Background(), ms[:min(left, benchBatch)]); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// BenchmarkReceive receives and accepts them, by this package and by the client library alone.
func BenchmarkReceive(b *testing.B) {
	for _, name := range []string{broker.Artemis, broker.RabbitMQ4} {
		b.Run(name, func(b *testing.B) { benchmarkReceive(b, name) })
	}
	b.Run("library alone", benchmarkLibrary)
}

func benchHarness(b *testing.B, name string) *harness {
	if name == broker.Artemis {
		return artemisHarness(b)
	}
	return rabbitHarness(b, name).harness
}

func benchmarkReceive(b *testing.B, name string) {
	h := benchHarness(b, name)
	p := h.Place(b)
	to, err := New().OpenTarget(b.Context(), h.Config(b, nil), p.Target)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, to, b.N)
	_ = to.Close()
	s, err := New().OpenSource(b.Context(), h.Config(b, nil), p.Source)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	b.ResetTimer()
	b.StartTimer()
	for got := 0; got < b.N; {
		ds, err := s.Receive(b.Context(), 64)
		if err == nil {
			err = s.Settle(b.Context(), adapters.Accepted, ds...)
		}
		if err != nil {
			b.Fatal(err)
		}
		got += len(ds)
	}
	b.StopTimer()
}

func benchmarkLibrary(b *testing.B) {
	h := artemisHarness(b)
	p := h.Place(b)
	to, err := New().OpenTarget(b.Context(), h.Config(b, nil), p.Target)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, to, b.N)
	_ = to.Close()
	r, err := h.client(b).NewReceiver(b.Context(), p.Source.Name, &amqp.ReceiverOptions{Credit: 256})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.StartTimer()
	for range b.N {
		m, err := r.Receive(b.Context(), nil)
		if err == nil {
			err = r.AcceptMessage(b.Context(), m)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}
