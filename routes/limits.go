package routes

import "strings"

// Limits are what a reload changes of a route while it runs, without a restart: nothing hangs on two messages being measured
// by the same of them. The number in flight is none of them, for it is agreed with the target when that is opened.
type Limits struct {
	MaxAttempts        int
	Batch              Batch
	Retry              Retry
	MaxRate, DrainRate int
}

// Limits are those of r, as its fields of the same names.
func (r *Route) Limits() Limits {
	return Limits{MaxAttempts: r.MaxAttempts, Batch: r.Batch, Retry: r.Retry, MaxRate: r.MaxRate, DrainRate: r.DrainRate}
}

// allLive reports whether keys of a route, with dots, are all applied while it runs.
func allLive(keys []string) bool {
	for _, key := range keys {
		var f *Field
		s := routeShape()
		for name := range strings.SplitSeq(key, ".") {
			if s == nil {
				return false
			}
			if f = s.field(name, ""); f == nil {
				return false
			}
			s = f.Of
		}
		if f.Reload != Live {
			return false
		}
	}
	return true
}
