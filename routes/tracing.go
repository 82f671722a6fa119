package routes

import "net/url"

// observing is the release that brought tracing.
const observing = "0.5"

// Tracing is where spans go.
type Tracing struct {
	Endpoint string  // URL of an OTLP collector over HTTP; "" = there are none
	Sample   float64 // the part of the messages without context that is traced, 0 to 1
}

func tracingField() *Field {
	return &Field{Name: "tracing", Type: Object, Since: observing, Reload: RestartProcess,
		Doc: "Spans for a tracing system. Left out: none, and what messages carry of traces goes through untouched.",
		Of: &Shape{Name: "tracing", Doc: "Spans for a tracing system, over OTLP.", Fields: []*Field{
			{Name: "endpoint", Type: Text, Required: true, Since: observing, Reload: RestartProcess, Example: "endpoint: http://127.0.0.1:4318",
				Doc: "URL of a collector that takes OTLP over HTTP; without a path it is /v1/traces. Headers that it wants, such as a key, are taken from the variable OTEL_EXPORTER_OTLP_HEADERS."},
			{Name: "sample", Type: Ratio, Default: "1", Min: 0, Max: 1, Since: observing, Reload: RestartProcess,
				Doc: "The part of the messages without trace context that is traced, 0 to 1. For others their context decides."},
		}}}
}

// tracing reads the section of admin v.
func (b *builder) tracing(c chain, v *value) Tracing {
	at := v.get("tracing", "endpoint")
	if at.scalar() == nil {
		return Tracing{}
	}
	t := Tracing{Endpoint: c.text("tracing", "endpoint"), Sample: c.ratio("tracing", "sample")}
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		b.at(at.node, at.path, Finding{Code: "K003", Message: "endpoint must be a URL of a collector for OTLP over HTTP", Label: "no http:// or https:// URL", Help: "write for example http://127.0.0.1:4318"})
	case u.User != nil:
		b.at(at.node, at.path, Finding{Code: "X001", Message: "endpoint holds a password", Label: "a secret in the file", Help: "take it out, and put the header that the collector wants into the variable OTEL_EXPORTER_OTLP_HEADERS"})
	}
	return t
}
