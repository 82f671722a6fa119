package broker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Promtool is the name under which a missing promtool is counted and required. It is no broker: it checks metrics and rules.
const Promtool = "promtool"

// EnvPromtool is the path of the program promtool.
const EnvPromtool = "POSTHOUSE_TEST_PROMTOOL"

// unpackPromtool takes promtool out of Debian's package prometheus, into the directory $1. Neither needs root; the lists of
// packages, which only root can fetch, are fetched where they are missing.
const unpackPromtool = `set -e
cd "$1"
apt-get -qq download prometheus || { apt-get -qq update; apt-get -qq download prometheus; }
dpkg-deb -x prometheus_*.deb unpacked
mv unpacked/usr/bin/promtool .
rm -rf unpacked prometheus_*.deb
./promtool --version
`

// FetchPromtool returns the path of promtool: the one in PATH, else one that is in the cache or fetched into it.
func FetchPromtool(ctx context.Context, o Options) (string, error) {
	if path, err := exec.LookPath(Promtool); err == nil {
		return path, nil
	}
	o, err := o.withCache(Promtool)
	if err != nil {
		return "", err
	}
	dir, err := cached(ctx, o.Cache, Promtool, o.Log, func(dir string) error {
		for _, tool := range []string{"apt-get", "dpkg-deb"} {
			if _, err := exec.LookPath(tool); err != nil {
				return fmt.Errorf("promtool and %s are not in PATH (install Prometheus)", tool)
			}
		}
		begin := time.Now()
		if err := runTool(ctx, nil, "/bin/sh", "-c", unpackPromtool, "sh", dir); err != nil {
			return fmt.Errorf("fetch promtool: %w", err)
		}
		fmt.Fprintf(o.Log, "fetched promtool in %.0f s\n", time.Since(begin).Seconds())
		return nil
	})
	return filepath.Join(dir, Promtool), err
}

// PromtoolEnv is the variable that tells tests of promtool, or why there is none.
func PromtoolEnv(ctx context.Context, o Options) (name, value string) {
	path, err := FetchPromtool(ctx, o)
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return EnvSkipPrefix + strings.ToUpper(Promtool), line
	}
	return EnvPromtool, path
}

// RunPromtool runs promtool with text as its standard input and returns all that it prints, and its error. It skips the test,
// or fails it, as Need does where there is no promtool.
func RunPromtool(tb testing.TB, text string, args ...string) (string, error) {
	tb.Helper()
	path := os.Getenv(EnvPromtool)
	if path == "" {
		var err error
		if path, err = exec.LookPath(Promtool); err != nil {
			giveUp(tb, Promtool, whyMissing(Promtool, EnvPromtool))
		}
	}
	cmd := exec.CommandContext(tb.Context(), path, args...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
