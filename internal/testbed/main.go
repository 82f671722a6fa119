// Testbed starts real brokers for tests on free loopback ports, and ends them.
//
//	testbed up [BROKER...]                       start brokers, leave them running, print their addresses
//	testbed down [BROKER...]                     end what up started
//	testbed status                               say what up left running
//	testbed fetch [BROKER...]                    download only
//	testbed run [-brokers A,B] -- CMD [ARG...]   start brokers, run CMD with their addresses, end them
//	testbed test [-brokers A,B] [GO TEST ARG...] as run, with go test -json, its output summed up
//	testbed fuzz [-time 5s] [PACKAGE...]         run every fuzz target for a while
//
// Brokers are artemis, artemis2, kafka, rabbitmq4 and rabbitmq3. A broker whose address is in its
// variable already (POSTHOUSE_TEST_KAFKA and so on) is used as it is and not started. One that
// cannot be started is one line in the summary, or, when POSTHOUSE_REQUIRE names it or is "all", a
// failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
)

// exit codes of the testbed itself; run and test otherwise exit with the code of their command.
const (
	exitOK     = 0
	exitFailed = 1 // a required broker is missing, or a step failed
	exitUsage  = 2
)

const usage = `usage: testbed COMMAND

  up [BROKER...]                       start brokers, leave them running, print their addresses
  down [BROKER...]                     end what up started
  status                               say what up left running
  fetch [BROKER...]                    download only
  run [-brokers A,B] -- CMD [ARG...]   start brokers, run CMD with their addresses, end them
  test [-brokers A,B] [GO TEST ARG...] as run, with go test, its output summed up
  fuzz [-time 5s] [PACKAGE...]         run every fuzz target for a while

Brokers: artemis artemis2 kafka rabbitmq4 rabbitmq3 (default: all).
POSTHOUSE_REQUIRE=all, or names, makes a missing broker a failure.
`

func main() {
	os.Exit(realMain(os.Args[1:], os.Stdout, os.Stderr))
}

func realMain(args []string, out, log io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(log, usage)
		return exitUsage
	}
	commands := map[string]func(ctx context.Context, args []string, out, log io.Writer) (int, error){
		"up": up, "down": down, "status": status, "fetch": fetch, "run": run, "test": test, "fuzz": fuzz,
	}
	command, known := commands[args[0]]
	if !known {
		fmt.Fprintf(log, "testbed: unknown command %q\n%s", args[0], usage)
		return exitUsage
	}
	code, err := command(context.Background(), args[1:], out, log)
	if err != nil {
		fmt.Fprintf(log, "testbed %s: %v\n", args[0], err)
		if code == exitOK {
			code = exitFailed
		}
	}
	return code
}

// flags returns a flag set that reports to log instead of ending the process.
func flags(name string, log io.Writer) *flag.FlagSet {
	set := flag.NewFlagSet("testbed "+name, flag.ContinueOnError)
	set.SetOutput(log)
	return set
}
