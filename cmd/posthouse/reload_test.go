package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// cli runs one command line.
func cli(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	r := posthouse(t, args...)
	return r.code, r.out, r.errs
}

const firstFile = `version: 1
brokers:
  n: { type: nats, addresses: ["nats://127.0.0.1:1"] }
spool: { dir: spool, segment_size: 64KiB }
routes:
  - { name: one, from: { broker: n, stream: IN }, to: { broker: n, subject: out.one } }
  - { name: two, from: { broker: n, stream: TWO }, to: { broker: n, subject: out.two } }
admin: { listen: 127.0.0.1:0 }
`

// diff says what a reload would do, without a daemon.
func TestDiff(t *testing.T) {
	dir := t.TempDir()
	old, new := filepath.Join(dir, "old.yaml"), filepath.Join(dir, "new.yaml")
	changed := strings.NewReplacer("out.one }", "out.one }, in_flight: 7", "name: two", "name: second, renamed_from: two", "dir: spool", "dir: else").Replace(firstFile)
	for name, text := range map[string]string{old: firstFile, new: changed} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := cli(t, "diff", old, new)
	for _, want := range []string{"changed  one: in_flight", "added    second", "renamed  two to second, which takes its spool along", "restarts one", "position second reads under its own name what two read", "[C005]", "spool.dir can only change with a restart of the daemon [C001]"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if code, out, _ := cli(t, "diff", old, old); code != 0 || out != "no difference\n" {
		t.Errorf("%d %q", code, out)
	}
	code, out, _ = cli(t, "diff", old, new, "-o", "json")
	var a struct {
		OK     bool
		Result struct {
			Changed []struct {
				Name string
				Keys []string
			}
			Process []string
			Orphans []any
		}
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 || !a.OK || len(a.Result.Changed) != 1 || a.Result.Changed[0].Name != "one" ||
		len(a.Result.Process) != 1 || a.Result.Orphans == nil {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	for _, args := range [][]string{{"diff"}, {"diff", old}, {"diff", "--running"}, {"diff", "--running", old, new}} {
		if code, _, errs := cli(t, args...); code != 2 || !strings.Contains(errs, "diff OLD NEW") {
			t.Errorf("%v: exit %d %q", args, code, errs)
		}
	}
	if code, _, _ := cli(t, "diff", old, filepath.Join(dir, "absent.yaml")); code != 3 {
		t.Errorf("an absent file: exit %d", code)
	}
}

func TestReloadWithoutDaemon(t *testing.T) {
	for _, args := range [][]string{{"reload"}, {"config", "show"}, {"config", "history"}, {"config", "rollback", "1", "--yes"}} {
		if code, out, errs := cli(t, append(args, "--admin", "127.0.0.1:1", "-o", "json")...); code != 3 || !strings.Contains(out, "E105") {
			t.Errorf("%v: exit %d %s %s", args, code, out, errs)
		}
	}
	if code, _, errs := cli(t, "config", "rollback", "x"); code != 2 || !strings.Contains(errs, "history") {
		t.Errorf("exit %d %q", code, errs)
	}
}

// A changing is a daemon whose file a test changes.
type changing struct {
	t          *testing.T
	file, addr string
	nats       string
}

// text is the file with one route, in_flight N and what more there is.
func (c *changing) text(window int, more string) string {
	return fmt.Sprintf(`version: 1
brokers:
  a: { type: nats, embedded: { dir: js, listen: %q, sync: 1s } }
routes:
  - { name: orders, in_flight: %d, from: { broker: a, stream: ORDERS, subject: orders, create: true }, to: { broker: a, subject: out, create: true } }
%sspool: { dir: spool, segment_size: 1MiB }
admin: { listen: %q, log: { level: warn } }
`, c.nats, window, more, c.addr)
}

// write replaces the file by a rename, as editors do.
func (c *changing) write(text string) {
	c.t.Helper()
	if err := os.WriteFile(c.file+".new", []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		c.t.Fatal(err)
	}
}

func (c *changing) config() configView {
	c.t.Helper()
	var v configView
	if err := ask(c.t.Context(), c.addr, "/api/v1/config", &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

func newChanging(t *testing.T) *changing {
	a, b := listen(t), listen(t)
	c := &changing{t: t, nats: a.Addr().String(), addr: b.Addr().String()}
	_ = a.Close()
	_ = b.Close()
	c.file = write(t, "topology.yaml", c.text(16, ""))
	return c
}

// The life of a file while its daemon runs: taken, refused as a whole, gone back from, by command and by signal.
func TestReloadOfADaemon(t *testing.T) {
	c := newChanging(t)
	d := start(t, c.file, c.addr)
	eventually(t, "the configuration has a number", func() bool { return c.config().Generation == 1 })
	posthouse(t, "reload", "-c", c.file).want(t, 0, "no difference", "generation 1 runs")
	c.write(c.text(8, ""))
	posthouse(t, "diff", "--running", "-c", c.file).want(t, 0, "changed  orders: in_flight", "restarts orders")
	posthouse(t, "reload", "--dry-run", "-c", c.file).want(t, 0, "changed  orders: in_flight", "nothing was changed")
	if v := c.config(); v.Generation != 1 || !v.Differs {
		t.Errorf("after a dry run: %+v", v)
	}
	posthouse(t, "reload", "-c", c.file).want(t, 0, "generation 2 runs")
	for name, bad := range map[string][2]string{
		"syntax":   {"version: 1", "version: [1"},
		"key":      {"in_flight: 8", "in_fligth: 8"},
		"embedded": {"dir: js", "dir: js2"},
		"spool":    {"dir: spool", "dir: spool2"},
		"secret":   {"embedded:", "credentials: { user: u, password: { env: NOT_THERE } }, embedded:"},
	} {
		c.write(strings.Replace(strings.Replace(c.text(8, ""), bad[0], bad[1], 1), "in_flight: 8", "in_flight: 5", 1))
		r := posthouse(t, "reload", "--admin", c.addr)
		if v := c.config(); r.code != 2 || v.Generation != 2 || !v.Differs || v.Last == nil || v.Last.OK || !strings.Contains(v.Text, "in_flight: 8") {
			t.Errorf("%s: exit %d %s, and what runs is %+v", name, r.code, r.errs, v)
		}
	}
	posthouse(t, "status", "-c", c.file, "--admin", c.addr).want(t, 0, "config 2 (", "the last reload", "was refused", "the file differs from what runs")
	c.write(c.text(8, "") + "# only a comment\n")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the signal is obeyed", func() bool { v := c.config(); return v.Generation == 3 && v.Last.OK && !v.Differs })
	posthouse(t, "config", "rollback", "1", "-c", c.file).want(t, 2, "changed  orders: in_flight", "say --yes")
	posthouse(t, "config", "rollback", "1", "--yes", "-c", c.file).want(t, 0, "generation 4 runs")
	posthouse(t, "config", "rollback", "77", "--yes", "-c", c.file).want(t, 1, "C004")
	posthouse(t, "config", "show", "2", "-c", c.file).want(t, 0, "in_flight: 8")
	posthouse(t, "config", "show", "-c", c.file).want(t, 0, "in_flight: 16")
	posthouse(t, "config", "history", "-c", c.file).want(t, 0, "start", "reload", "rollback")
	if v := c.config(); !v.Differs {
		t.Error("after going back the file is what runs")
	}
	d.stop()
	c.write(strings.Replace(c.text(3, ""), "version: 1", "version: 9", 1))
	posthouse(t, "run", "-c", c.file).want(t, 2)
	d = start(t, c.file, c.addr, "--last-good")
	eventually(t, "the last good one runs", func() bool { v := c.config(); return v.Generation == 4 && v.Differs })
	d.stop()
}

// With --watch a file is taken when it has changed, whichever way; one that is refused is tried once.
func TestWatchedFile(t *testing.T) {
	c := newChanging(t)
	d := start(t, c.file, c.addr, "--watch")
	eventually(t, "the configuration has a number", func() bool { return c.config().Generation == 1 })
	c.write(c.text(8, ""))
	eventually(t, "a renamed file is taken", func() bool { return c.config().Generation == 2 })
	if err := os.WriteFile(c.file, []byte("version: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a wrong file is refused", func() bool { v := c.config(); return v.Last != nil && !v.Last.OK && v.Differs })
	real := filepath.Join(filepath.Dir(c.file), "mounted.yaml")
	if err := os.WriteFile(real, []byte(c.text(4, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, c.file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a link to another file is taken", func() bool { v := c.config(); return v.Generation == 3 && v.Last.OK && !v.Differs })
	d.stop()
}

// Two hundred reloads under traffic lose nothing, double nothing, keep the order, and leave nothing behind.
func TestTwoHundredReloads(t *testing.T) {
	c := newChanging(t)
	d := start(t, c.file, c.addr)
	eventually(t, "the source is attached", func() bool {
		var v view
		return ask(t.Context(), c.addr, "/api/v1/status", &v) == nil && v.Routes[0].Source.State == "up" && v.Routes[0].Lanes[0].Link.State == "up" && c.config().Generation == 1
	})
	nc, err := nats.Connect("nats://" + c.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var goroutines, files int
	var memory uint64
	ctx, stop := context.WithCancel(t.Context())
	sent := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; sent++ {
			<-tick.C
			if _, err := js.Publish(t.Context(), "orders", fmt.Append(nil, sent)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 200 {
		more := ""
		if i%3 == 0 { // a route comes and goes
			more = "  - { name: more, from: { broker: a, stream: ORDERS, subject: other, create: true }, to: { broker: a, subject: out.more, create: true } }\n"
		}
		c.write(c.text(1+i%64, more))
		if r := posthouse(t, "reload", "-c", c.file); r.code != 0 {
			t.Fatalf("reload %d: %s", i, r.errs)
		}
		if i == 20 {
			goroutines, files, memory = leftovers(t)
		}
	}
	stop()
	wg.Wait()
	g, f, m := leftovers(t)
	t.Logf("%d messages; goroutines %d, then %d; descriptors %d, then %d; memory %d KiB, then %d KiB", sent, goroutines, g, files, f, memory>>10, m>>10)
	if g > goroutines+20 || f > files+5 || m > memory+16<<20 {
		t.Error("180 reloads have left something behind")
	}
	arrived(t, js, sent)
	d.stop()
}

// leftovers are the goroutines, descriptors and bytes that are in use.
func leftovers(t *testing.T) (goroutines, files int, memory uint64) {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return runtime.NumGoroutine(), len(es), m.HeapAlloc
}

// arrived checks that the stream of the target has 0 to sent-1 in their order, each once.
func arrived(t *testing.T, js jetstream.JetStream, sent int) {
	t.Helper()
	name, err := js.StreamNameBySubject(t.Context(), "out")
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have arrived", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs >= uint64(sent)
	})
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != uint64(sent) {
		t.Errorf("%d messages for %d: %v", info.State.Msgs, sent, err)
	}
	con, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < sent; {
		ms, err := con.Fetch(min(500, sent-i), jetstream.FetchMaxWait(10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range ms.Messages() {
			if string(m.Data()) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, m.Data())
			}
			i++
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
