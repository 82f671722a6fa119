package repeater

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// What has left the queue must not be kept in memory by the array behind it: with large messages that would be as much
// again as the prefetch allows.
func TestSentItemsLeaveTheQueuesArray(t *testing.T) {
	r := &routes.Route{InFlight: 8, Batch: routes.Batch{Count: 3, Size: 1 << 20}}
	l := &lane{of: &routeRun{route: r}, reach: new(reach), wake: make(chan struct{}, 1)}
	s := newSession(nil, adapters.Limits{}, newDebt())
	for range 5 {
		l.push([]*item{{p: &parcel{s: s}}})
	}
	array := l.queue
	its, more := l.cut(false, false, nil)
	if len(its) != 3 || !more {
		t.Fatalf("%d items, more %v", len(its), more)
	}
	for i, it := range array {
		if (it == nil) != (i < 3) {
			t.Errorf("slot %d of the array: %v", i, it)
		}
	}
}

// What a pace permits goes in portions of ten milliseconds; what is begun when the repeater stops does not wait for it.
func TestPaceGathersPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(5000)
		for left := 500; left > 0; left -= 100 { // a tenth of a second may go at once
			if n := p.room(100, false); n != 100 || !p.next.IsZero() {
				t.Fatalf("%d of 100, next %v", n, p.next)
			}
			p.took(100)
		}
		if n := p.room(100, false); n != 0 || time.Until(p.next).Round(time.Millisecond) != 10*time.Millisecond {
			t.Fatalf("%d at once, then in %v", n, time.Until(p.next))
		}
		<-time.After(time.Until(p.next))
		if n := p.room(100, false); n != 50 {
			t.Errorf("a portion of %d", n)
		}
		p.took(50)
		if n := p.room(3, false); n != 0 || time.Until(p.next) > time.Millisecond {
			t.Errorf("%d at once, then 3 in %v", n, time.Until(p.next))
		}
		if n := p.room(100, true); n != 100 || !p.next.IsZero() {
			t.Errorf("while stopping %d of 100, next %v", n, p.next)
		}
		if n := (*pace)(nil).room(7, false); n != 7 {
			t.Errorf("without a rate %d of 7", n)
		}
	})
}
