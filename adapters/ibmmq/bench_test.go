//go:build cgo && ibmmq

package ibmmq

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

// BenchmarkSend puts persistent messages of 1 KiB at the stand-in, which syncs every commit to the disk, in units of work of
// different sizes, without and with the position of a lane. Figures for docs/benchmarks.md:
//
//	make bench-mq
func BenchmarkSend(b *testing.B) {
	for _, batch := range []int{1, 50} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchmarkSend(b, batch, false) })
		b.Run(fmt.Sprintf("batch=%d/once", batch), func(b *testing.B) { benchmarkSend(b, batch, true) })
	}
}

func benchmarkSend(b *testing.B, batch int, once bool) {
	h := newHarness(b, qmgr.Options{Dir: b.TempDir(), Queues: []qmgr.Queue{{Name: "Q", MaxDepth: 1 << 30}, {Name: "STATE", Persistent: true}}})
	if h.manager == nil {
		b.Skip("a benchmark of the stand-in")
	}
	a := adapters.Address{Broker: "mq", Form: adapters.Queue, Name: "Q", Options: adapters.Options{keyState: "STATE"}}
	var ms []*adapters.Message
	for range batch {
		ms = append(ms, message(string(bytes.Repeat([]byte("x"), 1024))))
	}
	send := sending(b, h, a, once)
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		if err := send(ms); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// sending is Send, or SendTx with the next position.
func sending(b *testing.B, h *harness, a adapters.Address, once bool) func([]*adapters.Message) error {
	c := h.Config(b, nil)
	if !once {
		g, err := New().OpenTarget(b.Context(), c, a)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = g.Close() })
		return func(ms []*adapters.Message) error {
			_, err := g.Send(b.Context(), ms)
			return err
		}
	}
	x, err := New().OpenTx(b.Context(), c, a, "lane.1")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = x.Close() })
	p := adapters.Position{}
	return func(ms []*adapters.Message) error {
		p.Last += uint64(len(ms))
		return x.SendTx(b.Context(), ms, p)
	}
}

// BenchmarkReceive gets such messages in units of work of different sizes.
func BenchmarkReceive(b *testing.B) {
	for _, batch := range []int{1, 50} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchmarkReceive(b, batch) })
	}
}

func benchmarkReceive(b *testing.B, batch int) {
	h := newHarness(b, qmgr.Options{Dir: b.TempDir(), Queues: []qmgr.Queue{{Name: "Q", MaxDepth: 1 << 30}}})
	if h.manager == nil {
		b.Skip("a benchmark of the stand-in")
	}
	a := adapters.Address{Broker: "mq", Form: adapters.Queue, Name: "Q", Options: adapters.Options{keyState: "STATE"}}
	send := sending(b, h, a, false)
	for n := 0; n < b.N+batch; n += 250 {
		var ms []*adapters.Message
		for range 250 {
			ms = append(ms, message(string(bytes.Repeat([]byte("x"), 1024))))
		}
		if err := send(ms); err != nil {
			b.Fatal(err)
		}
	}
	a.Options = nil
	s, err := New().OpenSource(b.Context(), h.Config(b, nil), a)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	b.ResetTimer()
	for n := 0; n < b.N; {
		ds, err := s.Receive(b.Context(), batch)
		if err == nil {
			err = s.Settle(b.Context(), adapters.Accepted, ds...)
		}
		if err != nil {
			b.Fatal(err)
		}
		n += len(ds)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
