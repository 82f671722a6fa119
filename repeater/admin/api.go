package admin

import (
	"encoding/json"
	"net/http"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// A problem is an error of the API (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code,omitempty"` // posthouse explain tells more
	Help   string `json:"help,omitempty"`

	Findings routes.Findings `json:"findings,omitempty"` // as of posthouse check
}

// api answers below /api/v1/. It shows; the one thing that it changes is what lanes hold (resolve.go).
func (s *Server) api(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { document(w, s.opts.Status()) })
	mux.HandleFunc("GET /api/v1/routes", func(w http.ResponseWriter, _ *http.Request) { document(w, listed(s.opts.Status().Routes)) })
	mux.HandleFunc("GET /api/v1/routes/{name}", s.route)
	mux.HandleFunc("GET /api/v1/spools", s.spools)
	if s.opts.Resolve != nil {
		mux.HandleFunc("/api/v1/lanes/{route}/{target}/resolve", s.resolve)
	}
	s.configAPI(mux)
	mux.HandleFunc("/api/", nothing)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	for _, route := range s.opts.Status().Routes {
		if route.Name == name {
			document(w, route)
			return
		}
	}
	refuse(w, problem{Status: http.StatusNotFound, Code: "R011", Detail: "no route of that name runs here", Help: "GET /api/v1/routes lists them"})
}

// Spools is the document of /api/v1/spools: the journal, and what each lane has in it.
type Spools struct {
	Repeater string                `json:"repeater"`
	Spool    *repeater.SpoolStatus `json:"spool"` // null: the file has no spool section
	Lanes    []repeater.LaneStatus `json:"lanes"`
}

func (s *Server) spools(w http.ResponseWriter, _ *http.Request) {
	st := s.opts.Status()
	out := Spools{Repeater: st.Repeater, Spool: st.Spool}
	for _, r := range st.Routes {
		out.Lanes = append(out.Lanes, r.Lanes...)
	}
	out.Lanes = listed(out.Lanes)
	document(w, out)
}

// listed is a list that is [] in JSON when it is empty.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// nothing answers what no other pattern takes: a path that is not there, or a method that would change something.
func nothing(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, problem{Status: http.StatusMethodNotAllowed, Detail: "nothing can be changed here", Help: "use GET; only /api/v1/lanes/ROUTE/TARGET/resolve takes a POST"})
		return
	}
	refuse(w, problem{Status: http.StatusNotFound, Detail: "no such document", Help: "there are /api/v1/status, /api/v1/routes, /api/v1/routes/NAME, /api/v1/spools and, to post to, /api/v1/lanes/ROUTE/TARGET/resolve"})
}

func document(w http.ResponseWriter, v any) { write(w, http.StatusOK, "application/json", v) }

func refuse(w http.ResponseWriter, p problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	write(w, p.Status, "application/problem+json", p)
}

func write(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client went away: nobody to tell
}
