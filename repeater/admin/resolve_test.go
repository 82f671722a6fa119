package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

// A decider is a repeater as far as decisions go.
type decider struct {
	n    int
	err  error
	seen []string // LANE ACTION REASON
}

func (d *decider) resolve(_ context.Context, lane string, a repeater.Action, reason string) (int, error) {
	d.seen = append(d.seen, fmt.Sprint(lane, " ", a, " ", reason))
	return d.n, d.err
}

// deciding runs a server whose repeater is d, and returns its address.
func deciding(t *testing.T, d *decider) string {
	t.Helper()
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Resolve: d.resolve})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

const heldLane = "/api/v1/lanes/orders/kafka/resolve"

// send makes a request with headers NAME, VALUE and so on; "Host" is the host it is for.
func send(t *testing.T, method, addr, path, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestResolve(t *testing.T) {
	d := &decider{n: 3}
	addr := deciding(t, d)
	for _, kind := range []string{"application/json", "application/json; charset=utf-8"} {
		code, h, body := send(t, "POST", addr, heldLane, `{"action": "dead-letter", "reason": "ticket 7"}`, "Content-Type", kind)
		if code != 200 || h.Get("Content-Type") != "application/json" || body != `{"lane":"orders/kafka","action":"dead-letter","messages":3}`+"\n" {
			t.Errorf("%s: %d %q %s", kind, code, h.Get("Content-Type"), body)
		}
	}
	if len(d.seen) != 2 || d.seen[0] != "orders/kafka dead-letter ticket 7" {
		t.Errorf("asked for %q", d.seen)
	}
}

// What may not come, and what cannot be read, never reaches the repeater, and is told with a problem document.
func TestResolveRefusesRequests(t *testing.T) {
	const right = `{"action": "retry", "reason": "x"}`
	d := &decider{}
	addr := deciding(t, d)
	is := []string{"Content-Type", "application/json"}
	for name, c := range map[string]struct {
		method, body string
		headers      []string
		code         int
		plain        bool // no problem document
	}{
		"GET":              {"GET", "", is, 405, false},
		"PUT":              {"PUT", right, is, 405, false},
		"form":             {"POST", "action=retry&reason=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, false},
		"text":             {"POST", right, []string{"Content-Type", "text/plain"}, 415, false},
		"no type":          {"POST", right, nil, 415, false},
		"other origin":     {"POST", right, append([]string{"Origin", "https://evil.example"}, is...), 403, false},
		"cross-site":       {"POST", right, append([]string{"Sec-Fetch-Site", "cross-site"}, is...), 403, false},
		"rebound name":     {"POST", right, append([]string{"Host", "evil.example", "Origin", "http://evil.example"}, is...), 403, true},
		"no JSON":          {"POST", "retry", is, 400, false},
		"nothing":          {"POST", "", is, 400, false},
		"unknown field":    {"POST", `{"action": "retry", "reason": "x", "all": true}`, is, 400, false},
		"two objects":      {"POST", right + right, is, 400, false},
		"reason no text":   {"POST", `{"action": "retry", "reason": 5}`, is, 400, false},
		"too large a body": {"POST", `{"action": "retry", "reason": "` + strings.Repeat("x", 1<<19) + `"}`, is, 413, false},
	} {
		code, h, body := send(t, c.method, addr, heldLane, c.body, c.headers...)
		var p struct{ Detail, Help string }
		if err := json.Unmarshal([]byte(body), &p); code != c.code || !c.plain && (err != nil || p.Detail == "" || p.Help == "" || h.Get("Content-Type") != "application/problem+json") {
			t.Errorf("%s: %d %s %s", name, code, h.Get("Content-Type"), body)
		}
		if allow := h.Get("Allow"); code == 405 && allow != "POST" {
			t.Errorf("%s: allow %q", name, allow)
		}
	}
	if len(d.seen) > 0 {
		t.Errorf("the repeater was asked for %q", d.seen)
	}
}

func TestResolveProblems(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		name string
	}{
		{repeater.ErrNoLane, 404, "R011"}, {repeater.ErrNotHeld, 409, "A009"}, {repeater.ErrNoPlace, 409, "A010"},
		{repeater.ErrNoAction, 400, "A014"}, {repeater.ErrReason, 400, "A014"}, {errors.New("broken"), 500, ""},
	} {
		addr := deciding(t, &decider{err: fmt.Errorf("lane orders/kafka: %w", c.err)})
		code, _, body := send(t, "POST", addr, heldLane, `{"action": "retry", "reason": "x"}`, "Content-Type", "application/json")
		var p struct {
			Status             int
			Detail, Code, Help string
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || code != c.code || p.Status != c.code || p.Code != c.name ||
			p.Detail != "lane orders/kafka: "+c.err.Error() || p.Help == "" && c.code != 500 {
			t.Errorf("%v: %d %s", c.err, code, body)
		}
	}
}

// Without a repeater that resolves there is no such document.
func TestNothingToResolve(t *testing.T) {
	addr, _ := serve(t, status("up", ""))
	if code, _, _ := send(t, "POST", addr, heldLane, `{"action": "retry", "reason": "x"}`, "Content-Type", "application/json"); code != 404 {
		t.Errorf("%d", code)
	}
}
