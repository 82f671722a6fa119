package adaptertest

import (
	"context"
	"net"
	"testing"
)

// Mode is what a Wire does with connections.
type Mode uint8

// The modes. A new Wire is in mode Pass.
const (
	Pass        Mode = iota // everything goes through; what was held goes on
	Stall                   // nothing is forwarded in either direction, connections stay open: a silent firewall
	Refuse                  // new connections are closed at once, those that are stay: broker down, port open
	Dribble                 // one byte at a time in both directions: every frame is split
	HoldReplies             // requests pass, answers are held; 2 s after the first request the connections are cut
)

// A Wire stands between an adapter and its broker.
type Wire interface {
	Dial(ctx context.Context, network, addr string) (net.Conn, error) // for adapters.Config.Dial
	Set(m Mode)                                                       // at once, also for what is under way
	Cut()                                                             // resets every connection; ends Stall and HoldReplies, not Refuse and Dribble
}

// A Wirer is a Harness whose broker is not reached by TCP and that brings its own Wire, one per call. Without it the
// suite uses a Proxy.
type Wirer interface {
	Wire(t testing.TB) Wire
}

func newWire(t testing.TB, h Harness) Wire {
	if w, ok := h.(Wirer); ok {
		return w.Wire(t)
	}
	return NewProxy(t)
}
