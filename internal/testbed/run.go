package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// childGrace is how long the command may take to end after a signal before it is killed.
const childGrace = 30 * time.Second

// session is one run: brokers, a command among them, and the end of both.
type session struct {
	wanted []string
	must   []string
	out    io.Writer
	log    io.Writer
	stops  <-chan os.Signal // interrupts and the end of the parent
}

// run starts brokers, runs a command with their addresses, and ends them.
func run(ctx context.Context, args []string, out, log io.Writer) (int, error) {
	set := flags("run", log)
	list := set.String("brokers", "", "`names` of brokers, with commas; none for no broker (default all)")
	if err := set.Parse(args); err != nil {
		return exitUsage, nil // the flag set has said it
	}
	if set.NArg() == 0 {
		return exitUsage, errors.New("no command given: testbed run [-brokers A,B] -- CMD [ARG...]")
	}
	s, release, err := newSession(*list, out, log)
	if err != nil {
		return exitUsage, err
	}
	defer release()
	return s.do(ctx, func(env []string) (int, map[string]int, error) {
		cmd := exec.Command(set.Arg(0), set.Args()[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, log
		code, err := s.command(cmd, env)
		return code, nil, err
	})
}

// newSession reads the broker list and POSTHOUSE_REQUIRE and begins to listen for signals.
func newSession(list string, out, log io.Writer) (*session, func(), error) {
	must, err := required(os.Getenv(broker.EnvRequire))
	if err != nil {
		return nil, nil, err
	}
	var wanted []string
	if list != "none" {
		if wanted, err = names(splitNames(list)); err != nil {
			return nil, nil, err
		}
	}
	stops := make(chan os.Signal, 8)
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	if gone := broker.ParentGone(); gone != nil {
		// "go run" and make die of a signal without passing it on.
		go func() {
			select {
			case <-gone:
				stops <- syscall.SIGTERM
			case <-over:
			}
		}()
	}
	release := func() { signal.Stop(stops); close(over) }
	return &session{wanted: wanted, must: must, out: out, log: log, stops: stops}, release, nil
}

// do starts the brokers, calls work with the environment for the tests, ends the brokers whatever
// happens, and prints the summary. work returns an exit code and how many checks it skipped for
// want of each broker.
func (s *session) do(ctx context.Context, work func(env []string) (int, map[string]int, error)) (int, error) {
	dir, err := os.MkdirTemp("", "posthouse-testbed-")
	if err != nil {
		return exitFailed, fmt.Errorf("make the data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	tls := dir + "/tls"
	if err := broker.WriteTLS(tls, time.Now()); err != nil {
		return exitFailed, err
	}
	all, stopped := s.start(ctx, dir, tls)
	defer killAll(all)
	if stopped != nil {
		return 128 + int(stopped.(syscall.Signal)), fmt.Errorf("stopped by %v while brokers started", stopped)
	}
	if err := missing(all, s.must); err != nil {
		report(s.out, all, nil)
		return exitFailed, err
	}
	code, skipped, err := work(assignments(environment(all, tls)))
	report(s.out, all, skipped)
	if err == nil {
		err = s.survivors(all)
	}
	return code, err
}

// survivors fails a run in which a broker ended by itself: its tests proved nothing.
func (s *session) survivors(all []outcome) error {
	var errs []error
	for _, o := range all {
		if o.b != nil && !o.b.Alive() {
			errs = append(errs, fmt.Errorf("%s ended by itself during the run", o.name))
		}
	}
	return errors.Join(errs...)
}

// start starts the brokers; a signal meanwhile ends the attempt and is returned.
func (s *session) start(ctx context.Context, dir, tls string) ([]outcome, os.Signal) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started := make(chan []outcome, 1)
	go func() { started <- startAll(ctx, dir, s.wanted, broker.Options{TLSDir: tls, Log: s.log}) }()
	select {
	case all := <-started:
		return all, nil
	case sig := <-s.stops:
		cancel()
		return <-started, sig
	}
}

// command runs cmd to its end. A signal goes to cmd's process group first; a second one, or
// childGrace, kills it.
func (s *session) command(cmd *exec.Cmd, env []string) (int, error) {
	cmd.Env = append(os.Environ(), env...)
	child, err := broker.StartChild(cmd)
	if err != nil {
		return exitFailed, err
	}
	var deadline <-chan time.Time
	for {
		select {
		case <-child.Done():
			return child.ExitCode(), nil
		case sig := <-s.stops:
			if deadline != nil {
				child.SignalGroup(syscall.SIGKILL)
				continue
			}
			fmt.Fprintf(s.log, "testbed: passing %v on to %s\n", sig, strings.Join(cmd.Args, " "))
			child.SignalGroup(sig.(syscall.Signal))
			deadline = time.After(childGrace)
		case <-deadline:
			child.SignalGroup(syscall.SIGKILL)
		}
	}
}
