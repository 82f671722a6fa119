package repeater

import (
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// What has left the queue must not be kept in memory by the array behind it: with large messages that would be as much
// again as the prefetch allows.
func TestSentItemsLeaveTheQueuesArray(t *testing.T) {
	r := &routes.Route{InFlight: 8, Batch: routes.Batch{Count: 3, Size: 1 << 20}}
	l := &lane{of: &routeRun{route: r}, wake: make(chan struct{}, 1)}
	s := newSession(nil, adapters.Limits{})
	for range 5 {
		l.push([]*item{{p: &parcel{s: s}}})
	}
	array := l.queue
	its, more := l.cut(false, false)
	if len(its) != 3 || !more {
		t.Fatalf("%d items, more %v", len(its), more)
	}
	for i, it := range array {
		if (it == nil) != (i < 3) {
			t.Errorf("slot %d of the array: %v", i, it)
		}
	}
}
