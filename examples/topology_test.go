package examples

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const pathKey = "POSTHOUSE_PATH_KEY=a secret that all repeaters of the test have"

// A grid is some NATS servers, by the name that they have in the file.
type grid struct {
	t  *testing.T
	js map[string]jetstream.JetStream
}

// serverAt starts a NATS server with JetStream.
func serverAt(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server did not start")
	}
	return s.Addr().String()
}

// threeServers starts them, and returns the words of an example with their addresses in place of the usual ones.
func threeServers(t *testing.T) (*grid, []string) {
	g := &grid{t: t, js: map[string]jetstream.JetStream{}}
	var words []string
	for i, name := range []string{"b1", "b2", "b3"} {
		addr := serverAt(t)
		g.js[name] = dialNATS(t, addr)
		words = append(words, fmt.Sprint("127.0.0.1:", 4222+i), addr)
	}
	return g, words
}

// publish sends messages numbered from one on to a subject of one broker.
func (g *grid) publish(name, subject string, from, to int) {
	g.t.Helper()
	for i := from; i < to; i++ {
		m := nats.NewMsg(subject)
		m.Header.Set("n", fmt.Sprint(i))
		m.Header.Set("at", name)
		m.Data = fmt.Appendf(nil, "message %d of %s", i, name)
		if _, err := g.js[name].PublishMsg(testContext(g.t), m); err != nil {
			g.t.Fatal(err)
		}
	}
}

// make makes a stream that is not there yet.
func (g *grid) make(stream, subject string) {
	g.t.Helper()
	for name, js := range g.js {
		if _, err := js.CreateStream(testContext(g.t), jetstream.StreamConfig{Name: stream, Subjects: []string{subject}}); err != nil {
			g.t.Fatal(name, err)
		}
	}
}

// state is how far every stream has come and what its consumers still have to do.
func (g *grid) state(stream string) (seqs map[string]uint64, open uint64) {
	ctx := testContext(g.t)
	seqs = map[string]uint64{}
	for name, js := range g.js {
		st, err := js.Stream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		} else if err != nil {
			g.t.Fatal(err)
		}
		info, err := st.Info(ctx)
		if err != nil {
			g.t.Fatal(err)
		}
		seqs[name] = info.State.LastSeq
		for c := range st.ListConsumers(ctx).Info() {
			open += c.NumPending + uint64(c.NumAckPending)
		}
	}
	return seqs, open
}

// quiet waits until nothing is under way: no consumer has anything to do, twice, and no stream has grown in between.
func (g *grid) quiet(d *daemon, stream string) {
	g.t.Helper()
	var before map[string]uint64
	d.await("nothing is under way", func() bool {
		now, open := g.state(stream)
		same := open == 0 && maps.Equal(before, now)
		before = now
		if open > 0 {
			before = nil
		}
		return same
	})
}

// counts is how often each message of a stream is there, by AT/N.
func (g *grid) counts(name, stream string) map[string]int {
	g.t.Helper()
	out := map[string]int{}
	ctx := testContext(g.t)
	st, err := g.js[name].Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return out
	}
	if err != nil {
		g.t.Fatal(err)
	}
	for seq := uint64(1); seq <= st.CachedInfo().State.LastSeq; seq++ {
		m, err := st.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		} else if err != nil {
			g.t.Fatal(err)
		}
		if want := fmt.Sprintf("message %s of %s", m.Header.Get("n"), m.Header.Get("at")); string(m.Data) != want {
			g.t.Errorf("%s: %q, want %q", name, m.Data, want)
		}
		out[m.Header.Get("at")+"/"+m.Header.Get("n")]++
	}
	return out
}

// once checks that a stream holds each message of some brokers exactly once, and nothing else.
func (g *grid) once(name, stream string, n int, from ...string) {
	g.t.Helper()
	got := g.counts(name, stream)
	for _, at := range from {
		for i := range n {
			key := fmt.Sprint(at, "/", i)
			if got[key] != 1 {
				g.t.Errorf("%s/%s: message %s is there %d times", name, stream, key, got[key])
			}
			delete(got, key)
		}
	}
	if len(got) > 0 {
		g.t.Errorf("%s/%s: %d messages that have no business there: %v", name, stream, len(got), slices.Sorted(maps.Keys(got)))
	}
}

// echoes is what a daemon counts as left out.
func (d *daemon) echoes() int {
	return d.metric("posthouse_route_filtered_messages_total", `reason="echo"`)
}

// part starts the daemon of one repeater and waits until its routes are up.
func part(t *testing.T, file, name string) *daemon {
	t.Helper()
	d := start(t, []string{"-c", file, "--repeater", name}, pathKey)
	d.awaitUp()
	return d
}

// TestHubAndSpoke: what is published at one of three brokers is at all three, each once; what the spokes have moves to the
// hub and is at none of them any more.
func TestHubAndSpoke(t *testing.T) {
	const n = 100
	ports := map[string]string{"paris": freePort(t), "berlin": freePort(t), "madrid": freePort(t)}
	file := topology(t, "hub-and-spoke.yaml", "127.0.0.1:4222", ports["paris"], "127.0.0.1:4223", ports["berlin"], "127.0.0.1:4224", ports["madrid"], "hub-data", t.TempDir())
	d := run(t, file, pathKey)
	g := &grid{t: t, js: map[string]jetstream.JetStream{}}
	for name, addr := range ports {
		g.js[name] = dialNATS(t, addr)
	}
	for name := range ports {
		g.publish(name, "prices", 0, n)
		if name != "paris" {
			g.publish(name, "fills", 0, n)
		}
	}
	g.quiet(d, "PRICES")
	d.await("the fills are in paris", func() bool { return len(g.counts("paris", "FILLS")) == 2*n })
	for name := range ports {
		g.once(name, "PRICES", n, "paris", "berlin", "madrid")
	}
	g.once("paris", "FILLS", n, "berlin", "madrid")
	d.await("the spokes have none of them", func() bool {
		return len(g.counts("berlin", "FILLS")) == 0 && len(g.counts("madrid", "FILLS")) == 0
	})
	// paris leaves out at each spoke what is from there; each spoke leaves out what paris has brought
	if want := 2*n + 2*2*n; d.echoes() != want {
		t.Errorf("%d echoes, want %d", d.echoes(), want)
	}
	d.stop()
}

// TestBus: r1 alone brings what is published at b1 to b2 and not to b3; r2 then brings it on, and both bring it back.
func TestBus(t *testing.T) {
	const n = 100
	g, words := threeServers(t)
	file := topology(t, "bus.yaml", append(words, "127.0.0.1:7421", "127.0.0.1:0", "127.0.0.1:7422", "127.0.0.1:0", "bus-data", t.TempDir())...)
	r1 := part(t, file, "r1")
	g.publish("b1", "news", 0, n)
	g.publish("b2", "news", 0, n)
	g.quiet(r1, "NEWS")
	g.once("b1", "NEWS", n, "b1", "b2")
	g.once("b2", "NEWS", n, "b1", "b2")
	g.once("b3", "NEWS", n)
	r2 := part(t, file, "r2")
	g.publish("b3", "news", 0, n)
	g.quiet(r2, "NEWS")
	for _, name := range []string{"b1", "b2", "b3"} {
		g.once(name, "NEWS", n, "b1", "b2", "b3")
	}
	r1.stop()
	r2.stop()
}

// TestMesh: two repeaters share the routes between three brokers. One is killed half way; the other carries on by itself,
// nothing is lost, and what comes twice is no more than was in flight, as explain says.
func TestMesh(t *testing.T) {
	const n, window = 1000, 256
	g, words := threeServers(t)
	g.make("NEWS", "news")
	file := topology(t, "mesh.yaml", append(words, "127.0.0.1:7421", "127.0.0.1:0", "127.0.0.1:7422", "127.0.0.1:0", "mesh-data", t.TempDir())...)
	if say := command(t, nil, "explain", "-c", file, "news.b1.b2"); !strings.Contains(say, "perhaps a second time") || !strings.Contains(say, "order            none") {
		t.Errorf("explain says nothing of what a repeater's death does:\n%s", say)
	}
	r1, r2 := part(t, file, "r1"), part(t, file, "r2")
	all := []string{"b1", "b2", "b3"}
	for _, name := range all {
		g.publish(name, "news", 0, n/2)
	}
	for _, d := range []*daemon{r1, r2} {
		d.await("it has a share", func() bool { return d.metric("posthouse_route_forwarded_messages_total") > 0 })
	}
	killed := make(chan error, 1)
	go func() { killed <- r1.cmd.Process.Signal(syscall.SIGKILL) }()
	for _, name := range all {
		g.publish(name, "news", n/2, n)
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	g.quiet(r2, "NEWS")
	twice := 0
	for _, name := range all {
		got := g.counts(name, "NEWS")
		for _, at := range all {
			for i := range n {
				key := fmt.Sprint(at, "/", i)
				if got[key] == 0 {
					t.Errorf("%s: message %s is lost", name, key)
				}
				if at == name && got[key] != 1 {
					t.Errorf("%s: message %s has come back to where it is from", name, key)
				}
				twice += got[key] - 1
				delete(got, key)
			}
		}
		if len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if twice < 0 || twice > 6*window {
		t.Errorf("%d came twice, with at most %d in flight on six lanes", twice, 6*window)
	}
	t.Logf("%d of %d came twice", twice, 3*3*n)
	r2.stop()
}
