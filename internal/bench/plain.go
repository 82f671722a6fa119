package main

import (
	"context"
	"errors"
	"time"

	"github.com/Azure/go-amqp"
)

// plainLoop is the least that forwards without loss: receive, send, and accept when the target has answered, with a
// window of sends in flight. It returns messages per second.
func plainLoop(ctx context.Context, src, dst *amqpSide, n int) (float64, error) {
	rcv, err := src.session.NewReceiver(ctx, src.queue, &amqp.ReceiverOptions{Credit: window, SourceCapabilities: asQueue})
	if err != nil {
		return 0, err
	}
	defer rcv.Close(ctx)
	snd, err := dst.session.NewSender(ctx, dst.queue, &amqp.SenderOptions{TargetCapabilities: asQueue})
	if err != nil {
		return 0, err
	}
	defer snd.Close(ctx)
	type sent struct {
		m *amqp.Message
		r amqp.SendReceipt
	}
	flying := make(chan sent, window)
	done := make(chan error, 1)
	go func() {
		for s := range flying {
			if _, err := s.r.Wait(ctx); err != nil {
				done <- err
				return
			}
			if err := rcv.AcceptMessage(ctx, s.m); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	begin := time.Now()
	for range n {
		m, err := rcv.Receive(ctx, nil)
		if err != nil {
			return 0, errors.Join(err, ctx.Err())
		}
		r, err := snd.SendWithReceipt(ctx, m, nil)
		if err != nil {
			return 0, err
		}
		flying <- sent{m, r}
	}
	close(flying)
	err = <-done
	return float64(n) / time.Since(begin).Seconds(), err
}
