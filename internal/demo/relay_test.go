package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// echoes is a server that sends back what it gets, until the test ends.
func echoes(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	return ln.Addr().String()
}

func relayTo(t *testing.T, addr string) *relay {
	t.Helper()
	r, err := openRelay(addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func dial(t *testing.T, r *relay) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantEcho sends b and wants it back.
func wantEcho(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	go func() { _, _ = c.Write(b) }()
	got := make([]byte, len(b))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("echo of %d bytes: %v, equal: %t", len(b), err, bytes.Equal(got, b))
	}
}

func wantEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want the end of the connection", n, err)
	}
}

// wantNoLine: the port is there, but a connection ends at once, maybe before Dial has returned.
func wantNoLine(t *testing.T, r *relay) {
	t.Helper()
	c, err := net.Dial("tcp", r.addr())
	switch {
	case err == nil:
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		wantEnd(t, c)
	case !errors.Is(err, syscall.ECONNRESET):
		t.Fatalf("%v, want a reset", err)
	}
}

func TestRelayPassesUntilCutAndAfterRestore(t *testing.T) {
	r := relayTo(t, echoes(t))
	one, two := dial(t, r), dial(t, r)
	wantEcho(t, one, bytes.Repeat([]byte("0123456789"), 100_000))
	wantEcho(t, two, []byte("x"))
	idle := r.idle()
	select {
	case <-idle:
		t.Error("idle with two connections")
	default:
	}
	r.cut()
	<-idle
	<-r.idle()
	for _, c := range []net.Conn{one, two} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
	}
	wantNoLine(t, r)
	r.restore()
	wantEcho(t, dial(t, r), []byte("again"))
}

func TestRelayTellsBothSidesOfAnEnd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := relayTo(t, ln.Addr().String())
	for _, nearFirst := range []bool{true, false} {
		near := dial(t, r)
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = far.SetDeadline(time.Now().Add(time.Minute))
		if nearFirst {
			near, far = far, near
		}
		if _, err := far.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		if got, err := io.ReadAll(near); err != nil || string(got) != "last words" {
			t.Errorf("%q, %v; want the last words and an orderly end", got, err)
		}
		_ = near.Close()
	}
}

func TestRelayToNowhereAndClosedTwice(t *testing.T) {
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	r := relayTo(t, addr)
	wantNoLine(t, r)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", r.addr()); err == nil {
		_ = c.Close()
		t.Error("a closed relay still listens")
	}
}

func TestRelayHasASpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{speed: 1000}
		begin, free := time.Now(), time.Time{}
		for range 100 {
			free = r.carry(t.Context(), free, 50)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("5000 bytes at 1000 a second took %v", took)
		}
		for range 100 {
			<-time.After(time.Second) // a line that was idle has saved nothing up
			free = r.carry(t.Context(), free, 500)
		}
		if took := time.Since(begin); took != 5*time.Second+150*time.Second {
			t.Errorf("100 times 500 bytes with pauses were done after %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin = time.Now()
		r.carry(ctx, time.Time{}, 1_000_000)
		if took := time.Since(begin); took != 0 {
			t.Errorf("a line that has ended held its sender up for %v", took)
		}
	})
}
