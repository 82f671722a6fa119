package nats

import (
	"context"
	"fmt"
	"net"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// A dialer brings Config.Dial and a context into the library, whose Connect has none: when ctx ends during the
// handshake the socket is closed, and Connect returns.
type dialer struct {
	ctx  context.Context
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	err  error
	stop func() bool
}

// Dial is called by natsgo.Connect, once, on the caller's goroutine.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	c, err := d.dial(d.ctx, network, addr)
	if err != nil {
		d.err = err
		return nil, err
	}
	d.stop = context.AfterFunc(d.ctx, func() { _ = c.Close() })
	return c, nil
}

// release ends the watch over ctx: from now on the connection belongs to its end.
func (d *dialer) release() {
	if d.stop != nil {
		d.stop()
	}
}

// identityOf is the cluster's name: its servers are one broker. A server by itself has its own.
func identityOf(nc *natsgo.Conn) string {
	if cluster := nc.ConnectedClusterName(); cluster != "" {
		return cluster
	}
	return nc.ConnectedServerName()
}

func hostOr(hostPort string) string {
	if hostPort == "in-process" {
		return "127.0.0.1:" + defaultPort // not dialled
	}
	return hostPort
}

func handshakeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("given up: %w", context.Cause(ctx))
	}
	return err
}

// dialTimeout is how long one handshake may take.
func dialTimeout(ctx context.Context) time.Duration {
	const most = 10 * time.Second
	if d, ok := ctx.Deadline(); ok {
		return max(min(most, time.Until(d)), time.Millisecond)
	}
	return most
}
