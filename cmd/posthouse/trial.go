package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

// testFlags are what test is asked for.
type testFlags struct {
	config, output, repeater string
}

// A tested is one message of a test file and what came of it.
type tested struct {
	File        string              `json:"file"`
	Line        int                 `json:"line"`
	Name        string              `json:"name"`
	OK          bool                `json:"ok"`
	Differences []routes.Difference `json:"differences,omitempty"`
	Trace       *routes.Trace       `json:"trace,omitempty"` // of one that is not as expected
}

func testCommand() *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use: "test FILE...", Short: "Try a table of messages: does each go where it is expected to go?", Args: cobra.MinimumNArgs(1),
		Long: `Reads files of messages and what is expected of them, and says where each would go by the topology that the file names
(or -c FILE). Nothing is connected. A file:

  topology: topology.yaml                 # relative to this file
  tests:
    - name: orders from Europe go to Berlin
      from: paris/orders                  # where it is received; may be left out if there is one source
      message: { priority: 7, header: { region: EU }, json: { total: 12.5 } }
      expect:
        routes: [orders]                  # that take it there, [] for none
        targets: [berlin/orders]          # where they send it
        ends: [berlin/orders]             # where it comes to rest, over all brokers of the file
        dead_letter: none                 # none, filter-error, loop or unroutable
        headers: { dc: paris }            # that every target gets
        without: [x-debug]                # that no target gets

What is left out of expect is not asked. Values of headers are compared as text. For what is not as expected it prints
what was expected, what came, and what each route says. Exit 1 then, 2 for a mistake in a file.`,
		Example: "  posthouse test routing-test.yaml\n  posthouse test -c topology.yaml -o json tests/*.yaml",
	}
	file := configFlag(c)
	wordFlag(c, &f.output, "output", "o", "what to print", "text", "json")
	c.Flags().StringVar(&f.repeater, "repeater", "posthouse", "name of the daemon, in expressions and in paths")
	c.RunE = func(c *cobra.Command, files []string) error {
		f.config = *file
		all, err := f.runAll(c, files)
		if err != nil && !errors.Is(err, errFindings) {
			return finish(c, f.output, reply{}, err)
		}
		return finish(c, f.output, all.reply(), err)
	}
	return c
}

type testedAll []tested

// runAll tries every message of every file. Its error is errFindings if one is not as expected.
func (f testFlags) runAll(c *cobra.Command, files []string) (testedAll, error) {
	all := testedAll{}
	var bad error
	for _, name := range files {
		ts, err := f.run(c, name)
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			if !t.OK {
				bad = errFindings
			}
		}
		all = append(all, ts...)
	}
	return all, bad
}

func (f testFlags) run(c *cobra.Command, name string) ([]tested, error) {
	src, err := readBounded(name)
	if err != nil {
		return nil, fail(exitEnvironment, err)
	}
	trials, findings := routes.LoadTrials(name, src)
	if trials == nil {
		_ = findings.Text(c.ErrOrStderr())
		return nil, fail(exitConfig, errShown)
	}
	file := f.config
	if trials.Topology != "" {
		file = trials.Topology
	}
	if file == "" {
		return nil, fail(exitConfig, fmt.Errorf("%s names no topology: add topology: FILE, or use -c FILE", name))
	}
	table, err := quietly(file, c.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	var out []tested
	for i := range trials.List {
		tr := &trials.List[i]
		trace, diffs, err := tr.Run(table, routes.TraceOptions{Kinds: kinds(), Repeater: f.repeater, Now: time.Now()})
		if err != nil {
			return nil, fail(exitConfig, fmt.Errorf("%s:%d: %w", name, tr.Line, err))
		}
		t := tested{File: name, Line: tr.Line, Name: tr.Name, OK: len(diffs) == 0, Differences: diffs}
		if !t.OK {
			t.Trace = &trace
		}
		out = append(out, t)
	}
	return out, nil
}

func (all testedAll) reply() reply {
	failed := 0
	for _, t := range all {
		if !t.OK {
			failed++
		}
	}
	s := messages(int64(len(all))) + ", all as expected"
	if failed > 0 {
		s = fmt.Sprintf("%s, %d not as expected", messages(int64(len(all))), failed)
	}
	return reply{summary: s, result: all, text: func(w io.Writer) error { return all.text(w, s) }}
}

func (all testedAll) text(w io.Writer, summary string) error {
	var b strings.Builder
	for _, t := range all {
		if t.OK {
			continue
		}
		fmt.Fprintf(&b, "%s:%d: %s\n", t.File, t.Line, clean(t.Name))
		for _, d := range t.Differences {
			fmt.Fprintf(&b, "  %s\n    expected  %s\n    got       %s\n", clean(d.What), clean(d.Want), clean(d.Got))
		}
		for line := range strings.Lines(t.Trace.Text()) {
			b.WriteString("  | " + line)
		}
	}
	_, err := io.WriteString(w, b.String()+summary+"\n")
	return err
}
