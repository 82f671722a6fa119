package main

import (
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/repeater"
)

// TestStatusOfShares: the lines below the table say which targets get messages.
func TestStatusOfShares(t *testing.T) {
	since := noon.Add(-3 * time.Hour)
	st := well()
	lane := func(name string, s repeater.LaneShare) repeater.LaneStatus {
		return repeater.LaneStatus{Name: name, State: "pass-through", Since: since, Share: &s}
	}
	st.Routes = []repeater.RouteStatus{
		{Name: "orders", Lanes: []repeater.LaneStatus{
			lane("orders/new", repeater.LaneShare{Distribute: "weighted", InUse: true, Weight: 3}),
			lane("orders/old", repeater.LaneShare{Distribute: "weighted", Weight: 1, Priority: 2, Moved: 12})}},
		{Name: "fills", Lanes: []repeater.LaneStatus{
			lane("fills/failover", repeater.LaneShare{Distribute: "failover", InUse: true, Targets: []string{"b", "c"}, Target: "c", Since: &since, Switches: 1})}},
	}
	got := asView(t, st).text(noon, false)
	for _, want := range []string{
		"\norders shares by weight: new 3, old 1 of priority 2 (gets nothing now), 12 messages moved to others\n",
		"\nfills/failover uses c since 3h, number 2 of b, c, after 1 switch\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("not in it: %q\n%s", want, got)
		}
	}
}
