package main

import (
	"context"
	"fmt"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A promisedSide says what exactly-once needs of its end.
type promisedSide interface {
	side
	identify() // its deliveries are to be known by their ids
}

// once compares exactly-once with at-least-once on the same pair of brokers, in turns. The first turn does not count.
func (b *bench) once(ctx context.Context, name string, most float64, open func(context.Context) (promisedSide, side, error)) error {
	var rates [2][]float64
	for turn := range b.turns + 1 {
		var got [2]float64
		for i, delivery := range []string{"at-least-once", "exactly-once"} {
			rate, err := b.promised(ctx, delivery, open)
			if err != nil {
				return fmt.Errorf("%s: %w", delivery, err)
			}
			got[i] = rate
		}
		fmt.Printf("%s, turn %d: at-least-once %.0f msg/s, exactly-once %.0f\n", name, turn, got[0], got[1])
		if turn > 0 {
			rates[0], rates[1] = append(rates[0], got[0]), append(rates[1], got[1])
		}
	}
	b.atLeast(fmt.Sprintf("%s, 1 KiB: exactly-once / at-least-once, medians of %d", name, b.turns), median(rates[1])/median(rates[0]), 1-most)
	return nil
}

// promised measures a loaded source under one promise, at an independent reader of committed messages: between the tenth
// part and the end, for the first transaction arrives as one.
func (b *bench) promised(ctx context.Context, delivery string, open func(context.Context) (promisedSide, side, error)) (rate float64, err error) {
	src, dst, err := open(ctx)
	if err != nil {
		return 0, err
	}
	defer src.close()
	defer dst.close()
	if err := src.load(ctx, b.count, plainKiB, 0); err != nil {
		return 0, err
	}
	src.identify()
	d, end, err := b.spooled(ctx, src, dst, "auto", "always", "    delivery: "+delivery+"\n")
	if err != nil {
		return 0, err
	}
	defer func() { err = firstOf(err, end()) }()
	var begin time.Time
	from := b.count / 10
	_, err = arrivalsIn(ctx, dst, b.count, func(count int) {
		if count == from {
			begin = time.Now()
		}
	})
	if err != nil {
		return 0, err
	}
	rate = float64(b.count-from) / time.Since(begin).Seconds()
	return rate, d.until(ctx, onlyLane, "passes", passes)
}

func (b *bench) onceCases() []benchCase {
	return []benchCase{
		{"once kafka", func(ctx context.Context) error {
			return b.once(ctx, "kafka-kafka", 0.35, func(ctx context.Context) (promisedSide, side, error) {
				src, err := openKafka(ctx)
				if err != nil {
					return nil, nil, err
				}
				dst, err := openKafka(ctx)
				return src, dst, err
			})
		}},
		{"once amqp", func(ctx context.Context) error {
			return b.once(ctx, "amqp-amqp", 0.15, func(ctx context.Context) (promisedSide, side, error) {
				src, err := openAMQP(ctx, broker.Artemis)
				if err != nil {
					return nil, nil, err
				}
				dst, err := openAMQP(ctx, broker.Artemis2)
				return src, dst, err
			})
		}},
	}
}
