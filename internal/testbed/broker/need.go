package broker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Need returns the address of the named broker, as the testbed or the caller has set it, for a test
// that uses a shared broker. Without one it skips the test, or fails it if POSTHOUSE_REQUIRE names
// the broker. Further variables that must be set may be named.
func Need(tb testing.TB, name string, variables ...string) string {
	tb.Helper()
	for _, v := range append([]string{Variable(name)}, variables...) {
		if os.Getenv(v) == "" {
			giveUp(tb, name, whyMissing(name, v))
		}
	}
	return os.Getenv(Variable(name))
}

// whyMissing is what the testbed says of a broker that it could not start, or that nobody has set the variable.
func whyMissing(name, variable string) string {
	if reason := os.Getenv(EnvSkipPrefix + strings.ToUpper(name)); reason != "" {
		return reason
	}
	return variable + " is not set"
}

// Private starts a broker for one test, which may kill and restart it, with its data in the test's
// directory, and kills it after the test. It skips or fails like Need, so that go test on its own
// downloads nothing: where no shared broker of the name is, there is no private one.
func Private(tb testing.TB, name string) *Broker {
	tb.Helper()
	return PrivateVia(tb, name, nil)
}

// PrivateVia is Private with Options.Via.
func PrivateVia(tb testing.TB, name string, via func(addr string) (string, error)) *Broker {
	tb.Helper()
	Need(tb, name)
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	b, err := Start(ctx, name, tb.TempDir(), Options{Log: tb.Output(), Via: via})
	if err != nil {
		giveUp(tb, name, err.Error())
	}
	tb.Cleanup(b.Kill) // its data goes with the test, so there is nothing to end in order
	return b
}

// giveUp ends the test. The testbed counts the skipped tests of each broker by "broker=NAME".
func giveUp(tb testing.TB, name, reason string) {
	tb.Helper()
	text := fmt.Sprintf("broker=%s reason=%q fix=%q", name, reason, Fix(name))
	must := strings.FieldsFunc(os.Getenv(EnvRequire), func(r rune) bool { return r == ',' || r == ' ' })
	if slices.Contains(must, "all") || slices.Contains(must, name) {
		tb.Fatalf("%s requires %s", EnvRequire, text)
	}
	tb.Skip(text)
}
