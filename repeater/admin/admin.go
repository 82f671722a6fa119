// Package admin is the HTTP side of a repeater: is it alive, is it ready, what does it measure.
//
//	/livez    200 while the process answers
//	/readyz   200 once the configuration is loaded, the spool open and writable, and the routes run; a broker that is
//	          away is "degraded" in the body and never a 503, or an orchestrator would remove the process whose job is
//	          to survive that outage
//	/metrics  Prometheus text format
//	/console/ pages for people (package console)
//	/version  name, version and configuration hash
//	/openapi.json  what can be asked below /api/v1/: to look, to steer, to change the configuration
//	/api/v1/  JSON, and problem+json for errors
//
// Nothing changes by a GET. Who may do what stands in caller.go, what is noted of it in audit.go.
package admin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthouse/posthouse/repeater"
)

// Options are what a Server shows.
type Options struct {
	Status  func() repeater.Status // required
	Metrics prometheus.Gatherer    // required: everything that /metrics shows but what Families writes

	// Families is Repeater.WriteFamilies, and Bulk a registry of the same for those who do not read the text format. nil =
	// Metrics is all.
	Families func(io.Writer) error
	Bulk     prometheus.Gatherer

	Requests *prometheus.CounterVec // of the labels method and code; nil = requests are not counted
	Version  string

	Repeater *repeater.Repeater // nil = only what Status shows

	// Resolve is Repeater.Resolve; nil = nothing can be resolved here.
	Resolve func(ctx context.Context, lane string, a repeater.Action, reason string) (int, error)

	Keeper *repeater.Keeper // nil = the configuration is neither shown nor changed here

	Console http.Handler // of everything below /console/; nil = there is none
	Access  Access       // who may ask
	Log     *slog.Logger // nil = discard
}

// A Server answers on an address, and on a socket if it has one.
type Server struct {
	opts  Options
	http  *http.Server
	lns   []net.Listener // the one of the address, then the socket's
	host  string         // of the address
	uid   int            // who may use the socket, besides root
	audit *auditor

	logins logins
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	s.register(mux, s.endpoints())
	mux.HandleFunc("/api/", nothing)
	s.console(mux)
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, Problem{Status: http.StatusForbidden, Code: "A005", Detail: "a page of another origin may change nothing here", Help: "use posthouse resolve, or send no Origin"})
	}))
	if s.opts.Requests == nil {
		return s.onlyKnownHost(cross.Handler(mux))
	}
	return promhttp.InstrumentHandlerCounter(s.opts.Requests, s.onlyKnownHost(cross.Handler(mux)))
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(s)) // the client went away: nobody to tell
}

// readyz says ok, or degraded with a line for each end that is not up, or not ready while messages could not be kept.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	st := s.opts.Status()
	trouble, word, code := troubles(st), "ok", http.StatusOK
	if len(trouble) > 0 {
		word = "degraded"
	}
	if !writable(st.Spool) {
		word, code = "not ready", http.StatusServiceUnavailable
	}
	var b strings.Builder
	fmt.Fprintln(&b, word)
	if r.URL.Query().Has("verbose") {
		for _, t := range trouble {
			fmt.Fprintln(&b, t)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(b.String())) // the client went away: nobody to tell
}

// writable reports whether the journal can be written, as far as it is the daemon's to say. A full one drains, and is
// none the better for a new process.
func writable(s *repeater.SpoolStatus) bool { return s == nil || s.State == "ok" || s.State == "full" }

func troubles(st repeater.Status) []string {
	out := spoolTroubles(st.Spool)
	note := func(what string, e repeater.EndStatus) {
		if e.State != repeater.LinkUp.String() {
			out = append(out, fmt.Sprintf("%s %s is %s since %s: %s", what, e.Address, e.State, e.Since.UTC().Format(time.RFC3339), e.Error))
		}
	}
	for _, r := range st.Routes {
		note("route "+r.Name+": source", r.Source)
		for _, l := range r.Lanes {
			note("route "+r.Name+": target", l.Link)
			if slices.Contains([]string{"full", "held", "paused", "failed"}, l.State) {
				out = append(out, fmt.Sprintf("lane %s is %s since %s: %s", l.Name, l.State, l.Since.UTC().Format(time.RFC3339), l.Error))
			}
		}
	}
	return out
}

func spoolTroubles(s *repeater.SpoolStatus) (out []string) {
	if s == nil {
		return nil
	}
	if s.State != "ok" {
		out = append(out, strings.TrimSuffix(fmt.Sprintf("spool %s is %s: %s", s.Dir, s.State, s.Error), ": "))
	}
	if s.Damaged > 0 {
		out = append(out, fmt.Sprintf("spool %s keeps damaged segments as evidence: %d", s.Dir, s.Damaged))
	}
	return out
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	st := s.opts.Status()
	document(w, Version{s.opts.Version, st.Repeater, st.Hash, st.Config.Generation})
}

// A Version says which program runs which configuration.
type Version struct {
	Version    string `json:"version"`
	Repeater   string `json:"repeater"`
	Hash       string `json:"config_hash"`
	Generation uint64 `json:"config_generation"`
}
