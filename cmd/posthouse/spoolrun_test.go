package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// A running daemon of a test.
type running struct {
	stop func() result // ends it, once
}

// start runs the daemon of file in this process, until its admin port answers.
func start(t *testing.T, file, addr string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var out, errs bytes.Buffer
	done := make(chan int, 1)
	go func() {
		root := rootCommand()
		root.SetArgs(append([]string{"run", "-c", file}, args...))
		root.SetOut(&out)
		root.SetErr(&errs)
		err := root.ExecuteContext(ctx)
		if err != nil {
			fmt.Fprintln(&errs, err)
		}
		var e *exitError
		switch {
		case err == nil:
			done <- 0
		case errors.As(err, &e):
			done <- e.code
		default:
			done <- exitConfig
		}
	}()
	r := &running{sync.OnceValue(func() result {
		cancel()
		return result{<-done, out.String(), errs.String()}
	})}
	t.Cleanup(func() { r.stop() })
	eventually(t, "the daemon answers", func() bool {
		select {
		case code := <-done:
			done <- code
			t.Fatalf("the daemon has ended with %d: %s", code, errs.String())
		default:
		}
		var v view
		return ask(t.Context(), addr, "/api/v1/status", &v) == nil && v.Spool.State != "opening"
	})
	return r
}

// eventually waits until is returns true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not happen that %s", what)
		}
	}
}

// away is a file whose target is away, and the address of its daemon. The source listens.
func away(t *testing.T, route string) (file, addr string) {
	t.Helper()
	var free []string
	for range 3 {
		ln := listen(t)
		free = append(free, ln.Addr().String())
		defer func() { _ = ln.Close() }()
	}
	return write(t, "topology.yaml", `version: 1
brokers:
  a: { type: nats, embedded: { dir: js, listen: "`+free[0]+`" } }
  b: { type: nats, addresses: ["nats://`+free[1]+`"] }
routes:
  - { name: `+route+`, from: { broker: a, stream: ORDERS, subject: orders, create: true }, to: { broker: b, subject: x } }
spool: { dir: spool, segment_size: 1MiB }
admin: { listen: "`+free[2]+`", log: { level: warn } }
`), free[2]
}

// spooled is how many messages a lane has, as spool ls says.
func spooled(t *testing.T, file, from, lane string) int64 {
	t.Helper()
	r := posthouse(t, "spool", "ls", "-c", file, "-o", "json")
	var l listing
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool ls", ""), &l); err != nil || !strings.HasPrefix(l.From, from) {
		t.Fatalf("%v, want it from a %s: %s", err, from, r.out)
	}
	for _, x := range l.Lanes {
		if x.Name == lane {
			return x.Messages
		}
	}
	return -1
}

// TestSpoolOfADaemon: a daemon spools while its target is away; the tools say so while it runs and after it has ended;
// then the route goes, and its lane is an orphan that can be purged.
func TestSpoolOfADaemon(t *testing.T) {
	file, addr := away(t, "orders")
	d := start(t, file, addr)
	eventually(t, "the source is attached", func() bool {
		var v view
		return ask(t.Context(), addr, "/api/v1/status", &v) == nil && v.Routes[0].Source.State == "up"
	})
	for i := range 3 {
		posthouse(t, "send", "-c", file, "a/orders", fmt.Sprint("canary-", i)).want(t, 0, "1 of 1 messages confirmed")
	}
	eventually(t, "three messages are spooled", func() bool { return spooled(t, file, "daemon", "orders/b") == 3 })
	posthouse(t, "status", "-c", file).want(t, 0, "orders/b     spooling", "target of orders/b (b/x) is down since ")
	posthouse(t, "spool", "verify", "-c", file).want(t, 3, fmt.Sprintf("spool in use by pid %d (since ", os.Getpid()), "[E101]")
	posthouse(t, "run", "-c", file).want(t, 3, "address already in use")
	d.stop().want(t, 0)
	if n := spooled(t, file, "journal", "orders/b"); n != 3 {
		t.Errorf("%d messages in the closed journal, want 3", n)
	}
	posthouse(t, "spool", "export", "-c", file, "orders/b").want(t, 0, `"body":"canary-0"`, `"body":"canary-2"`, `"posthouse_id":"`)

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("name: orders"), []byte("name: other"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	d = start(t, file, addr)
	posthouse(t, "spool", "orphans", "-c", file).want(t, 0, "3 messages in 1 orphan, from the running daemon "+addr, "orders/b")
	posthouse(t, "status", "-c", file).want(t, 0, "orphan orders/b: 3 messages")
	d.stop().want(t, 0)
	posthouse(t, "spool", "purge", "-c", file, "orders/b", "--reason", "test", "--yes").want(t, 0, "3 messages of lane orders/b (")
	posthouse(t, "spool", "orphans", "-c", file).want(t, 0, "0 messages in 0 orphans")
}

// TestRunWithForeignSpool: a copy is refused until somebody says that it is meant.
func TestRunWithForeignSpool(t *testing.T) {
	file, addr := away(t, "orders")
	dir := filepath.Join(filepath.Dir(file), "spool", "posthouse")
	fill(t, dir, "elsewhere", 2, "orders/b")
	posthouse(t, "run", "-c", file).want(t, 3, "spool "+dir+" belongs to another host or repeater", "[E108]", "start once with --accept-epoch")
	start(t, file, addr, "--accept-epoch").stop().want(t, 0)
	start(t, file, addr).stop().want(t, 0) // it is this host's from now on
	if n := spooled(t, file, "journal", "orders/b"); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

// TestStoppedWhileStarting: a stop that comes before everything runs is a stop like any other.
func TestStoppedWhileStarting(t *testing.T) {
	file, _ := away(t, "orders")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := rootCommand()
	root.SetArgs([]string{"run", "-c", file})
	root.SetErr(new(bytes.Buffer))
	if err := root.ExecuteContext(ctx); err != nil {
		t.Error(err)
	}
}

// TestRunWithNewerSpool: a journal of a newer format is left alone.
func TestRunWithNewerSpool(t *testing.T) {
	file, _ := away(t, "orders")
	dir := filepath.Join(filepath.Dir(file), "spool", "posthouse")
	fill(t, dir, "", 1, "orders/b")
	segments, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range [][]byte{b[:512], b[4096 : 4096+512]} { // as FORMAT.md draws them
			binary.LittleEndian.PutUint32(h[8:], 1000)
			binary.LittleEndian.PutUint32(h[508:], crc32.Checksum(h[:508], crc32.MakeTable(crc32.Castagnoli)))
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"run", "-c", file}, {"spool", "verify", "-c", file}, {"spool", "purge", "-c", file, "orders/b", "--force", "--yes", "--reason", "x"}} {
		posthouse(t, args...).want(t, 3, "has version 1000", "[E107]", "use the version of posthouse that wrote it, or a newer one")
	}
}

// TestRunWithoutRoomForASpool: a directory that cannot be made.
func TestRunWithoutRoomForASpool(t *testing.T) {
	file, _ := away(t, "orders")
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "spool"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	posthouse(t, "run", "-c", file).want(t, 3, "cannot be made", "[E103]")
}

// TestSpoolAdvice: each cause has its code and says what to do; what is not about the journal is left as it is.
func TestSpoolAdvice(t *testing.T) {
	since := time.Now().Truncate(time.Second)
	for _, c := range []struct {
		err        error
		code, says string
	}{
		{&vfs.HeldError{Holder: "process 812 since " + since.UTC().Format(time.RFC3339)}, "E101", "spool in use by pid 812 (since " + since.Local().Format("15:04") + ")"},
		{&vfs.HeldError{Holder: "process 812 since 2020-01-02T03:04:05Z"}, "E101", "pid 812 (since " + time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC).Local().Format("2006-01-02 15:04") + ")"},
		{&vfs.HeldError{Holder: "process 812 since ever"}, "E101", "spool in use by pid 812 ["},
		{&vfs.HeldError{Holder: ""}, "E101", "spool in use by another process ["},
		{spool.ErrVersion, "E107", "newer"},
		{spool.ErrOwner, "E108", "--accept-epoch"},
		{syscall.ENOSPC, "E106", "free some space"},
		{syscall.EDQUOT, "E106", "free some space"},
		{&fs.PathError{Op: "open", Path: "lock", Err: syscall.EACCES}, "E103", "chown USER /d"},
		{syscall.EROFS, "E103", "not writable"},
		{syscall.ENOTDIR, "E103", "cannot be made"},
	} {
		err := spoolError(fmt.Errorf("open journal: %w", c.err), "/d")
		var e *exitError
		var a *advised
		if !errors.As(err, &e) || !errors.As(err, &a) || e.code != exitEnvironment || a.Code != c.code || !strings.Contains(err.Error(), c.says) || a.Help == "" || !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
		if text, ok := explainEnvironment(strings.ToLower(c.code)); !ok || !strings.HasPrefix(text, c.code+": ") {
			t.Errorf("%s is not explained", c.code)
		}
	}
	if err := spoolError(errors.New("other"), "/d"); err != nil {
		t.Error(err)
	}
}

func TestExplainMore(t *testing.T) {
	t.Setenv("POSTHOUSE_CONFIG", "")
	file, _ := kept(t)
	for code := range environmentCodes() {
		posthouse(t, "explain", strings.ToLower(code)).want(t, 0, code+": ")
	}
	posthouse(t, "explain", "P005").want(t, 0, "The file has no spool.")
	posthouse(t, "explain", "-c", file, "orders").want(t, 0, "route orders ("+file+":6)", "  spool            auto: while the target is away", filepath.Join("spool", "posthouse")+"\n")
	posthouse(t, "explain", "-c", file, "--repeater", "paris", "orders").want(t, 0, filepath.Join("spool", "paris")+"\n")
	posthouse(t, "explain", "-c", file, "absent").want(t, 2, `no code or route "absent"`, "orders, off")
	posthouse(t, "explain", "orders").want(t, 2, "a route needs -c FILE")
	posthouse(t, "explain", "-c", "absent.yaml", "orders").want(t, 3, "absent.yaml")
}
