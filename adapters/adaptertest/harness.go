package adaptertest

import (
	"context"
	"net"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// A Harness joins the suite to one adapter and one running broker. Put and Take go through the vendor's client or raw
// frames, never through the adapter under test, so that both directions are judged by somebody else.
type Harness interface {
	// Adapter returns the adapter under test.
	Adapter() adapters.Adapter

	// Config returns a working configuration whose connections all go through dial, which may be nil.
	Config(t testing.TB, dial DialFunc) adapters.Config

	// Place makes a fresh, empty, durable place at the broker and removes it when the test ends.
	Place(t testing.TB) Place

	// Put sends ms to p in order and returns when the broker has confirmed all of them.
	Put(t testing.TB, p Place, ms ...Native)

	// Take receives and removes n messages from p in order; it fails the test when they do not come within 30 seconds.
	Take(t testing.TB, p Place, n int) []Native
}

// DialFunc is the type of adapters.Config.Dial.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// A Place is one place at a broker, seen as the two ends of routes: what is sent to Target can be received from Source.
type Place struct {
	Source, Target adapters.Address
}

// Native is a message as an independent client of the broker sees it. Fields that the protocol does not have are
// ignored by Put and left empty by Take; a Take reports string ids as they are and others in the text form of
// headers.md, section 3.1.
type Native struct {
	Body     []byte
	ID       string
	Corr     string
	ReplyTo  string
	Key      []byte
	Priority *uint8
	Durable  bool
	TTL      int64 // ms, 0 = none
	Headers  []Header
}

// A Header is one property as the independent client sees it: Value is text, whatever the native type.
type Header struct{ Name, Value string }

// A Restarter is a Harness whose broker can be killed (SIGKILL) and started again with its data.
type Restarter interface {
	// KillAndRestart returns when the broker accepts clients again. The harness must own the broker alone.
	KillAndRestart(t testing.TB)
}

// A Refuser is a Harness whose broker can refuse or be full.
type Refuser interface {
	// FullPlace makes a place that is full after some messages, and the function that makes room again.
	FullPlace(t testing.TB) (p Place, makeRoom func())
	// DeniedPlace names a place that exists and that the configured user may not use.
	DeniedPlace(t testing.TB) Place
	// MissingPlace names a place that does not exist and is not made by asking for it.
	MissingPlace(t testing.TB) Place
}
