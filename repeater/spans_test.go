package repeater_test

import (
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// Every span that is begun ends, whatever becomes of its message; and no span lasts as long as an outage.
func TestSpansEnd(t *testing.T) {
	for _, mode := range []routes.SpoolMode{routes.SpoolAuto, routes.SpoolAlways, routes.SpoolNever} {
		spooling(t, mode, func(d *depot) {
			seen := tracetest.NewSpanRecorder()
			d.opts.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen)).Tracer("test")
			d.r.MaxAttempts = 2
			d.refuses(func(n int) bool { return n%10 == 3 })
			d.start()
			for round := range 5 {
				d.brokers["a"].Put("in", messages(20*round, 20)...)
				d.brokers["b"].Link().Cut()
				pass(time.Minute)
			}
			d.until("all have arrived", func() bool { n, _ := d.brokers["b"].Len("out"); return n >= 90 })
			pass(10 * time.Minute)
			d.halt()
			kinds := map[string]int{}
			for _, s := range seen.Ended() {
				kinds[strings.Fields(s.Name())[0]]++
				if took := s.EndTime().Sub(s.StartTime()); took > 40*time.Second {
					t.Errorf("%s: %s took %v", mode, s.Name(), took)
				}
			}
			if begun, ended := len(seen.Started()), len(seen.Ended()); begun != ended || kinds["receive"] < 100 || kinds["send"] < 90 {
				t.Errorf("%s: %d spans were begun, %d ended: %v", mode, begun, ended, kinds)
			}
			if mode == routes.SpoolAlways && kinds["spool"] < 100 {
				t.Errorf("%d spool spans", kinds["spool"])
			}
		})
	}
}

// Context in bytes is read as context in a string is; one that is none begins a new trace.
func TestContextIsReadFromBytes(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, v := range map[string]adapters.Value{"string": adapters.String(parent), "bytes": adapters.Bytes([]byte(parent)), "nonsense": adapters.String("00-zz")} {
		spooling(t, routes.SpoolNever, func(d *depot) {
			d.opts.Tracer = sdktrace.NewTracerProvider().Tracer("test")
			d.start()
			m := message(1)
			m.Props = append(m.Props, adapters.Prop{Name: "traceparent", V: v})
			d.brokers["a"].Put("in", m)
			got := header(d.take("b", "out", 1)[0], "traceparent")
			if kept := strings.HasPrefix(got, "s:00-0af7651916cd43dd8448eb211c80319c-"); kept == (name == "nonsense") || strings.Contains(got, "b7ad6b7169203331") || len(got) != len("s:")+55 {
				t.Errorf("%s: the message that is sent carries %q", name, got)
			}
			d.halt()
		})
	}
}
