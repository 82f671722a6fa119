package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An endpoint is one thing that can be asked. The list of them is what is served, and what the OpenAPI document describes.
type endpoint struct {
	method, path string // as http.ServeMux has them
	role         Role   // that it needs
	open         bool   // it needs none: everybody who reaches the listener may ask
	does         string // in a sentence
	query        []param
	body, answer any    // zero values of their types; nil: none, or none that is JSON
	kind         string // content type of an answer that is no JSON
	match        bool   // it needs If-Match
	long         bool   // it may take as long as a reload
	handle       http.HandlerFunc
}

// A param is one of the query.
type param struct{ name, does string }

// longest bounds an answer that waits for routes: a flow that is exchanged may take the grace period.
const longest = 10 * time.Minute

// endpoints are all that this server has.
func (s *Server) endpoints() []endpoint {
	es := slices.Concat(s.plain(), s.shows(), s.resolves(), s.configures(), s.steers(), s.keeps(), s.buries())
	for i := range es {
		if es[i].role == "" && !es[i].open {
			es[i].role = roleOf(es[i].method)
		}
	}
	return es
}

// plain is what orchestrators and scrapers ask.
func (s *Server) plain() []endpoint {
	const words = "text/plain"
	return []endpoint{
		{method: "GET", path: "/livez", open: true, kind: words, does: "Does the process answer?", handle: func(w http.ResponseWriter, _ *http.Request) { text(w, "ok\n") }},
		{method: "GET", path: "/readyz", open: true, kind: words, does: "Can messages be kept, and do the routes run?", query: []param{{"verbose", "name each end and lane in trouble"}}, handle: s.readyz},
		{method: "GET", path: "/version", open: true, does: "Version and configuration.", answer: Version{}, handle: s.version},
		{method: "GET", path: "/metrics", open: true, kind: words, does: "Prometheus text format.", handle: s.metrics().ServeHTTP},
		s.describes(),
	}
}

// register makes mux serve es, and answer other methods with what may be used.
func (s *Server) register(mux *http.ServeMux, es []endpoint) {
	methods := map[string][]string{}
	for _, e := range es {
		handle := e.handle
		if e.long {
			handle = func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longest)) // else the server's own holds
				e.handle(w, r)
			}
		}
		if !e.open {
			handle = s.guard(&e, handle)
		}
		mux.HandleFunc(e.method+" "+e.path, handle)
		methods[e.path] = append(methods[e.path], e.method)
	}
	for path, ms := range methods {
		if slices.Contains(ms, http.MethodGet) {
			ms = append([]string{http.MethodHead}, ms...)
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", strings.Join(ms, ", "))
			refuse(w, Problem{Status: http.StatusMethodNotAllowed, Code: "A016", Detail: "this cannot be asked so", Help: "use " + strings.Join(ms, " or ")})
		})
	}
}

// mostAsked bounds the body of a request, in bytes.
const mostAsked = 256 << 10

// read decodes the body of r, which must be JSON, into v. It refuses r and returns false otherwise: what web pages can send
// without asking, a form or a text from another origin, is no JSON.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	example, err := json.Marshal(v)
	help := fmt.Sprintf("send Content-Type: application/json with a body such as %s", example)
	if err != nil {
		help = "send Content-Type: application/json"
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, Problem{Status: http.StatusUnsupportedMediaType, Code: "A015", Detail: "the body must be JSON", Help: help})
		return false
	}
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostAsked))
	in.DisallowUnknownFields()
	err = in.Decode(v)
	if err == nil {
		if _, more := in.Token(); more != io.EOF {
			err = errors.New("there is more behind the object")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(w, Problem{Status: http.StatusRequestEntityTooLarge, Code: "A006", Detail: fmt.Sprintf("the body has more than %d bytes", mostAsked), Help: help})
	case err != nil:
		refuse(w, Problem{Status: http.StatusBadRequest, Code: "A014", Detail: "the body cannot be used: " + err.Error(), Help: help})
	}
	noteBody(w, v)
	return err == nil
}

// roleOf is the role that a method needs, where nothing else is said.
func roleOf(method string) Role {
	if method == http.MethodGet {
		return Viewer
	}
	return Operator
}

// isDry reports whether the query asks what would be done only.
func isDry(r *http.Request) bool { return r.URL.Query().Get("dry_run") == "1" }

var dryParam = param{"dry_run", "1: say what would be done, and do nothing"}
