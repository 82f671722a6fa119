package repeater

import (
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Without a tracer nothing is done and nothing allocated.
func TestTracingOffCostsNothing(t *testing.T) {
	l := &lane{of: new(routeRun)}
	m := &adapters.Message{Props: []adapters.Prop{{Name: "traceparent", V: adapters.String("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}}
	p := &parcel{m: m, at: time.Now(), f: new(flow)}
	it := &item{m: m, lane: l}
	its := []*item{it}
	if n := testing.AllocsPerRun(100, func() {
		p.f.tracing.receive(p)()
		l.of.tracing.spool(it)
		l.of.tracing.spooled(its, nil)
		if span := l.of.tracing.send(l, it, m); span != nil {
			t.Error("there is a span")
		}
		it.endSpan(nil)
	}); n != 0 || it.m != m || p.m != m {
		t.Errorf("%v allocations, or another message", n)
	}
}
