package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// fuzzTarget is a fuzz function; go test fuzzes one at a time.
type fuzzTarget struct{ pkg, name string }

// fuzz runs every fuzz target of the packages (default ./...) for a while, one after another.
func fuzz(ctx context.Context, args []string, out, log io.Writer) (int, error) {
	set := flags("fuzz", log)
	limit := set.Duration("time", 5*time.Second, "`duration` for each target")
	if err := set.Parse(args); err != nil {
		return exitUsage, nil // the flag set has said it
	}
	packages := set.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	targets, err := fuzzTargets(packages, log)
	if err != nil {
		return exitFailed, err
	}
	var errs []error
	for _, t := range targets {
		fmt.Fprintf(out, "fuzz %s %s for %v\n", t.pkg, t.name, *limit)
		cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+limit.String(), t.pkg)
		var text bytes.Buffer
		cmd.Stdout, cmd.Stderr = &text, &text
		if err := cmd.Run(); err != nil {
			errs = append(errs, fmt.Errorf("fuzz %s %s: %w", t.pkg, t.name, err))
			out.Write(text.Bytes())
		}
	}
	fmt.Fprintf(out, "fuzzed %d targets, %d failed\n", len(targets), len(errs))
	return exitOK, errors.Join(errs...)
}

func fuzzTargets(packages []string, log io.Writer) ([]fuzzTarget, error) {
	cmd := exec.Command("go", append([]string{"test", "-list=^Fuzz"}, packages...)...)
	cmd.Stderr = log
	raw, err := cmd.Output()
	if err != nil {
		log.Write(raw)
		return nil, fmt.Errorf("list the fuzz targets: %w", err)
	}
	return parseTargets(bytes.NewReader(raw)), nil
}

// parseTargets reads "go test -list": the names of a package, then its "ok" line.
func parseTargets(r io.Reader) []fuzzTarget {
	var all []fuzzTarget
	var pending []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			pending = append(pending, fields[0])
		case len(fields) >= 2 && fields[0] == "ok":
			for _, name := range pending {
				all = append(all, fuzzTarget{fields[1], name})
			}
			pending = nil
		}
	}
	return all
}
