package repeater

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
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

// configFamilies say which configuration runs.
type configFamilies struct{ info, ok, at, differs *family }

func newConfigFamilies() configFamilies {
	return configFamilies{
		info:    gaugeFamily("config_info", "1 for the configuration that runs.", "generation", "file_hash"),
		ok:      gaugeFamily("config_last_reload_successful", "1 unless the last reload was refused."),
		at:      gaugeFamily("config_last_reload_timestamp_seconds", "When the last reload was asked for; before the first, when the configuration was loaded."),
		differs: gaugeFamily("config_file_differs", "1 while the file is not what runs."),
	}
}

func (g *configFamilies) list() []*family { return []*family{g.info, g.ok, g.at, g.differs} }

func (g *configFamilies) samples(sample emit, s ConfigStatus) {
	ok, at := true, s.Since
	if s.Last != nil {
		ok, at = s.Last.OK, s.Last.At
	}
	sample(g.info, 1, strconv.FormatUint(s.Generation, 10), s.Hash)
	sample(g.ok, is(ok))
	sample(g.at, float64(at.UnixMilli())/1000)
	sample(g.differs, is(s.Differs))
}
