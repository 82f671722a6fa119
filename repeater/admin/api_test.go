package admin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

// get asks for a document and decodes it, without a field that v does not have.
func get(t *testing.T, addr, path string, v any) {
	t.Helper()
	code, body := request(t, "GET", addr, path, "")
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || code != http.StatusOK {
		t.Fatalf("%s: %d, %v in %s", path, code, err, body)
	}
}

func TestStatusDocuments(t *testing.T) {
	give := trouble("full", "full", 1)
	addr, _ := serve(t, give)
	var all repeater.Status
	get(t, addr, "/api/v1/status", &all)
	if diff := cmp.Diff(asJSON(t, give()), asJSON(t, all)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	var routes []repeater.RouteStatus
	get(t, addr, "/api/v1/routes", &routes)
	var one repeater.RouteStatus
	get(t, addr, "/api/v1/routes/orders", &one)
	if len(routes) != 1 || asJSON(t, routes[0]) != asJSON(t, one) || one.Lanes[0].State != "full" {
		t.Errorf("routes %+v, one %+v", routes, one)
	}
	var spools admin.Spools
	get(t, addr, "/api/v1/spools", &spools)
	if spools.Repeater != "r1" || spools.Spool.Dir != "/s" || len(spools.Lanes) != 1 || spools.Lanes[0].Name != "orders/b" {
		t.Errorf("%+v", spools)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A repeater without spool and routes has empty lists and a null, not absent keys.
func TestEmptyDocuments(t *testing.T) {
	addr, _ := serve(t, func() repeater.Status { return repeater.Status{Repeater: "r"} })
	for path, want := range map[string]string{
		"/api/v1/routes": "[]\n", "/api/v1/spools": `{"repeater":"r","spool":null,"lanes":[]}` + "\n",
	} {
		if code, body := request(t, "GET", addr, path, ""); code != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
}

func TestProblems(t *testing.T) {
	addr, _ := serve(t, status("up", ""))
	for _, c := range []struct {
		method, path string
		status       int
		code, help   string
	}{
		{"GET", "/api/v1/routes/absent", 404, "R011", "/api/v1/routes"},
		{"GET", "/api/v1/nothing", 404, "A012", "/openapi.json"},
		{"GET", "/api/", 404, "A012", "/openapi.json"},
		{"POST", "/api/v1/status", 405, "A016", "HEAD or GET"},
		{"DELETE", "/api/v1/routes/orders", 405, "A016", "GET"},
		{"PUT", "/api/v1/absent", 404, "A012", ""},
	} {
		code, body := request(t, c.method, addr, c.path, "")
		var p struct {
			Type, Title, Detail, Code, Help string
			Status                          int
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || code != c.status {
			t.Errorf("%s %s: %d, %v in %q", c.method, c.path, code, err, body)
			continue
		}
		if p.Status != c.status || p.Title != http.StatusText(c.status) || p.Type != "about:blank" || p.Code != c.code || p.Detail == "" || !strings.Contains(p.Help, c.help) {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
	}
}

func TestAPIHeaders(t *testing.T) {
	addr, _ := serve(t, status("up", ""))
	for path, kind := range map[string]string{"/api/v1/status": "application/json", "/api/v1/absent": "application/problem+json"} {
		req, err := http.NewRequestWithContext(t.Context(), "HEAD", "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if h := resp.Header; h.Get("Content-Type") != kind || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
	}
	if code, _ := request(t, "GET", addr, "/api/v1/status", "evil.example"); code != 403 {
		t.Errorf("a foreign Host gets %d", code)
	}
}
