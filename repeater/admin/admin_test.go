package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server that shows st until the test ends, and returns its address and what stops it.
func serve(t *testing.T, st func() repeater.Status) (addr string, stop func()) {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "posthouse_test_total", Help: "of this test"})
	reg.MustRegister(c)
	c.Add(7)
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Status: st, Metrics: reg, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	stop = func() {
		cancel()
		if ended {
			return
		}
		ended = true
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return s.Addr(), stop
}

// request makes one request with a Host of its own and returns status and body.
func request(t *testing.T, method, addr, path, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func status(state, why string) func() repeater.Status {
	end := repeater.EndStatus{Address: "b/out", State: state, Error: why, Since: time.Unix(0, 0)}
	up := repeater.EndStatus{Address: "a/in", State: "up"}
	return func() repeater.Status {
		return repeater.Status{Repeater: "r1", Hash: "abc", Routes: []repeater.RouteStatus{
			{Name: "orders", Source: up, Lanes: []repeater.LaneStatus{{Link: end}}},
		}}
	}
}

func TestAnswers(t *testing.T) {
	addr, _ := serve(t, status("up", ""))
	for path, want := range map[string]string{
		"/livez": "ok\n", "/readyz": "ok\n", "/readyz?verbose": "ok\n", "/metrics": "posthouse_test_total 7",
	} {
		if code, body := request(t, "GET", addr, path, ""); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q, want 200 with %q", path, code, body, want)
		}
	}
	_, body := request(t, "GET", addr, "/version", "")
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil || v["version"] != "1.2.3" || v["config_hash"] != "abc" || v["repeater"] != "r1" {
		t.Errorf("/version: %q, %v", body, err)
	}
}

// A broker that is away must not have the process removed: degraded is no 503.
func TestDegradedIsReadyAndSaysWhy(t *testing.T) {
	addr, _ := serve(t, status("blocked", "no such queue"))
	if code, body := request(t, "GET", addr, "/readyz", ""); code != 200 || body != "degraded\n" {
		t.Errorf("%d %q", code, body)
	}
	code, body := request(t, "GET", addr, "/readyz?verbose", "")
	const want = "route orders: target b/out is blocked since 1970-01-01T00:00:00Z: no such queue\n"
	if code != 200 || body != "degraded\n"+want {
		t.Errorf("%d %q", code, body)
	}
}

// trouble is a status with a journal and a lane in the given states; its links are up.
func trouble(journal, lane string, damaged int) func() repeater.Status {
	return func() repeater.Status {
		st := status("up", "")()
		st.Spool = &repeater.SpoolStatus{Dir: "/s", State: journal, Error: "no space", Damaged: damaged, Orphans: []repeater.Orphan{}}
		st.Routes[0].Lanes[0].Name, st.Routes[0].Lanes[0].State = "orders/b", lane
		st.Routes[0].Lanes[0].Since, st.Routes[0].Lanes[0].Error = time.Unix(0, 0), "why"
		return st
	}
}

// A journal that takes nothing makes the daemon unready; one that is full does not, for it drains.
func TestReadyMeansThatTheSpoolTakesMessages(t *testing.T) {
	for _, c := range []struct {
		journal, lane string
		damaged, code int
		body          string
	}{
		{"ok", "pass-through", 0, 200, "ok\n"},
		{"ok", "draining", 0, 200, "ok\n"},
		{"ok", "held", 0, 200, "degraded\nlane orders/b is held since 1970-01-01T00:00:00Z: why\n"},
		{"full", "full", 0, 200, "degraded\nspool /s is full: no space\nlane orders/b is full since 1970-01-01T00:00:00Z: why\n"},
		{"failed", "failed", 0, 503, "not ready\nspool /s is failed: no space\nlane orders/b is failed since 1970-01-01T00:00:00Z: why\n"},
		{"opening", "starting", 0, 503, "not ready\nspool /s is opening: no space\n"},
		{"ok", "pass-through", 2, 200, "degraded\nspool /s keeps damaged segments as evidence: 2\n"},
	} {
		addr, stop := serve(t, trouble(c.journal, c.lane, c.damaged))
		if code, body := request(t, "GET", addr, "/readyz?verbose", ""); code != c.code || body != c.body {
			t.Errorf("%s, %s: %d %q, want %d %q", c.journal, c.lane, code, body, c.code, c.body)
		}
		stop()
	}
}

func TestRefusesWritesAndForeignHosts(t *testing.T) {
	addr, _ := serve(t, status("up", ""))
	for _, c := range []struct {
		method, path, host string
		want               int
	}{
		{"POST", "/livez", "", 405}, {"DELETE", "/metrics", "", 405}, {"GET", "/nothing", "", 404},
		{"GET", "/metrics", "evil.example", 403}, {"GET", "/metrics", "evil.example:80", 403},
		{"GET", "/livez", "localhost:7421", 200}, {"GET", "/livez", "[::1]:7421", 200},
	} {
		if code, _ := request(t, c.method, addr, c.path, c.host); code != c.want {
			t.Errorf("%s %s for host %q: %d, want %d", c.method, c.path, c.host, code, c.want)
		}
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1"} {
		s, err := admin.Listen(addr, admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: %v", addr, err)
		}
		if s != nil {
			t.Errorf("%s: listens", addr)
		}
	}
}

// Run returns when the requests under way have their answers, not before.
func TestStopLetsRequestsFinish(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	addr, stop := serve(t, func() repeater.Status {
		close(asked)
		<-answer
		return repeater.Status{}
	})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-asked
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	refused(t, addr)
	select {
	case <-stopped:
		t.Error("Run returned with a request under way")
	default:
	}
	close(answer)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "200") {
		t.Errorf("%q, %v", line, err)
	}
	<-stopped
}

// refused waits until nobody listens at addr any more.
func refused(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("still listening a second after the stop")
		}
	}
}
