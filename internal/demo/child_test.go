package demo

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test's own program be the processes that the tests need.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && !strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(actor(os.Args[1], os.Args[2]))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if workshop != "" {
			_ = os.RemoveAll(workshop)
		}
		os.Exit(code)
	}))
}

// actor plays a process that ends by itself, or on SIGTERM, or not even then; or one that has such a child. It says so
// with a connection to addr, which breaks when it dies.
func actor(part, addr string) int {
	if part == "ends" {
		fmt.Println("one\ntwo\nthree")
		return 3
	}
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	if part == "parent" {
		if _, err := startChild([]string{os.Args[0], "stubborn", addr}, "file", os.DevNull); err != nil {
			return 1
		}
	} else if _, err := net.Dial("tcp", addr); err != nil {
		return 1
	}
	<-terms
	if part == "stubborn" || part == "parent" {
		select {}
	}
	return 0
}

// act starts an actor as the demo starts its repeater and waits for its connection.
func act(t *testing.T, part string) (*child, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	log := filepath.Join(t.TempDir(), "log")
	c, err := startChild([]string{os.Args[0], part, ln.Addr().String()}, "file", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.kill() })
	if part == "ends" {
		return c, nil
	}
	return c, accept(t, ln)
}

func accept(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

func TestChildStopsInOrder(t *testing.T) {
	c, conn := act(t, "orderly")
	if err := c.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	wantEnd(t, conn)
	if err := c.kill(); err != nil {
		t.Errorf("kill of a process that is gone: %v", err)
	}
	if err := c.stop(); err != nil {
		t.Errorf("stop of a process that is gone: %v", err)
	}
}

func TestChildIsKilled(t *testing.T) {
	c, conn := act(t, "stubborn")
	if err := c.kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	wantEnd(t, conn)
	if got := c.unexpected().Error(); !strings.Contains(got, "signal: killed") {
		t.Errorf("it ended with %q", got)
	}
}

func TestChildThatEndsByItselfLeavesItsLastWords(t *testing.T) {
	c, _ := act(t, "ends")
	<-c.ended
	if got := c.unexpected().Error(); !strings.HasSuffix(got, "ended by itself: exit status 3; its last words:\n  one\n  two\n  three") {
		t.Errorf("it says %q", got)
	}
	if err := c.stop(); err == nil {
		t.Error("stopped well, though it had failed before")
	}
	if got := tail(c.log, 2); got != "  two\n  three" {
		t.Errorf("tail: %q", got)
	}
	if got := tail(filepath.Join(t.TempDir(), "absent"), 2); !strings.Contains(got, "absent") {
		t.Errorf("tail of nothing: %q", got)
	}
}

func TestChildThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	if _, err := startChild([]string{filepath.Join(dir, "absent")}, "f", filepath.Join(dir, "log")); err == nil {
		t.Error("started what is not there")
	}
	if _, err := startChild([]string{os.Args[0]}, "f", filepath.Join(dir, "absent", "log")); err == nil {
		t.Error("started without a log")
	}
}

// A demo that is killed itself cannot clean up; the system does it.
func TestChildDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux offers it")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	parent := exec.Command(os.Args[0], "parent", ln.Addr().String())
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	conn := accept(t, ln) // of the child
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	wantEnd(t, conn)
}
