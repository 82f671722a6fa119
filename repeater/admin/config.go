package admin

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/posthouse/posthouse/repeater"
)

// The configuration. It is shown with secrets masked; a change is posted, and needs If-Match with the ETag of what was looked
// at, so that nobody undoes what somebody else has just done.

// Configuration is the document of /api/v1/config.
type Configuration struct {
	repeater.ConfigStatus
	Text string `json:"text"`
}

// Rollback is the body of POST /api/v1/config/rollback.
type Rollback struct {
	Generation uint64 `json:"generation"`
}

// configures is what can be asked of the configuration.
func (s *Server) configures() []endpoint {
	if s.opts.Keeper == nil {
		return nil
	}
	return []endpoint{
		{method: "GET", path: "/api/v1/config", does: "The file that runs, with secrets masked. Its ETag is what a change must match.", answer: Configuration{}, handle: s.config},
		{method: "GET", path: "/api/v1/config/history", does: "The generations that are kept, oldest first.", answer: []repeater.Generation{},
			handle: func(w http.ResponseWriter, _ *http.Request) { document(w, listed(s.opts.Keeper.History())) }},
		{method: "GET", path: "/api/v1/config/history/{n}", does: "The file of a generation.", answer: OldText{}, handle: s.generation},
		{method: "POST", role: Admin, match: true, path: "/api/v1/config/reload", does: "Take the file as it is now, as a whole or not at all.", long: true,
			query: []param{dryParam}, body: struct{}{}, answer: repeater.Outcome{}, handle: s.reload},
		{method: "POST", role: Admin, match: true, path: "/api/v1/config/rollback", does: "Go back to a generation.", long: true,
			query: []param{dryParam}, body: Rollback{}, answer: repeater.Outcome{}, handle: s.rollback},
	}
}

// OldText is the file of a generation, with secrets masked.
type OldText struct {
	Generation uint64 `json:"generation"`
	Text       string `json:"text"`
}

func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	k := s.opts.Keeper
	k.Look()
	if r.Method == http.MethodHead { // to mask secrets in a file of ten thousand routes takes long
		w.Header().Set("ETag", k.Status().ETag())
		return
	}
	text, err := k.Text(0)
	if err != nil {
		refuse(w, problemOf(err))
		return
	}
	c := k.Status()
	w.Header().Set("ETag", c.ETag())
	document(w, Configuration{c, text})
}

func (s *Server) generation(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 64)
	if err != nil || n == 0 {
		err = fmt.Errorf("%w: %q", repeater.ErrNoGeneration, r.PathValue("n"))
	}
	var text string
	if err == nil {
		text, err = s.opts.Keeper.Text(n)
	}
	if err != nil {
		refuse(w, problemOf(err))
		return
	}
	document(w, OldText{n, text})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	var b struct{}
	if mayChange(w, r) && read(w, r, &b) {
		s.apply(w, r, repeater.Ask{})
	}
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) {
	var b Rollback
	if !mayChange(w, r) || !read(w, r, &b) {
		return
	}
	if b.Generation == 0 {
		refuse(w, Problem{Status: http.StatusBadRequest, Code: "A014", Detail: "no generation", Help: `send {"generation": N}; GET /api/v1/config/history lists them`})
		return
	}
	s.apply(w, r, repeater.Ask{Generation: b.Generation})
}

// mayChange refuses what comes without If-Match.
func mayChange(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("If-Match") != "" {
		return true
	}
	refuse(w, Problem{Status: http.StatusPreconditionRequired, Code: "C002", Detail: "a change of the configuration needs If-Match", Help: "send the ETag of GET /api/v1/config, or use posthouse reload"})
	return false
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request, a repeater.Ask) {
	a.Match = r.Header.Get("If-Match")
	if a.Match == "*" {
		a.Match = ""
	}
	a.DryRun = isDry(r)
	out, err := s.opts.Keeper.Apply(a)
	if out.Config.Generation != 0 {
		w.Header().Set("ETag", out.Config.ETag())
	}
	answer(w, out, err)
}
