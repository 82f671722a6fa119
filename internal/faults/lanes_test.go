package faults

import (
	"context"
	"testing"
)

// TestOneLaneSpoolsTheOtherGoesOn: two sources, one target that is stopped and one that is not. While the one lane
// spools, the other passes its messages through as before, and it never spools.
func TestOneLaneSpoolsTheOtherGoesOn(t *testing.T) {
	t.Parallel()
	from, to := sharedArtemis(t), [2]*natsEnd{newNATS(t), newNATS(t)}
	away := prepare(t, behind(t, to[0], to[0].addr).between("", from))
	near := prepare(t, behind(t, to[1], to[1].addr).between("", from))
	begin(t, t.TempDir(), "", away, near)
	away.steady()
	near.steady()
	to[0].stop(t.Context())
	away.h.breaks++
	start := away.spooled(1)
	away.load.speed(rate)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	arrived, wanted := 0, to[1].count(ctx, t, near.name)+backlog()
	err := until(ctx, "messages arrive at the near target", func() bool {
		arrived = to[1].count(ctx, t, near.name)
		return arrived >= wanted
	})
	if err != nil {
		t.Fatalf("%v: %d of %d", err, arrived, wanted)
	}
	end := away.spooled(backlog() / 2)
	if end.Forwarded != start.Forwarded || end.State != spooling {
		t.Errorf("void: the other lane forwarded %d messages meanwhile; it is %s", end.Forwarded-start.Forwarded, end.State)
	}
	if err := to[0].start(t.Context()); err != nil {
		t.Fatal(err)
	}
	away.recovered()
	near.await("the near lane never spooled", func(s laneStatus) bool { return s.State == passThrough && s.SpooledTotal == 0 })
	finish(away, near)
}
