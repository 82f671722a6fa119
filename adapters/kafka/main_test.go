package kafka

import (
	"testing"

	"go.uber.org/goleak"
)

// leaks are goroutines of libraries below sarama that no call of ours ends.
func leaks() []string {
	return []string{
		"github.com/rcrowley/go-metrics.(*meterArbiter).tick",       // one for the life of the process: rcrowley/go-metrics#241, #298
		"github.com/eapache/go-resiliency/breaker.(*Breaker).timer", // sleeps 10 s after a leader was not found three times, then ends
	}
}

// Leaks tells the conformance suite.
func (h *harness) Leaks() []string { return leaks() }

func TestMain(m *testing.M) {
	var opts []goleak.Option
	for _, f := range leaks() {
		opts = append(opts, goleak.IgnoreAnyFunction(f))
	}
	goleak.VerifyTestMain(m, opts...)
}
