package adaptertest_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/adapters/mem"
)

func sins() []sin {
	return []sin{
		{"none", func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return a }, ""},
		{"eager", badSource(func(s adapters.Source) adapters.Source { return eager{s} }),
			"AcceptedStaysAway ReleasedComesBack UnsettledComesBack SettleOutOfOrder " +
				"RejectedGoesAside AttemptCounts PrefetchBound"},
		{"swapped", badSource(func(s adapters.Source) adapters.Source { return swapped{s} }),
			"Dribble RoundTripOrder OrderInBatches OrderAcrossReconnect AcceptedStaysAway"},
		{"deaf", badSource(func(s adapters.Source) adapters.Source { return deaf{s} }),
			"CloseUnblocksReceive"},
		{"forgetful", badSource(func(s adapters.Source) adapters.Source { return forgetful{s} }),
			"ReceiveCancel"},
		{"grabber", badSource(func(s adapters.Source) adapters.Source { return grabber{s} }),
			"ReceiveCancel OrderInBatches OrderAcrossReconnect PrefetchBound"},
		{"prefix", badSource(func(s adapters.Source) adapters.Source { return &upTo{Source: s} }),
			"SettleOutOfOrder"},
		{"forgiving", badSource(func(s adapters.Source) adapters.Source { return forgiving{s} }),
			"SettleTwice SettleAfterLost SettleConfirmed"},
		{"swallow", badTarget(func(g *mem.Target) adapters.Target { return swallow{g} }),
			"StallIsNoticed UnknownOutcomeIsNotSuccess"},
		{"hasty", badTarget(func(g *mem.Target) adapters.Target { return hasty{g} }),
			"StallIsNoticed BodyTooBig PrefixRule PartialFates " +
				"AcceptedIsDurable UnknownOutcomeIsNotSuccess FullHoldsBack DirectedGone MissingPlaceIsOneMessages"},
		{"keeper", badTarget(func(g *mem.Target) adapters.Target { return &keeper{Target: g} }),
			"KeepsNothing"},
		{"liar", badTarget(func(g *mem.Target) adapters.Target { return liar{g} }),
			"BodyTooBig OrderAcrossReconnect PrefixRule UnknownOutcomeIsNotSuccess DirectedGone"},
		{"copycat", badTarget(func(g *mem.Target) adapters.Target { return copycat{g} }),
			"NewIDNotSwallowed"},
		{"mangler", badTarget(func(g *mem.Target) adapters.Target { return mangler{g} }),
			"BodyEmpty BodyNUL BodyNotUTF8 BodyMax BodyTooBig PrefixRule PartialFates"},
		{"stripper", badTarget(func(g *mem.Target) adapters.Target { return stripper{g} }),
			"HeaderKinds HeaderRepeated HeaderUnknownSurvives EnvelopeFields Golden ReplyComesBack Directed DirectedGone EachToItsPlace MissingPlaceIsOneMessages"},
		{"one-way", badTarget(func(g *mem.Target) adapters.Target { return oneWay{g} }),
			"Directed DirectedGone EachToItsPlace MissingPlaceIsOneMessages"},
		{"homing", badTarget(func(g *mem.Target) adapters.Target { return homing{g} }),
			"EachToItsPlace MissingPlaceIsOneMessages"},
		{"stickler", badTarget(func(g *mem.Target) adapters.Target { return stickler{g} }),
			"DirectedGone MissingPlaceIsOneMessages"},
		{"renamer", badTarget(func(g *mem.Target) adapters.Target { return renamer{g} }),
			"OnceInWindow"},
		{"lumper", lumper,
			"CloseTwice CloseUnblocksReceive NoGoroutineLeft StallIsNoticed BodyTooBig OrderAcrossReconnect UnsettledComesBack " +
				"SettleOutOfOrder SettleAfterLost AttemptCounts ErrorKinds FullHoldsBack DirectedGone"},
		{"leaky", leaky,
			"NoGoroutineLeft"},
		{"chatty", chatty,
			"SecretsHidden"},
		{"tired", tired,
			"OpenClose"},
		{"careless", func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return careless{a} },
			"UnknownKeyRefused"},
		{"curious", func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return curious{a} },
			"CheckOffline"},
		{"boaster", func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return boaster{a} },
			"OrderAfterRefusal"},
		{"boundless", func(_ testing.TB, a adapters.Adapter) adapters.Adapter { return boundless{a} },
			"BodyTooBig PartialFates SizeBoundHolds"},
	}
}

// A sin is an adapter over mem with one planted bug, and the checks that must find it: these and no others.
type sin struct {
	name  string
	wrap  func(t testing.TB, a adapters.Adapter) adapters.Adapter
	fails string // names, separated by spaces
}

// TestSinsAreFound runs every check against every sin, in virtual time, and compares the names of those that fail.
func TestSinsAreFound(t *testing.T) {
	findSins(t, sins(), newMem)
	findSins(t, txSins(), newTxMem)
}

func findSins(t *testing.T, all []sin, broker func() memHarness) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			var failed []string
			for _, c := range adaptertest.Checks() {
				synctest.Test(t, func(t *testing.T) {
					if r := record(t, c, s, broker()); r.failed {
						failed = append(failed, c.Name)
						t.Logf("%s: %s", c.Name, r.first)
					}
				})
			}
			slices.Sort(failed)
			if want := slices.Sorted(strings.FieldsSeq(s.fails)); !slices.Equal(failed, want) {
				t.Errorf("checks that fail:\n%q, want\n%q", failed, want)
			}
		})
	}
}

// TestEveryCheckBites: a check that no sin fails proves nothing.
func TestEveryCheckBites(t *testing.T) {
	var all strings.Builder
	for _, s := range slices.Concat(sins(), txSins()) {
		all.WriteString(s.fails + " ")
	}
	found := strings.Fields(all.String())
	for _, c := range adaptertest.Checks() {
		if !slices.Contains(found, c.Name) {
			t.Errorf("no sin fails %s", c.Name)
		}
	}
}
