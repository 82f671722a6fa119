package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/posthouse/posthouse/repeater"
)

// The configuration. It is shown with secrets masked; a change is posted, and needs If-Match with the ETag of what was looked
// at, so that nobody undoes what somebody else has just done.

// longestReload bounds the answer to a reload: a flow that is exchanged may take the grace period.
const longestReload = 10 * time.Minute

// Configuration is the document of /api/v1/config.
type Configuration struct {
	repeater.ConfigStatus
	Text string `json:"text"`
}

// Rollback is the body of POST /api/v1/config/rollback.
type Rollback struct {
	Generation uint64 `json:"generation"`
}

func (s *Server) configAPI(mux *http.ServeMux) {
	if s.opts.Keeper == nil {
		return
	}
	mux.HandleFunc("GET /api/v1/config", s.config)
	mux.HandleFunc("GET /api/v1/config/history", func(w http.ResponseWriter, _ *http.Request) { document(w, listed(s.opts.Keeper.History())) })
	mux.HandleFunc("GET /api/v1/config/history/{n}", s.generation)
	mux.HandleFunc("POST /api/v1/config/reload", s.reload)
	mux.HandleFunc("POST /api/v1/config/rollback", s.rollback)
}

func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	k := s.opts.Keeper
	k.Look()
	text, err := k.Text(0)
	if err != nil {
		refuse(w, unchanged(err))
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
		refuse(w, unchanged(err))
		return
	}
	document(w, map[string]any{"generation": n, "text": text})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if s.mayChange(w, r, nil) {
		s.apply(w, r, repeater.Ask{})
	}
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) {
	var b Rollback
	if s.mayChange(w, r, &b) {
		if b.Generation == 0 {
			refuse(w, problem{Status: http.StatusBadRequest, Detail: "no generation", Help: `send {"generation": N}; GET /api/v1/config/history lists them`})
			return
		}
		s.apply(w, r, repeater.Ask{Generation: b.Generation})
	}
}

// mayChange refuses what comes without If-Match, and what is no JSON; it reads the body into v, unless that is nil.
func (s *Server) mayChange(w http.ResponseWriter, r *http.Request, v any) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, problem{Status: http.StatusUnsupportedMediaType, Detail: "the request must be JSON", Help: "send Content-Type: application/json"})
		return false
	}
	if r.Header.Get("If-Match") == "" {
		refuse(w, problem{Status: http.StatusPreconditionRequired, Code: "C002", Detail: "a change of the configuration needs If-Match", Help: "send the ETag of GET /api/v1/config, or use posthouse reload"})
		return false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostAsked))
	if err == nil && v != nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		refuse(w, problem{Status: http.StatusBadRequest, Detail: "the body cannot be read: " + err.Error(), Help: "see docs/operating.md"})
	}
	return err == nil
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request, a repeater.Ask) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longestReload)) // else the server's own holds
	a.Match = r.Header.Get("If-Match")
	if a.Match == "*" {
		a.Match = ""
	}
	a.DryRun = r.URL.Query().Get("dry_run") == "1"
	out, err := s.opts.Keeper.Apply(a)
	if out.Config.Generation != 0 {
		w.Header().Set("ETag", out.Config.ETag())
	}
	if err != nil {
		refuse(w, unchanged(err))
		return
	}
	document(w, out)
}

// unchanged says what to do about an error of a Keeper.
func unchanged(err error) problem {
	p := problem{Status: http.StatusInternalServerError, Detail: err.Error()}
	var r *repeater.Refused
	switch {
	case errors.As(err, &r):
		p.Status, p.Findings, p.Help = http.StatusUnprocessableEntity, r.Findings, "what ran before goes on; mend the file and reload again"
		if len(r.Findings) > 0 {
			p.Code = r.Findings[0].Code
		}
	case errors.Is(err, repeater.ErrMatch):
		p.Status, p.Code, p.Help = http.StatusPreconditionFailed, "C002", "look at GET /api/v1/config and try again"
	case errors.Is(err, repeater.ErrNoGeneration):
		p.Status, p.Code, p.Help = http.StatusNotFound, "C004", "GET /api/v1/config/history lists them"
	case errors.Is(err, repeater.ErrNotYet):
		p.Status, p.Help = http.StatusServiceUnavailable, "try again in a moment"
	}
	return p
}
