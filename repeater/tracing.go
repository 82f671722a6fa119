package repeater

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/posthouse/posthouse/adapters"
)

// Tracing: what the operator's tracing system sees of a message (W3C Trace Context, www.w3.org/TR/trace-context; OpenTelemetry).
//
//	receive  from the reception until the lanes have it; child of what the message's own context names
//	spool    one for each lane that keeps it: from the append until it is on disk; child of receive
//	send     one for each try: from the conversion until the target has answered; child of receive, or, for a message out of
//	         the spool, the root of a new trace with a link to its spool span: it may be sent days later
//
// No span is open while a message is in the spool. The message that is sent names the send span as its parent. Contexts travel
// in the properties traceparent and tracestate; that they do through every protocol is package bridge's matter.
//
// Without a tracer nothing of this happens: contexts go through untouched.
type tracing struct{ trace.Tracer }

// newTracing returns nil where there is no tracer: tracing is off.
func newTracing(t trace.Tracer) *tracing {
	if t == nil {
		return nil
	}
	return &tracing{t}
}

// carrier reads and writes context in the properties of a message. It never changes the slice that it was made with.
type carrier struct{ m *adapters.Message }

var _ propagation.TextMapCarrier = carrier{}

// Get implements propagation.TextMapCarrier. Clients of some protocols write bytes where others write strings.
func (c carrier) Get(name string) string {
	for i := range c.m.Props {
		if v := c.m.Props[i].V; c.m.Props[i].Name == name && (v.Type() == adapters.TString || v.Type() == adapters.TBytes) {
			return v.Str()
		}
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(name, value string) {
	c.m.Props = append(slices.Clip(c.m.Props), adapters.Prop{Name: name, V: adapters.String(value)})
}

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string { return contextNames }

var contextNames = propagation.TraceContext{}.Fields()

// contextOf is the context that m carries.
func contextOf(m *adapters.Message) context.Context {
	return propagation.TraceContext{}.Extract(context.Background(), carrier{m})
}

// within makes m, whose properties somebody else may hold too, carry the context of span.
func within(m *adapters.Message, span trace.Span) {
	m.Props = slices.DeleteFunc(slices.Clone(m.Props), func(p adapters.Prop) bool { return slices.Contains(contextNames, p.Name) })
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), carrier{m})
}

// receive makes p.m part of the trace of its receive span, and returns what ends that.
func (t *tracing) receive(p *parcel) (end func()) {
	if t == nil {
		return func() {}
	}
	own := *p.m
	_, span := t.Start(contextOf(&own), "receive "+p.f.source.Name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(p.at))
	if span.IsRecording() {
		span.SetAttributes(place(p.f.adapter.Kind(), p.f.source, "receive")...)
		span.SetAttributes(attribute.Int64("messaging.message.body.size", int64(len(own.Body.Data))))
	}
	within(&own, span)
	p.m = &own
	return func() { span.End() }
}

// spool makes it part of the trace of its spool span, which spooled ends.
func (t *tracing) spool(it *item) {
	if t == nil || it.entry() {
		return
	}
	own := *it.m
	_, it.span = t.Start(contextOf(&own), "spool "+it.lane.name, trace.WithAttributes(attribute.String("posthouse.lane", it.lane.name)))
	within(&own, it.span)
	it.m = &own
}

// spooled ends the spool spans of its.
func (t *tracing) spooled(its []*item, err error) {
	if t == nil {
		return
	}
	for _, it := range its {
		it.endSpan(err)
	}
}

// send makes m, which is it on its way to the target, part of the trace of its send span; nil without tracing, and for what an
// operator moves by hand.
func (t *tracing) send(l *lane, it *item, m *adapters.Message) trace.Span {
	if t == nil || it.p == nil && !it.record() && it.origin == nil {
		return nil
	}
	at := l.address()
	ctx, options := contextOf(m), []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	if it.record() {
		ctx, options = context.Background(), append(options, trace.WithLinks(trace.LinkFromContext(ctx)))
	}
	_, span := t.Start(ctx, "send "+at.Name, options...)
	if span.IsRecording() {
		span.SetAttributes(place(l.adapterNow().Kind(), at, "send")...)
		span.SetAttributes(attribute.String("posthouse.lane", l.name), attribute.String("posthouse.id", it.id), attribute.Bool("posthouse.possible_duplicate", m.Track.MaybeDup))
		if it.record() {
			span.SetAttributes(attribute.Float64("posthouse.waited_seconds", time.Since(it.at).Seconds()))
		}
	}
	within(m, span)
	return span
}

// endSpan ends the span of it, if it has one.
func (it *item) endSpan(err error) {
	if it.span == nil {
		return
	}
	endSpan(it.span, err)
	it.span = nil
}

func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// place says where an operation took place, in the words of OpenTelemetry's conventions for messaging.
func place(kind string, at adapters.Address, operation string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", kind), attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.name", at.Name), attribute.String("posthouse.broker", at.Broker),
	}
}
