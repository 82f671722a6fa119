package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// roundTrip is what the proxy adds.
const roundTrip = 50 * time.Millisecond

// farSettings are a route's for that.
const farSettings = "    prefetch: 8192\n    in_flight: 4096\n"

type benchCase struct {
	name string
	run  func(context.Context) error
}

func (b *bench) cases() []benchCase {
	artemis := func(name string) func(context.Context) (side, error) {
		return func(ctx context.Context) (side, error) { return openAMQP(ctx, name) }
	}
	kafka := func(ctx context.Context) (side, error) { return openKafka(ctx) }
	nats := func(ctx context.Context) (side, error) { return openNATS(ctx, b.dir) }
	pair := func(name string, from, to func(context.Context) (side, error)) benchCase {
		return benchCase{name, func(ctx context.Context) error { return b.pair(ctx, name, from, to) }}
	}
	return []benchCase{
		pair("amqp-amqp", artemis(broker.Artemis), artemis(broker.Artemis2)),
		pair("kafka-kafka", kafka, kafka),
		pair("amqp-kafka", artemis(broker.Artemis), kafka),
		pair("nats-nats", nats, nats),
		{"amqp-amqp plain loop", b.plain},
		{"amqp-amqp round trip", func(ctx context.Context) error {
			return b.far(ctx, "amqp-amqp round trip", func(ctx context.Context) (side, distant, error) { return b.sites(ctx) })
		}},
		{"nats-nats round trip", func(ctx context.Context) error {
			return b.far(ctx, "nats-nats round trip", func(ctx context.Context) (src side, dst distant, err error) {
				if src, err = openNATS(ctx, b.dir); err == nil {
					dst, err = openNATS(ctx, b.dir)
				}
				return src, dst, err
			})
		}},
		{"amqp-amqp 1 MiB", b.large},
		{"request-reply", b.requestReply},
	}
}

func (b *bench) topology(from, to side, settings string) string {
	a, source, _ := from.yaml()
	z, _, target := to.yaml()
	return fmt.Sprintf("version: 1\nbrokers:\n  a: %s\n  b: %s\nroutes:\n  - name: bench\n    from: { broker: a, %s }\n    to: { broker: b, %s }\n%s",
		a, z, source, target, settings)
}

// kib is the body of an ordinary message; it begins with the time at which it was made.
func kib(int) []byte {
	b := make([]byte, 1024)
	binary.BigEndian.PutUint64(b, uint64(time.Now().UnixNano()))
	return b
}

// pair measures the throughput of a loaded source, and the latency of a paced one.
func (b *bench) pair(ctx context.Context, name string, from, to func(context.Context) (side, error)) error {
	f, err := b.through(ctx, from, to, b.count, kib, "")
	if err != nil {
		return err
	}
	p50, p99, err := b.latency(ctx, from, to)
	if err != nil {
		return err
	}
	fmt.Printf("%-22s %9.0f %11.1f %10.0f %9.0f %9.2f %9.2f\n", name, f.rate, f.cpu, f.allocs, f.peak, ms(p50), ms(p99))
	b.below("peak MiB of the daemon, "+name+", 1 KiB messages", f.peak, 100)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// through loads n messages at the source and measures their way through a daemon.
func (b *bench) through(ctx context.Context, from, to func(context.Context) (side, error), n int, body func(int) []byte, settings string) (f figure, err error) {
	src, err := from(ctx)
	if err != nil {
		return f, err
	}
	defer src.close()
	dst, err := to(ctx)
	if err != nil {
		return f, err
	}
	defer dst.close()
	return b.between(ctx, src, dst, n, body, settings)
}

func (b *bench) between(ctx context.Context, src, dst side, n int, body func(int) []byte, settings string) (f figure, err error) {
	if err = src.load(ctx, n, body, 0); err != nil {
		return f, fmt.Errorf("load the source: %w", err)
	}
	d, err := b.daemon(ctx, b.topology(src, dst, settings))
	if err != nil {
		return f, err
	}
	if f, err = d.forward(ctx, n); err != nil {
		_ = d.stop() // the first error counts
		return f, err
	}
	if err = d.stop(); err != nil {
		return f, err
	}
	arrived := 0
	return f, dst.watch(ctx, n, func([]byte) { arrived++ }) // every one is there, or this never ends
}

// latency sends 500 messages a second for six seconds and measures from send to arrival at an independent client.
func (b *bench) latency(ctx context.Context, from, to func(context.Context) (side, error)) (p50, p99 time.Duration, err error) {
	const n = 3000
	src, err := from(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer src.close()
	dst, err := to(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer dst.close()
	d, err := b.daemon(ctx, b.topology(src, dst, ""))
	if err != nil {
		return 0, 0, err
	}
	defer d.stop()
	var took []time.Duration
	done := make(chan error, 1)
	go func() {
		done <- dst.watch(ctx, n, func(body []byte) {
			took = append(took, time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(body)))))
		})
	}()
	if err := src.load(ctx, n, kib, 2*time.Millisecond); err != nil {
		return 0, 0, err
	}
	if err := <-done; err != nil {
		return 0, 0, err
	}
	took = took[n/10:] // the start is about attaching
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], nil
}

// window is the same for the daemon and the plain loop.
const window = 256

// plain compares the daemon with a receive-and-forward loop on the same client library, alternating. The first round
// warms the brokers up and does not count.
func (b *bench) plain(ctx context.Context) error {
	var ours, theirs []float64
	for range 4 {
		loop, daemon, err := b.plainRound(ctx)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, daemon), append(theirs, loop)
	}
	ours, theirs = ours[1:], theirs[1:]
	daemon, loop := median(ours), median(theirs)
	fmt.Printf("%-22s daemon %.0f msg/s, plain loop %.0f msg/s\n", "plain loop", daemon, loop)
	b.atLeast("amqp-amqp: daemon / plain go-amqp loop, window 256, medians of 3", daemon/loop, 0.8)
	return nil
}

// plainRound returns the messages per second of the plain loop and of the daemon.
func (b *bench) plainRound(ctx context.Context) (loop, daemon float64, err error) {
	settings := fmt.Sprintf("    prefetch: %d\n    in_flight: %d\n", window, window)
	src, dst, err := b.sites(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer src.close()
	defer dst.close()
	if err := src.load(ctx, b.count, kib, 0); err != nil {
		return 0, 0, err
	}
	if loop, err = plainLoop(ctx, src, dst, b.count); err != nil {
		return 0, 0, err
	}
	if err := dst.watch(ctx, b.count, func([]byte) {}); err != nil { // leave nothing behind
		return 0, 0, err
	}
	for _, s := range []*amqpSide{src, dst} {
		if err := s.drop(ctx); err != nil {
			return 0, 0, err
		}
		s.queue = fresh("bench")
	}
	f, err := b.between(ctx, src, dst, b.count, kib, settings)
	return loop, f.rate, err
}

func (b *bench) sites(ctx context.Context) (src, dst *amqpSide, err error) {
	if src, err = openAMQP(ctx, broker.Artemis); err != nil {
		return nil, nil, err
	}
	dst, err = openAMQP(ctx, broker.Artemis2)
	return src, dst, err
}

// far compares a lane with and without a round trip of 50 ms to its target, alternating. The first of each does not count.
func (b *bench) far(ctx context.Context, name string, open func(context.Context) (src side, dst distant, err error)) error {
	proxy, err := adaptertest.OpenProxy()
	if err != nil {
		return err
	}
	defer proxy.Close()
	var rates [2][]float64
	for i := range 8 {
		proxy.SetLatency(time.Duration(i%2) * roundTrip / 2)
		rate, err := b.farRound(ctx, proxy, open)
		if err != nil {
			return err
		}
		rates[i%2] = append(rates[i%2], rate)
	}
	near, distance := median(rates[0][1:]), median(rates[1][1:])
	fmt.Printf("%-22s near %.0f msg/s, 50 ms away %.0f msg/s\n", name, near, distance)
	b.atLeast(name+": rate with 50 ms round trip / without, medians of 3", distance/near, 0.7)
	return nil
}

func median(fs []float64) float64 {
	slices.Sort(fs)
	return fs[len(fs)/2]
}

func (b *bench) farRound(ctx context.Context, proxy *adaptertest.Proxy, open func(context.Context) (side, distant, error)) (float64, error) {
	src, dst, err := open(ctx)
	if err != nil {
		return 0, err
	}
	defer src.close()
	defer dst.close()
	if err := dst.through(proxy); err != nil {
		return 0, err
	}
	f, err := b.between(ctx, src, dst, b.count, kib, farSettings)
	return f.rate, err
}

// large measures the memory of messages of 1 MiB.
func (b *bench) large(ctx context.Context) error {
	const prefetched = 32 // MiB
	body := func(int) []byte { return make([]byte, 1<<20) }
	src, dst, err := b.sites(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	defer dst.close()
	f, err := b.between(ctx, src, dst, 300, body, fmt.Sprintf("    prefetch_size: %dMiB\n", prefetched))
	if err != nil {
		return err
	}
	fmt.Printf("%-22s %9.0f %11.1f %10.0f %9.0f\n", "amqp-amqp 1 MiB", f.rate, f.cpu, f.allocs, f.peak)
	b.below("peak MiB of the daemon, 1 MiB messages, prefetch_size 32MiB", f.peak, prefetched+100)
	return nil
}
