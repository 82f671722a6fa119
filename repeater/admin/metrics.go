package admin

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

// metrics answers with what a registry has and, behind it, with the many series that are written without one. Prometheus asks
// for text unless it is set to collect native histograms: these only the protobuf format has, and there everything
// comes out of registries, in several times the time.
func (s *Server) metrics() http.Handler {
	o := promhttp.HandlerOpts{DisableCompression: true}
	if s.opts.Families == nil {
		return promhttp.HandlerFor(s.opts.Metrics, o)
	}
	few := promhttp.HandlerFor(s.opts.Metrics, o)
	all := promhttp.HandlerFor(prometheus.Gatherers{s.opts.Metrics, s.opts.Bulk}, o)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...).FormatType() != expfmt.TypeTextPlain {
			all.ServeHTTP(w, r)
			return
		}
		t := &tally{ResponseWriter: w}
		if few.ServeHTTP(t, r); t.failed {
			return
		}
		_ = s.opts.Families(w) // the client went away: nobody to tell
	})
}

// A tally knows whether the answer is an error.
type tally struct {
	http.ResponseWriter
	failed bool
}

// WriteHeader implements http.ResponseWriter.
func (t *tally) WriteHeader(code int) {
	t.failed = t.failed || code != http.StatusOK
	t.ResponseWriter.WriteHeader(code)
}
