package bridge

import (
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestAskedIDsInTwentyFourBytes: both ids of a request go through a field of IBM MQ, and a reply that brings one of them back is
// known by it.
func TestAskedIDsInTwentyFourBytes(t *testing.T) {
	const track = "k3v9x0q2m4t7a.0000001f.0000000300000a41"
	for _, track := range []string{"gphgknls5cddm.00000001.0000000000000001", "0000000000000.ffffffff.ffffffffffffffff"} {
		for byCorr, id := range map[bool]adapters.ID{false: AskedID(track), true: AskedCorr(track)} {
			fixed := fixedID(id, 24)
			got, gotCorr, ok := AskedBy(fixed)
			if got != track || gotCorr != byCorr || !ok {
				t.Errorf("%s came back as %q, %t, %t", id.S, got, gotCorr, ok)
			}
		}
	}
	for _, s := range []string{idMark + track, idMark + "gphgknls5cddm.00000001.000000000000001", idMark + "x", "gphgknls5cddm.00000001.0000000000000001",
		idMark + "GPHGKNLS5CDDM.00000001.0000000000000001", idMark + "gphgknls5cddm.00000001.0000000000000001.d"} {
		if b, ok := packAsked(s); ok {
			t.Errorf("%q was packed as %x", s, b)
		}
	}
	if _, _, ok := AskedBy(adapters.ID{Form: adapters.IDBytes, B: []byte("an application's own id ")}); ok {
		t.Error("an application's id was taken for ours")
	}
}
