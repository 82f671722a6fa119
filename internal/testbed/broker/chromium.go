package broker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Chromium is the name under which a missing browser is counted and required. It is no broker: it looks at the console.
const Chromium = "chromium"

// EnvChromium is the path of the browser.
const EnvChromium = "POSTHOUSE_TEST_CHROMIUM"

// FetchChromium returns the path of the browser in PATH, into which it installs Debian's package where there is none.
func FetchChromium(ctx context.Context, o Options) (string, error) {
	if err := needTool(ctx, o.Log, Chromium); err != nil {
		return "", err
	}
	return exec.LookPath(Chromium)
}

// ChromiumEnv is the variable that tells tests of the browser, or why there is none.
func ChromiumEnv(ctx context.Context, o Options) (name, value string) {
	path, err := FetchChromium(ctx, o)
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return EnvSkipPrefix + strings.ToUpper(Chromium), line
	}
	return EnvChromium, path
}

// NeedChromium returns the path of the browser. It skips the test, or fails it, as Need does where there is none.
func NeedChromium(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv(EnvChromium)
	if path == "" {
		var err error
		if path, err = exec.LookPath(Chromium); err != nil {
			giveUp(tb, Chromium, whyMissing(Chromium, EnvChromium))
		}
	}
	if err := exec.CommandContext(tb.Context(), path, "--version").Run(); err != nil {
		giveUp(tb, Chromium, fmt.Sprintf("%s --version: %v", path, err))
	}
	return path
}
