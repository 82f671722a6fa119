package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// outcome is what became of one broker that was asked for.
type outcome struct {
	name  string
	b     *broker.Broker // nil if given or missing
	given bool           // its address was in the environment already
	err   error          // why it is missing
}

// names checks a list of broker names; an empty one means all.
func names(list []string) ([]string, error) {
	if len(list) == 0 {
		return broker.All(), nil
	}
	for _, name := range list {
		if !slices.Contains(broker.All(), name) {
			return nil, fmt.Errorf("unknown broker %q (known: %s)", name, strings.Join(broker.All(), ", "))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(list))), nil
}

// splitNames reads "a,b" as in -brokers and POSTHOUSE_REQUIRE; "none" is no broker at all.
func splitNames(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// required returns the brokers that POSTHOUSE_REQUIRE (value) names.
func required(value string) ([]string, error) {
	switch list := splitNames(value); {
	case len(list) == 0:
		return nil, nil
	case value == "all":
		return broker.All(), nil
	default:
		known, err := names(list)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", broker.EnvRequire, err)
		}
		return known, nil
	}
}

// startAll starts the named brokers side by side, each with its data below dir, and returns when
// each is ready or has failed. Outcomes come in the order of names.
func startAll(ctx context.Context, dir string, wanted []string, o broker.Options) []outcome {
	done := make([]outcome, len(wanted))
	log := &lineWriter{w: o.Log}
	o.Log = log
	var wg sync.WaitGroup
	for i, name := range wanted {
		if os.Getenv(broker.Variable(name)) != "" {
			done[i] = outcome{name: name, given: true}
			continue
		}
		wg.Go(func() {
			begin := time.Now()
			b, err := broker.Start(ctx, name, filepath.Join(dir, name), o)
			if err != nil {
				done[i] = outcome{name: name, err: err}
				fmt.Fprintf(log, "%s: %v\n", name, err)
				return
			}
			done[i] = outcome{name: name, b: b}
			fmt.Fprintf(log, "%s %s is up after %.1f s\n", name, b.Version(), time.Since(begin).Seconds())
		})
	}
	wg.Wait()
	return done
}

// killAll kills all brokers and returns when they are gone. Their data is thrown away, so there is
// nothing that they should end in order.
func killAll(all []outcome) {
	for _, o := range all {
		if o.b != nil {
			o.b.Kill()
		}
	}
}

// missing returns an error that names the required brokers that are not there.
func missing(all []outcome, must []string) error {
	var errs []error
	for _, name := range must {
		i := slices.IndexFunc(all, func(o outcome) bool { return o.name == name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("%s is required by %s but was not asked for", name, broker.EnvRequire))
		case all[i].err != nil:
			errs = append(errs, fmt.Errorf("%s is required by %s but missing: %s", name, broker.EnvRequire, firstLine(all[i].err)))
		}
	}
	return errors.Join(errs...)
}

// environment returns the variables for the tests. What is set already in this process's environment
// stays as it is.
func environment(all []outcome, tlsDir string) map[string]string {
	env := map[string]string{
		broker.EnvTLSDir: tlsDir, broker.EnvUser: broker.User, broker.EnvPassword: broker.Password,
	}
	for _, o := range all {
		if o.b != nil {
			maps.Copy(env, o.b.Env())
		}
		if o.err != nil {
			env[broker.EnvSkipPrefix+strings.ToUpper(o.name)] = firstLine(o.err)
		}
	}
	maps.DeleteFunc(env, func(k, _ string) bool { return os.Getenv(k) != "" })
	return env
}

// assignments returns env as NAME=value lines in order.
func assignments(env map[string]string) []string {
	lines := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, k+"="+env[k])
	}
	return lines
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// report prints one line per broker. skipped counts the checks that were skipped for want of each;
// nil means that nobody counted.
func report(w io.Writer, all []outcome, skipped map[string]int) {
	for _, o := range all {
		switch {
		case o.given:
			fmt.Fprintf(w, "BROKER %s given by %s\n", o.name, broker.Variable(o.name))
		case o.b != nil:
			fmt.Fprintf(w, "BROKER %s %s used\n", o.name, o.b.Version())
		default:
			checks := ""
			if skipped != nil {
				checks = fmt.Sprintf(" checks=%d", skipped[o.name])
			}
			fmt.Fprintf(w, "SKIP broker=%s%s reason=%q fix=%q\n", o.name, checks, firstLine(o.err), broker.Fix(o.name))
		}
	}
	reportOthers(w, all, skipped)
}

// reportOthers tells of checks that were skipped for want of something that comes with a broker, such as a client.
func reportOthers(w io.Writer, all []outcome, skipped map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(skipped)) {
		if !slices.ContainsFunc(all, func(o outcome) bool { return o.name == name }) && !slices.Contains(broker.All(), name) {
			fmt.Fprintf(w, "SKIP broker=%s checks=%d fix=%q\n", name, skipped[name], broker.Fix(name))
		}
	}
}

// lineWriter lets several goroutines write whole lines.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes p in one piece.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
