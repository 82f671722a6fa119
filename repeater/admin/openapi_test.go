package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/posthouse/posthouse/repeater"
)

// An apiDocument is what the tests read of the OpenAPI document.
type apiDocument struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		Summary     string
		OperationID string `json:"operationId"`
		Role        string `json:"x-role"`
		Parameters  []struct{ Name, In string }
		RequestBody *struct {
			Content map[string]struct{ Schema any }
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema any }
		}
	}
	Components struct{ Schemas map[string]any }
}

// described gets the document and a compiler of its schemas.
func (s *station) described() (d apiDocument, at func(pointer string) *jsonschema.Schema) {
	s.t.Helper()
	code, _, body := send(s.t, "GET", s.addr, "/openapi.json", "")
	if code != 200 {
		s.t.Fatalf("%d %s", code, body)
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		s.t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", doc); err != nil {
		s.t.Fatal(err)
	}
	return d, func(pointer string) *jsonschema.Schema {
		s.t.Helper()
		sch, err := c.Compile("openapi.json#" + pointer)
		if err != nil {
			s.t.Fatalf("%s: %v", pointer, err)
		}
		return sch
	}
}

// escaped is a path within a JSON pointer.
func escaped(path string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path)
}

// Every path of the document is served with the methods that it names, and with no other; what it says about answers holds.
func TestOpenAPI(t *testing.T) {
	s := newStation(t)
	s.put(1, 2)
	s.until("a dead letter", func(st repeater.Status) bool { return s.route(st, "orders").Dead.Spooled == 1 })
	d, at := s.described()
	if d.OpenAPI != "3.1.0" || len(d.Paths) < 30 {
		t.Fatalf("%s, %d paths", d.OpenAPI, len(d.Paths))
	}
	values := strings.NewReplacer("{route}", "orders", "{target}", "b", "{broker}", "a", "{seq}", "1", "{bridge}", "none", "{n}", "1")
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			op, is := item[strings.ToLower(method)]
			if is {
				if op.Summary == "" || ids[op.OperationID] {
					t.Errorf("%s %s: %+v", method, path, op)
				}
				ids[op.OperationID] = true
			}
			if is && method != "GET" { // that would change something; a body that is none shows that it is there
				code, _, body := send(t, method, s.addr, values.Replace(path), "", "Content-Type", "text/plain")
				if code == http.StatusNotFound || code == http.StatusMethodNotAllowed {
					t.Errorf("%s %s: %d %s", method, path, code, body)
				}
				continue
			}
			code, h, body := send(t, method, s.addr, values.Replace(path), "")
			switch {
			case !is && (code != http.StatusMethodNotAllowed || strings.Contains(h.Get("Allow"), method)):
				t.Errorf("%s %s is not in the document, and gets %d, Allow %q", method, path, code, h.Get("Allow"))
			case !is || strings.Contains(h.Get("Content-Type"), "text/plain"):
			default:
				pointer := fmt.Sprintf("/paths/%s/get/responses/200/content/application~1json/schema", escaped(path))
				if code != 200 {
					pointer = "/components/schemas/Problem"
				}
				v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
				if err != nil {
					t.Fatalf("%s: %v in %s", path, err, body)
				}
				if err := at(pointer).Validate(v); err != nil {
					t.Errorf("%s: %d: %v\n%s", path, code, err, body)
				}
			}
		}
	}
	for name := range d.Components.Schemas {
		at("/components/schemas/" + name)
	}
}

// Each role stands in the document, and each parameter of a path.
func TestOpenAPIRoles(t *testing.T) {
	s := newStation(t)
	d, _ := s.described()
	open := []string{"/livez", "/readyz", "/version", "/metrics"}
	for path, item := range d.Paths {
		for method, op := range item {
			if slices.Contains(open, path) != (op.Role == "") || op.Role == "viewer" != (method == "get" && op.Role != "") {
				t.Errorf("%s %s needs %q", method, path, op.Role)
			}
			for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == m[1] && p.In == "path" }) {
					t.Errorf("%s %s does not describe %s", method, path, m[1])
				}
			}
		}
	}
	for _, path := range []string{"/api/v1/dlq/{route}/discard", "/api/v1/orphans/{route}/{target}"} {
		for method, op := range d.Paths[path] {
			if op.Role != "admin" {
				t.Errorf("%s %s needs %q", method, path, op.Role)
			}
		}
	}
}
