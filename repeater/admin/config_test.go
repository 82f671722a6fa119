package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/routes"
)

// keeping serves the keeper of a repeater that runs without routes. A file with the word "wrong" gets a finding, one with
// "else" another listener.
func keeping(t *testing.T) (addr, file string) {
	t.Helper()
	load := func(text []byte) (*routes.Table, routes.Findings, error) {
		table := &routes.Table{Hash: "x", Brokers: map[string]*routes.Broker{}}
		switch {
		case strings.Contains(string(text), "wrong"):
			return nil, routes.Findings{{Code: "K001", Severity: routes.Error, File: "t.yaml", Line: 2, Message: "unknown key"}}, nil
		case strings.Contains(string(text), "else"):
			table.Admin.Listen = "127.0.0.1:1"
		case strings.Contains(string(text), "broken"):
			return nil, nil, errors.New("no such part")
		}
		return table, nil, nil
	}
	file = filepath.Join(t.TempDir(), "t.yaml")
	put(t, file, "first\n")
	table, _, _ := load(nil)
	rep, err := repeater.New(table, routes.Kinds{"mem": adapters.Adapter(mem.New())}, repeater.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := repeater.NewKeeper(rep, repeater.KeeperOptions{File: file, Text: []byte("first\n"), Load: load})
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Status: rep.Status, Metrics: prometheus.NewRegistry(), Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, served := make(chan error, 1), make(chan error, 1)
	go func() { done <- rep.Run(ctx) }()
	go func() { served <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-served); err != nil {
			t.Error(err)
		}
	})
	if code, _, _ := send(t, "POST", s.Addr(), "/api/v1/config/reload", "{}", "Content-Type", "application/json", "If-Match", "*"); code != 503 {
		t.Errorf("before it has begun: %d", code)
	}
	if err := k.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	return s.Addr(), file
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The configuration over HTTP: who changes it must have looked at it, and what is refused says why.
func TestConfig(t *testing.T) {
	addr, file := keeping(t)
	const reload, rollback = "/api/v1/config/reload", "/api/v1/config/rollback"
	is := []string{"Content-Type", "application/json"}
	tag := func() string {
		code, h, body := send(t, "GET", addr, "/api/v1/config", "")
		if code != 200 || h.Get("ETag") == "" {
			t.Fatalf("%d %s", code, body)
		}
		return h.Get("ETag")
	}
	first := tag()
	if !strings.HasPrefix(first, `"1-`) {
		t.Errorf("ETag %s", first)
	}
	put(t, file, "second\n")
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		code               int
		word               string
	}{
		"GET":              {"GET", reload, "", nil, 405, "A016"},
		"PUT":              {"PUT", "/api/v1/config", "{}", is, 405, "A016"},
		"no JSON":          {"POST", reload, "{}", []string{"If-Match", first}, 415, "A015"},
		"other origin":     {"POST", reload, "{}", append([]string{"Origin", "https://evil.example", "If-Match", first}, is...), 403, "A005"},
		"no If-Match":      {"POST", reload, "{}", is, 428, "C002"},
		"another one":      {"POST", reload, "{}", append([]string{"If-Match", `"7-abc"`}, is...), 412, "C002"},
		"no generation":    {"POST", rollback, "{}", append([]string{"If-Match", first}, is...), 400, "A014"},
		"not kept":         {"POST", rollback, `{"generation": 9}`, append([]string{"If-Match", first}, is...), 404, "C004"},
		"no history of it": {"GET", "/api/v1/config/history/9", "", nil, 404, "C004"},
		"no number":        {"GET", "/api/v1/config/history/x", "", nil, 404, "C004"},
	} {
		code, _, body := send(t, c.method, addr, c.path, c.body, c.headers...)
		var p struct{ Code, Detail, Help string }
		if err := json.Unmarshal([]byte(body), &p); code != c.code || err != nil || p.Code != c.word || p.Detail == "" {
			t.Errorf("%s: %d, want %d %s: %s", name, code, c.code, c.word, body)
		}
	}
	if now := tag(); now != first {
		t.Errorf("something has changed: %s", now)
	}
	match := append([]string{"If-Match", first}, is...)
	if code, h, body := send(t, "POST", addr, reload+"?dry_run=1", "{}", match...); code != 200 || h.Get("ETag") != first || !strings.Contains(body, `"dry_run":true`) {
		t.Errorf("dry run: %d %s", code, body)
	}
	code, h, body := send(t, "POST", addr, reload, "{}", match...)
	second := h.Get("ETag")
	if code != 200 || !strings.HasPrefix(second, `"2-`) || tag() != second {
		t.Errorf("reload: %d %s %s", code, second, body)
	}
	for text, word := range map[string]string{"wrong\n": "K001", "admin: { listen: else }\n": "C001", "broken\n": ""} {
		put(t, file, text)
		code, _, body := send(t, "POST", addr, reload, "{}", append([]string{"If-Match", second}, is...)...)
		var p struct {
			Code, Detail string
			Findings     []struct{ Code string }
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || code != 422 || p.Code != word || (word != "") != (len(p.Findings) == 1) {
			t.Errorf("%s: %d %s", text, code, body)
		}
		if tag() != second {
			t.Errorf("%s has changed something", text)
		}
	}
	if code, _, body := send(t, "POST", addr, rollback, `{"generation": 1}`, append([]string{"If-Match", second}, is...)...); code != 200 || !strings.HasPrefix(tag(), `"3-`) {
		t.Errorf("rollback: %d %s", code, body)
	}
	if _, _, body := send(t, "GET", addr, "/api/v1/config/history/2", ""); !strings.Contains(body, "second") {
		t.Error(body)
	}
	var gs []repeater.Generation
	get(t, addr, "/api/v1/config/history", &gs)
	if len(gs) != 3 || gs[2].How != "rollback" || gs[0].Hash != gs[2].Hash {
		t.Errorf("%+v", gs)
	}
}
