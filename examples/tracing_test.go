package examples

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/go-amqp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A tracingSystem takes spans over OTLP/HTTP, as the collectors of tracing systems do.
type tracingSystem struct {
	url string

	mu       sync.Mutex
	spans    []*otlp.Span
	requests int
}

func newTracingSystem(t *testing.T) *tracingSystem {
	t.Helper()
	c := new(tracingSystem)
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// ServeHTTP implements http.Handler: an export, as the OTLP specification 1.x has it for HTTP with binary protobuf.
func (c *tracingSystem) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		http.Error(w, "no OTLP", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// named returns the spans whose names begin so.
func (c *tracingSystem) named(prefix string) (out []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if strings.HasPrefix(s.Name, prefix) {
			out = append(out, s)
		}
	}
	return out
}

// one is the one span whose name begins so.
func (c *tracingSystem) one(t *testing.T, prefix string) *otlp.Span {
	t.Helper()
	found := c.named(prefix)
	if len(found) != 1 {
		t.Fatalf("%d spans begin with %q: %v", len(found), prefix, c.named(""))
	}
	return found[0]
}

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
)

// parent is a context as an application writes it.
func parent(flags string) string { return "00-" + parentTrace + "-" + parentSpan + "-" + flags }

// traceparentOf is what a message carries that has the context of s.
func traceparentOf(s *otlp.Span) string {
	return fmt.Sprintf("00-%x-%x-01", s.TraceId, s.SpanId)
}

const traced = `version: 1
brokers:
  artemis: { type: amqp, addresses: ["amqp://ARTEMIS"], credentials: { user: posthouse, password: { env: PW } } }
  kafka: { type: kafka, addresses: ["KAFKA"] }
spool: { dir: DIR, segment_size: 4MiB }
routes:
  - { name: straight, from: { broker: artemis, queue: IN-straight }, to: { broker: kafka, topic: OUT-straight } }
  - { name: kept, from: { broker: artemis, queue: IN-kept }, to: { broker: kafka, topic: OUT-kept }, spool: { mode: always } }
admin: { listen: 127.0.0.1:0, tracing: { endpoint: "COLLECTOR", sample: 0 } }
`

// TestTracing: a message keeps its trace from an application over Artemis and Kafka to the next; one that was spooled begins a new
// one with a link; one that is not sampled is not shown, and is passed on as not sampled.
func TestTracing(t *testing.T) {
	address, kafka := broker.Need(t, broker.Artemis), broker.Need(t, broker.Kafka)
	c, in, out := newTracingSystem(t), "traced"+unique(), "traced"+unique()
	createTopic(t, kafka, out+"-straight")
	createTopic(t, kafka, out+"-kept")
	d := run(t, written(t, traced, "ARTEMIS", hostPort(t, address), "KAFKA", kafka, "DIR", t.TempDir(), "IN", in, "OUT", out, "COLLECTOR", c.url), testPassword())
	from := dialArtemis(t, address)
	message := func(traceparent any) []*amqp.Message {
		return []*amqp.Message{{Data: [][]byte{[]byte("x")}, ApplicationProperties: map[string]any{"traceparent": traceparent, "tracestate": "vendor=1"}}}
	}
	from.send(in+"-straight", message(parent("01")))
	from.send(in+"-kept", message(parent("01")))
	straight, kept := consume(t, kafka, out+"-straight", 1), consume(t, kafka, out+"-kept", 1)
	from.send(in+"-straight", message([]byte(parent("00"))))
	quiet := recordHeaders(consume(t, kafka, out+"-straight", 2)[1])["traceparent"]
	d.stop() // hands over the last spans

	receive, send := c.one(t, "receive "+in+"-straight"), c.one(t, "send "+out+"-straight")
	if hex.EncodeToString(receive.TraceId) != parentTrace || hex.EncodeToString(receive.ParentSpanId) != parentSpan {
		t.Errorf("receive is no child of what the application wrote: %v", receive)
	}
	if string(send.TraceId) != string(receive.TraceId) || string(send.ParentSpanId) != string(receive.SpanId) || len(send.Links) != 0 {
		t.Errorf("send is no child of receive: %v", send)
	}
	if got := recordHeaders(straight[0]); got["traceparent"] != traceparentOf(send) || got["tracestate"] != "vendor=1" {
		t.Errorf("Kafka got %v, want the context of %v", got, send)
	}

	receive, spool, send := c.one(t, "receive "+in+"-kept"), c.one(t, "spool kept/kafka"), c.one(t, "send "+out+"-kept")
	if string(spool.ParentSpanId) != string(receive.SpanId) || hex.EncodeToString(spool.TraceId) != parentTrace {
		t.Errorf("spool is no child of receive: %v", spool)
	}
	if len(send.ParentSpanId) != 0 || string(send.TraceId) == string(spool.TraceId) {
		t.Errorf("what was spooled is sent within its old trace: %v", send)
	}
	if len(send.Links) != 1 || string(send.Links[0].TraceId) != string(spool.TraceId) || string(send.Links[0].SpanId) != string(spool.SpanId) {
		t.Errorf("send has no link to spool: %v", send)
	}
	if got := recordHeaders(kept[0])["traceparent"]; got != traceparentOf(send) {
		t.Errorf("Kafka got %q, want the context of %v", got, send)
	}
	if spool.EndTimeUnixNano > send.StartTimeUnixNano {
		t.Errorf("spool is open while the message is sent: %v, %v", spool, send)
	}

	if !strings.HasPrefix(quiet, "00-"+parentTrace+"-") || !strings.HasSuffix(quiet, "-00") || strings.Contains(quiet, parentSpan) {
		t.Errorf("the message that is not sampled carries %q", quiet)
	}
}

// A collector that is away, or that takes nothing, holds no message up.
func TestTracingWithoutCollector(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer refuses.Close()
	for name, url := range map[string]string{"away": "http://" + freePort(t), "refuses": refuses.URL} {
		t.Run(name, func(t *testing.T) {
			file := written(t, `version: 1
brokers:
  paris: { type: nats, embedded: { dir: DIR/paris, listen: "PARIS" } }
routes:
  - { name: orders, from: { broker: paris, stream: IN, subject: in, create: true }, to: { broker: paris, subject: out, stream: OUT, create: true } }
admin: { listen: 127.0.0.1:0, tracing: { endpoint: "COLLECTOR" } }
`, "DIR", t.TempDir(), "PARIS", freePort(t), "COLLECTOR", url)
			d := run(t, file)
			command(t, nil, "send", "-c", file, "paris/in", "x", "-n", "100")
			d.await("all are forwarded", func() bool { return d.forwarded("orders") == 100 })
			d.stop()
			if !strings.Contains(d.log.String(), "spans cannot be handed over") {
				t.Errorf("nobody says so:\n%s", d.log)
			}
		})
	}
}
