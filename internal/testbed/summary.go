package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of "go test -json" (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// summary reads the output of "go test -json" as it is written, passes on what a person wants to
// see, and counts. Each package's lines come when it is done: its own last line, and before it the
// whole output of every test that failed.
type summary struct {
	w        io.Writer
	rest     []byte // of an unfinished line
	packages map[string]*packageRun

	passed, failed, skipped int            // tests without subtests
	missed                  map[string]int // skipped tests by the broker they missed
}

// packageRun is what is known of one package so far.
type packageRun struct {
	order []string // tests as they began
	tests map[string]*testRun
	out   bytes.Buffer // of no test
}

// testRun is one test or subtest.
type testRun struct {
	out    bytes.Buffer
	result string // pass, fail, skip; "" while it runs
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, packages: map[string]*packageRun{}, missed: map[string]int{}}
}

// Write takes a piece of go test's output; it never fails.
func (s *summary) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		i := bytes.IndexByte(s.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		s.line(s.rest[:i+1])
		s.rest = s.rest[i+1:]
	}
}

// line takes a whole line. What is not an event is shown as it is.
func (s *summary) line(raw []byte) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil || e.Action == "" {
		s.w.Write(raw)
		return
	}
	switch e.Action {
	case "build-output":
		io.WriteString(s.w, e.Output)
	case "build-fail": // the package's own "fail" follows
	default:
		s.test(e)
	}
}

// test takes an event of a test, or of a package when it names no test.
func (s *summary) test(e event) {
	p := s.packages[e.Package]
	if p == nil {
		p = &packageRun{tests: map[string]*testRun{}}
		s.packages[e.Package] = p
	}
	var t *testRun
	if e.Test != "" {
		if t = p.tests[e.Test]; t == nil {
			t = &testRun{}
			p.tests[e.Test] = t
			p.order = append(p.order, e.Test)
		}
	}
	switch e.Action {
	case "output":
		if t != nil {
			t.out.WriteString(e.Output)
		} else {
			p.out.WriteString(e.Output)
		}
	case "pass", "fail", "skip":
		if t != nil {
			t.result = e.Action
			return
		}
		s.close(e.Package, p, e.Action)
	}
}

// close ends a package: it counts and prints.
func (s *summary) close(name string, p *packageRun, result string) {
	before := s.failed
	for _, test := range p.order {
		s.count(p, test)
	}
	if result == "fail" && s.failed == before {
		s.failed++ // it did not build, or failed outside of a test
	}
	for _, test := range p.order {
		if t := p.tests[test]; t.result == "fail" || (t.result == "" && result == "fail") {
			s.w.Write(withoutNoise(t.out.Bytes()))
		}
	}
	out := p.out.String()
	if result != "fail" {
		out = lastLine(out)
	}
	io.WriteString(s.w, out)
	delete(s.packages, name)
}

// count counts a test without subtests; one with subtests only if it failed and none of them did.
// One without a result was cut off by a panic, a timeout or an exit.
func (s *summary) count(p *packageRun, test string) {
	t, sub := p.tests[test], test+"/"
	parent := slices.ContainsFunc(p.order, func(o string) bool { return strings.HasPrefix(o, sub) })
	bad := func(o string) bool {
		r := p.tests[o].result
		return strings.HasPrefix(o, sub) && r != "pass" && r != "skip"
	}
	switch {
	case t.result == "fail" || t.result == "":
		if !slices.ContainsFunc(p.order, bad) {
			s.failed++
		}
	case parent:
	case t.result == "pass":
		s.passed++
	default:
		s.skipped++
		if name := missedBroker(t.out.String()); name != "" {
			s.missed[name]++
		}
	}
}

// missedBroker returns NAME from "broker=NAME" in a skipped test's output, which broker.Need writes.
func missedBroker(out string) string {
	_, after, found := strings.Cut(out, "broker=")
	if !found {
		return ""
	}
	if fields := strings.Fields(after); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// finish ends what go test left open and prints the last line.
func (s *summary) finish() {
	s.flush()
	for name, p := range s.packages {
		s.close(name, p, "fail")
		fmt.Fprintf(s.w, "FAIL\t%s [no result]\n", name)
	}
	fmt.Fprintf(s.w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
}

// flush reads a last line without an end.
func (s *summary) flush() {
	if len(s.rest) > 0 {
		s.line(append(s.rest, '\n'))
		s.rest = nil
	}
}

// withoutNoise drops the lines that only say that a test begins or waits.
func withoutNoise(out []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(out) {
		if !bytes.HasPrefix(line, []byte("=== ")) {
			kept = append(kept, line...)
		}
	}
	return kept
}

func lastLine(text string) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last + "\n"
	}
	return ""
}
