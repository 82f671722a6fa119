package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/posthouse/posthouse/routes"
)

// flushWithin is how long a stop may take to hand over the last spans.
const flushWithin = 5 * time.Second

// complainEvery is how often it is said that spans cannot be handed over.
const complainEvery = time.Minute

// newTracer returns the tracer that the file asks for, nil if it asks for none, and what hands over the last spans. A collector
// that is away is no error and slows nothing down: spans that find no room in the queue are dropped.
func newTracer(ctx context.Context, a routes.Tracing, repeater string, log *slog.Logger) (trace.Tracer, func(), error) {
	if a.Endpoint == "" {
		return nil, func() {}, nil
	}
	out, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesAt(a.Endpoint)))
	if err != nil {
		return nil, nil, fmt.Errorf("admin.tracing: %w", err)
	}
	var said atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now := time.Now().UnixNano()
		if last := said.Load(); now-last >= int64(complainEvery) && said.CompareAndSwap(last, now) {
			log.Warn("spans cannot be handed over: they are dropped, messages are not affected", "err", err)
		}
	}))
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithSampler(sampler{sdktrace.TraceIDRatioBased(a.Sample)}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "posthouse"),
			attribute.String("service.instance.id", repeater), attribute.String("service.version", version))))
	return p.Tracer("github.com/posthouse/posthouse"), func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			otel.Handle(err)
		}
	}, nil
}

// tracesAt is where a collector takes traces: at the path of the OTLP specification (OTLP/HTTP request), unless the file names another.
func tracesAt(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return endpoint
	}
	return u.JoinPath("v1", "traces").String()
}

// sampler lets the message's own context decide where there is one, and for the send of a spooled message, which begins a new
// trace, the trace that it links to. The ratio is for messages without context.
type sampler struct{ ratio sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	from := trace.SpanContextFromContext(p.ParentContext)
	if !from.IsValid() && len(p.Links) > 0 {
		from = p.Links[0].SpanContext
	}
	if !from.IsValid() {
		return s.ratio.ShouldSample(p)
	}
	d := sdktrace.Drop
	if from.IsSampled() {
		d = sdktrace.RecordAndSample
	}
	return sdktrace.SamplingResult{Decision: d, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
}

// Description implements sdktrace.Sampler.
func (s sampler) Description() string { return "follow, else " + s.ratio.Description() }
