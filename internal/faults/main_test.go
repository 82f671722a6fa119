package faults

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	scale    = flag.Float64("scale", 1, "make outages and counts of the fault suite longer by this factor")
	seedFlag = flag.Uint64("seed", 0, "seed of the oracle's messages; 0 = a new one")
)

// patience bounds every wait for an event. It decides nothing but when a broken test gives up.
const patience = 60 * time.Second

// freshness is how long a fresh message may take once all faults are over (testing.md, section 5: stuck).
const freshness = 30 * time.Second

// workDir holds the binary; it is gone when the tests have run.
var workDir string

func TestMain(m *testing.M) {
	if os.Getenv(natsEnv) != "" { // this is not a test, but the NATS server of one
		os.Exit(serveNATS(os.Getenv(natsEnv)))
	}
	dir, err := os.MkdirTemp("", "posthouse-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// program builds the posthouse under test, once.
var program = sync.OnceValues(func() (string, error) {
	path, err := build("posthouse")
	if err != nil {
		return "", err
	}
	if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("POSTHOUSE_FAILPOINT")) {
		return "", fmt.Errorf("the program has failpoints in it, or cannot be read: %v", err)
	}
	return path, nil
})

func build(name string, tags ...string) (string, error) {
	path := filepath.Join(workDir, name)
	out, err := exec.Command("go", "build", "-o", path, "-tags", strings.Join(append(tags, mqTags...), ","), "../../cmd/posthouse").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build posthouse: %w\n%s", err, out)
	}
	return path, nil
}

// stormProgram is the same with failpoints in it.
var stormProgram = sync.OnceValues(func() (string, error) { return build("posthouse-failpoints", "failpoints") })

// scaled is n by the factor of -scale.
func scaled(n int) int { return int(float64(n) * *scale) }

// newOracle prints its seed, or takes that of -seed.
func newOracle(t *testing.T) oracle {
	o := oracle{seed: *seedFlag}
	if o.seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
		o.seed = binary.BigEndian.Uint64(b[:]) | 1
	}
	t.Logf("seed: -run '^%s$' -seed %d", t.Name(), o.seed)
	return o
}
