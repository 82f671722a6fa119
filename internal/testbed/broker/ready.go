package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/Azure/go-amqp"
)

// probe speaks to a broker once; nil means that it serves clients.
type probe func(ctx context.Context) error

// startTimeout bounds a start: brokers need 3 to 10 s on two idle cores.
const startTimeout = 90 * time.Second

// await repeats the probe until it succeeds, the process ends, or time is up.
func await(ctx context.Context, p *Child, try probe) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the process ended before it was ready (%v)", p.err)
		case <-ctx.Done():
			return fmt.Errorf("not ready (%w): %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// amqpReady logs in by SASL PLAIN and opens a session: headers, SASL, open and begin of AMQP 1.0
// have then gone both ways.
func amqpReady(url string) probe {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return amqpSession(ctx, url)
	}
}

func amqpSession(ctx context.Context, url string) error {
	conn, err := amqp.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.NewSession(ctx, nil)
	return err
}

// kafkaReady asks for the API versions (request key 18, version 0 of the Kafka protocol). A node
// answers only after its broker part has been unfenced by the controller.
func kafkaReady(addr string) probe {
	// length 10: api key 18, api version 0, correlation id 7, client id of length 0
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0, 0}
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp4", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		var head [10]byte // length, correlation id, error code
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		id, code := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint16(head[8:])
		if id != 7 || code != 0 {
			return fmt.Errorf("answer to ApiVersions: correlation id %d, error %d", id, code)
		}
		return nil
	}
}
