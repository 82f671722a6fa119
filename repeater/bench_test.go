package repeater_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// BenchmarkForward is what the engine itself costs for a message of 1 KiB: its brokers are in memory.
func BenchmarkForward(b *testing.B) {
	from, to := mem.NewBroker("a", mem.Options{}), mem.NewBroker("b", mem.Options{})
	table := &routes.Table{Brokers: map[string]*routes.Broker{}}
	for _, n := range []string{"a", "b"} {
		table.Brokers[n] = &routes.Broker{Name: n, Kind: "mem", Config: adapters.Config{Name: n, Addresses: []string{n}}}
	}
	table.Routes = []*routes.Route{{
		Name: "r", From: addr([2]string{"a", "in"}), To: []routes.Target{{Name: "b", Addr: addr([2]string{"b", "out"})}},
		Enabled: true, Prefetch: 256, PrefetchSize: 64 << 20, InFlight: 256, MaxHops: 8, MaxMessageSize: 1 << 20,
		Batch: routes.Batch{Count: 128, Size: 1 << 20},
	}}
	m := message(1)
	m.Body.Data = make([]byte, 1024)
	ms := make([]*adapters.Message, 256)
	for i := range ms {
		ms[i] = m
	}
	rep, err := repeater.New(table, routes.Kinds{"mem": mem.New(from, to)}, repeater.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- rep.Run(ctx) }()
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(ms) {
		from.Put("in", ms...)
		if _, err := to.Take(ctx, "out", len(ms)); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-done
}
