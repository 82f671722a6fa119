package scale

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

var (
	routeCount = flag.Int("routes", 500, "how many routes")
	binary     = flag.String("posthouse", "", "measure this program instead of the one of this tree")
	linger     = flag.Duration("linger", 0, "measure the memory so long after the start")
)

const (
	brokerCount = 20

	// patience bounds every wait for an event. It decides nothing but when a broken test gives up.
	patience = 2 * time.Minute
)

func TestMain(m *testing.M) {
	if what := os.Getenv(serversEnv); what != "" { // this is not a test, but the brokers of one
		if err := serve(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// topology has n routes, each from one broker to the next.
func topology(at []string, n int, dir string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "version: 1\nspool: { dir: %s }\nadmin: { listen: 127.0.0.1:0 }\nbrokers:\n", dir)
	for i, a := range at {
		fmt.Fprintf(&b, "  b%02d: { type: nats, addresses: [\"nats://%s\"] }\n", i, a)
	}
	b.WriteString("routes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { name: r%05d, from: { broker: b%02d, stream: in, subject: in.%05d }, to: { broker: b%02d, subject: out.%05d } }\n",
			i, i%len(at), i, (i+1)%len(at), i)
	}
	return b.Bytes()
}

func program(t *testing.T) string {
	t.Helper()
	if *binary != "" {
		return *binary
	}
	path := filepath.Join(t.TempDir(), "posthouse")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/posthouse").CombinedOutput(); err != nil {
		t.Fatalf("build posthouse: %v\n%s", err, out)
	}
	return path
}

// A daemon is a running posthouse whose log is counted.
type daemon struct {
	child *broker.Child
	pid   int
	begun time.Time

	mu    sync.Mutex
	admin string
	ups   int
	other []string // lines of warnings and errors, the last ones
	seen  chan struct{}
}

func start(t *testing.T, path, file string) *daemon {
	t.Helper()
	cmd := exec.Command(path, "run", "-c", file)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{begun: time.Now(), seen: make(chan struct{}, 1)}
	if d.child, err = broker.StartChild(cmd); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	t.Cleanup(func() {
		d.child.SignalGroup(syscall.SIGKILL)
		<-d.child.Done()
	})
	go d.read(stderr)
	return d
}

func (d *daemon) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		d.mu.Lock()
		switch line := sc.Bytes(); {
		case bytes.Contains(line, []byte(`"link is up"`)):
			d.ups++
		case bytes.Contains(line, []byte(`"admin"`)):
			var l struct{ Admin string }
			_ = json.Unmarshal(line, &l) // checked by whoever needs it
			d.admin = l.Admin
		case !bytes.Contains(line, []byte(`"INFO"`)):
			d.other = append(d.other[max(0, len(d.other)-20):], string(line))
		}
		d.mu.Unlock()
		select {
		case d.seen <- struct{}{}:
		default:
		}
	}
}

// attached waits until n ends have said that they are up, and returns how long that took since the start.
func (d *daemon) attached(t *testing.T, n int) time.Duration {
	t.Helper()
	late := time.After(patience)
	for {
		d.mu.Lock()
		ups, other := d.ups, strings.Join(d.other, "\n")
		d.mu.Unlock()
		if ups >= n {
			return time.Since(d.begun)
		}
		select {
		case <-d.seen:
		case <-d.child.Done():
			t.Fatalf("the daemon ended by itself, exit code %d, %d of %d ends up\n%s", d.child.ExitCode(), ups, n, other)
		case <-late:
			t.Fatalf("only %d of %d ends are up\n%s", ups, n, other)
		}
	}
}

func (d *daemon) stop(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	d.child.SignalGroup(syscall.SIGTERM)
	select {
	case <-d.child.Done():
	case <-time.After(patience):
		t.Fatal("the daemon does not end")
	}
	if code := d.child.ExitCode(); code != 0 {
		t.Errorf("the daemon ended with exit code %d", code)
	}
	return time.Since(begun)
}

// get reads a page of the daemon's admin interface.
func (d *daemon) get(t *testing.T, path string) []byte {
	t.Helper()
	d.mu.Lock()
	admin := d.admin
	d.mu.Unlock()
	resp, err := http.Get("http://" + admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v", path, resp.Status, err)
	}
	return page
}

// metric is the value of a metric without labels.
func metric(page []byte, name string) float64 {
	for line := range strings.SplitSeq(string(page), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, _ := strconv.ParseFloat(value, 64)
			return f
		}
	}
	return -1
}

// sockets counts the TCP connections of the process that are established.
func (d *daemon) sockets(t *testing.T) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", d.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// resident is the resident memory of the process in bytes.
func (d *daemon) resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("no resident memory in /proc")
	return 0
}

// ready waits until the daemon says so, and returns how long that took since the start.
func (d *daemon) ready(t *testing.T) time.Duration {
	t.Helper()
	late := time.After(patience)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		d.mu.Lock()
		admin := d.admin
		d.mu.Unlock()
		if admin != "" {
			if resp, err := http.Get("http://" + admin + "/readyz"); err == nil {
				_ = resp.Body.Close() // what it says beside is of no interest
				if resp.StatusCode == http.StatusOK {
					return time.Since(d.begun)
				}
			}
		}
		select {
		case <-look.C:
		case <-d.child.Done():
			t.Fatalf("the daemon ended by itself, exit code %d", d.child.ExitCode())
		case <-late:
			t.Fatal("the daemon does not get ready")
		}
	}
}

// lineUps is how many ends have said that they are up.
func (d *daemon) lineUps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ups
}

// reload lets the daemon take the file anew, and compares how many routes were restarted with want.
func (d *daemon) reload(t *testing.T, path, file, what string, want int) {
	t.Helper()
	d.mu.Lock()
	admin, ups := d.admin, d.ups
	d.mu.Unlock()
	begun := time.Now()
	out, err := exec.Command(path, "reload", "-c", file, "--admin", admin, "-o", "json").CombinedOutput()
	took := time.Since(begun)
	var a struct {
		Result struct {
			Restarted []string `json:"restarted"`
		} `json:"result"`
	}
	if err != nil || json.Unmarshal(out, &a) != nil {
		t.Fatalf("reload, %s: %v\n%.1000s", what, err, out)
	}
	if got := len(a.Result.Restarted); got != want {
		t.Errorf("reload, %s: %d routes restarted, want %d", what, got, want)
	}
	d.attached(t, ups+2*want)
	t.Logf("reload, %s: %v, all attached again after %v", what, took.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
}

// What a route may take: the goroutines and the memory are bounds against a relapse, the sockets are exact, two for each
// broker (docs/benchmarks.md has the figures).
const (
	routineBound = 4        // goroutines of a route
	routeBound   = 60 << 10 // bytes of a route, resident, beside what the program needs
	programBound = 60 << 20
	ownSockets   = 8 // the admin listener, its clients, and what the runtime polls with
)

// TestTenThousandRoutes: a daemon of many routes over twenty brokers attaches them all, first to consumers that it makes and then
// to those that are there; it needs few goroutines and connections for them, and every route moves a message. In every run
// of the tests there are five hundred routes; -args -routes 10000 has the figure.
func TestTenThousandRoutes(t *testing.T) {
	n := *routeCount
	at := servers(t, brokerCount)
	dir := t.TempDir()
	file := filepath.Join(dir, "topology.yaml")
	if err := os.WriteFile(file, topology(at, n, filepath.Join(dir, "spool")), 0o600); err != nil {
		t.Fatal(err)
	}
	path := program(t)
	checked := time.Now()
	if out, err := exec.Command(path, "check", file).CombinedOutput(); err != nil {
		t.Fatalf("check: %v\n%s", err, out)
	}
	t.Logf("%d routes: check %v", n, time.Since(checked).Round(time.Millisecond))
	for _, what := range []string{"first start", "start"} {
		d := start(t, path, file)
		ready := d.ready(t)
		up := d.attached(t, 2*n)
		rss := d.idle(t)
		page := d.get(t, "/metrics")
		t.Logf("%s: ready in %v, all up in %v, %.1f s of processor; %d MiB resident, %d MiB after a scrape of %d series", what, ready.Round(time.Millisecond), up.Round(time.Millisecond),
			metric(page, "process_cpu_seconds_total"), rss>>20, d.resident(t)>>20, strings.Count(string(page), "\nposthouse_"))
		d.bounded(t, n, rss, int(metric(page, "go_goroutines")))
		move(t, at, n)
		t.Logf("all have moved a message; stop %v", d.stop(t).Round(time.Millisecond))
	}
}

// TestReload: only what has changed is restarted, whatever else there is, and every route moves a message afterwards. -args
// -routes 10000 has the times.
func TestReload(t *testing.T) {
	n := *routeCount
	at := servers(t, brokerCount)
	dir := t.TempDir()
	file := filepath.Join(dir, "topology.yaml")
	before := topology(at, n, filepath.Join(dir, "spool"))
	write := func(text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(before)
	path := program(t)
	d := start(t, path, file)
	d.attached(t, 2*n)
	d.reload(t, path, file, "nothing changed", 0)
	one := bytes.Replace(before, []byte("name: r00007,"), []byte("name: r00007, prefetch: 77,"), 1)
	write(one)
	d.reload(t, path, file, "one route changed", 1)
	write(bytes.ReplaceAll(one, []byte(", from:"), []byte(", in_flight: 99, from:")))
	d.reload(t, path, file, "all changed", n)
	if ups, want := d.lineUps(), 2*n+2+2*n; ups != want {
		t.Errorf("%d ends have attached in all, want %d", ups, want)
	}
	move(t, at, n)
	d.stop(t)
}

// idle is the resident memory, after -linger if that is given.
func (d *daemon) idle(t *testing.T) int {
	if *linger > 0 {
		<-time.After(*linger)
	}
	return d.resident(t)
}

// bounded compares what the daemon takes with the bounds.
func (d *daemon) bounded(t *testing.T, n, rss, routines int) {
	t.Helper()
	sockets := d.sockets(t)
	t.Logf("%d sockets, %d goroutines", sockets, routines)
	if most := 2*brokerCount + ownSockets; sockets > most {
		t.Errorf("%d sockets for %d brokers, want at most %d", sockets, brokerCount, most)
	}
	if most := routineBound*n + 500; routines > most {
		t.Errorf("%d goroutines for %d routes, want at most %d", routines, n, most)
	}
	if most := programBound + routeBound*n; rss > most {
		t.Errorf("%d MiB for %d routes, want at most %d", rss>>20, n, most>>20)
	}
}

// move sends a message through every route and waits until all have arrived.
func move(t *testing.T, at []string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for b, addr := range at {
		nc, err := nats.Connect("nats://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		for i := b; i < n; i += len(at) {
			if _, err := js.PublishAsync(fmt.Sprintf("in.%05d", i), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}
	for b, addr := range at {
		want := uint64((n - (b+len(at)-1)%len(at) + len(at) - 1) / len(at))
		arrived(ctx, t, addr, want)
	}
}

// arrived waits until want messages are in the stream out, and takes them away.
func arrived(ctx context.Context, t *testing.T, addr string, want uint64) {
	t.Helper()
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, "out")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := s.Info(ctx)
		if err != nil {
			t.Fatalf("%s: %v", addr, err)
		}
		if info.State.Msgs >= want {
			break
		}
		<-tick.C
	}
	if err := s.Purge(ctx); err != nil {
		t.Fatal(err)
	}
}
