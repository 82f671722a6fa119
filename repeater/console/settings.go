package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// A setting is one that a route has in effect.
type setting struct{ Name, Value string }

// settings are those of a route.
func settings(t *routes.Table, name string) (out []setting) {
	i := slices.IndexFunc(t.Routes, func(r *routes.Route) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	r := t.Routes[i]
	out = []setting{{"from", r.From.String()}, {"to", r.TargetText()}, {"delivery", string(r.Delivery)}, {"order", string(r.Order)},
		{"spool", string(r.Spool.Mode)}, {"prefetch", fmt.Sprint(r.Prefetch)}, {"in_flight", fmt.Sprint(r.InFlight)},
		{"max_attempts", fmt.Sprint(r.MaxAttempts)}, {"max_message_size", size(r.MaxMessageSize)}, {"served by", strings.Join(r.Repeaters, ", ")}}
	if r.Filter != nil {
		out = append(out, setting{"filter", r.Filter.String()})
	}
	return slices.DeleteFunc(out, func(s setting) bool { return s.Value == "" })
}

// functions are what templates can call.
var functions = template.FuncMap{
	"colour": colourOf, "short": short, "ago": ago, "size": size, "thousands": thousands,
	"since": func(now, at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return ago(now.Sub(at))
	},
	"path": func(s string) string { return strings.ReplaceAll(template.URLQueryEscaper(s), "+", "%20") },
	"stamp": func(at any) string {
		switch v := at.(type) {
		case time.Time:
			return v.UTC().Format(time.DateTime)
		case *time.Time:
			if v != nil {
				return v.UTC().Format(time.DateTime)
			}
		case int64:
			return time.UnixMilli(v).UTC().Format(time.DateTime)
		}
		return ""
	},
	"ms":   func(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) },
	"some": func(v any) bool { return v != nil && !reflect.ValueOf(v).IsZero() },
	"json": func(v any) (string, error) { b, err := json.MarshalIndent(v, "", "  "); return string(b), err },
}

// size writes a number of bytes.
func size(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprint(n, " B")
}

// thousands writes a count with commas.
func thousands(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// spark is a plot in a line of a table.
func spark(values []float64) template.HTML {
	top := slices.Max(append([]float64{0}, values...))
	if top == 0 {
		return ""
	}
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true"><polyline class="line0" points="%s"/></svg>`,
		plotWidth, plotHeight, points(values, top))) //nolint:gosec // numbers only
}
