package repeater

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// stamped is a Handler that adds the generation of the configuration that runs to each line.
type stamped struct {
	slog.Handler
	config *atomic.Pointer[ConfigStatus]
}

var _ slog.Handler = stamped{}

// Handle implements slog.Handler.
func (s stamped) Handle(ctx context.Context, r slog.Record) error {
	if c := s.config.Load(); c != nil && c.Generation != 0 {
		r.AddAttrs(slog.Uint64("gen", c.Generation))
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s stamped) WithAttrs(as []slog.Attr) slog.Handler {
	return stamped{s.Handler.WithAttrs(as), s.config}
}

// WithGroup implements slog.Handler.
func (s stamped) WithGroup(name string) slog.Handler {
	return stamped{s.Handler.WithGroup(name), s.config}
}

// configGauges say which configuration runs.
type configGauges struct{ info, ok, at, differs *prometheus.Desc }

func newConfigGauges(desc func(name, help string, labels ...string) *prometheus.Desc) configGauges {
	return configGauges{
		info:    desc("config_info", "1 for the configuration that runs.", "generation", "file_hash"),
		ok:      desc("config_last_reload_successful", "1 unless the last reload was refused."),
		at:      desc("config_last_reload_timestamp_seconds", "When the last reload was asked for; before the first, when the configuration was loaded."),
		differs: desc("config_file_differs", "1 while the file is not what runs."),
	}
}

func (g *configGauges) describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.info, g.ok, g.at, g.differs} {
		c <- d
	}
}

func (g *configGauges) collect(gauge emit, s ConfigStatus) {
	ok, at := true, s.Since
	if s.Last != nil {
		ok, at = s.Last.OK, s.Last.At
	}
	gauge(g.info, 1, strconv.FormatUint(s.Generation, 10), s.Hash)
	gauge(g.ok, is(ok))
	gauge(g.at, float64(at.UnixMilli())/1000)
	gauge(g.differs, is(s.Differs))
}
