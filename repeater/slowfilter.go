package repeater

import (
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// slowFilter is how long all filters of a source may take over one message before it is said, once (F009).
const slowFilter = 50 * time.Millisecond

// decide is routes.Decide, and watches how long it takes.
func (f *flow) decide(said []routes.Decision, m *adapters.Message) []routes.Decision {
	begin := time.Now()
	said = routes.Decide(said, f.table, m)
	took := time.Since(begin)
	if f.filters {
		f.count.filter.Observe(took.Seconds())
	}
	if took > slowFilter && !f.slowTold.Load() {
		f.tellSlow(m, slowFilter)
	}
	return said
}

// tellSlow names the route whose filter takes the longest over m. It is asked again: the first time the processor may have
// been with somebody else.
func (f *flow) tellSlow(m *adapters.Message, limit time.Duration) {
	var slowest *routes.Route
	var took time.Duration
	for _, r := range f.table {
		if r.Filter == nil {
			continue
		}
		begin := time.Now()
		_, _ = r.Filter.Match(m, r.Name) // what it says is known
		if d := time.Since(begin); d > took {
			slowest, took = r, d
		}
	}
	if slowest != nil && took > limit && f.slowTold.CompareAndSwap(false, true) {
		f.log.Warn(msgSlowFilter, "code", routes.CodeSlowFilter, "route", slowest.Name, "took", took, "filter", slowest.Filter.String(), "body_bytes", len(m.Body.Data))
	}
}
