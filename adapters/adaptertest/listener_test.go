package adaptertest

import (
	"net"
	"testing"
)

// TestListenerHearsOnlyLateConnections: what was connected before the answers were held proves nothing.
func TestListenerHearsOnlyLateConnections(t *testing.T) {
	back := NewProxy(t)
	back.Refuse() // a peer that answers with the end of the connection says nothing
	silent, err := back.Relay("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	talker := newTalker(t)
	for _, c := range []struct {
		name, addr string
		late, want bool
	}{{"early", talker, false, false}, {"late", talker, true, true}, {"late and silent", silent, true, false}} {
		var l listener
		p := NewProxy(t)
		l.on.Store(c.late)
		conn, err := l.through(p.Dial)(t.Context(), "tcp", c.addr)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		l.on.Store(true)
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
		if l.heard.Load() != c.want {
			t.Errorf("%s: heard = %v", c.name, !c.want)
		}
	}
}

// newTalker serves one greeting per connection and returns its address.
func newTalker(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}
