package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// test starts brokers, runs go test with their addresses, and sums its output up. Flags of go test
// follow "--" or anything that is not a flag of ours.
func test(ctx context.Context, args []string, out, log io.Writer) (int, error) {
	list, rest := "", args
	if len(rest) >= 2 && strings.TrimLeft(rest[0], "-") == "brokers" {
		list, rest = rest[1], rest[2:]
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	s, release, err := newSession(list, out, log)
	if err != nil {
		return exitUsage, err
	}
	defer release()
	return s.do(ctx, func(env []string) (int, map[string]int, error) {
		env = append(env, s.tools(ctx)...)
		sum := newSummary(out)
		cmd := exec.Command("go", append([]string{"test", "-json"}, rest...)...)
		cmd.Stdout, cmd.Stderr = sum, log
		code, err := s.command(cmd, env)
		sum.finish()
		fmt.Fprintf(out, "BROKER nats %s embedded\n", natsVersion())
		fmt.Fprintf(out, "BROKER ibmmq %s\n", mqUsed(rest))
		if err == nil && code == exitOK && sum.failed > 0 {
			code = exitFailed
		}
		return code, sum.missed, err
	})
}

// tools fetches what tests need beside brokers, for those who want some, and returns the variables that tell of it.
func (s *session) tools(ctx context.Context) []string {
	if len(s.wanted) == 0 {
		return nil
	}
	var env []string
	for variable, find := range map[string]func(context.Context, broker.Options) (string, string){
		broker.EnvPromtool: broker.PromtoolEnv, broker.EnvChromium: broker.ChromiumEnv,
	} {
		if os.Getenv(variable) == "" {
			name, value := find(ctx, broker.Options{Log: s.log})
			env = append(env, name+"="+value)
		}
	}
	return env
}

// mqUsed says what stood for IBM MQ in a run of go test with args.
func mqUsed(args []string) string {
	if os.Getenv("POSTHOUSE_MQ_ADDRESS") != "" {
		return "given by POSTHOUSE_MQ_ADDRESS"
	}
	if slices.Contains(args, "ibmmq") || slices.Contains(args, "-tags=ibmmq") {
		return "stand-in of our own (internal/mqi/standin), not IBM's"
	}
	return "left out: the tests are not built with the tag ibmmq"
}

// natsVersion is the version of the NATS server in the module's build list; tests embed it.
func natsVersion() string {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/nats-io/nats-server/v2")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	raw, err := cmd.Output()
	if err != nil {
		return "(version unknown)"
	}
	return strings.TrimSpace(string(raw))
}
